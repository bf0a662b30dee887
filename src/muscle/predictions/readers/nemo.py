"""NVIDIA's NeMo Evaluator: a folder with `eval-*.json` and `results.jsonl`, or one folder a benchmark below it.

Read from its source (release 0.4.0); not tried on a run of it. `reward` is the score; it is right at 1 and
wrong at 0 where a benchmark knows nothing between. `failure_category` and `error` mark what is missing, and so does a
judge that failed: the reward of its item stays 0, which says nothing of the answer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import polars as pl

from muscle.errors import DataError
from muscle.predictions.readers.shared.facts import merged_facts
from muscle.predictions.readers.shared.fields import (
    check_levels,
    count_at,
    json_at,
    message_at,
    object_at,
    required,
    score_at,
    text_at,
    truth_at,
)
from muscle.predictions.readers.shared.json_members import line_objects, load_object
from muscle.predictions.readers.shared.row_table import RowTable, SliceFields, binary_correct
from muscle.predictions.readers.shared.values import NOTHING_SET, known, refuse, without_secrets
from muscle.predictions.records import complete, concat_records
from muscle.predictions.run import SCORE_PREFIX, Run, RunFacts, Unread

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
        One record a problem and repeat, with the score `reward`, then those of further scorers.

    Raises:
        DataError: a file is missing or damaged, or the folder holds several models: file, line, field.
    """
    folders = _bundles(path) if path.is_dir() else [path.parent]
    if not folders:
        raise DataError(f"{path}: expected eval-*.json beside {RESULTS}, found none")
    runs = [_read_bundle(folder, path if path.suffix == ".jsonl" else folder / RESULTS) for folder in folders]
    _refuse_mixed(path, runs)
    metadata = merged_facts(runs, runs[0].metadata)
    unread = [each for run in runs for each in run.unread]
    if path.is_dir():
        unread += _bundles_not_read(path, folders)
    name = metadata["model"].get("name") or path.stem
    return Run(name, concat_records([run.frame for run in runs]), metadata, tuple(unread))


def _bundles(folder: Path) -> list[Path]:
    """The folder itself, or those in it, that hold a bundle with its results."""
    found = [place for place in _folder_and_subfolders(folder) if (place / RESULTS).is_file() and _bundle_files(place)]
    return found[:1] if found[:1] == [folder] else found


def _folder_and_subfolders(folder: Path) -> list[Path]:
    return [folder, *sorted(entry for entry in folder.iterdir() if entry.is_dir())]


def _bundle_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("eval-*.json"))


def _bundles_not_read(folder: Path, read_folders: Sequence[Path]) -> list[Unread]:
    """Count the folders that hold a part of a bundle, or one beside that which was read."""
    return [
        Unread(f"a folder with eval-*.json or {RESULTS} that was not read; name it by itself", str(place))
        for place in _folder_and_subfolders(folder)
        if place not in read_folders and (_bundle_files(place) or (place / RESULTS).exists())
    ]


def _refuse_mixed(path: Path, runs: Sequence[Run]) -> None:
    models = sorted({str(run.metadata["model"].get("name")) for run in runs})
    if len(models) > 1:
        raise DataError(f"{path}: expected the results of one model, found {', '.join(models[:6])}; name one folder")
    tasks = [task for run in runs for task in run.metadata["tasks"]]
    if len(set(tasks)) < len(tasks):
        double = next(task for task in tasks if tasks.count(task) > 1)
        raise DataError(f"{path}: expected one bundle a benchmark, found several of {double}; name one folder")


def _read_bundle(folder: Path, results: Path) -> Run:
    bundle, bundle_file, notes = _newest_bundle(folder)
    benchmark = object_at(bundle, "benchmark", bundle_file)
    task = text_at(benchmark, "name", f"{bundle_file}, benchmark") or folder.name
    table, slices, judges = RowTable(where=str(results)), SliceFields(), set[str]()
    if not results.is_file():
        raise DataError(f"{results}: expected the results of {task}, found no such file")
    for result, where in line_objects(results):
        row = _record_of_result(result, where)
        judges |= {_judge_model(result, where) or ""} - {""}
        table.add(row | slices.of(object_at(result, "metadata", where)))
    frame = table.frame()
    if frame.is_empty():
        raise DataError(f"{results}: expected results, found none")
    frame = slices.prune(frame).with_columns(pl.lit(task).alias("task"))
    frame = complete(binary_correct(frame, "reward"))
    metadata = {**_bundle_facts(bundle, bundle_file, task, judges), "notes": notes}
    return Run(task, frame, metadata, tuple(_missing_results(bundle, bundle_file, results, frame)))


def _newest_bundle(folder: Path) -> tuple[Mapping[str, object], str, list[str]]:
    """Return the bundle that describes a folder's results: each run writes one, and its results over the last one's."""
    files = _bundle_files(folder)
    if not files:
        return {}, str(folder), [f"{folder.name}: no eval-*.json says which model and how many results"]
    bundles = [(load_object(file), file) for file in files]
    bundles.sort(key=lambda each: (text_at(each[0], "timestamp", str(each[1])) or "", each[1].name))
    *others, (bundle, file) = bundles
    notes = []
    if others:
        listed = ", ".join(other.name for _, other in others)
        notes.append(f"{folder.name}: {RESULTS} is taken for that of {file.name}; also there: {listed}")
    return bundle, str(file), notes


