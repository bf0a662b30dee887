"""What a report says to whoever decides: the recommendation, how sure it is, what to do next, and every way out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from muscle.flips.statistics.intervals import Estimate

Advice = Literal["ship", "look_first", "dont_ship", "cannot_tell"]
"""What to do. A verdict that ends in exit code 1 or 2 never comes with the first two."""

Way = Literal["keep_old", "ship_new", "ship_candidate", "serve_both", "label_more"]


@dataclass(frozen=True)
class WayOut:
    """Something that can be done, with what it breaks and what it costs.

    Attributes:
        way: what is done.
        breaks: share of all answers that were right before and are not any more; of a score, that score lower. None
            where it is not known.
        breaks_at_most: whether `breaks` is the most that it can be, not what it is.
        mends: share of all answers that were wrong before and are right now; of a score, that score higher.
        level: accuracy or mean score.
        costs: what it takes, a sentence.
    """

    way: Way
    breaks: Estimate | None
    breaks_at_most: bool
    mends: Estimate | None
    level: Estimate | None
    costs: str


@dataclass(frozen=True)
class Decision:
    """What to do with the version that a report judges.

    Attributes:
        advice: in a word.
        sentence: the recommendation with what it rests on.
        sure: how sure that is.
        next: what to do now.
        more_items: further items that would tell, with a power of 80 % and if what was seen is how it is; None where it
            can be told already, or items are not what lacks.
        ways: every way out.
        ways_over: what the ways' figures are shares of.
    """

    advice: Advice
    sentence: str
    sure: str
    next: str
    more_items: int | None
    ways: Sequence[WayOut]
    ways_over: str
