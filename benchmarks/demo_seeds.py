"""The demo on five seeds, each with its control: what `docs/demo.md` reports.

    python benchmarks/demo_seeds.py                            five seeds, about 12 minutes
    python benchmarks/demo_seeds.py --gap --seeds 0
    python benchmarks/demo_seeds.py --temperature 2 --seeds 0

The control trains the plain update's adapter on with cross-entropy for as many epochs as the compatibility adapter
trained. Results, with the validation losses of every adapter, go to
`benchmarks/results/demo_seeds[_gap][_temperature_T].json`; the table is printed as Markdown.
"""

import argparse
import json
import platform
import shlex
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from muscle import Report
from muscle.demo.run import run_demo
from muscle.files import write_json
from muscle.provenance import versions
from muscle.typed_json import to_json

SEEDS = (0, 1, 2, 3, 4)
RESULTS = Path(__file__).resolve().parent / "results"
METRICS = ("accuracy_new", "negative_flip_rate", "positive_flip_rate")


def measure(report: Report) -> dict[str, Any]:
    task = report.tasks["tools"]
    assert task.old_vs_new is not None and task.old_vs_candidate is not None, "the demo has a candidate"
    runs = {"plain update": task.old_vs_new, "compatibility adapter": task.old_vs_candidate}
    runs |= {other.name: other.tasks["tools"] for other in report.others}
    return {
        "num_items": task.n,
        "accuracy_old": to_json(task.old_vs_new.accuracy_old),
        "runs": {name: {metric: to_json(getattr(found, metric)) for metric in METRICS} for name, found in runs.items()},
        "candidate_effect": to_json(task.candidate_effect),
    }


def training(folder: Path) -> dict[str, Any]:
    """Return how every adapter trained, without its log of steps."""
    kept = ("best_epoch", "num_epochs", "validation_losses")
    found = {path.parts[-3]: json.loads(path.read_text()) for path in folder.glob("adapters/*/*/training.json")}
    return {name: {key: told[key] for key in kept} for name, told in sorted(found.items())}


def run(seed: int, *, gap: bool, overrides: dict[str, Any]) -> dict[str, Any]:
    """Run the demo with its control and return what is kept of it."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        result = run_demo(Path(folder), seed=seed, gap=gap, overrides={"evaluation.control": True, **overrides})
        trained = training(Path(folder))
    return {**measure(result.report), "training": trained, "seconds": round(time.monotonic() - start, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--gap", action="store_true")
    parser.add_argument("--temperature", type=float)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    asked = parser.parse_args()
    name = "demo_seeds" + ("_gap" if asked.gap else "")
    overrides = {}
    if asked.temperature is not None:
        name += f"_temperature_{asked.temperature:g}"
        overrides["alignment.temperature"] = asked.temperature
    seeds = {}
    for seed in asked.seeds:
        seeds[seed] = run(seed, gap=asked.gap, overrides=overrides)
        print(seed, seeds[seed]["seconds"], "s", flush=True)
    machine = {"processor": platform.processor() or platform.machine(), "system": platform.system()}
    write_json(
        RESULTS / f"{name}.json",
        {
            "command": shlex.join(["python", "benchmarks/demo_seeds.py", *sys.argv[1:]]),
            "machine": machine,
            "versions": versions(),
            "seeds": seeds,
        },
    )
    print(table(seeds))


def table(seeds: dict[int, dict[str, Any]]) -> str:
    """Return one row a seed and run, in percent."""
    lines = ["| seed | run | accuracy | negative flips | positive flips |", "|---:|---|---:|---:|---:|"]
    for seed, found in seeds.items():
        lines.append(f"| {seed} | old | {found['accuracy_old']['value']:.1%} | | |")
        for name, run in found["runs"].items():
            nfr = run["negative_flip_rate"]
            lines.append(
                f"| {seed} | {name} | {run['accuracy_new']['value']:.1%} "
                f"| {nfr['value']:.1%} ({nfr['low']:.1%} to {nfr['high']:.1%}) "
                f"| {run['positive_flip_rate']['value']:.1%} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
