"""What a rule is worth on items that it was not fitted on: accuracy, flips, cost, their curves, and the bound."""

from __future__ import annotations

import importlib.metadata
import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

import numpy as np

from muscle.flips.statistics.arrays import Bools, Floats, Ints
from muscle.flips.wording import percent_in_three_digits
from muscle.route.bound import Bound, Counts, Prices, Verdict, bound
from muscle.route.gate_model import SURE, known
from muscle.route.items import Items
from muscle.route.kappa import Step, kappa_words, steps
from muscle.route.labelling.draw import Draw, is_apart
from muscle.route.likelihoods import threshold_for
from muscle.route.option_rules import OptionRule
from muscle.route.rule_file import Kind, RuleFile
from muscle.route.scores import option_scores
from muscle.route.serving import Served, serve, told_of, two_of

FORMAT = "muscle-route/1"
MAX_STEPS = 40
"""Points of a curve."""
_OUTSIDE = 3
"""Added to the stratum of an item whose verdict stands for itself alone."""
ASK_SHARES = (0.0, 0.05, 0.1, 0.25, 0.5, 1.0)


@dataclass(frozen=True)
class Way:
    """What comes of one way to answer, on the items that were not fitted on.

    Attributes:
        name: "old", "new" or "rule".
        words: what it is.
        accuracy: share of the items that are right; None where no item of a kind was judged.
        gain: accuracy less that of the new model alone, which needs no verdict where both agree; None where no item
            that differs was judged.
        negative_flip_rate: share of the items that the old model had right and that are wrong; None where no item that
            differs was judged.
        asked_share: share of the items about which the old model is asked.
        cost: of 1,000 items, by the prices.
    """

    name: str
    words: str
    accuracy: float | None
    gain: float | None
    negative_flip_rate: float | None
    asked_share: float
    cost: float


@dataclass(frozen=True)
class CurvePoint:
    """A point of the curve; the bound holds for the rule alone, not for one that is picked here.

    Attributes:
        kappa: of the point; None is infinite.
        asked_share: share of the items about which the old model is asked.
        accuracy: share of the items that are right; None where no item of a kind was judged.
        gain: accuracy less that of the new model alone.
        flips: negative flips in 1,000 items.
        cost: of 1,000 items.
    """

    kappa: float | None
    asked_share: float
    accuracy: float | None
    gain: float
    flips: float
    cost: float


@dataclass(frozen=True)
class RouteReport:
    """What a rule is worth.

    Attributes:
        format: of this form.
        muscle_version: that made it.
        created: when.
        old: the old run's name.
        new: the new run's.
        kind: of the rule.
        kappa: of the rule; "infinite" keeps every old answer that is asked for, None is a mixture's.
        num_fitted: items that the rule was fitted on.
        ways: old alone, new alone, and the rule.
        flips_saved: share of the new model's negative flips that the rule saves; None where it has none.
        bound: on the rule's negative flips; None where no item was kept apart.
        by_kappa: the curve over kappa.
        by_asked: the curve over the share of the items about which the old model is asked; empty where it always is.
        missing: what of the runs is missing, in words; empty where nothing is.
        notes: what a reader must know.
    """

    format: str
    muscle_version: str
    created: str
    old: str
    new: str
    kind: Kind
    kappa: float | Literal["infinite"] | None
    num_fitted: int
    ways: tuple[Way, ...]
    flips_saved: float | None
    bound: Bound | None
    by_kappa: tuple[CurvePoint, ...]
    by_asked: tuple[CurvePoint, ...]
    missing: str
    notes: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        """Whether the bound keeps the limit; "cannot_tell" without a bound."""
        return "cannot_tell" if self.bound is None else self.bound.verdict

    @property
    def headline(self) -> str:
        """The verdict in a sentence."""
        found = self.bound
        if found is None:
            return "cannot tell: no item was kept apart from the fit"
        seen = "an unknown share" if found.value is None else percent_in_three_digits(found.value)
        most, limit = percent_in_three_digits(found.high), percent_in_three_digits(found.limit)
        if found.high > found.limit and most == limit:  # 298 items without a flip prove 1.0002 %
            most = f"a little more than {limit}"
        words = {"pass": "pass", "block": "block", "cannot_tell": "cannot tell"}[found.verdict]
        return (
            f"{words}: old right and answer wrong in {seen} of the items, at most {most} "
            f"({found.confidence:.0%}, Clopper-Pearson), limit {limit}: {found.how}"
        )


@dataclass(frozen=True)
class Judging:
    """What a report is made by, beside rule and items.

    Attributes:
        prices: of a call.
        names: of the runs.
        draw: which items were drawn at random to be judged; None where those that nobody judged may be of any kind.
        apart: share of the items to which those that are reported on were kept; 1 where it is all.
        notes: what is known already that a reader must know.
    """

    prices: Prices
    names: tuple[str, str]
    draw: Draw | None = None
    apart: float = 1.0
    notes: tuple[str, ...] = ()


