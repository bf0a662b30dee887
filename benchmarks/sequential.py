"""The sequential test with a look after every item: false alarms, false acceptances, and how early it stops.

    python benchmarks/sequential.py [--updates 2000]

Updates that change nothing flip as often one way as the other; harmful ones lose more. Items come in random order, once from an endless
population and once from a fixed set without replacement, as a real test set does. Writes benchmarks/results/sequential.json.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path
from typing import Any

import numpy as np

from muscle.plan.sequential import SequentialTest

RESULTS = Path(__file__).parent / "results" / "sequential.json"
ITEMS = 2_000
RATES: tuple[tuple[str, float, float], ...] = (
    ("no change, 2 % flip", 0.01, 0.01),
    ("no change, 10 % flip", 0.05, 0.05),
    ("no change, 40 % flip", 0.20, 0.20),
    ("better, 8 % flip", 0.02, 0.06),
    ("worse by 2 points", 0.04, 0.02),
    ("worse by 5 points", 0.08, 0.03),
    ("worse by 10 points", 0.13, 0.03),
)


def outcomes(lost: float, gained: float, fixed: bool, generator: np.random.Generator) -> np.ndarray:
    """Return -1 for a negative flip, 1 for a positive one, else 0, in the order of asking."""
    if fixed:
        b, c = round(lost * ITEMS), round(gained * ITEMS)
        return generator.permutation(np.repeat([-1, 1, 0], [b, c, ITEMS - b - c]))
    return generator.choice([-1, 1, 0], ITEMS, p=[lost, gained, 1 - lost - gained])


def simulate(name: str, lost: float, gained: float, fixed: bool, updates: int, seed: int) -> dict[str, Any]:
    generator = np.random.default_rng(seed)
    harm, two_sided, accepted, stopped = 0, 0, 0, []
    for _ in range(updates):
        moved = outcomes(lost, gained, fixed, generator)
        # The limit is the true rate: each acceptance is a false one.
        test = SequentialTest(limit=lost)
        test.extend(moved <= 0, moved >= 0)
        harm += test.first_harm is not None
        two_sided += test.p_value <= 0.05
        accepted += test.first_accept is not None
        stopped.append(test.first_harm or ITEMS)
    return {
        "update": name,
        "items": ITEMS,
        "from": "a fixed set" if fixed else "a population",
        "called_harm": harm / updates,
        "two_sided": two_sided / updates,
        "limit_at_the_true_rate_accepted": accepted / updates,
        "median_items_until_harm": int(np.median(stopped)) if harm / updates > 0.5 else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=2000)
    updates = parser.parse_args().updates
    rows = []
    for seed, (name, lost, gained) in enumerate(RATES):
        for fixed in (False, True):
            rows.append(simulate(name, lost, gained, fixed, updates, seed))
            print(json.dumps(rows[-1]))
    result = {
        "what": "sequential test at level 0.05 with a look after every item, as shares of simulated updates",
        "updates": updates,
        "machine": f"{platform.machine()}, 2 cores, Python {platform.python_version()}",
        "settings": rows,
    }
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    calm = [row for row in rows if row["update"].startswith(("no change", "better"))]
    alarms = max(
        [row["called_harm"] for row in calm] + [row["limit_at_the_true_rate_accepted"] for row in rows]
    )
    if alarms > 0.05:
        raise SystemExit(f"false alarms of {alarms:.1%}")


if __name__ == "__main__":
    main()
