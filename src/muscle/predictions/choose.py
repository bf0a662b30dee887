"""Choosing among what a run holds: one of its filters, or the metric that decides.

Harnesses store several readings of one answer (`strict-match` and `flexible-extract`), and several metrics of
it. A comparison is of one of them; which, is the user's choice where the format's own headline is not wanted.
"""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from muscle.errors import DataError
from muscle.foreign_text import listing
from muscle.predictions.run import SCORE_PREFIX, Run


def with_filter(run: Run, name: str) -> Run:
    """Keep the predictions of one filter; tasks that never had several keep theirs.

    Args:
        run: the run.
        name: the filter's name.

    Raises:
        DataError: no task has that filter.
    """
    filters = run.frame["filter"].unique(maintain_order=True).to_list()
    if name not in filters:
        raise DataError(f"{run.name}: expected the filter {name!r}, found {listing(filters)}")
    several = pl.col("filter").n_unique().over("task") > 1
    frame = run.frame.filter(~several | (pl.col("filter") == name))
    return replace(run, frame=frame)


def with_metric(run: Run, name: str, *, is_main: bool = True) -> Run:
    """Let a metric decide: where it knows only 0 and 1 it says what is right, else it is the score that is compared.

    Tasks that lack the metric keep their own.

    Args:
        run: the run.
        name: the metric's name, as the run's scores have it.
        is_main: whether a metric of 0 and 1 becomes the main score, too; a reader that decided by it already
            keeps its own.

    Raises:
        DataError: no task has that metric.
    """
    column = f"{SCORE_PREFIX}{name}"
    frame = run.frame
    if column not in frame.columns or frame[column].null_count() == frame.height:
        raise DataError(f"{run.name}: expected the metric {name!r}, found {listing(run.score_names())}")
    value = pl.col(column)
    has_it = value.is_not_null().any().over("task")
    is_binary = (value.is_null() | value.is_in([0.0, 1.0])).all().over("task")
    decided = pl.when(is_binary).then(value == 1.0)
    if is_main:
        frame = frame.with_columns(correct=pl.when(has_it).then(decided).otherwise(pl.col("correct")))
    else:
        frame = frame.with_columns(correct=pl.when(has_it & ~is_binary).then(None).otherwise(pl.col("correct")))
    if is_main or not frame.select((~has_it | is_binary).all()).item():
        first = frame.columns.index(next(c for c in frame.columns if c.startswith(SCORE_PREFIX)))
        others = [c for c in frame.columns if c != column]
        frame = frame.select(*others[:first], column, *others[first:])
    # What is known of the verdicts before is not of those that decide now.
    gone = ("compares", "judged_by", "verdict_columns", "unused_columns")
    kept = {key: fact for key, fact in run.metadata.items() if key not in gone}
    return replace(run, frame=frame, metadata=kept)
