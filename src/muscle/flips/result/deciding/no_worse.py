"""Which further runs do no worse than a candidate: a control, another method, the bare base.

A method helps only where it beats what does without it. No test is made: it is the candidate that has to show more.
"""

from __future__ import annotations

from collections.abc import Sequence

from muscle.flips.measuring.side_numbers import SideNumbers
from muscle.flips.result.deciding.story import pooled_level
from muscle.flips.result.report import FLOOR_NAME, Report
from muscle.flips.wording import percent
from muscle.foreign_text import middle_cut

_MAX_NAME = 60


def no_worse(report: Report) -> str | None:
    """Name the best further run that breaks no more than the candidate and is right as often, with both ones' figures.

    Args:
        report: with a candidate or without; its tasks of right and wrong are looked at, and of the further runs all
            but the old recipe trained again, which is no way out.

    Returns:
        A sentence; None where the candidate is the better one everywhere.
    """
    tasks = {name: task for name, task in report.tasks.items() if task.kind == "binary"}
    own = _rates_of([task.old_vs_candidate for task in tasks.values()])
    if own is None:
        return None
    as_good = {}
    for other in report.others:
        figures = _rates_of([other.tasks.get(name) for name in tasks])
        if other.name != FLOOR_NAME and figures is not None and figures[0] <= own[0] and figures[1] >= own[1]:
            as_good[other.name] = figures
    if not as_good:
        return None
    name = min(as_good, key=lambda each: (as_good[each][0], -as_good[each][1]))
    return (
        f"No worse than the candidate is {middle_cut(name, _MAX_NAME)}: it breaks {_in_figures(as_good[name])}, "
        f"the candidate {_in_figures(own)}"
    )


def _rates_of(numbers: Sequence[SideNumbers | None]) -> tuple[float, float] | None:
    """Return negative flip rate and accuracy over all items; None where one is not known."""
    known = [each for each in numbers if each is not None]
    if len(known) < len(numbers):
        return None
    flips, level = (pooled_level(known, name) for name in ("negative_flip_rate", "accuracy_new"))
    return None if flips is None or level is None else (flips, level)


def _in_figures(figures: tuple[float, float]) -> str:
    return f"{percent(figures[0])} at accuracy {percent(figures[1])}"
