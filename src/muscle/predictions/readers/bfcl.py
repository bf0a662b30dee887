"""The Berkeley Function-Calling Leaderboard: `*_score.json` files, or a folder of them.

Read from its source; not tried on a run of it. **A score file lists only the failures**: its first line has
the accuracy and the number of items, the following lines the items that were wrong. The others are right, but
unless the result file of the same category lies in the `result` folder beside `score`, their ids are not
known: then such a file is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from muscle.errors import DataError
from muscle.foreign_text import listing
from muscle.predictions.readers.shared.fields import count_at, identity_at, json_at, required, score_at, truth_at
from muscle.predictions.readers.shared.json_members import line_objects, lines
from muscle.predictions.readers.shared.row_table import RowTable
from muscle.predictions.readers.shared.values import known, refuse
from muscle.predictions.records import complete, concat_records
from muscle.predictions.run import SCORE_PREFIX, Run, RunFacts, Unread

_SUFFIX = "_score.json"
_RESULT_SUFFIX = "_result.json"
_FAILED = "Error during inference:"
"""Begins what stands in place of an answer where the request failed."""
_ROUNDED = 1e-4
"""BFCL writes an accuracy with all digits; it may have been rounded since."""
_PREREQUISITE = f"_prereq{_RESULT_SUFFIX}"
"""Ends the names of answers that fill the memory that other items ask of; BFCL scores none of them."""


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
        raise DataError(f"{path}: expected the scores of one model, found {listing(models)}; name one folder")
    tasks = [frame["task"][0] for frame, _, _ in runs]
    twice = next((task for place, task in enumerate(tasks) if task in tasks[:place]), None)
    if twice is not None:
        raise DataError(f"{path}: expected each category once, found {twice} in two score files; name one folder")
    metadata: RunFacts = {
        "model": {"name": models[0]} if models else {},
        "versions": {},
        "settings": {},
        "harness": "bfcl",
        "results": {task: {"accuracy": accuracy} for task, (_, accuracy, _) in zip(tasks, runs, strict=True)},
        "tasks": {task: known({"version": _benchmark_version(file)}) for task, file in zip(tasks, files, strict=True)},
        "notes": [],
    }
    unread = _unscored_results(path, files) if path.is_dir() else ()
    frames = [frame for frame, _, _ in runs]
    return Run(models[0] if models else path.stem, concat_records(frames), metadata, unread)


def _unscored_results(folder: Path, files: list[Path]) -> tuple[Unread, ...]:
    """Count what lies in result files below the folder that have no score file."""
    scored = {place for file in files for place in _result_places(file)}
    found = sorted(folder.rglob(f"*{_RESULT_SUFFIX}"))
    left = [file for file in found if file not in scored and not file.name.endswith(_PREREQUISITE)]
    return tuple(Unread("answers without a score file", str(file), sum(1 for _ in lines(file))) for file in left)


def _category(file: Path) -> str:
    """Return the category in a name such as `BFCL_v4_simple_python_score.json`."""
    parts = file.name.removesuffix(_SUFFIX).split("_", 2)
    return parts[2] if len(parts) == 3 and parts[0] == "BFCL" else file.name.removesuffix(_SUFFIX)


def _benchmark_version(file: Path) -> str | None:
    """Return the benchmark's version in a name such as `BFCL_v4_simple_python_score.json`."""
    parts = file.name.split("_", 2)
    return parts[1] if len(parts) == 3 and parts[0] == "BFCL" else None


def _read_category(file: Path) -> tuple[pl.DataFrame, float, str | None]:
    header: Mapping[str, object] | None = None
    wrong: dict[str, Mapping[str, object]] = {}
    for line, where in line_objects(file):
        if header is None:
            header = line
            for name in ("accuracy", "total_count", "correct_count"):
                required(line, name, where, "the first line of a BFCL score file")
            accuracy = score_at(line, "accuracy", where)
            counts = [count_at(line, name, where) for name in ("total_count", "correct_count")]
        elif truth_at(line, "valid", where):
            refuse(where, "valid", "false, as a score file lists only the failures", True)
        elif (identity := identity_at(line, "id", where)) in wrong:
            refuse(where, "id", "each item once", identity)
        else:
            wrong[identity] = line
    if header is None:
        raise DataError(f"{file}: expected scores, found none")
    results = _answers_by_id(file)
    for name, count, counted in zip(
        ("total_count", "correct_count"), counts, (len(results), len(results) - len(wrong)), strict=True
    ):
        # Whatever is not listed as wrong counts as right, so a line that is lost would make an answer right.
        if count != counted or not set(wrong) <= set(results):
            refuse(f"{file}, line 1", name, f"{counted}, by the items of the result file", count)
    if abs(accuracy - (len(results) - len(wrong)) / max(len(results), 1)) > _ROUNDED:
        refuse(f"{file}, line 1", "accuracy", "correct_count by total_count", accuracy)
    table = RowTable()
    for identity, answer in results.items():
        table.add(_record_of_answer(identity, answer, is_right=identity not in wrong))
    frame = table.frame().with_columns(pl.lit(_category(file)).alias("task"))
    model = next((str(line["model_name"]) for line in wrong.values() if line.get("model_name")), None)
    return complete(frame), accuracy, model or _model_folder(file)


def _model_folder(file: Path) -> str | None:
    """Return the folder below `score`, which is called like the model."""
    below = file.parts[_last_score(file) + 1 : -1] if "score" in file.parts else ()
    return below[0] if below else None


def _last_score(file: Path) -> int:
    return len(file.parts) - 1 - file.parts[::-1].index("score")


def _result_places(file: Path) -> list[Path]:
    """Return where the result file of a score file can be."""
    name = file.name.replace(_SUFFIX, _RESULT_SUFFIX)
    places = [file.with_name(name)]
    if "score" in file.parts:
        last = _last_score(file)
        places.append(Path(*file.parts[:last], "result", *file.parts[last + 1 : -1], name))
    return places


def _answers_by_id(file: Path) -> dict[str, str | None]:
    """Return the answers of all items, from the result file of the same category."""
    places = _result_places(file)
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise DataError(
            f"{file}: expected {places[0].name} beside it or under result/, found none; a score file lists "
            "only the failures"
        )
    answers: dict[str, str | None] = {}
    for line, where in line_objects(found):
        identity = identity_at(line, "id", where)
        if identity in answers:
            refuse(where, "id", "each item once", identity)
        required(line, "result", where, "an answer of BFCL")
        answers[identity] = json_at(line, "result", where)
    return answers


def _record_of_answer(identity: str, answer: str | None, *, is_right: bool) -> dict[str, object]:
    # Only failures come with prompt and reference; texts for some items would keep those from being joined by id.
    if answer is not None and answer.startswith(_FAILED):
        return {"id": identity, "error": answer}
    return {
        "id": identity,
        "output": answer,
        "correct": is_right,
        SCORE_PREFIX + "accuracy": float(is_right),
    }
