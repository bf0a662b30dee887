"""What was not judged, and what it could hide: nothing that is missing betters a verdict.

An answer is missing where a version failed (an error), where it has no verdict (unscored), where the other version's
answer to the item is not there (unpaired, doubled with different answers, another reference), or where the source
held it and it could not be read (`muscle.predictions.run.Unread`). Rates leave such items out. A verdict does not: it
is asked again of the worst that they can hide, where each missing old answer was right and each missing new one is
wrong (of a score: the best and the worst there is). What does not hold then is not proven. Such bounds hold however
answers came to be missing (Manski, American Economic Review 80 (1990) 319-323).
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from muscle.flips.pairing.join import Answers, Joined, without_answer
from muscle.predictions.run import Run, Unread


@dataclass(frozen=True)
class Missing:
    """The predictions of two runs that were not judged.

    Attributes:
        total: predictions that two whole runs would have paired; what could not be read is not among them.
        errors: paired, without an answer on one side or both.
        unscored: paired and answered, without a verdict on one side or both.
        only_old: without a partner in the new run; of an item doubled with different answers, or whose reference
            changed, one.
        only_new: without a partner in the old run.
        unread: lost in reading and not seen to be missing by the join; None where a source cannot tell how many.
    """

    total: int
    errors: int
    unscored: int
    only_old: int
    only_new: int
    unread: int | None

    @property
    def num(self) -> int:
        """Missing predictions that stand in one run or the other."""
        return self.errors + self.unscored + self.only_old + self.only_new

    def sentence(self) -> str:
        """Say how many answers are missing and why.

        >>> Missing(400, 0, 100, 0, 0, 0).sentence()
        '100 of 400 answers are missing (100 unscored)'
        """
        why = {
            "error" if self.errors == 1 else "errors": self.errors,
            "unscored": self.unscored,
            "only in the old run": self.only_old,
            "only in the new run": self.only_new,
        }
        told = ", ".join(f"{number:,} {what}" for what, number in why.items() if number)
        verb = "is" if self.num == 1 else "are"
        return f"{self.num:,} of {self.total:,} answers {verb} missing" + (f" ({told})" if told else "")


def count_missing(old: Run, new: Run, joined: Joined, *, unscored: int) -> Missing:
    """Count what of two runs was not judged.

    Args:
        old: the old version's run.
        new: the other run.
        joined: the two, joined.
        unscored: paired and answered rows without a verdict.
    """
    failed = joined.old["error"].is_not_null() | joined.new["error"].is_not_null()
    only_old, only_new = (rows.height for rows in joined.left)
    # What one side lost in reading is among the rows that only the other side has.
    lost = [_unexplained(old.unread, only_new), _unexplained(new.unread, only_old)]
    unread = None if None in lost else sum(number or 0 for number in lost)
    total = joined.old.height + only_old + only_new
    return Missing(total, int(failed.sum()), unscored, only_old, only_new, unread)


def _unexplained(unread: tuple[Unread, ...], only_other: int) -> int | None:
    numbers = [each.num_items for each in unread]
    known = [number for number in numbers if number is not None]
    return max(0, sum(known) - only_other) if len(known) == len(numbers) else None


def with_missing(joined: Joined) -> Joined:
    """Return the join with a row for each missing prediction: those without a partner have one that says nothing.

    Rows with an error say nothing either, and have none any more, so that all rows are of items to judge.
    """
    old, new = (without_answer(frame, frame["error"].is_not_null()) for frame in (joined.old, joined.new))
    left_old, left_new = joined.left
    frames = (
        pl.concat([old, left_old, without_answer(left_new)], how="diagonal"),
        pl.concat([new, without_answer(left_old), left_new], how="diagonal"),
    )
    # Numbers that no row of the runs has.
    extra = pl.int_range(left_old.height + left_new.height, dtype=pl.UInt32, eager=True) + (1 << 31)
    rows = [pl.concat([side.cast(pl.UInt32), extra]) for side in (joined.old_rows, joined.new_rows)]
    return Joined(
        frames[0],
        frames[1],
        rows[0],
        rows[1],
        joined.report,
        (left_old.clear(), left_new.clear()),
        None if joined.answers is None else _answers_with_missing(joined, joined.answers),
    )


def _answers_with_missing(joined: Joined, answers: Answers) -> Answers:
    """Return all answers, and one that says nothing for each that a side lacks."""
    left = [
        rows.with_columns(item=items.cast(answers.item.dtype))
        for rows, items in zip(joined.left, answers.left, strict=True)
    ]
    sides = []
    for own, frame in enumerate((answers.old, answers.new)):
        known = set(frame["item"].unique())
        alone = left[own].filter(~pl.col("item").is_in(known))  # the others stand in the frame already
        parts = (without_answer(frame, frame["error"].is_not_null()), alone, without_answer(left[1 - own]))
        sides.append(pl.concat(parts, how="diagonal_relaxed"))
    item = pl.concat([answers.item, *(each["item"] for each in left)])
    return Answers(item, sides[0], sides[1], (answers.left[0].clear(), answers.left[1].clear()))
