"""A record of an old model's answers, as far as an update reads it: what was answered to each item.

Items are found by their text: the input with its options, else the input alone, blanks and case left out. Ids are no
help, since a training file and a test file each count their own. By its input alone an item is found where the record
has no options, or the same ones in another order; an answer among other options is none to this item.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from muscle.predictions.records import input_hash
from muscle.tasks.task import Example

_CUT_OFF = ("length", "content_filter")
"""Why an answer ended of which nobody knows the rest."""


@dataclass(frozen=True)
class RecordedAnswer:
    """One answer.

    Attributes:
        text: as it came.
        option: the option that it names, by its text; None where it names none, or the item has none.
        logprobs: of each of `options`, in nats; None where they are not known.
        finish_reason: why it ends, in the record's word.
        options: those that the record has; empty where it has none.
    """

    text: str
    option: str | None = None
    logprobs: tuple[float, ...] | None = None
    finish_reason: str | None = None
    options: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether its end is known; else it is no candidate of what is generated."""
        return self.finish_reason not in _CUT_OFF


@dataclass(frozen=True)
class Record:
    """An old model of which only answers are left.

    Attributes:
        name: what reports call it.
        digest: stands for its content: 16 hex digits.
        by_hash: answers to an item by the hash of its input and options.
        by_text: the same by the input alone, where no two items share it.
        facts: what is known of how it was made, for reports.
    """

    name: str
    digest: str
    by_hash: Mapping[str, tuple[RecordedAnswer, ...]]
    by_text: Mapping[str, tuple[RecordedAnswer, ...]]
    facts: Mapping[str, object] = field(default_factory=dict)

    def answers_to(self, example: Example) -> tuple[RecordedAnswer, ...]:
        """Return what was answered to an item; nothing where it is not in the record."""
        # Candidate answers are no part of the item.
        options = () if example.answers else example.choices
        found = self.by_hash.get(input_hash(example.context, options))
        if found is not None:
            return found
        alike = self.by_text.get(text_key(example.context), ())
        return tuple(each for each in alike if not each.options or sorted(each.options) == sorted(options))


def text_key(text: str) -> str:
    """Return what two writings of one input have in common."""
    return " ".join(text.lower().split())


def likelihoods(answers: tuple[RecordedAnswer, ...], choices: Sequence[str]) -> tuple[float, ...] | None:
    """Return the log-probabilities of an item's options, in its order; of the first answer that has them, else None."""
    found = (likelihoods_in(each, choices) for each in answers)
    return next((each for each in found if each is not None), None)


def likelihoods_in(answer: RecordedAnswer, choices: Sequence[str]) -> tuple[float, ...] | None:
    """Return an answer's log-probabilities of an item's options, in the item's order; None where it has none of these.

    Where options read alike, their order must be that of the record.
    """
    if answer.logprobs is None or len(answer.logprobs) != len(choices):
        return None
    if answer.options == tuple(choices):
        return answer.logprobs
    named = dict(zip(answer.options, answer.logprobs, strict=True))
    is_permuted = len(named) == len(choices) and named.keys() == set(choices)
    return tuple(named[choice] for choice in choices) if is_permuted else None


def answered_options(record: Record, example: Example) -> list[int]:
    """Return which options an item's answers name, one after the other; of candidates, which of their answers."""
    answers = record.answers_to(example)
    if not example.answers:
        return [example.choices.index(each.option) for each in answers if each.option in example.choices]
    texts = dict(zip(example.choices, example.answers, strict=True))
    return [texts[each.text.strip()] for each in answers if each.text.strip() in texts]


def teaches(record: Record, example: Example) -> bool:
    """Tell whether a record says something of an item that a training can use: an option, or a text that ended."""
    answers = record.answers_to(example)
    if example.answers:
        return bool(answered_options(record, example))
    if not example.choices:
        return any(each.text.strip() and each.is_whole for each in answers)
    return likelihoods(answers, example.choices) is not None or bool(answered_options(record, example))
