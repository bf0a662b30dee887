"""Write the runs and the rules that docs/causes.md walks through: a new version that writes the answer in another form.

python examples/causes_runs.py DIR
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

from muscle.predictions.writers.records import write_records

ITEMS, WRONG, FORMAT = 200, 48, 11
RULES = """\
rules:
  - {name: hedging, pattern: 'it depends'}
"""


def answer(place: int, given: int, *, new: bool) -> tuple[str, str]:
    """Return a version's answer and why it ends."""
    working = f"{place + 5} times 20 makes {given}."
    if not new:
        return f"{working}\n#### {given}", "stop"
    if WRONG <= place < WRONG + FORMAT:
        return f"**Working:** {working}\n\n**Answer:** {given}", "stop"
    if place == WRONG + FORMAT:
        return f"Let us go step by step. First we take {place + 5}", "length"
    if place == WRONG + FORMAT + 1:
        return "It depends on what is meant by times.", "stop"
    return f"{working}\n#### {given}", "stop"


def main() -> None:
    """Write both runs and the rules into the folder named, or into this one."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    for name in ("old", "new"):
        rows = []
        for place in range(ITEMS):
            right = 20 * (place + 5)
            output, reason = answer(place, right + (place < WRONG), new=name == "new")
            item = {"id": f"q{place}", "input": f"What is {place + 5} times 20?", "reference": str(right)}
            ends_well = output.endswith(f"#### {right}")
            rows.append({**item, "task": "products", "output": output, "correct": ends_well, "finish_reason": reason})
        random.Random(0).shuffle(rows)
        write_records(folder / f"{name}.jsonl", rows)
    (folder / "rules.yaml").write_text(RULES)


if __name__ == "__main__":
    main()