def report_on(rule: RuleFile, items: Items, served: Served, rows: Bools, judging: Judging) -> RouteReport:
    """Report on some of the items, and on what is missing.

    Args:
        rule: that answered.
        items: all of both runs.
        served: whose answer each item got by the rule.
        rows: (items,), those that the report is on.
        judging: prices, names and how the items came to be labelled.
    """
    counts = _counts_for_bound(rule, items, served, rows, judging)
    found = None if counts.num == 0 else bound(counts, limit=rule.flip_limit)
    ways = _ways(rule, items, served, rows, judging)
    plain, ruled = ways[1].negative_flip_rate, ways[2].negative_flip_rate
    saved = None if not plain or ruled is None else 1 - ruled / plain
    return RouteReport(
        FORMAT,
        importlib.metadata.version("muscle-llm"),
        datetime.now(UTC).isoformat(timespec="seconds"),
        judging.names[0],
        judging.names[1],
        rule.kind,
        rule.kappa,
        len(rule.fingerprints),
        ways,
        saved,
        found,
        _by_kappa(rule, items, served, rows, judging.prices),
        _by_asked(rule, items, rows, judging.prices),
        items.lost.sentence(),
        _to_know(items, served, rows, judging),
    )


def _counts_for_bound(rule: RuleFile, items: Items, served: Served, rows: Bools, judging: Judging) -> Counts:
    """Count what a bound is made from."""
    fitted = rule.fingerprints
    is_in = [each not in fitted and is_apart(each, judging.apart) for each in items.lost.fingerprints]
    num_unread: list[int | None] = []
    for side, of_side in enumerate(items.lost.unread):
        # What could not be read of a run may be what the other run's items wait for: then it is counted already.
        waiting = sum(known and only == side for known, only in zip(is_in, items.lost.lacking, strict=True))
        numbers = [each.num_items for each in of_side]
        num_unread += [None] if None in numbers else []
        num_unread.append(max(0, sum(number or 0 for number in numbers) - waiting))
    moved, old, right = served.moved & rows, items.old.right, served.right
    draw = judging.draw
    if draw is None:
        told, drawn = moved & ~np.isnan(old) & ~np.isnan(right), np.zeros_like(moved)
    else:
        drawn = moved & draw.judged
        told = drawn | moved & draw.outside
    flips = told & (old == 1) & (right != 1)
    return Counts(
        int(rows.sum()),
        int(moved.sum()),
        int(told.sum()),
        int(flips.sum()),
        sum(is_in) + sum(number or 0 for number in num_unread),
        None in num_unread,
        int(drawn.sum()),
        int((flips & drawn).sum()),
        0 if draw is None else int((moved & draw.passed_over).sum()),
    )


def _to_know(items: Items, served: Served, rows: Bools, judging: Judging) -> tuple[str, ...]:
    notes = list(judging.notes)
    unknown = int((rows & served.moved & np.isnan(served.right)).sum())
    if unknown:
        told = f"{unknown:,} answers that are not the old one's have no verdict"
        if judging.draw is not None and judging.draw.judged.any():
            notes.append(f"{told}; the bound holds if those that have one are a random part")
        else:
            random = "if those that have one are a random part, say so (--labelled-at-random)"
            notes.append(f"{told} and are taken for flips in the bound; {random}")
    doubled = int(rows.sum()) - len({each for each, is_in in zip(items.fingerprints, rows, strict=True) if is_in})
    if doubled:
        notes.append(f"{doubled:,} of the items say what another one says; the bound takes each for a draw of its own")
    if not rows.any():
        notes.append("no item was kept apart: muscle route check tells what the rule is worth on others")
    calls = [side.calls for side in (items.old, items.new)]
    if max(calls) > 1:
        notes.append(f"an item takes {calls[1]:.3g} calls of the new model and {calls[0]:.3g} of the old one, as here")
    return tuple(notes)


def _ways(rule: RuleFile, items: Items, served: Served, rows: Bools, judging: Judging) -> tuple[Way, ...]:
    prices = judging.prices
    calls = {"old_calls": items.old.calls, "new_calls": items.new.calls}
    asked = float(served.asked[rows].mean()) if rows.any() else 0.0
    given = (
        ("old", "old model alone", items.old.right, 1.0, 1000 * prices.old * items.old.calls),
        ("new", "new model alone", items.new.right, 0.0, prices.per_thousand(0.0, **calls)),
        ("rule", _rule_words(rule), served.right, asked, prices.per_thousand(asked, **calls)),
    )
    # Of kept answers the old model's verdict is enough, of the others it is not: each kind is known to its own part.
    strata = np.where(served.moved, 2, np.where(served.differs, 1, 0))
    if judging.draw is not None:
        strata = np.where(judging.draw.outside & (strata > 0), strata + _OUTSIDE, strata)
    ways = [_way(*each, items=items, strata=np.where(rows, strata, -1)) for each in given]
    return tuple(ways)


