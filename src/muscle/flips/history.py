"""Flips along a chain of versions: step by step, from the first to the last, and items that go to and fro.

All numbers are over the items that every run has, so that the steps add up: accuracy_last - accuracy_first is the sum
of the steps' PFR - NFR. A net that looks steady can hide items that break and come back with every release.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import polars as pl

from muscle.errors import ConfigError, JoinError
from muscle.flips.measuring.metrics import negative_flip_rate, positive_flip_rate
from muscle.flips.measuring.tally import Tally, quadrants_of, tally
from muscle.flips.options import DEFAULTS, CompareOptions
from muscle.flips.pairing.comparability import MAX_CHANGED, Difference, check_comparable
from muscle.flips.pairing.flip_sign import NEGATIVE_FLIP, POSITIVE_FLIP, Kind, with_flip
from muscle.flips.pairing.items import TaskItems
from muscle.flips.pairing.main_scores import with_names_of
from muscle.flips.pairing.match import with_one_task_name
from muscle.flips.pairing.one_file_twice import files_that_stand_twice
from muscle.flips.pairing.pair import Pair, pair_runs
from muscle.flips.result.history_report import (
    HISTORY_FORMAT,
    HistoryReport,
    HistoryStep,
    Pattern,
    RestlessItem,
    TaskHistory,
    UnfollowedTask,
)
from muscle.flips.result.warnings import remarks_on
from muscle.flips.statistics.multiplicity import holm
from muscle.foreign_text import beginning
from muscle.predictions.read import read_run
from muscle.predictions.run import Run, Source

MAX_PATTERNS = 100
MAX_ITEMS = 200
MAX_INPUT = 500
"""Characters of an item's prompt."""

RIGHT, WRONG = "R", "W"
BETTER, WORSE, EQUAL = "+", "-", "="

KINDS: dict[str, tuple[str, str]] = {
    "always_right": (r"^R+$", "right in every version"),
    "always_wrong": (r"^W+$", "wrong in every version"),
    "lost": (r"^R+W+$", "right, then wrong for good"),
    "gained": (r"^W+R+$", "wrong, then right for good"),
    "recovered": (r"^R+W+R+$", "right, wrong, right again"),
    "relapsed": (r"^W+R+W+$", "wrong, right, wrong again"),
}
"""What can become of an item, as a regular expression on its pattern and in words; the rest changed more often."""

TO_AND_FRO = "to_and_fro"
KIND_WORDS = {name: words for name, (_, words) in KINDS.items()} | {TO_AND_FRO: "changed three times or more"}


def history(
    runs: Sequence[Source], *, names: Sequence[str] | None = None, options: CompareOptions = DEFAULTS
) -> HistoryReport:
    """Follow every item along a chain of versions; arguments and errors are those of `muscle.history`."""
    if len(runs) < 2:
        raise ConfigError(f"history: expected two runs or more, found {len(runs)}")
    if names is not None and len(names) != len(runs):
        raise ConfigError(f"history: expected {len(runs)} names, one for each run, found {len(names)}")
    read = [read_run(source, format=options.format, columns=options.columns, hash_inputs=False) for source in runs]
    chain = _told_apart(with_one_task_name(read), names)
    differences = [check_comparable(one, other, allow=options.allow) for one, other in pairwise(chain)]
    # What a version between does not state, neighbours cannot differ in; the whole way is measured too.
    check_comparable(chain[0], chain[-1], allow=options.allow, max_changed=min(1.0, MAX_CHANGED * len(differences)))
    if "metric" in options.allow:
        turned = options.lower_is_better
        chain = [chain[0], *(with_names_of(chain[0], run, lower_is_better=turned) for run in chain[1:])]
    pairs = [pair_runs(one, other, options) for one, other in pairwise(chain)]
    return _history_report(chain, pairs, differences)


def _history_report(
    chain: Sequence[Run], pairs: Sequence[Pair], differences: Sequence[Sequence[Difference]]
) -> HistoryReport:
    tasks = {
        name: _task_history(name, chain, pairs) for name in pairs[0].tasks if all(name in pair.tasks for pair in pairs)
    }
    if not any(task.n for task in tasks.values()):
        reasons = "; ".join(
            f"task {name!r}: {task.why}" for name, task in tasks.items() if isinstance(task, UnfollowedTask)
        )
        why = reasons or "no task is in all of them"
        raise JoinError(f"no item can be followed along {', '.join(run.name for run in chain)}: {why}")
    steps = {f"{one.name} to {other.name}": pair for (one, other), pair in zip(pairwise(chain), pairs, strict=True)}
    quadrants = {
        step: [quadrants_of(items) for items in pair.tasks.values() if items.kind == "binary"]
        for step, pair in steps.items()
    }
    remarks = remarks_on(chain, steps, quadrants)
    return HistoryReport(
        format=HISTORY_FORMAT,
        muscle_version=importlib.metadata.version("muscle-llm"),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        runs=[run.name for run in chain],
        comparability=differences,
        tasks_left_out=_left_out(pairs, tasks),
        warnings=[*files_that_stand_twice({run.name: run for run in chain}), *remarks.warnings],
        readings=remarks.readings,
        missing=[pair.missing for pair in pairs],
        unread={run.name: run.unread for run in chain},
        tasks=tasks,
    )


