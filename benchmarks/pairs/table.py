"""The bench's tables from the kept numbers, as Markdown.

    python benchmarks/pairs/table.py                       # every run in benchmarks/results/pairs
    python benchmarks/pairs/table.py --unit beginning sibling-clinc150-0
    python benchmarks/pairs/table.py --boards              # over the seeds, as `board.py` kept them

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
from muscle.leaderboard.result import Comparison, Leaderboard, Row, Spread
from muscle.leaderboard.write import read_leaderboard

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
    took = (found["training"] or {}).get("cpu_seconds")
    seconds = "" if took is None else f"{took:.0f}"
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


def board_table(board: Leaderboard) -> str:
    """Return a table over the seeds: mean and standard deviation, and what each row was held against."""
    task = board.tasks[0]
    lines = [
        f"**{board.title}**: {task.n:,} test texts, seeds {', '.join(map(str, board.seeds))}",
        "",
        "| trained on the new base | seeds | accuracy | NFR | against plain | NFR_mc | fewer flips than |",
        "|---|---:|---:|---:|---:|---:|---|",
        *(line for row in board.rows if (line := board_row(row, task.name))),
    ]
    return "\n".join(lines)


def board_row(row: Row, task: str) -> str | None:
    """Return a row's line; None where it was not scored."""
    numbers = row.tasks.get(task)
    if numbers is None:
        return None
    over = numbers.over_seeds
    change = over.get("negative_flip_rate_change_percent") if row.role != "plain" else None
    cells = [
        row.what,
        str(len(numbers.by_seed)),
        spread_text(over.get("accuracy"), 1, 100),
        spread_text(over.get("negative_flip_rate"), 2, 100),
        spread_text(change, 0, 1, " %"),
        spread_text(over.get("inconsistency_rate"), 2, 100),
        "; ".join(against_text(each) for each in numbers.comparisons),
    ]
    return "| " + " | ".join(cells) + " |"


def spread_text(found: Spread | None, digits: int, factor: float, unit: str = "") -> str:
    """Return mean and standard deviation over the seeds."""
    if found is None:
        return ""
    mean = f"{factor * found.mean:.{digits}f}".replace("-", "\N{MINUS SIGN}")
    return mean + (f" \N{PLUS-MINUS SIGN} {factor * found.sd:.{digits}f}" if found.sd is not None else "") + unit


def against_text(found: Comparison) -> str:
    """Return one comparison: with what, both counts of flips over the seeds, and the p-value over items."""
    counts = f"{found.negative_flips} to {found.their_negative_flips}"
    return f"{found.against} {counts}, {p_value(found.p_over_items_holm)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("runs", nargs="*", help="PAIR-TASK-SEED, or with --boards PAIR-TASK; all by default")
    parser.add_argument("--unit", choices=UNITS, help="both by default")
    parser.add_argument("--boards", action="store_true", help="the tables over the seeds")
    given = parser.parse_args()
    if given.boards:
        for path in sorted((KEPT / "boards").glob("*.json")):
            if not given.runs or path.stem in given.runs:
                print(board_table(read_leaderboard(path)) + "\n")
        return
    names = given.runs or sorted(path.stem for path in KEPT.glob("*.json"))
    for name in names:
        kept = read_json(KEPT / f"{name}.json")
        for unit in [given.unit] if given.unit else UNITS:
            if found := table(kept, unit):
                print(found + "\n")


if __name__ == "__main__":
    main()
