"""What the history of a chain of versions holds: its tasks, their steps, and the ways that items took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from muscle.flips.pairing.comparability import Difference
from muscle.flips.pairing.flip_sign import Kind
from muscle.flips.pairing.missing import Missing
from muscle.flips.statistics.intervals import Estimate
from muscle.foreign_text import listing, one_line
from muscle.predictions.run import Unread
from muscle.typed_json import OPTIONAL_KEY, json_object

HISTORY_FORMAT = "muscle-history/1"


@dataclass(frozen=True)
class HistoryStep:
    """What changed between two versions of the chain; rates are over the items that all versions have.

    Attributes:
        old: the earlier version; "from" in JSON.
        new: the later one; "to" in JSON.
        negative_flips: how many broke, or got worse.
        positive_flips: how many were gained, or got better.
        negative_flip_rate: of all items.
        positive_flip_rate: of all items.
        accuracy_difference: new less old, or of the mean score.
        p: two-sided, of as many flips one way.
        holm_p: adjusted over the steps; no key for the whole way.
    """

    old: str = field(metadata={"key": "from"})
    new: str = field(metadata={"key": "to"})
    negative_flips: int
    positive_flips: int
    negative_flip_rate: Estimate
    positive_flip_rate: Estimate
    accuracy_difference: Estimate
    p: float
    holm_p: float | None = field(default=None, metadata=OPTIONAL_KEY)


@dataclass(frozen=True)
class Pattern:
    """A way along the chain: R right, W wrong in a version; of a score, + better, - worse, = equal at a step.

    Attributes:
        pattern: a letter a version, or a sign a step.
        count: items that took it.
        share: of all items.
    """

    pattern: str
    count: int
    share: float


@dataclass(frozen=True)
class RestlessItem:
    """An item that broke at some step.

    Attributes:
        id: its id.
        pattern: its way along the chain.
        changes: how often it changed.
        input: the beginning of its prompt; None where the records hold none.
    """

    id: str
    pattern: str
    changes: int
    input: str | None


@dataclass(frozen=True)
class TaskHistory:
    """A task along the chain, over the items that all versions have.

    Attributes:
        n: these items, each repeat counted.
        left_out: items that some version lacks.
        kind: "binary" where correctness is known, else "continuous".
        unit: what is counted; answers where items were asked several times.
        levels: each version's accuracy or mean score.
        steps: from each version to the next.
        first_to_last: the whole way.
        patterns: the commonest ways of the items.
        num_patterns: how many there are.
        kinds: items by what became of them; None of a score.
        broke_somewhere: items that are right in one version and wrong in the next, or whose score fell at some step.
        items: those that broke somewhere, the most restless first.
    """

    n: int
    left_out: int
    kind: Kind
    unit: Literal["items", "answers"]
    levels: Sequence[float]
    steps: Sequence[HistoryStep]
    first_to_last: HistoryStep
    patterns: Sequence[Pattern]
    num_patterns: int
    kinds: Mapping[str, int] | None
    broke_somewhere: int
    items: Sequence[RestlessItem]


@dataclass(frozen=True)
class UnfollowedTask:
    """A task that cannot be followed.

    Attributes:
        n: 0, the items that all versions have and that are judged alike.
        left_out: items of the version that has most.
        kind: of the first two versions' items.
        why: the reason.
    """

    n: int
    left_out: int
    kind: Kind
    why: str


@dataclass(frozen=True, repr=False)
class HistoryReport:
    """A chain of versions.

    Attributes:
        format: of the file.
        muscle_version: that made it.
        created: when, in UTC.
        runs: the versions' names, in their order.
        comparability: what differs between neighbours beside the model, a list for each step.
        tasks_left_out: tasks that not all versions have.
        warnings: what was not read or did not pair.
        readings: how the runs' files were read, where nothing in it makes the numbers doubtful.
        missing: what was not judged, of each step.
        unread: what could not be read, by version.
        tasks: the tasks, by name.
    """

    format: str
    muscle_version: str
    created: str
    runs: Sequence[str]
    comparability: Sequence[Sequence[Difference]]
    tasks_left_out: Sequence[str]
    warnings: Sequence[str]
    readings: Sequence[str]
    missing: Sequence[Missing]
    unread: Mapping[str, Sequence[Unread]]
    tasks: Mapping[str, TaskHistory | UnfollowedTask]

    def __repr__(self) -> str:
        chain = " → ".join(one_line(name, 40) for name in self.runs)
        return f"<{type(self).__name__} {chain}: tasks {listing(self.tasks, 3)}>"

    def to_json(self) -> dict[str, object]:
        """Return the history as a JSON object."""
        return json_object(self)
