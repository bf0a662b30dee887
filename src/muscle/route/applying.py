"""`apply`: a rule's answers to items that nobody needs to have judged, with what they cost."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from muscle.flips.options import DEFAULTS, CompareOptions
from muscle.predictions.run import Source
from muscle.route.bound import Prices
from muscle.route.items import pair_items
from muscle.route.rule_file import RuleFile
from muscle.route.serving import ROUTE_SLICE, serve, served_records


@dataclass(frozen=True)
class Applied:
    """Answers by a rule.

    Attributes:
        frame: records, in memory form; the slice `route` says whose answer each is.
        whose: how many answers are whose.
        asked_share: share of the paired items about which the old model is asked.
        cost: of 1,000 items, by the prices.
        missing: what of the runs is missing, in words; empty where nothing is.
    """

    frame: pl.DataFrame
    whose: dict[str, int]
    asked_share: float
    cost: float
    missing: str


def apply_route(
    rule: RuleFile, old: Source, new: Source, *, options: CompareOptions = DEFAULTS, prices: Prices | None = None
) -> Applied:
    """Answer items by a rule.

    Args:
        rule: the rule.
        old: the old model's answers, recorded or fresh.
        new: the new model's.
        options: how the runs are read and paired.
        prices: of a call; those of the rule without.

    Raises:
        DataError: a run cannot be read, or lacks the likelihoods or slices that the rule goes by.
        JoinError: the runs do not belong together.
    """
    items = pair_items(old, new, options, confidence=rule.confidence)
    served = serve(rule.rule(), items)
    frame = served_records(items, served)
    counts = frame[ROUTE_SLICE].value_counts().sort("count", ROUTE_SLICE, descending=[True, False])
    price = prices or rule.cost()
    cost = price.per_thousand(served.asked_share, old_calls=items.old.calls, new_calls=items.new.calls)
    return Applied(frame, dict(counts.iter_rows()), served.asked_share, cost, items.lost.sentence())
