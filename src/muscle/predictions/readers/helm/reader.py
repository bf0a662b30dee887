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
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from muscle.errors import DataError
from muscle.foreign_text import listing
from muscle.predictions.readers.helm.texts import Key, key_of, texts_of
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
from muscle.predictions.readers.shared.row_table import RowTable
from muscle.predictions.readers.shared.values import NOTHING_SET, float_of, known, refuse
from muscle.predictions.records import complete, concat_records
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
_LOWER_IS_BETTER = ("perplexity", "bits_per_byte")
_MODEL = re.compile(r",?model=[^,]*")


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
    models = {
        str(object_at(spec, "adapter_spec", str(folder / _SPEC)).get("model"))
        for folder, spec in zip(folders, specs, strict=True)
    }
    if len(models) > 1:
        raise DataError(f"{path}: expected the runs of one model, found {listing(sorted(models))}; name one folder")
    frames, tasks, results, unread = [], {}, {}, _unread_runs(path)
    for folder, spec in zip(folders, specs, strict=True):
        task = _name_without_model(spec, folder)
        if task in tasks:
            raise DataError(f"{folder}: expected each run once, found a second run {listing([task])}; name one folder")
        frame, metric = _read_run(folder, task)
        frames.append(frame)
        tasks[task] = _spec_facts(spec, str(folder / _SPEC)) | {"metric": metric}
        results[task], counted = _helm_aggregates(folder)
        unread += _missing_instances(folder, counted, frame)
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
    """Name what lies in the folder and is a run, but is not read."""
    folder = path if path.is_dir() else path.parent
    read = set(_run_folders(folder))
    inside = [entry for entry in sorted(folder.iterdir()) if entry.is_dir() and entry not in read]
    found = [entry for entry in inside if (entry / _SPEC).is_file() or (entry / _STATS).is_file()]
    return [
        Unread(
            f"a run that is not read (it lacks {_SPEC} or {_STATS}, or lies in the folder of another)",
            str(entry),
        )
        for entry in found
    ]


def _missing_instances(folder: Path, counted: Mapping[str, int], frame: pl.DataFrame) -> list[Unread]:
    """Hold the instances that were read against HELM's own count of them."""
    lost = sum(counted.values()) - frame.select("id", "filter").n_unique()
    if lost <= 0:
        return []
    return [
        Unread(
            f"{lost} of the {sum(counted.values())} instances that stats.json counts (num_instances)",
            str(folder),
            lost,
        )
    ]


def _run_folders(folder: Path) -> list[Path]:
    places = [folder, *sorted(entry for entry in folder.iterdir() if entry.is_dir())]
    found = [place for place in places if (place / _SPEC).is_file() and (place / _STATS).is_file()]
    return found[:1] if found[:1] == [folder] else found


def _name_without_model(spec: Mapping[str, object], folder: Path) -> str:
    """Return a run's name without its model.

    >>> _name_without_model({"name": "mmlu:subject=anatomy,model=openai_gpt2"}, Path("x"))
    'mmlu:subject=anatomy'
    """
    return _MODEL.sub("", str(spec.get("name") or folder.name)).rstrip(":")


def _read_run(folder: Path, task: str) -> tuple[pl.DataFrame, str | None]:
    texts = texts_of(folder)
    rows: dict[Key, dict[str, object]] = {}
    for entry, where in file_objects(folder / _STATS, ("#",)):
        key = key_of(entry, where)
        row = rows.setdefault(key, _blank(key) | texts.get(key, {}))
        row |= _instance_scores(entry, where)
    for key, text in texts.items():
        rows.setdefault(key, _blank(key) | text)
    table = RowTable()
    for row in rows.values():
        _settle(row)
        table.add(row)
    frame = table.frame()
    if frame.is_empty():
        raise DataError(f"{folder / _STATS}: expected scores of instances, found none")
    frame, metric = _main_score_first(frame.with_columns(pl.lit(task).alias("task")))
    return complete(frame), metric


def _blank(key: Key) -> dict[str, object]:
    return {"id": key[0], "filter": key[1], "repeat": key[2], "input": None, "error": None}


def _instance_scores(entry: Mapping[str, object], where: str) -> dict[str, object]:
    fields: dict[str, object] = {}
    # Null is no empty list here: it would make an instance unscored that HELM has scored.
    if required(entry, "stats", where, "an entry of HELM") is None:
        refuse(where, "stats", "a list", None)
    for stat in objects_at(entry, "stats", where):
        name = identity_at(object_at(stat, "name", where), "name", where)
        mean = number_at(stat, "mean", where, f"stats.{name}")
        if mean is None or not count_at(stat, "count", where):
            continue
        if name == "predicted_index":
            fields["predicted"] = int(mean)
        elif not _BOOKKEEPING.match(name):
            fields[SCORE_PREFIX + name] = mean
    return fields


def _settle(row: dict[str, object]) -> None:
    """Take the picked option from the scores where the answer did not name it."""
    predicted, choices = row.pop("predicted", None), row.get("choices")
    if row.get("choice") is not None or not isinstance(predicted, int) or not isinstance(choices, list):
        return
    if 0 <= predicted < len(choices):
        row |= {"choice": predicted, "output": choices[predicted]}


def _main_score_first(frame: pl.DataFrame) -> tuple[pl.DataFrame, str | None]:
    """Put the deciding score first and set `correct` where it knows only 0 and 1."""
    names = [name for name in frame.columns if name.startswith(SCORE_PREFIX)]
    wanted = [SCORE_PREFIX + name for name in _DECIDING]
    names.sort(key=lambda name: wanted.index(name) if name in wanted else len(wanted))
    frame = frame.select(*(name for name in frame.columns if name not in names), *names)
    if not names:
        return frame, None
    frame = frame.with_columns(pl.when(pl.col("error").is_null()).then(pl.col(name)).alias(name) for name in names)
    if frame[names[0]].drop_nulls().is_in([0.0, 1.0]).all():
        frame = frame.with_columns((pl.col(names[0]) == 1.0).alias("correct"))
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


def _helm_aggregates(folder: Path) -> tuple[dict[str, float], dict[str, int]]:
    """HELM's aggregates without perturbed copies: `metric,split` to mean without bookkeeping; instances by split."""
    results: dict[str, float] = {}
    counted: dict[str, int] = {}
    if not (folder / "stats.json").is_file():
        return results, counted
    for stat, where in file_objects(folder / "stats.json", ("#",)):
        name = object_at(stat, "name", where)
        metric, split = str(name.get("name")), str(name.get("split") or "all")
        mean = float_of(stat.get("mean"))
        if name.get("perturbation") or name.get("sub_split") or mean is None:
            continue
        if metric == "num_instances":
            counted[split] = count_at(stat, "mean", where) or 0
        elif not _BOOKKEEPING.match(metric):
            results[f"{metric},{split}"] = mean
    return results, counted