def _left_out(pairs: Sequence[Pair], tasks: Collection[str]) -> list[str]:
    """Return the tasks that not all versions have."""
    return sorted({task for pair in pairs for task in (*pair.tasks, *pair.unseen_tasks)} - set(tasks))


def _told_apart(runs: Sequence[Run], names: Sequence[str] | None) -> list[Run]:
    """Give the runs their names; where two are the same, each gets its number."""
    given = list(names) if names is not None else [run.name for run in runs]
    told = [name if given.count(name) == 1 else f"{number} {name}" for number, name in enumerate(given, start=1)]
    return [replace(run, name=name) for name, run in zip(told, runs, strict=True)]


def _chained(name: str, pairs: Sequence[Pair]) -> pl.DataFrame:
    """Return a task's items that all runs have: `level0`, `level1`, ... and the row in the first run's frame.

    A pair's new row is the next pair's old row, so the chain is a join on row numbers.
    """
    whole: pl.DataFrame | None = None
    # Groups of one pair are enough: items that were asked several times, or what the user named.
    grouped = [number for number, pair in enumerate(pairs) if "cluster" in pair.tasks[name].frame.columns]
    for number, pair in enumerate(pairs):
        items = pair.tasks[name]
        levels = _levels(items).select(
            pair.joined.old_rows.gather(items.frame["pair"]).alias(f"row{number}"),
            pair.joined.new_rows.gather(items.frame["pair"]).alias(f"row{number + 1}"),
            pl.col("old").alias(f"level{number}"),
            pl.col("new").alias(f"level{number + 1}"),
            *([pl.col("cluster")] if grouped[:1] == [number] else []),
        )
        if whole is None:
            whole = levels
        else:
            # The level of the middle run is the same in both pairs.
            step = levels.drop(f"level{number}")
            whole = whole.join(step, on=f"row{number}", how="inner", maintain_order="left")
    assert whole is not None, "there are two runs at least"
    return whole


def _levels(items: TaskItems) -> pl.DataFrame:
    """Return correctness, or the score, of both versions."""
    names = ("correct_old", "correct_new") if items.kind == "binary" else ("score_old", "score_new")
    groups = ["cluster"] if "cluster" in items.frame.columns else []
    return items.frame.select(pl.col(names[0]).alias("old"), pl.col(names[1]).alias("new"), *groups)


def _step_items(task: TaskItems, chain: pl.DataFrame, one: int, other: int) -> TaskItems:
    """Return the items that all versions have, between two versions of the chain.

    Args:
        task: the task between the first two versions.
        chain: what `_chained` gives.
        one: number of the earlier version.
        other: number of the later one.
    """
    stem = "correct" if task.kind == "binary" else "score"
    groups = [(pl.col("cluster").rank("dense") - 1).alias("cluster")] if "cluster" in chain.columns else []
    frame = chain.select(
        pl.int_range(pl.len(), dtype=pl.UInt32).alias("pair"),
        pl.lit(None, pl.Boolean).alias("changed"),
        pl.col(f"level{one}").alias(f"{stem}_old"),
        pl.col(f"level{other}").alias(f"{stem}_new"),
        *groups,
    )
    frame = with_flip(frame, task.kind, epsilon=task.epsilon)
    return TaskItems(task.name, task.kind, None, frame, 0, epsilon=task.epsilon)


def _known_tally(items: TaskItems) -> Tally:
    found = tally(items)
    assert found is not None, "the chain has items"
    return found


def _step(found: Tally, old: str, new: str, *, holm_p: float | None = None) -> HistoryStep:
    quadrants = found.quadrants
    return HistoryStep(
        old=old,
        new=new,
        negative_flips=quadrants.negative_flips,
        positive_flips=quadrants.positive_flips,
        negative_flip_rate=negative_flip_rate(quadrants),
        positive_flip_rate=positive_flip_rate(quadrants),
        accuracy_difference=found.difference(),
        p=found.p_value(),
        holm_p=holm_p,
    )


