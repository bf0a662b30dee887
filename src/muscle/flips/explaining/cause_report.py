"""What a report tells of causes: flips by cause, right answers in a form that is not accepted, and a sentence.

Since each flip has one cause, accuracy_old - accuracy_new = sum over causes of (negative - positive flips) / N,
exactly: "3.9 points lost, all of it format" is read from that sum.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from muscle.flips.explaining.causes import CauseCounts, Causes, StrictLoose
from muscle.flips.pairing.pair import WithOld
from muscle.typed_json import OPTIONAL_KEY

_MIN_POINTS = 0.5
_MOST, _ALL = 0.5, 0.9


@dataclass(frozen=True)
class StrictLooseGaps:
    """The gap of each version; None where it is not known."""

    old: StrictLoose | None
    new: StrictLoose | None
    candidate: StrictLoose | None


@dataclass(frozen=True)
class TaskCauses:
    """Why a task's answers flipped.

    Attributes:
        strict_loose: right answers in a form that is not accepted; None where no loose scorer applies.
        loose_scorer: what the loose scorer is.
        sentence: which causes lost or gained points; None where that is less than chance.
        old_vs_new: flips by cause, of the plain update; no key where nothing can be told.
        old_vs_candidate: the same of the candidate.
    """

    strict_loose: StrictLooseGaps | None
    loose_scorer: str | None
    sentence: str | None
    old_vs_new: CauseCounts | None = field(default=None, metadata=OPTIONAL_KEY)
    old_vs_candidate: CauseCounts | None = field(default=None, metadata=OPTIONAL_KEY)


def causes_report(sides: Mapping[WithOld, Causes | None], total: Mapping[WithOld, int]) -> TaskCauses | None:
    """Return why a task's answers flipped, for the report; None where nothing can be told.

    Args:
        sides: the causes by side, `old_vs_new` and perhaps `old_vs_candidate`.
        total: the items by side.
    """
    plain, candidate = sides.get("old_vs_new"), sides.get("old_vs_candidate")
    found = [causes for causes in (plain, candidate) if causes is not None]
    if not found:
        return None
    old = next((causes.old for causes in found if causes.old), None)
    gaps = StrictLooseGaps(old, plain.new if plain else None, candidate.new if candidate else None)
    judged: WithOld = "old_vs_new" if candidate is None else "old_vs_candidate"
    return TaskCauses(
        strict_loose=gaps if old else None,
        loose_scorer=next((causes.loose_scorer for causes in found if causes.loose_scorer), None),
        sentence=sentence(found[-1].counts, total[judged]),
        old_vs_new=plain.counts if plain else None,
        old_vs_candidate=candidate.counts if candidate else None,
    )


def sentence(counts: CauseCounts, total: int) -> str | None:
    """Say how many points were lost or gained, and by which causes.

    None where that is less than half a point or than chance.
    A sum of flips counts where it is at least twice the square root of their number, about what McNemar's test asks
    for at 5 %.

    Args:
        counts: flips by cause.
        total: items, N.

    >>> sentence(CauseCounts({"format": 8, "knowledge": 2}, {"knowledge": 2}), 200)
    '4.0 points lost, all of it format'
    """
    lost, gained = counts.negative_flip, counts.positive_flip
    causes = sorted({*lost, *gained} - {"error"})
    net = {c: lost.get(c, 0) - gained.get(c, 0) for c in causes}
    flips = {c: lost.get(c, 0) + gained.get(c, 0) for c in causes}
    points = {c: 100 * n / total for c, n in net.items()}
    sure = {c: p for c, p in points.items() if abs(p) >= _MIN_POINTS and _beyond_chance(net[c], flips[c])}
    sum_points = sum(points.values())
    if abs(sum_points) < _MIN_POINTS or not _beyond_chance(sum(net.values()), sum(flips.values())):
        return _hidden(sure)
    sign, verb, other = (1, "lost", "gained") if sum_points > 0 else (-1, "gained", "lost")
    head = f"{abs(sum_points):.1f} points {verb}"
    main = max(points, key=lambda c: sign * points[c])
    against = [c for c in sure if sign * sure[c] < 0]
    if against:
        less = " and ".join(f"{abs(points[c]):.1f} {other} by {_in_words(c)}" for c in against)
        return f"{head}: {abs(points[main]):.1f} {verb} by {_in_words(main)}, {less}"
    share = points[main] / sum_points
    if share >= _ALL:
        return f"{head}, all of it {_in_words(main)}"
    if share > _MOST:
        return f"{head}, most of it {_in_words(main)} ({abs(points[main]):.1f})"
    parts = [f"{abs(p):.1f} {_in_words(c)}" for c, p in points.items() if sign * p > 0]
    return f"{head}: {', '.join(parts)}"


def _hidden(points: Mapping[str, float]) -> str | None:
    """Say where causes cancel each other out, so that accuracy shows nothing."""
    lost = max(points, key=lambda c: points[c], default=None)
    gained = min(points, key=lambda c: points[c], default=None)
    if lost is None or gained is None or points[lost] <= 0 or points[gained] >= 0:
        return None
    less, more = f"{points[lost]:.1f} points lost by {_in_words(lost)}", f"{-points[gained]:.1f} gained"
    return f"{less} and {more} by {_in_words(gained)}"


def _beyond_chance(net: int, flips: int) -> bool:
    return flips > 0 and net * net >= 4 * flips


def _in_words(cause: str) -> str:
    return cause.replace("_", " ")
