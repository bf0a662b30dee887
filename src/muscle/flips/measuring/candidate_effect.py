"""What a candidate changes against the plain update, item by item: dNFR_c, d%NFR_c, dacc_c, dm_g, dm_r.

MUSCLE (2024), Sec. 3 and Tables 4 to 6. All of it is over the items that the old version, the plain update and the
candidate all answered, so that nothing but the candidate differs. Where items are grouped (answers to one item, a
column that the user named) every interval and the test is over the groups.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import polars as pl

from muscle.flips.pairing.flip_sign import NEGATIVE_FLIP, flips_of_scores
from muscle.flips.pairing.items import TaskItems
from muscle.flips.pairing.join import Joined
from muscle.flips.statistics import clusters, resampling
from muscle.flips.statistics import intervals as statistics
from muscle.flips.statistics.arrays import Bools, Floats, Ints
from muscle.flips.statistics.intervals import Estimate


@dataclass(frozen=True)
class CandidateEffect:
    """What a candidate changes against the plain update, candidate less plain, over the same items.

    Attributes:
        n: items that all three runs have, the denominator of the rates.
        negative_flip_rate_change: of NFR.
        negative_flip_rate_change_percent: of NFR, in percent of the plain update's.
        accuracy_change: or of the mean score.
        mean_gain_change: in the score's unit.
        mean_regression_change: in the score's unit.
        negative_flips_mcnemar_exact_p: of the two versions' negative flips; over the groups, signs flipped, where
            items are grouped.
        more_negative_flips_p: the same one-sided, of more negative flips by the candidate.
        negative_flips_shared: items that both break.
        negative_flips_avoided: items that the plain update alone breaks.
        negative_flips_alone: items that the candidate alone breaks.
    """

    n: int
    negative_flip_rate_change: Estimate
    negative_flip_rate_change_percent: Estimate
    accuracy_change: Estimate
    mean_gain_change: Estimate
    mean_regression_change: Estimate
    negative_flips_mcnemar_exact_p: float
    more_negative_flips_p: float
    negative_flips_shared: int
    negative_flips_avoided: int
    negative_flips_alone: int

    @property
    def negative_flips_plain(self) -> int:
        """Items that the plain update breaks."""
        return self.negative_flips_shared + self.negative_flips_avoided

    @property
    def negative_flips_candidate(self) -> int:
        """Items that the candidate breaks."""
        return self.negative_flips_shared + self.negative_flips_alone

    def with_missing(self, number: int) -> CandidateEffect:
        """Return what it would be at worst if so many further items of the candidate had broken, and none of plain's.

        Args:
            number: answers that the candidate lacks.
        """
        if number == 0 or self.n == 0:
            return self
        lost = number / (self.n + number)
        change = self.accuracy_change
        low, high = (None if end is None else end - lost for end in (change.low, change.high))
        ungrouped = statistics.mcnemar(self.negative_flips_alone + number, self.negative_flips_avoided)
        return replace(
            self,
            accuracy_change=replace(change, low=low, high=high),
            more_negative_flips_p=min(self.more_negative_flips_p, ungrouped.harm),
            # That it breaks fewer must hold with these too; that it breaks more is the one-sided test's.
            negative_flips_mcnemar_exact_p=max(self.negative_flips_mcnemar_exact_p, ungrouped.exact),
            negative_flips_alone=self.negative_flips_alone + number,
        )

    def change(self, name: str) -> Estimate:
        """Return the change of that name.

        Raises:
            KeyError: there is no such change.
        """
        found = getattr(self, name, None)
        if not isinstance(found, Estimate):
            raise KeyError(name)
        return found


def shared_items(
    plain: TaskItems,
    plain_join: Joined,
    other: TaskItems,
    other_join: Joined,
    *,
    how: Literal["inner", "left"] = "inner",
) -> pl.DataFrame:
    """Pair the items of two comparisons with the same old run.

    Args:
        plain: the task's items, old against new.
        plain_join: the join that they come from.
        other: the same task's items, old against the candidate.
        other_join: the join that they come from.
        how: "inner" keeps what all three runs have, "left" what old and new have.

    Returns:
        One row an item; where the others answered it more often than the old version, with "inner" each of their
        answers with each, with "left" one row a plain pair. The columns of the plain items, and `correct_candidate`,
        `score_candidate`, `flip_candidate` (old against the candidate) and `pair_candidate`, its number in the
        candidate's join.
    """
    sides = [
        items.frame.with_columns(joined.old_rows.gather(items.frame["pair"]).alias("old_row"))
        for items, joined in ((plain, plain_join), (other, other_join))
    ]
    candidate = sides[1].select(
        "old_row",
        pl.col("pair").alias("pair_candidate"),
        pl.col("correct_new").alias("correct_candidate"),
        pl.col("score_new").alias("score_candidate"),
        pl.col("flip").alias("flip_candidate"),
        # Where the candidate alone answered items several times, its groups are theirs.
        *([pl.col("cluster")] if "cluster" not in plain.frame.columns and "cluster" in other.frame.columns else []),
    )
    if how == "inner" or other_join.answers is None:
        return sides[0].join(candidate, on="old_row", how=how, maintain_order="left")
    turn = pl.int_range(pl.len()).over("old_row")
    several = candidate.group_by("old_row").agg(pl.len().cast(pl.Int64).alias("several"))
    rows = sides[0].join(several, on="old_row", how="left", maintain_order="left")
    rows = rows.with_columns(turn=turn % pl.col("several")).drop("several")
    candidate = candidate.drop("cluster", strict=False).with_columns(turn=turn)
    return rows.join(candidate, on=["old_row", "turn"], how="left", maintain_order="left").drop("turn")


def _counts(first: Bools, second: Bools) -> tuple[int, int, int, int]:
    """Return in how many items both hold, the first only, the second only, neither."""
    both, first_only = int((first & second).sum()), int((first & ~second).sum())
    second_only = int((~first & second).sum())
    return both, first_only, second_only, first.size - both - first_only - second_only


def _group_numbers(shared: pl.DataFrame) -> Ints | None:
    """Return the group of each item, from 0; None where items are independent."""
    if "cluster" not in shared.columns:
        return None
    _, groups = np.unique(shared["cluster"].to_numpy(), return_inverse=True)
    return groups.astype(np.int64)


def _size_change(
    plain: Floats, candidate: Floats, chosen: tuple[Bools, Bools], groups: Ints | None, why: str
) -> Estimate:
    """Return the difference of two means over different subsets of the same items, candidate minus plain."""
    if not (chosen[0].any() and chosen[1].any()):
        return Estimate.undefined(why)
    total = plain.size
    means, influences = [], []
    for values, part in zip((plain, candidate), chosen, strict=True):
        mean = float(values[part].mean())
        means.append(mean)
        influences.append(np.where(part, values - mean, 0.0) * (total / part.sum()))
    value = means[1] - means[0]
    influence = influences[1] - influences[0]
    if groups is not None:
        return _shifted(clusters.grouped_mean(influence, groups), value)
    return Estimate.of(value, resampling.linearised(value, influence))


def _shifted(estimate: Estimate, value: float) -> Estimate:
    """Return an estimate of zero as one of the value."""
    if estimate.low is None or estimate.high is None:
        return Estimate(value, why=estimate.why)
    return Estimate(value, value + estimate.low, value + estimate.high)


def _score_changes(shared: pl.DataFrame, epsilon: float) -> dict[str, Estimate]:
    scored = shared.drop_nulls(["score_old", "score_new", "score_candidate"])
    if scored.is_empty():
        nothing = Estimate.undefined("no score of more than right and wrong on all three sides")
        return {"mean_gain_change": nothing, "mean_regression_change": nothing}
    old, new, candidate = (scored[name].to_numpy() for name in ("score_old", "score_new", "score_candidate"))
    plain, other, groups = new - old, candidate - old, _group_numbers(scored)
    flips = [flips_of_scores(moved, epsilon=epsilon) for moved in (plain, other)]
    better, worse = (flips[0] > 0, flips[1] > 0), (flips[0] < 0, flips[1] < 0)
    return {
        "mean_gain_change": _size_change(plain, other, better, groups, "no item got better on one of the sides"),
        "mean_regression_change": _size_change(-plain, -other, worse, groups, "no item got worse on one of the sides"),
    }


def candidate_effect(shared: pl.DataFrame, *, binary: bool, epsilon: float = 0.0, seed: int = 0) -> CandidateEffect:
    """Compare a candidate with the plain update on the same items.

    Args:
        shared: what `shared_items` gives.
        binary: whether items are right or wrong, else have a score.
        epsilon: dead band of the score, for gains and regressions.
        seed: of the bootstrap.
    """
    plain = (shared["flip"] == NEGATIVE_FLIP).to_numpy()
    candidate = (shared["flip_candidate"] == NEGATIVE_FLIP).to_numpy()
    groups = _group_numbers(shared)
    both, plain_only, candidate_only, neither = _counts(plain, candidate)
    if shared.is_empty():
        change = Estimate.undefined("no item is scored in all three versions")
    elif groups is not None:
        change = clusters.grouped_mean(candidate.astype(np.float64) - plain, groups)
    else:
        rate = (candidate_only - plain_only) / plain.size
        change = Estimate.of(rate, statistics.newcombe_paired(both, plain_only, candidate_only, neither))
    if groups is not None:
        grouped = clusters.clustered_test(clusters.by_group(candidate, groups), clusters.by_group(plain, groups))
        p_value, more_p = grouped.two_sided, grouped.harm
    else:
        test = statistics.mcnemar(candidate_only, plain_only)
        p_value, more_p = test.exact, test.harm
    return CandidateEffect(
        n=shared.height,
        negative_flip_rate_change=change,
        negative_flip_rate_change_percent=_percent(plain, candidate, groups),
        accuracy_change=_accuracy_change(shared, binary, groups, seed),
        **_score_changes(shared, epsilon),
        negative_flips_mcnemar_exact_p=p_value,
        more_negative_flips_p=more_p,
        negative_flips_shared=both,
        negative_flips_avoided=plain_only,
        negative_flips_alone=candidate_only,
    )


def _percent(plain: Bools, candidate: Bools, groups: Ints | None) -> Estimate:
    """Return d%NFR_c = 100 (NFR_c - NFR) / NFR; denominator: the plain update's negative flips."""
    both, plain_only, candidate_only, _ = _counts(plain, candidate)
    if both + plain_only == 0:
        return Estimate.undefined("the plain update has no negative flip")
    value = 100 * (candidate_only - plain_only) / (both + plain_only)
    if groups is None:
        interval = statistics.paired_ratio(both, plain_only, candidate_only)
        return Estimate(value, 100 * (interval.low - 1), 100 * (interval.high - 1))
    if both + candidate_only == 0:
        return Estimate(value, why="no interval for grouped items where the candidate has no negative flip")
    # Of the logarithm of the ratio, by each item's influence on it.
    spread = clusters.grouped_mean(candidate / candidate.mean() - plain / plain.mean(), groups)
    if spread.low is None or spread.high is None:
        return Estimate(value, why=spread.why)
    low, high = (100 * ((1 + value / 100) * math.exp(end) - 1) for end in (spread.low, spread.high))
    return Estimate(value, low, high)


def _accuracy_change(shared: pl.DataFrame, binary: bool, groups: Ints | None, seed: int) -> Estimate:
    """Return dacc_c = acc_c - acc_v2 over the items that all three runs have; of a score, the mean difference."""
    if shared.is_empty():
        return Estimate.undefined("no item is scored in all three versions")
    stem = "correct" if binary else "score"
    new, candidate = (shared[f"{stem}_{side}"].to_numpy() for side in ("new", "candidate"))
    if groups is not None:
        return clusters.grouped_mean(candidate.astype(np.float64) - new, groups)
    if not binary:
        return resampling.bootstrap_mean(candidate - new, seed=seed)
    counts = _counts(new, candidate)
    return Estimate.of((counts[2] - counts[1]) / new.size, statistics.newcombe_paired(*counts))
