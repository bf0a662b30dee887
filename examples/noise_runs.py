"""Write the runs that docs/noise.md walks through: an old and a new version that answer by chance.

24 items really changed.

python examples/noise_runs.py DIR
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

from muscle.predictions.writers.records import write_records

ITEMS, CHANGED = 300, 24


def pass_rates() -> tuple[list[float], list[float]]:
    """Return how often each version has each item right; the new one differs in the first 24 only."""
    draw = random.Random(1)
    old = draw.choices([1.0, 0.95, 0.6, 0.0], [5, 2, 2, 1], k=ITEMS)
    new = [(0.1 if p > 0.5 else 0.9) if place < CHANGED else p for place, p in enumerate(old)]
    return old, new


def write_run(path: Path, rates: list[float], answers: int, seed: int) -> None:
    """Ask every item so often and write the answers."""
    draw, rows = random.Random(seed), []
    for place, rate in enumerate(rates):
        for repeat in range(answers):
            right = draw.random() < rate
            output = str(2 * place + (not right))
            item = {"id": f"q{place}", "input": f"What is {place} + {place}?", "reference": str(2 * place)}
            rows.append({**item, "task": "sums", "repeat": repeat, "output": output, "correct": right})
    write_records(path, rows)


def main() -> None:
    """Write all runs into the folder named, or into this one."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    old, new = pass_rates()
    for name, rates, answers, seed in (
        ("old10", old, 10, 2),
        ("new10", new, 10, 3),
        ("old", old, 1, 5),
        ("again", old, 1, 6),
        ("new", new, 1, 7),
        ("fresh-old", old, 20, 8),
        ("fresh-new", new, 20, 9),
    ):
        write_run(folder / f"{name}.jsonl", rates, answers, seed)


if __name__ == "__main__":
    main()
