"""A flip as a report lists it: the item, its answers by all versions, how much was lost and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from muscle.typed_json import OPTIONAL_KEY

FlipKind = Literal["negative_flip", "positive_flip", "other_wrong"]


@dataclass(frozen=True)
class Answer:
    """One answer of a version.

    Attributes:
        output: its text.
        choice: number of the chosen option, from 0.
        correct: whether it is right.
        score: its main score, higher is better.
    """

    output: str | None
    choice: int | None
    correct: bool | None
    score: float | None


@dataclass(frozen=True)
class ScoredAnswer(Answer):
    """An answer with what the model thought of all options.

    Attributes:
        output: its text.
        choice: number of the chosen option, from 0.
        correct: whether it is right.
        score: its main score, higher is better.
        logprobs: log-likelihood of each option; None of an impossible one.
    """

    logprobs: Sequence[float | None] | None


@dataclass(frozen=True)
class Versions:
    """A number of each version; None where it is not known or there is no such version."""

    old: float | None
    new: float | None
    candidate: float | None


@dataclass(frozen=True)
class RepeatedAnswers:
    """All answers to an item that was asked several times, cut so that the list stays readable.

    Attributes:
        candidate: by the candidate; None without one.
        old: by the old version; no key where it was asked once.
        new: by the new version; no key where it was asked once.
    """

    candidate: Sequence[Answer] | None
    old: Sequence[Answer] | None = field(default=None, metadata=OPTIONAL_KEY)
    new: Sequence[Answer] | None = field(default=None, metadata=OPTIONAL_KEY)


@dataclass(frozen=True)
class Flip:
    """An item whose answer flipped, or stayed wrong and changed.

    Attributes:
        task: its task, as the report calls it.
        id: its id.
        kind: what the plain update made of it.
        fixed: whether the candidate gave it back; None where it did not break, or there is no candidate.
        introduced: whether only the candidate broke it; None without one.
        input: the prompt; None where the records hold none.
        choices: the options, of a choice task.
        reference: the right answers.
        old: the old version's answer.
        new: the plain update's.
        candidate: the candidate's; None without one.
        size: how much was lost: of the right option's lead, else of the score or the pass rate.
        slices: the slices that it is in, by what was cut.
        margin: by how much each version preferred the option that it chose; None where not known.
        within_noise: whether its likelihoods moved by no more than a second run of the old version's did.
        cause: why it flipped.
        verdict: what all its answers say, where it was asked several times.
        p_value: of that.
        pass_rate: share of its answers that are right, or mean score, in each version.
        repeats: all its answers.
        input_hash: in place of the texts, in a report without them.
    """

    task: str
    id: str
    kind: FlipKind
    fixed: bool | None
    introduced: bool | None
    input: str | None
    choices: Sequence[str] | None
    reference: Sequence[str] | None
    old: ScoredAnswer
    new: ScoredAnswer
    candidate: ScoredAnswer | None
    size: float | None
    slices: Mapping[str, str]
    margin: Versions | None
    within_noise: bool | None
    cause: str | None
    verdict: str | None
    p_value: float | None
    pass_rate: Versions | None
    repeats: RepeatedAnswers | None
    input_hash: str | None = field(default=None, metadata=OPTIONAL_KEY)
