"""What a leaderboard is made from: the runs of each candidate by seed, and the controls that it is held against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Literal

Role = Literal["old", "plain", "control", "method", "probe", "served"]
"""What a row is: the version in use, the plain update, a control, a method's adapter, a probe of how well the student
copies, or two models served."""

Control = Literal["plain", "floor", "twin", "third", "longer", "no_teacher", "twin_as_old", "third_as_old"]
"""What a candidate is held against, see `docs/sweep.md`."""


@dataclass(frozen=True)
class Published:
    """What a paper reports of a row, against its plain update: changes in points, the second in percent of NFR."""

    negative_flip_rate_change: float
    negative_flip_rate_change_percent: float
    positive_flip_rate_change: float
    accuracy_change: float


@dataclass(frozen=True)
class Group:
    """The two versions that a group of candidates is held against: they share all but the method.

    Attributes:
        name: tells it from the others.
        old: the old version's folder of predictions, by seed.
        new: the plain update's.
        settings: what sets it apart, for people; empty where there is one group.
    """

    name: str
    old: Mapping[int, Path]
    new: Mapping[int, Path]
    settings: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Contender:
    """What is held against others, before and after its runs are there.

    Attributes:
        name: what the tables call it.
        role: what it is.
        what: in a few plain words.
        group: the name of its group.
        controls: names of those that it is held against, by kind.
        uses_old: whether it is made to use the old model.
        eligible: whether it may be advised: a method, or a control that is an update of its own.
        settings: what differs from the update's file.
        models_served: how many models answer.
        published: what the paper reports of it.
    """

    name: str
    role: Role
    what: str
    group: str
    _: KW_ONLY
    controls: Mapping[Control, str] = field(default_factory=dict)
    uses_old: bool = False
    eligible: bool = False
    settings: Mapping[str, object] = field(default_factory=dict)
    models_served: int = 1
    published: Published | None = None


@dataclass(frozen=True)
class Entry(Contender):
    """A contender with what there is of its runs.

    Attributes:
        runs: its folder of predictions, by seed.
        seconds: what its training took, by seed.
        failed: why it is not there, by seed.
    """

    runs: Mapping[int, Path]
    _: KW_ONLY
    seconds: Mapping[int, float] = field(default_factory=dict)
    failed: Mapping[int, str] = field(default_factory=dict)
