"""HELM's run folders: one run, or several of one model below a folder.

What a reader would question:

- Scores come from `per_instance_stats.json`, whose entries for one instance can be several;
  `display_predictions.json` has none for groups that its schema does not know.
- Texts come from `scenario_state.json`; without it from `instances.json` and `display_predictions.json`.
- A perturbed copy of an instance is the `filter`, a trial is the repeat.
- The item's text is the instance's, not the prompt: HELM words the prompt differently for some models.
- The task is the run's name without its model.
- An instance that was asked and has no score, or not the deciding one, stays a record without a verdict.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from muscle.errors import DataError
from muscle.foreign_text import listing
from muscle.predictions.readers.helm.texts import Key, filter_names, key_of, perturbation_at, texts_of
from muscle.predictions.readers.shared.fields import (
    count_at,
    identity_at,
    load_settings,
    number_at,
    object_at,
    objects_at,
    required,
)
from muscle.predictions.readers.shared.json_members import file_objects
from muscle.predictions.readers.shared.likelihoods import is_binary, right_at_one, scores_first
from muscle.predictions.readers.shared.own_figures import other_mean
from muscle.predictions.readers.shared.row_table import RowTable
from muscle.predictions.readers.shared.values import NOTHING_SET, float_of, known, refuse
from muscle.predictions.records import NO_FILTER, complete, concat_records
from muscle.predictions.run import SCORE_PREFIX, Run, RunFacts, Unread

_SPEC, _STATS = "run_spec.json", "per_instance_stats.json"
_DECIDING = (
    "exact_match",
    "quasi_exact_match",
    "prefix_exact_match",
    "quasi_prefix_exact_match",
    "math_equiv",
    "final_number_exact_match",
)
_BOOKKEEPING = re.compile(
    r"num_|inference_|training_|max_prob|finish_reason|logprob$|request_|batch_size|prompt_|predicted_index|"
    r".*_(runtime|tokens|truncated|bytes)$"
)
_PROMPT = (
    *("method", "instructions", "max_train_instances", "max_eval_instances"),
    *("input_prefix", "input_suffix", "reference_prefix", "reference_suffix", "output_prefix", "output_suffix"),
    *("instance_prefix", "chain_of_thought_prefix", "chain_of_thought_suffix"),
)
"""What words a prompt, but for `global_prefix` and `global_suffix`, which HELM sets by the model."""
_WEIGHT = "weight."
"""Begins what a row holds of how many values an instance's score is the mean of."""
_LOWER_IS_BETTER = ("perplexity", "bits_per_byte")
_Rows = dict[Key, dict[str, object]]
_MODEL = re.compile(r"(?<=[:,])model(?:_deployment)?=[^,]*,?")


def recognises(path: Path, head: bytes) -> bool:
    """Tell whether this is a run folder, a folder of some, or a run's file of scores."""
    if path.is_dir():
        return bool(_run_folders(path))
    return path.name == _STATS and (path.parent / _SPEC).is_file()


def read(path: Path) -> Run:
    """Read a run, or all runs of one model below a folder.

    Returns:
        One record an instance, perturbation and trial. Scores are the means that HELM keeps for an instance,
        without its counts of tokens and seconds; the first that knows only 0 and 1 decides `correct`.

    Raises:
        DataError: a file is missing or damaged, or the folder holds several models: file, member, field.
    """
    folders = _run_folders(path if path.is_dir() else path.parent)
    if not folders:
        raise DataError(f"{path}: expected {_SPEC} and {_STATS}, found none")
    specs = [load_settings(folder / _SPEC) for folder in folders]
    adapters = [(object_at(spec, "adapter_spec", str(f / _SPEC)), f) for f, spec in zip(folders, specs, strict=True)]
    models = {identity_at(adapter, "model", f"{folder / _SPEC}, adapter_spec") for adapter, folder in adapters}
    if len(models) > 1:
        raise DataError(f"{path}: expected the runs of one model, found {listing(sorted(models))}; name one folder")
    frames, tasks, results, unread = [], {}, {}, _unread_runs(path)
    for folder, spec in zip(folders, specs, strict=True):
        task = _name_without_model(spec, folder)
        if task in tasks:
            raise DataError(f"{folder}: expected each run once, found a second run {listing([task])}; name one folder")
        own = _own_figures(folder)
        rows = _rows_of_run(folder)
        frame, metric = _records(rows, folder, task)
        frames.append(frame)
        tasks[task] = _spec_facts(spec, str(folder / _SPEC)) | {"metric": metric}
        results[task] = own.results
        unread += _missing_instances(folder, own, rows) or _other_mean(folder, own, metric, rows)
    name = models.pop()
    metadata: RunFacts = {
        "model": {"name": name},
        "versions": {},
        "settings": {},
        "harness": "helm",
        "higher_is_better": dict.fromkeys(_LOWER_IS_BETTER, False),
        "tasks": tasks,
        "results": results,
        "files": [str(folder) for folder in folders],
        "notes": [],
    }
    return Run(name, concat_records(frames), metadata, tuple(unread))


