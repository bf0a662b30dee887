"""How long `muscle compare` takes, as a whole process: JSONL in, statistics, JSON and Markdown out.

    python benchmarks/compare_speed.py [--sizes 100000 1000000] [--runs 3]

Writes benchmarks/results/compare_speed.json with the machine named. Two layouts: `id, correct`, and short inputs with
references and answers. The best of the runs counts; the load of the machine at the start is kept beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

RESULTS = Path(__file__).parent / "results" / "compare_speed.json"
BARS = {100_000: 1.5, 1_000_000: 6.0}
MEMORY_BAR_BYTES = 1_500_000_000


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


def run_once(old: Path, new: Path, out: Path) -> dict[str, float]:
    """Run the command; return its wall and processor seconds and its peak memory."""
    command = [sys.executable, "-m", "muscle.cli", "compare", str(old), str(new), "--quiet"]
    command += ["--json", str(out / "r.json"), "--markdown", str(out / "r.md")]
    started = time.perf_counter()
    child = os.spawnv(os.P_NOWAIT, sys.executable, command)
    _, status, usage = os.wait4(child, 0)
    wall = time.perf_counter() - started
    code = os.waitstatus_to_exitcode(status)
    if code not in (0, 1, 2):
        raise SystemExit(f"muscle compare ended with {code}")
    return {
        "wall_seconds": round(wall, 3),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 3),
        "peak_bytes": usage.ru_maxrss * 1024,
    }


def machine() -> dict[str, Any]:
    """Name the machine and the versions."""
    cpu = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line
        ]
        cpu = names[0] if names else cpu
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "python": platform.python_version(),
        "polars": pl.__version__,
        "load_at_start": os.getloadavg()[0],
        "niceness": os.nice(0),
    }


def main() -> None:
    """Measure, print a table, keep the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    results: list[dict[str, Any]] = []
    started_on = machine()
    print(f"{'pairs':>10}  {'layout':<14}{'wall s':>8}{'cpu s':>8}{'peak MB':>9}")
    for size in arguments.sizes:
        for layout in ("id, correct", "short inputs"):
            with tempfile.TemporaryDirectory() as folder:
                old, new = Path(folder, "old.jsonl"), Path(folder, "new.jsonl")
                write_run(old, size, layout, seed=0)
                write_run(new, size, layout, seed=1)
                runs = [run_once(old, new, Path(folder)) for _ in range(arguments.runs)]
                best = min(runs, key=lambda run: run["wall_seconds"])
                num_bytes = old.stat().st_size + new.stat().st_size
            results.append({"pairs": size, "layout": layout, "input_bytes": num_bytes, **best, "runs": runs})
            print(
                f"{size:>10}  {layout:<14}{best['wall_seconds']:>8.2f}{best['cpu_seconds']:>8.2f}{best['peak_bytes'] / 1e6:>9.0f}"
            )
    value = {
        "machine": started_on,
        "bars_seconds": BARS,
        "memory_bar_bytes": MEMORY_BAR_BYTES,
        "results": results,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
