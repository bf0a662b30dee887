"""How numbers are written in a report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from muscle.flips.statistics.intervals import Estimate

Form = Literal["rate", "points", "percent", "score", "signed", "probability"]
"""How a number is written.

rate: [0, 1] shown in percent; points: a difference of rates in percentage points; percent: a number that is in percent
already; score, signed: a task's own score and a difference of it; probability: a p-value.
"""

MINUS = "\N{MINUS SIGN}"
DASH = "\N{EN DASH}"
"""What stands where nothing was computed."""


def count(number: int) -> str:
    """Return a count with commas between thousands.

    >>> count(1234567)
    '1,234,567'
    """
    return f"{number:,}"


def format_number(value: float, form: Form) -> str:
    """Return the rounded form of a number; one that is not zero never reads as zero.

    >>> format_number(0.098, "rate"), format_number(-0.00025, "points"), format_number(-53.26, "percent")
    ('9.8%', '−0.025', '−53.3%')
    >>> format_number(0.32056, "score"), format_number(12.3456, "signed"), format_number(3e-9, "probability")
    ('0.321', '+12.35', '3.0e-09')
    """
    if form == "rate":
        return f"{_decimals(100 * value, 1)}%"
    if form == "points":
        return _signed(_decimals(100 * value, 1))
    if form == "percent":
        return f"{_signed(_decimals(value, 1))}%"
    if form == "probability":
        return f"{value:.3f}" if value >= 0.001 or value == 0 else f"{value:.1e}"
    text = _decimals(value, 3 if abs(value) < 10 else 2)
    return _signed(text) if form == "signed" else text


def estimate(metric: Estimate | None, form: Form) -> str:
    """Write a metric: value and interval, "undefined", or a dash where it was not computed.

    >>> estimate(Estimate(0.05, 0.02, 0.09), "rate")
    '5.0% (2.0% to 9.0%)'
    """
    written = interval_alone(metric, form)
    return f"{value_alone(metric, form)} {written}" if written else value_alone(metric, form)


def value_alone(metric: Estimate | None, form: Form) -> str:
    """Write a metric without its interval."""
    if metric is None:
        return DASH
    return "undefined" if metric.value is None else format_number(metric.value, form)


def interval_alone(metric: Estimate | None, form: Form) -> str:
    """Write a metric's interval in brackets; empty where it has none."""
    if metric is None or metric.value is None or metric.low is None or metric.high is None:
        return ""
    return f"({format_number(metric.low, form)} to {format_number(metric.high, form)})"


def probability(value: float | None) -> str:
    """Write a p-value; a dash where nothing was tested."""
    return DASH if value is None else format_number(value, "probability")


def told_apart(value: float, among: Sequence[float]) -> str:
    """Write one of several numbers with as many digits as it takes to see how they differ, five at least.

    >>> [told_apart(value, [3.50417, 3.5044]) for value in (3.50417, 3.5044)], told_apart(0.25, [0.25])
    (['3.50417', '3.5044'], '0.25')
    >>> told_apart(3.504171234, [3.504171234, 3.504173])
    '3.50417123'
    """
    spread = max(among) - min(among)
    if not spread or not value:
        return f"{value:.5g}"
    # Three digits of the spread between them; more than 15 a float doesn't have.
    digits = math.floor(math.log10(abs(value))) - math.floor(math.log10(spread)) + 3
    return f"{value:.{min(15, max(5, digits))}g}"


def _decimals(value: float, places: int) -> str:
    """Round to `places`, or to two significant digits where that would leave nothing."""
    text = f"{value:,.{places}f}"
    if value != 0 and float(text.replace(",", "")) == 0:
        return f"{value:.2g}".replace("-", MINUS)
    # A zero has no sign, whatever rounding left of it.
    return text.replace("-", MINUS) if float(text.replace(",", "")) != 0 else text.lstrip("-")


def _signed(text: str) -> str:
    return text if text.startswith(MINUS) or not text.strip("0.,") else f"+{text}"
