"""Columns by the names that people give them, and the line that says what decides and what is not used.

A file in the names of the record format is read as it is. Where a field is not there, a column with one of its usual
names takes its place, if no other has one: two columns that might both be the answer are the user's to tell apart.
No usual name leads to `score`: a number beside an answer may be a confidence or a time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import polars as pl

from muscle.foreign_text import listing
from muscle.predictions.plain.columns import says_truth, text_of_value
from muscle.predictions.records import is_known
from muscle.predictions.run import SCORE_PREFIX

REFERENCES = (
    "reference",
    "expected",
    "expected_output",
    "expected_answer",
    "target",
    "gold",
    "gold_answer",
    "gold_label",
    "ground_truth",
    "correct_answer",
    "reference_answer",
    "references",
    "ideal",
    "true_label",
    "label",
    "answer",
)
_OUTPUT = (
    "output",
    "prediction",
    "predicted",
    "pred",
    "predicted_label",
    "predicted_answer",
    "response",
    "model_output",
    "model_response",
    "model_answer",
    "completion",
    "generation",
    "generated_text",
    "output_text",
    "answer",
)
_VERDICT = ("correct", "is_correct", "passed", "pass", "is_right", "verdict", "correctness", "exact_match", "em", "acc")
_WEAK_VERDICT = ("success", "right")
"""Said of a call as often as of its answer: taken only where there is no answer with a reference."""
INPUTS = ("input", "question", "prompt", "query", "text", "instruction", "problem")
IDS = ("id", "item_id", "question_id", "example_id", "sample_id", "prompt_id", "doc_id", "uid", "qid", "idx", "index")
_SAMPLED = 100


def plain_name(name: str) -> str:
    """Write a column's name as the lists have it.

    >>> plain_name(" Expected Answer")
    'expected_answer'
    """
    return re.sub(r"[\s\-.]+", "_", name.strip()).lower()


def sampled_rows(table: pl.DataFrame) -> list[dict[str, object]]:
    """Return a table's first rows."""
    return table.head(_SAMPLED).to_dicts()


def usual_columns(rows: Sequence[Mapping[str, object]], given: Mapping[str, str] | None = None) -> dict[str, str]:
    """Find the columns that stand for fields of the record format.

    Args:
        rows: a file's first rows.
        given: our field names to the file's, as the user says; no other column takes a place that is given.

    Returns:
        Our field names to the file's: those given, and what was recognised by a usual name.
    """
    found = dict(given or {})
    names = list(dict.fromkeys(name for row in rows for name in row))
    free = {plain_name(name): name for name in reversed(names) if name not in found.values() and not is_known(name)}
    has = {*found, *(name for name in names if is_known(name) and name not in found.values())}

    def take(ours: str, usual: Iterable[str], *, only_if_alone: bool = False) -> None:
        theirs = [free[name] for name in usual if name in free]
        if ours not in has and theirs and (len(theirs) == 1 or not only_if_alone):
            found[ours] = free.pop(plain_name(theirs[0]))
            has.add(ours)

    take("correct", [name for name in _VERDICT if name in free and _are_verdicts(rows, free[name])])
    is_judged = "correct" in has
    # `answer` is the reference beside `prediction`, and the model's answer beside `expected`.
    take("reference", REFERENCES[:-1], only_if_alone=not is_judged)
    take("output", _OUTPUT[:-1], only_if_alone=not is_judged)
    if "reference" in has and not any(name in free for name in _OUTPUT[:-1]):
        take("output", ["answer"])
    elif "output" in has and not any(name in free for name in REFERENCES[:-1]):
        take("reference", ["answer"])
    if not {"output", "reference"} <= has:
        take("correct", [name for name in _WEAK_VERDICT if name in free and _are_verdicts(rows, free[name])])
    take("input", INPUTS)
    take("id", IDS)
    return found


