"""What two runs' metadata say differently: settings, judges, versions.

Readers keep what they know of a run in common words (`tasks`, `settings`, `versions`, `model`, `harness`). A fact that
one side lacks is unknown there, not different; within a fact that both state (the settings of a generation, the
parameters of a metric), what only one of them names is a difference.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from muscle.errors import DataError
from muscle.foreign_text import common_start, first_few

_SEEN = "seen"
"""Marks keys whose effect stands in the records' inputs, so that the records tell better."""

_TASK_KEYS: dict[str, tuple[str, ...]] = {
    "documents": (
        "dataset",
        "dataset_path",
        "dataset_name",
        "dataset_kwargs",
        "test_split",
        "data_fingerprint",
        "hf_repo",
        "hf_subset",
        "evaluation_splits",
    ),
    "prompts_seen": ("doc_to_text", "doc_to_choice", "description", "num_fewshot"),
    "prompts": ("prompt", "prompts", "default_test", "solver", "target_delimiter", "definition"),
    "references_seen": ("doc_to_target",),
    # What decides whether an answer is right: a looser test turns wrong answers into right ones without any model.
    "metric": (
        "metric",
        "metric_list",
        "metric_specs",
        "metric_config",
        "filter_list",
        "process_results",
        "assertions",
        "graders",
        "scorers",
        "scorer_options",
        "transform",
        "version",
    ),
    "judge": ("judge", "judges"),
    "generation": (
        "generation",
        "limits",
        "generation_size",
        "stop_sequence",
        "max_length",
        "repeats",
        "epochs",
    ),
    "scoring": (
        "output_type",
        "epochs_reducer",
        "backend",
        "softmax_dtype",
        "batch_size",
        "logprob_step",
    ),
    "settings": ("args", "limit"),
}

_RUN_KEYS: dict[str, tuple[str, ...]] = {
    "prompts_seen": ("system_instruction", "chat_template_sha", "fewshot_as_multiturn", "fewshot_seed"),
    "generation": ("gen_kwargs", "generation"),
    "scoring": ("batch_size", "model_dtype", "softmax_dtype"),
}
_RUN_IGNORED = ("model_args", "run", "status", "revision")
_DESCRIBES = ("score_type", "level_names", "lower_is_better", "min_score", "max_score")
"""What a metric's entry may say of its values or leave out, without being another metric."""

MAX_NAMES = 3
"""Tasks that a difference names."""

_LIMIT = 60


@dataclass(frozen=True)
class SettingsChange:
    """A setting that two runs state differently.

    Attributes:
        what: the kind of difference, as in `muscle.flips.pairing.comparability.Difference`.
        message: what differs, and in which tasks.
        seen_in_inputs: whether the records' inputs would show its effect.
    """

    what: str
    message: str
    seen_in_inputs: bool


def settings_changes(old: Mapping[str, object], new: Mapping[str, object]) -> list[SettingsChange]:
    """List what two runs' metadata say differently; a change that many tasks share is told once.

    Args:
        old: metadata of the old run.
        new: metadata of the new run.

    Raises:
        DataError: the metadata are nested too deeply to be compared.
    """
    try:
        return _of_tasks(old, new) + _of_runs(old, new)
    except RecursionError:
        raise DataError(
            "the runs' metadata: expected settings nested less than 100 deep, found deeper; mend run.json"
        ) from None


def _of_tasks(old: Mapping[str, object], new: Mapping[str, object]) -> list[SettingsChange]:
    by_change: dict[tuple[str, str], list[str]] = {}
    tasks = _section(old, "tasks"), _section(new, "tasks")
    for task in sorted(tasks[0].keys() & tasks[1].keys()):
        for kind, keys in _TASK_KEYS.items():
            for text in _told_changes(_section(tasks[0], task), _section(tasks[1], task), keys):
                by_change.setdefault((kind, text), []).append(task)
    return [_change(kind, f"task {first_few(names, MAX_NAMES)}: {text}") for (kind, text), names in by_change.items()]


def _of_runs(old: Mapping[str, object], new: Mapping[str, object]) -> list[SettingsChange]:
    found = []
    settings = _section(old, "settings"), _section(new, "settings")
    for kind, keys in _RUN_KEYS.items():
        found += [_change(kind, text) for text in _told_changes(*settings, keys)]
    named = {key for keys in _RUN_KEYS.values() for key in keys} | set(_RUN_IGNORED)
    rest = sorted((settings[0].keys() & settings[1].keys()) - named)
    found += [_change("settings", text) for text in _told_changes(*settings, rest)]
    models = _section(old, "model"), _section(new, "model")
    found += [_change("judge", text) for text in _told_changes(*models, ("roles",))]
    found += [_change("scoring", f"model {text}") for text in _told_changes(*models, ("dtype",))]
    found += [_change("metric", text) for text in _told_changes(old, new, ("judged_by",))]
    found += [_change("harness", text) for text in _told_changes(old, new, ("harness",))]
    versions = list(_parted(_section(old, "versions"), _section(new, "versions")))
    if versions:
        found.append(_change("versions", f"versions differ, which alone can flip answers: {'; '.join(versions)}"))
    if models[0].get("name") and dict(models[0]) == dict(models[1]):
        found.append(_change("model", f"both runs name the model {_excerpt(models[0]['name'])}: is this a control?"))
    return found


def _change(kind: str, message: str) -> SettingsChange:
    what, _, mark = kind.partition("_")
    return SettingsChange(what, message, mark == _SEEN or what == "documents")


def _section(value: Mapping[str, object], key: str) -> Mapping[str, object]:
    found = value.get(key)
    return found if isinstance(found, Mapping) else {}


def _told_changes(old: Mapping[str, object], new: Mapping[str, object], keys: Iterable[str]) -> Iterator[str]:
    """Tell what differs under some keys."""
    for key in keys:
        if key in old and key in new:
            yield from _parted({key: old[key]}, {key: new[key]})


def _parted(old: Mapping[str, object], new: Mapping[str, object], path: str = "") -> Iterator[str]:
    """Walk through two objects and tell where they part.

    At the top, what only one has is unknown to the other; within a value that both have, it is not set there.
    """
    for key in dict.fromkeys((*old, *new)):
        one, other, place = old.get(key), new.get(key), f"{path}{key}"
        is_unknown = not path and (one is None or other is None)
        if is_unknown or (path and key in _DESCRIBES and None in (one, other)) or _as_json(one) == _as_json(other):
            continue
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            yield from _parted(one, other, f"{place}.")
        else:
            yield f"{place} {_both_values(one, other)}"


def _as_json(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def _excerpt(value: object, start: int = 0) -> str:
    text = " ".join((value if isinstance(value, str) else _as_json(value)).split())
    begin = "…" if start else ""
    return begin + (text[start:] if len(text) - start <= _LIMIT else f"{text[start : start + _LIMIT - 1]}…")


def _both_values(one: object, other: object) -> str:
    """Write two values; of long ones the part where they differ."""
    one, other = ("none" if value is None else value for value in (one, other))
    texts = [" ".join((v if isinstance(v, str) else _as_json(v)).split()) for v in (one, other)]
    start = 0
    if max(map(len, texts)) > _LIMIT:
        start = max(0, common_start(*texts) - _LIMIT // 3)
    return f"{_excerpt(one, start)} against {_excerpt(other, start)}"
