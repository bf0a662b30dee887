"""A rule applied: whose answer each item gets, and the answers as records that `muscle compare` reads."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import polars as pl

from muscle.flips.pairing.join import IDENTITY
from muscle.flips.statistics.arrays import Bools, Floats, Ints
from muscle.predictions.records import concat_records
from muscle.predictions.run import SLICE_PREFIX
from muscle.route.gate_model import GateRule
from muscle.route.items import Items, Pairs
from muscle.route.kappa import Two
from muscle.route.option_rules import NO_GOLD, OptionRule, OptionScores
from muscle.route.scores import option_scores

ROUTE_SLICE = f"{SLICE_PREFIX}route"
"""Whose answer an item got: a slice of the served records, so that a comparison is cut by it."""


@dataclass(frozen=True)
class Served:
    """What a rule makes of paired items.

    Attributes:
        asked: (items,) whether the old model is asked, or its record looked up.
        kept: (items,) whether the answer is the old model's.
        third: (items,) whether it is neither's.
        right: (items,) 1, 0, or NaN where it is not known.
        differs: (items,) whether the answer could be another than the old one, whatever kappa is.
        needed: (items,) log kappa from which the old answer is kept.
        other_right: (items,) what the answer is below that kappa: 1, 0, NaN.
        choice: (items,) index of the option that is answered; None of a gate, which knows no options.
    """

    asked: Bools
    kept: Bools
    third: Bools
    right: Floats
    differs: Bools
    needed: Floats
    other_right: Floats
    choice: Ints | None = None

    @property
    def moved(self) -> Bools:
        """Which items have another answer than the old one, (items,): only these can have flipped."""
        return self.differs & ~self.kept

    @property
    def asked_share(self) -> float:
        """Share of the items about which the old model is asked; 0 where there are none."""
        return float(self.asked.mean()) if self.asked.size else 0.0


def serve(rule: OptionRule | GateRule, items: Pairs, scores: OptionScores | None = None) -> Served:
    """Apply a rule to paired items; no verdict is needed.

    Args:
        rule: the rule.
        items: the paired items.
        scores: what both models think of their options, where that was taken out already.

    Raises:
        DataError: the rule needs likelihoods or a slice that the items do not have.
    """
    if isinstance(rule, OptionRule):
        return _by_options(rule, items, option_scores(items) if scores is None else scores)
    return gated(rule, items, rule.log_odds(items))


def gated(rule: GateRule, items: Pairs, log_odds: Floats) -> Served:
    """Apply a gate whose log odds of the items are given."""
    asked = rule.asked(items)
    needed = np.where(asked, np.where(items.same, -math.inf, -log_odds), math.inf)
    kept = asked & (needed <= rule.log_kappa)
    right = np.where(kept, items.old.right, items.new.right)
    return Served(asked, kept, np.zeros_like(kept), right, ~items.same, needed, items.new.right)


def _by_options(rule: OptionRule, items: Pairs, scores: OptionScores) -> Served:
    answers, asked, two = rule.answers(scores), rule.asked(scores), rule.two(scores)
    other = rule.others(scores)
    right, other_right = (
        _right_of(each, scores.gold, items, scores.old_answer, scores.new_answer) for each in (answers, other)
    )
    kept = asked & (answers == scores.old_answer)
    third = (answers != scores.old_answer) & (answers != scores.new_answer)
    differs = ~items.same | (other != scores.old_answer) & (two.needed > 0)
    return Served(asked, kept, third, right, differs, two.needed, other_right, answers)


def _right_of(answers: Ints, gold: Ints, items: Pairs, old_answer: Ints, new_answer: Ints) -> Floats:
    """Return whether answers are right, (items,): by the verdict on who gave it, else by the right option."""
    by_gold = np.where(gold == NO_GOLD, np.nan, (answers == gold).astype(np.float64))
    found = np.where(answers == new_answer, items.new.right, by_gold)
    return np.where(answers == old_answer, items.old.right, found)


def two_of(items: Pairs, served: Served, rows: Bools) -> Two:
    """Return the two answers that judged items can get, each weighing as many items as it stands for.

    Where only a part of the items that differ was judged, each of the judged ones stands for more of them.
    """
    told = told_of(items, served) & rows
    weight = np.zeros(items.num)
    for stratum in (served.differs, ~served.differs):
        if number := int((told & stratum).sum()):
            weight[told & stratum] = (rows & stratum).sum() / number / rows.sum()
    return Two.judged(served.needed[told], items.old.right[told] == 1, served.other_right[told] == 1, weight[told])


def told_of(items: Pairs, served: Served) -> Bools:
    """Return of which items it is known what comes of every answer, (items,)."""
    return items.judged & ~np.isnan(served.other_right) & ~np.isnan(served.right)


def served_records(items: Items, served: Served) -> pl.DataFrame:
    """Return the answers as records: of each item the row of who answered, and whose it is as the slice `route`.

    An item that one side failed on gets the other's answer; one that only the new run has, its answer. What neither
    answered, and what was not asked of the new model, has no row.
    """
    parts = [_marked(items.old.frame.filter(served.kept & ~items.same), "old")]
    parts.append(_marked(items.old.frame.filter(served.kept & items.same), "both agree"))
    parts.append(_marked(items.new.frame.filter(~served.kept & ~served.third), "new"))
    if served.choice is not None and served.third.any():
        parts.append(_marked(_third_rows(items, served, served.choice), "another option"))
    joined = items.joined
    old_failed, new_failed = (side["error"].is_not_null() for side in (joined.old, joined.new))
    parts.append(_marked(joined.new.filter(old_failed & ~new_failed), "new, the old one failed"))
    parts.append(_marked(joined.old.filter(new_failed & ~old_failed), "old, the new one failed"))
    only_new = joined.left[1]
    parts.append(_marked(only_new.filter(only_new["error"].is_null()), "new, nothing recorded"))
    known = [part.drop([n for n in part.columns if n.startswith("route_")]) for part in parts if part.height]
    return concat_records(known).sort("task", "id", maintain_order=True) if known else parts[0]


def _marked(frame: pl.DataFrame, whose: str) -> pl.DataFrame:
    return frame.with_columns(pl.lit(whose).alias(ROUTE_SLICE))


def _third_rows(items: Items, served: Served, choice: Ints) -> pl.DataFrame:
    """Return rows whose answer is neither model's: the item, the option, and the verdict where it is known."""
    frame = items.new.frame.filter(served.third)
    picked = choice[served.third]
    options = frame["choices"].to_list()
    texts = [None if row is None else row[place] for row, place in zip(options, picked.tolist(), strict=True)]
    verdicts = [None if math.isnan(each) else bool(each) for each in served.right[served.third].tolist()]
    slices = [name for name in frame.columns if name.startswith(SLICE_PREFIX)]
    return frame.select(*IDENTITY, *slices).with_columns(
        pl.Series("choice", picked),
        pl.Series("output", texts, dtype=pl.String),
        pl.Series("correct", verdicts, dtype=pl.Boolean),
    )
