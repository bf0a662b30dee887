"""How long a folder of many small files takes to read and to compare: the time grows with the files, not faster.

    python benchmarks/folder_speed.py [--sizes 250 500 1000 5000] [--rows 20] [--compare]

A folder holds a JSON lines file a task. Each call replaces benchmarks/results/folder_speed.json, with the machine
named; reading 1,000 files in 15 s or more ends the program with 1. `--compare` also times the whole `muscle compare` of
two such folders.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from muscle import read_run

RESULTS = Path(__file__).parent / "results" / "folder_speed.json"
BAR_FILES, BAR_SECONDS = 1_000, 15.0


def write_folder(folder: Path, num_files: int, num_rows: int, seed: int) -> None:
    """Write made-up predictions, four of five right, a file a task."""
    generator = np.random.default_rng(seed)
    folder.mkdir()
    for file in range(num_files):
        correct = generator.random(num_rows) < 0.8
        rows = [
            {"id": f"{file}-{row}", "input": f"What is {file} + {row}?", "correct": bool(correct[row])}
            for row in range(num_rows)
        ]
        (folder / f"task{file:05}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def measure(num_files: int, num_rows: int, *, compare: bool) -> dict[str, Any]:
    """Time the reading of one folder, and the comparison of two as a process of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        folders = [Path(scratch) / name for name in ("old", "new")]
        for seed, folder in enumerate(folders):
            write_folder(folder, num_files, num_rows, seed)
        started = time.perf_counter()
        run = read_run(folders[0])
        found: dict[str, Any] = {"files": num_files, "rows": run.frame.height}
        found["read_seconds"] = round(time.perf_counter() - started, 2)
        if compare:
            started = time.perf_counter()
            command = [sys.executable, "-m", "muscle", "compare", *map(str, folders), "--quiet"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            found["compare_seconds"] = round(time.perf_counter() - started, 2)
    found["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return found


def main() -> int:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[250, 500, 1_000, 5_000])
    parser.add_argument("--rows", type=int, default=20)
    parser.add_argument("--compare", action="store_true")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    measured = []
    for size in arguments.sizes:
        measured.append(measure(size, arguments.rows, compare=arguments.compare))
        print(measured[-1], flush=True)
    machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    result = {
        "command": "python benchmarks/folder_speed.py",
        "machine": machine,
        "load": load,
        "folders": measured,
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    slow = [m for m in measured if m["files"] <= BAR_FILES and m["read_seconds"] >= BAR_SECONDS]
    for each in slow:
        print(f"too slow: {each}")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
