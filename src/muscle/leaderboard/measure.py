"""One candidate under one seed: its numbers by task, and what became of every item."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from muscle.comparison import Comparison, compare
from muscle.flips.measuring.candidate_effect import CandidateEffect
from muscle.flips.measuring.side_numbers import SideNumbers
from muscle.flips.options import CompareOptions
from muscle.flips.pairing.flip_sign import NEGATIVE_FLIP, Kind
from muscle.leaderboard.result import SeedNumbers

_OPTIONS = CompareOptions(max_flips=0)
_KEYS = ("task", "id", "filter", "repeat")


@dataclass(frozen=True)
class MeasuredRun:
    """One candidate under one seed.

    Attributes:
        numbers: by task.
        kinds: whether a task has right and wrong, by task.
        items: a row an item: `task`, `item` (its name), `lost` (whether it is a negative flip), `level` (1 and 0 for
            right and wrong, or its score).
    """

    numbers: Mapping[str, SeedNumbers]
    kinds: Mapping[str, Kind]
    items: pl.DataFrame


def measure_old(old: Path, new: Path, seed: int) -> MeasuredRun:
    """Measure the version in use: how good it is."""
    comparison = compare(old, new, options=_OPTIONS)
    numbers = {
        name: _of_old(seed, task.old_vs_new)
        for name, task in comparison.report.tasks.items()
        if task.old_vs_new is not None
    }
    items = _items_of_version(comparison, "old").with_columns(lost=pl.lit(False))
    return MeasuredRun(numbers, _task_kinds(comparison), items)


def measure_plain(old: Path, new: Path, seed: int) -> MeasuredRun:
    """Measure the plain update against the old version."""
    return _measured(compare(old, new, options=_OPTIONS), seed)


def measure_candidate(old: Path, new: Path, candidate: Path, seed: int) -> MeasuredRun:
    """Measure a candidate against the old version, and against the plain update."""
    return _measured(compare(old, new, candidate=candidate, options=_OPTIONS), seed)


def _measured(comparison: Comparison, seed: int) -> MeasuredRun:
    """Measure the version that a comparison judges: the candidate, or the plain update without one."""
    report = comparison.report
    numbers = {
        name: _seed_numbers(seed, side, report.tasks[name].candidate_effect, report.tasks[name].kind)
        for name, side in report.judged()
    }
    version = "new" if report.candidate is None else "candidate"
    return MeasuredRun(numbers, _task_kinds(comparison), _items_of_version(comparison, version))


def _task_kinds(comparison: Comparison) -> dict[str, Kind]:
    return {name: task.kind for name, task in comparison.report.tasks.items()}


def _of_old(seed: int, side: SideNumbers) -> SeedNumbers:
    difference = side.accuracy_difference.value
    return SeedNumbers(
        seed=seed,
        n=side.n,
        accuracy=side.accuracy_old.value,
        accuracy_change=None if difference is None else -difference,
        negative_flip_rate=None,
        negative_flip_rate_change=None,
        negative_flip_rate_change_percent=None,
        positive_flip_rate=None,
        inconsistency_rate=None,
        mean_gain=None,
        mean_regression=None,
        same_answer_as_old=None,
    )


def _seed_numbers(seed: int, side: SideNumbers, effect: CandidateEffect | None, kind: Kind) -> SeedNumbers:
    """Write a comparison's numbers as a row's; without an effect it is the plain update's own, whose changes are 0."""
    churn, binary = side.churn.value, kind == "binary"
    return SeedNumbers(
        seed=seed,
        n=side.n,
        accuracy=side.accuracy_new.value,
        accuracy_change=effect.accuracy_change.value if effect else 0.0,
        negative_flip_rate=side.negative_flip_rate.value,
        negative_flip_rate_change=effect.negative_flip_rate_change.value if effect else 0.0,
        negative_flip_rate_change_percent=effect.negative_flip_rate_change_percent.value if effect else 0.0,
        positive_flip_rate=side.positive_flip_rate.value,
        inconsistency_rate=side.inconsistency_rate.value,
        mean_gain=None if binary else side.mean_gain.value,
        mean_regression=None if binary else side.mean_regression.value,
        same_answer_as_old=None if churn is None else 1 - churn,
    )


def _items_of_version(comparison: Comparison, version: str) -> pl.DataFrame:
    """Return what became of each item in one version."""
    items = comparison.items
    if version == "candidate":
        items = items.filter(pl.col("flip_candidate").is_not_null())
    flip = pl.col("flip_candidate" if version == "candidate" else "flip")
    return items.select(
        "task",
        pl.concat_str([pl.col(name).cast(pl.String).fill_null("") for name in _KEYS[1:]], separator="\0").alias("item"),
        lost=flip == NEGATIVE_FLIP,
        level=pl.coalesce(pl.col(f"correct_{version}").cast(pl.Float64), pl.col(f"score_{version}").cast(pl.Float64)),
    )