def _rule_words(rule: RuleFile) -> str:
    kappa = rule.kappa if isinstance(rule.kappa, str) else "" if rule.kappa is None else kappa_words(rule.kappa)
    names = {"gate": "gate", "stack": "stack", "mixture": "mixture of both"}
    return f"{names[rule.kind]}, kappa {kappa}" if kappa else names[rule.kind]


def _way(name: str, words: str, right: Floats, asked: float, cost: float, *, items: Items, strata: Ints) -> Way:
    lost = np.where(np.isnan(right) | np.isnan(items.old.right), np.nan, (items.old.right == 1) & (right == 0))
    # Nothing flips, and nothing is gained, where all answers are the same or the one in question is given.
    is_still = strata == 0 if name == "new" else strata % _OUTSIDE < 2
    flips = _mean_of_known(np.where(is_still | (name == "old"), 0.0, lost), strata)
    gain = _mean_of_known(np.where((strata == 0) | (name == "new"), 0.0, right - items.new.right), strata)
    return Way(name, words, _mean_of_known(right, strata), gain, flips, asked, cost)


def _mean_of_known(values: Floats, strata: Ints) -> float | None:
    """Return the mean of what is known, each stratum by its number; None where one has nothing known.

    Args:
        values: (items,); NaN where not known.
        strata: (items,) number of each item's stratum; -1 leaves it out.
    """
    total = int((strata >= 0).sum())
    if total == 0:
        return None
    found = 0.0
    for number in np.unique(strata[strata >= 0]).tolist():
        own = values[strata == number]
        told = own[~np.isnan(own)]
        if told.size == 0:
            return None
        found += own.size / total * float(told.mean())
    return found


def _by_kappa(rule: RuleFile, items: Items, served: Served, rows: Bools, prices: Prices) -> tuple[CurvePoint, ...]:
    """Return the curve over kappa, thinned; empty for a mixture, which has none."""
    two = two_of(items, served, rows)
    if rule.kappa is None or two.needed.size == 0:
        return ()
    every = steps(two)
    places = np.unique(np.linspace(0, len(every) - 1, min(MAX_STEPS, len(every))).round().astype(int))
    return tuple(_curve_point(every[place], items, served, rows, prices) for place in places.tolist())


def _curve_point(step: Step, items: Items, served: Served, rows: Bools, prices: Prices) -> CurvePoint:
    """Return what comes of a kappa as a point of a curve."""
    two, told = two_of(items, served, rows), told_of(items, served) & rows
    asked = float(served.asked[rows].mean())
    plain = float(two.weight @ items.new.right[told])
    all_kinds = all((told & kind).any() or not (rows & kind).any() for kind in (served.differs, ~served.differs))
    return CurvePoint(
        _finite(step.log_kappa),
        asked,
        step.accuracy if all_kinds else None,
        step.accuracy - plain,
        1000 * step.negative_flip_rate,
        prices.per_thousand(asked, old_calls=items.old.calls, new_calls=items.new.calls),
    )


def _finite(log_kappa: float) -> float | None:
    return math.exp(log_kappa) if log_kappa < 700 else None


def _by_asked(rule: RuleFile, items: Items, rows: Bools, prices: Prices) -> tuple[CurvePoint, ...]:
    """Return what comes of asking the old model about other shares, kappa as it is; empty where nothing tells."""
    given, scores = rule.rule(), None
    if isinstance(given, OptionRule):
        scores = option_scores(items)
        sure = given.sureness(scores)
    else:
        named = [name for name in SURE if not np.isnan(known(items, name, given.confidence)[rows]).all()]
        if not named:
            return ()
        given = replace(given, ask_by=given.ask_by or named[0])
        sure = np.nan_to_num(known(items, given.ask_by or named[0], given.confidence), nan=-1.0)
    if not rows.any():
        return ()
    points: list[CurvePoint] = []
    for share in ASK_SHARES:
        served = serve(replace(given, ask_below=threshold_for(sure[rows], share)), items, scores)
        two = two_of(items, served, rows)
        if two.needed.size == 0:
            return ()
        point = _curve_point(two.at(given.log_kappa), items, served, rows, prices)
        # Items that are equally sure are all asked or none.
        points += [point] if not points or point.asked_share != points[-1].asked_share else []
    return tuple(points)
