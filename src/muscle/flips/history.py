"""Flips along a chain of versions: step by step, from the first to the last, and items that go to and fro.

All numbers are over the items that every run has, so that the steps add up: accuracy_last - accuracy_first is the sum of
the steps' PFR - NFR. A net that looks steady can hide items that break and come back with every release.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import polars as pl

from muscle.errors import ConfigError, JoinError
from muscle.flips.measuring.metrics import negative_flip_rate, positive_flip_rate
from muscle.flips.measuring.tally import Tally, tally
from muscle.flips.options import Options
from muscle.flips.pairing.comparability import allows_changed, check_comparable
from muscle.flips.pairing.items import Kind, TaskItems
from muscle.flips.pairing.main_scores import with_names_of
from muscle.flips.pairing.match import with_one_task_name
from muscle.flips.pairing.pair import Pair, pair_runs
from muscle.flips.result.warnings import warnings_of
from muscle.flips.statistics.multiplicity import holm
from muscle.predictions.read import read_run
from muscle.predictions.run import Run

FORMAT = "muscle-history/1"
MAX_PATTERNS = 100
MAX_ITEMS = 200

Json = dict[str, Any]

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
"""What can become of an item, as a regular expression on its pattern and in words; the rest went to and fro more often."""

TO_AND_FRO = "to_and_fro"
KIND_WORDS = {name: words for name, (_, words) in KINDS.items()} | {TO_AND_FRO: "changed three times or more"}


@dataclass(frozen=True)
class History:
    """A chain of versions.

    Attributes:
        report: the result object: plain dicts, lists, text and finite numbers.
    """

    report: Json

    def to_json(self) -> Json:
        """Return the result object."""
        return self.report


def history(
    runs: Sequence[Any],
    *,
    names: Sequence[str] | None = None,
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
    allow: Sequence[str] = (),
    **options: Any,
) -> History:
    """Follow every item along a chain of versions.

    Args:
        runs: the versions in their order, two or more: paths, tables or `Run`s.
        names: what reports call them; None takes the files' names.
        format: of all files; None finds it by content.
        columns: our field names to the tables'.
        allow: what may differ between neighbours beside the model (`muscle.flips.pairing.comparability.ALLOWANCES`).
        **options: of `muscle.compare`: on, max_unpaired, epsilon, cluster, lower_is_better.

    Returns:
        `tasks_left_out`, those that not all runs have; `warnings`, what was not read or did not pair, with its numbers in `missing`
        (a step each) and `unread`; and for each task: `n` (items that all runs have, each repeat counted), their `unit` and `left_out`; `levels`, each version's accuracy or mean score;
        `steps` and `first_to_last`, each with flips, NFR, PFR and difference with 95 % intervals, the two-sided `p`, and
        over the steps `holm_p`; `patterns` of an item along the chain with their counts (R right, W wrong; of a score
        + - = a step); `kinds` (counts by what became of the items); `broke_somewhere`, items right in one version and
        wrong in the next; and `items` that did not stay, the most restless first.

    Raises:
        ConfigError: fewer than two runs, or as many names as runs are not given.
        DataError: a run cannot be read.
        JoinError: neighbours do not belong together, or no item is in all runs.
    """
    if len(runs) < 2:
        raise ConfigError(f"history: expected two runs or more, found {len(runs)}")
    if names is not None and len(names) != len(runs):
        raise ConfigError(f"history: expected {len(runs)} names, one for each run, found {len(names)}")
    read = [read_run(source, format=format, columns=columns, hash_inputs=False) for source in runs]
    chain = _named(with_one_task_name(read), names)
    differences = [check_comparable(one, other, allow=allow) for one, other in pairwise(chain)]
    if "metric" in allow:
        turned = options.get("lower_is_better", ())
        chain = [chain[0], *(with_names_of(chain[0], run, lower_is_better=turned) for run in chain[1:])]
    settings = Options(allow_changed=allows_changed(allow), **options)
    pairs = [pair_runs(one, other, settings) for one, other in pairwise(chain)]
    tasks = {
        name: _task_history(name, chain, pairs, settings.epsilon)
        for name in pairs[0].tasks
        if all(name in pair.tasks for pair in pairs)
    }
    if not any(task["n"] for task in tasks.values()):
        raise JoinError(f"no item is scored in all of {', '.join(run.name for run in chain)}")
    return History(
        {
            "format": FORMAT,
            "muscle_version": importlib.metadata.version("muscle-llm"),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "runs": [run.name for run in chain],
            "comparability": [[d.to_json() for d in found] for found in differences],
            "tasks_left_out": _left_out(pairs, tasks),
            "warnings": warnings_of(chain, _by_step(chain, pairs)),
            "missing": [pair.missing.to_json() for pair in pairs],
            "unread": {run.name: [asdict(each) for each in run.unread] for run in chain},
            "tasks": tasks,
        }
    )


def _left_out(pairs: Sequence[Pair], tasks: Collection[str]) -> list[str]:
    """Return the tasks that not all versions have."""
    return sorted({task for pair in pairs for task in (*pair.tasks, *pair.unseen_tasks)} - set(tasks))


def _by_step(chain: Sequence[Run], pairs: Sequence[Pair]) -> dict[str, Pair]:
    return {
        f"{one.name} to {other.name}": pair for (one, other), pair in zip(pairwise(chain), pairs, strict=True)
    }


def _named(runs: Sequence[Run], names: Sequence[str] | None) -> list[Run]:
    """Give the runs their names; where two are the same, each gets its number."""
    given = list(names) if names is not None else [run.name for run in runs]
    told = [
        name if given.count(name) == 1 else f"{number} {name}" for number, name in enumerate(given, start=1)
    ]
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


def _step_tally(
    task: str, kind: Kind, chain: pl.DataFrame, one: int, other: int, epsilon: float
) -> Tally | None:
    """Sum up the flips between two versions of the chain, over the items that all versions have."""
    stem = "correct" if kind == "binary" else "score"
    groups = [(pl.col("cluster").rank("dense") - 1).alias("cluster")] if "cluster" in chain.columns else []
    frame = chain.select(
        pl.int_range(pl.len(), dtype=pl.UInt32).alias("pair"),
        pl.lit(None, pl.Boolean).alias("changed"),
        pl.col(f"level{one}").alias(f"{stem}_old"),
        pl.col(f"level{other}").alias(f"{stem}_new"),
        *groups,
    )
    return tally(TaskItems(task, kind, None, frame, 0), epsilon=epsilon)


def _step(found: Tally, names: Sequence[str], one: int, other: int) -> Json:
    quadrants = found.quadrants
    return {
        "from": names[one],
        "to": names[other],
        "negative_flips": quadrants.negative_flips,
        "positive_flips": quadrants.positive_flips,
        "negative_flip_rate": negative_flip_rate(quadrants).to_json(),
        "positive_flip_rate": positive_flip_rate(quadrants).to_json(),
        "accuracy_difference": found.difference().to_json(),
        "p": found.p_value(),
    }


def _task_history(name: str, runs: Sequence[Run], pairs: Sequence[Pair], epsilon: float) -> Json:
    """Return one task's part of the report."""
    kind = pairs[0].tasks[name].kind
    if any(pair.tasks[name].kind != kind for pair in pairs):
        why = "some versions are judged right or wrong, others have only a score"
        return {"n": 0, "left_out": pairs[0].tasks[name].frame.height, "kind": kind, "why": why}
    chain = _chained(name, pairs)
    names, last = [run.name for run in runs], len(runs) - 1
    most = max(pair.tasks[name].frame.height for pair in pairs)
    report: Json = {"n": chain.height, "left_out": most - chain.height, "kind": kind}
    if chain.is_empty():
        return report | {"why": "no item is scored in all versions"}
    tallies = [_step_tally(name, kind, chain, n, n + 1, epsilon) for n in range(last)]
    ends = _step_tally(name, kind, chain, 0, last, epsilon)
    assert ends is not None and all(tallies), "the chain has items"
    steps = [_step(found, names, n, n + 1) for n, found in enumerate(tallies) if found is not None]
    for step, p in zip(steps, holm([step["p"] for step in steps]), strict=True):
        step["holm_p"] = p
    patterns = _patterns(chain, last, kind, epsilon)
    counted = patterns.value_counts(sort=True)
    repeats = runs[0].frame["repeat"].gather(chain["row0"])
    return report | {
        "unit": "answers" if (repeats > 0).any() else "items",
        "levels": [chain[f"level{n}"].cast(pl.Float64).mean() for n in range(last + 1)],
        "steps": steps,
        "first_to_last": _step(ends, names, 0, last),
        "patterns": _pattern_rows(counted, chain.height),
        "num_patterns": counted.height,
        "kinds": _kinds(counted) if kind == "binary" else None,
        "broke_somewhere": int(
            patterns.str.contains("RW" if kind == "binary" else WORSE, literal=True).sum()
        ),
        "items": _restless(chain, patterns, runs[0], kind),
    }


