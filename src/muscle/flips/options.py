"""How runs are compared: every option of `muscle.compare` with its default."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

Test = Literal["fisher", "boschloo"]
On = Literal["auto", "id"]

MAX_UNPAIRED = 0.05
"""Share of a side's predictions that may stay without a partner. More could hide as many flips as an update makes."""

TOLERANCE = 0.01
"""Negative flip rate up to which an update passes; no flip in 300 items is what it takes to prove it."""

EPSILON_ITEM = 0.2
"""Least change of an item's pass rate that counts."""

MAX_FLIPS = 2_000
"""Entries in a report's list of flips."""


@dataclass(frozen=True)
class Options:
    """How runs are compared; see `compare`."""

    on: On = "auto"
    max_unpaired: float = MAX_UNPAIRED
    allow_changed: bool = False
    epsilon: float = 0.0
    cluster: str | None = None
    lower_is_better: Collection[str] = ()
    tolerance: float = TOLERANCE
    max_flips: int = MAX_FLIPS
    seed: int = 0
    epsilon_item: float = EPSILON_ITEM
    item_test: Test = "fisher"
    item_family: str | None = None
