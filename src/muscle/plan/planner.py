"""The plan: from assumptions or a pilot to items, repeats, cost and what they can show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from muscle.errors import ConfigError
from muscle.flips.noise.repeats import Repeats, item_repeats, variance_split
from muscle.flips.options import DEFAULTS, CompareOptions
from muscle.flips.pairing.comparability import check_comparable
from muscle.flips.pairing.one_file_twice import refuse_one_file
from muscle.flips.pairing.pair import Pair, pair_runs
from muscle.flips.statistics.power import items_to_prove
from muscle.plan.item_list import MAX_REPEATS
from muscle.plan.resolution import (
    Variances,
    best_repeats,
    detectable,
    items_needed,
    minimum_repeats,
    power_of,
    repeats_for_change,
)
from muscle.plan.wish import Wish, check_wish
from muscle.predictions.read import read_run
from muscle.predictions.run import Source

FORMAT = "muscle-plan/1"

REPEATS = (1, 2, 3, 5, 8, 10, 20, 50)
"""Answers an item and side that a plan's table has a row for."""

_ROUNDING = 1e-9
"""Share by which two sums of money that are meant to be one may differ."""

DROPS = ((1.0, 0.0), (0.9, 0.5), (0.9, 0.7))
"""Falls of an item's pass rate, old and new, that a plan gives the repeats for."""


@dataclass(frozen=True)
class Assumption:
    """What a plan rests on.

    Attributes:
        task: the pilot's task; "all" without a pilot.
        variances: of an item's difference.
        source: how they are known, in words.
    """

    task: str
    variances: Variances
    source: str


@dataclass(frozen=True)
class PlanRow:
    """What it takes to find the wished difference with so many repeats.

    Attributes:
        repeats: answers an item and side.
        items: that find it.
        answers: of both sides together.
        cost: of items and answers.
        power: reached, in [0, 1].
    """

    repeats: int
    items: int
    answers: int
    cost: float
    power: float


@dataclass(frozen=True)
class GivenSize:
    """What the wished number of items, or the budget, shows.

    Attributes:
        items: how many there are, or the budget buys.
        repeats: answers an item and side.
        cost: of items and answers.
        detectable: smallest difference of accuracy that is found with the wished power.
        power: to find the wished difference, in [0, 1].
    """

    items: int
    repeats: int
    cost: float
    detectable: float
    power: float


@dataclass(frozen=True)
class ItemChange:
    """How many answers a side show that one item's pass rate fell.

    Attributes:
        old: its pass rate in the old version.
        new: in the new version.
        repeats: answers an item and side; None where 200 are not enough.
    """

    old: float
    new: float
    repeats: int | None


@dataclass(frozen=True)
class ItemRepeats:
    """How many answers verdicts on single items take.

    Attributes:
        n: items that are judged together.
        minimum_repeats: below it no verdict is possible at all.
        changes: what it takes for some falls of the pass rate.
    """

    n: int
    minimum_repeats: int
    changes: Sequence[ItemChange]


@dataclass(frozen=True)
class Proof:
    """How many items without a negative flip prove a limit.

    Attributes:
        limit: negative flip rate, in (0, 1).
        items: how many.
    """

    limit: float
    items: int


@dataclass(frozen=True)
class PlanVariance:
    """The variances that a plan rests on.

    Attributes:
        items: between items.
        answers: between answers to one item, both sides together.
        total: their sum.
        source: how they are known, in words.
    """

    items: float
    answers: float
    total: float
    source: str


@dataclass(frozen=True)
class Plan:
    """The plan for one task.

    Attributes:
        format: of the JSON.
        task: the pilot's task; "all" without a pilot.
        wish: what it is for.
        variance: what it rests on.
        table: what it takes with several numbers of repeats.
        best: the cheapest row, or that of the wished repeats.
        given: what the wished items or budget show; None where neither was wished.
        items: what verdicts on single items take.
        prove: what it takes to prove the limit.
    """

    format: str
    task: str
    wish: Wish
    variance: PlanVariance
    table: Sequence[PlanRow]
    best: PlanRow
    given: GivenSize | None
    items: ItemRepeats
    prove: Proof


def assumptions_of(
    pilot: Source | None,
    other: Source | None,
    wish: Wish,
    *,
    options: CompareOptions = DEFAULTS,
) -> list[Assumption]:
    """Return what a pilot says of the variances, task by task.

    Args:
        pilot: a run of one version, of the old one where both are given; None for no pilot.
        other: a run of the new version; None for none.
        wish: what is assumed where the pilot does not tell.
        options: how the two runs are compared.

    Raises:
        ConfigError: a wish is impossible.
        DataError: a run cannot be read.
        JoinError: the two runs do not belong together, differ in more than the model, or are one file.
    """
    check_wish(wish)
    if pilot is None:
        told = f"assumed: {wish.disagreement:.0%} of the items flip either way, {wish.noise_share:.0%} of that noise"
        return [Assumption("all", _guessed(wish), told)]
    old = read_run(pilot)
    new = old if other is None else read_run(other)
    if other is not None:
        refuse_one_file({"old": old, "new": new})
        check_comparable(old, new, allow=options.allow)
    pair = pair_runs(old, new, options)
    found = []
    for name, items in pair.tasks.items():
        repeats = item_repeats(pair.joined, items)
        if other is None:
            found.append(_from_one(name, repeats, wish))
        else:
            found.append(_from_both(name, pair, repeats, wish))
    return found


