"""How long `muscle compare` takes, as a whole process: JSONL in, all statistics, JSON and Markdown out.

    python benchmarks/compare_speed.py [--sizes 100000 1000000] [--runs 3]      # muscle compare
    python benchmarks/compare_speed.py --sizes 10000000 --runs 1
    python benchmarks/compare_speed.py --lm-eval 200                            # reads 200 MB of samples
    python benchmarks/compare_speed.py --rivals /path/to/venv/bin/python        # side by side, 10,000 and 100,000 pairs

Each call replaces its own part of benchmarks/results/compare_speed.json, with the machine named; bars that are missed
are printed and end the program with 1. Two layouts: `id, correct`, and short inputs with references and answers. The
best of the runs counts; the load of the machine at the start is kept beside it. For the rivals see
`compare_rivals.py`: noisecheck, deltagate and nel are installed apart from this project
(`pip install noisecheck==0.1.1 deltagate==0.1.1 nemo-evaluator==0.3.0`, Python 3.12).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from compare_rivals import LIMIT_SECONDS, nel_p_value, rivals, versions_of
from kept_result import processor

RESULTS = Path(__file__).parent / "results" / "compare_speed.json"
Bar = tuple[float | None, int | None]
BARS: dict[int, Bar] = {
    100_000: (1.5, None),
    1_000_000: (6.0, 1_500_000_000),
    10_000_000: (None, 2_000_000_000),
}
"""Pairs to seconds and bytes."""
READER_BAR = 60
"""Megabytes a second, samples of lm-evaluation-harness."""
LAYOUTS = ("id, correct", "short inputs")
MAX_WITH_TEXT = 1_000_000
"""Past this, only the layout without texts is timed: 10,000,000 pairs with texts are 2.4 GB of input."""


def write_run(path: Path, size: int, layout: str, seed: int, chunk: int = 1_000_000) -> None:
    """Write a run of made-up predictions, four of five right, a chunk at a time."""
    generator = np.random.default_rng(seed)
    with path.open("wb") as handle:
        for start in range(0, size, chunk):
            rows = pl.int_range(start, min(start + chunk, size), eager=True)
            correct = pl.Series(generator.random(rows.len()) < 0.8)
            ids = "item-" + rows.cast(pl.String)
            columns = {"id": ids, "correct": correct}
            if layout == "short inputs":
                reference = (rows * 7919 % 1000).cast(pl.String)
                wrong = pl.Series(generator.integers(1000, 1050, rows.len())).cast(pl.String)
                columns |= {
                    "input": "What is 7919 times " + rows.cast(pl.String) + ", modulo 1000?",
                    "reference": reference,
                    "output": reference.zip_with(correct, wrong),
                }
            pl.DataFrame(columns).write_ndjson(handle)


def timed(
    command: list[str],
    *,
    accepted: tuple[int, ...],
    limit_seconds: float = 600,
    environment: Mapping[str, str] | None = None,
) -> dict[str, float]:
    """Run a command as a process of its own; return its wall and processor seconds and its peak memory.

    Past the limit it is ended, and only the limit is returned. `environment` is added to this process's own.
    """
    variables = {**os.environ, **(environment or {})}
    started = time.perf_counter()
    child = os.fork()
    if child == 0:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        os.execve(command[0], command, variables)
    guard = threading.Timer(limit_seconds, os.kill, (child, signal.SIGKILL))
    guard.start()
    _, status, usage = os.wait4(child, 0)
    guard.cancel()
    wall = time.perf_counter() - started
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGKILL and wall >= limit_seconds:
        return {"over_seconds": limit_seconds}
    if code not in accepted:
        raise SystemExit(f"{' '.join(command)[:200]}: ended with {code}")
    return {
        "wall_seconds": round(wall, 3),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 3),
        "peak_bytes": usage.ru_maxrss * 1024,
    }


def run_once(old: Path, new: Path, out: Path, environment: Mapping[str, str] | None = None) -> dict[str, float]:
    """Run `muscle compare`."""
    command = [sys.executable, "-m", "muscle.cli", "compare", str(old), str(new), "--quiet"]
    command += ["--json", str(out / "r.json"), "--markdown", str(out / "r.md")]
    return timed(command, accepted=(0, 1, 2), environment=environment)


def write_samples(path: Path, num_bytes: int) -> None:
    """Write samples as lm-evaluation-harness 0.4.13 does for a task with two options."""
    generator, row, written = np.random.default_rng(0), 0, 0
    with path.open("w", encoding="utf-8") as handle:
        while written < num_bytes:
            question = f"Question: how does one carry load {row} up the hill, past the mill?\nAnswer:"
            options = [f" With a rope of {row % 97} feet, tied twice.", f" In a cart with {row % 89} wheels."]
            likelihoods = generator.normal(-30, 5, 2).round(4)
            right = row % 2
            answers = [[str(value), "False"] for value in likelihoods]
            sample = {
                "doc_id": row,
                "doc": {"goal": question[10:-8], "sol1": options[0], "sol2": options[1], "label": right},
                "target": str(right),
                "arguments": {
                    f"gen_args_{n}": {"arg_0": question, "arg_1": option} for n, option in enumerate(options)
                },
                "resps": [[answer] for answer in answers],
                "filtered_resps": answers,
                "filter": "none",
                "metrics": ["acc", "acc_norm"],
                "doc_hash": f"{row:064x}",
                "prompt_hash": f"{row:064x}",
                "target_hash": f"{row:064x}",
                "acc": float(likelihoods.argmax() == right),
                "acc_norm": 0.0,
            }
            written += handle.write(json.dumps(sample, ensure_ascii=False) + "\n")
            row += 1


READ = """\
import resource, sys, time
from pathlib import Path
from muscle.predictions.readers import lm_eval
started = time.perf_counter()
rows = lm_eval.read(Path(sys.argv[1])).frame.height
print(rows, time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def measure_reader(megabytes: int, runs: int) -> dict[str, float]:
    """Return how fast a samples file of lm-evaluation-harness is read; the best of the runs."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "samples_load_2026-01-01T00-00-00.000000.jsonl")
        write_samples(file, megabytes * 1_000_000)
        num_bytes = file.stat().st_size
        found = [
            subprocess.run([sys.executable, "-c", READ, str(file)], check=True, capture_output=True, text=True)
            for _ in range(runs)
        ]
    rows, seconds, peak = min((result.stdout.split() for result in found), key=lambda words: float(words[1]))
    return {
        "bytes": num_bytes,
        "samples": int(rows),
        "seconds": round(float(seconds), 3),
        "megabytes_per_second": round(num_bytes / 1e6 / float(seconds), 1),
        "peak_bytes": int(peak),
    }


def measure_rivals(python: Path, sizes: tuple[int, ...]) -> dict[str, Any]:
    """Time every tool on the same pairs, and hold our one-sided McNemar p-value against nel's."""
    rows: list[dict[str, Any]] = []
    for size in sizes:
        generator = np.random.default_rng(size)
        # A chance of 3 % that an answer changes, a little more often for the worse.
        old = generator.random(size) < 0.8
        new = old ^ (generator.random(size) < np.where(old, 0.03, 0.09))
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for version, correct in (("old", old), ("new", new)):
                ids = "item-" + pl.int_range(size, eager=True).cast(pl.String)
                pl.DataFrame({"id": ids, "correct": correct}).write_ndjson(folder / f"{version}.jsonl")
            ours = run_once(folder / "old.jsonl", folder / "new.jsonl", folder)
            rows.append({"pairs": size, "tool": "muscle", **ours})
            for rival in rivals(python, folder, {"old": old, "new": new}):
                found = timed(rival.command, accepted=rival.accepted, limit_seconds=LIMIT_SECONDS)
                rows.append({"pairs": size, "tool": rival.name, **found})
            report = json.loads((folder / "r.json").read_text())
            (task,) = report["tasks"].values()
            harm = task["old_vs_new"]["mcnemar_harm_p"]
            rows[-4]["mcnemar_harm_p"] = harm
            rows[-3]["mcnemar_p"] = nel_p_value(folder)
        for row in rows[-4:]:
            print(json.dumps(row))
    return {"limit_seconds": LIMIT_SECONDS, "versions": versions_of(python), "results": rows}


def machine() -> dict[str, Any]:
    """Name the machine and the versions."""
    return {
        "cpu": processor(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "python": platform.python_version(),
        "polars": pl.__version__,
        "load_at_start": os.getloadavg()[0],
        "niceness": os.nice(0),
    }


def measure_sizes(sizes: list[int], runs: int) -> list[dict[str, Any]]:
    """Time `muscle compare` for every size and layout."""
    results: list[dict[str, Any]] = []
    print(f"{'pairs':>10}  {'layout':<14}{'wall s':>8}{'cpu s':>8}{'peak MB':>9}")
    for size in sizes:
        for layout in LAYOUTS if size <= MAX_WITH_TEXT else LAYOUTS[:1]:
            with tempfile.TemporaryDirectory() as folder:
                old, new = Path(folder, "old.jsonl"), Path(folder, "new.jsonl")
                write_run(old, size, layout, seed=0)
                write_run(new, size, layout, seed=1)
                measured = [run_once(old, new, Path(folder)) for _ in range(runs)]
                best = min(measured, key=lambda run: run["wall_seconds"])
                num_bytes = old.stat().st_size + new.stat().st_size
            results.append({"pairs": size, "layout": layout, "input_bytes": num_bytes, **best, "runs": measured})
            print(
                f"{size:>10}  {layout:<14}{best['wall_seconds']:>8.2f}{best['cpu_seconds']:>8.2f}"
                f"{best['peak_bytes'] / 1e6:>9.0f}"
            )
    return results


def missed(value: dict[str, Any]) -> list[str]:
    """Return the bars that the results do not meet."""
    found = []
    for row in value.get("results", []):
        seconds, num_bytes = BARS.get(row["pairs"], (None, None))
        what = f"{row['pairs']:,} pairs, {row['layout']}"
        if seconds is not None and row["wall_seconds"] > seconds:
            found.append(f"{what}: {row['wall_seconds']} s, the bar is {seconds} s")
        if num_bytes is not None and row["peak_bytes"] > num_bytes:
            found.append(f"{what}: {row['peak_bytes'] / 1e9:.2f} GB, the bar is {num_bytes / 1e9} GB")
    reader = value.get("lm_eval_reader")
    if reader and reader["megabytes_per_second"] < READER_BAR:
        found.append(f"lm-eval reader: {reader['megabytes_per_second']} MB/s, the bar is {READER_BAR} MB/s")
    return found


def main() -> None:
    """Measure what the command line asks for, keep it beside the rest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--lm-eval", type=int, metavar="MEGABYTES")
    parser.add_argument("--rivals", type=Path, metavar="PYTHON")
    parser.add_argument("--rival-sizes", type=int, nargs="+", default=[10_000, 100_000])
    arguments = parser.parse_args()
    value: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    here = machine()
    if arguments.rivals:
        value["rivals"] = {"machine": here, **measure_rivals(arguments.rivals, tuple(arguments.rival_sizes))}
    elif arguments.lm_eval:
        value["lm_eval_reader"] = {"machine": here, **measure_reader(arguments.lm_eval, arguments.runs)}
        print(json.dumps(value["lm_eval_reader"]))
    else:
        kept = [row for row in value.get("results", []) if row["pairs"] not in arguments.sizes]
        value["machine"] = here
        value["results"] = sorted(kept + measure_sizes(arguments.sizes, arguments.runs), key=lambda row: row["pairs"])
    value = {"bars": {str(size): bar for size, bar in BARS.items()}, **value}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    if found := missed(value):
        raise SystemExit("\n".join(found))


if __name__ == "__main__":
    main()
