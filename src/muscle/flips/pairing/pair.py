"""Two runs brought together: checked, joined, and split into the items of each task."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from muscle.flips.options import CompareOptions
from muscle.flips.pairing.directions import refuse_unsaid_directions
from muscle.flips.pairing.items import TaskItems, task_items
from muscle.flips.pairing.join import Joined, join_runs
from muscle.flips.pairing.missing import Missing, count_missing, with_missing
from muscle.predictions.run import Run, Unread

Side = Literal["old_vs_new", "old_vs_candidate", "new_vs_candidate"]
"""Which two versions: the plain update, the candidate, and the candidate against the plain update."""

WithOld = Literal["old_vs_new", "old_vs_candidate"]
"""The sides that the old version is one of."""


@dataclass(frozen=True)
class Pair:
    """Two runs, paired.

    Attributes:
        joined: their rows, side by side.
        tasks: the items that both scored, by task.
        missing: what was not scored on both sides.
        unread: what the runs' sources held and could not be read.
        options: by which the runs were paired.
        lower_is_better: names of the scores of which less is better.
        at_worst: whether missing answers are among the items, at their worst.
    """

    joined: Joined
    tasks: dict[str, TaskItems]
    missing: Missing
    options: CompareOptions
    unread: tuple[Unread, ...] = ()
    lower_is_better: frozenset[str] = frozenset()
    at_worst: bool = False

    @property
    def lost_in_reading(self) -> tuple[Unread, ...]:
        """What could not be read, unless the join shows all of it to be missing."""
        return () if self.missing.unread == 0 else self.unread

    @cached_property
    def unseen_tasks(self) -> list[str]:
        """The tasks, of either run, of which no item is scored on both sides."""
        if self.missing.num == 0:
            return []
        frames = (self.joined.old, self.joined.new, *self.joined.left)
        named = dict.fromkeys(task for frame in frames for task in frame["task"].unique(maintain_order=True))
        first = [items.frame["pair"][0] for items in self.tasks.values() if items.frame.height]
        seen = {self.joined.old["task"][row] for row in first}
        return [task for task in named if task not in seen]

    @cached_property
    def worst(self) -> Pair:
        """The pair with its missing answers among the items, at their worst."""
        if self.missing.num == 0:
            return replace(self, at_worst=True)
        joined = with_missing(self.joined)
        tasks = task_items(
            joined,
            epsilon=self.options.epsilon,
            cluster=self.options.cluster,
            lower_is_better=self.lower_is_better,
            seen=self.tasks,
        )
        return replace(self, joined=joined, tasks=tasks, at_worst=True)


def _named_lower_is_better(run: Run) -> set[str]:
    """Return the scores of which the harness says that less is better."""
    directions = run.metadata.get("higher_is_better") or {}
    return {name for name, higher in directions.items() if higher is False}


def pair_runs(old: Run, new: Run, options: CompareOptions) -> Pair:
    """Join two runs and split them into tasks.

    Raises:
        JoinError: the runs do not belong together, or nobody says which way a score counts.
        DataError: the cluster column is not there.
    """
    joined = join_runs(old, new, on=options.on, max_unpaired=options.max_unpaired, allow_changed=options.allow_changed)
    turned = frozenset({*options.lower_is_better, *_named_lower_is_better(old), *_named_lower_is_better(new)})
    tasks = task_items(joined, epsilon=options.epsilon, cluster=options.cluster, lower_is_better=turned)
    deciding = {name: items.score for name, items in tasks.items() if items.kind == "continuous" and items.score}
    refuse_unsaid_directions(deciding, (old, new), options.lower_is_better)
    unscored = sum(items.num_unscored for items in tasks.values())
    missing = count_missing(old, new, joined, unscored=unscored)
    return Pair(joined, tasks, missing, options, (*old.unread, *new.unread), turned)
