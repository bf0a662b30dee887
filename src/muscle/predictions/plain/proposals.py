"""What to ask where a file does not tell what decides or which item is which: options made of its own columns."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations

from muscle.errors import UnclearColumns
from muscle.foreign_text import listing
from muscle.predictions.plain.known_names import ANSWERED, ASKED, EXPECTED, IDS, INPUTS, JUDGED, NAMED, plain_name
from muscle.predictions.plain.usual_names import Rows, are_nearly_verdicts, are_verdicts, said_texts, usual_columns
from muscle.predictions.records import all_names

_TEXT_MEMBERS = ("content", "text", "value", "answer", "output")
_MOST_DEEP = 6
_MOST_COLUMNS = 40


def _single_words(names: Iterable[str]) -> frozenset[str]:
    return frozenset(word for name in names for word in name.split("_"))


_ANSWER_WORDS = _single_words(ANSWERED) - _single_words(EXPECTED)
_REFERENCE_WORDS = _single_words(EXPECTED) - _single_words(ANSWERED)
"""Words of a usual name that tell an answer from its reference: `category_pred`, `category_true`."""


def members(row: Mapping[str, object]) -> dict[str, object]:
    """Return an object's values with those inside of its objects, by their paths.

    >>> members({"id": 7, "response": {"choices": [{"text": "Nairobi"}]}})
    {'id': 7, 'response.choices.0.text': 'Nairobi'}
    """
    return dict(_leaves(row, ()))


def _leaves(value: object, path: tuple[str, ...]) -> Iterator[tuple[str, object]]:
    inner: Iterable[tuple[str, object]] = ()
    if isinstance(value, Mapping):
        inner = ((str(name), entry) for name, entry in value.items())
    elif isinstance(value, list) and value and isinstance(value[0], Mapping):
        inner = [("0", value[0])]
    if len(path) < _MOST_DEEP and (inner or not path):
        for name, entry in inner:
            yield from _leaves(entry, (*path, name))
    elif path:
        yield ".".join(path), value


def decision_flags(rows: Rows) -> str:
    """Propose the options that say what decides, out of a file's own columns.

    A column of right and wrong is a verdict; else two columns of texts are an answer and its reference; else a column
    of numbers is a score. What was asked is named too where it stands inside of another field. "" where nothing could.
    """
    has_input = "input" in {*usual_columns(rows), *all_names(rows)}
    rows = [members(row) for row in rows]
    asked = next((name for name in all_names(rows) if not has_input and _is_called(name, ASKED)), None)
    decision = _decision_flags(rows)
    return f"{decision} {_flag('input', asked)}" if asked and decision else decision


def _decision_flags(rows: Rows) -> str:
    names = all_names(rows)
    others = [name for name in names if not _is_called(name, (*NAMED, *ASKED, *ANSWERED, *EXPECTED))]
    verdicts = [name for name in others if are_verdicts(rows, name)]
    verdicts = verdicts or [name for name in others if are_nearly_verdicts(rows, name)]
    if verdicts:
        return _flag("correct", verdicts[-1])
    outputs = [name for name in names if _is_called(name, ANSWERED)]
    references = [name for name in names if _is_called(name, EXPECTED) and name not in outputs[:1]]
    numbers = [name for name in names if not _is_called(name, NAMED) and _are_numbers(rows, name)]
    free = [n for n in names if _hold_texts(rows, n) and not _is_called(n, (*ASKED, *NAMED)) and n not in numbers]
    known = next(iter(outputs or references), None)
    if known is None:
        free = [*(_alike(rows, free) or ()), *sorted(free, key=_sounds_expected)]
    else:
        free.sort(key=lambda name: -_num_same(rows, name, known))
    output = next(iter(outputs or [name for name in free if name not in references]), None)
    reference = next(iter(references or [name for name in free if name != output]), None)
    if output and reference:
        return f"{_flag('output', output)} {_flag('reference', reference)}"
    return _flag("score", numbers[0]) if numbers else ""


def refuse_doubtful_score(rows: Rows, columns: Mapping[str, str]) -> None:
    """Refuse a bare number `score` beside two columns that nobody knows and that often say the same.

    They may be an answer and its reference, and the number a confidence.

    Args:
        rows: a file's first rows.
        columns: our field names to the file's, as they were given or recognised.

    Raises:
        UnclearColumns: it is so.
    """
    said = said_texts(rows, "score")
    has = {*columns, *all_names(rows)}
    if "score" in columns or not _are_numbers(rows, "score") or {"correct", "output"} & has:
        return
    if all(text.strip() in ("0", "1", "0.0", "1.0") for text in said):
        return
    taken = {*columns.values(), *INPUTS[:1], *IDS[:1]}
    pair = _alike(rows, [name for name in all_names(rows) if name not in taken and _hold_texts(rows, name)])
    if pair:
        raise UnclearColumns(
            f"field 'score': found numbers beside {listing(pair)}, which often say the same; say which is the output "
            "and which the reference, or --column score=score if they are scores of the answers (more is better)",
            flags=f"{_flag('output', pair[0])} {_flag('reference', pair[1])}",
        )


def _alike(rows: Rows, names: Sequence[str]) -> tuple[str, str] | None:
    """Return the two columns of texts that most often say the same, if they do so in a fifth of the rows.

    The one that is called more like an answer comes first, or the later one: references mostly stand before answers.
    """
    best = max(combinations(names[:_MOST_COLUMNS], 2), key=lambda pair: _num_same(rows, *pair), default=None)
    if best is None or 5 * _num_same(rows, *best) < len(rows):
        return None
    earlier, later = best
    return best if _sounds_expected(earlier) < _sounds_expected(later) else (later, earlier)


def _num_same(rows: Rows, one: str, other: str) -> int:
    """Count the rows in which two columns of texts say the same, but for capitals and white space around it."""
    said = [(row.get(one), row.get(other)) for row in rows]
    pairs = [(a.strip().lower(), b.strip().lower()) for a, b in said if isinstance(a, str) and isinstance(b, str)]
    texts = [a for a, b in pairs if a == b]
    return len(texts) if len(set(texts)) > 1 else 0


def _sounds_expected(name: str) -> int:
    """Say how many more of a name's words are a reference's than an answer's."""
    words = set(plain_name(name).split("_"))
    return len(words & _REFERENCE_WORDS) - len(words & _ANSWER_WORDS)


