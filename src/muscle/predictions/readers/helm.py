"""HELM's run folders: one run, or several of one model below a folder.

What a reader would question:

- Scores come from `per_instance_stats.json`, whose entries for one instance can be several; `display_predictions.json` has none
  for groups that its schema does not know.
- Texts come from `scenario_state.json`; without it from `instances.json` and `display_predictions.json`.
- A perturbed copy of an instance is the `filter`, a trial is the repeat.
- The item's text is the instance's, not the prompt: HELM words the prompt differently for some models.
- The task is the run's name without its model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from muscle.errors import DataError
from muscle.predictions.readers._json import load_object, members
from muscle.predictions.readers._table import RowTable
from muscle.predictions.readers._values import finite_number, known, message_text, object_in, required
from muscle.predictions.records import NO_FILTER, complete, concat_records
from muscle.predictions.run import SCORE_PREFIX, Run

_SPEC, _STATS, _STATE = "run_spec.json", "per_instance_stats.json", "scenario_state.json"
_DECIDING = (
    "exact_match",
    "quasi_exact_match",
    "prefix_exact_match",
    "quasi_prefix_exact_match",
    "math_equiv",
    "final_number_exact_match",
)
_BOOKKEEPING = re.compile(
    r"num_|inference_|training_|max_prob|finish_reason|logprob$|request_|batch_size|prompt_|predicted_index|.*_(runtime|tokens|truncated|bytes)$"
)
_LOWER_IS_BETTER = ("perplexity", "bits_per_byte")
_MODEL = re.compile(r",?model=[^,]*")

Key = tuple[str, str, int]
"""Instance, perturbation (`none` for the original), trial."""


def recognises(path: Path, head: bytes) -> bool:
    """Tell whether this is a run folder, a folder of some, or a run's file of scores."""
    if path.is_dir():
        return bool(_runs(path))
    return path.name == _STATS and (path.parent / _SPEC).is_file()


def read(path: Path) -> Run:
    """Read a run, or all runs of one model below a folder.

    Returns:
        One record an instance, perturbation and trial. Scores are the means that HELM keeps for an instance, without its
        counts of tokens and seconds; the first that knows only 0 and 1 decides `correct`.

    Raises:
        DataError: a file is missing or damaged, or the folder holds several models: file, member, field.
    """
    folders = _runs(path if path.is_dir() else path.parent)
    if not folders:
        raise DataError(f"{path}: expected {_SPEC} and {_STATS}, found none")
    specs = [load_object(folder / _SPEC) for folder in folders]
    models = {str(object_in(spec, "adapter_spec").get("model")) for spec in specs}
    if len(models) > 1:
        raise DataError(
            f"{path}: expected the runs of one model, found {', '.join(sorted(models)[:6])}; name one folder"
        )
    frames, tasks, results = [], {}, {}
    for folder, spec in zip(folders, specs, strict=True):
        task = _task(spec, folder)
        frame, metric = _read_run(folder, task)
        frames.append(frame)
        tasks[task] = _task_facts(spec) | {"metric": metric}
        results[task] = _own_results(folder)
    name = models.pop()
    facts: dict[str, Any] = {
        "model": {"name": name},
        "versions": {},
        "settings": {},
        "harness": "helm",
        "notes": [],
    }
    facts["higher_is_better"] = dict.fromkeys(_LOWER_IS_BETTER, False)
    metadata = facts | {"tasks": tasks, "results": results, "files": [str(folder) for folder in folders]}
    return Run(name, concat_records(frames), metadata)


def _runs(folder: Path) -> list[Path]:
    places = [folder, *sorted(entry for entry in folder.iterdir() if entry.is_dir())]
    found = [place for place in places if (place / _SPEC).is_file() and (place / _STATS).is_file()]
    return found[:1] if found[:1] == [folder] else found


def _task(spec: Mapping[str, Any], folder: Path) -> str:
    """Return a run's name without its model.

    >>> _task({"name": "mmlu:subject=anatomy,model=openai_gpt2"}, Path("x"))
    'mmlu:subject=anatomy'
    """
    return _MODEL.sub("", str(spec.get("name") or folder.name)).rstrip(":")