def _patterns(chain: pl.DataFrame, last: int, kind: Kind, epsilon: float) -> pl.Series:
    """Return each item's way along the chain as text: a letter a version, or, of a score, a sign a step."""
    if kind == "binary":
        marks = [
            pl.when(pl.col(f"level{n}")).then(pl.lit(RIGHT)).otherwise(pl.lit(WRONG)) for n in range(last + 1)
        ]
    else:
        moved = [pl.col(f"level{n + 1}") - pl.col(f"level{n}") for n in range(last)]
        marks = [
            pl.when(d > epsilon)
            .then(pl.lit(BETTER))
            .when(d < -epsilon)
            .then(pl.lit(WORSE))
            .otherwise(pl.lit(EQUAL))
            for d in moved
        ]
    return chain.select(pl.concat_str(marks).alias("pattern")).to_series()


def _pattern_rows(counted: pl.DataFrame, total: int) -> list[Json]:
    ordered = counted.sort(["count", "pattern"], descending=[True, False]).head(MAX_PATTERNS)
    return [
        {"pattern": pattern, "count": count, "share": count / total} for pattern, count in ordered.iter_rows()
    ]


def _kinds(counted: pl.DataFrame) -> dict[str, int]:
    """Count the items by what became of them."""
    found = dict.fromkeys(KIND_WORDS, 0)
    expression = pl.lit(TO_AND_FRO)
    for name, (pattern, _) in KINDS.items():
        expression = pl.when(pl.col("pattern").str.contains(pattern)).then(pl.lit(name)).otherwise(expression)
    sums = counted.group_by(expression.alias("kind")).agg(pl.col("count").sum())
    return found | {kind: int(count) for kind, count in sums.iter_rows()}


def _restless(chain: pl.DataFrame, patterns: pl.Series, first: Run, kind: Kind) -> list[Json]:
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
        {"id": row["id"], "pattern": row["pattern"], "changes": row["changes"], "input": _clip(row["input"])}
        for row in ordered.head(MAX_ITEMS).iter_rows(named=True)
    ]


def _clip(text: str | None, limit: int = 500) -> str | None:
    return text if text is None or len(text) <= limit else f"{text[:limit]}…"
