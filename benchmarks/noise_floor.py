"""How often the intervals of the noise floor and of the excess hold the truth.

    python benchmarks/noise_floor.py [--sets 2000]

A set of items has pass rates drawn from a population: firmly right, firmly wrong, and open ones. An update takes some
firmly right items away for good. The truths are the population's: the mean of p (1 - p), and the mean of p_old (1 -
p_new) less that. Each set is compared by `muscle.flips`' own functions, from repeats (as many answers of both versions,
and unequally many) and from a second run. Writes
benchmarks/results/noise_floor.json.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from kept_result import machine
from muscle.flips.noise.floor import noise_of_repeats, noise_of_rerun
from muscle.flips.noise.repeats import Repeats, Side
from muscle.flips.pairing.items import TaskItems

RESULTS = Path(__file__).parent / "results" / "noise_floor.json"
SETTINGS: tuple[dict[str, Any], ...] = (
    {"items": 200, "old": 3, "new": 3, "open": 0.3, "harmed": 0.03},
    {"items": 200, "old": 10, "new": 10, "open": 0.3, "harmed": 0.03},
    {"items": 1000, "old": 2, "new": 2, "open": 0.3, "harmed": 0.0},
    {"items": 1000, "old": 10, "new": 10, "open": 0.1, "harmed": 0.02},
    {"items": 1000, "old": 50, "new": 50, "open": 0.3, "harmed": 0.02},
    {"items": 200, "old": 10, "new": 1, "open": 0.3, "harmed": 0.03},
    {"items": 1000, "old": 10, "new": 1, "open": 0.3, "harmed": 0.02},
    {"items": 1000, "old": 2, "new": 10, "open": 0.3, "harmed": 0.02},
    {"items": 1000, "old": 5, "new": 3, "open": 0.1, "harmed": 0.0},
    {"items": 1000, "old": 50, "new": 2, "open": 0.3, "harmed": 0.02},
    {"items": 20_000, "old": 3, "new": 3, "open": 0.3, "harmed": 0.02},
    {"items": 20_000, "old": 10, "new": 1, "open": 0.1, "harmed": 0.005},
    {"items": 300, "old": 1, "new": 1, "open": 0.3, "harmed": 0.02},
    {"items": 2000, "old": 1, "new": 1, "open": 0.1, "harmed": 0.02},
    {"items": 20_000, "old": 1, "new": 1, "open": 0.1, "harmed": 0.005},
)


def draw(setting: dict[str, Any], generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return pass rates of both versions; open items are uniform, so that their p (1 - p) is 1/6 on average."""
    kind, p = generator.random(setting["items"]), generator.random(setting["items"])
    old = np.where(kind < setting["open"], p, np.where(kind < setting["open"] + 0.2, 0.0, 1.0))
    harmed = (kind > setting["open"] + 0.2) & (
        generator.random(setting["items"]) * (0.8 - setting["open"]) < setting["harmed"]
    )
    return old, np.where(harmed, 0.0, old)


def from_repeats(old: np.ndarray, new: np.ndarray, answers: tuple[int, int], generator: np.random.Generator) -> Any:
    sides = []
    for rates, number in zip((old, new), answers, strict=True):
        right = generator.random((rates.size, number)) < rates[:, None]
        sides.append(Side(np.full(rates.size, number), right.astype(float)))
    places = np.arange(old.size)
    return noise_of_repeats(Repeats("binary", places, places, sides[0], sides[1], None))


def from_rerun(old: np.ndarray, new: np.ndarray, generator: np.random.Generator) -> Any:
    first, again, update = (generator.random(old.size) < rates for rates in (old, old, new))
    nothing = pl.Series([None] * old.size, dtype=pl.Float64)
    frame = pl.DataFrame(
        {
            "pair": np.arange(old.size),
            "correct_old": ~first | again,
            "correct_new": ~first | update,
            "changed": nothing.cast(pl.Boolean),
            "score_old": nothing,
            "score_new": nothing,
        }
    )
    return noise_of_rerun(TaskItems("t", "binary", None, frame, 0))


def coverage(setting: dict[str, Any], sets: int, seed: int) -> dict[str, Any]:
    """Return the share of sets whose intervals hold the truth."""
    generator = np.random.default_rng(seed)
    floor, excess = setting["open"] / 6, setting["harmed"]
    held = {"floor": 0, "excess": 0}
    width = 0.0
    for _ in range(sets):
        old, new = draw(setting, generator)
        if setting["old"] > 1:
            noise = from_repeats(old, new, (setting["old"], setting["new"]), generator)
        else:
            noise = from_rerun(old, new, generator)
        held["floor"] += noise.floor.low <= floor <= noise.floor.high
        held["excess"] += noise.excess.low <= excess <= noise.excess.high
        width += noise.floor.high - noise.floor.low
    return {
        **setting,
        "source": "repeats" if setting["old"] > 1 else "second run",
        "floor": floor,
        "floor_covered": held["floor"] / sets,
        "excess_covered": held["excess"] / sets,
        "floor_interval_width": round(width / sets, 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=2000)
    sets = parser.parse_args().sets
    rows = []
    for seed, setting in enumerate(SETTINGS):
        rows.append(coverage(setting, sets, seed))
        print(json.dumps(rows[-1]))
    result = {
        "what": "share of simulated sets of items whose 95 % intervals hold the truth",
        "sets": sets,
        "machine": machine(),
        "settings": rows,
    }
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    room = 2 * math.sqrt(0.05 * 0.95 / sets)
    outside = [
        row
        for row in rows
        if not all(0.93 - room <= row[f"{name}_covered"] <= 0.97 + room for name in ("floor", "excess"))
    ]
    if outside:
        raise SystemExit(f"coverage outside 93 to 97 %: {outside}")


if __name__ == "__main__":
    main()
