"""The test over groups of items: how often it cries wolf, and how often it finds harm.

    python benchmarks/cluster_test.py [--draws 4000]

Groups of 5 or 20 questions share a difficulty (beta, correlation 0.3), and flip together: a group's pass rate moves by
10 points in either version by chance. An update loses nothing, or some of what would be right; a skewed one loses a few
groups whole and gains as much in single questions, or the other way round, so that nothing is lost on balance but a
swap of the versions would show. The package's sign-flip test beside McNemar's exact test, which takes the questions for
independent, and the sum of nets over the root of its squares against Student's t. Writes
benchmarks/results/cluster_test.json; fails where the test calls an update that changes nothing in more than 5 % and
three standard errors.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special

from kept_result import machine, write_rows
from muscle.flips.statistics.clusters import clustered_test
from muscle.flips.statistics.intervals import mcnemar

RESULTS = Path(__file__).parent / "results" / "cluster_test.json"
SPREAD = 1 / 0.3 - 1
"""Of the groups' difficulty: two answers of a group correlate by 0.3."""
MOVES = 0.1
"""Standard deviation by which a group's pass rate moves in either version."""
GROUPS = (4, 5, 8, 12, 20, 50, 200, 2_000)
SIZES = (5, 20)
Flips = tuple[np.ndarray, np.ndarray]


def answers(groups: int, size: int, lost: float, generator: np.random.Generator) -> Flips:
    """Return negative and positive flips by group; the new version loses a share of what would be right.

    A group's pass rate moves by chance, alike in both versions, so that its questions flip together.
    """
    rates = generator.beta(0.65 * SPREAD, 0.35 * SPREAD, groups)
    sides = []
    for kept in (1.0, 1 - lost):
        moved = np.clip(rates + generator.normal(0, MOVES, groups), 0, 1) * kept
        sides.append(generator.random((groups, size)) < moved[:, None])
    old, new = sides
    return (old & ~new).sum(axis=1).astype(float), (~old & new).sum(axis=1).astype(float)


def skewed(groups: int, size: int, generator: np.random.Generator) -> Flips:
    """Return flips that balance in expectation: one group in ten falls whole, the others gain a ninth of it each."""
    fallen = generator.random(groups) < 0.1
    negative = np.where(fallen, size, 0).astype(float)
    positive = np.where(fallen, 0, generator.binomial(size, 1 / 9, groups)).astype(float)
    return negative, positive


def against_t(negative: np.ndarray, positive: np.ndarray) -> float:
    """Return the one-sided p-value of the sum of nets against Student's t on the groups that moved."""
    net = positive - negative
    moved = np.count_nonzero(net)
    if moved < 2:
        return 1.0
    return float(special.stdtr(moved - 1, net.sum() / math.sqrt(np.square(net).sum())))


def called(draw: Callable[[], Flips], draws: int) -> dict[str, float]:
    """Return how often each one-sided test is below 5 %."""
    found = np.zeros(3)
    for _ in range(draws):
        negative, positive = draw()
        single = mcnemar(int(negative.sum()), int(positive.sum())).harm
        found += np.array([clustered_test(negative, positive).harm, against_t(negative, positive), single]) <= 0.05
    return dict(zip(("sign_flips", "student_t", "mcnemar"), (found / draws).tolist(), strict=True))


def updates(groups: int, size: int, generator: np.random.Generator) -> dict[str, Callable[[], Flips]]:
    """Return the kinds of updates, each as a function that draws one."""
    found: dict[str, Callable[[], Flips]] = {
        f"loses {lost:.0%}": partial(answers, groups, size, lost, generator) for lost in (0.0, 0.1, 0.5)
    }
    return found | {
        "nothing on balance, few large falls": partial(skewed, groups, size, generator),
        "nothing on balance, few large gains": lambda: skewed(groups, size, generator)[::-1],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=4_000)
    draws = parser.parse_args().draws
    generator = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for groups, size in itertools.product(GROUPS, SIZES):
        for name, draw in updates(groups, size, generator).items():
            count = draws if groups <= 200 else draws // 4
            rows.append({"groups": groups, "size": size, "update": name, "draws": count} | called(draw, count))
            print(json.dumps(rows[-1]), flush=True)
    result = {
        "what": "share of simulated updates that a one-sided test at 5 % calls harmful",
        "machine": machine(),
    }
    write_rows(RESULTS, result, {"settings": rows})
    calm = [row for row in rows if row["update"] == "loses 0%"]
    wrong = [r for r in calm if r["sign_flips"] > 0.05 + 3 * math.sqrt(0.0475 / r["draws"])]
    if wrong:
        raise SystemExit(f"false alarms above 5 %: {wrong}")


if __name__ == "__main__":
    main()
