"""Item verdicts: their false discoveries under mixed truth, the null without any change, and what they cost.

    python benchmarks/item_verdicts.py [--sets 300]          false discoveries and Null95
    python benchmarks/item_verdicts.py --speed        10,000 items x 50 answers x 2 sides with the 1,000-fold null

Mixed truth: of 500 items 70 % keep their pass rate (a fifth of them at 0, two fifths at 1, the rest anywhere), 15 %
fall and 15 % rise by 0.1 to 1. A false discovery is an item called regressed or improved whose pass rate did not
change, or changed the other way. Writes benchmarks/results/item_verdicts.json; each part replaces only its own key.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np

from kept_result import machine
from muscle.flips.noise.item_null import permutation_null
from muscle.flips.noise.item_verdicts import EQUIVALENT, IMPROVED, REGRESSED, item_verdicts
from muscle.flips.options import Test

RESULTS = Path(__file__).parent / "results" / "item_verdicts.json"
ITEMS = 500
SETTINGS: tuple[tuple[int, int, Test], ...] = (
    (10, 10, "fisher"),
    (10, 10, "boschloo"),
    (20, 20, "fisher"),
    (50, 50, "fisher"),
    (50, 50, "boschloo"),
    (50, 10, "fisher"),
)


def mixed_truth(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return pass rates of both versions, (items,)."""
    old = generator.random(ITEMS)
    kind = generator.random(ITEMS)
    old = np.where(kind < 0.14, 0.0, np.where(kind < 0.42, 1.0, old))
    moves = generator.random(ITEMS)
    size = generator.uniform(0.1, 1.0, ITEMS)
    fallen, risen = np.maximum(old - size, 0.0), np.minimum(old + size, 1.0)
    return old, np.where(moves < 0.15, fallen, np.where(moves < 0.30, risen, old))


def false_discoveries(num_old: int, num_new: int, test: Test, sets: int, seed: int) -> dict[str, Any]:
    """Return the mean share of false ones among the items called changed, and how many true changes are found."""
    generator = np.random.default_rng(seed)
    proportions, found, wrongly_equivalent = [], [], []
    k_old, k_new = np.full(ITEMS, num_old), np.full(ITEMS, num_new)
    for _ in range(sets):
        old, new = mixed_truth(generator)
        judged = item_verdicts(
            generator.binomial(num_old, old), k_old, generator.binomial(num_new, new), k_new, test=test
        )
        regressed, improved = judged.codes == REGRESSED, judged.codes == IMPROVED
        false = (regressed & (new >= old)) | (improved & (new <= old))
        called = int((regressed | improved).sum())
        proportions.append(false.sum() / max(called, 1))
        real = np.abs(new - old) >= 0.2
        found.append(((regressed | improved) & real).sum() / max(real.sum(), 1))
        equivalent = judged.codes == EQUIVALENT
        wrongly_equivalent.append((equivalent & real).sum() / max(equivalent.sum(), 1))
    return {
        "answers": [num_old, num_new],
        "test": test,
        "false_discovery_rate": round(float(np.mean(proportions)), 5),
        "standard_error": round(float(np.std(proportions) / np.sqrt(sets)), 5),
        "true_changes_found": round(float(np.mean(found)), 4),
        "equivalent_but_changed": round(float(np.mean(wrongly_equivalent)), 5),
    }


def nulls(seed: int) -> list[dict[str, Any]]:
    """Return Null95 where no item changed, for sets of the published sizes and numbers of answers."""
    rows = []
    generator = np.random.default_rng(seed)
    for items in (100, 300, 500):
        for num in (10, 50):
            rates = generator.beta(0.6, 0.4, items)
            k = np.full(items, num)
            right = generator.binomial(num, rates) + generator.binomial(num, rates)
            null = permutation_null(right, k, k, seed=seed)
            rows.append({"items": items, "answers": num, "null95": null.null95, "largest": float(null.shares[-1])})
    return rows


def speed() -> dict[str, Any]:
    """Time `muscle.compare` from records in memory, and the verdicts with their null by themselves."""
    import polars as pl

    from muscle.comparison import compare

    items, num = 10_000, 50
    generator = np.random.default_rng(0)
    rates = generator.choice([0.0, 0.3, 0.6, 0.9, 1.0], items)
    runs = []
    for _ in range(2):
        right = (generator.random((items, num)) < rates[:, None]).ravel()
        runs.append(
            pl.DataFrame(
                {
                    "id": np.repeat(np.arange(items), num).astype(str),
                    "repeat": np.tile(np.arange(num), items),
                    "correct": right,
                }
            )
        )
    started = time.perf_counter()
    report = compare(runs[0], runs[1]).report
    whole = time.perf_counter() - started
    right_old, right_new = (run["correct"].to_numpy().reshape(items, num).sum(axis=1).astype(np.int64) for run in runs)
    k = np.full(items, num)
    started = time.perf_counter()
    item_verdicts(right_old, k, right_new, k)
    null = permutation_null(right_old + right_new, k, k)
    alone = time.perf_counter() - started
    measured = report.tasks["all"].old_vs_new
    assert measured is not None and measured.items is not None
    assert measured.items.null95.value == null.null95
    return {
        "items": items,
        "answers": num,
        "replicates": 1_000,
        "compare_seconds": round(whole, 2),
        "verdicts_and_null_seconds": round(alone, 2),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=300)
    parser.add_argument("--speed", action="store_true")
    arguments = parser.parse_args()
    result: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    result["machine"] = machine()
    if arguments.speed:
        result["speed"] = speed()
        print(json.dumps(result["speed"]))
    else:
        result["sets"] = arguments.sets
        result["mixed_truth"] = [
            false_discoveries(old, new, test, arguments.sets, seed) for seed, (old, new, test) in enumerate(SETTINGS)
        ]
        result["no_change"] = nulls(7)
        for row in (*result["mixed_truth"], *result["no_change"]):
            print(json.dumps(row))
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    worst = max((row["false_discovery_rate"] for row in result.get("mixed_truth", [])), default=0.0)
    if worst > 0.05:
        raise SystemExit(f"{worst:.1%} of the items called changed are not")


if __name__ == "__main__":
    main()
