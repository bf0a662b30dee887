"""How shares, limits and p-values are written in a sentence; tables and charts have `muscle.report.numbers`."""

from __future__ import annotations


def percent(value: float) -> str:
    """Write a share in percent with one decimal, and two significant digits below one percent.

    >>> percent(0.0984), percent(0.00432), percent(-0.0), percent(0.3 - 0.2 - 0.1)
    ('9.8%', '0.43%', '0%', '0%')
    """
    value = _without_dust(value)
    return f"{100 * value:.2g}%" if abs(value) < 0.01 else f"{100 * value:.1f}%"


def percent_in_three_digits(value: float) -> str:
    """Write a share in percent with three digits: enough to tell a bound from the limit that it just misses.

    >>> percent_in_three_digits(0.0345), percent_in_three_digits(0.00994), percent_in_three_digits(-0.0)
    ('3.45%', '0.994%', '0%')
    """
    return f"{100 * _without_dust(value):.3g}%"


def percent_in_full(limit: float) -> str:
    """Write a limit in percent as it was given, not rounded.

    >>> percent_in_full(0.01), percent_in_full(0.012345), percent_in_full(0.07)
    ('1%', '1.2345%', '7%')
    """
    return f"{100 * limit:.10g}%"


def percent_of_limit(limit: float) -> str:
    """Write a limit in a sentence: with one decimal, or as it was given where that would round it.

    >>> percent_of_limit(0.01), percent_of_limit(0.0125), percent_of_limit(0.001)
    ('1.0%', '1.25%', '0.1%')
    """
    rounded, exact = percent(limit), percent_in_full(limit)
    return rounded if float(rounded[:-1]) == float(exact[:-1]) else exact


def true_to_limit(text: str, value: float, limit: float) -> str:
    """Return a share's text, with more digits where rounding put it on the other side of a limit, or onto it.

    Args:
        text: the rounded share in percent.
        value: the share, in [0, 1].
        limit: what the share is said to be above, or not above.

    >>> true_to_limit("1.0%", 0.01004, 0.01), true_to_limit("1.0%", 0.00996, 0.01)
    ('1.004%', '1.0%')
    """
    exact = round(100 * limit, 9)
    for digits in range(3, 18):
        if (float(text[:-1]) > exact) == (value > limit):
            break
        text = f"{100 * value:.{digits}g}%"
    return text


def p_value(value: float) -> str:
    """Write a p-value with its sign.

    >>> p_value(0.0312), p_value(1e-9)
    ('p = 0.031', 'p < 0.001')
    """
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"


def _without_dust(value: float) -> float:
    """Return the value without what rounding left of a zero, and without a zero's sign."""
    return round(value, 12) + 0.0
