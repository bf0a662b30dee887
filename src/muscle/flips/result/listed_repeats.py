"""What the list of flips shows of items that were asked several times: an entry an item, its verdict and answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from muscle.flips.explaining.causes import Causes
from muscle.flips.noise.item_verdicts import VERDICTS
from muscle.flips.noise.real_or_noise import Reality
from muscle.flips.pairing.items import TaskItems
from muscle.flips.pairing.join import Joined
from muscle.flips.result.flip import Answer, Flip, RepeatedAnswers, Versions
from muscle.flips.slices.cuts import Cut
from muscle.foreign_text import clip_kept
from muscle.predictions.run import SCORE_PREFIX

MAX_ANSWERS = 50
"""Answers of an item and side that the list shows; the pass rate is of all."""
MAX_TEXT = 20_000_000
"""Characters that all repeated answers in the list may take together."""

_REAL = {"regressed": "negative_flip", "improved": "positive_flip"}


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
class ItemRates:
    """What all answers to an item say.

    Attributes:
        verdict: on the item; None where a side was asked once.
        p_value: of that.
        rates: pass rates, or mean scores.
    """

    verdict: str | None
    p_value: float | None
    rates: Versions


def once_an_item(marked: pl.DataFrame, joined: Joined, reality: Reality) -> pl.DataFrame:
    """Reduce pairs of answers to items: of the kind of the item's verdict where that is a change, else of most pairs.

    Args:
        marked: one row a pair of answers: `pair`, `kind` (null where nothing flipped) and what the list needs.
        joined: the join of old and new.
        reality: what repeats say of the task.

    Returns:
        One row an item: its first pair of that kind, or its first pair.
    """
    repeats, judged = reality.repeats, reality.verdicts
    if repeats is None or joined.answers is None:
        return marked.drop_nulls("kind")
    item = joined.answers.item.gather(marked["pair"])
    rows = marked.with_columns(item=item).with_row_index("place")
    counted = rows.drop_nulls("kind").group_by("item", "kind").len()
    # Of kinds that are equally frequent the negative flip comes first in the alphabet.
    shown = (
        counted.sort(pl.col("len"), "kind", descending=[True, False])
        .unique("item", keep="first")
        .select("item", shown="kind")
    )
    if judged is not None:
        words = pl.Series([_REAL.get(VERDICTS[code]) for code in judged.codes], dtype=pl.String)
        real = pl.DataFrame({"item": repeats.number, "real": words}).with_columns(pl.col("item").cast(item.dtype))
        shown = real.join(shown, on="item", how="full", coalesce=True).select(
            "item", shown=pl.coalesce("real", "shown")
        )
    rows = rows.join(shown.drop_nulls("shown"), on="item", how="inner")
    rows = rows.with_columns(fits=(pl.col("kind") == pl.col("shown")).fill_null(False))
    first = rows.sort("fits", "place", descending=[True, False]).unique("item", keep="first").sort("place")
    return first.with_columns(kind=pl.col("shown")).select(marked.columns)


def pass_rates(reality: Reality | None, candidate: Reality | None, chosen: Mapping[str, Any]) -> ItemRates | None:
    """Return an entry's verdict, p-value and pass rates (mean scores); None where its item was asked once.

    Args:
        reality: what repeats say of old against new.
        candidate: the same of old against the candidate.
        chosen: the entry's row, with `item` and `item_candidate`.
    """
    place = _place(reality, chosen["item"])
    if reality is None or reality.repeats is None or place is None:
        return None
    repeats, judged = reality.repeats, reality.verdicts
    other = _place(candidate, chosen["item_candidate"])
    third = None
    if other is not None and candidate is not None and candidate.repeats is not None:
        third = _known(candidate.repeats.new.mean[other])
    return ItemRates(
        verdict=None if judged is None else VERDICTS[judged.codes[place]],
        p_value=None if judged is None else float(judged.p_values[place]),
        rates=Versions(_known(repeats.old.mean[place]), _known(repeats.new.mean[place]), third),
    )


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _place(reality: Reality | None, item: int | None) -> int | None:
    """Return the place of an item among a task's repeats."""
    if reality is None or reality.repeats is None or item is None:
        return None
    number = reality.repeats.number
    place = int(np.searchsorted(number, item))
    return place if place < number.size and number[place] == item else None


class _AnswersByItem:
    """The answers of a side, found by their item."""

    def __init__(self, answers: pl.DataFrame) -> None:
        self.frame = answers.sort("item", "repeat", maintain_order=True)
        self.items = self.frame["item"].to_numpy()

    def of(self, item: int) -> pl.DataFrame:
        start, end = np.searchsorted(self.items, [item, item + 1])
        return self.frame[int(start) : int(end)]


def with_answers(
    entries: Sequence[Flip], chosen: Sequence[Mapping[str, Any]], tasks: Sequence[ListedTask]
) -> list[Flip]:
    """Return the entries with all answers to their items, cut so that the list stays readable.

    Args:
        entries: the list's entries.
        chosen: their rows.
        tasks: the tasks, by the rows' `task`.
    """
    found: dict[tuple[int, str], _AnswersByItem] = {}
    texts = sum(1 for entry in entries if entry.pass_rate is not None)
    limit = max(200, min(4_000, MAX_TEXT // max(1, 3 * MAX_ANSWERS * texts)))

    def answers(task: ListedTask, joined: Joined | None, side: str, item: int | None) -> list[Answer] | None:
        if joined is None or joined.answers is None or item is None:
            return None
        key = id(joined), side
        if key not in found:
            found[key] = _AnswersByItem(joined.answers.old if side == "old" else joined.answers.new)
        return _written_answers(found[key].of(item), task.items, limit)

    def whole(entry: Flip, row: Mapping[str, Any]) -> Flip:
        if entry.pass_rate is None:
            return entry
        task = tasks[row["task"]]
        repeats = RepeatedAnswers(
            old=answers(task, task.old_vs_new, "old", row["item"]),
            new=answers(task, task.old_vs_new, "new", row["item"]),
            candidate=answers(task, task.old_vs_candidate, "new", row["item_candidate"]),
        )
        return replace(entry, repeats=repeats)

    return [whole(entry, row) for entry, row in zip(entries, chosen, strict=True)]


def _written_answers(rows: pl.DataFrame, items: TaskItems, limit: int) -> list[Answer]:
    score = SCORE_PREFIX + items.score if items.score else None
    written = []
    for row in rows.head(MAX_ANSWERS).iter_rows(named=True):
        text = None if row["output"] is None else clip_kept(row["output"], limit)
        value = row.get(score) if score else None
        told = None if value is None else items.sign * value
        written.append(Answer(output=text, choice=row["choice"], correct=row["correct"], score=told))
    return written


def with_items(rows: pl.DataFrame, task: ListedTask) -> pl.DataFrame:
    """Give an entry's row the numbers of its item in both joins; null where items were asked once."""
    found = rows
    for name, pair, joined in (
        ("item", "pair", task.old_vs_new),
        ("item_candidate", "pair_candidate", task.old_vs_candidate),
    ):
        if joined is None or joined.answers is None:
            found = found.with_columns(pl.lit(None, pl.Int64).alias(name))
        else:
            item = joined.answers.item.cast(pl.Int64).gather(rows[pair])
            found = found.with_columns(item.alias(name))
    return found
