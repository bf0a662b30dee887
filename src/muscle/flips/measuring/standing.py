"""How a version stands against another that could be had in its place: the plain update, or the old recipe again.

Flips by the paired exact tests of `CandidateEffect`, adjusted by Holm over the tasks; accuracy by the 95 % interval of
its paired change, held against the loss that is let pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from muscle.flips.measuring.candidate_effect import CandidateEffect
from muscle.flips.statistics.multiplicity import holm

ALPHA = 0.05


@dataclass(frozen=True)
class Standing:
    """How a version stands against another one.

    Attributes:
        flips: whether it makes fewer or more negative flips than the other, beyond chance.
        accuracy: whether it keeps the other's accuracy or mean score: a loss of more than is let pass is excluded
            ("kept"), proven ("lost"), or neither.
        more_flips_p: one-sided, of more negative flips, adjusted by Holm over the tasks.
        flips_p: two-sided, of any difference, adjusted likewise.
    """

    flips: Literal["fewer", "more", "cannot_tell"]
    accuracy: Literal["kept", "lost", "cannot_tell"]
    more_flips_p: float
    flips_p: float


def standings(effects: Mapping[str, CandidateEffect], limits: Mapping[str, float]) -> dict[str, Standing]:
    """Say of each task how a version stands against the other.

    Args:
        effects: what it changes against the other, by task.
        limits: the loss of accuracy, or of the mean score, that is let pass, by task; 0 or above.
    """
    more = holm([effect.more_negative_flips_p for effect in effects.values()])
    any_change = holm([effect.negative_flips_mcnemar_exact_p for effect in effects.values()])
    return {
        name: Standing(_flips_word(effect, *p_values), _accuracy_word(effect, limits[name]), *p_values)
        for (name, effect), *p_values in zip(effects.items(), more, any_change, strict=True)
    }


def _flips_word(effect: CandidateEffect, more_p: float, any_p: float) -> Literal["fewer", "more", "cannot_tell"]:
    if more_p < ALPHA:
        return "more"
    fewer = effect.negative_flips_alone < effect.negative_flips_avoided
    return "fewer" if fewer and any_p < ALPHA else "cannot_tell"


def _accuracy_word(effect: CandidateEffect, limit: float) -> Literal["kept", "lost", "cannot_tell"]:
    low, high = effect.accuracy_change.low, effect.accuracy_change.high
    if low is None or high is None:
        return "cannot_tell"
    if high < -limit:
        return "lost"
    return "kept" if low >= -limit else "cannot_tell"
