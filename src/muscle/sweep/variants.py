"""The variants of an update: a name, and what differs from its update.yaml."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from muscle.config.alignment import AlignmentSettings
from muscle.config.sweep_settings import SweepSettings
from muscle.config.update_file import UpdateConfig, load_config
from muscle.errors import ConfigError
from muscle.leaderboard.entries import Published
from muscle.pipeline.loaded_bases import with_fitting_method
from muscle.provenance import fingerprint
from muscle.sweep.presets import Ready, WholeUnit, ready_variants
from muscle.tasks import get_task
from muscle.yaml_files import yaml_value

SEED = "training.seed"
_NOT_READ = (
    *("output", "report", "sweep"),
    *(f"evaluation.{key}" for key in ("bare_base", "control", "floor", "beside")),
)
"""Keys that a sweep reads of the update as it stands, or not at all: no variant can differ by them."""
OWN = "as configured"
"""The update as it stands in its file."""

_MAX_NAME = 60


@dataclass(frozen=True)
class Variant:
    """One variant of an update.

    Attributes:
        name: what the tables call it.
        overrides: dotted keys of update.yaml, and what stands there in its place.
        probe: whether it only tells how well the student can copy.
        published: what the paper reports of it.
    """

    name: str
    overrides: Mapping[str, object] = field(default_factory=dict)
    probe: bool = False
    published: Published | None = None

    @property
    def folder_name(self) -> str:
        """A folder's name that no other variant has: letters, digits and a few signs."""
        plain = re.sub(r"[^A-Za-z0-9=._-]+", "-", self.name).strip(".-")
        if plain == self.name and len(plain) <= _MAX_NAME:
            return plain
        return f"{plain[: _MAX_NAME - 9]}-{fingerprint(self.name)[:8]}".lstrip("-")


@dataclass(frozen=True)
class UpdateFile:
    """An update.yaml, and what the command line puts in its place.

    Attributes:
        path: the file.
        overrides: dotted keys to values, for all variants.
    """

    path: Path
    overrides: Mapping[str, object] = field(default_factory=dict)

    def config(self, more: Mapping[str, object] | None = None) -> UpdateConfig:
        """Read the file with a variant's own overrides.

        What goes for all variants goes into a section that the variant puts in the place of the file's, too.

        Raises:
            ConfigError: see `load_config`.
        """
        own = dict(more or {})
        last = {key: value for key, value in self.overrides.items() if _fate(key, value, own) == "in a new section"}
        first = {key: value for key, value in self.overrides.items() if key not in last}
        return with_fitting_method(load_config(self.path, overrides={**first, **own, **last}))

    def refuse_what_no_variant_takes(self, variants: Sequence[Variant]) -> None:
        """Refuse a key for all variants that every one of them sets otherwise, or has no use of.

        Raises:
            ConfigError: there is one.
        """
        for key, value in self.overrides.items():
            if variants and all(_fate(key, value, variant.overrides) == "lost" for variant in variants):
                raise ConfigError(
                    f"{key}: every variant sets it itself, or has no use of it; expected a key that some variant takes"
                )


def _fate(key: str, value: object, own: Mapping[str, object]) -> Literal["kept", "in a new section", "lost"]:
    """Say what becomes of a dotted key for all variants beside a variant's own keys."""
    for place, theirs in own.items():
        if place != key and not key.startswith(f"{place}."):
            continue
        inner, names = theirs, [each for each in key.removeprefix(place).split(".") if each]
        while names and isinstance(inner, Mapping) and names[0] in inner:
            inner = inner[names.pop(0)]
        if not names or not isinstance(inner, Mapping):
            return "kept" if not names and inner == value else "lost"
        read = place != "alignment" or not isinstance(theirs, Mapping) or _is_read(theirs, key.split(".")[1])
        return "in a new section" if read else "lost"
    return "kept"


def _is_read(alignment: Mapping[str, object], key: str) -> bool:
    """Tell whether the method of a whole section reads a key; a section that is wrong is refused where it is read."""
    try:
        return AlignmentSettings.model_validate(alignment).reads(key)
    except ValidationError:
        return True


def vary(text: str) -> tuple[str, list[object]]:
    """Read `KEY=V1,V2`; commas in brackets or quotes part nothing.

    >>> vary("alignment.mask=old_right,old_always")
    ('alignment.mask', ['old_right', 'old_always'])
    >>> vary("alignment.lora={r: 8, },null")
    ('alignment.lora', [{'r': 8}, None])

    Raises:
        ConfigError: it is of another form.
    """
    key, equals, values = text.partition("=")
    found = yaml_value(f"[{values}]")
    if not key or not equals or not isinstance(found, list) or not found:
        raise ConfigError(f"--vary {text}: expected KEY=VALUE,VALUE, such as alignment.mask=student_wrong,old_right")
    return key, found


