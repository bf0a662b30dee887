"""Two models served, on validation and test records with likelihoods: a row a rule, as a bench or a sweep shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from muscle.errors import DataError
from muscle.flips.options import TOLERANCE
from muscle.predictions.run import Source
from muscle.route.bound import Prices
from muscle.route.items import pair_items
from muscle.route.option_rules import NO_GOLD, OptionRule, OptionScores, fit_options
from muscle.route.scores import option_scores


@dataclass(frozen=True)
class Variant:
    """A way to serve two models.

    Attributes:
        name: a word.
        words: what it is.
        share: the old model's in a mixture; None makes a stack.
        kappa: of the stack; None chooses it by the flip limit.
        ask_share: share of the items about which the old model is asked, those where the new one is least sure.
    """

    name: str
    words: str
    share: float | None = None
    kappa: float | None = None
    ask_share: float = 1.0

    def fit(self, validation: OptionScores, limit: float) -> OptionRule:
        """Fit it on labelled items."""
        return fit_options(validation, share=self.share, kappa=self.kappa, limit=limit, ask_share=self.ask_share)


VARIANTS = (
    Variant("mean", "mean", share=0.5),
    Variant("share7", "old's share .7", share=0.7),
    Variant("stack1", "stack, kappa 1", kappa=1.0),
    Variant("stack2", "stack, kappa 2", kappa=2.0),
    Variant("limit", "stack, kappa by the flip limit"),
    Variant("ask50", "stack, kappa by the flip limit, old asked for the least sure half", ask_share=0.5),
    Variant("ask25", "stack, kappa by the flip limit, old asked for the least sure quarter", ask_share=0.25),
    Variant("ask10", "stack, kappa by the flip limit, old asked for the least sure tenth", ask_share=0.1),
)


@dataclass(frozen=True)
class ServedRow:
    """What comes of serving two models in one way, on test items.

    Attributes:
        name: the variant's; "old" and "new" are the models alone.
        words: what it is.
        accuracy: share of the items that are right.
        negative_flip_rate: share of the items that the old model had right and that are wrong.
        asked_share: share of the items about which the old model was asked.
        cost: of 1,000 calls, by the prices.
        rule: what was fitted; None of a model alone.
    """

    name: str
    words: str
    accuracy: float
    negative_flip_rate: float
    asked_share: float
    cost: float
    rule: OptionRule | None = None


def served_rows(
    validation: tuple[Source, Source],
    test: tuple[Source, Source],
    *,
    limit: float = TOLERANCE,
    prices: Prices | None = None,
    variants: Sequence[Variant] = VARIANTS,
) -> list[ServedRow]:
    """Serve two models in every way: fitted on the validation items, measured on the test items.

    Args:
        validation: old and new run on labelled items that neither model learnt from, with likelihoods of the options.
        test: old and new run on the test items.
        limit: negative flip rate that kappa shall meet on the validation items.
        prices: of a call; 1 each without.
        variants: the ways.

    Returns:
        The two models alone, then a row a variant.

    Raises:
        DataError: a run cannot be read, an answer is missing, or an item has no likelihoods or no right option.
        JoinError: runs do not belong together.
    """
    held, asked = _both_scores(validation), _both_scores(test)
    price = prices or Prices()
    told = asked.gold != NO_GOLD
    if not told.all():
        raise DataError(f"test items: expected a right option of each, found none of {int((~told).sum()):,}")
    known = held[held.gold != NO_GOLD]
    old_right = asked.old_answer == asked.gold
    new_right = asked.new_answer == asked.gold
    rows = [
        ServedRow("old", "old model alone", float(old_right.mean()), 0.0, 1.0, 1000 * price.old),
        ServedRow(
            "new",
            "new model alone",
            float(new_right.mean()),
            float((old_right & ~new_right).mean()),
            0.0,
            price.per_thousand(0.0),
        ),
    ]
    for variant in variants:
        rule = variant.fit(known, limit)
        right = rule.answers(asked) == asked.gold
        share = float(np.mean(rule.asked(asked)))
        lost = float((old_right & ~right).mean())
        cost = price.per_thousand(share)
        rows.append(ServedRow(variant.name, variant.words, float(right.mean()), lost, share, cost, rule))
    return rows


def _both_scores(runs: tuple[Source, Source]) -> OptionScores:
    items = pair_items(*runs)
    if missing := items.lost.sentence():
        raise DataError(f"two models served: expected both answers to every item, found: {missing}")
    return option_scores(items)
