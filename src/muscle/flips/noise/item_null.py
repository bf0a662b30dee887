"""What the verdicts on items say where no item changed.

The labels of the answers are drawn anew, and the procedure rerun.
Only counts are drawn: items with the same number of answers and of right ones are exchangeable, so that their
relabelled counts are one multinomial draw from the hypergeometric distribution, and a replicate costs the number of
different counts, not of items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from muscle.flips.noise.item_verdicts import is_large
from muscle.flips.options import EPSILON_ITEM, Test
from muscle.flips.statistics.arrays import Bools, Floats, Ints
from muscle.flips.statistics.exact_tests import hypergeometric, p_value_table
from muscle.flips.statistics.multiplicity import FALSE_DISCOVERY_RATE

REPLICATES = 1_000
_ROUNDING = 1e-9
_CHUNK = 4_000_000
"""Numbers that a chunk of replicates may hold, so that the null needs tens of megabytes at most."""


@dataclass(frozen=True)
class Null:
    """What the procedure calls changed where no item changed.

    Attributes:
        shares: (replicates,) share of the items called regressed or improved, sorted.
    """

    shares: Floats

    @property
    def null95(self) -> float:
        """The 95th percentile of the share."""
        return float(np.quantile(self.shares, 0.95, method="higher"))

    def p_value(self, share: float) -> float:
        """Return how likely a share as large as the one seen is where no item changed."""
        reached = int((self.shares >= share - _ROUNDING).sum())
        return (1 + reached) / (1 + self.shares.size)


@dataclass(frozen=True)
class _Cells:
    """The outcomes that relabelling can bring about: a group of exchangeable items a row, padded to one width."""

    sizes: Ints
    pmf: Floats
    p_values: Floats
    large: Bools


def _cells(right: Ints, num_old: Ints, num_new: Ints, *, epsilon: float, test: Test) -> _Cells:
    kinds, sizes = np.unique(np.stack([num_old, num_new, right]), axis=1, return_counts=True)
    width = int(np.minimum(kinds[0], kinds[1]).max(initial=0)) + 1
    pmf, p_values = np.zeros((sizes.size, width)), np.ones((sizes.size, width))
    large = np.zeros((sizes.size, width), dtype=np.bool_)
    for row, (old, new, both) in enumerate(kinds.T):
        low, probabilities = hypergeometric(int(old), int(new), int(both))
        seen = np.arange(low, low + probabilities.size)
        pmf[row, : seen.size] = probabilities
        p_values[row, : seen.size] = p_value_table(int(old), int(new), test)[seen, both - seen]
        large[row, : seen.size] = is_large((both - seen) / new - seen / old, epsilon)
    return _Cells(sizes, pmf, p_values, large)


def _null_counts(cells: _Cells, rate: float, replicates: int, generator: np.random.Generator) -> Ints:
    """Return how many items of one family each replicate calls changed."""
    order = np.argsort(cells.p_values, axis=None, kind="stable")
    p_values, large = cells.p_values.ravel()[order], cells.large.ravel()[order]
    # Of equal p-values the last one's place is what Benjamini and Hochberg count.
    is_last = np.append(p_values[1:] != p_values[:-1], True)
    total = int(cells.sizes.sum())
    counts = []
    chunk = max(1, _CHUNK // max(order.size, 1))
    for start in range(0, replicates, chunk):
        size = min(chunk, replicates - start)
        drawn = generator.multinomial(cells.sizes, cells.pmf, size=(size, cells.sizes.size))
        drawn = drawn.reshape(size, -1)[:, order]
        ranks = np.cumsum(drawn, axis=1)
        passed = is_last & (ranks > 0) & (p_values <= rate * ranks / total)
        threshold = np.where(passed.any(axis=1), p_values[order.size - 1 - np.argmax(passed[:, ::-1], axis=1)], -1.0)
        changed = large & (p_values <= threshold[:, None])
        counts.append((drawn * changed).sum(axis=1))
    return np.concatenate(counts)


def permutation_null(
    right: Ints,
    num_old: Ints,
    num_new: Ints,
    *,
    epsilon: float = EPSILON_ITEM,
    rate: float = FALSE_DISCOVERY_RATE,
    families: Ints | None = None,
    test: Test = "fisher",
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Null:
    """Rerun the procedure on answers whose version labels are drawn anew within each item.

    Args:
        right: (items,) right answers of both versions together.
        num_old: (items,) answers of the old version.
        num_new: (items,) answers of the new version.
        epsilon: least change of the pass rate that counts.
        rate: false discovery rate.
        families: (items,) the family, from 0, that the rate holds in.
        test: "fisher" or "boschloo".
        replicates: how often the labels are drawn, B.
        seed: of the drawing.

    Returns:
        The shares of all items that the replicates call changed.
    """
    generator = np.random.default_rng(seed)
    members: Sequence[Bools] = [np.ones(right.size, dtype=np.bool_)]
    if families is not None:
        members = [families == family for family in range(int(families.max(initial=-1)) + 1)]
    changed = np.zeros(replicates, dtype=np.int64)
    for chosen in members:
        if chosen.any():
            cells = _cells(right[chosen], num_old[chosen], num_new[chosen], epsilon=epsilon, test=test)
            changed += _null_counts(cells, rate, replicates, generator)
    return Null(np.sort(changed / max(right.size, 1)))
