"""Three sets of runs whose reports are kept: a choice task, generation with repeats, a chain of versions.

    python tests/golden/runs.py        writes the reports of the installed version beside this file

A report that changed is looked at, and the changelog names what changed and why, before it is written anew.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from muscle import CompareOptions

FOLDER = Path(__file__).parent
Rows = list[dict[str, Any]]


def choice_runs() -> dict[str, pl.DataFrame]:
    """Two tasks with options, likelihoods, slices and groups; old, new, candidate, old again, the bare base."""
    shift = {"old": 0.0, "new": 0.5, "candidate": 0.4, "rerun": 0.0, "base": -0.3}
    noise = {"old": 1, "new": 2, "candidate": 3, "rerun": 1, "base": 4}
    return {run: _choices(shift[run], noise[run], jitter=run == "rerun") for run in shift}


def _choices(shift: float, seed: int, *, jitter: bool) -> pl.DataFrame:
    rows = []
    for number in range(120):
        item, own, slight = (random.Random(f"{kind} {number}") for kind in ("item", f"{seed}", "rerun"))
        right = item.randrange(3)
        logprobs = [item.gauss(-4, 1) + own.gauss(0, 0.7) for _ in range(3)]
        logprobs[right] += 0.8 + shift
        if jitter:
            logprobs = [value + slight.gauss(0, 0.15) for value in logprobs]
        choice = max(range(3), key=logprobs.__getitem__)
        choices = [f"option {letter} of {number}" for letter in "abc"]
        rows.append(
            {
                "task": "tools" if number % 3 else "places",
                "id": f"q{number}",
                "input": f"Question {number}: which one?" + " And why?" * (number % 4),
                "reference": [choices[right]],
                "choices": choices,
                "choice": choice,
                "output": choices[choice],
                "correct": choice == right,
                "logprobs": logprobs,
                "slice.topic": item.choice(["home", "garden", "street"]),
            }
        )
    return pl.DataFrame(rows[:-1] if seed == 2 else rows)


def repeated_runs() -> dict[str, pl.DataFrame]:
    """Generation, five answers an item: a task right or wrong, and one with a score alone."""
    drift = {"old": 0.0, "new": 0.25, "candidate": 0.15}
    return {run: _generations(run, drift[run]) for run in drift}


def _generations(run: str, drift: float) -> pl.DataFrame:
    rows: Rows = []
    for number in range(40):
        item = random.Random(f"item {number}")
        ease, moved = item.random(), item.random() < 0.4
        for repeat in range(5):
            own = random.Random(f"{run} {number} {repeat}")
            chance = min(1.0, max(0.0, ease + (item.choice([-3, 2]) * drift if moved and repeat == 0 else 0)))
            right = own.random() < chance
            shared = {"id": f"g{number}", "repeat": repeat, "input": f"How many are {number} and {number}?"}
            text = f"It is {2 * number}." if right else own.choice(["Sorry, I cannot say.", f"{number}", ""])
            rows.append(
                {
                    "task": "sums",
                    **shared,
                    "reference": [str(2 * number)],
                    "output": text,
                    "correct": right,
                    "rouge": None,
                }
            )
            score = 0.4 + 0.3 * ease + 0.1 * own.random() + (drift if number % 2 else -drift / 2)
            rows.append(
                {
                    "task": "notes",
                    **shared,
                    "reference": ["a note"],
                    "output": f"a note {own.randrange(9)}",
                    "correct": None,
                    "rouge": score,
                }
            )
    return pl.DataFrame(rows, infer_schema_length=None).rename({"rouge": "score.rouge"})


def chain_runs() -> list[pl.DataFrame]:
    """Four versions, one task right or wrong and one with a score."""
    return [_version(number) for number in range(4)]


def _version(version: int) -> pl.DataFrame:
    rows: Rows = []
    for number in range(60):
        own = random.Random(f"{version} {number}")
        ease = random.Random(f"item {number}").random()
        right = own.random() < 0.3 + 0.5 * ease + 0.05 * version
        shared = {"id": f"c{number}", "input": f"Task {number}"}
        rows.append({"task": "checks", **shared, "correct": right, "score.f1": None})
        rows.append({"task": "texts", **shared, "correct": None, "score.f1": round(own.random(), 2)})
    return pl.DataFrame(rows, infer_schema_length=None)


def choice_report() -> dict[str, Any]:
    """Return the report of the choice runs, judged by the gate, cut by a slice."""
    from muscle.gate import gate

    runs = choice_runs()
    policy = FOLDER / "policy.yaml"
    return gate(
        runs["old"],
        runs["new"],
        policy,
        candidate=runs["candidate"],
        noise=runs["rerun"],
        options=CompareOptions(seed=3),
    ).to_json()


def others_report() -> dict[str, Any]:
    """Return the report of the choice runs with a further run, groups of items and slices by name."""
    from muscle import CompareOptions, compare

    runs = choice_runs()
    return compare(
        runs["old"],
        runs["new"],
        others={"bare base": runs["base"]},
        options=CompareOptions(cluster="topic", slices=["topic"], tolerance=0.02, max_flips=12),
    ).to_json()


def repeated_report() -> dict[str, Any]:
    """Return the report of the repeated runs."""
    from muscle import CompareOptions, compare

    runs = repeated_runs()
    return compare(
        runs["old"],
        runs["new"],
        candidate=runs["candidate"],
        options=CompareOptions(epsilon=0.02, max_flips=8, seed=5),
    ).to_json()


def chain_report() -> dict[str, Any]:
    """Return the report of the chain."""
    from muscle.flips.history import history

    return history(chain_runs(), names=["v1", "v2", "v3", "v4"], options=CompareOptions(epsilon=0.05)).to_json()


REPORTS: dict[str, Callable[[], dict[str, Any]]] = {
    "choice": choice_report,
    "others": others_report,
    "repeats": repeated_report,
    "chain": chain_report,
}


def comparable(report: dict[str, Any]) -> dict[str, Any]:
    """Return a report as JSON gives it back, without what differs from run to run: its date and our version."""
    plain: dict[str, Any] = json.loads(json.dumps(report))
    return {name: value for name, value in plain.items() if name not in ("created", "muscle_version")}


if __name__ == "__main__":
    for name, make in REPORTS.items():
        text = json.dumps(comparable(make()), indent=1, sort_keys=True, ensure_ascii=False)
        (FOLDER / f"{name}.json").write_text(text + "\n", encoding="utf-8")
