"""What a judge's errors do to a task's verdict: flips that a judge counted are its word, not the truth.

What its corrected difference does not bear out is not told, so that a verdict only gets more careful; but people's
labels, which say how the judge erred on each version, may also prove a loss that it did not see.
"""

from __future__ import annotations

from muscle.flips.explaining.judges import ByErrors, ByLabels, JudgeCorrections
from muscle.flips.result.finding import Word
from muscle.flips.statistics.intervals import Estimate


def heed_judge(word: Word, reason: str, judge: JudgeCorrections | None, *, tolerance: float) -> tuple[Word, str]:
    """Return a task's verdict and its sentence once the judge's errors are allowed for.

    - A loss that the judge's flips prove stands where the whole corrected interval is below 0. For known errors that
      are alike on both versions it is as old: then the sign of the difference is the judge's, if the judge is better
      than a coin.
    - A pass stands where a corrected loss beyond the tolerance is excluded too.

    Args:
        word: the verdict by the judge's own flips.
        reason: its sentence.
        judge: what corrects the judge on these two versions; None where nothing does.
        tolerance: loss that is let pass, a share.
    """
    found = _correction(judge)
    if found is None:
        return word, reason
    by_labels, difference = isinstance(found, ByLabels), found.difference
    by_what = "by people's labels" if by_labels else "by its known errors"
    told = f"{reason}; the judge corrected {by_what}, the difference is {_written(difference)}"
    low, high = difference.low, difference.high
    if low is None or high is None:
        return ("cannot_tell", told) if word in ("pass", "block") else (word, told)
    if by_labels and high < 0:
        return "block", told
    if word == "block":
        proven = high < 0 if by_labels else difference.why is None
        return (word, told) if proven else ("cannot_tell", f"{told}, which proves no loss")
    if word == "pass" and low < -tolerance:
        return "cannot_tell", f"{told}, which does not exclude a loss beyond what is let pass"
    return word, told


def _correction(judge: JudgeCorrections | None) -> ByLabels | ByErrors | None:
    """Return the correction that is taken: people's labels before known errors."""
    for found in (judge.labels, judge.errors) if judge else ():
        if found is not None and found.difference.value is not None:
            return found
    return None


def _written(difference: Estimate) -> str:
    if difference.low is None:
        return f"{difference.value:+.3f}, without an interval"
    why = f"; {difference.why}" if difference.why else ""
    return f"{difference.value:+.3f} ({difference.low:+.3f} to {difference.high:+.3f}{why})"
