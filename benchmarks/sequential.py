"""The sequential test with a look after every item: false alarms, false acceptances, and how early it stops.

    python benchmarks/sequential.py [--sets 400]

Whether harm is called hangs on negative flips among the flips, whether a rate is accepted on negative flips among the
items. So the test is a boundary at each look, found here by asking the package's own E-values. From it the chance to be
over the boundary at any look is summed up exactly over all paths, without any draw:

- items from an endless population, 20,000 looks (the chance for fewer items is smaller);
- items of a fixed set in random order, as a real test set is asked: 100, 1,000, 5,000 and 20,000 items.

Negative flips 0 to 40 %, gains 0 to 40 %, limits 1, 2, 5 and 10 %: on the limit, just above, far above, and below. That
these chances are the test's own is checked by shuffled sets that `SequentialTest` itself goes through. Writes
benchmarks/results/sequential.json; fails where a false call has a chance above 5 %.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from kept_result import machine, write_rows
from muscle.plan.sequential import ALPHA, SequentialTest, log_e_below, log_e_harm

RESULTS = Path(__file__).parent / "results" / "sequential.json"
ITEMS = 20_000
SIZES = (100, 1_000, 5_000, 20_000)
LIMITS = (0.01, 0.02, 0.05, 0.10)
LOSSES = (0.0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4)
AROUND = (0.5, 0.9, 1.0, 1.02, 1.1, 1.5)
"""Rates beside a limit, as its multiples."""
SHUFFLED = (
    (20, 20, 1_000, 0.02),
    (100, 60, 1_000, 0.05),
    (300, 2_500, 6_000, 0.02),
    (1_200, 1_200, 4_000, 0.05),
)
GAINS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4)
ENOUGH = -math.log(ALPHA)


def harm_boundary(flips: int) -> np.ndarray:
    """Return, for each number of flips from 0, the least negative flips that call harm; one more where none do."""
    total = np.arange(flips + 1)
    return _least(lambda lost: log_e_harm(lost, total - lost) >= ENOUGH, total)


def accept_boundary(items: int, limit: float) -> np.ndarray:
    """Return, for each number of items from 0, the most negative flips that are accepted; -1 where none are."""
    total = np.arange(items + 1)
    return _least(lambda lost: log_e_below(lost, total.astype(float), limit) < ENOUGH, total) - 1


def _least(holds: Callable[[np.ndarray], np.ndarray], total: np.ndarray) -> np.ndarray:
    """Return for each total the least count for which a condition holds that goes on holding, by halving."""
    low, high = np.zeros_like(total), total + 1
    while (low < high).any():
        middle = (low + high) // 2
        found = holds(np.minimum(middle, total).astype(float)) & (middle <= total)
        low, high = np.where(found | (low >= high), low, middle + 1), np.where(found, middle, high)
    return low


def check_boundaries(harm: np.ndarray, accepts: dict[float, np.ndarray]) -> None:
    """Hold the boundaries against the E-values over all counts: a halving would overlook a second crossing."""
    for total in np.unique(np.geomspace(1, ITEMS, 60).astype(int)):
        lost = np.arange(float(total + 1))
        assert ((log_e_harm(lost, total - lost) >= ENOUGH) == (lost >= harm[total])).all(), total
        for limit, accept in accepts.items():
            below = log_e_below(lost, np.full(lost.shape, float(total)), limit) >= ENOUGH
            assert (below == (lost <= accept[total])).all(), (total, limit)


Draw = Callable[[int, np.ndarray], np.ndarray]
"""The chance that the next one is a negative flip, of how many were looked at and how many of them were negative
flips."""


def endless(rate: float, seen: int, lost: np.ndarray) -> np.ndarray:
    """Return the chance in a population."""
    return np.full(lost.shape, rate)


def from_a_set(negative: int, total: int, seen: int, lost: np.ndarray) -> np.ndarray:
    """Return the chance in a set of which each item is drawn once."""
    return np.clip((negative - lost) / (total - seen), 0.0, 1.0)


def ever(boundary: np.ndarray, draw: Draw, looks: int, *, above: bool) -> tuple[float, int | None]:
    """Return the chance that the count is over the boundary at any look, and the median look; exact, over all paths."""
    alive, counts = np.zeros(looks + 1), np.arange(looks + 1)
    alive[0], stopped, median = 1.0, 0.0, None
    for look in range(1, looks + 1):
        moved = alive[:look] * draw(look - 1, counts[:look])
        alive[:look] -= moved
        alive[1 : look + 1] += moved
        out = slice(boundary[look], look + 1) if above else slice(0, max(boundary[look] + 1, 0))
        stopped += float(alive[out].sum())
        alive[out] = 0.0
        if median is None and stopped >= 0.5:
            median = look
    return stopped, median


def population(harm: np.ndarray, accepts: dict[float, np.ndarray]) -> list[dict[str, Any]]:
    """Return the chances for items from an endless population."""
    rows: list[dict[str, Any]] = []
    for share in sorted({round(b / (b + c), 6) for b in LOSSES for c in GAINS if b + c > 0}):
        chance, median = ever(harm, partial(endless, share), ITEMS, above=True)
        rows.append(
            {"call": "harm", "negative_among_flips": share, "flips": ITEMS, "false": share <= 0.5}
            | {"chance": chance, "median_flips": median}
        )
    for limit, boundary in accepts.items():
        for rate in sorted({*LOSSES, *(round(limit * x, 6) for x in AROUND)}):
            chance, median = ever(boundary, partial(endless, rate), ITEMS, above=False)
            rows.append(
                {"call": "accept", "limit": limit, "negative_flips": rate, "items": ITEMS}
                | {"false": rate >= limit, "chance": chance, "median_items": median}
            )
    return rows


def fixed_sets(harm: np.ndarray, accepts: dict[float, np.ndarray]) -> list[dict[str, Any]]:
    """Return the chances for fixed sets in random order."""
    rows: list[dict[str, Any]] = []
    for items in SIZES:
        flips = {(math.ceil(b * items), math.ceil(c * items)) for b in LOSSES for c in GAINS}
        for lost, gained in sorted(flips - {(0, 0)}):
            total = lost + gained
            chance, median = ever(harm, partial(from_a_set, lost, total), total, above=True)
            rows.append(
                {"call": "harm", "items": items, "lost": lost, "gained": gained, "false": lost <= gained}
                | {"chance": chance, "median_flips": median}
            )
        for limit, boundary in accepts.items():
            rates = {*LOSSES, *(round(limit * x, 6) for x in AROUND)}
            for lost in sorted({math.ceil(rate * items) for rate in rates}):
                chance, median = ever(boundary, partial(from_a_set, lost, items), items, above=False)
                rows.append(
                    {"call": "accept", "limit": limit, "items": items, "lost": lost}
                    | {"false": lost >= limit * items, "chance": chance, "median_items": median}
                )
    return rows


def shuffled(lost: int, gained: int, items: int, limit: float, sets: int) -> dict[str, Any]:
    """Let `SequentialTest` go through shuffled sets, and hold its calls against the exact chances."""
    generator = np.random.default_rng([lost, gained, items])
    moved = np.repeat(np.array([-1, 1, 0]), [lost, gained, items - lost - gained])
    harm = accepted = 0
    for _ in range(sets):
        order = generator.permutation(moved)
        test = SequentialTest(limit=limit)
        test.extend(order <= 0, order >= 0)
        harm += test.first_harm is not None
        accepted += test.first_accept is not None
    exact = (
        ever(harm_boundary(lost + gained), partial(from_a_set, lost, lost + gained), lost + gained, above=True)[0],
        ever(accept_boundary(items, limit), partial(from_a_set, lost, items), items, above=False)[0],
    )
    for found, chance in zip((harm / sets, accepted / sets), exact, strict=True):
        assert abs(found - chance) <= 4 * math.sqrt(chance * (1 - chance) / sets) + 2 / sets, (found, chance)
    row = {"items": items, "lost": lost, "gained": gained, "limit": limit, "sets": sets}
    return row | {"harm": harm / sets, "accepted": accepted / sets, "exact": exact}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=400)
    sets, started = parser.parse_args().sets, time.perf_counter()
    harm = harm_boundary(ITEMS)
    accepts = {limit: accept_boundary(ITEMS, limit) for limit in LIMITS}
    check_boundaries(harm, accepts)
    checked = [shuffled(*cell, sets) for cell in SHUFFLED]
    found = {"population": population(harm, accepts), "fixed_sets": fixed_sets(harm, accepts)}
    worst = {
        (name, call): max(row["chance"] for row in rows if row["false"] and row["call"] == call)
        for name, rows in found.items()
        for call in ("harm", "accept")
    }
    print({" ".join(key): round(chance, 4) for key, chance in worst.items()})
    result = {
        "what": "sequential test at level 0.05, a look after each item: exact chances of a call, and "
        "shuffled sets as a check",
        "machine": machine(),
        "seconds": round(time.perf_counter() - started),
        "most_false_calls": {" ".join(key): chance for key, chance in worst.items()},
    }
    rows = {"shuffled": checked, **found}
    write_rows(RESULTS, result, rows)
    if max(worst.values()) > ALPHA:
        raise SystemExit(f"false calls above {ALPHA:.0%}: {worst}")


if __name__ == "__main__":
    main()