def _read_run(folder: Path, task: str) -> tuple[pl.DataFrame, str | None]:
    texts = _texts(folder)
    rows: dict[Key, dict[str, Any]] = {}
    for entry, where in _list(folder / _STATS, ("#",)):
        key = _key(entry, where)
        row = rows.setdefault(key, _blank(key) | texts.get(key, {}))
        row |= _scores(entry, where)
    table = RowTable()
    for row in rows.values():
        _settle(row)
        table.add(row, len(row.get("input") or ""))
    frame = table.frame()
    if frame.is_empty():
        raise DataError(f"{folder / _STATS}: expected scores of instances, found none")
    frame, metric = _judged(frame.with_columns(pl.lit(task).alias("task")))
    return complete(frame), metric


def _blank(key: Key) -> dict[str, Any]:
    return {"id": key[0], "filter": key[1], "repeat": key[2], "input": None, "error": None}


def _list(file: Path, pattern: tuple[str, ...]) -> Iterator[tuple[Mapping[str, Any], str]]:
    with file.open("rb") as handle:
        for member in members(handle, str(file), [pattern]):
            if not isinstance(member.value, dict):
                raise DataError(
                    f"{member.where}: expected a JSON object, found {type(member.value).__name__}"
                )
            yield member.value, member.where


def _key(entry: Mapping[str, Any], where: str) -> Key:
    identity = str(required(entry, "instance_id", where, "an entry of HELM"))
    trial = finite_number(entry.get("train_trial_index", 0), where, "train_trial_index")
    return identity, str(object_in(entry, "perturbation").get("name") or NO_FILTER), int(trial)


