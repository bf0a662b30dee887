"""The sequential test with a look after every item: false alarms, false acceptances, and how early it stops.

    python benchmarks/sequential.py [--sets 4000]

Whether harm is called hangs on negative flips among the flips, whether a rate is accepted on negative flips among the items. So
the test is a boundary at each look, found here by asking the package's own E-values, and held against `SequentialTest` on whole
paths. From it:

- items from an endless population: the chance to be over the boundary at any of 20,000 looks, exactly, by summing over all
  paths (no simulation, no error). The chance for fewer items is smaller.
- items of a fixed set in random order, as a real test set is asked: shuffled sets, with the upper bound of Clopper and
  Pearson of what was counted.

Negative flips 0 to 40 %, gains 0 to 40 %, limits 1, 2, 5 and 10 %, on the limit, just above and far above, and below. Writes
benchmarks/results/sequential.json; fails where an error is above 5 %, in the sets where even the lower bound is.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from muscle.flips.statistics import clopper_pearson
from muscle.plan.sequential import ALPHA, SequentialTest, log_e_below, log_e_harm

RESULTS = Path(__file__).parent / "results" / "sequential.json"
ITEMS = 20_000
SIZES = (100, 1_000, 5_000, 20_000)
LIMITS = (0.01, 0.02, 0.05, 0.10)
LOSSES = (0.0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4)
GAINS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4)
ENOUGH = -math.log(ALPHA)


def harm_boundary(flips: int) -> np.ndarray:
    """Return, for each number of flips from 0, the least negative flips that call harm; one more than the flips where none do."""
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
    """Hold the boundaries against the E-values over the whole range of counts, where a halving would overlook a second crossing."""
    for total in np.unique(np.geomspace(1, ITEMS, 60).astype(int)):
        lost = np.arange(float(total + 1))
        assert ((log_e_harm(lost, total - lost) >= ENOUGH) == (lost >= harm[total])).all(), total
        for limit, accept in accepts.items():
            below = log_e_below(lost, np.full(lost.shape, float(total)), limit) >= ENOUGH
            assert (below == (lost <= accept[total])).all(), (total, limit)


def ever(boundary: np.ndarray, rate: float, above: bool) -> tuple[float, int | None]:
    """Return the chance that counts of a rate are ever over the boundary, and the median look; exact, by summing over paths."""
    alive = np.zeros(boundary.size + 1)
    alive[0], stopped, median = 1.0, 0.0, None
    for look in range(1, boundary.size):
        alive[1 : look + 1] = alive[1 : look + 1] * (1 - rate) + alive[:look] * rate
        alive[0] *= 1 - rate
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
        chance, median = ever(harm, share, above=True)
        rows.append(
            {"question": "harm", "negative_among_flips": share, "flips": ITEMS, "false": share <= 0.5}
            | {"called": chance, "median_flips": median}
        )
    for limit, boundary in accepts.items():
        for rate in sorted(
            {*LOSSES, limit * 0.5, limit * 0.9, limit, limit * 1.02, limit * 1.1, limit * 1.5}
        ):
            chance, median = ever(boundary, rate, above=False)
            rows.append(
                {"question": "accept", "limit": limit, "rate": rate, "items": ITEMS, "false": rate >= limit}
                | {"called": chance, "median_items": median}
            )
    return rows


def shuffled(lost: int, gained: int, items: int, sets: int, generator: np.random.Generator) -> np.ndarray:
    """Return (sets, items): -1 for a negative flip, 1 for a positive one, else 0, in the order of asking."""
    moved = np.repeat(np.array([-1, 1, 0], dtype=np.int8), [lost, gained, items - lost - gained])
    return generator.permuted(np.tile(moved, (sets, 1)), axis=1)


def fixed_set(
    lost: int,
    gained: int,
    items: int,
    sets: int,
    boundaries: tuple[np.ndarray, dict[float, np.ndarray]],
    generator: np.random.Generator,
) -> dict[str, Any]:
    """Return how often harm, and each limit, is called ever, over shuffled sets."""
    harm, accepts = boundaries
    found = {"harm": 0} | {f"accept {limit:g}": 0 for limit in accepts}
    part = max(1, 4_000_000 // items)
    for start in range(0, sets, part):
        moved = shuffled(lost, gained, items, min(part, sets - start), generator)
        losses = np.cumsum(moved < 0, axis=1, dtype=np.int32)
        flips = np.cumsum(moved != 0, axis=1, dtype=np.int32)
        found["harm"] += int((losses >= harm[flips]).any(axis=1).sum())
        for limit, accept in accepts.items():
            found[f"accept {limit:g}"] += int((losses <= accept[1 : items + 1]).any(axis=1).sum())
        if start == 0:
            _hold_against_the_test(moved, losses, flips, boundaries)
    row: dict[str, Any] = {"items": items, "lost": lost, "gained": gained, "sets": sets}
    return row | {name: count / sets for name, count in found.items()}


def _hold_against_the_test(
    moved: np.ndarray,
    losses: np.ndarray,
    flips: np.ndarray,
    boundaries: tuple[np.ndarray, dict[float, np.ndarray]],
) -> None:
    """Assert that the package's test stops where the boundaries say, on a few whole paths."""
    harm, accepts = boundaries
    for path in range(min(2, moved.shape[0])):
        for limit, accept in accepts.items():
            test = SequentialTest(limit=limit)
            test.extend(moved[path] <= 0, moved[path] >= 0)
            for reached, first in (
                (losses[path] >= harm[flips[path]], test.first_harm),
                (losses[path] <= accept[1 : moved.shape[1] + 1], test.first_accept),
            ):
                assert first == (int(np.argmax(reached)) + 1 if reached.any() else None)


