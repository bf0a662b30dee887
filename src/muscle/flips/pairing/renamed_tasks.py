"""Tasks that two runs call by other names although they hold the same items: nothing of them pairs."""

from __future__ import annotations

import polars as pl

from muscle.flips.pairing.match import item_contents
from muscle.foreign_text import first_few, listing
from muscle.predictions.run import Run

_MOST = 3
"""Tasks that are named."""


def told_renaming(old: Run, new: Run) -> str | None:
    """Say which tasks have another name in the new run; None where none has, or no texts tell.

    Two tasks are the same where most items of the smaller one are in both, by their texts.
    """
    only = [sorted(set(own.tasks) - set(other.tasks)) for own, other in ((old, new), (new, old))]
    if not all(only):
        return None
    frames = [run.frame.filter(pl.col("task").is_in(tasks)) for run, tasks in zip((old, new), only, strict=True)]
    items = [
        frame.select("task", content=content).drop_nulls().unique()
        for frame, content in zip(frames, item_contents(frames), strict=True)
    ]
    sizes = [side.group_by("task").len("size") for side in items]
    shared = items[0].join(items[1], on="content", suffix="_new").group_by("task", "task_new").len("shared")
    shared = shared.join(sizes[0], on="task").join(sizes[1], left_on="task_new", right_on="task", suffix="_new")
    same = shared.filter(pl.col("shared") * 2 > pl.min_horizontal("size", "size_new")).sort("task", "task_new")
    if same.is_empty():
        return None
    pairs = [f"{listing([task])} and {listing([other])}" for task, other in same.select("task", "task_new").iter_rows()]
    return f"tasks {first_few(pairs, _MOST)} hold the same items under two names: give each task one name in both runs"
