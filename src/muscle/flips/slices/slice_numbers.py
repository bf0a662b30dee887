"""What a report holds of slices: how a task was cut, each slice's numbers, where flips concentrate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from muscle.flips.statistics.intervals import Estimate
from muscle.typed_json import OPTIONAL_KEY

Direction = Literal["worse", "better", "even"]


@dataclass(frozen=True)
class Excess:
    """How much more frequent negative flips are in a slice than in the rest of its task.

    Attributes:
        value: NFR in the slice less NFR in the rest.
        low: 95 %; None where there are too few groups of items.
        high: 95 %; None as well.
        rest: NFR in the rest.
        p: one-sided: so many in the slice, if they fell on any item alike.
        holm_p: adjusted over all slices of the comparison, family-wise.
        bh_p: adjusted, false discovery rate.
        why: why there is no interval.
    """

    value: float
    low: float | None
    high: float | None
    rest: float
    p: float
    holm_p: float
    bh_p: float
    why: str | None = field(default=None, metadata=OPTIONAL_KEY)


@dataclass(frozen=True)
class SliceNumbers:
    """A slice that has enough items to be tested.

    Attributes:
        by: what the task was cut by.
        value: the slice.
        n: its items.
        negative_flips: how many broke.
        positive_flips: how many were gained.
        negative_flip_rate: over its items.
        positive_flip_rate: over its items.
        accuracy_old: or the mean score.
        accuracy_new: or the mean score.
        accuracy_difference: new less old.
        direction: which flips are more.
        p: two-sided: exact McNemar, or over groups of items.
        excess: against the rest of the task; None where the slice is all of it.
        holm_p: `p` adjusted over all slices of all tasks, family-wise.
        bh_p: adjusted, false discovery rate.
        significant: by `bh_p`.
    """

    by: str
    value: str
    n: int
    negative_flips: int
    positive_flips: int
    negative_flip_rate: Estimate
    positive_flip_rate: Estimate
    accuracy_old: float
    accuracy_new: float
    accuracy_difference: Estimate
    direction: Direction
    p: float
    excess: Excess | None
    holm_p: float
    bh_p: float
    significant: bool


@dataclass(frozen=True)
class SmallSlices:
    """What the slices that have too few items to be tested hold together."""

    slices: int
    items: int
    negative_flips: int
    positive_flips: int


@dataclass(frozen=True)
class CutSummary:
    """How a task was cut.

    Attributes:
        by: what by, as it is called.
        kind: of cut (`muscle.flips.slices.slice_by`).
        of: the column that is cut.
        slices: how many there are.
        tested: how many have enough items.
        small: what the others hold.
        without_value: items in no slice.
        skipped: why there are no slices; None where there are.
    """

    by: str
    kind: str
    of: str
    slices: int
    tested: int
    small: SmallSlices
    without_value: int
    skipped: str | None


@dataclass(frozen=True)
class WholeTask:
    """Where the whole task went, against which its slices are held."""

    direction: Direction
    accuracy_difference: Estimate
    clear: bool


@dataclass(frozen=True)
class OpposedSlices:
    """Slices that go against the whole task, or cancel out in it (Simpson's case).

    Attributes:
        by: what the task was cut by.
        kind: which of the two.
        overall: the whole task.
        worse: slices that are significantly worse.
        better: slices that are significantly better.
    """

    by: str
    kind: Literal["cancels_out", "against_the_whole"]
    overall: WholeTask
    worse: Sequence[str]
    better: Sequence[str]


@dataclass(frozen=True)
class ConcentratedSlice:
    """A slice in which negative flips are more frequent than in the rest of the task."""

    by: str
    value: str
    n: int
    negative_flips: int
    negative_flip_rate: Estimate
    excess: Excess
    significant: bool


@dataclass(frozen=True)
class TaskSlices:
    """A task cut into slices.

    Attributes:
        min_items: items that a slice needs to be tested.
        by: how it was cut.
        rows: a slice each, of those that were tested.
        simpson: cuts in which slices go against the whole, or cancel out in it.
        concentrated: the slices with more negative flips than the rest, the surest first.
    """

    min_items: int
    by: Sequence[CutSummary]
    rows: Sequence[SliceNumbers]
    simpson: Sequence[OpposedSlices]
    concentrated: Sequence[ConcentratedSlice]
