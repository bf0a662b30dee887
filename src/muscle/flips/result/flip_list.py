"""The list of flipped items that a report shows: inputs, references and the answers of all versions.

A report stays readable and small: beyond a limit each kind of flip is sampled, negative flips first, and very long
texts are cut. The counts in the report are always of all items. An item that was asked several times stands there
once, with all its answers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from muscle.flips.noise.margins import lead
from muscle.flips.options import MAX_FLIPS
from muscle.flips.pairing.flip_sign import NEGATIVE_FLIP, POSITIVE_FLIP
from muscle.flips.pairing.items import TaskItems
from muscle.flips.result.flip import Flip, FlipKind, ScoredAnswer, Versions
from muscle.flips.result.listed_repeats import ListedTask, once_an_item, pass_rates, with_answers, with_items
from muscle.flips.result.report import FlipCounts
from muscle.foreign_text import clip_kept
from muscle.predictions.run import SCORE_PREFIX, SLICE_PREFIX

MAX_CHARACTERS = 20_000
"""Longest text of an input or answer in a report; a runaway generation must not fill it."""

KINDS: tuple[FlipKind, ...] = ("negative_flip", "positive_flip", "other_wrong")
# Share of the list that a kind may take while others still have flips to show.
_QUOTA = {"negative_flip": 0.6, "positive_flip": 0.25, "other_wrong": 0.15}


@dataclass(frozen=True)
class FlipList:
    """Flips for the report.

    Attributes:
        flips: the entries shown, by kind, the largest first.
        totals: how many there are of each kind.
    """

    flips: list[Flip]
    totals: FlipCounts


def classified(task: ListedTask) -> pl.DataFrame:
    """Mark each pair of answers with its kind of flip, and with what the candidate made of it.

    Returns:
        A row for each of the task's: `pair`, `pair_candidate`, `fixed`, `introduced`, `within`, `kind` (null where
        nothing flipped) and `size`, the fall of the score.
    """
    lost, gained = pl.col("flip") == NEGATIVE_FLIP, pl.col("flip") == POSITIVE_FLIP
    other = pl.lit(False)
    if task.items.kind == "binary":
        other = ~pl.col("correct_old") & ~pl.col("correct_new") & pl.col("changed").fill_null(False)
    fixed: pl.Expr = pl.lit(None, pl.Boolean)
    introduced: pl.Expr = pl.lit(None, pl.Boolean)
    candidate: pl.Expr = pl.lit(None, pl.UInt32).alias("pair_candidate")
    if task.old_vs_candidate is not None:
        candidate_lost = pl.col("flip_candidate") == NEGATIVE_FLIP
        fixed, introduced = pl.when(lost).then(~candidate_lost), candidate_lost & ~lost
        candidate = pl.col("pair_candidate")
    kind = pl.when(lost).then(pl.lit(KINDS[0])).when(gained).then(pl.lit(KINDS[1]))
    kind = kind.when(other | introduced.fill_null(False)).then(pl.lit(KINDS[2]))
    size = pl.col("score_old") - pl.col("score_new")
    rows = task.rows.with_columns(within=pl.lit(None, pl.Boolean))
    within = task.reality.within if task.reality else None
    if within is not None:
        told = pl.DataFrame({"pair": task.items.frame["pair"], "within": within})
        rows = task.rows.join(told, on="pair", how="left", maintain_order="left")
    return rows.select(
        "pair",
        candidate,
        fixed.alias("fixed"),
        introduced.alias("introduced"),
        "within",
        kind=kind,
        size=size,
    )


def _flipped(task: ListedTask) -> pl.DataFrame:
    """Return what belongs in the list: a row an item, or a pair of answers where each item was asked once."""
    marked = classified(task)
    if task.reality is not None and task.reality.repeats is not None:
        return once_an_item(marked, task.old_vs_new, task.reality)
    return marked.drop_nulls("kind")


def _budget(totals: Mapping[str, int], limit: int) -> dict[str, int]:
    """Share the list's places among the kinds; what one does not need goes to the others, negative flips first."""
    places: dict[str, int] = {kind: min(totals.get(kind, 0), int(limit * _QUOTA[kind])) for kind in KINDS}
    for kind in KINDS:
        places[kind] = min(totals.get(kind, 0), places[kind] + limit - sum(places.values()))
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


def _clip(text: str | None) -> str | None:
    return None if text is None else clip_kept(text, MAX_CHARACTERS)


def _clip_each(texts: Sequence[str] | None) -> list[str] | None:
    return None if texts is None else [_clip(text) or "" for text in texts]


