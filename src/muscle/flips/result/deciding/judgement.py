"""What one question about a task came to, with what a person who decides needs: how sure, and how many items more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from muscle.flips.result.finding import Word
from muscle.flips.statistics.intervals import Estimate, z_value
from muscle.flips.statistics.power import ALPHA, items_to_separate

About = Literal["old", "plain", "floor", "judge", "missing", "rule", "policy"]
"""What is asked: what breaks against the old version; against the plain update; against the old recipe trained again;
what a judge's errors allow for; what is missing; a rule of a policy; what a policy without a rule would judge."""


@dataclass(frozen=True)
class Judgement:
    """The answer to one question about a task.

    Attributes:
        task: the task; None where all are meant.
        about: what is asked.
        word: what the answer adds to the verdict.
        reason: a sentence, with the figures that it rests on.
        sure: how sure that is, in plain words.
        more_items: of what cannot be told, the further items of this task that would tell, with a power of 80 % and if
            what was seen is how it is; None where no number of items would, or it is not items that lack.
        question: of what cannot be told, what it is about, to stand behind "whether"; empty where something is told.
    """

    task: str | None
    about: About
    word: Word
    reason: str
    sure: str = ""
    more_items: int | None = None
    question: str = ""


def more_than(needed: int | None, items: int) -> int | None:
    """Return how many further items are needed where there are some already; None where no number is enough."""
    return None if needed is None else max(1, needed - items)


def more_to_separate(found: Estimate, limit: float, items: int, *, confidence: float = 0.95) -> int | None:
    """Return how many further items would separate an estimate from a limit by its interval; None where none would.

    Args:
        found: the estimate and its two-sided interval.
        limit: what its interval must exclude.
        items: how many there are.
        confidence: of the interval.
    """
    if found.value is None or found.low is None or found.high is None or found.high <= found.low:
        return None
    error = (found.high - found.low) / (2 * z_value(confidence))
    alpha = (1 - confidence) / 2
    return more_than(items_to_separate(found.value, error, limit, items, alpha=alpha), items)


def rounded_up(number: int) -> int:
    """Round a number up to two significant digits: what rests on an estimate is not known to more.

    >>> rounded_up(7), rounded_up(231), rounded_up(12345), rounded_up(99901)
    (7, 240, 13000, 100000)
    """
    step = int(10 ** max(0, len(str(number)) - 2))
    return -(-number // step) * step


def chance(p: float) -> str:
    """Say how often chance alone does as much as a p-value was found for.

    >>> chance(0.0312), chance(2e-9), chance(0.4)
    ('about once in 32 cases', 'less than once in 1,000 cases', 'about once in 2.5 cases')
    """
    if p < 0.001:
        return "less than once in 1,000 cases"
    times = 1 / p
    return f"about once in {times:.2g} cases" if times < 10 else f"about once in {times:,.0f} cases"


ONE_SIDED = 1 - 2 * ALPHA
"""Confidence of the two-sided interval whose ends are the one-sided 95 % bounds."""
