"""What a plan is for: what is wished, what is assumed where no pilot tells, and what is impossible."""

from __future__ import annotations

from dataclasses import dataclass

from muscle.errors import ConfigError
from muscle.flips.statistics.power import ALPHA, POWER
from muscle.plan.item_list import MAX_REPEATS

SMALLEST = 1e-6
"""Difference, and limit, that is planned for: less takes more than a million million items."""

MAX_ITEMS, MAX_COST = 10**12, 1e15


@dataclass(frozen=True)
class Wish:
    """What a plan is for.

    Attributes:
        difference: of accuracy that should be found, in (0, 1].
        power: probability of finding it.
        alpha: two-sided level of the test.
        items: how many items there are; None for as many as it takes.
        repeats: answers an item and side; None for the cheapest number.
        budget: what it may cost; None for no limit.
        item_cost: of one more item.
        answer_cost: of one more answer on each side.
        limit: negative flip rate that should be proven.
        disagreement: share of items that flip either way, where no pilot tells.
        noise_share: of the disagreements, those that are noise, where no pilot tells.
        changed: share of the items that really change, where no pilot of both versions tells.
    """

    difference: float = 0.02
    power: float = POWER
    alpha: float = ALPHA
    items: int | None = None
    repeats: int | None = None
    budget: float | None = None
    item_cost: float = 0.0
    answer_cost: float = 1.0
    limit: float = 0.01
    disagreement: float = 0.10
    noise_share: float = 0.5
    changed: float = 0.05


def check_wish(wish: Wish) -> None:
    """Refuse what cannot be planned.

    Raises:
        ConfigError: a number is impossible.
    """
    for name, low, high in (
        ("difference", SMALLEST, 1),
        ("power", 0, 1),
        ("alpha", 0, 1),
        ("limit", SMALLEST, 1),
        ("disagreement", 0, 1),
        ("changed", 0, 1),
    ):
        if not low < getattr(wish, name) < high:
            raise ConfigError(f"plan: expected {name} between {low:g} and {high}, found {getattr(wish, name)}")
    for name, most in (("items", MAX_ITEMS), ("repeats", MAX_REPEATS)):
        if (number := getattr(wish, name)) is not None and not 1 <= number <= most:
            raise ConfigError(f"plan: expected 1 to {most:,} {name}, found {number}")
    if not 0 <= wish.noise_share <= 1:
        raise ConfigError(f"plan: expected noise_share from 0 to 1, found {wish.noise_share}")
    costs = (wish.answer_cost, wish.item_cost, wish.budget or 0.0)
    if not all(0 <= cost <= MAX_COST for cost in costs) or wish.answer_cost == 0:
        raise ConfigError(
            f"plan: expected an answer to cost more than nothing, items and budget no less than nothing, and none more "
            f"than {MAX_COST:g}, found {wish.answer_cost:g}, {wish.item_cost:g} and {wish.budget or 0:g}"
        )
