"""The line that says what decides in a file, from which column, and which columns are not used."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from muscle.foreign_text import listing
from muscle.predictions.plain.known_names import MEASURES, plain_name
from muscle.predictions.plain.verdicts import compared_with_reference
from muscle.predictions.run import SCORE_PREFIX, RunFacts

_ENOUGH = 10
"""Answers of which one is right, as a rule, by a rule that fits."""


@dataclass(frozen=True)
class WhatDecides:
    """What decides in a file.

    Attributes:
        line: in words.
        kind: "plain", which nobody could doubt: fields of the format decide, and every column is used; "reading", a
            choice between columns that reports tell; "doubt", which should make a reader look twice.
        compares: the field that is compared with the reference, where verdicts are made so; None where they are given.
        measure: the metric whose verdicts they are, where their column is called by one.
        column: the column of verdicts that decides, as `plain_name` writes it; None where none does.
        unused: the columns that are not used, written so.
    """

    line: str
    kind: Literal["plain", "reading", "doubt"]
    compares: str | None = None
    measure: str | None = None
    column: str | None = None
    unused: tuple[str, ...] = ()

    def facts(self) -> RunFacts:
        """Return it as facts of a run."""
        facts: RunFacts = {
            "notes": [self.line] if self.kind == "doubt" else [],
            "readings": [self.line] if self.kind == "reading" else [],
            "decided": self.line,
        }
        if self.compares is not None:
            facts["compares"] = self.compares
        if self.measure is not None:
            facts["judged_by"] = self.measure
        if self.column is not None:
            facts["verdict_columns"] = [self.column]
        if self.unused:
            facts["unused_columns"] = list(self.unused)
        return facts


def what_decides(
    frame: pl.DataFrame,
    *,
    fields: Collection[str],
    columns: Mapping[str, str],
    unread: Sequence[str],
    is_asked: bool = False,
) -> WhatDecides:
    """Say in one line what decides, from which column, and which columns are not used; and whether that is doubtful.

    Args:
        frame: a file's records.
        fields: the fields that the file has, in our names.
        columns: our field names to the file's.
        unread: the file's columns that are not read.
        is_asked: whether the user named the score.
    """

    def column(ours: str) -> str:
        return columns.get(ours, ours)

    def named(ours: str) -> str:
        return f"'{listing([column(ours)])}'"

    scores = [name for name in frame.columns if name.startswith(SCORE_PREFIX)]
    ignored, doubt, compares = list(unread), "", None
    if "correct" in fields:
        deciding = ["correct"]
        line = f"column {named('correct')} decides what is right"
        ignored += [column("score")] if f"{SCORE_PREFIX}score" in scores else []
    elif frame["correct"].null_count() < frame.height or not scores:
        answers = [n for n in ("choice", "extracted_answer", "output") if n in fields and not _is_empty(frame, n)]
        deciding = [next(iter(answers), "output"), "reference"]
        compares = deciding[0]
        line = f"{named(deciding[0])} compared with {named('reference')} decides what is right"
        doubt = _none_is_right(frame["correct"].drop_nulls()) or _wrong_by_capitals(frame, compares)
        if f"{SCORE_PREFIX}score" in scores and not is_asked:
            ignored.append("score")
    else:
        score = scores[0].removeprefix(SCORE_PREFIX)
        deciding = [score if score == "score" else scores[0]]
        line = f"score {named(deciding[0])} decides what is better"
        if not _is_empty(frame, "output") and not _is_empty(frame, "reference"):
            line += "; outputs are not compared with references"
    others = [f"{ours} from {named(ours)}" for ours in ("input", "id") if column(ours) != ours]
    ends = [doubt, ", ".join(others), f"not used: {listing(ignored)}" if ignored else ""]
    # A score that is called so may be a judge's, a distance or a confidence: that it decides is told.
    is_plain = deciding != ["score"] and all(column(ours) == ours for ours in deciding) and not any(ends)
    kind: Literal["plain", "reading", "doubt"] = "doubt" if doubt else "plain" if is_plain else "reading"
    told = "; ".join([line, *filter(None, ends)])
    verdicts = plain_name(column("correct")) if "correct" in fields else None
    measure = None if verdicts is None else MEASURES.get(verdicts)
    return WhatDecides(told, kind, compares, measure, verdicts, tuple(map(plain_name, unread)))


def over_files(files: Iterable[RunFacts]) -> RunFacts:
    """Bring together what decides in the files of a folder: the columns of all, and the metric that all name."""
    found: RunFacts = {}
    several = list(files)
    measures = {facts.get("judged_by") for facts in several}
    if len(measures) == 1 and (measure := measures.pop()) is not None:
        found["judged_by"] = measure
    verdicts = {name: None for facts in several for name in facts.get("verdict_columns", ())}
    unused = {name: None for facts in several for name in facts.get("unused_columns", ())}
    if verdicts:
        found["verdict_columns"] = list(verdicts)
    if unused:
        found["unused_columns"] = list(unused)
    return found


def _none_is_right(verdicts: pl.Series) -> str:
    """Say that no answer is its reference: rather than a poor model it may be a rule that does not fit."""
    if verdicts.any() or verdicts.len() < _ENOUGH:
        return ""
    return (
        f"none of {verdicts.len()} answers is the same text as its reference: if another rule decides (a number or "
        "word within the text), give its verdict in a column 'correct'"
    )


def _wrong_by_capitals(frame: pl.DataFrame, compares: str) -> str:
    """Say how many answers are wrong by their capitals alone: exports of one system often differ in these."""
    wrong = frame.filter(~pl.col("correct"))
    small = wrong.with_columns(
        pl.col("reference").list.eval(pl.element().str.to_lowercase()),
        *(pl.col(name).str.to_lowercase() for name in ("extracted_answer", "output")),
    )
    num = 0 if compares == "choice" else int(compared_with_reference(small, compares).sum())
    return (
        f"{num:,} of {wrong.height:,} wrong answers are their reference but for capitals: if these are right, write "
        "both alike, or give a verdict in a column 'correct'"
        if num
        else ""
    )


def _is_empty(frame: pl.DataFrame, name: str) -> bool:
    return frame[name].null_count() == frame.height
