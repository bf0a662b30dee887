"""Which provider answered, and how the suite sets it up: temperature, system prompt, transform."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from muscle.predictions.readers.shared.fields import json_at, object_at
from muscle.predictions.readers.shared.values import NOTHING_SET, known, refuse, without_secrets

_SYSTEM = ("system", "systemPrompt", "system_prompt", "systemInstruction", "instructions")
"""Settings that hold a part of the prompt; promptfoo writes only the rest of it into the results."""

_SAYS_NO_ANSWER = ("apiHost", "apiBaseUrl", "basePath", "cost", "inputCost", "outputCost", "maxRetries", "timeoutMs")
"""Settings of a provider that change no answer."""


def provider_of(result: Mapping[str, object], where: str) -> tuple[str, str]:
    """Return label and id of the provider that gave a result."""
    provider = result.get("provider")
    if isinstance(provider, str):
        return provider, provider
    named = object_at(result, "provider", where)
    identity = json_at(named, "id", where) or ""
    label = json_at(named, "label", where) or identity
    if not label:
        refuse(where, "provider", "its id", provider)
    return label, identity


def provider_facts(configured: object, label: str, identity: str) -> dict[str, object]:
    """Return how the suite sets a provider up, apart by what it changes: `generation`, `prompt`, `transform`.

    Args:
        configured: what the suite's configuration says under `providers`; nothing is known where it is not there.
        label: the provider's label.
        identity: its id.
    """
    entries = list(_named_settings(configured))
    named = [settings for names, settings in entries if label in names] or [
        settings for names, settings in entries if identity in names
    ]
    if len(named) != 1:
        return {}
    config = named[0].get("config")
    settings = dict(config) if isinstance(config, dict) else {}
    system = known({name: settings.pop(name, None) for name in _SYSTEM})
    kept = {name: value for name, value in settings.items() if name not in _SAYS_NO_ANSWER}
    return {
        "generation": without_secrets(known(kept)) or NOTHING_SET,
        "prompt": system or NOTHING_SET,
        "transform": named[0].get("transform") or NOTHING_SET,
    }


def _named_settings(configured: object) -> Iterator[tuple[Sequence[object], Mapping[str, object]]]:
    """Yield each provider's names and settings, in any form that a suite may have them in."""
    for entry in configured if isinstance(configured, list) else [configured]:
        if isinstance(entry, str):
            yield [entry], {}
        elif isinstance(entry, dict) and "id" in entry:
            yield [entry["id"], entry.get("label")], entry
        elif isinstance(entry, dict):  # {"openai:gpt-5": {"config": {...}}}
            for name, settings in entry.items():
                own = settings if isinstance(settings, dict) else {}
                yield [name, own.get("id"), own.get("label")], own
