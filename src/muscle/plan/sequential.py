"""Stopping early without cheating: a test of flips that may be looked at after every item.

Of the items that flip, each is a toss of a coin that is fair where the update does no harm on balance. With a Beta(1/2,
1/2) mixture as the bet, the wealth after b negative and c positive flips is

    E(b, c) = 2^(b + c) B(b + 1/2, c + 1/2) / B(1/2, 1/2),

and with the bets that harm wins alone E1 = 2 E P(Beta(b + 1/2, c + 1/2) > 1/2). Under its null an E-value exceeds
1 / alpha ever, at any look, with probability at most alpha (Ville 1939; Ramdas et al. 2023, Statistical Science 38:
576-601). The same for a rate gives a bound of the negative flip rate that holds at all looks together.

All of it needs items in random order: where easy ones come first, the first looks are of another test set.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special

from muscle.errors import ConfigError, DataError
from muscle.flips.statistics.arrays import Bools, Floats, Ints

ALPHA = 0.05
LIMIT = 0.05

Decision = Literal["harm", "accept", "go_on"]

MIN_ORDERED = 6
"""Items in perfect order that are refused: a random order has that in one of 720 cases."""

MAX_Z = 4.0
"""Standard errors of a rank correlation that no random order reaches (1 in 16,000)."""

_MOST = 700.0
"""Logarithm up to which an E-value is written; a little above it no number is large enough."""

_SMALLEST = 1e-290
"""Below it the distribution function loses digits, and then all of them: its logarithm is summed instead."""


def log_betainc(a: Floats, b: Floats, x: float) -> Floats:
    """Return log I_x(a, b), also where I_x(a, b) is no longer a number above zero.

    A vanishing tail is the strongest evidence that there is; rounded up, it would speak for the opposite.

    Args:
        a: above 0.
        b: above 0, in the shape of a.
        x: in (0, 1).

    >>> round(float(log_betainc(np.array(2416.5), np.array(342.5), 0.5)), 1)
    -882.5
    """
    tail = np.atleast_1d(special.betainc(a, b, x))
    far = tail < _SMALLEST
    found: Floats = np.log(np.where(far, 1.0, tail))
    if far.any():
        found[far] = _log_betainc_far(np.atleast_1d(a)[far], np.atleast_1d(b)[far], x)
    return found.reshape(np.shape(a))


def _log_betainc_far(a: Floats, b: Floats, x: float) -> Floats:
    """Return log I_x(a, b) far below the mean a / (a + b), by its continued fraction.

    I_x(a, b) = x^a (1 - x)^b / (a B(a, b)) / (1 + d1 / (1 + d2 / (1 + ...))), DLMF 8.17.22, by the modified method of
    Lentz.
    """
    ratio, product, inverse = np.ones_like(a), np.ones_like(a), np.zeros_like(a)
    for number in range(1, 1000):
        m = number // 2
        if number % 2:
            step = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            step = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        inverse = 1 / (1 + step * inverse)
        ratio = 1 + step / ratio
        product = product * ratio * inverse
        if (np.abs(ratio * inverse - 1) < 1e-14).all():
            break
    head = a * math.log(x) + b * math.log1p(-x) - np.log(a) - special.betaln(a, b)
    found: Floats = head - np.log(product)
    return found


def log_e_value(lost: Floats, gained: Floats) -> Floats:
    """Return log E(b, c), two-sided, of flips that are as likely to be negative as positive.

    Args:
        lost: b, negative flips.
        gained: c, positive flips.

    >>> round(math.exp(float(log_e_value(np.array(8.0), np.array(0.0)))), 2)
    50.27
    """
    found: Floats = (lost + gained) * math.log(2) + special.betaln(lost + 0.5, gained + 0.5) - special.betaln(0.5, 0.5)
    return found


def log_e_harm(lost: Floats, gained: Floats) -> Floats:
    """Return log E1, one-sided, of negative flips that are no likelier than positive ones.

    >>> round(math.exp(float(log_e_harm(np.array(8.0), np.array(0.0)))), 1)
    100.5
    """
    # P(Beta(b + 1/2, c + 1/2) > 1/2) = I_{1/2}(c + 1/2, b + 1/2)
    found: Floats = log_e_value(lost, gained) + math.log(2) + log_betainc(gained + 0.5, lost + 0.5, 0.5)
    return found


def log_e_below(lost: Floats, total: Floats, rate: float) -> Floats:
    """Return the logarithm of the E-value against "events are as frequent as the rate, or more".

    With the bets on rates below p alone, E = B(b + 1/2, n - b + 1/2) I_p(b + 1/2, n - b + 1/2) / (B(1/2, 1/2)
    I_p(1/2, 1/2) p^b (1 - p)^(n - b)).

    Args:
        lost: b, events.
        total: n, items.
        rate: p, in (0, 1).
    """
    kept = total - lost
    found: Floats = (
        special.betaln(lost + 0.5, kept + 0.5)
        + log_betainc(lost + 0.5, kept + 0.5, rate)
        - special.betaln(0.5, 0.5)
        - math.log(float(special.betainc(0.5, 0.5, rate)))
        - lost * math.log(rate)
        - kept * math.log1p(-rate)
    )
    return found


def rate_bound(lost: Floats, total: Floats, *, alpha: float = ALPHA) -> float:
    """Return the upper bound of a rate that holds at all looks together.

    The smallest rate that "events are as frequent, or more" was refuted for at some look.

    Args:
        lost: (looks,) events so far at each look.
        total: (looks,) items so far.
        alpha: chance that the bound is ever below the rate.
    """
    low, high = 0.0, 1.0
    # 40 halvings leave 1e-12 of the interval, far below what is printed.
    for _ in range(40):
        middle = (low + high) / 2
        # Elsewhere the evidence is against a lower rate.
        below = lost < middle * total
        refuted = bool((log_e_below(lost[below], total[below], middle) >= -math.log(alpha)).any())
        low, high = (low, middle) if refuted else (middle, high)
    return high


@dataclass(frozen=True)
class SequentialState:
    """A sequential test after the items that it has seen; see `SequentialTest`.

    Attributes:
        decision: what was proven first.
        items: how many were seen.
        missing: of them, those without a verdict on a side.
        negative_flips: among the others.
        positive_flips: among the others.
        e_value: two-sided evidence that gains and losses are not as likely.
        e_harm: one-sided evidence of harm.
        p_value: two-sided, holds at any look.
        p_harm: one-sided, holds at any look.
        negative_flip_rate: of the items with a verdict; None without one.
        negative_flip_rate_bound: upper bound that holds at all looks together.
        limit: negative flip rate at which the update is accepted; None never accepts.
        alpha: chance of a false call over all looks.
        first_harm: items after which harm was proven; None where it is not.
        first_accept: items after which the limit was proven to hold; None where it is not.
    """

    decision: Decision
    items: int
    missing: int
    negative_flips: int
    positive_flips: int
    e_value: float
    e_harm: float
    p_value: float
    p_harm: float
    negative_flip_rate: float | None
    negative_flip_rate_bound: float
    limit: float | None
    alpha: float
    first_harm: int | None
    first_accept: int | None


class SequentialTest:
    """An anytime-valid test of an update, fed item by item in random order.

    >>> test = SequentialTest()
    >>> for _ in range(6):
    ...     test.add(old=True, new=False)
    >>> test.decision, round(test.p_harm, 4)
    ('harm', 0.0347)

    Attributes:
        alpha: chance of a false alarm, and of a false acceptance, over all looks.
        limit: negative flip rate at which the update is accepted once it is proven to be below.
        items: how many items were seen.
        missing: of them, those without a verdict on a side.
        lost: negative flips.
        gained: positive flips.
        first_harm: items after which harm was proven; None where it is not.
        first_accept: items after which the limit was proven to hold.
    """

    def __init__(self, *, alpha: float = ALPHA, limit: float | None = LIMIT) -> None:
        if not 0 < alpha < 1 or (limit is not None and not 0 < limit < 1):
            raise ConfigError(f"watch: expected alpha and limit between 0 and 1, found {alpha} and {limit}")
        self.alpha, self.limit = alpha, limit
        self.items = self.missing = self.lost = self.gained = 0
        self.first_harm: int | None = None
        self.first_accept: int | None = None
        self._largest = {"two_sided": 0.0, "harm": 0.0}
        # Between two losses the evidence for a low rate only grows: the last look before each of them says all.
        self._last_look: dict[int, int] = {}

    def add(self, *, old: bool, new: bool) -> None:
        """Take in the next item: whether each version has it right."""
        self.extend([old], [new])

    def extend(self, old: Sequence[bool] | Bools, new: Sequence[bool] | Bools, *, missing: Bools | None = None) -> None:
        """Take in the next items, in their order, with a look after each.

        Args:
            old: whether the old version is right.
            new: whether the new version is right.
            missing: which items have no verdict on a side. They count as broken where the limit shall be proven to
                hold, and not at all as evidence of harm.
        """
        right_old, right_new = np.asarray(old, dtype=np.bool_), np.asarray(new, dtype=np.bool_)
        if right_old.shape != right_new.shape or right_old.ndim != 1:
            raise ValueError("expected one truth an item on both sides")
        if right_old.size == 0:
            return
        unknown = np.zeros(right_old.shape, dtype=np.bool_) if missing is None else missing
        lost = self.lost + np.cumsum(right_old & ~right_new & ~unknown, dtype=np.float64)
        gained = self.gained + np.cumsum(~right_old & right_new & ~unknown, dtype=np.float64)
        worst = lost + self.missing + np.cumsum(unknown, dtype=np.float64)
        seen = self.items + np.arange(1, right_old.size + 1, dtype=np.float64)
        two_sided, harm = log_e_value(lost, gained), log_e_harm(lost, gained)
        self.first_harm = self.first_harm or self._first(harm >= -math.log(self.alpha))
        if self.limit is not None:
            below = log_e_below(worst, seen, self.limit)
            self.first_accept = self.first_accept or self._first(below >= -math.log(self.alpha))
        self._largest["two_sided"] = max(self._largest["two_sided"], float(two_sided.max()))
        self._largest["harm"] = max(self._largest["harm"], float(harm.max()))
        ends = np.append(np.flatnonzero(np.diff(worst)), worst.size - 1)
        self._last_look |= dict(zip(worst[ends].astype(int).tolist(), seen[ends].astype(int).tolist(), strict=True))
        self.missing += int(unknown.sum())
        self.items += right_old.size
        self.lost, self.gained = int(lost[-1]), int(gained[-1])

    def _first(self, reached: Bools) -> int | None:
        return self.items + int(np.argmax(reached)) + 1 if reached.any() else None

    def _capped(self, log_e: Callable[[Floats, Floats], Floats]) -> float:
        return math.exp(min(float(log_e(np.array(float(self.lost)), np.array(float(self.gained)))), _MOST))

    @property
    def e_value(self) -> float:
        """E(b, c) of the flips so far, two-sided."""
        return self._capped(log_e_value)

    @property
    def e_harm(self) -> float:
        """E1 of the flips so far, one-sided for harm."""
        return self._capped(log_e_harm)

    @property
    def p_value(self) -> float:
        """Two-sided p-value that holds at any look: 1 / the largest E so far."""
        return math.exp(-self._largest["two_sided"])

    @property
    def p_harm(self) -> float:
        """One-sided p-value for harm that holds at any look."""
        return math.exp(-self._largest["harm"])

    @property
    def negative_flip_rate_bound(self) -> float:
        """Upper bound of the negative flip rate that holds at all looks together."""
        looks = np.array(list(self._last_look.items()), dtype=np.float64).reshape(-1, 2)
        return rate_bound(looks[:, 0], looks[:, 1], alpha=self.alpha)

    @property
    def decision(self) -> Decision:
        """What was proven first: harm, a negative flip rate within the limit, or nothing yet."""
        if self.first_harm is None and self.first_accept is None:
            return "go_on"
        if self.first_accept is None or (self.first_harm is not None and self.first_harm <= self.first_accept):
            return "harm"
        return "accept"

    def state(self) -> SequentialState:
        """Return what is known after the items so far."""
        judged = self.items - self.missing
        return SequentialState(
            decision=self.decision,
            items=self.items,
            missing=self.missing,
            negative_flips=self.lost,
            positive_flips=self.gained,
            e_value=self.e_value,
            e_harm=self.e_harm,
            p_value=self.p_value,
            p_harm=self.p_harm,
            negative_flip_rate=self.lost / judged if judged > 0 else None,
            negative_flip_rate_bound=self.negative_flip_rate_bound,
            limit=self.limit,
            alpha=self.alpha,
            first_harm=self.first_harm,
            first_accept=self.first_accept,
        )


def seeded_order(keys: Sequence[str], seed: int) -> Ints:
    """Return the places of items in a random order that hangs on their keys and the seed, not on the file's order.

    Args:
        keys: (items,) what tells the items apart.
        seed: of the order.
    """
    in_order = np.argsort(np.array(keys, dtype=object), kind="stable")
    shuffled: Ints = in_order[np.random.default_rng(seed).permutation(len(keys))].astype(np.int64)
    return shuffled


def check_order(places: Ints, what: str) -> None:
    """Refuse items that came in an order which is not random.

    Args:
        places: (items,) each item's place in the order that they must not come in.
        what: what that order is called.

    Raises:
        DataError: the items came in that order, in its reverse, or much like one of them.
    """
    if places.size < MIN_ORDERED:
        return
    ranks = np.argsort(np.argsort(places)).astype(np.float64)
    arrival = np.arange(places.size, dtype=np.float64)
    correlation = float(np.corrcoef(arrival, ranks)[0, 1])
    steps = np.diff(ranks)
    if (steps > 0).all() or (steps < 0).all() or abs(correlation) * math.sqrt(places.size - 1) > MAX_Z:
        raise DataError(
            f"the items came in {what} (rank correlation {correlation:.2f}); a test that may stop at any item needs a "
            "random order: write one with `muscle watch OLD --order FILE --seed 0` and ask in it"
        )
