"""The same pairs through other tools' own commands: noisecheck, deltagate, NVIDIA's `nel compare`.

They are installed apart from this project; `benchmarks/compare_speed.py --rivals PYTHON` names that environment's
Python. Each gets the pairs in the form that it reads, and as much work as it does by default: a table or library call
with its intervals, JSON and Markdown out where it writes them.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

LIMIT_SECONDS = 120
NAMES = ("noisecheck", "deltagate", "nemo-evaluator")

DELTAGATE = """\
import json, sys
from deltagate.report import evaluate_comparison
def load(path):
    with open(path) as lines:
        return {row["id"]: row["score"] for row in map(json.loads, lines)}
print(evaluate_comparison(load(sys.argv[1]), load(sys.argv[2])).render())
"""


@dataclass(frozen=True)
class Rival:
    """A tool's command for two versions whose right answers are given as booleans."""

    name: str
    command: list[str]
    accepted: tuple[int, ...]


def _write_lines(path: Path, rows: list[str]) -> Path:
    path.write_text("\n".join(rows) + "\n")
    return path


def _noisecheck(python: Path, folder: Path, versions: dict[str, np.ndarray]) -> Rival:
    for name, correct in versions.items():
        rows = [
            f'{{"example_id": "item-{n}", "variant": "{name}", "metric": "accuracy", "value": {int(right)}}}'
            for n, right in enumerate(correct)
        ]
        _write_lines(folder / f"noisecheck-{name}.jsonl", rows)
    files = [str(folder / f"noisecheck-{name}.jsonl") for name in versions]
    out = ["--json", str(folder / "n.json"), "--md", str(folder / "n.md")]
    return Rival("noisecheck", [str(python.parent / "noisecheck"), "compare", *files, *out], (0, 1, 2))


def _deltagate(python: Path, folder: Path, versions: dict[str, np.ndarray]) -> Rival:
    files = []
    for name, correct in versions.items():
        rows = [f'{{"id": "item-{n}", "score": {int(right)}}}' for n, right in enumerate(correct)]
        files.append(str(_write_lines(folder / f"deltagate-{name}.jsonl", rows)))
    return Rival("deltagate", [str(python), "-c", DELTAGATE, *files], (0,))


def _nel(python: Path, folder: Path, versions: dict[str, np.ndarray]) -> Rival:
    folders = []
    for name, correct in versions.items():
        place = folder / f"nel-{name}"
        place.mkdir()
        rows = [f'{{"problem_idx": {n}, "repeat": 0, "reward": {float(right)}}}' for n, right in enumerate(correct)]
        _write_lines(place / "results.jsonl", rows)
        scores = {"mean_reward": {"value": float(correct.mean())}}
        bundle = {"run_id": name, "config": {}, "benchmark": {"name": "made-up", "scores": scores}}
        (place / "eval-made-up.json").write_text(json.dumps(bundle))
        folders.append(str(place))
    out = ["-o", str(folder / "nel.json"), "--report", str(folder / "nel.md")]
    return Rival("nel", [str(python.parent / "nel"), "compare", *folders, *out], (0, 1, 2))


RIVALS: tuple[Callable[[Path, Path, dict[str, np.ndarray]], Rival], ...] = (_nel, _noisecheck, _deltagate)


def rivals(python: Path, folder: Path, versions: dict[str, np.ndarray]) -> list[Rival]:
    """Write each tool's files and return the commands."""
    return [make(python, folder, versions) for make in RIVALS]


def versions_of(python: Path) -> dict[str, str]:
    """Return the installed releases."""
    code = f"import importlib.metadata as m; print('\\n'.join(m.version(n) for n in {NAMES!r}))"
    found = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    return dict(zip(NAMES, found, strict=True))


def nel_p_value(folder: Path) -> float | None:
    """Return the one-sided exact McNemar p that nel wrote, None where it wrote none."""
    path = folder / "nel.json"
    if not path.is_file():
        return None
    value = json.loads(path.read_text())
    found = value.get("mcnemar") or {}
    return found.get("p_value")