def _task_history(name: str, runs: Sequence[Run], pairs: Sequence[Pair]) -> TaskHistory | UnfollowedTask:
    first = pairs[0].tasks[name]
    kind = first.kind
    if any(pair.tasks[name].kind != kind for pair in pairs):
        why = "some versions are judged right or wrong, others have only a score"
        return UnfollowedTask(0, first.frame.height, kind, why)
    chain = _chained(name, pairs)
    left_out = max(pair.tasks[name].frame.height for pair in pairs) - chain.height
    if chain.is_empty():
        return UnfollowedTask(0, left_out, kind, "no item is scored in all versions")
    last = len(runs) - 1
    steps = [_step_items(first, chain, one, one + 1) for one in range(last)]
    tallies = [_known_tally(items) for items in steps]
    adjusted = holm([found.p_value() for found in tallies])
    patterns = _item_ways(chain, steps)
    counted = patterns.value_counts(sort=True)
    broken = patterns.str.contains("RW" if kind == "binary" else WORSE, literal=True)
    repeats = runs[0].frame["repeat"].gather(chain["row0"])
    return TaskHistory(
        n=chain.height,
        left_out=left_out,
        kind=kind,
        unit="answers" if (repeats > 0).any() else "items",
        levels=[_mean_level(chain[f"level{number}"]) for number in range(last + 1)],
        steps=[
            _step(found, old.name, new.name, holm_p=p)
            for found, (old, new), p in zip(tallies, pairwise(runs), adjusted, strict=True)
        ],
        first_to_last=_step(_known_tally(_step_items(first, chain, 0, last)), runs[0].name, runs[last].name),
        patterns=_commonest(counted, chain.height),
        num_patterns=counted.height,
        kinds=_kinds(counted) if kind == "binary" else None,
        broke_somewhere=int(broken.sum()),
        items=_restless(chain, patterns, runs[0], kind),
    )


def _mean_level(levels: pl.Series) -> float:
    mean = levels.cast(pl.Float64).mean()
    assert isinstance(mean, float), "the chain has items"
    return mean


def _item_ways(chain: pl.DataFrame, steps: Sequence[TaskItems]) -> pl.Series:
    """Return each item's way along the chain as text: a letter a version, or, of a score, a sign a step."""
    if steps[0].kind == "binary":
        marks = [
            pl.when(pl.col(f"level{n}")).then(pl.lit(RIGHT)).otherwise(pl.lit(WRONG)) for n in range(len(steps) + 1)
        ]
        return chain.select(pl.concat_str(marks).alias("pattern")).to_series()
    signs = {NEGATIVE_FLIP: WORSE, 0: EQUAL, POSITIVE_FLIP: BETTER}
    flips = [items.frame["flip"].replace_strict(signs, return_dtype=pl.String) for items in steps]
    return pl.select(pl.concat_str(flips).alias("pattern")).to_series()


def _commonest(counted: pl.DataFrame, total: int) -> list[Pattern]:
    ordered = counted.sort(["count", "pattern"], descending=[True, False]).head(MAX_PATTERNS)
    return [Pattern(pattern, count, count / total) for pattern, count in ordered.iter_rows()]


def _kinds(counted: pl.DataFrame) -> dict[str, int]:
    """Count the items by what became of them."""
    found = dict.fromkeys(KIND_WORDS, 0)
    expression = pl.lit(TO_AND_FRO)
    for name, (pattern, _) in KINDS.items():
        expression = pl.when(pl.col("pattern").str.contains(pattern)).then(pl.lit(name)).otherwise(expression)
    sums = counted.group_by(expression.alias("kind")).agg(pl.col("count").sum())
    return found | {kind: int(count) for kind, count in sums.iter_rows()}


def _restless(chain: pl.DataFrame, patterns: pl.Series, first: Run, kind: Kind) -> list[RestlessItem]:
    """List the items that broke somewhere: those that changed most often first, then by pattern, task and id."""
    table = chain.select("row0").with_columns(pattern=patterns)
    if kind == "binary":
        changes = pl.col("pattern").str.count_matches("RW") + pl.col("pattern").str.count_matches("WR")
        broken = pl.col("pattern").str.contains("RW", literal=True)
    else:
        changes = pl.col("pattern").str.count_matches(r"\+") + pl.col("pattern").str.count_matches("-")
        broken = pl.col("pattern").str.contains(WORSE, literal=True)
    chosen = table.filter(broken).with_columns(changes=changes)
    ids = first.frame.select(pl.col("id", "input").gather(chosen["row0"]))
    ordered = chosen.with_columns(ids).sort(["changes", "pattern", "id"], descending=[True, False, False])
    return [
        RestlessItem(
            row["id"],
            row["pattern"],
            row["changes"],
            None if row["input"] is None else beginning(row["input"], MAX_INPUT),
        )
        for row in ordered.head(MAX_ITEMS).iter_rows(named=True)
    ]
