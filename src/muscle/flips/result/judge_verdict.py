"""What a judge's errors do to a task's verdict: flips that a judge counted are its word, not the truth.

What its corrected difference does not bear out is not told, so that a verdict only gets more careful; but people's labels, which say how the
judge erred on each version, may also prove a loss that it did not see.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from muscle.flips.result.verdict import Word


def heed_judge(
    word: Word, reason: str, judge: Mapping[str, Any] | None, *, tolerance: float
) -> tuple[Word, str]:
    """Return a task's verdict and its sentence once the judge's errors are allowed for.

    - A loss that the judge's flips prove stands where the whole corrected interval is below 0. For known errors that are
      alike on both versions it is as old: then the sign of the difference is the judge's, if the judge is better than a coin.
    - A pass stands where a corrected loss beyond the tolerance is excluded too.

    Args:
        word: the verdict by the judge's own flips.
        reason: its sentence.
        judge: the side's part of the task's `judge` in the report; None where nothing corrects it.
        tolerance: loss that is let pass, a share.
    """
    kind, found = _correction(judge)
    if found is None:
        return word, reason
    difference = found["difference"]
    told = f"{reason}; the judge corrected {_WORDS[kind]}, the difference is {_span(difference)}"
    low, high = difference["low"], difference["high"]
    if low is None or high is None:
        return ("cannot_tell", told) if word in ("pass", "block") else (word, told)
    if kind == "labels" and high < 0:
        return "block", told
    if word == "block":
        proven = high < 0 if kind == "labels" else "why" not in difference
        return (word, told) if proven else ("cannot_tell", f"{told}, which proves no loss")
    if word == "pass" and low < -tolerance:
        return "cannot_tell", f"{told}, which does not exclude a loss beyond what is let pass"
    return word, told


_WORDS = {"labels": "by people's labels", "errors": "by its known errors"}


def _correction(judge: Mapping[str, Any] | None) -> tuple[str, Mapping[str, Any] | None]:
    """Return the correction that is taken: people's labels before known errors."""
    for kind in _WORDS:
        found = (judge or {}).get(kind)
        if found and found["difference"]["value"] is not None:
            return kind, found
    return "", None


def _span(difference: Mapping[str, Any]) -> str:
    if difference["low"] is None:
        return f"{difference['value']:+.3f}, without an interval"
    why = f"; {difference['why']}" if "why" in difference else ""
    return f"{difference['value']:+.3f} ({difference['low']:+.3f} to {difference['high']:+.3f}{why})"
