"""Takes what two runs say of their items' options out of the records, as arrays."""

from __future__ import annotations

import numpy as np
import polars as pl

from muscle.errors import DataError
from muscle.flips.statistics.arrays import Floats, Ints
from muscle.route.items import Pairs
from muscle.route.option_rules import NO_GOLD, OptionScores


def has_scores(items: Pairs) -> bool:
    """Whether both models gave the log-likelihood of every option of every item."""
    return all(side.frame["logprobs"].null_count() == 0 for side in (items.old, items.new)) and items.num > 0


def lacking_scores(items: Pairs) -> int:
    """Return how many items lack likelihoods of their options on a side, where others have them; else 0."""
    lacking = items.old.frame["logprobs"].is_null() | items.new.frame["logprobs"].is_null()
    return 0 if lacking.all() else int(lacking.sum())


def option_scores(items: Pairs) -> OptionScores:
    """Return what both models think of the options.

    The right option is the answer that was right, else the one that the reference names.

    Raises:
        DataError: an item has none on a side, another number of options on the other, or a likelihood that is no
            number.
    """
    old, new = (side.frame["logprobs"] for side in (items.old, items.new))
    counts = [each.list.len().fill_null(0).to_numpy() for each in (old, new)]
    wrong = np.flatnonzero((counts[0] != counts[1]) | (counts[0] == 0))
    if wrong.size:
        row = int(wrong[0])
        raise DataError(
            f"item {items.name(row)}: expected the log-likelihood of each option from both models, found "
            f"{counts[0][row]} from the old and {counts[1][row]} from the new one ({wrong.size:,} such items); "
            "--rule gate needs none"
        )
    arrays = [_filled_out(each, items) for each in (old, new)]
    answers = [
        _answers(side.frame["choice"], array) for side, array in zip((items.old, items.new), arrays, strict=True)
    ]
    return OptionScores(arrays[0], arrays[1], answers[0], answers[1], _right_options(items, answers[0], answers[1]))


def _filled_out(lists: pl.Series, items: Pairs) -> Floats:
    """Return (items, most options), -inf where an item has no such option; no list is empty."""
    counts = lists.list.len().to_numpy().astype(np.int64)
    numbers = lists.explode().to_numpy().astype(np.float64)
    rows = np.repeat(np.arange(counts.size), counts)
    wrong = np.flatnonzero(~np.isfinite(numbers))
    if wrong.size:
        row = int(rows[wrong[0]])
        raise DataError(f"item {items.name(row)}: expected finite log-likelihoods, found {numbers[wrong[0]]}")
    padded = np.full((counts.size, int(counts.max(initial=0))), -np.inf)
    padded[rows, np.arange(numbers.size) - np.repeat(np.cumsum(counts) - counts, counts)] = numbers
    return padded


def _answers(choices: pl.Series, scores: Floats) -> Ints:
    """Return what was answered: the recorded choice, else the likeliest option."""
    recorded = choices.fill_null(-1).to_numpy()
    likeliest = scores.argmax(-1) if scores.size else np.zeros(0, dtype=np.int64)
    return np.where((recorded >= 0) & (recorded < scores.shape[-1]), recorded, likeliest).astype(np.int64)


def _right_options(items: Pairs, old_answer: Ints, new_answer: Ints) -> Ints:
    """Return the right option of each item, as far as it is known."""
    named = [
        next((number for number, option in enumerate(options or ()) if option in (references or ())), NO_GOLD)
        for options, references in items.old.frame.select("choices", "reference").iter_rows()
    ]
    found = np.array(named, dtype=np.int64)
    found = np.where(items.new.right == 1, new_answer, found)
    found = np.where(items.old.right == 1, old_answer, found)
    # What a verdict says of an answer overrules what a text seems to say.
    wrong = (found == old_answer) & (items.old.right == 0) | (found == new_answer) & (items.new.right == 0)
    return np.where(wrong | ~items.judged, NO_GOLD, found).astype(np.int64)