def _answer(row: Mapping[str, Any], items: TaskItems) -> ScoredAnswer:
    value = row.get(SCORE_PREFIX + items.score) if items.score else None
    # JSON has no infinity, and an option may be impossible.
    logprobs = row["logprobs"] and [v if v is None or math.isfinite(v) else None for v in row["logprobs"]]
    return ScoredAnswer(
        output=_clip(row["output"]),
        choice=row["choice"],
        correct=row["correct"],
        score=None if value is None else items.sign * value,
        logprobs=logprobs,
    )


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
    wrong = [value for value, text in zip(logprobs, choices, strict=True) if text not in (row["reference"] or ())]
    return max(right) - max(wrong) if right and wrong else None


def _size(chosen: Mapping[str, Any], old: Mapping[str, Any], new: Mapping[str, Any], kind: str) -> float | None:
    """Return how much was lost: of the margin on a choice task, else of the main score."""
    if kind == "binary":
        margins = margin(old), margin(new)
        if margins[0] is not None and margins[1] is not None:
            return margins[0] - margins[1]
    size = chosen["size"]
    return None if size is None else float(size)


def _entry(task: ListedTask, chosen: Mapping[str, Any]) -> Flip:
    old = task.old_vs_new.old.row(chosen["pair"], named=True)
    new = task.old_vs_new.new.row(chosen["pair"], named=True)
    candidate = None
    if task.old_vs_candidate is not None and chosen["pair_candidate"] is not None:
        candidate = task.old_vs_candidate.new.row(chosen["pair_candidate"], named=True)
    shared = {name: new[name] if old[name] is None else old[name] for name in ("input", "choices", "reference")}
    rates = pass_rates(task.reality, task.candidate, chosen)
    size = _size(chosen, old, new, task.items.kind)
    if size is None and rates is not None and rates.rates.old is not None and rates.rates.new is not None:
        size = rates.rates.old - rates.rates.new
    leads = Versions(lead(old), lead(new), lead(candidate))
    return Flip(
        task=task.items.name,
        id=old["id"],
        kind=chosen["kind"],
        fixed=chosen["fixed"],
        introduced=chosen["introduced"],
        input=_clip(shared["input"]),
        choices=_clip_each(shared["choices"]),
        reference=_clip_each(shared["reference"]),
        old=_answer(old, task.items),
        new=_answer(new, task.items),
        candidate=None if candidate is None else _answer(candidate, task.items),
        size=size,
        slices=_slices(task, (new, old), chosen["place"]),
        margin=leads if leads.old is not None or leads.new is not None else None,
        within_noise=chosen["within"],
        cause=task.causes.of(chosen["pair"]) if task.causes else None,
        verdict=rates.verdict if rates else None,
        p_value=rates.p_value if rates else None,
        pass_rate=rates.rates if rates else None,
        repeats=None,
    )


def _slices(task: ListedTask, rows: Sequence[Mapping[str, Any]], place: int) -> dict[str, str]:
    """Return the slices that an item is in: those of its records, then those that the task was cut into."""
    found = {
        name.removeprefix(SLICE_PREFIX): value
        for row in rows
        for name, value in row.items()
        if name.startswith(SLICE_PREFIX) and value is not None
    }
    values = {cut.by.name: cut.values[place] for cut in task.cuts if cut.skipped is None}
    return found | {name: value for name, value in values.items() if value is not None}


def _ranked(flips: Sequence[Flip]) -> list[Flip]:
    """Order by kind, then by how much was lost (or, of gains, gained), then by task and id."""

    def rank(flip: Flip) -> tuple[int, float, str, str]:
        size = flip.size if flip.size is not None else 0.0
        weight = size if flip.kind == KINDS[0] else abs(size)
        return KINDS.index(flip.kind), -weight, flip.task, flip.id

    return sorted(flips, key=rank)


def list_flips(tasks: Sequence[ListedTask], *, limit: int = MAX_FLIPS, seed: int = 0) -> FlipList:
    """List the flipped items of all tasks.

    Args:
        tasks: the tasks, in the report's order.
        limit: how many entries the list may have.
        seed: of the sampling beyond the limit.
    """
    parts = []
    for number, task in enumerate(tasks):
        found = _flipped(task)
        keys = task.old_vs_new.old.select("id", "filter", "repeat")[found["pair"]]
        columns = pl.concat([with_items(found, task), keys], how="horizontal")
        place = task.items.frame["pair"].search_sorted(found["pair"])
        parts.append(columns.with_columns(task=pl.lit(number), place=place))
    everything = pl.concat(parts) if parts else pl.DataFrame(schema={"kind": pl.String})
    counts = dict(everything.group_by("kind").len().iter_rows())
    totals = FlipCounts(*(int(counts.get(kind, 0)) for kind in KINDS))
    if not parts:
        return FlipList([], totals)
    chosen = list(_chosen(everything, _budget(counts, limit), seed).iter_rows(named=True))
    entries = [_entry(tasks[row["task"]], row) for row in chosen]
    return FlipList(_ranked(with_answers(entries, chosen, tasks)), totals)
