"""The demo on five seeds, each with its control: what `docs/demo.md` reports.

    python benchmarks/demo_seeds.py [--gap]

The control trains the plain update's adapter on with cross-entropy for as many epochs as the compatibility adapter trained.
Results go to `benchmarks/results/demo_seeds[_gap].json`; the table is printed as Markdown.
"""

import argparse
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

from muscle.demo.run import run_demo
from muscle.files import write_json
from muscle.run_folder import versions

SEEDS = range(5)
RESULTS = Path(__file__).resolve().parent / "results"
METRICS = ("accuracy_new", "negative_flip_rate", "positive_flip_rate")


def measure(report: dict[str, Any]) -> dict[str, Any]:
    task = report["tasks"]["tools"]
    runs = {"plain update": task["old_vs_new"], "compatibility adapter": task["old_vs_candidate"]}
    runs |= {other["name"]: other["tasks"]["tools"] for other in report["others"]}
    return {
        "num_items": task["n"],
        "accuracy_old": task["old_vs_new"]["accuracy_old"],
        "runs": {name: {metric: found[metric] for metric in METRICS} for name, found in runs.items()},
        "candidate_effect": task["candidate_effect"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gap", action="store_true")
    gap = parser.parse_args().gap
    seeds = {}
    for seed in SEEDS:
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            result = run_demo(Path(folder), seed=seed, gap=gap, overrides={"evaluation.control": True})
        seeds[seed] = {**measure(result.report), "seconds": round(time.monotonic() - start, 1)}
        print(seed, seeds[seed]["seconds"], "s", flush=True)
    machine = {"processor": platform.processor() or platform.machine(), "system": platform.system()}
    write_json(
        RESULTS / f"demo_seeds{'_gap' if gap else ''}.json",
        {
            "command": "python benchmarks/demo_seeds.py" + (" --gap" if gap else ""),
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
                f"| {nfr['value']:.1%} ({nfr['low']:.1%} to {nfr['high']:.1%}) | {run['positive_flip_rate']['value']:.1%} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
