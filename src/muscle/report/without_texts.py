"""A report without its items' texts, for results that are kept or passed on where the texts must not be.

Numbers, names, ids, prompts' templates and settings stay. Words that set apart what broke go, as they are quoted from
answers; so do the values of slices by a column of texts, which get their hash as a name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from muscle.flips.pairing.comparability import Difference
from muscle.flips.result.flip import Answer, Flip, RepeatedAnswers
from muscle.flips.result.report import Report, TaskResult
from muscle.flips.slices.slice_numbers import ConcentratedSlice, SliceNumbers, TaskSlices
from muscle.predictions.records import input_hash

NOTE = (
    "inputs, options, references and answers are left out of this report; "
    "an item is named by its id and its input's hash"
)
"""The warning by which such a report is known."""

_TEXT_COLUMNS = ("input", "choices", "reference", "output")

AnyAnswer = TypeVar("AnyAnswer", bound=Answer)
AnySlice = TypeVar("AnySlice", SliceNumbers, ConcentratedSlice)


def without_texts(report: Report) -> Report:
    """Return a comparison's report without its items' texts.

    Returns:
        A report in which each listed flip has `input_hash` in place of its texts: that of the records (SHA-256 of the
        input and its options), taken of what the report shows of them; none where it shows no input.
    """
    if NOTE in report.warnings:
        return report
    hidden = {name: _slices_of_texts(task) for name, task in report.tasks.items()}
    return replace(
        report,
        warnings=[*report.warnings, NOTE],
        tasks={name: _without_quotes(task) for name, task in report.tasks.items()},
        flips=[_hashed(flip, hidden.get(flip.task, set())) for flip in report.flips],
        comparability={side: [_unquoted(each) for each in found] for side, found in report.comparability.items()},
    )


def _unquoted(found: Difference) -> Difference:
    """Return what differs beside the model, without what it quotes of a prompt."""
    return replace(found, message=found.message.replace(found.quoted, "") if found.quoted else found.message, quoted="")


def _hashed(flip: Flip, hidden: set[str]) -> Flip:
    """Return a flip with its input's hash in place of its texts, and so its slices of the names in `hidden`."""
    return replace(
        flip,
        input=None,
        choices=None,
        reference=None,
        old=_without_output(flip.old),
        new=_without_output(flip.new),
        candidate=None if flip.candidate is None else _without_output(flip.candidate),
        slices={by: _hash_name(value) if by in hidden else value for by, value in flip.slices.items()},
        repeats=None if flip.repeats is None else _without_outputs(flip.repeats),
        input_hash=None if flip.input is None else input_hash(flip.input, flip.choices or ()),
    )


def _without_output(answer: AnyAnswer) -> AnyAnswer:
    return replace(answer, output=None)


def _without_outputs(repeats: RepeatedAnswers) -> RepeatedAnswers:
    def emptied(answers: Sequence[Answer] | None) -> list[Answer] | None:
        return None if answers is None else [_without_output(answer) for answer in answers]

    return RepeatedAnswers(emptied(repeats.candidate), emptied(repeats.old), emptied(repeats.new))


def _without_quotes(task: TaskResult) -> TaskResult:
    return replace(
        task,
        what_changed=[feature for feature in task.what_changed if feature.kind != "ngram"],
        slices={side: None if sliced is None else _with_hash_names(sliced) for side, sliced in task.slices.items()},
    )


def _slices_of_texts(task: TaskResult) -> set[str]:
    """Return the names of a task's slices whose values are texts of the items."""
    return {name for sliced in task.slices.values() if sliced is not None for name in _of_texts(sliced)}


def _of_texts(sliced: TaskSlices) -> set[str]:
    return {cut.by for cut in sliced.by if cut.kind == "column" and cut.of in _TEXT_COLUMNS}


def _with_hash_names(sliced: TaskSlices) -> TaskSlices:
    """Return a task's slices of one comparison, those of texts named by their hash."""
    hidden = _of_texts(sliced)

    def renamed(rows: Sequence[AnySlice]) -> list[AnySlice]:
        return [replace(row, value=_hash_name(row.value)) if row.by in hidden else row for row in rows]

    return replace(
        sliced,
        rows=renamed(sliced.rows),
        concentrated=renamed(sliced.concentrated),
        simpson=[
            replace(case, worse=[*map(_hash_name, case.worse)], better=[*map(_hash_name, case.better)])
            if case.by in hidden
            else case
            for case in sliced.simpson
        ],
    )


def _hash_name(text: str) -> str:
    return f"sha256 {input_hash(text)[:16]}"