def item_flags(rows: Rows) -> str:
    """Propose the options that say which item a row is, and what decides if nothing tells, out of a file's columns."""
    item = _item_flag(rows)
    columns = {**usual_columns(rows), "input": item.partition("=")[2].strip("'")}
    others = [{name: value for name, value in row.items() if name != columns["input"]} for row in rows]
    has = {*columns, *all_names(rows)}
    is_decided = bool({"correct", "score"} & has) or {"output", "reference"} <= has
    try:
        refuse_doubtful_score(others, columns)
    except UnclearColumns as error:
        return f"{item} {error.flags}"
    return item if is_decided else f"{item} {decision_flags(others)}".rstrip()


def _item_flag(rows: Rows) -> str:
    rows = [members(row) for row in rows]
    different = [name for name in all_names(rows) if len(set(said_texts(rows, name))) == len(rows)]
    taken = (*ANSWERED, *EXPECTED)
    ids = [name for name in different if re.search(r"(^|_)(id|key|nr|no|number|name)$", plain_name(name))]
    texts = [
        name
        for name in different
        if _hold_texts(rows, name) and not _is_called(name, taken) and name not in ids and not are_verdicts(rows, name)
    ]
    if ids and not any(_is_called(name, ASKED) for name in texts):
        return _flag("id", ids[0])
    texts.sort(key=lambda name: (not _is_called(name, ASKED), -len("".join(said_texts(rows, name)))))
    return _flag("input", texts[0] if texts else "COLUMN")


def version_words(rows: Rows) -> tuple[str, str] | None:
    """Propose what to say of each run where one table holds both versions.

    Two columns are versions of one field where their names are one of its usual names and a further word (`answer_v1`,
    `answer_v2`; `old_output`, `new_output`).

    Returns:
        What to put behind the file's name for the one and the other; None where no two columns are such versions.
    """
    names = all_names(rows)
    said: list[tuple[str, str]] = []
    for ours, usual in (("correct", JUDGED), ("output", ANSWERED)):
        groups: dict[str, list[str]] = {}
        for name in names:
            if not _is_called(name, (*usual, *NAMED, *ASKED, *EXPECTED)) and (stem := _stem(name, usual)):
                groups.setdefault(stem, []).append(name)
        pair = next((group[:2] for group in groups.values() if len(group) > 1), None)
        if pair and (ours != "correct" or are_verdicts(rows, pair[0])):
            said.append((f"::column={ours}={pair[0]}", f"::column={ours}={pair[1]}"))
    if not said:
        return None
    first, second = ("".join(words) for words in zip(*said, strict=True))
    named = [words.rpartition("=")[2] for words in (first, second)]
    return f"{first}::name={named[0]}", f"{second}::name={named[1]}"


def _stem(name: str, usual: Iterable[str]) -> str | None:
    """Return the usual name that a column's name is with a further word before or behind it."""
    words = plain_name(name).split("_")
    cuts = range(1, len(words))
    stems = [*("_".join(words[:cut]) for cut in reversed(cuts)), *("_".join(words[cut:]) for cut in cuts)]
    return next((stem for stem in stems if stem in usual), None)


def _is_called(path: str, usual: Iterable[str]) -> bool:
    """Whether a column, or what stands inside of one, has one of the usual names."""
    parts = [plain_name(part) for part in path.split(".") if not part.isdigit()] or [path]
    return (
        plain_name(path) in usual or parts[-1] in usual or (parts[0] in usual and parts[-1] in (*usual, *_TEXT_MEMBERS))
    )


def _hold_texts(rows: Rows, name: str) -> bool:
    return any(isinstance(row.get(name), str) for row in rows)


def _are_numbers(rows: Rows, name: str) -> bool:
    said = said_texts(rows, name)
    return bool(said) and all(re.fullmatch(r"\s*[-+]?\d*[.,]?\d+(e[-+]?\d+)?\s*", text.lower()) for text in said)


def _flag(ours: str, theirs: str) -> str:
    return f"--column {shlex.quote(f'{ours}={theirs}')}"
