"""The texts of a run of HELM: of `scenario_state.json`, else of `instances.json` and `display_predictions.json`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from muscle.predictions.readers.shared.fields import (
    count_at,
    identity_at,
    json_at,
    list_at,
    message_at,
    object_at,
    objects_at,
)
from muscle.predictions.readers.shared.json_members import file_objects
from muscle.predictions.records import NO_FILTER

STATE_FILE = "scenario_state.json"

Key = tuple[str, str, int]
"""Instance, perturbation (`none` for the original, else `perturbation_at`), trial."""

_ROLES = ("robustness", "fairness", "computed_on")
"""What a perturbation's description says of what it is used for, not of what it does."""


def key_of(entry: Mapping[str, object], where: str) -> Key:
    """Return what an entry is of."""
    identity = identity_at(entry, "instance_id", where)
    return identity, perturbation_at(entry, where), count_at(entry, "train_trial_index", where) or 0


def perturbation_at(entry: Mapping[str, object], where: str) -> str:
    """Return what an entry's perturbation does, as JSON: its name, and its settings, as a run may have several so."""
    described = object_at(entry, "perturbation", where)
    does = {name: value for name, value in described.items() if name not in _ROLES and value is not None}
    return (json_at({"": does}, "", where) or NO_FILTER) if described else NO_FILTER


def filter_names(perturbations: Iterable[str]) -> dict[str, str]:
    """Name a run's perturbations: by their names, with what sets them apart where several have one name.

    >>> list(filter_names(['{"name": "typos"}', '{"mode": "a", "name": "he"}', '{"name": "he"}', "none"]).values())
    ['typos', 'he (mode=a)', 'he', 'none']
    """
    described: dict[str, dict[str, object]] = {
        each: {} if each == NO_FILTER else json.loads(each) for each in dict.fromkeys(perturbations)
    }
    names = Counter(does.get("name") for does in described.values())
    found = {}
    for each, does in described.items():
        rest = ", ".join(f"{key}={value}" for key, value in does.items() if key != "name")
        name = str(does.get("name") or each)
        found[each] = f"{name} ({rest})" if names[does.get("name")] > 1 and rest else name
    return found


def texts_of(folder: Path) -> dict[Key, dict[str, object]]:
    """Return what was asked and answered, as fields of records, by instance, perturbation and trial."""
    texts: dict[Key, dict[str, object]] = {}
    if (folder / STATE_FILE).is_file():
        for state, where in file_objects(folder / STATE_FILE, ("request_states", "#")):
            instance = object_at(state, "instance", where)
            entry = {**state, "instance_id": instance.get("id"), "perturbation": instance.get("perturbation")}
            first = _completion(state, where)
            answer = json_at(first, "text", where) if first else None
            if state.get("reference_index") is not None:
                answer = None
            fields = _text_fields(instance, answer, state, where)
            known = texts.setdefault(key_of(entry, where), fields)
            # An item that was asked an option at a time has failed where one of its requests did.
            known["error"] = known["error"] or fields["error"]
        return texts
    if not ((folder / "instances.json").is_file() and (folder / "display_predictions.json").is_file()):
        return texts
    instances = {}
    for instance, where in file_objects(folder / "instances.json", ("#",)):
        pair = (identity_at(instance, "id", where), perturbation_at(instance, where))
        instances[pair] = _text_fields(instance, None, {}, where), instance
    for shown, where in file_objects(folder / "display_predictions.json", ("#",)):
        key = key_of(shown, where)
        answer = json_at(shown, "mapped_output", where) or json_at(shown, "predicted_text", where)
        texts[key] = _text_fields(instances.get(key[:2], ({}, {}))[1], answer, {}, where)
    shown_keys = {key[:2] for key in texts}
    return texts | {(*pair, 0): text for pair, (text, _) in instances.items() if pair not in shown_keys}


def _completion(state: Mapping[str, object], where: str) -> Mapping[str, object]:
    """Return the first completion; an empty one where there is none."""
    completions = objects_at(object_at(state, "result", where), "completions", where)
    return completions[0] if completions else {}


def _finish_reason(state: Mapping[str, object], where: str) -> str | None:
    """Return why the first completion ended, where the model's interface said so."""
    reason = json_at(object_at(_completion(state, where), "finish_reason", where), "reason", where)
    return None if reason == "unknown" else reason


def _text_fields(
    instance: Mapping[str, object], answer: str | None, state: Mapping[str, object], where: str
) -> dict[str, object]:
    mapping = object_at(state, "output_mapping", where)
    references = objects_at(instance, "references", where)
    options = [json_at(object_at(entry, "output", where), "text", where) or "" for entry in references]
    right = [
        text for text, entry in zip(options, references, strict=True) if "correct" in list_at(entry, "tags", where)
    ]
    is_choice = bool(mapping) or state.get("reference_index") is not None or (0 < len(right) < len(options))
    if answer is not None:
        answer = answer.strip()
        answer = json_at(mapping, answer, where) if mapping.get(answer) is not None else answer
    lowered = [option.lower() for option in options]
    named = is_choice and answer is not None and answer.lower() in lowered
    asked = object_at(instance, "input", where)
    result = object_at(state, "result", where)
    failed = json_at(result, "error", where) or "the request failed"
    return {
        "input": json_at(asked, "text", where) or message_at(asked, "messages", where),
        "choices": options if is_choice else None,
        "reference": right or None,
        "output": answer,
        "choice": lowered.index(answer.lower()) if named and answer is not None else None,
        "finish_reason": _finish_reason(state, where),
        "error": failed if result.get("success") is False else None,
    }
