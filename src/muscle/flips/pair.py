"""Two runs brought together: checked, joined, and split into the items of each task."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from muscle.flips.answer_tests import Test
from muscle.flips.item_verdicts import EPSILON_ITEM
from muscle.flips.items import TaskItems, task_items
from muscle.flips.join import MAX_UNPAIRED, Joined, join_runs
from muscle.flips.pairing import On
from muscle.flips.verdict import TOLERANCE
from muscle.predictions.run import Run

MAX_FLIPS = 2_000
"""Entries in a report's list of flips."""


@dataclass(frozen=True)
class Options:
    """How runs are compared; see `compare`."""

    on: On = "auto"
    max_unpaired: float = MAX_UNPAIRED
    allow_changed: bool = False
    epsilon: float = 0.0
    cluster: str | None = None
    lower_is_better: Collection[str] = ()
    tolerance: float = TOLERANCE
    max_flips: int = MAX_FLIPS
    seed: int = 0
    epsilon_item: float = EPSILON_ITEM
    item_test: Test = "fisher"
    item_family: str | None = None


@dataclass(frozen=True)
class Pair:
    """Two runs, paired.

    Attributes:
        joined: their rows, side by side.
        tasks: the items that both scored, by task.
    """

    joined: Joined
    tasks: dict[str, TaskItems]


def _named_lower_is_better(run: Run) -> set[str]:
    """Return the scores of which the harness says that less is better."""
    directions = run.metadata.get("higher_is_better") or {}
    return {name for name, higher in directions.items() if higher is False}


def pair_runs(old: Run, new: Run, options: Options) -> Pair:
    """Join two runs and split them into tasks.

    Raises:
        JoinError: the runs do not belong together.
        DataError: the cluster column is not there.
    """
    joined = join_runs(
        old, new, on=options.on, max_unpaired=options.max_unpaired, allow_changed=options.allow_changed
    )
    turned = {*options.lower_is_better, *_named_lower_is_better(old), *_named_lower_is_better(new)}
    return Pair(joined, task_items(joined, cluster=options.cluster, lower_is_better=turned))
