"""Items that were asked several times: how often each is right, or what it scores, on both sides.

All answers count, also where the two runs asked unequally often. Answers to one item are one cluster: intervals are
over items, never over answers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import polars as pl

from muscle.flips.pairing.flip_sign import Kind, flips_of_scores
from muscle.flips.pairing.items import TaskItems, truth
from muscle.flips.pairing.join import Joined
from muscle.flips.statistics import clusters, resampling
from muscle.flips.statistics.arrays import Floats, Ints
from muscle.flips.statistics.intervals import Estimate, clopper_pearson
from muscle.predictions.run import SCORE_PREFIX

FEW = 5
"""With fewer items that are not zero a bootstrap knows too little of the rest: exact intervals are taken."""


@dataclass(frozen=True)
class Side:
    """One version's answers to each item of a task.

    Attributes:
        num: (items,) answers without error, K.
        values: (items, most answers) right as 1 and wrong as 0, or the score; NaN where there is no answer.
    """

    num: Ints
    values: Floats

    @cached_property
    def mean(self) -> Floats:
        """(items,) pass rate or mean score; the denominator is the item's answers."""
        mean: Floats = np.nansum(self.values, axis=1) / self.num
        return mean

    @cached_property
    def right(self) -> Ints:
        """(items,) right answers, of a binary task."""
        right: Ints = np.rint(np.nansum(self.values, axis=1)).astype(np.int64)
        return right

    @cached_property
    def variance(self) -> Floats:
        """(items,) variance of one answer, unbiased: p (1 - p) K / (K - 1) of right and wrong; NaN where K = 1."""
        squares = np.nansum(np.square(self.values - self.mean[:, None]), axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            variance: Floats = np.where(self.num > 1, squares / (self.num - 1), np.nan)
        return variance


@dataclass(frozen=True)
class Repeats:
    """All answers to the items of a task.

    Attributes:
        kind: "binary" or "continuous".
        pairs: (items,) number of each item's first pair in the joined frames.
        number: (items,) the items' numbers in `Joined.answers`, rising.
        old: the old version's answers.
        new: the new version's.
        clusters: (items,) the group of each item, from 0, where the user named some; else None.
        at_worst: whether missing answers are among them, at their worst.
    """

    kind: Kind
    pairs: Ints
    number: Ints
    old: Side
    new: Side
    clusters: Ints | None
    at_worst: bool = False

    @property
    def total(self) -> int:
        """Items, N."""
        return self.pairs.size

    @property
    def both_repeated(self) -> bool:
        """Whether some item has at least two answers on each side."""
        return bool(((self.old.num > 1) & (self.new.num > 1)).any())


def _side(answers: pl.DataFrame, number: Ints, items: TaskItems, missing: float | None) -> Side:
    """Bring a side's answers into a table of items by answers, in the order of their repeats.

    Args:
        answers: all of them, with their `item`.
        number: (items,) the items' numbers.
        items: the task's items.
        missing: what a missing answer counts as; None leaves it out.
    """
    wanted = pl.DataFrame({"item": number}).with_columns(pl.col("item").cast(answers["item"].dtype))
    rows = answers.filter(pl.col("error").is_null()).join(
        wanted.with_row_index("place"), on="item", how="inner", maintain_order="left"
    )
    correct = truth(rows) if items.kind == "binary" and rows.height else None
    if items.kind == "binary" and correct is not None:
        values = correct.cast(pl.Float64)
    else:
        values = items.sign * rows[SCORE_PREFIX + str(items.score)]
    rows = (
        rows.select("place", "repeat", (values if missing is None else values.fill_null(missing)).alias("value"))
        .drop_nulls("value")
        .sort("place", "repeat", maintain_order=True)
    )
    return side_of(rows["place"].to_numpy(), rows["value"].to_numpy(), number.size)


def side_of(place: Ints, values: Floats, num_items: int) -> Side:
    """Bring answers into a table of items by answers, in their order.

    Args:
        place: (answers,) the item of each, from 0.
        values: (answers,) what each is worth.
        num_items: of the table; one may have no answer.
    """
    order = np.argsort(place, kind="stable")
    place, values = place[order], values[order]
    num = np.bincount(place, minlength=num_items)
    at = np.arange(place.size) - (np.cumsum(num) - num)[place]
    table = np.full((num_items, int(num.max(initial=1))), np.nan)
    table[place, at] = values
    return Side(num, table)


def item_repeats(joined: Joined, items: TaskItems, *, grouped: bool = False) -> Repeats | None:
    """Collect all answers to a task's items; None where every item was asked once.

    Args:
        joined: the join that the items come from.
        items: the task's items, scored on both sides.
        grouped: whether the user named a column that groups items; else an item is a group of its own.
    """
    if joined.answers is None or items.frame.is_empty():
        return None
    columns = ["cluster"] if grouped and "cluster" in items.frame.columns else []
    found = (
        items.frame.select("pair", *columns)
        .with_columns(item=joined.answers.item.gather(items.frame["pair"]))
        .unique("item", keep="first", maintain_order=True)
        .sort("item")
    )
    number = found["item"].to_numpy().astype(np.int64)
    worst = items.worst or (None, None)
    old, new = (
        _side(answers, number, items, missing)
        for answers, missing in zip((joined.answers.old, joined.answers.new), worst, strict=True)
    )
    groups = None
    if columns:
        _, groups = np.unique(found["cluster"].to_numpy(), return_inverse=True)
    pairs = found["pair"].to_numpy().astype(np.int64)
    return Repeats(items.kind, pairs, number, old, new, groups, items.worst is not None)


def mean_of_items(values: Floats, groups: Ints | None, *, seed: int = 0) -> Estimate:
    """Return a mean over items, each item alike, with its 95 % interval.

    Bootstrapped over items (by the counts of their different values, `resampling.bootstrap_mean`), or cluster-robust
    where items are grouped. Where fewer than five items are not zero, their share has the exact interval (Clopper and
    Pearson, 1934) and their size is taken as known; without any, as the largest there can be, 1.

    Args:
        values: (items,) one value an item, at most 1 in size where few of them are not zero.
        groups: (items,) the group of each item; None where items are independent.
        seed: of the bootstrap.
    """
    if values.size == 0:
        return Estimate.undefined("no item has enough answers")
    values = np.round(values, _DIGITS) + 0.0
    moved = int(np.count_nonzero(values))
    mean = _rounded(float(values.mean()))
    if moved < FEW:
        share = clopper_pearson(moved, values.size)
        sizes = np.abs(values[values != 0]).mean() if moved else 1.0
        signs = np.sign(values[values != 0]) if moved else np.array([1.0])
        reach_low, reach_high = share.low * float(sizes), share.high * float(sizes)
        low = reach_low if (signs > 0).all() else -reach_high
        high = -reach_low if moved and (signs < 0).all() else reach_high
        return Estimate(mean, min(low, mean), max(high, mean))
    found = resampling.bootstrap_mean(values, seed=seed) if groups is None else clusters.grouped_mean(values, groups)
    return found if found.value is None else replace(found, value=_rounded(found.value))


_DIGITS = 12
"""Shares of answers (a third, a seventh) add up to their sum but for the last digits; zero shall be zero."""


def _rounded(value: float) -> float:
    return round(value, _DIGITS) + 0.0


def expected_flips(repeats: Repeats, *, epsilon: float = 0.0) -> tuple[Floats, Floats]:
    """Return the negative and the positive flips of a draw of one answer a side, expected, by item.

    Right and wrong: p_old (1 - p_new) and (1 - p_old) p_new; of a score, the share of all pairs of answers of which
    one is below the other by more than epsilon. Their difference is the difference of the means for right and wrong.

    Args:
        repeats: the answers.
        epsilon: dead band of a score.

    Returns:
        (items,) each, in [0, 1].
    """
    old, new = repeats.old, repeats.new
    if repeats.kind == "binary":
        return old.mean * (1 - new.mean), (1 - old.mean) * new.mean
    worse, better = np.zeros(repeats.total), np.zeros(repeats.total)
    for column in range(new.values.shape[1]):
        moved = new.values[:, [column]] - old.values
        flips = flips_of_scores(moved, epsilon=epsilon)
        worse += (flips < 0).sum(axis=1)
        better += (flips > 0).sum(axis=1)
    pairs = old.num * new.num
    return worse / pairs, better / pairs


def own_flips(side: Side, *, epsilon: float = 0.0) -> Floats:
    """Return the negative flips that a version shows against itself in two draws, expected, by item.

    p (1 - p) K / (K - 1), unbiased; of a score, the share of the ordered pairs of its answers of which the second is
    below the first by more than epsilon.

    Args:
        side: the version's answers.
        epsilon: dead band of a score.

    Returns:
        (items,) in [0, 1/2 K / (K - 1)]; NaN of items with a single answer.
    """
    differing = np.zeros(side.num.size)
    width = side.values.shape[1]
    known = np.nan_to_num(side.values)
    if np.isin(known, (0.0, 1.0)).all() and epsilon == 0:
        right = np.nansum(side.values, axis=1)
        differing = right * (side.num - right)
    else:
        for lag in range(1, width):
            differing += (np.abs(side.values[:, lag:] - side.values[:, :-lag]) > epsilon).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        flips: Floats = np.where(side.num > 1, differing / (side.num * (side.num - 1.0)), np.nan)
    return flips


@dataclass(frozen=True)
class VarianceSplit:
    """How the variance of an item's difference splits.

    Attributes:
        total: of one answer an item and side.
        items: that of items; unbiased, so it may be below zero where it is tiny.
        answers: that of answers to the same item.
        standard_error: of the difference of the means over all answers that were asked.
        standard_error_of_one_answer: had each item been asked once.
        n: items.
    """

    total: float
    items: float
    answers: float
    standard_error: float
    standard_error_of_one_answer: float
    n: int


def variance_split(repeats: Repeats) -> VarianceSplit | None:
    """Split the variance of an item's difference into that of items and that of answers.

    Wang 2025, arXiv 2512.21326: with b = mean p_A (1 - p_A) / (K_A - 1) + the same of B, items = var(p_A - p_B) - b,
    answers = mean p_A (1 - p_A) + mean p_B (1 - p_B) + b, and the standard error of a difference of accuracy is
    sqrt((items + answers / K) / N). Of a score the variances of its answers take the places of p (1 - p). None where
    no item has two answers a side.
    """
    kept = (repeats.old.num > 1) & (repeats.new.num > 1)
    if not kept.any():
        return None
    sides = (repeats.old, repeats.new)
    difference = (repeats.new.mean - repeats.old.mean)[kept]
    bias = sum(float((side.variance[kept] / side.num[kept]).mean()) for side in sides)
    answers = sum(float(side.variance[kept].mean()) for side in sides)
    items = float(difference.var()) - bias
    total = items + answers
    n = int(kept.sum())
    return VarianceSplit(
        total=total,
        items=items,
        answers=answers,
        standard_error=float(np.sqrt(difference.var() / n)),
        standard_error_of_one_answer=float(np.sqrt(max(total, 0.0) / n)),
        n=n,
    )
