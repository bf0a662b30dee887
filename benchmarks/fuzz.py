"""Hostile files for everything that muscle reads: no exception but its own, no hang over 10 s, no memory over 1 GB.

    python benchmarks/fuzz.py [--cases 50000] [--workers 2] [--targets read,gate,...]

Valid runs of every format, policies, causes, updates, tasks, settings, reports, baselines, lists for `confirm`, texts
of llama.cpp and adapters are hurt: bytes flip, files are cut, parts are doubled, moved or removed, values get another
type, odd texts, numbers and depths come in. Each case runs in a process that is watched. Writes
benchmarks/results/fuzz.json; a case comes from its target and number alone:

    PYTHONPATH=tests python -c "from robust.targets import *; print(try_case('read', 17, Path('/tmp/case')))"
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from robust.targets import TARGETS
from robust.watched import Case, watch

RESULTS = Path(__file__).parent / "results" / "fuzz.json"
BATCH = 300


def run_batch(batch: list[Case]) -> list[dict[str, Any]]:
    """Run some cases in a process of their own."""
    return list(watch(batch))


def is_fault(outcome: dict[str, Any]) -> bool:
    """Whether a case ended as none may."""
    return outcome["end"] not in ("read", "refused")


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Count what came out, target by target, and list the faults by kind."""
    kinds: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for each in filter(is_fault, found):
        kinds[f"{each['target']}: {each['end']}"].append(each)
    targets: dict[str, dict[str, Any]] = {}
    for name in TARGETS:
        own = [each for each in found if each["target"] == name]
        if own:
            ends = Counter("fault" if is_fault(each) else each["end"] for each in own)
            targets[name] = {
                "cases": len(own),
                **dict(sorted(ends.items())),
                "worst_seconds": round(max(each["seconds"] for each in own), 2),
                "peak_megabytes": round(max(each["megabytes"] for each in own)),
                "longest_message": max(each.get("length", 0) for each in own),
            }
    faults = {
        kind: {"count": len(each), "numbers": [one["number"] for one in each[:5]]}
        for kind, each in sorted(kinds.items(), key=lambda entry: -len(entry[1]))
    }
    return {"cases": len(found), "faults": faults, "targets": targets}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=50_000)
    parser.add_argument("--first", type=int, default=0, help="number of each target's first case")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--targets", default=",".join(TARGETS))
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    names = arguments.targets.split(",")
    total = sum(TARGETS[name][1] for name in names)
    batches: list[list[Case]] = []
    for name in names:
        end = arguments.first + -(-TARGETS[name][1] * arguments.cases // total)
        cases = [(name, number) for number in range(arguments.first, end)]
        batches += [cases[at : at + BATCH] for at in range(0, len(cases), BATCH)]
    begun, found = time.perf_counter(), list[dict[str, Any]]()
    with ThreadPoolExecutor(arguments.workers) as pool:
        for batch, outcomes in zip(batches, pool.map(run_batch, batches), strict=True):
            found += outcomes
            told = f"{sum(map(is_fault, outcomes))} faults; {len(found)}, {time.perf_counter() - begun:.0f} s"
            print(f"{batch[0][0]} {batch[0][1]}: {told}", flush=True)
            seconds = round(time.perf_counter() - begun)
            result = {"command": f"python benchmarks/fuzz.py --cases {arguments.cases}", **summary(found)}
            result |= {"seconds": seconds, "python": platform.python_version()}
            arguments.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    print(json.dumps(result["faults"], indent=1))


if __name__ == "__main__":
    main()
