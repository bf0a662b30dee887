"""How often an answer that was right goes wrong, and a bound on it, from items that the rule was not fitted on.

Flips are counted among the items whose answer is another than the old one; what agrees needs no verdict. The bound is
Clopper and Pearson's, one-sided. What is missing is taken at its worst, as a flip. Where only a random part of those
items was judged (`muscle route label`), the bound is that of their share times that of the flips among them, each at
its part of the level, so that together they hold as often (Bonferroni). What was judged in another way stands for
itself alone: its flips are added, with a part of the level of their own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from muscle.errors import ConfigError
from muscle.flips.statistics.intervals import clopper_pearson

Verdict = Literal["pass", "block", "cannot_tell"]

CONFIDENCE = 0.95
"""One-sided level of the bound."""


@dataclass(frozen=True)
class Counts:
    """What a bound is made from.

    Attributes:
        num: items with a pair of answers.
        differ: of these, the ones whose answer is not the old one.
        judged: of those, the ones of which it is known whether they flipped.
        flips: of the judged ones, those that were right and are wrong.
        missing: items without a pair of answers, and what could not be read.
        lost_count: whether it is unknown how many could not be read.
        drawn: of the judged ones, those that were drawn at random from all that were not judged otherwise.
        drawn_flips: of these, the flips.
        passed_over: items that were drawn and not judged.
    """

    num: int
    differ: int
    judged: int
    flips: int
    missing: int = 0
    lost_count: bool = False
    drawn: int = 0
    drawn_flips: int = 0
    passed_over: int = 0

    @property
    def unknown(self) -> int:
        """Items whose answer is not the old one and that nobody judged."""
        return self.differ - self.judged


@dataclass(frozen=True)
class Bound:
    """What is proven of P(old right and answer wrong).

    Attributes:
        value: negative flips among the judged items, scaled up where only a part was judged; None where none was.
        low: what it is at least, one-sided.
        high: what it is at most, one-sided.
        confidence: of each end.
        limit: what it should be at most.
        verdict: "pass" where the upper end is within the limit, "block" where the lower one is above it.
        counts: what it is made from.
        how: in words.
    """

    value: float | None
    low: float
    high: float
    confidence: float
    limit: float
    verdict: Verdict
    counts: Counts
    how: str


def upper(count: int, total: int, miss: float) -> float:
    """Return the upper end of a rate, which is too low with probability `miss` at most; 1 where there is no item."""
    return 1.0 if total == 0 else clopper_pearson(count, total, confidence=1 - 2 * miss).high


def lower(count: int, total: int, miss: float) -> float:
    """Return the lower end of a rate, which is too high with probability `miss` at most; 0 where there is no item."""
    return 0.0 if total == 0 else clopper_pearson(count, total, confidence=1 - 2 * miss).low


def bound(counts: Counts, *, limit: float, confidence: float = CONFIDENCE) -> Bound:
    """Bound the rate of negative flips.

    Args:
        counts: of items that the rule was not fitted on. Where none was drawn at random, those that nobody judged are
            taken for flips.
        limit: what the rate should be at most.
        confidence: of each end, one-sided.
    """
    total, miss = counts.num + counts.missing, 1 - confidence
    flips = f"{counts.flips:,} flip{'s' * (counts.flips != 1)}"
    if counts.drawn and counts.unknown:
        low, high = _ends_by_draw(counts, total, miss)
        how = f"{flips} in {counts.judged:,} judged of {counts.differ:,} answers that are not the old one's"
        if counts.passed_over:
            how += f", and {counts.passed_over:,} that were to be judged and were not are taken for flips"
    else:
        worst = counts.flips + counts.unknown + counts.missing
        high, low = upper(worst, total, miss), lower(counts.flips, total, miss)
        how = f"{flips} in {total:,} items"
        if counts.unknown:
            how += f", and {counts.unknown:,} unjudged answers that are not the old one's are taken for flips"
    if counts.missing:
        how += f", and {counts.missing:,} missing ones are taken for flips"
    if counts.lost_count:
        high, how = 1.0, how + "; how many items could not be read is unknown"
    verdict: Verdict = "pass" if high <= limit else "block" if low > limit else "cannot_tell"
    return Bound(_seen(counts), low, high, confidence, limit, verdict, counts, how)


def _ends_by_draw(counts: Counts, total: int, miss: float) -> tuple[float, float]:
    """Return both ends where a random part of what differs was judged: what is known for itself, and the rest."""
    outside, outside_flips = counts.judged - counts.drawn, counts.flips - counts.drawn_flips
    rest, drawn = counts.differ - outside, counts.drawn + counts.passed_over
    part = miss / (3 if outside or counts.missing else 2)
    high = upper(rest, total, part) * upper(counts.drawn_flips + counts.passed_over, drawn, part)
    if outside or counts.missing:
        high = min(1.0, high + upper(outside_flips + counts.missing, total, part))
    part = miss / (3 if outside else 2)
    low = lower(rest, total, part) * lower(counts.drawn_flips, drawn, part)
    return low + (lower(outside_flips, total, part) if outside else 0.0), high


def _seen(counts: Counts) -> float | None:
    """Return the share of the items that flipped, the draw scaled up to what it stands for; None where unknown."""
    if not counts.num or (counts.unknown and not counts.judged):
        return None
    if not counts.drawn:
        return counts.differ / counts.num * counts.flips / max(1, counts.judged)
    rest = counts.differ - (counts.judged - counts.drawn)
    return (counts.flips - counts.drawn_flips + rest * counts.drawn_flips / counts.drawn) / counts.num


@dataclass(frozen=True)
class Prices:
    """What a call of each model costs, in any unit.

    Attributes:
        old: of the old model; 0 where its answers are recorded.
        new: of the new one.

    Raises:
        ConfigError: one is no number from 0.
    """

    old: float = 1.0
    new: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what is no price."""
        for name, price in (("old", self.old), ("new", self.new)):
            if not 0 <= price < math.inf:
                raise ConfigError(
                    f"route: price of a call of the {name} model: expected a number from 0, found {price}"
                )

    def per_thousand(self, asked_share: float, *, old_calls: float = 1.0, new_calls: float = 1.0) -> float:
        """Return the cost of 1,000 items: every one asked of the new model, a share of the old one.

        Args:
            asked_share: of the items about which the old model is asked, in [0, 1].
            old_calls: calls of the old model that such an item takes.
            new_calls: calls of the new one that an item takes.

        >>> Prices(old=2.0, new=1.0).per_thousand(0.25)
        1500.0
        """
        return 1000 * (self.new * new_calls + self.old * old_calls * asked_share)
