"""Ready lists of variants: the paper's Table 7, the methods that muscle has, and published ones to hold them against.

A preset takes the place of the file's `alignment` section, but for what belongs to the update and not to the method:
how the compatibility adapter is trained, where the unlabelled inputs are, and what the teachers are kept in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from muscle.config.alignment import AlignmentSettings
from muscle.config.methods import LABEL_TARGETS, MaskName, TargetName, filled
from muscle.config.sweep_settings import PresetName
from muscle.leaderboard.entries import Published

CE_WEIGHT = 0.5
"""1 - lambda of Eq. 5 in the rows with cross-entropy: the paper names no lambda, so both losses weigh alike."""

_TABLE_7: tuple[tuple[str, MaskName, float, Published], ...] = (
    ("the method", "student_wrong", 0.0, Published(-3.97, -34.25, 0.54, 4.51)),
    ("old model right", "old_right", 0.0, Published(-2.29, -19.76, -0.60, 1.68)),
    ("old model always", "old_always", 0.0, Published(-2.99, -25.80, -0.82, 2.17)),
    ("CE + the method", "student_wrong", CE_WEIGHT, Published(-3.10, -26.75, 0.38, 3.48)),
    ("CE + token likelihood", "token_likelihood", CE_WEIGHT, Published(-2.12, -18.29, -0.49, 1.63)),
    ("CE + sequence likelihood", "sequence_likelihood", CE_WEIGHT, Published(-1.96, -16.91, 0.05, 2.01)),
)
"""MUSCLE (2024), Table 7: PIQA, Llama 1 to Llama 2; changes against the plain update in points, the second in %."""

_TARGETS: tuple[TargetName, ...] = ("labels", "mask", "mixture", "reliability", "lifted", "margin", "stack")

_RIVALS: tuple[tuple[str, Mapping[str, object]], ...] = (
    *((f"churn, {weight:g} labels", {"method": "churn", "ce_weight": weight}) for weight in (0.3, 0.5, 0.7)),
    ("PCT, KL", {"method": "pct"}),
    ("PCT, logits", {"method": "pct", "focal": {"distance": "logits"}}),
    ("LDI", {"method": "ldi"}),
    ("MPT", {"method": "mpt"}),
    ("relabelled", {"method": "relabel"}),
    ("twins", {"method": "twins"}),
    *((f"BCWI, {share:g} old", {"method": "bcwi", "old_share": share}) for share in (0.3, 0.5, 0.7)),
    ("old adapter copied", {"method": "bcwi", "old_share": 1.0}),
)
"""Published methods (docs/update.md#rivals)."""
_OF_ENSEMBLES: tuple[tuple[str, Mapping[str, object]], ...] = (
    ("ELODI", {"method": "elodi"}),
    ("ELODI, old in the ensemble", {"method": "elodi", "old_share": 0.5}),
    ("ensemble of seeds", {"method": "options", "labels_first": False, "old_share": 0.0}),
)
"""The same, of those that need further adapters."""

PROBE = "probe: the old one alone"
_OF_TOKENS = ("temperature", "engine", "store_precision", "topk", "projection")
_OF_INPUTS = ("unlabelled", "unlabelled_epochs")
_OF_ANSWERS = ("answers",)

WholeUnit = Literal["options", "answers"]
"""The units in which whole answers are learnt."""


@dataclass(frozen=True)
class Ready:
    """A variant of a preset.

    Attributes:
        name: what the tables call it.
        alignment: the whole section.
        probe: whether it only tells how well the student can copy.
        published: what the paper reports of it.
    """

    name: str
    alignment: Mapping[str, object]
    probe: bool = False
    published: Published | None = None


def ready_variants(preset: PresetName, given: AlignmentSettings, unit: WholeUnit = "options") -> list[Ready]:
    """Return a preset's variants.

    Args:
        preset: its name; `controls` has none.
        given: the update's own alignment.
        unit: in which whole answers are learnt: options, or candidate answers where a task's answers are generated.
    """
    if preset == "table7":
        return [
            Ready(name, section({"method": "paper", "mask": mask, "ce_weight": weight}, given), published=published)
            for name, mask, weight, published in _TABLE_7
        ]
    if preset == "methods":
        whole = [Ready(f"{unit}, {each}", section({"method": unit, "target": each}, given)) for each in _TARGETS]
        if unit == "options":
            whole.append(Ready("tokens of every option", section({"method": "every_option"}, given)))
        else:
            whole.append(Ready("tokens of every answer", section({"method": "every_answer"}, given)))
        probe = section({"method": unit, "target": "mixture", "old_share": 1.0}, given)
        return [Ready("paper", section({"method": "paper"}, given)), *whole, Ready(PROBE, probe, probe=True)]
    return _published(given, unit) if preset == "rivals" else []


def _published(given: AlignmentSettings, unit: WholeUnit) -> list[Ready]:
    ensembles = [(name, {**choices, "teachers": given.teachers}) for name, choices in _OF_ENSEMBLES if given.teachers]
    found = []
    for name, choices in (*_RIVALS, *ensembles):
        # Weights have no unit of their own beside this one.
        in_unit = {} if choices["method"] == "bcwi" else {"unit": unit}
        found.append(Ready(name, section({**choices, **in_unit}, given)))
    return found


def section(choices: Mapping[str, object], given: AlignmentSettings) -> dict[str, object]:
    """Return an `alignment` section of some choices, with what is the update's own and not the method's."""
    written, whole = given.model_dump(), filled(choices)
    unit, target = whole.get("unit", "tokens"), whole.get("target", "mask")
    kept, every_text = ["training"], whole.get("texts", "reference") != "reference"
    if unit != "weights" and not every_text:
        kept.append("selection")
    if unit == "tokens":
        # One vector a token cannot follow the student, as most masks do; what a preset fills in is the method's own.
        left_out = {*whole, *(["engine"] if given.engine == "mixed" else [])}
        kept += [key for key in _OF_TOKENS if given.unit == "tokens" and key not in left_out]
    taught = unit in get_args(WholeUnit) and target not in LABEL_TARGETS
    if taught or every_text:
        kept += _OF_INPUTS
    if unit == "answers" or whole.get("texts") == "every_answer":
        kept += _OF_ANSWERS
    defaults = AlignmentSettings()
    return {**{key: written[key] for key in kept if written[key] != getattr(defaults, key)}, **choices}
