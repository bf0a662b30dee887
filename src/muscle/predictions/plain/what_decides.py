"""The line that says what decides in a file, from which column, and which columns are not used."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

import polars as pl

from muscle.foreign_text import listing
from muscle.predictions.run import SCORE_PREFIX

_DOUBT = "answers is the same text as its reference"
_ENOUGH = 10
"""Answers of which one is right, as a rule, by a rule that fits."""


def decision(
    frame: pl.DataFrame,
    *,
    fields: Collection[str],
    columns: Mapping[str, str],
    unread: Sequence[str],
    is_asked: bool = False,
) -> str:
    """Say in one line what decides, from which column, and which columns are not used.

    Args:
        frame: a file's records.
        fields: the fields that the file has, in our names.
        columns: our field names to the file's.
        unread: the file's columns that are not read.
        is_asked: whether the user named the score.
    """

    def named(ours: str) -> str:
        return f"'{listing([columns.get(ours, ours)])}'"

    scores = [name for name in frame.columns if name.startswith(SCORE_PREFIX)]
    ignored = list(unread)
    if "correct" in fields:
        line = f"column {named('correct')} decides what is right"
        ignored += [columns.get("score", "score")] if f"{SCORE_PREFIX}score" in scores else []
    elif frame["correct"].null_count() < frame.height or not scores:
        answers = [n for n in ("choice", "extracted_answer", "output") if n in fields and not _is_empty(frame, n)]
        line = f"{named(next(iter(answers), 'output'))} compared with {named('reference')} decides what is right"
        line += _none_is_right(frame["correct"].drop_nulls())
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


def only_says_what_decides(note: str) -> bool:
    """Whether a note says how a file was read, and nothing that should make a reader doubt the figures.

    >>> only_says_what_decides("old, new: 'prediction' compared with 'expected' decides what is right")
    True
    >>> only_says_what_decides("old: column 'passed' decides what is right: none of 60 answers is ...")
    False
    """
    return re.search(r" decides what is (right|better)(;|$)", note) is not None and _DOUBT not in note


def _none_is_right(verdicts: pl.Series) -> str:
    """Say that no answer is its reference: rather than a poor model it may be a rule that does not fit."""
    if verdicts.any() or verdicts.len() < _ENOUGH:
        return ""
    return (
        f"; none of {verdicts.len()} {_DOUBT}: if another rule decides (a number or word within the text), give its "
        "verdict in a column 'correct'"
    )


def _is_empty(frame: pl.DataFrame, name: str) -> bool:
    return frame[name].null_count() == frame.height
