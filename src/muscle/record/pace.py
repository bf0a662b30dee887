"""What a recording may cost and how fast it may ask: limits that hold before a call goes out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

TOKENS_A_PRICE = 1_000_000

_MOST_TOKENS = 10**12
"""Of a call; who tells of more, or of less than none, tells nothing."""


@dataclass(frozen=True)
class Usage:
    """Tokens of a call.

    Attributes:
        read: of the prompt.
        written: of the answer.
    """

    read: int = 0
    written: int = 0

    def __add__(self, other: Usage) -> Usage:
        """Return the sum."""
        return Usage(self.read + other.read, self.written + other.written)

    @classmethod
    def told(cls, read: object, written: object) -> Usage | None:
        """Return the tokens that a server or a file tells; None where these are no such numbers."""
        known = [each for each in (read, written) if isinstance(each, int) and 0 <= each <= _MOST_TOKENS]
        return cls(*known) if len(known) == 2 else None


@dataclass(frozen=True)
class Price:
    """What a million tokens cost, in the user's own currency.

    Attributes:
        read: of prompts.
        written: of answers.
    """

    read: float = 0.0
    written: float = 0.0

    def of(self, usage: Usage) -> float:
        """Return what tokens cost."""
        return (self.read * usage.read + self.written * usage.written) / TOKENS_A_PRICE


@dataclass(frozen=True)
class Limits:
    """What a recording may do.

    Attributes:
        max_calls: calls that go out, tries that failed among them.
        max_cost: of the whole record, what was paid in earlier runs included.
        rate: calls a minute.
        price: of tokens.
    """

    max_calls: int | None = None
    max_cost: float | None = None
    rate: float | None = None
    price: Price = Price()


class LimitReached(Exception):
    """The next call would go beyond a limit; in words."""


@dataclass
class Reserved:
    """What is set aside for an item.

    Attributes:
        cost: that it may have.
        calls: that are still to go out.
    """

    cost: float
    calls: int


class Meter:
    """Counts calls and money, holds both to their limits, and keeps calls apart in time; for several threads.

    Args:
        limits: what may be done.
        spent: tokens that the record has cost already.
        clock: seconds, as `time.monotonic` gives them.
        wait: waits for so many seconds.
    """

    def __init__(
        self,
        limits: Limits,
        spent: Usage = Usage(),
        *,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self.limits = limits
        self.num_calls = 0
        self._usage = spent
        self._cost_ahead, self._calls_ahead = 0.0, 0
        self._next_at = 0.0
        self._first_at = self._last_at = 0.0
        self._lock = threading.Lock()
        self._clock, self._wait = clock, wait

    @property
    def cost(self) -> float:
        """What the record has cost."""
        return self.limits.price.of(self._usage)

    @property
    def usage(self) -> Usage:
        """The tokens that the record has cost."""
        return self._usage

    @property
    def calls_a_minute(self) -> float | None:
        """How fast calls have gone out; None before the second."""
        passed = self._last_at - self._first_at
        return 60.0 * (self.num_calls - 1) / passed if passed > 0 else None

    def reserve(self, most: Usage, num_calls: int = 1) -> Reserved:
        """Set aside what an item can take at most, before it is asked.

        Args:
            most: tokens.
            num_calls: that it takes where none fails.

        Raises:
            LimitReached: it may not be asked.
        """
        cost, most_cost, most_calls = self.limits.price.of(most), self.limits.max_cost, self.limits.max_calls
        with self._lock:
            if most_cost is not None and self.cost + self._cost_ahead + cost > most_cost:
                raise LimitReached(
                    f"--max-cost {most_cost:g}: {self.cost:.4g} spent, and the next item may cost up to {cost:.2g}"
                )
            if most_calls is not None and self.num_calls + self._calls_ahead + num_calls > most_calls:
                raise LimitReached(f"--max-calls {most_calls}")
            self._cost_ahead += cost
            self._calls_ahead += num_calls
        return Reserved(cost, num_calls)

    def settle(self, reserved: Reserved, paid: Usage) -> None:
        """Count what an item has taken in place of what was set aside."""
        with self._lock:
            self._cost_ahead -= reserved.cost
            self._calls_ahead -= reserved.calls
            self._usage += paid

    def begin_call(self, reserved: Reserved) -> None:
        """Count a call of an item, and wait until it may go out.

        Raises:
            LimitReached: it is one more than was set aside, since another failed, and may not go out.
        """
        with self._lock:
            most = self.limits.max_calls
            if reserved.calls:
                reserved.calls -= 1
                self._calls_ahead -= 1
            elif most is not None and self.num_calls + self._calls_ahead >= most:
                raise LimitReached(f"--max-calls {most}")
            self.num_calls += 1
            now = self._clock()
            at = max(now, self._next_at)
            self._next_at = at + (60.0 / self.limits.rate if self.limits.rate else 0.0)
            self._first_at, self._last_at = (at if self.num_calls == 1 else self._first_at), at
        if at > now:
            self._wait(at - now)
