"""How close two versions' likelihoods are, item by item: for quantised, pruned and otherwise compressed models.

Of each item with log-likelihoods of its options on both sides (p by old, q by the other version, each normalised over
the options):
- KL(p || q) = sum_j p_j (ln p_j - ln q_j), in nats;
- same top choice: argmax p = argmax q;
- change of the right answer's probability, q_right - p_right (the sum over right options).

No number means anything alone: the same weights run twice differ too, so the old version against its own second run
stands beside. The rule of llama.cpp's README on percentiles: alike on both sides of zero = noise, a heavier negative
tail = damage.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from muscle.flips.noise.margins import same_options
from muscle.flips.pairing.items import TaskItems
from muscle.flips.pairing.join import Joined
from muscle.flips.pairing.pair import Pair, WithOld
from muscle.flips.statistics.arrays import Bools, Floats
from muscle.flips.statistics.intervals import Estimate, rate
from muscle.typed_json import OPTIONAL_KEY

NO_RERUN = "no self-vs-self run: give --rerun"
HEAVIER = 1.5
"""How much further the 1st percentile must lie from zero than the 99th for the negative tail to be called heavier."""


@dataclass(frozen=True)
class Spread:
    """How a number is spread over the items.

    Attributes:
        mean: arithmetic.
        median: half of the items are below.
        p01: 1st percentile.
        p99: 99th percentile.
    """

    mean: float
    median: float
    p01: float
    p99: float


@dataclass(frozen=True)
class KlSpread(Spread):
    """KL(old || other) over the items, in nats.

    Attributes:
        mean: arithmetic.
        median: half of the items are below.
        p01: 1st percentile.
        p99: 99th percentile.
        max: the largest.
    """

    max: float


@dataclass(frozen=True)
class ChangeSpread(Spread):
    """The change of the right answer's probability over the items.

    Attributes:
        mean: arithmetic.
        median: half of the items are below.
        p01: 1st percentile.
        p99: 99th percentile.
        rms: root of the mean square.
    """

    rms: float


@dataclass(frozen=True)
class ClosenessNumbers:
    """How close two versions' likelihoods are.

    Attributes:
        items: with likelihoods of their options on both sides.
        kl: in nats.
        same_top: share of the items with the same best option.
        right_probability_change: None where the right option is not known.
    """

    items: int
    kl: KlSpread
    same_top: Estimate
    right_probability_change: ChangeSpread | None


@dataclass(frozen=True)
class TaskCloseness:
    """A task's closeness.

    Attributes:
        old_vs_new: of the plain update.
        old_vs_rerun: of the old version to its own second run, without which no number means anything; None without
            one.
        sentence: the tails, read by llama.cpp's rule; None where the right option is not known.
        old_vs_candidate: of the candidate; no key without one.
        why: why there is no second run.
    """

    old_vs_new: ClosenessNumbers
    old_vs_rerun: ClosenessNumbers | None
    sentence: str | None
    old_vs_candidate: ClosenessNumbers | None = field(default=None, metadata=OPTIONAL_KEY)
    why: str | None = field(default=None, metadata=OPTIONAL_KEY)


@dataclass(frozen=True)
class ItemCloseness:
    """The closeness of each item that has likelihoods on both sides.

    Attributes:
        kl: (items,) KL(old || other) over the options, nats.
        same_top: (items,) whether the best option is the same.
        right_change: (items,) change of the right answer's probability; NaN where the right option is not known.
    """

    kl: Floats
    same_top: Bools
    right_change: Floats


def item_closeness(joined: Joined, items: TaskItems) -> ItemCloseness | None:
    """Compute the closeness of a task's items; None where no item has likelihoods of its options on both sides.

    Args:
        joined: two runs, row by row.
        items: the task's items in them.
    """
    if any(side["logprobs"].null_count() == side.height for side in (joined.old, joined.new)):
        return None
    parts = []
    for rows, old, other in same_options(joined, items):
        right = _right(joined, items.frame["pair"].gather(rows), old.shape[1])
        known = np.isfinite(old).all(axis=1) & np.isfinite(other).all(axis=1)
        parts.append(closeness(old[known], other[known], right[known]))
    kept = [part for part in parts if part.kl.size]
    if not kept:
        return None
    return ItemCloseness(
        np.concatenate([p.kl for p in kept]),
        np.concatenate([p.same_top for p in kept]),
        np.concatenate([p.right_change for p in kept]),
    )


def _right(joined: Joined, pairs: pl.Series, width: int) -> Bools:
    """Return (items, options) whether an option is right; all False where that is not known."""
    rows = joined.old.select("choices", "reference")[pairs].with_row_index("row")
    fits = pl.col("choices").list.len() == width
    flat = rows.filter(fits.fill_null(False)).explode("choices")
    found = np.zeros((rows.height, width), dtype=np.bool_)
    if flat.height:
        marks = flat.select(pl.col("choices").is_in(pl.col("reference")).fill_null(False)).to_series().to_numpy()
        found[flat["row"].unique(maintain_order=True).to_numpy()] = marks.reshape(-1, width)
    return found


def closeness(old: Floats, other: Floats, right: Bools) -> ItemCloseness:
    """Compute closeness from log-likelihoods.

    Args:
        old: (items, options) finite log-likelihoods by the old version, not normalised.
        other: (items, options) those by the other version.
        right: (items, options) whether an option is right.

    >>> found = closeness(np.log([[0.8, 0.2]]), np.log([[0.5, 0.5]]), np.array([[True, False]]))
    >>> round(float(found.kl[0]), 4), round(float(found.right_change[0]), 2)
    (0.1927, -0.3)
    """
    logs = [side - np.logaddexp.reduce(side, axis=1, keepdims=True) for side in (old, other)]
    kl = (np.exp(logs[0]) * (logs[0] - logs[1])).sum(axis=1)
    shares = [(np.exp(log) * right).sum(axis=1) for log in logs]
    change = np.where(right.any(axis=1), shares[1] - shares[0], np.nan)
    # Rounding can leave a KL of equal distributions a hair below zero.
    return ItemCloseness(np.maximum(kl, 0.0), old.argmax(axis=1) == other.argmax(axis=1), change)


def summary(found: ItemCloseness) -> ClosenessNumbers:
    """Sum up closeness over the items."""
    n = found.kl.size
    same = int(found.same_top.sum())
    change = found.right_change[np.isfinite(found.right_change)]
    rms = float(np.sqrt(np.mean(change**2))) if change.size else 0.0
    return ClosenessNumbers(
        items=n,
        kl=KlSpread(*_spread(found.kl), max=float(found.kl.max())),
        same_top=Estimate.of(same / n, rate(same, n)),
        right_probability_change=ChangeSpread(*_spread(change), rms=rms) if change.size else None,
    )


def _spread(values: Floats) -> tuple[float, float, float, float]:
    """Return mean, median, 1st and 99th percentile."""
    low, median, high = np.quantile(values, [0.01, 0.5, 0.99])
    return float(values.mean()), float(median), float(low), float(high)


def closeness_report(pairs: Mapping[WithOld, Pair], name: str, rerun: Pair | None) -> TaskCloseness | None:
    """Return how close a task's likelihoods are; None where there are none.

    Args:
        pairs: the comparisons by side.
        name: the task.
        rerun: the old run joined with its second run; None where there is none.
    """
    plain = _numbers_of(pairs["old_vs_new"], name)
    candidate = _numbers_of(pairs.get("old_vs_candidate"), name)
    if plain is None:
        return None
    own = _numbers_of(rerun, name)
    return TaskCloseness(
        old_vs_new=plain,
        old_vs_rerun=own,
        sentence=tails_sentence(candidate or plain, own),
        old_vs_candidate=candidate,
        why=NO_RERUN if own is None else None,
    )


def _numbers_of(pair: Pair | None, name: str) -> ClosenessNumbers | None:
    if pair is None or name not in pair.tasks:
        return None
    found = item_closeness(pair.joined, pair.tasks[name])
    return None if found is None else summary(found)


def tails_sentence(new: ClosenessNumbers, own: ClosenessNumbers | None) -> str | None:
    """Read the tails of the right answer's probability by llama.cpp's rule; None where that is not known."""
    change = new.right_probability_change
    if change is None:
        return None
    low, high = change.p01, change.p99
    told = f"the right answer's probability moves between {100 * low:+.1f} and {100 * high:+.1f} points (1% and 99%)"
    if own is not None and own.right_probability_change is not None:
        noise = own.right_probability_change
        told += f"; against itself the old version shows {100 * noise.p01:+.1f} and {100 * noise.p99:+.1f}"
        if -low <= -noise.p01 * HEAVIER and high <= noise.p99 * HEAVIER:
            return f"{told}: no more than run-to-run noise"
    if -low > HEAVIER * max(high, 0.0):
        return f"{told}: the negative tail is heavier, a sign of damage"
    if high > HEAVIER * max(-low, 0.0):
        return f"{told}: the positive tail is heavier, a sign of gain"
    return f"{told}: the tails are about alike, as likelihoods that move at random have them"
