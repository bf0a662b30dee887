"""How often the default policy of `muscle gate` blocks updates that change nothing, and how often it finds real harm.

    python benchmarks/gate_simulation.py [--updates 1000]

A model answers item i rightly with probability p_i. Items are of three kinds: firmly right, firmly wrong, and open
ones, whose share sets how often the model flips against itself. Two runs of the same model are two draws of every item
(A/A). A real regression takes items that were firmly right away, so that negative flips exceed the noise by 2 % of all
items. Every update goes through the gate's own judge.

Then each rule alone on both sides of its limit: true rates of 0.5, 0.9, 1, 1.1 and 2 times the limit, 300 to 20,000
items. Writes benchmarks/results/gate_simulation.json; fails where an update that changes nothing is blocked, a limit
that is not kept passes, or one that is kept blocks, in more than 5 % of updates (2.33 standard errors allowed).
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from kept_result import machine
from muscle.flips.measuring.metrics import Quadrants, count_quadrants
from muscle.flips.measuring.tally import tally_of_counts
from muscle.gate.judge import Subject, judge, overall
from muscle.gate.policy import DEFAULT_POLICY, Rules

RESULTS = Path(__file__).parent / "results" / "gate_simulation.json"
ACCURACY = 0.75
EXCESS = 0.02
SETTINGS: tuple[dict[str, Any], ...] = (
    {"items": 300, "noise": 0.03, "tasks": 1},
    {"items": 2000, "noise": 0.0, "tasks": 1},
    {"items": 2000, "noise": 0.01, "tasks": 1},
    {"items": 2000, "noise": 0.03, "tasks": 1},
    {"items": 2000, "noise": 0.08, "tasks": 1},
    {"items": 2000, "noise": 0.03, "tasks": 8},
    {"items": 10000, "noise": 0.03, "tasks": 1},
    {"items": 20000, "noise": 0.03, "tasks": 1},
)
LIMITS: tuple[tuple[str, float], ...] = (
    ("accuracy_drop", 0.01),
    ("accuracy_drop", 0.02),
    ("negative_flip_rate", 0.01),
    ("negative_flip_rate", 0.05),
    ("negative_flip_rate", 0.1),
)
AROUND = (0.5, 0.9, 1.0, 1.1, 2.0)
"""True rates, as multiples of the limit."""
GAINED = 0.02


def probabilities(items: int, noise: float) -> np.ndarray:
    """Return p_i, (items,): open ones are uniform, which gives each of them 1/6 of a negative flip."""
    num_open = round(6 * noise * items)
    num_right = round((ACCURACY - 0.5 * num_open / items) * items)
    opened = (np.arange(num_open) + 0.5) / max(num_open, 1)
    return np.concatenate([opened, np.ones(num_right), np.zeros(items - num_open - num_right)])


def draw(p_old: np.ndarray, p_new: np.ndarray, updates: int, generator: np.random.Generator) -> list[Quadrants]:
    """Answer every item once by each version, for every update; return the counts."""
    found = []
    for _ in range(updates):
        old, new = generator.random(p_old.size) < p_old, generator.random(p_new.size) < p_new
        found.append(count_quadrants(old, new))
    return found


def verdicts(setting: dict[str, Any], excess: float, updates: int, seed: int) -> dict[str, float]:
    """Return the share of updates with each verdict; with several tasks the first alone is harmed."""
    generator = np.random.default_rng(seed)
    p_old = probabilities(setting["items"], setting["noise"])
    harmed = p_old.copy()
    harmed[np.flatnonzero(p_old == 1.0)[: round(excess * p_old.size)]] = 0.0
    tasks = [draw(p_old, harmed if n == 0 else p_old, updates, generator) for n in range(setting["tasks"])]
    policy = DEFAULT_POLICY
    rules = policy.rules_for("task", "binary")
    counted: Counter[str] = Counter()
    for counts in zip(*tasks, strict=True):
        subjects = [
            Subject(f"task {n}", None, tally_of_counts(each), None, rules, policy.min_items)
            for n, each in enumerate(counts)
        ]
        counted[overall(judge(subjects, alpha=policy.alpha))] += 1
    return {word: counted[word] / updates for word in ("pass", "warn", "block", "cannot_tell")}


def at_limit(
    metric: str, limit: float, times: float, items: int, updates: int, generator: np.random.Generator
) -> dict[str, Any]:
    """Return the verdicts of one blocking rule alone where the true rate is a multiple of its limit."""
    true = times * limit
    lost = true + GAINED if metric == "accuracy_drop" else true
    rules = Rules.model_validate({metric: {"limit": limit, "test": "interval", "tier": "block"}})
    cells = generator.multinomial(items, [1 - ACCURACY - GAINED, GAINED, lost, ACCURACY - lost], updates)
    counted: Counter[str] = Counter()
    different, numbers = np.unique(cells, axis=0, return_counts=True)
    for (neither, gained, broken, both), number in zip(different.tolist(), numbers.tolist(), strict=True):
        quadrants = Quadrants(np.array([neither, 0, gained, 0, broken, 0, both, 0]), answers_known=False)
        subject = Subject("task", None, tally_of_counts(quadrants), None, rules, DEFAULT_POLICY.min_items)
        counted[overall(judge([subject], alpha=DEFAULT_POLICY.alpha))] += number
    shares = {word: counted[word] / updates for word in ("pass", "block", "cannot_tell")}
    return {"metric": metric, "limit": limit, "true": true, "kept": times <= 1, "items": items} | shares


def wrong_at_limits(rows: list[dict[str, Any]]) -> float:
    """Return the largest share of updates that pass on or above a limit, or are blocked on or below it."""
    above = [row["pass"] for row in rows if row["true"] >= row["limit"]]
    return max(above + [row["block"] for row in rows if row["kept"]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=1000)
    updates = parser.parse_args().updates
    started = time.process_time()
    rows = []
    for number, setting in enumerate(SETTINGS):
        row = {
            **setting,
            "same_model": verdicts(setting, 0.0, updates, seed=number),
            "two_percent_harmed": verdicts(setting, EXCESS, updates, seed=1000 + number),
        }
        rows.append(row)
        print(json.dumps(row))
    generator = np.random.default_rng(77)
    limits = [
        at_limit(metric, limit, times, items, 4 * updates, generator)
        for metric, limit in LIMITS
        for times in AROUND
        for items in (300, 2_000, 20_000)
    ]
    for row in limits:
        print(json.dumps(row))
    result = {
        "what": "verdicts of the default policy on simulated updates, as shares",
        "updates": updates,
        "accuracy_old": ACCURACY,
        "excess_negative_flip_rate": EXCESS,
        "noise": "negative flip rate of the model against itself",
        "machine": machine(),
        "processor_seconds": round(time.process_time() - started, 1),
        "settings": rows,
        "most_wrong_at_limits": wrong_at_limits(limits),
        "at_limits": limits,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    worst = max(row["same_model"]["block"] for row in rows)
    if worst > 0.05 + 2.33 * (0.05 * 0.95 / updates) ** 0.5:
        raise SystemExit(f"the gate blocks {worst:.1%} of updates that change nothing")
    if wrong_at_limits(limits) > 0.05 + 2.33 * (0.05 * 0.95 / (4 * updates)) ** 0.5:
        raise SystemExit(f"wrong at a limit in {wrong_at_limits(limits):.1%} of updates")


if __name__ == "__main__":
    main()
