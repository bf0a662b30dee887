"""The list of flipped items that a report shows: inputs, references and the answers of all versions.

A report stays readable and small: beyond a limit each kind of flip is sampled, negative flips first, and very long
texts are cut. The counts in the report are always of all items. An item that was asked several times stands there once, with
all its answers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from muscle.flips.explaining.causes import Causes
from muscle.flips.noise.margins import lead
from muscle.flips.noise.real_or_noise import Reality
from muscle.flips.options import MAX_FLIPS
from muscle.flips.pairing.items import TaskItems
from muscle.flips.pairing.join import Joined
from muscle.flips.result.listed_repeats import NO_REPEATS, add_answers, once_an_item, pass_rates, with_items
from muscle.flips.slices.cuts import Cut
from muscle.predictions.run import SCORE_PREFIX, SLICE_PREFIX

MAX_CHARACTERS = 20_000
"""Longest text of an input or answer in a report; a runaway generation must not fill it."""

KINDS = ("negative_flip", "positive_flip", "other_wrong")
# Share of the list that a kind may take while others still have flips to show.
_QUOTA = {"negative_flip": 0.6, "positive_flip": 0.25, "other_wrong": 0.15}


@dataclass(frozen=True)
class ListedTask:
    """What the list needs of a task.

    Attributes:
        items: the task's items, old against new.
        rows: their rows; with a candidate as `shared_items(..., how="left")` gives them.
        old_vs_new: the join of old and new.
        old_vs_candidate: the join of old and candidate; None without one.
        reality: what repeats and a second run say of old against new.
        candidate: the same of old against the candidate.
        causes: why items flipped, old against new.
        cuts: how the task was cut into slices, old against new.
    """

    items: TaskItems
    rows: pl.DataFrame
    old_vs_new: Joined
    old_vs_candidate: Joined | None
    reality: Reality | None = None
    candidate: Reality | None = None
    causes: Causes | None = None
    cuts: Sequence[Cut] = ()


@dataclass(frozen=True)
class FlipList:
    """Flips for the report.

    Attributes:
        flips: the entries shown, by kind, the largest first.
        totals: how many there are of each kind.
    """

    flips: list[dict[str, Any]]
    totals: dict[str, int]


def _classified(task: ListedTask, epsilon: float) -> pl.DataFrame:
    """Mark each item that belongs in the list with its kind, and with what the candidate made of it."""
    if task.items.kind == "binary":
        lost = pl.col("correct_old") & ~pl.col("correct_new")
        gained = ~pl.col("correct_old") & pl.col("correct_new")
        other = ~pl.col("correct_old") & ~pl.col("correct_new") & pl.col("changed").fill_null(False)
        candidate_lost = pl.col("correct_old") & ~pl.col("correct_candidate")
        size = pl.col("score_old") - pl.col("score_new")
    else:
        size = pl.col("score_old") - pl.col("score_new")
        lost, gained, other = size > epsilon, size < -epsilon, pl.lit(False)
        candidate_lost = pl.col("score_old") - pl.col("score_candidate") > epsilon
    rows = task.rows
    if task.old_vs_candidate is None:
        rows = rows.with_columns(fixed=pl.lit(None, pl.Boolean), introduced=pl.lit(None, pl.Boolean))
    else:
        rows = rows.with_columns(fixed=pl.when(lost).then(~candidate_lost), introduced=candidate_lost & ~lost)
    newly_wrong = pl.col("introduced").fill_null(False)
    kind = pl.when(lost).then(pl.lit(KINDS[0])).when(gained).then(pl.lit(KINDS[1]))
    kind = kind.when(other | newly_wrong).then(pl.lit(KINDS[2]))
    keep = ["pair", "fixed", "introduced", *(["pair_candidate"] if task.old_vs_candidate else [])]
    within = task.reality.within if task.reality else None
    rows = rows.with_columns(within=pl.lit(None, pl.Boolean))
    if within is not None:
        told = pl.DataFrame({"pair": task.items.frame["pair"], "within": within})
        rows = rows.drop("within").join(told, on="pair", how="left", maintain_order="left")
    marked = rows.select(*keep, "within", kind=kind, size=size)
    if task.reality is not None and task.reality.repeats is not None:
        return once_an_item(marked, task.old_vs_new, task.reality)
    return marked.drop_nulls("kind")


def _budget(totals: Mapping[str, int], limit: int) -> dict[str, int]:
    """Share the list's places among the kinds; what one does not need goes to the others, negative flips first."""
    places = {kind: min(totals[kind], int(limit * _QUOTA[kind])) for kind in KINDS}
    for kind in KINDS:
        places[kind] = min(totals[kind], places[kind] + limit - sum(places.values()))
    return places


def _chosen(candidates: pl.DataFrame, places: Mapping[str, int], seed: int) -> pl.DataFrame:
    """Take a seeded sample of each kind that does not depend on the order of rows."""
    parts = []
    for number, kind in enumerate(KINDS):
        part = candidates.filter(pl.col("kind") == kind)
        if part.height > places[kind]:
            part = part.sort("task", "id", "filter", "repeat", "size")
            picked = np.random.default_rng([seed, number]).choice(part.height, places[kind], replace=False)
            part = part[np.sort(picked)]
        parts.append(part)
    return pl.concat(parts)


def _clip(value: Any) -> Any:
    if isinstance(value, str) and len(value) > MAX_CHARACTERS:
        return f"{value[:MAX_CHARACTERS]} … [{len(value) - MAX_CHARACTERS} more characters]"
    return [_clip(entry) for entry in value] if isinstance(value, list) else value


