"""What a set of items adds up to: flips by quadrant, and the change of accuracy or of the mean score.

A whole task, or each value of a slice, is reduced to a `Tally` in one pass; tables and gates are made from tallies, so
that a million items cost as much to judge as a hundred.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from muscle.flips.measuring.metrics import (
    ALL,
    NEGATIVE,
    NEW_RIGHT,
    OLD_RIGHT,
    POSITIVE,
    Quadrants,
    accuracy_difference,
)
from muscle.flips.pairing.flip_sign import NEGATIVE_FLIP, POSITIVE_FLIP, Kind
from muscle.flips.pairing.items import TaskItems
from muscle.flips.statistics import intervals as statistics
from muscle.flips.statistics.arrays import Floats, Ints
from muscle.flips.statistics.clusters import clustered_test
from muscle.flips.statistics.intervals import CONFIDENCE, Estimate, t_value

_CELLS = tuple(f"cell{number}" for number in ALL)


@dataclass(frozen=True)
class Spread:
    """A mean difference of scores and how well it is known.

    Attributes:
        mean: of D over the items, in the score's unit.
        error: standard error of it, cluster-robust where items are grouped; None where there is none.
        freedom: degrees of freedom of Student's t.
    """

    mean: float
    error: float | None
    freedom: int

    def bounds(self, confidence: float) -> tuple[float, float] | None:
        """Return the ends of the two-sided interval; None where there is no error."""
        if self.error is None:
            return None
        reach = t_value(self.freedom, confidence) * self.error
        return self.mean - reach, self.mean + reach


@dataclass(frozen=True)
class Tally:
    """The items of a task, or of a slice of it, summed up.

    Attributes:
        kind: "binary" where correctness is known, else "continuous".
        quadrants: the items by what became of them; of a score, worse and better items stand in the places of negative
            and positive flips, the others among those that are wrong in both.
        level_old: accuracy or mean score of the old version.
        level_new: the same of the new version.
        spread: of the score's difference, or of grouped items' net; None for binary items that are independent, whose
            counts say all.
        groups: (groups,) the numbers of the items' groups, in the order of the quadrants' clusters; None where items
            are independent.
    """

    kind: Kind
    quadrants: Quadrants
    level_old: float
    level_new: float
    spread: Spread | None
    groups: Ints | None = None

    @property
    def total(self) -> int:
        """All items."""
        return self.quadrants.total

    def difference(self) -> Estimate:
        """Return the change of accuracy (Newcombe's paired interval) or of the mean score (Student's t)."""
        if self.spread is None:
            return accuracy_difference(self.quadrants)
        bounds = self.spread.bounds(CONFIDENCE)
        if bounds is None:
            return Estimate(self.spread.mean, why="one item, or one group of items, has no interval")
        return Estimate(self.spread.mean, *bounds)

    def p_value(self) -> float:
        """Return the two-sided p-value of more flips one way: exact McNemar, or over the groups of items."""
        if self.quadrants.clusters is None:
            return statistics.mcnemar(self.quadrants.negative_flips, self.quadrants.positive_flips).exact
        return clustered_test(self.quadrants.by_cluster(NEGATIVE), self.quadrants.by_cluster(POSITIVE)).two_sided


def item_cells(items: TaskItems) -> pl.DataFrame:
    """Return each item's cell of the quadrants, its difference, its group, and whether its answers could be compared.

    Args:
        items: the task's items.

    Returns:
        (items,) rows: `cell`, `unknown`, `level_old`, `level_new`, and `cluster` where items are grouped.
    """
    frame = items.frame
    if items.kind == "binary":
        old, new, changed = pl.col("correct_old"), pl.col("correct_new"), pl.col("changed")
        cell = 4 * old.cast(pl.UInt8) + 2 * new.cast(pl.UInt8) + changed.fill_null(False).cast(pl.UInt8)
        unknown = changed.is_null() & (old == new)
        levels = [old.cast(pl.Float64).alias("level_old"), new.cast(pl.Float64).alias("level_new")]
    else:
        flip = pl.col("flip")
        cell = pl.when(flip == NEGATIVE_FLIP).then(NEGATIVE[0]).when(flip == POSITIVE_FLIP).then(POSITIVE[0])
        cell = cell.otherwise(0).cast(pl.UInt8)
        unknown = pl.lit(True)
        levels = [pl.col("score_old").alias("level_old"), pl.col("score_new").alias("level_new")]
    groups = ["cluster"] if "cluster" in frame.columns else []
    return frame.select(cell.alias("cell"), unknown.alias("unknown"), *levels, *groups)


def tally(items: TaskItems) -> Tally | None:
    """Sum up a task's items; None where there are none."""
    cells = item_cells(items)
    if cells.is_empty():
        return None
    groups = _groups(cells.with_columns(value=pl.lit(""))).get("") if "cluster" in cells.columns else None
    return _tally(cells.select(_slice_sums()).row(0, named=True), items.kind, groups)


