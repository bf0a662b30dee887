"""Which columns of a file are asked, which holds the answer, which the options: by the names that people give them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from muscle.errors import DataError
from muscle.predictions.plain.known_names import IDS, INPUTS, REFERENCES, plain_name
from muscle.predictions.records import all_names
from muscle.tasks.fields import read_text, read_texts
from muscle.tasks.own.labels import LabelKind, read_gold
from muscle.tasks.task import Row

Value = TypeVar("Value")
TextsOf = Callable[[Row], tuple[str, ...]]
"""A row in, the texts of its options out; raises DataError where it has none."""

_FURTHER_INPUTS = (
    *("context", "passage", "paragraph", "document", "article", "dialogue", "conversation", "title", "subject", "goal"),
    *("ticket", "message", "body", "content", "email", "comment", "review", "utterance", "tweet", "post", "source"),
    *(
        "sentence",
        "sentence1",
        "sentence2",
        "premise",
        "hypothesis",
        "claim",
        "user_input",
        "request",
        "ctx",
        "sql_prompt",
    ),
)
_ANSWERS = (
    *("label_text", "label_name", *REFERENCES, "completion", "response", "output", "summary", "highlights", "solution"),
    *("rating", "stars", "grade", "department", "priority", "queue"),
    *("category", "class", "sentiment", "intent", "team", "topic", "translation", "answers", "target_text", "tag"),
)
_LABELS = (
    *("label", "answer", "answer_key", "answerkey", "correct_option", "correct_answer", "answer_idx", "answer_index"),
    *("gold", "target", "correct", "cop", "right_answer", "correct_index", "gold_index", "expected"),
)
_OPTION_NAMES = re.compile(
    r"(?P<stem>|options?|choices?|endings?|solutions?|sol|alternatives?|candidates?|op|opt|answers?|distractors?|wrong"
    r"|incorrect_answers?)_?(?P<mark>[a-j]|\d)"
)
_WRONG = ("distractor", "wrong", "incorrect_answer")
_CHATS = ("messages", "conversations", "conversation", "chat", "dialog")
_ENOUGH = 0.95
"""Share of the rows that must fit; what the others are is told once the task reads them all."""
_MOST_SLICE_VALUES = 20


@dataclass(frozen=True)
class Options:
    """Where the options of an item stand, and which is right.

    Attributes:
        templates: a template an option, or the name of a column with a list of them.
        label: the column that says which is right.
        kind: how it says it.
        doubt: what else the label may mean; empty where nothing.
    """

    templates: tuple[str, ...] | str
    label: str
    kind: LabelKind
    doubt: str = ""


@dataclass(frozen=True)
class Columns:
    """A file's columns by what they are for.

    Attributes:
        inputs: what is asked, in the file's order.
        answer: the column with the right answer; None where there are options or a chat.
        options: the answer options, where an item has its own.
        chat: the column with a list of messages whose last is the answer.
        id: names the items.
        slices: group the items.
        unused: the others.
    """

    inputs: tuple[str, ...]
    answer: str | None
    options: Options | None
    chat: str | None
    id: str | None
    slices: tuple[str, ...]
    unused: tuple[str, ...]


def find_columns(rows: Sequence[Row], given: Mapping[str, str]) -> Columns:
    """Tell the columns of a file.

    Args:
        rows: the file's.
        given: `input`, `answer` and `id` as the user names them; several inputs with commas between them.

    Returns:
        What was found; `inputs` may be empty, and `answer` None, where no name tells.
    """
    names = all_names(rows)
    plain = {name: plain_name(name) for name in names}
    taken = given.get("id")
    id_ = taken or next((name for name in names if plain[name] in IDS and _are_different(rows, name)), None)
    free = [name for name in names if name != id_]
    wanted = tuple(name.strip() for name in given["input"].split(",")) if "input" in given else ()
    chat = None if wanted else next((name for name in free if plain[name] in _CHATS and _is_chat(rows, name)), None)
    answer = given.get("answer")
    options = None if chat else _find_options(rows, [name for name in free if name not in wanted], answer)
    spent = {chat, options and options.label, *_named_columns(options)}
    if options is None and chat is None and answer is None:
        others = [name for name in free if name not in wanted]
        answer = next((name for usual in _ANSWERS for name in others if plain[name] == usual), None)
        asked = [name for name in others if plain[name] in (*INPUTS, *_FURTHER_INPUTS)]
        if answer in asked:  # the only column with a usual name
            answer = next((name for name in reversed(others) if name != answer), None)
        if answer is None and len(others) == 1 + (not wanted):
            answer = min((name for name in others if name not in asked), key=partial(_mean_length, rows))
    spent |= {answer} if options is None else set()
    left = [name for name in free if name not in spent]
    inputs = wanted or (() if chat else _find_inputs(rows, left, plain))
    rest = [name for name in left if name not in inputs]
    slices = tuple(name for name in rest if _has_few_values(rows, name))
    unused = tuple(name for name in rest if name not in slices)
    return Columns(inputs, None if options else answer, options, chat, id_, slices, unused)


def _find_inputs(rows: Sequence[Row], left: Sequence[str], plain: Mapping[str, str]) -> tuple[str, ...]:
    usual = tuple(
        name for name in left if plain[name] in (*INPUTS, *_FURTHER_INPUTS) and _are_texts(rows, name, may_lack=True)
    )
    texts = [name for name in left if _are_texts(rows, name) and not _has_few_values(rows, name)]
    # A column of few values beside a text groups the items; one that is empty in places is an optional part of it.
    own = tuple(name for name in usual if not (_has_few_values(rows, name) and _are_texts(rows, name)))
    own = tuple(name for name in own if len({str(row.get(name)) for row in rows}) > 1)
    return own or usual or tuple(texts[:1] if len(texts) == 1 else ())


def _find_options(rows: Sequence[Row], names: Sequence[str], label: str | None) -> Options | None:
    """Find a list of options, or a column for each, and the column that says which is right."""
    for name in names:
        listed = _options_of_list(name)
        if _fit(rows, listed) and (found := _label_of(rows, names, listed, {name}, label)):
            return Options(name, *found)
        nested = _options_of_text(name)
        counts = {len(texts) for row in rows if (texts := _tried(nested, row))}
        if len(counts) == 1 and _fit(rows, nested) and (found := _label_of(rows, names, nested, {name}, label)):
            return Options(tuple(f"{{{{ {reference(name)}.text[{n}] }}}}" for n in range(counts.pop())), *found)
    groups: dict[str, list[str]] = {}
    for name in names:
        match = _OPTION_NAMES.fullmatch(plain_name(name))
        if match and _are_texts(rows, name):
            groups.setdefault(match["stem"], []).append(name)
    for stem, columns in groups.items():
        right = [name for name in names if plain_name(name) in ("correct_answer", "right_answer", "answer", "correct")]
        members = [*right[:1], *columns] if stem.startswith(_WRONG) else columns
        found = _label_of(rows, names, _options_of_columns(members), set(columns), label) if len(members) > 1 else None
        if found:
            return Options(tuple(f"{{{{ {reference(member)} }}}}" for member in members), *found)
    return None


def _label_of(
    rows: Sequence[Row], names: Sequence[str], texts: TextsOf, options: set[str], wanted: str | None
) -> tuple[str, LabelKind, str] | None:
    """Return the column that names the right option, how, and what else it may mean."""
    usual = [name for label in _LABELS for name in names if plain_name(name) == label and name not in options]
    others = [name for name in names if name not in options and name not in usual]
    for name in [wanted] if wanted else [*usual, *others]:
        # A small number in a column of any name would do.
        counted: tuple[LabelKind, ...] = ("index", "number") if name in usual or name == wanted else ()
        kinds: tuple[LabelKind, ...] = ("text", "letter", *counted)
        fitting = [kind for kind in kinds if _fit(rows, _names_an_option(name, texts, kind))]
        if fitting:
            doubt = f"no row tells whether {name!r} counts from 0 or from 1 (`kind: number`)"
            return name, fitting[0], doubt if fitting == ["index", "number"] else ""
    return None


def _options_of_list(name: str) -> TextsOf:
    """Return what reads the options of a row out of a list."""
    return lambda row: read_texts(row, name)


def _options_of_text(name: str) -> TextsOf:
    """The same out of the `text` of a column, as ARC and CommonsenseQA have it."""

    def texts(row: Row) -> tuple[str, ...]:
        value = row.get(name)
        return read_texts(value, "text") if isinstance(value, Mapping) else ()

    return texts


def _options_of_columns(members: Sequence[str]) -> TextsOf:
    """The same out of a column for each."""
    return lambda row: tuple(read_text(row, member) for member in members)


def _names_an_option(name: str, texts: TextsOf, kind: LabelKind) -> Callable[[Row], object]:
    """Return what tells whether a row's label names one of its options."""
    return lambda row: read_gold(row, name, texts(row), kind) >= 0


