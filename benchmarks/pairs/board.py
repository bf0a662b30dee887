"""All seeds of a pair and task in one table: every model held against its controls, over the items and over the seeds.

    python benchmarks/pairs/board.py --pair sibling --task clinc150 --out runs/pairs [--last-epoch] [--unit whole]

By `muscle.leaderboard`, as `muscle sweep` makes its own: mean and standard deviation over the seeds, sign-flip tests
over items (an item's flips of all seeds are one cluster), Holm's adjustment. Written to
benchmarks/results/pairs/boards/PAIR-TASK.json; `benchmarks/pairs/table.py --boards` prints the kept ones as Markdown. A
model counts with the seeds that it has, kept answers (`kept_answers.py`) among them.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from answers import UNITS, Unit, records
from bench import SLOTS, Bench
from intents import TASKS
from items import BUILT_IN
from kept import KEPT
from kept_answers import restore_answers
from make import PAIRS
from rivals import ALL
from served import SERVED
from steps import GENERATION_STEPS, Step

from muscle.files import read_json, write_json
from muscle.leaderboard.build import build_leaderboard
from muscle.leaderboard.entries import Control, Entry, Group, Role

BOARDS = KEPT / "boards"
CONTROLS: Mapping[str, Role] = {
    "old": "old",
    "new": "plain",
    **dict.fromkeys(("floor", "twin", "bare", "labels", "longer", "third"), "control"),
}
"""What the steps are that no method is."""
CORE: Mapping[Control, str] = {
    "plain": "new",
    "floor": "floor",
    "twin": "twin",
    "longer": "longer",
    "no_teacher": "labels",
}
AS_OLD: Mapping[str, Control] = {"twin": "twin_as_old", "third": "third_as_old"}
"""Who may stand in the old model's place, and the control that this is."""
SERVED_BESIDE = "new"
"""Of the models served beside the old one, the one that is shown: the plain update."""


def entry_of(step: Step, known: Sequence[Step], runs: Mapping[int, Path], seconds: Mapping[int, float]) -> Entry:
    """Return a step as a row: what it is, and what of the known ones it is held against."""
    stand_in = step.kind == "align" and step.teacher[1] in AS_OLD
    role: Role = "control" if stand_in else CONTROLS.get(step.name, "method")
    uses_old = role == "method" and step.teacher == ("old", "old") and step.alignment.get("target") != "labels"
    controls = {kind: name for kind, name in CORE.items() if role in ("method", "control") and name != step.name}
    if uses_old:
        same = (each for each in known if (each.training, each.alignment) == (step.training, step.alignment))
        controls |= {AS_OLD[each.teacher[1]]: each.name for each in same if each.teacher[1] in AS_OLD}
    return Entry(
        step.name,
        role,
        step.words,
        "all",
        runs=runs,
        controls=controls,
        uses_old=uses_old,
        eligible=role == "method" or step.name in ("labels", "longer"),
        seconds=seconds,
    )


def entries(benches: Mapping[int, Bench], unit: Unit) -> list[Entry]:
    """Return a row for each model that has answered, in the order of the tables."""
    generates = next(iter(benches.values())).generates
    found = []
    known = GENERATION_STEPS if generates else ALL
    for step in known:
        if runs := runs_of(benches, step.name, unit):
            found.append(entry_of(step, known, runs, seconds_of(benches, step.name)))
    for each in SERVED:
        if each.partner == SERVED_BESIDE and (runs := runs_of(benches, each.name, unit)):
            beside: Mapping[Control, str] = {"plain": "new", "floor": "floor"}
            found.append(Entry(each.name, "served", each.words, "all", runs=runs, controls=beside, models_served=2))
    return found


def runs_of(benches: Mapping[int, Bench], name: str, unit: Unit) -> dict[int, Path]:
    """Return the folders of a model's answers to the test texts, by seed."""
    files = {seed: records(bench, name, unit) for seed, bench in benches.items()}
    return {seed: file.parent for seed, file in files.items() if file.is_file()}


def seconds_of(benches: Mapping[int, Bench], name: str) -> dict[int, float]:
    """Return what a model's training took, in seconds of the processor, by seed."""
    notes = {seed: bench.adapter(name).with_name(f"{name}.json") for seed, bench in benches.items()}
    return {seed: float(read_json(note)["cpu_seconds"]) for seed, note in notes.items() if note.is_file()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--pair", choices=PAIRS, required=True)
    parser.add_argument("--task", choices=(*TASKS, *BUILT_IN, SLOTS), required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/pairs"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--unit", choices=UNITS, default="beginning")
    parser.add_argument("--last-epoch", action="store_true")
    given = parser.parse_args()
    benches = {
        seed: Bench(given.pair, given.task, seed, given.out, given.data, last_epoch=given.last_epoch)
        for seed in given.seeds
    }
    for bench in benches.values():
        restore_answers(bench, given.unit)
    old, new = (runs_of(benches, name, given.unit) for name in ("old", "new"))
    title = f"{given.pair}, {given.task}" + ", last epoch of the token adapters" * given.last_epoch
    board = build_leaderboard(
        [Group("all", old, new)], entries(benches, given.unit), old="old", new="plain update", title=title
    )
    unit = f"-{given.unit}" if given.unit != "beginning" else ""
    path = BOARDS / f"{given.pair}-{given.task}{'-last-epoch' * given.last_epoch}{unit}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, board.to_json())
    print(path)


if __name__ == "__main__":
    main()