def _are_verdicts(rows: Sequence[Mapping[str, object]], name: str) -> bool:
    """Whether all that a column says is right or wrong, and it says something."""
    said = [text for row in rows if (text := text_of_value(row.get(name))) and text.strip()]
    return bool(said) and all(says_truth(text) for text in said)


def flags_for(rows: Sequence[Mapping[str, object]]) -> str:
    """Propose the options that say what decides, out of a file's own columns.

    A column of right and wrong is a verdict; else two columns of texts are an answer and its reference; else a column
    of numbers is a score.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    plain = {name: plain_name(name) for name in names}
    others = {*IDS, *INPUTS, *_OUTPUT, *REFERENCES}
    verdicts = [name for name in names if plain[name] not in others and _are_verdicts(rows, name)]
    if verdicts:
        return _flag("correct", verdicts[-1])
    outputs = [name for name in names if plain[name] in _OUTPUT]
    references = [name for name in names if plain[name] in REFERENCES and name not in outputs[:1]]
    texts = [n for n in names if plain[n] not in (*INPUTS, *IDS) and any(isinstance(row.get(n), str) for row in rows)]
    numbers = [name for name in names if plain[name] not in IDS and _are_numbers(rows, name)]
    output = next(iter(outputs or [name for name in texts if name not in references and name not in numbers]), None)
    reference = next(iter(references or [name for name in texts if name not in (output, *numbers)]), None)
    if output and reference:
        return f"{_flag('output', output)} {_flag('reference', reference)}"
    return _flag("score", numbers[0]) if numbers else _flag("correct", "COLUMN")


def _are_numbers(rows: Sequence[Mapping[str, object]], name: str) -> bool:
    said = [text for row in rows if (text := text_of_value(row.get(name))) and text.strip()]
    return bool(said) and all(re.fullmatch(r"\s*[-+]?\d*\.?\d+(e[-+]?\d+)?\s*", text.lower()) for text in said)


def _flag(ours: str, theirs: str) -> str:
    is_plain = re.fullmatch(r"[\w./-]+", theirs) is not None
    return f"--column {ours}={theirs}" if is_plain else f"--column '{ours}={theirs}'"


def decision(
    frame: pl.DataFrame,
    *,
    has_verdicts: bool,
    columns: Mapping[str, str],
    unread: Sequence[str],
    is_asked: bool = False,
) -> str:
    """Say in one line what decides, from which column, and which columns are not used.

    Args:
        frame: a file's records.
        has_verdicts: whether the file has a column `correct`.
        columns: our field names to the file's.
        unread: the file's columns that are not read.
        is_asked: whether the user named the score.
    """

    def named(ours: str) -> str:
        return f"'{listing([columns.get(ours, ours)])}'"

    scores = [name for name in frame.columns if name.startswith(SCORE_PREFIX)]
    ignored = list(unread)
    if has_verdicts:
        line = f"column {named('correct')} decides what is right"
        ignored += [columns.get("score", "score")] if f"{SCORE_PREFIX}score" in scores else []
    elif frame["correct"].null_count() < frame.height or not scores:
        answer = next((n for n in ("choice", "extracted_answer", "output") if not _is_empty(frame, n)), "output")
        line = f"{named(answer)} compared with {named('reference')} decides what is right"
        if f"{SCORE_PREFIX}score" in scores and not is_asked:
            ignored.append("score")
    else:
        score = scores[0].removeprefix(SCORE_PREFIX)
        line = f"score {named(score if score == 'score' else scores[0])} decides what is better"
        if not _is_empty(frame, "output") and not _is_empty(frame, "reference"):
            line += "; outputs are not compared with references"
    others = [f"{ours} from {named(ours)}" for ours in ("input", "id") if columns.get(ours, ours) != ours]
    if others:
        line += f"; {', '.join(others)}"
    return line + (f"; not used: {listing(ignored)}" if ignored else "")


def _is_empty(frame: pl.DataFrame, name: str) -> bool:
    return frame[name].null_count() == frame.height