def _unread_runs(path: Path) -> list[Unread]:
    """Name what lies in the folder and is a run, but is not read: HELM makes a run's folder before it runs."""
    folder = path if path.is_dir() else path.parent
    read = set(_run_folders(folder))
    inside = [entry for entry in sorted(folder.iterdir()) if entry.is_dir() and entry not in read]
    unread = []
    for entry in inside:
        lacking = [name for name in (_SPEC, _STATS) if not (entry / name).is_file()]
        if not lacking:
            unread.append(Unread("a run in the folder of another, which is not read", str(entry)))
        elif len(lacking) == 1 or _MODEL.search(entry.name):
            unread.append(Unread(f"a run that did not end (no {' and no '.join(lacking)})", str(entry)))
    return unread


def _missing_instances(folder: Path, own: _Own, rows: _Rows) -> list[Unread]:
    """Hold the instances that were read, and each kind of perturbed copies, against HELM's own count of them."""
    read = Counter(perturbation for _, perturbation in {key[:2] for key in rows})
    lost = sum((own.num_instances - read).values())
    if not lost:
        return []
    what = f"{lost} of the {own.num_instances.total()} instances that stats.json counts (num_instances)"
    return [Unread(what, str(folder), lost)]


def _other_mean(folder: Path, own: _Own, metric: str | None, rows: _Rows) -> list[Unread]:
    """Hold the originals' deciding scores against HELM's own mean of them."""
    means = own.means.get(str(metric), [])
    originals = [row for key, row in rows.items() if key[1] == NO_FILTER and f"{_WEIGHT}{metric}" in row]
    weights = np.array([row[f"{_WEIGHT}{metric}"] for row in originals], dtype=float)
    if len(means) != 1 or not originals:
        return []
    read = float(np.average([row[f"{SCORE_PREFIX}{metric}"] for row in originals], weights=weights))
    return other_mean(str(metric), [read], means[0], where=str(folder / _STATS), by="stats.json")


def _run_folders(folder: Path) -> list[Path]:
    places = [folder, *sorted(entry for entry in folder.iterdir() if entry.is_dir())]
    found = [place for place in places if (place / _SPEC).is_file() and (place / _STATS).is_file()]
    return found[:1] if found[:1] == [folder] else found


def _name_without_model(spec: Mapping[str, object], folder: Path) -> str:
    """Return a run's name without its model.

    >>> [_name_without_model({"name": name}, Path("x")) for name in ("mmlu:subject=law,model=m", "mmlu:model=m,k=2")]
    ['mmlu:subject=law', 'mmlu:k=2']
    """
    return _MODEL.sub("", str(spec.get("name") or folder.name)).rstrip(":,")


def _rows_of_run(folder: Path) -> _Rows:
    """Return what is known of each instance, perturbation and trial."""
    texts = texts_of(folder)
    rows: _Rows = {}
    for entry, where in file_objects(folder / _STATS, ("#",)):
        key = key_of(entry, where)
        row = rows.setdefault(key, _blank(key) | texts.get(key, {}))
        for name, value in _instance_scores(entry, where).items():
            if row.setdefault(name, value) != value and name.startswith(SCORE_PREFIX):
                refuse(where, f"stats.{name.removeprefix(SCORE_PREFIX)}", f"one value an instance ({row[name]})", value)
    for key, text in texts.items():
        rows.setdefault(key, _blank(key) | text)
    return rows


