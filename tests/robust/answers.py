"""Pairs of runs as bare answers, of which one knows what the gate should say."""

from __future__ import annotations

import random
from dataclasses import dataclass

TOPICS = ("rivers", "hills", "woods")


@dataclass(frozen=True)
class Answer:
    """One answered item.

    Attributes:
        task: the task's name.
        number: the item's number in its task.
        right: whether the answer is right.
        broke: whether the old version was right on it and the new one is not.
        model: which version answered.
        failed: the request failed, so there is no answer.
    """

    task: str
    number: int
    right: bool
    broke: bool
    model: str
    failed: bool = False

    @property
    def topic(self) -> str:
        """The slice that the item is in."""
        return TOPICS[self.number % len(TOPICS)]

    @property
    def question(self) -> str:
        """The item's text."""
        return f"{self.task}: what is {self.number} plus {self.number % 7 + 1}?"

    @property
    def reference(self) -> str:
        """The right answer."""
        return str(self.number + self.number % 7 + 1)

    @property
    def text(self) -> str:
        """What the model said."""
        return self.reference if self.right else str(10_000 + self.number)


KINDS: dict[str, tuple[float, float]] = {
    "block": (0.15, 0.01),
    "warn": (0.13, 0.19),
    "pass": (0.002, 0.05),
    "cannot_tell": (0.05, 0.04),
}
"""What the gate should say of a pair of runs, to the shares of its items that are lost and gained."""


def pair(kind: str, *, items: int, tasks: int, errors: float = 0.0) -> tuple[list[Answer], list[Answer]]:
    """Return the answers of an old and a new version.

    Args:
        kind: one of `KINDS`.
        items: of each task.
        tasks: how many.
        errors: share of the new version's items that failed.
    """
    lost, gained = KINDS[kind]
    chance = random.Random(f"{kind}/{items}/{tasks}")
    old, new = [], []
    for task in (f"task{place}" for place in range(tasks)):
        order = list(range(items))
        chance.shuffle(order)
        num_right, num_lost, num_gained = round(0.7 * items), round(lost * items), round(gained * items)
        right = set(order[:num_right])
        broken = set(order[:num_lost])
        won = set(order[num_right : num_right + num_gained])
        failed = set(chance.sample(order[num_lost:], round(errors * items)))
        for number in range(items):
            is_broken, is_failed = number in broken, number in failed
            is_right = (number in right or number in won) and not (is_broken or is_failed)
            old.append(Answer(task, number, number in right, is_broken, "toy/one"))
            new.append(Answer(task, number, is_right, is_broken, "toy/two", is_failed))
    return old, new