def _fit(rows: Sequence[Row], reads: Callable[[Row], object]) -> bool:
    """Whether nearly all rows can be read so."""
    return sum(bool(_tried(reads, row)) for row in rows) >= _ENOUGH * len(rows)


def _tried(reads: Callable[[Row], Value], row: Row) -> Value | None:
    try:
        return reads(row)
    except DataError:
        return None


def _named_columns(options: Options | None) -> set[str | None]:
    if options is None:
        return set()
    if isinstance(options.templates, str):
        return {options.templates}
    return {match for template in options.templates for match in re.findall(r"\w+", template)[:1]}


def reference(name: str) -> str:
    """Return a name by which a template can speak of a column.

    >>> reference("Ticket Text"), reference("body"), reference("2nd")
    ('ticket_text', 'body', 'column_2nd')
    """
    if re.fullmatch(r"[A-Za-z_]\w*", name):
        return name
    plain = re.sub(r"\W+", "_", name.strip()).strip("_").lower() or "column"
    return plain if not plain[0].isdigit() else f"column_{plain}"


def _is_chat(rows: Sequence[Row], name: str) -> bool:
    def fits(row: Row) -> bool:
        value = row.get(name)
        is_list = isinstance(value, Sequence) and len(value) > 1 and isinstance(value[-1], Mapping)
        return is_list and bool({"content", "value"} & set(value[-1]))  # type: ignore[index]

    return _fit(rows, fits)


def _are_texts(rows: Sequence[Row], name: str, *, may_lack: bool = False) -> bool:
    values = [row.get(name) for row in rows]
    there = [value for value in values if value not in (None, "")]
    return bool(there) and all(isinstance(value, str) for value in there) and (may_lack or len(there) == len(values))


def _are_different(rows: Sequence[Row], name: str) -> bool:
    return len({str(row.get(name)) for row in rows}) == len(rows)


def _mean_length(rows: Sequence[Row], name: str) -> float:
    return sum(len(str(row.get(name))) for row in rows) / len(rows)


def _has_few_values(rows: Sequence[Row], name: str) -> bool:
    """Whether a column has few values, each of several rows."""
    values = [row.get(name) for row in rows]
    if any(not isinstance(value, (str, int, bool)) for value in values):
        return False
    number = len({str(value) for value in values})
    return 2 <= number <= _MOST_SLICE_VALUES and len(values) >= 5 * number
