"""How often the intervals that correct a judge hold the truth.

    python benchmarks/judges.py [--draws 4000]

Known errors (`--judge-errors 0.9/20,0.85/20`): sensitivity and specificity are measured on so many right and so many
wrong answers, and the judge errs on each answer of both versions by chance. People's labels (`--human-labels`): some of
the items are labelled; the judge may err otherwise on the new version. Each difference, and the old version's rate, is
corrected by the package's own functions. Writes benchmarks/results/judges.json; fails where a corrected difference by
known errors is outside 93 to 97 % with 25 answers a rate or more (three standard errors of the draws allowed), or any
is below.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from pathlib import Path
from typing import Any

import numpy as np

from kept_result import machine, write_rows
from muscle import JudgeErrors
from muscle.flips.explaining.judges import corrected_difference, corrected_rate, ppi_difference
from muscle.flips.statistics.intervals import Estimate, newcombe_paired

RESULTS = Path(__file__).parent / "results" / "judges.json"
OLD_ACCURACY = 0.65
CALIBRATED = (20, 25, 50, 100, 250, 500)
ITEMS = (500, 2_000, 10_000)
JUDGES = ((0.9, 0.85), (0.75, 0.8), (0.95, 0.95), (0.98, 0.98))
FLIPS = ((0.03, 0.03), (0.05, 0.02), (0.15, 0.03), (0.30, 0.02), (0.02, 0.22))
LABELLED = (50, 100, 200, 500)
# Chance that the judge fails a right answer and passes a wrong one, of the old and of the new version.
ERRORS = ((0.1, 0.15, 0.1, 0.15), (0.02, 0.05, 0.02, 0.30), (0.01, 0.02, 0.03, 0.03), (0.0, 0.02, 0.0, 0.06))


def judged_cells(lost: float, gained: float, sensitivity: float, specificity: float) -> np.ndarray:
    """Return the chances that the judge sees both right, a negative flip, a positive flip, both wrong."""
    passed = {True: sensitivity, False: 1 - specificity}
    shares = {
        (True, True): OLD_ACCURACY - lost,
        (True, False): lost,
        (False, True): gained,
        (False, False): 1 - OLD_ACCURACY - gained,
    }
    cells = np.zeros(4)
    for (old, new), share in shares.items():
        o, n = passed[old], passed[new]
        cells += share * np.array([o * n, o * (1 - n), (1 - o) * n, (1 - o) * (1 - n)])
    return cells


def holds(estimate: Estimate, truth: float) -> bool:
    assert estimate.low is not None and estimate.high is not None
    return estimate.low <= truth <= estimate.high


def by_errors(
    calibrated: int,
    items: int,
    rates: tuple[float, float],
    flips: tuple[float, float],
    draws: int,
    generator: np.random.Generator,
) -> dict[str, Any]:
    """Return how often the corrected intervals hold the truth, and how often those that take the errors as exact."""
    found = np.zeros(3)
    truth, used = flips[1] - flips[0], 0
    cells = generator.multinomial(items, judged_cells(*flips, *rates), draws)
    measured = generator.binomial(calibrated, rates, (draws, 2)) / calibrated
    for (both, lost, gained, neither), (q1, q0) in zip(cells.tolist(), measured.tolist(), strict=True):
        if q1 + q0 <= 1:
            continue  # is refused
        used += 1
        judge = JudgeErrors(q1, q0, calibrated, calibrated)
        seen = Estimate.of((gained - lost) / items, newcombe_paired(both, lost, gained, neither))
        found += (
            holds(corrected_difference(seen, judge), truth),
            holds(corrected_difference(seen, JudgeErrors(q1, q0)), truth),
            holds(corrected_rate(both + lost, items, judge), OLD_ACCURACY),
        )
    difference, exact, rate = (found / used).tolist()
    return {
        "calibrated": calibrated,
        "items": items,
        "sensitivity": rates[0],
        "specificity": rates[1],
        "lost": flips[0],
        "gained": flips[1],
        "difference": difference,
        "difference_if_errors_were_exact": exact,
        "rate": rate,
        "used": used,
    }


def by_labels(
    labelled: int,
    items: int,
    errors: tuple[float, ...],
    flips: tuple[float, float],
    draws: int,
    generator: np.random.Generator,
) -> dict[str, Any]:
    """Return how often the difference corrected by labels holds the truth."""
    held = 0
    for _ in range(draws):
        place = generator.random(items)
        old = place < OLD_ACCURACY
        new = (old & (place >= flips[0])) | (~old & (place < OLD_ACCURACY + flips[1]))
        judged = []
        for truth, fail, let_pass in ((old, *errors[:2]), (new, *errors[2:])):
            chance = generator.random(items)
            judged.append(np.where(truth, chance >= fail, chance < let_pass))
        seen, real = (side[1].astype(float) - side[0] for side in (judged, (old, new)))
        # Items come in random order, so the first are a random sample.
        found = ppi_difference(seen, real[:labelled], seen[:labelled], binary=True)
        held += holds(found, flips[1] - flips[0])
    return {
        "labelled": labelled,
        "items": items,
        "errors": errors,
        "lost": flips[0],
        "gained": flips[1],
        "difference": held / draws,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=4_000)
    draws, started = parser.parse_args().draws, time.perf_counter()
    generator = np.random.default_rng(0)
    errors = [by_errors(*setting, draws, generator) for setting in itertools.product(CALIBRATED, ITEMS, JUDGES, FLIPS)]
    labels = [
        by_labels(n, items, each, flips, draws // 4, generator)
        for n, items, each, flips in itertools.product(LABELLED, ITEMS, ERRORS, FLIPS[1:3])
        if n < items
    ]
    summary = {}
    for calibrated in CALIBRATED:
        rows = [row for row in errors if row["calibrated"] == calibrated]
        summary[str(calibrated)] = {
            name: [min(row[name] for row in rows), max(row[name] for row in rows)]
            for name in ("difference", "difference_if_errors_were_exact", "rate")
        }
        print(calibrated, summary[str(calibrated)])
    of_labels = {}
    for labelled in LABELLED:
        shares = [row["difference"] for row in labels if row["labelled"] == labelled]
        of_labels[str(labelled)] = [min(shares), max(shares)]
        print(labelled, "labels", of_labels[str(labelled)])
    result = {
        "what": "share of draws whose 95 % interval of the corrected difference, or rate, holds the "
        "truth; least and most of all settings first",
        "draws": draws,
        "machine": machine(),
        "seconds": round(time.perf_counter() - started),
        "by_errors_least_and_most": summary,
        "by_labels_least_and_most": of_labels,
    }
    rows = {"by_errors": errors, "by_labels": labels}
    write_rows(RESULTS, result, rows)
    room = 3 * math.sqrt(0.93 * 0.07 / draws)
    outside = [row for row in errors if not 0.93 - room <= row["difference"] <= 0.97 + room]
    low = [row for row in labels if row["difference"] < 0.93 - 2 * room]
    if outside or low:
        raise SystemExit(f"coverage outside 93 to 97 %: {outside + low}")


if __name__ == "__main__":
    main()
