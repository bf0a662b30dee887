"""What an update broke and gained over all tasks, and the line that tells it: never the net alone, which hides it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from muscle.flips.measuring.side_numbers import counted_unit
from muscle.flips.pairing.pair import WithOld
from muscle.flips.result.finding import VERDICT_WORDS, Word
from muscle.flips.result.report import TaskResult
from muscle.flips.wording import percent


@dataclass(frozen=True)
class Balance:
    """What an update broke and gained over all tasks.

    Attributes:
        lost: negative flips, or items that got worse.
        gained: positive flips, or items that got better.
        total: items.
    """

    lost: int
    gained: int
    total: int


def balance(tasks: Mapping[str, TaskResult], side: WithOld) -> Balance:
    """Return what a side broke and gained over the tasks that it has."""
    present = [(task.quadrants[side], task.numbers(side)) for task in tasks.values() if task.numbers(side)]
    return Balance(
        sum(counts.lost for counts, _ in present),
        sum(counts.gained for counts, _ in present),
        sum(numbers.n for _, numbers in present if numbers),
    )


def headline(verdict: Word, tasks: Mapping[str, TaskResult], *, old: str, new: str, candidate: str | None) -> str:
    """Return the sentence that opens a report: what broke, what was gained, and the net of both.

    Args:
        verdict: in a word.
        tasks: the report's.
        old: the old version's name.
        new: the plain update's.
        candidate: the candidate's; None without one.
    """
    kinds = {task.kind for task in tasks.values()}
    words = ("gained", "broken") if kinds == {"binary"} else ("better", "worse")
    unit = counted_unit(task.old_vs_new for task in tasks.values() if task.old_vs_new)

    def story(side: WithOld) -> str:
        found = balance(tasks, side)
        share = f" ({percent(found.lost / found.total)})" if found.total else ""
        return (
            f"+{found.gained:,} {words[0]} / -{found.lost:,} {words[1]}{share} / "
            f"net {found.gained - found.lost:+,d} of {found.total:,} {unit}"
        )

    if candidate is None:
        return f"{VERDICT_WORDS[verdict]}: {new} against {old}: {story('old_vs_new')}."
    return (
        f"{VERDICT_WORDS[verdict]}: {candidate} against {old}: {story('old_vs_candidate')}; "
        f"the plain update {new}: {story('old_vs_new')}."
    )