def _records(rows: _Rows, folder: Path, task: str) -> tuple[pl.DataFrame, str | None]:
    names = filter_names(perturbation for _, perturbation, _ in rows)
    table = RowTable()
    for key, row in rows.items():
        table.add(_with_pick(row) | {"filter": names[key[1]]})
    frame = table.frame()
    if frame.is_empty():
        raise DataError(f"{folder / _STATS}: expected scores of instances, found none")
    frame, metric = _main_score_first(frame.with_columns(pl.lit(task).alias("task")))
    return complete(frame), metric


def _blank(key: Key) -> dict[str, object]:
    return {"id": key[0], "repeat": key[2], "input": None, "error": None}


def _instance_scores(entry: Mapping[str, object], where: str) -> dict[str, object]:
    fields: dict[str, object] = {}
    # Null is no empty list here: it would make an instance unscored that HELM has scored.
    if required(entry, "stats", where, "an entry of HELM") is None:
        refuse(where, "stats", "a list", None)
    for stat in objects_at(entry, "stats", where):
        name = identity_at(object_at(stat, "name", where), "name", where)
        mean = number_at(stat, "mean", where, f"stats.{name}")
        count = count_at(stat, "count", where)
        if mean is None or not count:
            continue
        if name == "predicted_index":
            fields["predicted"] = int(mean)
        elif not _BOOKKEEPING.match(name):
            fields |= {SCORE_PREFIX + name: mean, _WEIGHT + name: count}
    return fields


def _with_pick(row: Mapping[str, object]) -> dict[str, object]:
    """Take the picked option from the scores where the answer did not name it."""
    found = {name: value for name, value in row.items() if not name.startswith(_WEIGHT)}
    predicted, choices = found.pop("predicted", None), row.get("choices")
    options = choices if isinstance(choices, list) else []
    if row.get("choice") is None and isinstance(predicted, int) and 0 <= predicted < len(options):
        found |= {"choice": predicted, "output": options[predicted]}
    return found


def _main_score_first(frame: pl.DataFrame) -> tuple[pl.DataFrame, str | None]:
    """Put the deciding score first and set `correct` where it knows only 0 and 1."""
    frame = scores_first(frame, _DECIDING)
    names = [name for name in frame.columns if name.startswith(SCORE_PREFIX)]
    if not names:
        return frame, None
    frame = frame.with_columns(pl.when(pl.col("error").is_null()).then(pl.col(name)).alias(name) for name in names)
    if is_binary(frame, names[0]):
        frame = right_at_one(frame, names[0])
    return frame, names[0].removeprefix(SCORE_PREFIX)


def _spec_facts(spec: Mapping[str, object], where: str) -> dict[str, object]:
    adapter = object_at(spec, "adapter_spec", where)
    names = ("temperature", "max_tokens", "stop_sequences", "num_outputs")
    return known(
        {
            "dataset": spec.get("scenario_spec"),
            "generation": known({name: adapter.get(name) for name in names}),
            "num_fewshot": adapter.get("max_train_instances"),
            "prompt": known({name: adapter.get(name) for name in _PROMPT}),
            "metric_specs": spec.get("metric_specs"),
            "judge": [
                known({"class": entry.get("class_name"), "args": entry.get("args")})
                for entry in objects_at(spec, "annotators", where)
            ]
            or NOTHING_SET,
        }
    )


@dataclass
class _Own:
    """What HELM itself says of a run, in `stats.json`.

    Attributes:
        results: `metric,split` to mean, without perturbed copies and bookkeeping.
        num_instances: by perturbation.
        means: of the originals, by metric; several where HELM tells parts of the data apart.
    """

    results: dict[str, float] = field(default_factory=dict)
    num_instances: Counter[str] = field(default_factory=Counter)
    means: dict[str, list[float]] = field(default_factory=dict)


def _own_figures(folder: Path) -> _Own:
    own = _Own()
    if not (folder / "stats.json").is_file():
        return own
    for stat, where in file_objects(folder / "stats.json", ("#",)):
        name = object_at(stat, "name", where)
        metric, split = str(name.get("name")), str(name.get("split") or "all")
        mean, perturbation = float_of(stat.get("mean")), perturbation_at(name, where)
        if metric == "num_instances":
            own.num_instances[perturbation] += count_at(stat, "mean", where) or 0
        elif perturbation == NO_FILTER and mean is not None and not _BOOKKEEPING.match(metric):
            own.means.setdefault(metric, []).append(mean)
            if not name.get("sub_split"):
                own.results[f"{metric},{split}"] = mean
    return own
