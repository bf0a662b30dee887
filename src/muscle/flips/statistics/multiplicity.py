"""Testing many tasks or slices at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from muscle.flips.statistics.arrays import Bools, Floats, Ints

FALSE_DISCOVERY_RATE = 0.05


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for several tests, so that a false alarm in any of them stays rare.

    Holm, Scandinavian Journal of Statistics 6 (1979) 65-70: step down, family-wise error rate.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, floor = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = floor
    return adjusted


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted so that of the tests called significant few are false: the false discovery rate.

    Benjamini and Hochberg, JRSS B 57 (1995) 289-300: step up.

    >>> [round(p, 3) for p in benjamini_hochberg([0.01, 0.04, 0.03])]
    [0.03, 0.04, 0.04]
    """
    order = sorted(range(len(p_values)), key=lambda i: -p_values[i])
    adjusted, ceiling = [0.0] * len(p_values), 1.0
    for rank, index in enumerate(order):
        ceiling = min(ceiling, p_values[index] * len(p_values) / (len(p_values) - rank))
        adjusted[index] = ceiling
    return adjusted


def discoveries(p_values: Floats, families: Ints | None = None, *, rate: float = FALSE_DISCOVERY_RATE) -> Bools:
    """Return which tests are discoveries at a false discovery rate, in each family by itself.

    Benjamini and Hochberg, JRSS B 57 (1995) 289-300.

    Args:
        p_values: (tests,).
        families: (tests,) which family each test is in, from 0; None for one family.
        rate: the false discovery rate.
    """
    found = np.zeros(p_values.size, dtype=np.bool_)
    if families is None:
        families = np.zeros(p_values.size, dtype=np.int64)
    for family in range(int(families.max(initial=-1)) + 1):
        members = np.flatnonzero(families == family)
        ordered = np.sort(p_values[members])
        passed = np.flatnonzero(ordered <= rate * np.arange(1, members.size + 1) / max(members.size, 1))
        if passed.size:
            found[members] = p_values[members] <= ordered[passed[-1]]
    return found
