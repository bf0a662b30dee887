"""Columns by the names that people give them: which stand for which field, and what to ask where none does.

A file in the names of the record format is read as it is. Where a field is not there, a column with one of its usual
names takes its place, if no other has one: two columns that might both be the answer are the user's to tell apart.
No usual name leads to `score`: a number beside an answer may be a confidence or a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import polars as pl

from muscle.predictions.plain.columns import TRUTHS, says_truth, text_of_value
from muscle.predictions.plain.known_names import (
    CHATS,
    EITHER,
    IDS,
    INPUTS,
    JUDGED,
    OUTPUTS,
    REFERENCES,
    TASK_IDS,
    VERDICTS,
    WEAK_INPUTS,
    WEAK_OUTPUTS,
    WEAK_REFERENCES,
    WEAK_VERDICTS,
    plain_name,
)
from muscle.predictions.plain.row_objects import ANSWERED, ASKED, ends_in_answer
from muscle.predictions.records import all_names, is_known

Rows = Sequence[Mapping[str, object]]
"""A file's first rows, as it has them."""
_SAMPLED = 100
_MOST_WORDS = 12
"""Words of a column of verdicts; one of answers has more."""


def sampled_rows(table: pl.DataFrame) -> list[dict[str, object]]:
    """Return a table's first rows."""
    return table.head(_SAMPLED).to_dicts()


def usual_columns(rows: Rows, given: Mapping[str, str] | None = None, *, is_table: bool = False) -> dict[str, str]:
    """Find the columns that stand for fields of the record format.

    Args:
        rows: a file's first rows.
        given: our field names to the file's, as the user says; no other column takes a place that is given.
        is_table: whether they are a table's, where nothing inside of a field has a path.

    Returns:
        Our field names to the file's: those given, and what was recognised by a usual name.
    """
    known = dict(given or {})
    return _by_name(rows, known if is_table else _columns_of_chat(rows, known) | known)


def _by_name(rows: Rows, given: Mapping[str, str]) -> dict[str, str]:
    found = dict(given)
    names = all_names(rows)
    free = {plain_name(name): name for name in reversed(names) if name not in found.values() and not is_known(name)}
    has = {*found, *(name for name in names if is_known(name) and name not in found.values())}

    def take(
        ours: str, usual: Iterable[str], *, only_if_alone: bool = False, fits: Callable[[str], bool] | None = None
    ) -> None:
        theirs = [free[name] for name in usual if name in free and (fits is None or fits(free[name]))]
        if ours not in has and theirs and (len(theirs) == 1 or not only_if_alone):
            found[ours] = free.pop(plain_name(theirs[0]))
            has.add(ours)

    def either() -> None:
        # `answer` is the reference beside `prediction`, and the model's answer beside `expected`.
        if "reference" in has and not has_output:
            take("output", EITHER, fits=may_be_output)
        elif "output" in has and not has_reference:
            take("reference", EITHER)

    def may_be_output(name: str) -> bool:
        """Whether a column can be compared: an object only with another, or where there is a verdict."""
        reference = found.get("reference", "reference")
        return "correct" in has or not _are_objects(rows, name) or _are_objects(rows, reference)

    def may_be_weak_output(name: str) -> bool:
        """Whether `result` holds answers: without a reference, `passed` in it is a verdict."""
        return may_be_output(name) and ("reference" in has or not are_verdicts(rows, name))

    take("correct", VERDICTS, fits=partial(are_verdicts, rows))
    is_judged = "correct" in has
    has_reference = any(name in free for name in REFERENCES if name not in EITHER)
    has_output = any(name in free for name in OUTPUTS if name not in EITHER)
    take("reference", [n for n in REFERENCES if n not in EITHER], only_if_alone=not is_judged)
    take("output", [n for n in OUTPUTS if n not in EITHER], only_if_alone=not is_judged, fits=may_be_output)
    either()
    if is_judged and not has_output and not has_reference:
        take("output", ["answer"])
    if not has_reference:
        take("reference", WEAK_REFERENCES, only_if_alone=not is_judged)
    if not has_output:
        take("output", WEAK_OUTPUTS, only_if_alone=not is_judged, fits=may_be_weak_output)
    either()
    if not {"output", "reference"} <= has:
        take("correct", WEAK_VERDICTS, fits=partial(are_verdicts, rows))
    if not {"output", "reference"} <= has and not any(name.split(".")[0] == "score" for name in has):
        # Nothing else decides: what is no verdict in it is refused by its word.
        take("correct", VERDICTS, fits=partial(are_few_words, rows))
        take("correct", JUDGED, fits=partial(are_nearly_verdicts, rows))
    take("input", INPUTS)
    take("input", WEAK_INPUTS, fits=partial(_is_asked, rows))
    take("id", IDS)
    take("id", TASK_IDS, fits=partial(_tell_items_apart, rows))
    return found


def _columns_of_chat(rows: Rows, given: Mapping[str, str]) -> dict[str, str]:
    """Find the answer in a chat that ends in it, and what was asked, where no column has a strong name for these."""
    names = {plain_name(name): name for row in rows for name in row if name not in given.values()}
    chat = next((names[name] for name in CHATS if name in names and not _is_asked(rows, names[name])), None)
    if chat is None or "output" in given or any(name in names for name in OUTPUTS if name not in EITHER):
        return {}
    is_asked = "input" in given or any(name in names for name in INPUTS)
    return {"output": f"{chat}.{ANSWERED}"} | ({} if is_asked else {"input": f"{chat}.{ASKED}"})


def said_texts(rows: Rows, name: str) -> list[str]:
    """Return what a column says, blanks left out."""
    return [text for row in rows if (text := text_of_value(row.get(name))) and text.strip()]


def are_verdicts(rows: Rows, name: str) -> bool:
    """Whether all that a column says is right or wrong, and it says something."""
    said = said_texts(rows, name)
    return bool(said) and all(says_truth(text) for text in said)


def are_few_words(rows: Rows, name: str) -> bool:
    """Whether a column says few words, and no numbers but 0 and 1."""
    said = {text.strip().lower() for text in said_texts(rows, name)}
    return 0 < len(said) <= _MOST_WORDS and all(says_truth(text) or text.strip("-+.,0123456789") for text in said)


def are_nearly_verdicts(rows: Rows, name: str) -> bool:
    """Whether a column says few words, and right or wrong among them ("yes", "no", "partial")."""
    said = {text.strip().lower() for text in said_texts(rows, name)}
    return are_few_words(rows, name) and not said.isdisjoint(TRUTHS)


def _are_objects(rows: Rows, name: str) -> bool:
    return any(isinstance(row.get(name), Mapping) for row in rows)


def _tell_items_apart(rows: Rows, name: str) -> bool:
    said = said_texts(rows, name)
    return len(set(said)) == len(said) == len(rows)


def _is_asked(rows: Rows, name: str) -> bool:
    """Whether a column holds what the model was asked: a chat that ends in the model's own answer is another each."""
    return not any(ends_in_answer(row.get(name)) for row in rows)