def _missing_results(bundle: Mapping[str, object], where: str, results: Path, frame: pl.DataFrame) -> list[Unread]:
    """Hold what was read against the bundle's own totals."""
    benchmark = object_at(bundle, "benchmark", where)
    items = count_at(benchmark, "samples", f"{where}, benchmark")
    repeats = count_at(benchmark, "repeats", f"{where}, benchmark") or 1
    written = count_at(bundle, "n_results", where)
    planned = max(written or 0, (items or 0) * repeats)
    missing = planned - frame.height
    if missing <= 0:
        return []
    what = f"{missing} of {planned} results that {Path(where).name} tells of are not in it"
    return [Unread(what, str(results), missing)]


def _record_of_result(result: Mapping[str, object], where: str) -> dict[str, object]:
    index = required(result, "problem_idx", where, _KIND)
    if not isinstance(index, int | str) or isinstance(index, bool):
        refuse(where, "problem_idx", "a whole number or a text", index)
    expected = json_at(result, "expected_answer", where)
    failure = next((name for name in ("error", "failure_category") if result.get(name)), None)
    error = json_at(result, failure, where) if failure else _judge_failure(result, where)
    answers = (json_at(result, name, where) for name in ("extracted_answer", "model_response"))
    row: dict[str, object] = {
        "id": str(index),
        "repeat": count_at(result, "repeat", where) or 0,
        "input": message_at(result, "prompt", where),
        "reference": None if expected is None else [expected],
        "output": next((answer for answer in answers if answer and not answer.isspace()), None),
        "error": error,
    }
    if row["error"] is None:
        required(result, "reward", where, _KIND)
        row[SCORE_PREFIX + "reward"] = score_at(result, "reward", where)
        rewards = object_at(result, "scorer_rewards", where)
        details = object_at(result, "scoring_details", where)
        for name in rewards:
            # A scorer that raised is written down with a reward of 0.
            if not object_at(details, name, where).get("error"):
                row[SCORE_PREFIX + name] = score_at(rewards, name, where, f"scorer_rewards.{name}")
    return row


def _judge_of(result: Mapping[str, object], where: str) -> Mapping[str, object]:
    """Return what the judge left in a result."""
    return object_at(object_at(result, "scoring_details", where), "judge", where)


def _judge_failure(result: Mapping[str, object], where: str) -> str | None:
    """Say why a result has no verdict: its judge failed, or said nothing that could be read. Its reward is 0 then."""
    judge = _judge_of(result, where)
    if judge.get("error"):
        return f"unscored: the judge failed ({json_at(judge, 'error', where)})"
    return "unscored: the judge's answer holds no score" if truth_at(judge, "parse_error", where) else None


def _judge_model(result: Mapping[str, object], where: str) -> str | None:
    return text_at(_judge_of(result, where), "judge_model", where)


_OF_THE_MODEL = ("model", "model_url", "base_url")
_GENERATION = ("temperature", "top_p", "max_tokens", "seed")
_PROMPTS = ("system_prompt", "instruction_template")
_NO_SETTINGS = ("benchmark", "repeats", "shard", "shard_range")
"""What a bundle's `config` says that is told elsewhere, or changes no answer."""


def _bundle_facts(bundle: Mapping[str, object], where: str, task: str, judges: Collection[str]) -> RunFacts:
    config, benchmark = object_at(bundle, "config", where), object_at(bundle, "benchmark", where)
    check_levels(config, where)
    settings = {name: value for name, value in config.items() if not name.startswith("_")}
    judging = {"models": sorted(judges), **{n: value for n, value in settings.items() if "judge" in n.lower()}}
    told = {*_OF_THE_MODEL, *_GENERATION, *_PROMPTS, *_NO_SETTINGS, *judging}
    others = {name: value for name, value in settings.items() if name not in told}
    # A bundle that names its model names its settings: what it does not name is not set.
    unset = NOTHING_SET if config.get("model") else None
    task_facts = {
        "generation": known({name: config.get(name) for name in _GENERATION}) or unset,
        "prompt": known({name: config.get(name) for name in _PROMPTS}) or unset,
        "judge": without_secrets(known(judging)) or unset,
        "args": without_secrets(known(others)) or unset,
        "repeats": benchmark.get("repeats"),
        "num_items": benchmark.get("samples"),
        "config_hash": bundle.get("config_hash"),
    }
    scores = {
        name: value.get("value") if isinstance(value, dict) else value
        for name, value in object_at(benchmark, "scores", where).items()
    }
    url = config.get("model_url") or config.get("base_url")
    return {
        "model": known({"name": text_at(config, "model", where), "url": url}),
        "versions": known({"nemo_evaluator": bundle.get("sdk_version")}),
        "settings": {},
        "created": bundle.get("timestamp"),
        "harness": "nemo_evaluator",
        "results": {task: scores},
        "tasks": {task: known(task_facts)},
    }
