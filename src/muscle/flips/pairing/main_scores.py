"""The main scores of two runs: where their names differ, and one name for both where the user allows it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import polars as pl

from muscle.errors import JoinError
from muscle.predictions.run import SCORE_PREFIX, Run


@dataclass(frozen=True)
class OtherName:
    """A task whose main score has another name in the new run.

    Attributes:
        task: the task.
        old: the old run's name.
        new: the new run's.
        decides: whether nothing else says how the two compare: they share no score, and one side does not say right
            or wrong.
    """

    task: str
    old: str
    new: str
    decides: bool


def _names(run: Run) -> dict[str, list[str]]:
    """Return the names of the scores of each task, its main score first."""
    names = run.score_names()
    filled = (
        run.frame.lazy()
        .group_by("task")
        .agg(pl.col(f"{SCORE_PREFIX}{name}").is_not_null().any().alias(name) for name in names)
        .collect(engine="streaming")
    )
    return {row["task"]: [n for n in names if row[n]] for row in filled.iter_rows(named=True)}


def other_names(old: Run, new: Run) -> list[OtherName]:
    """List the tasks whose main scores have other names, in the order of the tasks' names."""
    sides = [_names(run) for run in (old, new)]
    judged = [set(run.frame["task"].filter(run.frame["correct"].is_not_null()).unique()) for run in (old, new)]
    found = []
    for task, names in sorted(sides[0].items()):
        others = sides[1].get(task, [])
        if names and others and names[0] != others[0]:
            # Where both sides say right or wrong, the score only measures how much; else it decides.
            is_judged = task in judged[0] and task in judged[1]
            known = is_judged or (names[0] in others and others[0] in names)
            found.append(OtherName(task, names[0], others[0], decides=not known))
    return found


_ENOUGH_SCORES = 20
"""Items from which on it is odd that half of one run's grades are above all of the other's."""


@dataclass(frozen=True)
class OtherScale:
    """A task whose deciding score is on another scale in one run: its middle there is above all that the other has.

    Attributes:
        task: the task.
        score: the score's name.
        most: the highest value of the run on the small scale.
        median: of the run on the large scale, zeros aside: most answers may have none of either.
        has_zeros: whether there are zeros in that run.
        is_old: whether that is the old run.
    """

    task: str
    score: str
    most: float
    median: float
    has_zeros: bool
    is_old: bool


def other_scales(old: Run, new: Run) -> list[OtherScale]:
    """List the tasks whose deciding scores are on other scales: shares and percent, or 1 to 5 and 1 to 10."""
    names = [_names(run) for run in (old, new)]
    decided = {task: own[0] for task, own in names[0].items() if own and own[:1] == names[1].get(task, [])[:1]}
    sides = [_score_spreads(run, decided) for run in (old, new)]
    found = []
    for task, score in sorted(decided.items()):
        spreads = [side[task] for side in sides]
        if all(each.is_judged for each in spreads):
            continue  # right and wrong decide
        # Of grades a few may be so by chance; what is measured in parts (seconds, cents) may double by itself.
        are_grades = all(each.num >= _ENOUGH_SCORES and each.is_whole for each in spreads)
        for large, small, is_old in ((spreads[0], spreads[1], True), (spreads[1], spreads[0], False)):
            # From shares to percent a few items tell.
            is_apart = large.median > 1 if small.highest <= 1 else large.median > small.highest and are_grades
            if min(large.lowest, small.lowest) >= 0 and is_apart:
                found.append(OtherScale(task, score, small.highest, large.median, large.lowest == 0, is_old))
    return found


@dataclass(frozen=True)
class _Spread:
    """A task's deciding scores in one run; the median leaves zeros aside, and is 0 where there is nothing else."""

    is_judged: bool
    lowest: float
    highest: float
    median: float
    num: int
    is_whole: bool


def _score_spreads(run: Run, decided: Mapping[str, str]) -> dict[str, _Spread]:
    """Return how each task's deciding score spreads, by the task's name."""
    found: dict[str, _Spread] = {}
    for score in sorted(set(decided.values())):
        column = pl.col(f"{SCORE_PREFIX}{score}")
        of_score = run.frame.filter(pl.col("task").is_in([task for task in decided if decided[task] == score]))
        spreads = of_score.group_by("task").agg(
            is_judged=pl.col("correct").is_not_null().any(),
            lowest=column.min(),
            highest=column.max(),
            median=column.filter(column != 0).median().fill_null(0.0),
            num=column.count(),
            is_whole=(column == column.round()).all(),
        )
        found |= {task: _Spread(*values) for task, *values in spreads.iter_rows()}
    return found


def with_names_of(old: Run, new: Run, *, lower_is_better: Collection[str] = ()) -> Run:
    """Give the new run's main scores the names of the old run's, in the tasks where the names keep them apart.

    That the two measure the same is the user's word; a note of the run says which were taken for one.

    Args:
        old: the run of the old version.
        new: the run of the new version.
        lower_is_better: names of scores of which less is better, beside those that the runs name.

    Raises:
        JoinError: of one score more is better, of the other less.
    """
    apart = [each for each in other_names(old, new) if each.decides]
    frame = new.frame
    for each in apart:
        _check_direction(each, old, new, lower_is_better)
        column = f"{SCORE_PREFIX}{each.old}"
        kept = pl.col(column) if column in frame.columns else pl.lit(None, pl.Float64)
        here = pl.col("task") == each.task
        own = pl.col(f"{SCORE_PREFIX}{each.new}")
        frame = frame.with_columns(
            pl.when(here).then(own).otherwise(kept).alias(column),
            pl.when(~here).then(own).alias(own.meta.output_name()),
        )
    if not apart:
        return new
    told = [f"task {e.task}: its main score {e.new} is held against the old run's {e.old}" for e in apart]
    return replace(new, frame=frame, metadata={**new.metadata, "notes": [*(new.metadata.get("notes") or ()), *told]})


def _check_direction(each: OtherName, old: Run, new: Run, lower_is_better: Collection[str]) -> None:
    less = [
        name in lower_is_better or (run.metadata.get("higher_is_better") or {}).get(name) is False
        for name, run in ((each.old, old), (each.new, new))
    ]
    if less[0] != less[1]:
        words = ["less" if is_less else "more" for is_less in less]
        raise JoinError(
            f"task {each.task!r}: of {each.old} in {old.name} {words[0]} is better, of {each.new} in {new.name} "
            f"{words[1]}; expected scores that count in one direction: choose the same score with --metric"
        )
