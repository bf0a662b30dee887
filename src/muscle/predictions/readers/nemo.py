"""NVIDIA's NeMo Evaluator: a folder with `eval-*.json` and `results.jsonl`, or one folder a benchmark below it.

Read from its source (release 0.4.0); not tried on a run of it. `reward` is the score; it is right at 1 and
wrong at 0 where a benchmark knows nothing between. `failure_category` and `error` mark what is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from muscle.errors import DataError
from muscle.predictions.readers._json import line_objects, load_object
from muscle.predictions.readers._table import RowTable, SliceFields, binary_correct
from muscle.predictions.readers._values import (
    finite_number,
    known,
    message_text,
    object_in,
    required,
    text_of,
)
from muscle.predictions.records import complete, concat_records
from muscle.predictions.run import SCORE_PREFIX, Run

RESULTS = "results.jsonl"
_KIND = "a result of NeMo Evaluator"


def recognises(path: Path, head: bytes) -> bool:
    """Tell whether this is a bundle, a folder of bundles, or a file of results."""
    if path.is_dir():
        return bool(_bundles(path))
    if path.name == RESULTS or path.suffix == ".jsonl":
        return b'"problem_idx"' in head and b'"reward"' in head
    return path.name.startswith("eval-") and b'"benchmark"' in head and b'"config_hash"' in head


def read(path: Path) -> Run:
    """Read a bundle, or a folder that holds one bundle a benchmark.

    Returns:
        One record a problem and repeat, with the score `reward`.

    Raises:
        DataError: a file is missing or damaged: file, line, field.
    """
    folders = _bundles(path) if path.is_dir() else [path.parent]
    if not folders:
        raise DataError(f"{path}: expected eval-*.json beside {RESULTS}, found none")
    read_bundles = [
        _read_bundle(folder, path if path.suffix == ".jsonl" else folder / RESULTS) for folder in folders
    ]
    frames, facts = [frame for frame, _ in read_bundles], [fact for _, fact in read_bundles]
    metadata = facts[0] | {
        name: {key: value for fact in facts for key, value in fact[name].items()}
        for name in ("tasks", "results")
    }
    name = metadata["model"].get("name") or path.stem
    return Run(str(name), concat_records(frames), metadata | {"notes": []})


def _bundles(folder: Path) -> list[Path]:
    """The folder itself, or those in it, that hold a bundle with its results."""
    places = [folder, *sorted(entry for entry in folder.iterdir() if entry.is_dir())]
    found = [place for place in places if (place / RESULTS).is_file() and any(place.glob("eval-*.json"))]
    return found[:1] if found[:1] == [folder] else found


def _read_bundle(folder: Path, results: Path) -> tuple[pl.DataFrame, dict[str, Any]]:
    files = sorted(folder.glob("eval-*.json"))
    bundle = load_object(files[-1]) if files else {}
    task = str(object_in(bundle, "benchmark").get("name") or folder.name)
    table, slices = RowTable(), SliceFields()
    if not results.is_file():
        raise DataError(f"{results}: expected the results of {task}, found no such file")
    for number, result in line_objects(results):
        row = _row(result, f"{results}, line {number}")
        table.add(row | slices.of(_groups(result)), len(row["output"] or ""))
    frame = table.frame()
    if frame.is_empty():
        raise DataError(f"{results}: expected results, found none")
    frame = slices.prune(frame).with_columns(pl.lit(task).alias("task"))
    return complete(binary_correct(frame, "reward")), _facts(bundle, task)


def _row(result: Mapping[str, Any], where: str) -> dict[str, Any]:
    index = required(result, "problem_idx", where, _KIND)
    expected = result.get("expected_answer")
    error = result.get("error") or result.get("failure_category")
    row: dict[str, Any] = {
        "id": str(index),
        "repeat": int(finite_number(result.get("repeat", 0), where, "repeat")),
        "input": message_text(result.get("prompt")),
        "reference": None if expected is None else [text_of(expected) or ""],
        "output": text_of(result.get("extracted_answer")) or text_of(result.get("model_response")),
        "error": text_of(error) if error else None,
    }
    if row["error"] is None:
        reward = required(result, "reward", where, _KIND)
        row[SCORE_PREFIX + "reward"] = finite_number(reward, where, "reward")
    return row


def _groups(result: Mapping[str, Any]) -> Mapping[str, Any]:
    return object_in(result, "metadata")


def _facts(bundle: Mapping[str, Any], task: str) -> dict[str, Any]:
    config, benchmark = object_in(bundle, "config"), object_in(bundle, "benchmark")
    generation = {name: config.get(name) for name in ("temperature", "top_p", "max_tokens", "seed")}
    task_facts = {
        "generation": known(generation),
        "prompt": config.get("system_prompt"),
        "repeats": benchmark.get("repeats"),
        "num_items": benchmark.get("samples"),
        "config_hash": bundle.get("config_hash"),
    }
    scores = {
        name: value.get("value") if isinstance(value, dict) else value
        for name, value in object_in(benchmark, "scores").items()
    }
    return {
        "model": known({"name": config.get("model"), "url": config.get("model_url")}),
        "versions": known({"nemo_evaluator": bundle.get("sdk_version")}),
        "settings": {},
        "created": bundle.get("timestamp"),
        "harness": "nemo_evaluator",
        "results": {task: scores},
        "tasks": {task: known(task_facts)},
    }
