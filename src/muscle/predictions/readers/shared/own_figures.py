"""What a source says of itself, held against what was read of it.

A harness counts its samples and averages their scores before anybody can cut or edit its files. Where its own figure is
one that can be made again from what was read, and is another, the samples are not those of the run.
"""

from __future__ import annotations

from collections.abc import Sequence

from muscle.predictions.run import Unread

_TOLERANCE = 1e-6
"""Both are means of the same numbers, added up in another order; harnesses write them with all digits."""


def other_mean(metric: str, read: Sequence[float], own: float | None, *, where: str, by: str) -> list[Unread]:
    """Say that a source's own mean of a metric is not that of what was read; nothing where it is, or is not known.

    Args:
        metric: what the mean is of.
        read: the mean of what was read; several where the source does not say which of them is its own.
        own: what the source says it is; None where it doesn't.
        where: the file of what was read.
        by: what says so: "the log itself", the name of another file.
    """
    if own is None or not read or any(abs(mean - own) <= _TOLERANCE * max(1.0, abs(own)) for mean in read):
        return []
    what = f"{metric} is {read[0]:.6g} by its samples and {own:.6g} by {by}: samples were lost or changed after the run"
    return [Unread(what, where)]
