"""The gate never gets better by what is missing: parts of valid runs of all formats are dropped or blanked.

    python benchmarks/robustness.py [--cases 5000] [--workers 2]

Pairs of runs that the gate blocks, warns of, passes or cannot tell lose records, members, files, fields and settings,
in the old run, the new one or both, at random or just where it would help. A third goes through `muscle convert` first,
too. Writes benchmarks/results/robustness.json; how a case comes from its number: tests/robust/verdicts.py.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import platform
import resource
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from robust.verdicts import case_of, run_case

RESULTS = Path(__file__).parent / "results" / "robustness.json"
BATCH = 50


def run_batch(seeds: range) -> list[dict[str, Any]]:
    """Run some cases in a process of their own; return what came of each."""
    warnings.simplefilter("ignore")  # a mutated archive may hold a member's name twice
    logging.getLogger("muscle").setLevel(logging.ERROR)
    found = []
    for seed in seeds:
        folder, begun = Path(tempfile.mkdtemp()), time.perf_counter()
        outcome = run_case(case_of(seed), folder, through_convert=seed % 3 == 0)
        shutil.rmtree(folder)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        found.append(
            {
                **asdict(outcome.case),
                "change": outcome.change,
                "before": outcome.before,
                "after": outcome.after,
            }
            | {"converted": outcome.converted, "fault": outcome.fault, "way": outcome.change.split(" ")[0]}
            | {"seconds": time.perf_counter() - begun, "megabytes": memory}
        )
    return found


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Count what came out."""

    def counts(*names: str) -> dict[str, int]:
        told = Counter(" to ".join(str(each[name]) for name in names) for each in found)
        return dict(sorted(told.items()))

    return {
        "cases": len(found),
        "through_convert": sum(each["converted"] is not None for each in found),
        "faults": [each for each in found if each["fault"]],
        "verdicts": counts("before", "after"),
        "formats": counts("format"),
        "ways": counts("way"),
        "policies": counts("policy"),
        "worst_seconds": round(max(each["seconds"] for each in found), 2),
        "peak_megabytes": round(max(each["megabytes"] for each in found)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=5_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    begun, end = time.perf_counter(), arguments.first + arguments.cases
    batches = [range(at, min(at + BATCH, end)) for at in range(arguments.first, end, BATCH)]
    found: list[dict[str, Any]] = []
    with multiprocessing.get_context("spawn").Pool(arguments.workers) as pool:
        for batch in pool.imap_unordered(run_batch, batches):
            found += batch
            for each in batch:
                if each["fault"]:
                    print(f"{each['seed']} {each['format']} {each['policy']}: {each['change']}: {each['fault']}")
            print(f"{len(found)} of {arguments.cases}, {time.perf_counter() - begun:.0f} s", flush=True)
    found.sort(key=lambda each: each["seed"])
    result = {
        "command": f"python benchmarks/robustness.py --cases {arguments.cases}",
        **summary(found),
        "seconds": round(time.perf_counter() - begun),
        "python": platform.python_version(),
    }
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
