"""How often the intervals of a comparison hold the truth, by simulation.

    python benchmarks/coverage.py [--draws 10000]

For n items and true rates of negative and positive flips, draws the four cells of an update many times and counts how
often each 95 % interval holds the true value; the same for means of skewed scores and for grouped items. Writes
benchmarks/results/coverage.json. Binary cells are multinomial, so the whole takes about five minutes.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from muscle.flips.measuring import metrics
from muscle.flips.measuring.metrics import Quadrants
from muscle.flips.statistics import clusters, resampling
from muscle.flips.statistics import intervals as statistics
from muscle.flips.statistics.intervals import Estimate, Interval

RESULTS = Path(__file__).parent / "results" / "coverage.json"
SIZES = (100, 300, 1_000, 10_000, 20_000)
RATES = (0.005, 0.01, 0.03, 0.1, 0.3)
OLD_ACCURACY = 0.65
Truth = dict[str, float]


def truths(lost: float, gained: float) -> Truth:
    """Return the true values of the metrics for true rates of negative and positive flips."""
    both_right, both_wrong = OLD_ACCURACY - lost, 1 - OLD_ACCURACY - gained
    new_wrong = lost + both_wrong
    return {
        "negative_flip_rate": lost,
        "accuracy_difference": gained - lost,
        "backward_trust_compatibility": both_right / OLD_ACCURACY,
        "backward_error_compatibility": both_wrong / new_wrong,
        "relative_negative_flip_rate": lost / (new_wrong * OLD_ACCURACY),
    }


def binary_coverage(
    size: int, lost: float, gained: float, draws: int, generator: np.random.Generator
) -> dict[str, float]:
    """Return how often each metric's interval holds the truth; a draw without a value counts in neither."""
    cells = [1 - OLD_ACCURACY - gained, gained, lost, OLD_ACCURACY - lost]
    samples = generator.multinomial(size, cells, size=draws)
    different, counts = np.unique(samples, axis=0, return_counts=True)
    held: Counter[str] = Counter()
    valued: Counter[str] = Counter()
    expected = truths(lost, gained)
    for (neither, positive, negative, both), count in zip(different, counts, strict=True):
        quadrants = Quadrants(np.array([neither, 0, positive, 0, negative, 0, both, 0]), answers_known=True)
        for name, truth in expected.items():
            estimate = metrics.BINARY_METRICS[name](quadrants)
            if estimate.low is not None and estimate.high is not None:
                valued[name] += int(count)
                held[name] += int(count) * (estimate.low <= truth <= estimate.high)
        upper = statistics.upper_bound(int(negative), size)
        held["upper_bound"] += int(count) * (lost <= upper)
        valued["upper_bound"] += int(count)
    return {name: held[name] / valued[name] for name in valued}


def share(draw: Callable[[], Interval | Estimate], truth: float, draws: int) -> float:
    """Return how often a drawn interval holds the truth."""
    held = 0
    for _ in range(draws):
        found = draw()
        assert found.low is not None and found.high is not None
        held += found.low <= truth <= found.high
    return held / draws


def mean_coverage(size: int, draws: int, generator: np.random.Generator) -> dict[str, float]:
    """Return the coverage of the bootstrap for an exponential, a uniform and a discrete score."""
    sources: dict[str, tuple[Callable[[], np.ndarray], float]] = {
        "exponential": (lambda: generator.exponential(1.0, size), 1.0),
        "uniform": (lambda: generator.random(size), 0.5),
        "steps of a fifth": (lambda: generator.integers(1, 6, size) / 5, 0.6),
    }
    return {
        name: share(lambda draw=draw: resampling.bootstrap_mean(draw()), truth, draws)  # type: ignore[misc]
        for name, (draw, truth) in sources.items()
    }


def clustered_coverage(num_clusters: int, rate: float, draws: int, generator: np.random.Generator) -> dict[str, float]:
    """Return the coverage for grouped items (5 to a group, beta-binomial, correlation 0.3), allowing for it or not."""
    size, correlation = 5, 0.3
    a, b = rate * (1 / correlation - 1), (1 - rate) * (1 / correlation - 1)

    def parts() -> np.ndarray:
        return generator.binomial(size, generator.beta(a, b, num_clusters)).astype(float)

    wholes = np.full(num_clusters, float(size))
    return {
        "clustered": share(lambda: clusters.clustered_rate(parts(), wholes), rate, draws),
        "as if independent": share(lambda: statistics.rate(int(parts().sum()), num_clusters * size), rate, draws),
    }


def main() -> None:
    """Simulate, print tables, keep the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=10_000)
    draws = parser.parse_args().draws
    generator, started = np.random.default_rng(0), time.perf_counter()
    binary: list[dict[str, Any]] = []
    for size in SIZES:
        for lost in RATES:
            found = binary_coverage(size, lost, lost * 1.1, min(draws, 4_000 if size > 1_000 else draws), generator)
            binary.append({"n": size, "true_negative_flip_rate": lost, **found})
            print(
                f"n {size:>6}  NFR {lost:<6}" + "".join(f"  {name[:14]} {value:.3f}" for name, value in found.items())
            )
    means = [{"n": n, **mean_coverage(n, draws // 10, generator)} for n in (20, 100, 1_000)]
    grouped = [
        {"clusters": g, "rate": r, **clustered_coverage(g, r, draws // 5, generator)}
        for g in (50, 200)
        for r in (0.03, 0.1)
    ]
    for row in (*means, *grouped):
        print("  ".join(f"{name} {value}" for name, value in row.items()))
    value = {
        "machine": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "seconds": time.perf_counter() - started,
        },
        "draws": draws,
        "nominal": statistics.CONFIDENCE,
        "binary": binary,
        "bootstrap_means": means,
        "grouped": grouped,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