def _guessed(wish: Wish) -> Variances:
    """Return what is assumed where no pilot tells.

    Raises:
        ConfigError: more shall change on balance than flips either way.
    """
    # An item's difference is -1, 0 or 1, so its second moment is the share of disagreements.
    total = wish.disagreement - wish.difference**2
    if wish.difference > wish.disagreement:
        raise ConfigError(
            f"plan: expected a difference of at most the share of items that flip either way, which is assumed to be "
            f"{wish.disagreement:g}, found {wish.difference:g}; say another with --disagreement, or give a pilot of "
            "both versions"
        )
    return Variances(total * (1 - wish.noise_share), total * wish.noise_share)


def _from_one(name: str, repeats: Repeats | None, wish: Wish) -> Assumption:
    if repeats is None or not (repeats.old.num > 1).any():
        return Assumption(name, _guessed(wish), "assumed: the pilot asked each item once, of one version only")
    # Both sides' answers vary, and the new version's are taken to vary as the old one's.
    answers = 2 * float(np.nanmean(repeats.old.variance))
    told = f"answers from the pilot's repeats; assumed: {wish.changed:.0%} of the items change"
    return Assumption(name, Variances(wish.changed, answers), told)


def _from_both(name: str, pair: Pair, repeats: Repeats | None, wish: Wish) -> Assumption:
    split = None if repeats is None else variance_split(repeats)
    if split is not None:
        # What is left when the answers' part is taken off can come out below nothing by chance.
        between = max(split.items, 0.0)
        return Assumption(name, Variances(between, split.answers), "from the pilot's repeats")
    items = pair.tasks[name]
    moved = items.frame["flip"] if items.kind == "binary" else items.frame["score_new"] - items.frame["score_old"]
    total = float(np.var(moved.to_numpy().astype(np.float64)))
    told = f"flips from the pilot; assumed: {wish.noise_share:.0%} of them noise"
    return Assumption(name, Variances(total * (1 - wish.noise_share), total * wish.noise_share), told)


def make_plan(assumption: Assumption, wish: Wish) -> Plan:
    """Return the plan for one task.

    Args:
        assumption: what is known or assumed of the variances.
        wish: what the plan is for.

    Raises:
        ConfigError: a wish is impossible.
    """
    check_wish(wish)
    variances = assumption.variances
    if variances.total <= 0:
        raise ConfigError(
            f"task {assumption.task!r}: expected a pilot in which some answers differ, found none; ask more items"
        )
    cheapest = best_repeats(variances, item_cost=wish.item_cost, answer_cost=wish.answer_cost)
    wished = [wish.repeats] if wish.repeats else []
    table = [_plan_row(variances, wish, k) for k in sorted({*REPEATS, min(cheapest, 50), *wished})]
    chosen = wish.repeats or min(table, key=lambda row: (row.cost, row.answers)).repeats
    best = next(row for row in table if row.repeats == chosen)
    number = wish.items or best.items
    changes = [
        ItemChange(old, new, repeats_for_change(old, new, changed=wish.changed, power=wish.power)) for old, new in DROPS
    ]
    without_flip = items_to_prove(wish.limit)
    assert without_flip is not None, "only a limit of 0 cannot be proven"
    return Plan(
        format=FORMAT,
        task=assumption.task,
        wish=wish,
        variance=PlanVariance(variances.items, variances.answers, variances.total, assumption.source),
        table=table,
        best=best,
        given=_given_size(variances, wish, chosen),
        items=ItemRepeats(number, minimum_repeats(number), changes),
        prove=Proof(wish.limit, without_flip),
    )


def _cost(wish: Wish, items: int, repeats: int) -> float:
    return items * (wish.item_cost + repeats * wish.answer_cost)


def _bought(budget: float, price: float) -> int:
    """Return how many a budget buys; 2 buys five at 0.4, which is a little more than 0.4 in binary."""
    return math.floor(budget / price * (1 + _ROUNDING))


def _plan_row(variances: Variances, wish: Wish, repeats: int) -> PlanRow:
    items = items_needed(variances, wish.difference, repeats, alpha=wish.alpha, power=wish.power)
    return PlanRow(
        repeats=repeats,
        items=items,
        answers=2 * items * repeats,
        cost=_cost(wish, items, repeats),
        power=power_of(variances, wish.difference, items, repeats, alpha=wish.alpha),
    )


def _given_size(variances: Variances, wish: Wish, repeats: int) -> GivenSize | None:
    """Return what the wished number of items, or the budget, shows."""
    if wish.items is None and wish.budget is None:
        return None
    items = wish.items
    if items is None:
        items = _bought(wish.budget or 0.0, _cost(wish, 1, repeats))
    elif wish.budget is not None:
        if wish.repeats is None:
            repeats = max(1, min(_bought(wish.budget / items - wish.item_cost, wish.answer_cost), MAX_REPEATS))
        if (cost := _cost(wish, items, repeats)) > wish.budget * (1 + _ROUNDING):
            raise ConfigError(
                f"plan: expected a budget of {cost:g} or more for {items:,} items with {repeats} "
                f"answer{'s' * (repeats != 1)} a side, found {wish.budget:g}; wish for less of them"
            )
    elif wish.repeats is None:
        enough = (
            k
            for k in range(1, 201)
            if power_of(variances, wish.difference, items or 1, k, alpha=wish.alpha) >= wish.power
        )
        repeats = next(enough, repeats)
    if items < 2:
        raise ConfigError(f"plan: expected a budget for at least two items, found one for {items}")
    return GivenSize(
        items=items,
        repeats=repeats,
        cost=_cost(wish, items, repeats),
        detectable=detectable(variances, items, repeats, alpha=wish.alpha, power=wish.power),
        power=power_of(variances, wish.difference, items, repeats, alpha=wish.alpha),
    )