def false_calls(row: dict[str, Any]) -> dict[str, float]:
    """Return the calls of a fixed set that are wrong: harm without more losses than gains, a limit that the set does not keep."""
    wrong = {"harm": row["harm"]} if row["lost"] <= row["gained"] else {}
    for limit in LIMITS:
        if row["lost"] >= limit * row["items"]:
            wrong[f"accept {limit:g}"] = row[f"accept {limit:g}"]
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", type=int, default=4_000)
    sets, started = parser.parse_args().sets, time.perf_counter()
    harm = harm_boundary(ITEMS)
    accepts = {limit: accept_boundary(ITEMS, limit) for limit in LIMITS}
    check_boundaries(harm, accepts)
    exact = population(harm, accepts)
    worst = max((row for row in exact if row["false"]), key=lambda row: row["called"])
    print(f"population: most false calls {worst['called']:.4f}: {worst}", flush=True)
    rows = []
    cells = [(b, c) for b in LOSSES for c in GAINS] + [(1.1 * limit, limit) for limit in LIMITS]
    for number, (items, (lost, gained)) in enumerate((n, cell) for n in SIZES for cell in cells):
        counts = (math.ceil(lost * items), math.ceil(gained * items))
        generator = np.random.default_rng([7, number])
        rows.append(
            fixed_set(*counts, items, sets if items < 20_000 else sets // 2, (harm, accepts), generator)
        )
    wrong = [(share, name, row) for row in rows for name, share in false_calls(row).items()]
    most = max(wrong, key=lambda entry: entry[0])
    print(f"fixed sets: most false calls {most[0]:.4f}: {most[1:]}")
    result = {
        "what": "sequential test at level 0.05, a look after each item: exact chances from a population, shares of shuffled fixed sets",
        "machine": f"{platform.machine()}, 2 cores, Python {platform.python_version()}",
        "seconds": round(time.perf_counter() - started),
        "most_false_calls": {"population": worst["called"], "fixed_sets": most[0]},
        "population": exact,
        "fixed_sets": rows,
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    sure = [w for w in wrong if clopper_pearson(round(w[0] * w[2]["sets"]), w[2]["sets"]).low > ALPHA]
    if worst["called"] > ALPHA or sure:
        raise SystemExit(f"false calls above {ALPHA:.0%}: {worst}, {sure[:3]}")


if __name__ == "__main__":
    main()
