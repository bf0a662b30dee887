"""The bench's tables from the kept numbers, as Markdown.

    python benchmarks/pairs/table.py                       # every run in benchmarks/results/pairs
    python benchmarks/pairs/table.py --unit beginning sibling-clinc150-0

"against plain" is the change of the negative flips against the plain update's, with the p-value of McNemar's exact test
on the two models' negative flips over the same items. Seconds are the process's on one thread; wall time, which
hangs on what else the machine did, stands in the kept numbers.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from muscle.files import read_json

KEPT = Path(__file__).resolve().parents[1] / "results" / "pairs"
UNITS = {"whole": "whole labels", "beginning": "labels by their shortest beginning that no other has"}
HEADER = (
    "| trained on the new base | accuracy | NFR | against plain | PFR | NFR_mc | training, CPU s |\n"
    "|---|---:|---:|---:|---:|---:|---:|"
)


def percent(value: float | None, digits: int = 1) -> str:
    """Return a share as per cent."""
    return "" if value is None else f"{100 * value:.{digits}f}"


def p_value(p: float) -> str:
    """Return a p-value in words."""
    return "p < .001" if p < 0.001 else f"p = {p:.3f}".replace("0.", ".", 1)


def change_of(effect: Mapping[str, Any] | None) -> str:
    """Return the change of the negative flips against the plain update's, in per cent of them, with its p-value."""
    if effect is None:
        return ""
    change = effect["negative_flips_percent"]
    if change is None:
        return "undefined: the plain update has none"
    sign = "\N{MINUS SIGN}" if change < 0 else "+"
    return f"{sign}{abs(change):.0f} % ({p_value(effect['negative_flips_p'])})"


def row(found: Mapping[str, Any], unit: str) -> str | None:
    """Return a model's line; None where it has not answered by that unit."""
    numbers = found["answers"].get(unit)
    if numbers is None:
        return None
    rates = {
        name: numbers[name]["value"] if name in numbers else None
        for name in ("negative_flip_rate", "positive_flip_rate", "inconsistency_rate")
    }
    accuracy = numbers["accuracy"]
    change = change_of(numbers.get("against_plain"))
    training = found["training"]
    seconds = f"{training['cpu_seconds']:.0f}" if training else ""
    cells = [
        found["words"],
        percent(accuracy if isinstance(accuracy, float) else accuracy["value"]),
        percent(rates["negative_flip_rate"], 2),
        change,
        percent(rates["positive_flip_rate"], 2),
        percent(rates["inconsistency_rate"], 2),
        seconds,
    ]
    return "| " + " | ".join(cells) + " |"


def table(kept: Mapping[str, Any], unit: str) -> str | None:
    """Return a run's table; None where no model has answered by that unit."""
    lines = [line for found in kept["rows"].values() if (line := row(found, unit))]
    if not lines:
        return None
    items = kept["num_items"]
    # A task without labels writes its answers.
    labels = f"{kept['num_labels']} labels, " if kept["num_labels"] else ""
    scored = UNITS[unit] if labels else "written answers"
    heading = (
        f"**{kept['pair']}, {kept['task']}, seed {kept['seed']}**: {labels}"
        f"{items['train']} training and {items['test']:,} test texts; {scored}; token adapters' epoch: "
        f"{kept['epoch_of_token_adapters']}. `{kept['command']}`"
    )
    return "\n".join([heading, "", HEADER, *lines])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("runs", nargs="*", help="PAIR-TASK-SEED; all by default")
    parser.add_argument("--unit", choices=UNITS, help="both by default")
    given = parser.parse_args()
    names = given.runs or sorted(path.stem for path in KEPT.glob("*.json"))
    for name in names:
        kept = read_json(KEPT / f"{name}.json")
        for unit in [given.unit] if given.unit else UNITS:
            if found := table(kept, unit):
                print(found + "\n")


if __name__ == "__main__":
    main()