def _scores(entry: Mapping[str, Any], where: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for stat in required(entry, "stats", where, "an entry of HELM"):
        name = str(object_in(stat, "name").get("name"))
        if not stat.get("count") or stat.get("mean") is None:
            continue
        if name == "predicted_index":
            fields["predicted"] = int(stat["mean"])
        elif not _BOOKKEEPING.match(name):
            fields[SCORE_PREFIX + name] = finite_number(stat["mean"], where, f"stats.{name}")
    return fields


def _settle(row: dict[str, Any]) -> None:
    """Take the picked option from the scores where the answer did not name it; an item without a score is missing."""
    predicted, choices = row.pop("predicted", None), row.get("choices")
    if row.get("choice") is None and choices and predicted is not None and 0 <= predicted < len(choices):
        row |= {"choice": predicted, "output": choices[predicted]}
    if not any(name.startswith(SCORE_PREFIX) for name in row):
        row["error"] = row["error"] or "no score"


def _texts(folder: Path) -> dict[Key, dict[str, Any]]:
    """Return what was asked and answered."""
    texts: dict[Key, dict[str, Any]] = {}
    if (folder / _STATE).is_file():
        for state, where in _list(folder / _STATE, ("request_states", "#")):
            instance = object_in(state, "instance")
            entry = {**state, "instance_id": instance.get("id"), "perturbation": instance.get("perturbation")}
            answer = _completion(state) if state.get("reference_index") is None else None
            texts.setdefault(
                _key(entry, where), _text_fields(instance, answer, state.get("output_mapping"), state)
            )
        return texts
    if not ((folder / "instances.json").is_file() and (folder / "display_predictions.json").is_file()):
        return texts
    instances = {}
    for instance, _ in _list(folder / "instances.json", ("#",)):
        instances[
            str(instance.get("id")), str(object_in(instance, "perturbation").get("name") or NO_FILTER)
        ] = instance
    for shown, where in _list(folder / "display_predictions.json", ("#",)):
        key = _key(shown, where)
        instance = instances.get(key[:2], {})
        answer = shown.get("mapped_output") or shown.get("predicted_text")
        texts[key] = _text_fields(instance, None if answer is None else str(answer), None, {})
    return texts


def _completion(state: Mapping[str, Any]) -> str | None:
    completions = object_in(state, "result").get("completions") or []
    return str(completions[0].get("text") or "") if completions and isinstance(completions[0], dict) else None


def _finish_reason(state: Mapping[str, Any]) -> str | None:
    """Return why the first completion ended, where the model's interface said so."""
    completions = object_in(state, "result").get("completions") or []
    first = completions[0] if completions and isinstance(completions[0], dict) else {}
    reason = object_in(first, "finish_reason").get("reason")
    return None if reason in (None, "unknown") else str(reason)


def _text_fields(
    instance: Mapping[str, Any], answer: str | None, mapping: Any, state: Mapping[str, Any]
) -> dict[str, Any]:
    references = [entry for entry in instance.get("references") or [] if isinstance(entry, dict)]
    options = [str(object_in(entry, "output").get("text") or "") for entry in references]
    right = [
        text
        for text, entry in zip(options, references, strict=True)
        if "correct" in (entry.get("tags") or [])
    ]
    is_choice = bool(mapping) or state.get("reference_index") is not None or (0 < len(right) < len(options))
    if answer is not None:
        answer = answer.strip()
        answer = str(mapping.get(answer, answer)) if isinstance(mapping, dict) else answer
    lowered = [option.lower() for option in options]
    named = is_choice and answer is not None and answer.lower() in lowered
    asked = object_in(instance, "input")
    result = object_in(state, "result")
    return {
        "input": asked.get("text") or message_text(asked.get("messages")),
        "choices": options if is_choice else None,
        "reference": right or None,
        "output": answer,
        "choice": lowered.index(answer.lower()) if named and answer is not None else None,
        "finish_reason": _finish_reason(state),
        "error": str(result.get("error") or "the request failed") if result.get("success") is False else None,
    }


def _judged(frame: pl.DataFrame) -> tuple[pl.DataFrame, str | None]:
    """Put the deciding score first and set `correct` where it knows only 0 and 1."""
    names = [name for name in frame.columns if name.startswith(SCORE_PREFIX)]
    wanted = [SCORE_PREFIX + name for name in _DECIDING]
    names.sort(key=lambda name: wanted.index(name) if name in wanted else len(wanted))
    frame = frame.select(*(name for name in frame.columns if name not in names), *names)
    if not names:
        return frame, None
    frame = frame.with_columns(
        pl.when(pl.col("error").is_null()).then(pl.col(name)).alias(name) for name in names
    )
    if frame[names[0]].drop_nulls().is_in([0.0, 1.0]).all():
        frame = frame.with_columns((pl.col(names[0]) == 1.0).alias("correct"))
    return frame, names[0].removeprefix(SCORE_PREFIX)


def _task_facts(spec: Mapping[str, Any]) -> dict[str, Any]:
    adapter = object_in(spec, "adapter_spec")
    names = ("temperature", "max_tokens", "stop_sequences", "num_outputs")
    prompt = (
        "method",
        "instructions",
        "input_prefix",
        "output_prefix",
        "max_train_instances",
        "max_eval_instances",
    )
    return known(
        {
            "dataset": spec.get("scenario_spec"),
            "generation": known({name: adapter.get(name) for name in names}),
            "num_fewshot": adapter.get("max_train_instances"),
            "prompt": known({name: adapter.get(name) for name in prompt}),
            "judge": [
                entry.get("class_name") for entry in spec.get("annotators") or [] if isinstance(entry, dict)
            ],
        }
    )


def _own_results(folder: Path) -> dict[str, float]:
    """HELM's aggregates: `metric,split` to mean, without perturbed copies and bookkeeping."""
    results: dict[str, float] = {}
    if not (folder / "stats.json").is_file():
        return results
    for stat, _ in _list(folder / "stats.json", ("#",)):
        name = object_in(stat, "name")
        metric = str(name.get("name"))
        is_own = not (name.get("perturbation") or name.get("sub_split") or _BOOKKEEPING.match(metric))
        if is_own and isinstance(stat.get("mean"), int | float):
            results[f"{metric},{name.get('split') or 'all'}"] = stat["mean"]
    return results