def expand(file: UpdateFile, settings: SweepSettings) -> tuple[list[Variant], list[int]]:
    """Return the variants and the seeds of a sweep: those of presets, those with a name, and all combinations.

    Where none of these is asked for, the update as configured is the only variant.

    Raises:
        ConfigError: two variants share a name, a seed is no whole number or stands twice, or a preset or a key for all
            variants does not fit.
    """
    varied = dict(settings.vary)
    seeds = _all_seeds(settings.seeds, varied.pop(SEED, None))
    config = file.config()
    unit = _whole_unit(config, settings.presets)
    found = [_of_preset(each) for preset in settings.presets for each in ready_variants(preset, config.alignment, unit)]
    found += [Variant(name, dict(overrides)) for name, overrides in settings.variants.items()]
    found += _combinations(varied)
    if not found and not settings.presets:
        found = [Variant(OWN)]
    _refuse_same_names(found)
    for variant in found:
        _refuse_what_changes_nothing(variant)
    file.refuse_what_no_variant_takes(found)
    return found, seeds or [config.training.seed]


def _whole_unit(config: UpdateConfig, presets: Sequence[str]) -> WholeUnit:
    """Return in which unit whole answers of the update's tasks can be learnt."""
    kinds = {get_task(entry.task).kind for entry in config.tasks}
    learning = [each for each in presets if each in ("methods", "rivals")]
    if len(kinds) > 1 and learning:
        raise ConfigError(
            f"sweep.presets: {learning[0]} learns whole options, or whole answers that are generated; some of the "
            "tasks have options and others none: give each kind an update of its own"
        )
    return "answers" if "generation" in kinds else "options"


def _of_preset(ready: Ready) -> Variant:
    return Variant(ready.name, {"alignment": ready.alignment}, ready.probe, ready.published)


def _all_seeds(given: Sequence[int], varied: Sequence[object] | None) -> list[int]:
    found = [*given, *(varied or ())]
    seeds = [each for each in found if isinstance(each, int) and not isinstance(each, bool)]
    if len(seeds) < len(found) or len(set(seeds)) < len(seeds):
        raise ConfigError(f"{SEED}: expected whole numbers, each once, found {found}")
    return seeds


def _refuse_what_changes_nothing(variant: Variant) -> None:
    for key in _leaf_keys(variant.overrides):
        if key == SEED:
            raise ConfigError(
                f"variant {variant.name!r}: {key}: expected it in sweep.seeds (--seeds), for all variants"
            )
        if any(f"{key}.".startswith(f"{unread}.") for unread in _NOT_READ):
            raise ConfigError(
                f"variant {variant.name!r}: {key}: makes no other training or scoring in a sweep; expected another key"
            )


def _leaf_keys(values: Mapping[str, object], prefix: str = "") -> Iterator[str]:
    """Yield the dotted keys below which there are no more."""
    for key, value in values.items():
        inner = value if isinstance(value, Mapping) else {}
        yield from _leaf_keys(inner, f"{prefix}{key}.") if inner else [f"{prefix}{key}"]


def _combinations(varied: Mapping[str, Sequence[object]]) -> list[Variant]:
    """Return a variant for each combination of values; nothing where nothing is varied."""
    if not varied:
        return []
    short = _short_keys(varied)
    return [
        Variant(
            ", ".join(f"{short[key]}={yaml_word(value)}" for key, value in zip(varied, values, strict=True)),
            dict(zip(varied, values, strict=True)),
        )
        for values in product(*varied.values())
    ]


def _short_keys(keys: Iterable[str]) -> dict[str, str]:
    """Return the last word of each key, or the whole key where two end alike.

    >>> _short_keys(["alignment.mask", "training.epochs", "alignment.training.epochs"])["alignment.mask"]
    'mask'
    """
    listed = list(keys)
    last = Counter(key.rpartition(".")[2] for key in listed)
    return {key: word if last[word := key.rpartition(".")[2]] == 1 else key for key in listed}


def yaml_word(value: object) -> str:
    """Write a value as YAML has it: a word as it is, anything else in the form of JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _refuse_same_names(variants: Sequence[Variant]) -> None:
    counted = Counter(variant.name for variant in variants)
    folders = Counter(variant.folder_name.lower() for variant in variants)
    for variant in variants:
        if counted[variant.name] > 1 or folders[variant.folder_name.lower()] > 1:
            raise ConfigError(f"two variants are called {variant.name!r}; expected each name once")
