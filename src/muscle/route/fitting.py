"""`fit` and `check`: a rule from labelled items, and what it is worth on items that it was not fitted on.

Each item is drawn by its fingerprint into the part that is fitted on or the part that is kept apart, so that the same
item falls into the same part in every file. kappa is chosen on the first; everything that is reported comes from the
second. What was fitted on is refused by name of its fingerprint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy import special

from muscle.errors import ConfigError, DataError
from muscle.flips.options import DEFAULTS, TOLERANCE, CompareOptions
from muscle.flips.statistics.arrays import Bools, Floats
from muscle.predictions.run import Source
from muscle.route.bound import Prices
from muscle.route.gate_model import SURE, GateRule, fit_gate, known
from muscle.route.items import CONFIDENCE_SCORE, Items, pair_items
from muscle.route.kappa import Two, choose_kappa, fewest_flips, meets
from muscle.route.labelling.draw import (
    DEFAULT_APART,
    Draw,
    all_drawn,
    chosen_for_fit,
    draw_of,
    is_apart,
    notes_on,
    refuse_chosen,
)
from muscle.route.labelling.labels import Labels, with_labels
from muscle.route.likelihoods import threshold_for
from muscle.route.option_rules import NO_GOLD, OptionRule, fit_options
from muscle.route.rule_file import Kind, Paid, RuleFile, fitted_on, made_now, rule_file
from muscle.route.scores import has_scores, lacking_scores, option_scores
from muscle.route.serving import gated, serve, two_of
from muscle.route.worth import Judging, RouteReport, report_on

MIN_JUDGED = 20
"""Judged items that a rule is fitted on at least."""
MIN_DECIDED = 10
"""Judged disagreements with exactly one right side that a gate is fitted on at least."""

_NOT_MET = (
    "asking the old model about {:.0%} of the items does not bring the flips to {:.2%} where the rule was fitted: "
    "kappa has the fewest flips at the new model's accuracy; ask about more (--ask-share)"
)

_GATE_OF_SOME = (
    "{:,} of {:,} items lack likelihoods of the options from a model: the rule is a gate, from answers alone; with all "
    "of them it would be a stack"
)


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """How a rule is fitted.

    Attributes:
        kind: "auto" takes a stack where both runs have likelihoods of the options, else a gate.
        share: the old model's in a mixture.
        flip_limit: negative flip rate that kappa shall meet, and that the bound is held against.
        keep_accuracy: choose the kappa with the fewest flips that is as accurate as the new model alone, whatever the
            limit; the bound is held against the limit all the same.
        ask_share: share of the items about which the old model is asked, those where the new one is least sure.
        slices: slices that are known when a question is answered, for a gate.
        confidence: name of the score in which a model says how sure it is, for a gate.
        apart: share of the items that is kept apart for the bound.

    Raises:
        ConfigError: a share is none.
    """

    kind: Kind | Literal["auto"] = "auto"
    share: float = 0.5
    flip_limit: float = TOLERANCE
    keep_accuracy: bool = False
    ask_share: float = 1.0
    slices: Sequence[str] = ()
    confidence: str = CONFIDENCE_SCORE
    apart: float = DEFAULT_APART

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        for name in ("share", "flip_limit", "ask_share", "apart"):
            value = getattr(self, name)
            if not 0 <= value <= 1 or (name == "apart" and value == 1):
                raise ConfigError(f"route: {name}: expected a share in [0, 1], found {value}")


@dataclass(frozen=True)
class RouteFit:
    """A fitted rule and what it is worth on the items kept apart."""

    rule: RuleFile
    report: RouteReport


def fit_route(
    old: Source,
    new: Source,
    *,
    options: CompareOptions = DEFAULTS,
    fit: FitOptions | None = None,
    prices: Prices | None = None,
    labels: Labels | None = None,
    labelled_at_random: bool = False,
) -> RouteFit:
    """Fit a rule on a part of the labelled items, and report on the part that is kept apart.

    Args:
        old: the old model's answers, recorded or fresh, in any format that `muscle.compare` reads.
        new: the new model's.
        options: how the runs are read and paired.
        fit: how the rule is fitted.
        prices: of a call; 1 each without.
        labels: verdicts beside those of the runs, from lists of `muscle route label`.
        labelled_at_random: whether all judged disagreements are a random part of all; of lists it is known what is.

    Returns:
        The rule, and the report.

    Raises:
        ConfigError: a share is none, or there are too many items.
        DataError: a run cannot be read, or too few items are judged.
        JoinError: the runs do not belong together.
    """
    how, price = fit or FitOptions(), prices or Prices()
    plain = pair_items(old, new, options, confidence=how.confidence)
    items = with_labels(plain, labels)
    apart = np.array([is_apart(each, how.apart) for each in items.fingerprints], dtype=np.bool_)
    refuse_chosen(items, labels, apart, "give --apart as it was when the list was made")
    kind = how.kind if how.kind != "auto" else "stack" if has_scores(items) else "gate"
    rule = _fitted_gate(items, ~apart, how) if kind == "gate" else _fitted_options(items, ~apart, how, kind)
    names = items.names
    draft = rule_file(rule, made=made_now(**_facts(names)), flip_limit=how.flip_limit)
    served = serve(draft.rule(), items)
    two = two_of(items, served, ~apart)
    chosen = two.at(draft.log_kappa)
    judged = int((items.judged & ~apart).sum())
    made = made_now(
        old=names[0],
        new=names[1],
        num_items=int((~apart).sum()),
        num_judged=judged,
        negative_flip_rate=round(chosen.negative_flip_rate, 6),
    )
    facts = {"made": made, "prices": Paid(old=price.old, new=price.new), "apart": how.apart}
    found = draft.model_copy(update={**facts, **fitted_on(items, ~apart)})
    draw = _verdicts_drawn(plain, items, labels, at_random=labelled_at_random)
    notes = notes_on(plain, labels)
    if how.kind == "auto" and (lacking := lacking_scores(items)):
        notes = (*notes, _GATE_OF_SOME.format(lacking, items.num))
    judging = Judging(price, names, draw, how.apart, notes)
    report = report_on(found, items, served, apart, judging)
    if how.ask_share < 1 and not how.keep_accuracy and not meets(two, chosen, how.flip_limit):
        report = replace(report, notes=(*report.notes, _NOT_MET.format(how.ask_share, how.flip_limit)))
    return RouteFit(found, report)


def check_route(
    rule: RuleFile,
    old: Source,
    new: Source,
    *,
    options: CompareOptions = DEFAULTS,
    prices: Prices | None = None,
    labels: Labels | None = None,
    labelled_at_random: bool = False,
    leave_out_fitted: bool = False,
) -> RouteReport:
    """Report what a rule is worth on items that it was not fitted on.

    Args:
        rule: the rule.
        old: the old model's answers.
        new: the new model's.
        options: how the runs are read and paired.
        prices: of a call; those of the rule without.
        labels: verdicts beside those of the runs.
        labelled_at_random: whether the judged disagreements are a random part of all.
        leave_out_fitted: leave out the items that the rule was fitted on, in place of refusing them.

    Raises:
        DataError: the rule was fitted on some of the items, or that cannot be told; or no item is left.
        JoinError: the runs do not belong together.
    """
    plain = pair_items(old, new, options, confidence=rule.confidence)
    items = with_labels(plain, labels)
    fresh, apart, notes = _fresh(rule, items, leave_out=leave_out_fitted), 1.0, notes_on(plain, labels)
    if not fresh.any():
        raise DataError("route check: expected items that the rule was not fitted on, found none")
    if (fresh & chosen_for_fit(items, labels)).any() and (fresh & ~items.same & ~items.judged).any():
        # The part that the list took for the fit was not drawn at random: the other part alone is reported on.
        apart, num = rule.apart or DEFAULT_APART, int(fresh.sum())
        fresh &= np.array([is_apart(each, apart) for each in items.fingerprints], dtype=np.bool_)
        left_out = f"{num - int(fresh.sum()):,} items of the part that labels were chosen in for a fit are left out"
        notes = (*notes, f"{left_out} (muscle route label --for-bound 1 draws them all at random)")
        refuse_chosen(items, labels, fresh, "make the list with this rule (muscle route label --rule)")
    draw = _verdicts_drawn(plain, items, labels, at_random=labelled_at_random)
    judging = Judging(prices or rule.cost(), items.names, draw, apart, notes)
    return report_on(rule, items, serve(rule.rule(), items), fresh, judging)


def _verdicts_drawn(plain: Items, items: Items, labels: Labels | None, *, at_random: bool) -> Draw | None:
    """Return which items were drawn at random; where all judged ones were, what lists left out stays what it is."""
    listed = None if labels is None else draw_of(plain, labels)
    if not at_random:
        return listed
    every = all_drawn(items)
    return every if listed is None else replace(every, passed_over=listed.passed_over)


def _facts(names: tuple[str, str]) -> dict[str, object]:
    nothing = {"num_items": 0, "num_judged": 0, "negative_flip_rate": 0.0}
    return {"old": names[0], "new": names[1], **nothing}


def _need(found: int, least: int, what: str) -> None:
    if found < least:
        raise DataError(
            f"route fit: expected at least {least} {what} to fit on, found {found}; label more (muscle route label) or "
            "keep fewer apart (--apart)"
        )


def _fitted_options(items: Items, rows: Bools, how: FitOptions, kind: Kind) -> OptionRule:
    scores = option_scores(items)
    told = rows & (scores.gold != NO_GOLD)
    _need(int(told.sum()), MIN_JUDGED, "items with a known right option")
    share = how.share if kind == "mixture" else None
    return fit_options(
        scores[told],
        share=share,
        limit=how.flip_limit,
        ask_share=how.ask_share,
        keep_accuracy=how.keep_accuracy,
    )


def _fitted_gate(items: Items, rows: Bools, how: FitOptions) -> GateRule:
    differ = rows & items.judged & ~items.same
    _need(int((rows & items.judged).sum()), MIN_JUDGED, "judged items")
    decided = int((differ & (items.old.right != items.new.right)).sum())
    _need(decided, MIN_DECIDED, "judged disagreements of which one side was right")
    gate, log_odds = fit_gate(items, rows, slices=how.slices, confidence=how.confidence)
    if how.ask_share < 1:
        gate = _asking_where_unsure(gate, items, rows, how)
    two = two_of(items, gated(gate, items, log_odds), rows)
    if (rows & ~items.same & ~items.judged).any():
        two = _with_expected(two, items, rows, log_odds, gated(gate, items, log_odds).needed)
    floor = float(two.weight @ two.other_right)
    chosen = fewest_flips(two, floor) if how.keep_accuracy else choose_kappa(two, how.flip_limit, floor=floor)
    return replace(gate, log_kappa=chosen.log_kappa)


def _with_expected(two: Two, items: Items, rows: Bools, log_odds: Floats, needed: Floats) -> Two:
    """Return the disagreements of which a part is judged: those as they are, the others by what the odds expect.

    The judged ones may have been picked because they are the least sure, so that they cannot stand for the others.
    Agreements are left out: kappa changes nothing of them.
    """
    differ = rows & ~items.same
    told = items.judged[differ]
    old_right, new_right = items.old.right[differ], items.new.right[differ]
    decided, both = ((old_right != new_right)[told], ((old_right == 1) & (new_right == 1))[told])
    share = (float(decided.sum()) + 1) / (int(told.sum()) + 2)
    old_won, new_won = share * special.expit(log_odds[differ]), share * special.expit(-log_odds[differ])
    return Two(
        needed[differ],
        np.where(told, old_right, old_won + both.mean()),
        np.where(told, new_right, new_won + both.mean()),
        np.where(told, (old_right == 1) & (new_right == 0), old_won),
        np.full(int(differ.sum()), 1 / int(rows.sum())),
        two.grain,
    )


def _asking_where_unsure(gate: GateRule, items: Items, rows: Bools, how: FitOptions) -> GateRule:
    """Return a gate that asks the old model where the new one is least sure, and knows nothing of it before."""
    for name in SURE:
        sure = known(items, name, how.confidence)
        if not np.isnan(sure[rows]).all():
            return replace(
                gate, ask_by=name, ask_below=threshold_for(np.nan_to_num(sure[rows], nan=-1.0), how.ask_share)
            )
    raise DataError(
        "route fit: to ask the old model where the new one is least sure, expected likelihoods, repeated answers or a "
        f"score {how.confidence!r} in the new run, found none (--confidence NAME, --ask-share 1)"
    )


def _fresh(rule: RuleFile, items: Items, *, leave_out: bool) -> Bools:
    """Return which items the rule was not fitted on, (items,).

    Raises:
        DataError: it was on some and they shall not be left out, or it cannot be told.
    """
    if rule.known_by != items.known_by:
        raise DataError(
            f"route check: the rule knows the items that it was fitted on by {rule.known_by}, these runs have theirs "
            f"by {items.known_by}, so it cannot be told whether it was fitted on them; give runs with the same fields"
        )
    fitted = rule.fitted_among(items)
    if fitted.any() and not leave_out:
        raise DataError(
            f"route check: the rule was fitted on {int(fitted.sum()):,} of these {items.num:,} items "
            f"({items.names_of(fitted)}); expected items kept apart (--leave-out-fitted reports on the others alone)"
        )
    return ~fitted
