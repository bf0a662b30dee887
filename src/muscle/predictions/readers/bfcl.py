"""The Berkeley Function-Calling Leaderboard: `*_score.json` files, or a folder of them.

Read from its source; not tried on a run of it. **A score file lists only the failures**: its first line has the
accuracy and the number of items, the following lines the items that were wrong. The others are right, but
unless the result file of the same category lies in the `result` folder beside `score`, their ids are not known: then such a file is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from muscle.errors import DataError
from muscle.predictions.readers._json import line_objects
from muscle.predictions.readers._table import RowTable
from muscle.predictions.readers._values import refuse, required, text_of
from muscle.predictions.records import complete, concat_records
from muscle.predictions.run import SCORE_PREFIX, Run

_SUFFIX = "_score.json"
_KIND = "a line of a BFCL score file"


def recognises(path: Path, head: bytes) -> bool:
    """Tell whether this is a score file, or a folder with some below it."""
    if path.is_dir():
        return next(path.rglob(f"*{_SUFFIX}"), None) is not None
    return path.name.endswith(_SUFFIX) and b'"accuracy"' in head and b'"total_count"' in head


def read(path: Path) -> Run:
    """Read one category or all of a model's.

    Returns:
        One record an item, a task for each category; the score is 1 for right and 0 for wrong.

    Raises:
        DataError: the result file that names the right items is not there, or disagrees with the counts.
    """
    files = sorted(path.rglob(f"*{_SUFFIX}")) if path.is_dir() else [path]
    runs = [_read_category(file) for file in files]
    models = sorted({model for _, _, model in runs if model})
    if len(models) > 1:
        raise DataError(
            f"{path}: expected the scores of one model, found {', '.join(models[:6])}; name one folder"
        )
    tasks = [frame["task"][0] for frame, _, _ in runs]
    metadata = {
        "model": {"name": models[0]} if models else {},
        "versions": {},
        "settings": {},
        "harness": "bfcl",
        "results": {task: {"accuracy": accuracy} for task, (_, accuracy, _) in zip(tasks, runs, strict=True)},
        "tasks": {task: {} for task in tasks},
        "notes": [],
    }
    return Run(models[0] if models else path.stem, concat_records([frame for frame, _, _ in runs]), metadata)


def _category(file: Path) -> str:
    """Return the category in a name such as `BFCL_v4_simple_python_score.json`."""
    parts = file.name.removesuffix(_SUFFIX).split("_", 2)
    return parts[2] if len(parts) == 3 and parts[0] == "BFCL" else file.name.removesuffix(_SUFFIX)


def _read_category(file: Path) -> tuple[pl.DataFrame, float, str | None]:
    header: Mapping[str, Any] | None = None
    wrong: dict[str, Mapping[str, Any]] = {}
    for number, line in line_objects(file):
        where = f"{file}, line {number}"
        if header is None:
            header = line
            for name in ("accuracy", "total_count", "correct_count"):
                required(line, name, where, "the first line of a BFCL score file")
        else:
            wrong[str(required(line, "id", where, _KIND))] = line
    if header is None:
        raise DataError(f"{file}: expected scores, found none")
    results = _results(file)
    if len(results) != header["total_count"] or not set(wrong) <= set(results):
        refuse(
            f"{file}, line 1",
            "total_count",
            f"the {len(results)} items of the result file",
            header["total_count"],
        )
    table = RowTable()
    for identity, answer in results.items():
        table.add(_row(identity, answer, is_right=identity not in wrong))
    frame = table.frame().with_columns(pl.lit(_category(file)).alias("task"))
    model = next((str(line["model_name"]) for line in wrong.values() if line.get("model_name")), None)
    return (
        complete(frame),
        float(header["accuracy"]),
        model or (file.parent.name if "score" in file.parts else None),
    )


def _results(file: Path) -> dict[str, Any]:
    """Return the answers of all items, from the result file of the same category."""
    name = file.name.replace(_SUFFIX, "_result.json")
    parts = list(file.parts)
    places = [file.with_name(name)]
    if "score" in parts:
        last = len(parts) - 1 - parts[::-1].index("score")
        places.append(Path(*parts[:last], "result", *parts[last + 1 : -1], name))
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise DataError(
            f"{file}: expected {name} beside it or under result/, found none; a score file lists only the failures"
        )
    answers: dict[str, Any] = {}
    for number, line in line_objects(found):
        identity = str(required(line, "id", f"{found}, line {number}", "a line of a BFCL result file"))
        if identity in answers:
            refuse(f"{found}, line {number}", "id", "each item once", identity)
        answers[identity] = line.get("result")
    return answers


def _row(identity: str, answer: Any, *, is_right: bool) -> dict[str, Any]:
    # Only failures come with prompt and reference; texts for some items would keep those from being joined by id.
    return {
        "id": identity,
        "output": text_of(answer),
        "correct": is_right,
        SCORE_PREFIX + "accuracy": float(is_right),
    }
