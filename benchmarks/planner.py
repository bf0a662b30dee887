"""Whether plans keep their promise: the power reached with the items and repeats that `muscle plan` asks for.

    python benchmarks/planner.py [--updates 2000]

Items have pass rates, the update changes some of them for good, and the set of items is drawn anew each time, as the
plan assumes. The test is the one that `muscle compare` makes: exact McNemar with one answer an item, over items with
repeats. Writes benchmarks/results/planner.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from kept_result import machine
from muscle.flips.statistics import intervals as statistics
from muscle.flips.statistics.clusters import clustered_test
from muscle.plan.resolution import Variances, items_needed, power_of

RESULTS = Path(__file__).parent / "results" / "planner.json"
SETTINGS: tuple[dict[str, Any], ...] = (
    {"open": 0.3, "lost": 0.04, "gained": 0.01, "repeats": 1, "power": 0.8},
    {"open": 0.3, "lost": 0.04, "gained": 0.01, "repeats": 3, "power": 0.8},
    {"open": 0.3, "lost": 0.04, "gained": 0.01, "repeats": 10, "power": 0.8},
    {"open": 0.1, "lost": 0.05, "gained": 0.02, "repeats": 1, "power": 0.8},
    {"open": 0.1, "lost": 0.05, "gained": 0.02, "repeats": 5, "power": 0.9},
    {"open": 0.6, "lost": 0.08, "gained": 0.02, "repeats": 1, "power": 0.9},
    {"open": 0.6, "lost": 0.08, "gained": 0.02, "repeats": 5, "power": 0.8},
)


def truth(setting: dict[str, Any]) -> tuple[Variances, float]:
    """Return the variances of an item's difference and the fall of accuracy, of the population."""
    lost, gained = setting["lost"], setting["gained"]
    # Open items are uniform and keep their rate: two answers of each vary by 2 p (1 - p), 1/3 on average.
    return Variances(lost + gained - (lost - gained) ** 2, setting["open"] / 3), lost - gained


def is_found(setting: dict[str, Any], items: int, generator: np.random.Generator) -> bool:
    kind = generator.random(items)
    ends = np.cumsum([setting["open"], setting["lost"], setting["gained"], 0.3])
    old = np.where(kind < ends[0], generator.random(items), 1.0)
    old = np.where((kind >= ends[1]) & (kind < ends[3]), 0.0, old)
    new = np.where((kind >= ends[0]) & (kind < ends[1]), 0.0, old)
    new = np.where((kind >= ends[1]) & (kind < ends[2]), 1.0, new)
    repeats = setting["repeats"]
    right = [generator.random((items, repeats)) < rates[:, None] for rates in (old, new)]
    lost, gained = (right[0] & ~right[1]).sum(axis=1), (~right[0] & right[1]).sum(axis=1)
    if repeats == 1:
        return statistics.mcnemar(int(lost.sum()), int(gained.sum())).exact <= 0.05
    return clustered_test(lost.astype(float), gained.astype(float)).two_sided <= 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=2000)
    updates = parser.parse_args().updates
    rows = []
    for seed, setting in enumerate(SETTINGS):
        variances, difference = truth(setting)
        items = items_needed(variances, difference, setting["repeats"], power=setting["power"])
        generator = np.random.default_rng(seed)
        reached = sum(is_found(setting, items, generator) for _ in range(updates)) / updates
        promised = power_of(variances, difference, items, setting["repeats"])
        rows.append({**setting, "items": items, "promised": round(promised, 4), "reached": reached})
        print(json.dumps(rows[-1]))
    result = {
        "what": "power promised by muscle plan and reached in simulation",
        "updates": updates,
        "machine": machine(),
        "settings": rows,
    }
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    worst = max(abs(row["promised"] - row["reached"]) for row in rows)
    if worst > 0.03:
        raise SystemExit(f"the power reached is {100 * worst:.1f} points off the promised one")


if __name__ == "__main__":
    main()
