"""`muscle route` on the bench's stored records: two models served, and recorded answers beside the new model.

    python benchmarks/pairs/routed.py --pair sibling --task clinc150 --seeds 0 1 --out runs/pairs --last-epoch

Two models served: rules fitted on the validation texts, measured on the test texts. Recorded answers: nothing but the
answers is left of the records (and, in half of the rows, the probability of the likeliest label as the model's own word
for how sure it is); half of the test texts are fitted on, half are kept apart. Seeds that have not answered yet are
left out. Aggregate numbers go to benchmarks/results/routed.json, beside those of other pairs.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import polars as pl
from answers import UNITS, Unit, records
from bench import HERE, Bench
from intents import TASKS
from make import PAIRS

from muscle.files import read_json, write_json
from muscle.predictions.read import read_run
from muscle.predictions.run import SCORE_PREFIX, Run
from muscle.provenance import versions
from muscle.route import FitOptions, Prices, RouteReport, fit_route, served_rows
from muscle.route.gate_model import ANSWERS

KEPT = HERE.parent / "results" / "routed.json"
PARTS = ("validation", "test")
GATES = {
    "answers": FitOptions(slices=ANSWERS),
    "answers, accuracy kept": FitOptions(slices=ANSWERS, keep_accuracy=True),
    "answers and confidence": FitOptions(slices=ANSWERS),
    "answers and confidence, a quarter asked": FitOptions(slices=ANSWERS, ask_share=0.25),
}


def bare(run: Run, *, confidence: bool) -> Run:
    """Return a run with nothing but its answers and, if wanted, how sure the model is of each."""
    frame = run.frame
    scores = [name for name in frame.columns if name.startswith(SCORE_PREFIX)]
    sure = [_largest_share(each) for each in frame["logprobs"].to_list()]
    without = frame.drop(scores).with_columns(pl.lit(None, dtype=pl.List(pl.Float64)).alias("logprobs"))
    return Run(
        run.name, without.with_columns(pl.Series("score.confidence", sure)) if confidence else without, run.metadata
    )


def _largest_share(values: list[float]) -> float:
    highest = max(values)
    return 1 / sum(math.exp(value - highest) for value in values)


def _told(report: RouteReport) -> dict[str, object]:
    assert report.bound is not None, "half of the texts are kept apart"
    ways = {way.name: {"accuracy": way.accuracy, "negative_flip_rate": way.negative_flip_rate} for way in report.ways}
    rule = report.ways[2]
    return {
        **ways,
        "kappa": report.kappa,
        "asked_share": rule.asked_share,
        "cost_per_1000": rule.cost,
        "bound": report.bound.high,
        "num": report.bound.counts.num,
    }


def routed(bench: Bench, unit: Unit) -> dict[str, object] | None:
    """Return what routing makes of a seed's records; None where old or new has not answered yet."""
    files = {part: tuple(records(bench, name, unit, part) for name in ("old", "new")) for part in PARTS}
    if not all(file.is_file() for pair in files.values() for file in pair):
        return None
    rows = served_rows(files["validation"], files["test"])
    served = [
        {
            "name": row.name,
            "accuracy": row.accuracy,
            "negative_flip_rate": row.negative_flip_rate,
            "asked_share": row.asked_share,
            "cost_per_1000": row.cost,
        }
        for row in rows
    ]
    old, new = (read_run(file) for file in files["test"])
    gates = {}
    for name, fit in GATES.items():
        sides = [bare(run, confidence="confidence" in name) for run in (old, new)]
        price = Prices() if "asked" in name else Prices(old=0.0)
        gates[name] = _told(fit_route(sides[0], sides[1], fit=fit, prices=price).report)
    return {"served": served, "recorded": gates}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--pair", choices=PAIRS, required=True)
    parser.add_argument("--task", choices=TASKS, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--out", type=Path, default=Path("runs/pairs"))
    parser.add_argument("--last-epoch", action="store_true")
    given = parser.parse_args()
    kept = read_json(KEPT) if KEPT.is_file() else {"runs": {}}
    for seed in given.seeds:
        bench = Bench(given.pair, given.task, seed, given.out, Path(), last_epoch=given.last_epoch)
        for unit in UNITS:
            if found := routed(bench, unit):
                kept["runs"][f"{bench.name}, {unit}"] = found
    command = "python benchmarks/pairs/routed.py --pair PAIR --task TASK --seeds SEEDS --out OUT"
    write_json(KEPT, {**kept, "command": command, "versions": versions()})


if __name__ == "__main__":
    main()
