"""lighteval's details: `details_TASK_DATE.parquet`, or the output folder that holds them.

Each row has three structs: `doc` (query, choices, gold_index, id, task_name), `model_response` (text,
text_post_processed, logprobs) and `metric`. Only the fields that are needed are read from the file: tokens
and logits stay where they are. Of each task the newest details are read; the metadata's `readings` say which.
What was read is held against the results file of the same date: its tasks, their number of items, the metric
that decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from muscle.errors import DataError
from muscle.predictions.readers.lighteval.details import Details
from muscle.predictions.readers.shared.fields import number_at, object_at, objects_at, text_at
from muscle.predictions.readers.shared.json_members import load_object
from muscle.predictions.readers.shared.likelihoods import ordered
from muscle.predictions.readers.shared.own_figures import other_mean
from muscle.predictions.readers.shared.values import known
from muscle.predictions.records import concat_records
from muscle.predictions.run import SCORE_PREFIX, Run, RunFacts, Unread

_NAME = re.compile(r"details_(?P<task>.+)_(?P<date>\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(?:\.\d+)?)\.parquet")
_TASK_FACTS = (
    "hf_repo",
    "hf_subset",
    "evaluation_splits",
    "generation_size",
    "stop_sequence",
    "num_samples",
    "version",
)


def recognises(path: Path, head: bytes) -> bool:
    """Tell whether this is a file of details, or a folder with some below it."""
    if path.is_dir():
        return next(_details_files(path), None) is not None
    return bool(_NAME.fullmatch(path.name)) and head.startswith(b"PAR1")


def read(path: Path) -> Run:
    """Read a run.

    Returns:
        One record an item. Scores of a choice task begin with `gold_probability` and `gold_logprob`;
        lighteval's metrics follow. `correct` is the first of its metrics that knows only 0 and 1.

    Raises:
        DataError: a file is damaged, lacks a column, or the folder holds several models: file, row, field.
    """
    files, readings = _newest_details(path) if path.is_dir() else ([path], [])
    results = _Results(files)
    frames, tasks, unread = [], {}, []
    for file in files:
        task, date = _task_and_date(file)
        details = Details(file, task)
        frames.append(details.frame)
        tasks[task] = {"metric": details.metric} | results.task_facts(task, date)
        readings += details.readings
        unread += results.losses(details, file)
    if path.is_dir():
        unread += _other_tables(path) + results.without_details(set(tasks))
        unread += results.newer_without_details(path)
    facts = results.run_facts(_task_and_date(files[0])[1])
    name = facts["model"].get("name") or (files[0].parent.parent.name if len(files[0].parts) > 2 else files[0].stem)
    metadata = {**facts, "tasks": tasks, "files": [str(file) for file in files], "readings": readings}
    return Run(str(name), ordered(concat_records(frames)), metadata, tuple(unread))


def _details_files(folder: Path) -> Iterator[Path]:
    return (file for file in sorted(folder.rglob("details_*.parquet")) if _NAME.fullmatch(file.name))


def _task_and_date(file: Path) -> tuple[str, str]:
    match = _NAME.fullmatch(file.name)
    return (match["task"], match["date"]) if match else (file.stem, "")


def _newest_details(folder: Path) -> tuple[list[Path], list[str]]:
    by_task: dict[str, list[tuple[str, Path]]] = {}
    models = set()
    for file in _details_files(folder):
        task, date = _task_and_date(file)
        by_task.setdefault(task, []).append((date, file))
        models.add(file.parent.parent)
    if len(models) > 1:
        names = ", ".join(sorted(place.name for place in models)[:6])
        raise DataError(f"{folder}: expected the details of one model, found {len(models)} ({names}); name one folder")
    readings, files = [], []
    for task, dated in sorted(by_task.items()):
        dated.sort()
        files.append(dated[-1][1])
        if len(dated) > 1:
            readings.append(
                f"{task}: read the run of {dated[-1][0]}; also there: {', '.join(date for date, _ in dated[:-1])}"
            )
    return files, readings


def _other_tables(folder: Path) -> list[Unread]:
    """Count the tables that are no details by their names."""
    return [
        Unread("a table that is no lighteval details by its name; take it out of the folder", str(file))
        for file in sorted(folder.rglob("*.parquet"))
        if not _NAME.fullmatch(file.name)
    ]


class _Results:
    """What the results files beside the details say, each of its date."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files: dict[str, Path] = {}
        root = _output_folder(files[0])
        self._beside: Path | None = None
        """Where lighteval puts the results of the details' model."""
        if root is not None:
            self._beside = root / "results" / files[0].parent.parent.relative_to(root / "details")
            for file in sorted(root.rglob("results_*.json"), key=lambda file: (file.parent == self._beside, file)):
                self._files[file.stem.removeprefix("results_")] = file
        self._dates = dict.fromkeys(_task_and_date(file)[1] for file in files)
        self._loaded = {date: load_object(self._files[date]) for date in self._dates if date in self._files}

    def _of(self, date: str, *names: str) -> Mapping[str, object]:
        """Return an object of a date's results file, by the names that lead to it."""
        found: Mapping[str, object] = self._loaded.get(date, {})
        for place, name in enumerate(names):
            where = ", ".join([str(self._files.get(date, date)), *names[:place]])
            found = object_at(found, name, where)
        return found

    def task_facts(self, task: str, date: str) -> dict[str, object]:
        """Return a task's settings."""
        config = self._of(date, "config_tasks", task)
        return known({name: config.get(name) for name in _TASK_FACTS})

    def losses(self, details: Details, file: Path) -> list[Unread]:
        """Hold a file of details against the results of its date."""
        task, date = _task_and_date(file)
        losses = []
        config = self._of(date, "config_tasks", task)
        planned = config.get("effective_num_docs")
        missing = planned - details.frame.height if isinstance(planned, int) else 0
        if missing > 0:
            what = f"{missing} of {planned} items that {self._files[date].name} tells of are not in it"
            losses.append(Unread(what, str(file), missing))
        own = number_at(self._of(date, "results", task), str(details.metric), str(self._files.get(date, "")))
        mean = details.frame[f"{SCORE_PREFIX}{details.metric}"].mean() if details.metric is not None else None
        if isinstance(mean, float) and missing <= 0 and self._is_mean(date, task, details.metric):
            losses += other_mean(str(details.metric), [mean], own, where=str(file), by=self._files[date].name)
        return losses

    def _is_mean(self, date: str, task: str, metric: str | None) -> bool:
        """Whether lighteval takes the mean of a metric over a task's items, as the task's settings say."""
        config = self._of(date, "config_tasks", task)
        where = f"{self._files.get(date, date)}, config_tasks, {task}"
        for entry in objects_at(config, "metrics", where):
            way = entry.get("corpus_level_fn")
            if isinstance(way, dict) and metric in way:
                return bool(way[metric] == "mean")
            names = entry.get("metric_name")
            if names == metric or (isinstance(names, list) and metric in names):
                return bool(way == "mean")
        return date in self._files

    def newer_without_details(self, folder: Path) -> list[Unread]:
        """Name results in the folder that are newer than the details that were read, of the same model."""
        newest = max(self._dates)
        return [
            Unread(f"results of a newer run without details; read that of {newest}", str(file))
            for date, file in self._files.items()
            if date > newest and file.is_relative_to(folder) and file.parent == self._beside
        ]

    def without_details(self, tasks: set[str]) -> list[Unread]:
        """Count the tasks that the read dates' results name and that no details hold; averages are none."""
        return [
            Unread(
                f"task {task} has results but no details; run lighteval with --save-details",
                str(self._files[date]),
            )
            for date in self._loaded
            for task in self._of(date, "results")
            if task not in tasks and task != "all" and "_average" not in task
        ]

    def run_facts(self, date: str) -> RunFacts:
        """Return what is known of the whole run, in the metadata's common words."""
        where = f"{self._files.get(date, '')}, config_general"
        general, model = self._of(date, "config_general"), self._of(date, "config_general", "model_config")
        name = text_at(general, "model_name", where) or text_at(model, "model_name", f"{where}.model_config")
        return {
            "model": known({"name": name, "dtype": model.get("dtype")}),
            "versions": known({"lighteval": general.get("lighteval_sha")}),
            "settings": known({"generation": model.get("generation_parameters"), "seed": general.get("fewshot_seed")}),
            "created": date,
            "harness": "lighteval",
            "results": {
                task: self._of(each, "results", task) for each in self._dates for task in self._of(each, "results")
            },
        }


def _output_folder(file: Path) -> Path | None:
    """Return the folder in which `details/` and `results/` lie."""
    parts = list(file.parts)
    if "details" not in parts:
        return None
    return Path(*parts[: len(parts) - 1 - parts[::-1].index("details")])
