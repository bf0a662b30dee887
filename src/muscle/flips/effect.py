"""What a candidate changes against the plain update, item by item: dNFR_c, d%NFR_c, dacc_c, dm_g, dm_r.

MUSCLE (2024), Sec. 3 and Tables 4 to 6. All of it is over the items that the old version, the plain update and the
candidate all answered, so that nothing but the candidate differs.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import polars as pl

from muscle.flips import resampling, statistics
from muscle.flips.items import TaskItems
from muscle.flips.join import Joined
from muscle.flips.metrics import Bools
from muscle.flips.statistics import Estimate, Floats


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
        One row an item: the columns of the plain items, and `correct_candidate`, `score_candidate` and
        `pair_candidate`, its number in the candidate's join.
    """
    sides = [
        items.frame.with_columns(joined.old_rows.gather(items.frame["pair"]).alias("old_row")).with_columns(
            # One old answer stands against several where the other run asked more often.
            turn=pl.int_range(pl.len()).over("old_row")
        )
        for items, joined in ((plain, plain_join), (other, other_join))
    ]
    candidate = sides[1].select(
        "old_row",
        "turn",
        pl.col("pair").alias("pair_candidate"),
        pl.col("correct_new").alias("correct_candidate"),
        pl.col("score_new").alias("score_candidate"),
    )
    return sides[0].join(candidate, on=["old_row", "turn"], how=how, maintain_order="left").drop("turn")


def _flags(shared: pl.DataFrame, binary: bool, epsilon: float) -> tuple[Bools, Bools]:
    """Return which items are negative flips of the plain update, and which of the candidate."""
    if binary:
        right = pl.col("correct_old")
        flips = shared.select(right & ~pl.col("correct_new"), candidate=right & ~pl.col("correct_candidate"))
    else:
        old = pl.col("score_old")
        flips = shared.select(
            pl.col("score_new") - old < -epsilon, candidate=pl.col("score_candidate") - old < -epsilon
        )
    plain, candidate = flips.get_columns()
    return plain.to_numpy(), candidate.to_numpy()


def _counts(first: Bools, second: Bools) -> tuple[int, int, int, int]:
    """Return in how many items both hold, the first only, the second only, neither."""
    both, first_only = int((first & second).sum()), int((first & ~second).sum())
    second_only = int((~first & second).sum())
    return both, first_only, second_only, first.size - both - first_only - second_only


def _size_change(plain: Floats, candidate: Floats, chosen: tuple[Bools, Bools], why: str) -> Estimate:
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
    return Estimate.of(value, resampling.linearised(value, influences[1] - influences[0]))


def _score_changes(shared: pl.DataFrame, epsilon: float) -> dict[str, Estimate]:
    scored = shared.drop_nulls(["score_old", "score_new", "score_candidate"])
    if scored.is_empty():
        nothing = Estimate.undefined("no score of more than right and wrong on all three sides")
        return {"mean_gain_change": nothing, "mean_regression_change": nothing}
    old, new, candidate = (scored[name].to_numpy() for name in ("score_old", "score_new", "score_candidate"))
    plain, other = new - old, candidate - old
    better, worse = (plain > epsilon, other > epsilon), (plain < -epsilon, other < -epsilon)
    return {
        "mean_gain_change": _size_change(plain, other, better, "no item got better on one of the sides"),
        "mean_regression_change": _size_change(
            -plain, -other, worse, "no item got worse on one of the sides"
        ),
    }


def candidate_effect(
    shared: pl.DataFrame, *, binary: bool, epsilon: float = 0.0, seed: int = 0
) -> dict[str, Any]:
    """Compare a candidate with the plain update on the same items.

    Args:
        shared: what `shared_items` gives.
        binary: whether flips are changes of correctness, else of the score beyond epsilon.
        epsilon: dead band of the score.
        seed: of the bootstrap.

    Returns:
        `n`, the items that all three runs have, the denominator of the rates; the changes (candidate minus plain
        update) of NFR, of NFR in percent of the plain update's, of accuracy (or the mean score), mean gain and mean
        regression, each with value, low and high; and the exact McNemar p of the two versions' negative flips.
    """
    plain, candidate = _flags(shared, binary, epsilon)
    both, plain_only, candidate_only, neither = _counts(plain, candidate)
    effect: dict[str, Estimate] = {}
    if shared.is_empty():
        effect["negative_flip_rate_change"] = Estimate.undefined("no item is scored in all three versions")
    else:
        rate = (candidate_only - plain_only) / plain.size
        interval = statistics.newcombe_paired(both, plain_only, candidate_only, neither)
        effect["negative_flip_rate_change"] = Estimate.of(rate, interval)
    effect["negative_flip_rate_change_percent"] = _percent(both, plain_only, candidate_only)
    effect["accuracy_change"] = _accuracy_change(shared, binary, seed)
    effect |= _score_changes(shared, epsilon)
    changes = {name: estimate.to_json() for name, estimate in effect.items()}
    p_value = statistics.mcnemar(plain_only, candidate_only).exact
    return {"n": shared.height, **changes, "negative_flips_mcnemar_exact_p": p_value}


def _percent(both: int, plain_only: int, candidate_only: int) -> Estimate:
    """Return d%NFR_c = 100 (NFR_c - NFR) / NFR; denominator: the plain update's negative flips."""
    if both + plain_only == 0:
        return Estimate.undefined("the plain update has no negative flip")
    interval = statistics.paired_ratio(both, plain_only, candidate_only)
    value = 100 * (candidate_only - plain_only) / (both + plain_only)
    return Estimate(value, 100 * (interval.low - 1), 100 * (interval.high - 1))


def _accuracy_change(shared: pl.DataFrame, binary: bool, seed: int) -> Estimate:
    """Return dacc_c = acc_c - acc_v2 over the items that all three runs have; of a score, the mean difference."""
    if shared.is_empty():
        return Estimate.undefined("no item is scored in all three versions")
    if not binary:
        differences = (shared["score_candidate"] - shared["score_new"]).to_numpy()
        return resampling.bootstrap_mean(differences, seed=seed)
    new, candidate = shared["correct_new"].to_numpy(), shared["correct_candidate"].to_numpy()
    counts = _counts(new, candidate)
    return Estimate.of((counts[2] - counts[1]) / new.size, statistics.newcombe_paired(*counts))