def quadrants_of(items: TaskItems) -> Quadrants:
    """Count the items in each quadrant; of a score, worse and better items stand in the places of the flips."""
    found = tally(items)
    return no_quadrants(items) if found is None else found.quadrants


def no_quadrants(items: TaskItems) -> Quadrants:
    """Return the quadrants of a task without items."""
    nothing = np.zeros(len(ALL), dtype=np.int64)
    clusters = nothing[:0].reshape(0, len(ALL)) if "cluster" in items.frame.columns else None
    return Quadrants(nothing, items.kind == "binary", clusters)


def tally_by(items: TaskItems, values: pl.Series) -> dict[str, Tally]:
    """Sum up a task's items by the slice that they belong to.

    Args:
        items: the task's items.
        values: (items,) the slice of each item; null for none.

    Returns:
        The tallies by slice, in the order of the slices' names.
    """
    cells = item_cells(items).with_columns(values.cast(pl.String).alias("value"))
    cells = cells.drop_nulls("value")
    if cells.is_empty():
        return {}
    clustered = "cluster" in cells.columns
    sums = cells.group_by("value").agg(_slice_sums())
    groups = _groups(cells) if clustered else {}
    return {
        row["value"]: _tally(row, items.kind, groups.get(row["value"]))
        for row in sums.sort("value").iter_rows(named=True)
    }


def _slice_sums() -> list[pl.Expr]:
    """Return what a set of items is summed up by: its cells, levels, and the mean and deviation of the difference."""
    difference = pl.col("level_new") - pl.col("level_old")
    return [
        *_cell_counts(),
        pl.col("unknown").any(),
        pl.col("level_old").mean(),
        pl.col("level_new").mean(),
        difference.mean().alias("mean"),
        difference.std().alias("deviation"),
    ]


def _cell_counts() -> list[pl.Expr]:
    return [(pl.col("cell") == number).sum().alias(name) for number, name in enumerate(_CELLS)]


@dataclass(frozen=True)
class _Groups:
    """The groups of items in a slice: their numbers, counts by cell, (groups, 8), and sums of the difference."""

    numbers: Ints
    cells: Ints
    sums: Floats


def _groups(cells: pl.DataFrame) -> dict[str, _Groups]:
    by_group = (
        cells.group_by("value", "cluster")
        .agg(
            *_cell_counts(),
            sums=(pl.col("level_new") - pl.col("level_old")).sum(),
        )
        .sort("value", "cluster")
    )
    counts = by_group.select(_CELLS).to_numpy().astype(np.int64)
    numbers = by_group["cluster"].to_numpy().astype(np.int64)
    sums = by_group["sums"].to_numpy().astype(np.float64)
    lengths = by_group.group_by("value", maintain_order=True).len()
    ends = np.cumsum(lengths["len"].to_numpy().astype(np.int64))
    starts = np.concatenate(([0], ends[:-1]))
    return {
        value: _Groups(numbers[start:end], counts[start:end], sums[start:end])
        for value, start, end in zip(lengths["value"], starts, ends, strict=True)
    }


def _tally(row: Mapping[str, Any], kind: Kind, groups: _Groups | None) -> Tally:
    counts = np.array([row[name] for name in _CELLS], dtype=np.int64)
    quadrants = Quadrants(counts, not row["unknown"], None if groups is None else groups.cells)
    spread = None
    if groups is not None:
        spread = spread_of_groups(groups.sums, groups.cells.sum(axis=1))
    elif kind == "continuous":
        deviation = row["deviation"]
        error = None if deviation is None else deviation / math.sqrt(quadrants.total)
        spread = Spread(row["mean"], error, quadrants.total - 1)
    numbers = None if groups is None else groups.numbers
    return Tally(kind, quadrants, row["level_old"], row["level_new"], spread, numbers)


def spread_of_groups(sums: Floats, sizes: Ints) -> Spread:
    """Return a mean difference and its standard error from groups of items.

    Miller 2024 (arXiv 2411.00640): sqrt(sum_g (sum_{i in g} (d_i - d))^2) / n, with G / (G - 1) for few groups.

    Args:
        sums: (groups,) sum of the items' differences.
        sizes: (groups,) number of items, above 0.
    """
    number, total = sizes.size, float(sizes.sum())
    mean = float(sums.sum()) / total
    if number < 2:
        return Spread(mean, None, 0)
    residuals = sums - mean * sizes
    error = math.sqrt(number / (number - 1) * float(np.square(residuals).sum())) / total
    return Spread(mean, error, number - 1)


def tally_of_counts(quadrants: Quadrants) -> Tally:
    """Return the tally of binary items that are independent, from their counts alone."""
    total = quadrants.total
    return Tally("binary", quadrants, quadrants.count(OLD_RIGHT) / total, quadrants.count(NEW_RIGHT) / total, None)