def _answer(row: Mapping[str, Any] | None, items: TaskItems) -> dict[str, Any] | None:
    if row is None:
        return None
    value = row.get(SCORE_PREFIX + items.score) if items.score else None
    answer = {name: _clip(row[name]) for name in ("output", "choice", "correct")}
    # JSON has no infinity, and an option may be impossible.
    logprobs = row["logprobs"] and [v if v is None or math.isfinite(v) else None for v in row["logprobs"]]
    return {**answer, "score": None if value is None else items.sign * value, "logprobs": logprobs}


def margin(row: Mapping[str, Any]) -> float | None:
    """Return by how much the right option's log-likelihood leads the best wrong one; None where not known.

    Args:
        row: a record with `logprobs`, `choices` and `reference`.
    """
    logprobs, choices = row["logprobs"], row["choices"]
    if not logprobs or not choices or len(logprobs) != len(choices):
        return None
    if not all(value is not None and math.isfinite(value) for value in logprobs):
        return None
    right = [value for value, text in zip(logprobs, choices, strict=True) if text in (row["reference"] or ())]
    wrong = [
        value for value, text in zip(logprobs, choices, strict=True) if text not in (row["reference"] or ())
    ]
    return max(right) - max(wrong) if right and wrong else None


def _size(
    chosen: Mapping[str, Any], old: Mapping[str, Any], new: Mapping[str, Any], kind: str
) -> float | None:
    """Return how much was lost: of the margin on a choice task, else of the main score."""
    if kind == "binary":
        margins = margin(old), margin(new)
        if margins[0] is not None and margins[1] is not None:
            return margins[0] - margins[1]
    size = chosen["size"]
    return None if size is None else float(size)


def _entry(task: ListedTask, chosen: Mapping[str, Any]) -> dict[str, Any]:
    old = task.old_vs_new.old.row(chosen["pair"], named=True)
    new = task.old_vs_new.new.row(chosen["pair"], named=True)
    candidate = None
    if task.old_vs_candidate is not None and chosen["pair_candidate"] is not None:
        candidate = task.old_vs_candidate.new.row(chosen["pair_candidate"], named=True)
    shared = {
        name: _clip(old[name] if old[name] is not None else new[name])
        for name in ("input", "choices", "reference")
    }
    rates = pass_rates(task.reality, task.candidate, chosen)
    size = _size(chosen, old, new, task.items.kind)
    if size is None and rates is not None and rates["pass_rate"]["new"] is not None:
        size = rates["pass_rate"]["old"] - rates["pass_rate"]["new"]
    leads = {side: lead(row) for side, row in (("old", old), ("new", new), ("candidate", candidate))}
    return {
        "task": task.items.name,
        "id": old["id"],
        "kind": chosen["kind"],
        "fixed": chosen["fixed"],
        "introduced": chosen["introduced"],
        **shared,
        "old": _answer(old, task.items),
        "new": _answer(new, task.items),
        "candidate": _answer(candidate, task.items),
        "size": size,
        "slices": _slices(task, (new, old), chosen["pair"]),
        "margin": leads if leads["old"] is not None or leads["new"] is not None else None,
        "within_noise": chosen["within"],
        "cause": task.causes.of(chosen["pair"]) if task.causes else None,
        **(rates or NO_REPEATS),
    }


def _slices(task: ListedTask, rows: Sequence[Mapping[str, Any]], pair: int) -> dict[str, str]:
    """Return the slices that an item is in: those of its records, then those that the task was cut into."""
    found = {
        name.removeprefix(SLICE_PREFIX): value
        for row in rows
        for name, value in row.items()
        if name.startswith(SLICE_PREFIX) and value is not None
    }
    place = int(task.items.frame["pair"].search_sorted(pair))
    values = {cut.by.name: cut.values[place] for cut in task.cuts if cut.skipped is None}
    return found | {name: value for name, value in values.items() if value is not None}


def _ranked(flips: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Order by kind, then by how much was lost (or, of gains, gained), then by task and id."""

    def rank(flip: dict[str, Any]) -> tuple[Any, ...]:
        size = flip["size"] if flip["size"] is not None else 0.0
        weight = size if flip["kind"] == KINDS[0] else abs(size)
        return KINDS.index(flip["kind"]), -weight, flip["task"], flip["id"]

    return sorted(flips, key=rank)


def list_flips(
    tasks: Sequence[ListedTask], *, limit: int = MAX_FLIPS, epsilon: float = 0.0, seed: int = 0
) -> FlipList:
    """List the flipped items of all tasks.

    Args:
        tasks: the tasks, in the report's order.
        limit: how many entries the list may have.
        epsilon: dead band of a continuous score.
        seed: of the sampling beyond the limit.
    """
    parts = []
    for number, task in enumerate(tasks):
        found = _classified(task, epsilon)
        if task.old_vs_candidate is None:
            found = found.with_columns(pair_candidate=pl.lit(None, pl.UInt32))
        keys = task.old_vs_new.old.select("id", "filter", "repeat")[found["pair"]]
        found = with_items(found, task)
        columns = [
            "item",
            "item_candidate",
            "pair",
            "pair_candidate",
            "kind",
            "fixed",
            "introduced",
            "size",
            "within",
        ]
        parts.append(
            pl.concat([found.select(columns), keys], how="horizontal").with_columns(task=pl.lit(number))
        )
    everything = pl.concat(parts) if parts else pl.DataFrame(schema={"kind": pl.String})
    counts = dict(everything.group_by("kind").len().iter_rows())
    totals = {kind: int(counts.get(kind, 0)) for kind in KINDS}
    if not parts:
        return FlipList([], totals)
    chosen = _chosen(everything, _budget(totals, limit), seed)
    entries = [_entry(tasks[row["task"]], row) for row in chosen.iter_rows(named=True)]
    add_answers(entries, list(chosen.iter_rows(named=True)), tasks)
    return FlipList(_ranked(entries), totals)
