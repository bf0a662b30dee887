"""Two models served by their options' likelihoods: the mean, a share, the kappa stack; asked always or where unsure.

A rule is fitted on labelled items that neither model learnt from: a temperature a model, the stack's weights, kappa,
and the sureness of the new model below which the old one is asked. Applied, it needs no labels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from muscle.flips.statistics.arrays import Bools, Floats, Ints
from muscle.route.kappa import Two, choose_kappa, fewest_flips
from muscle.route.likelihoods import (
    Weights,
    below,
    fit_temperature,
    fit_weights,
    log_kappa_needed,
    log_softmax,
    mixture,
    raised,
    stack,
    sureness,
    threshold_for,
    without,
)

NO_GOLD = -1
"""Stands for the right option where it is not known."""

_SURE = 30.0


@dataclass(frozen=True)
class OptionScores:
    """What two models think of the options of the same items.

    Attributes:
        old: (items, options) log-likelihoods of the old model, in nats; -inf where an item has no such option.
        new: (items, options) of the new one.
        old_answer: (items,) index of the option that the old model answered: its likeliest, unless its harness
            normalises.
        new_answer: (items,) of the new one.
        gold: (items,) index of the right option, or `NO_GOLD`.
    """

    old: Floats
    new: Floats
    old_answer: Ints
    new_answer: Ints
    gold: Ints

    @classmethod
    def of(cls, old: Floats, new: Floats, gold: Ints) -> OptionScores:
        """Return scores where each model's answer is its likeliest option."""
        return cls(old, new, old.argmax(-1).astype(np.int64), new.argmax(-1).astype(np.int64), gold)

    def __getitem__(self, rows: Bools) -> OptionScores:
        """Return some of the items."""
        return OptionScores(
            self.old[rows], self.new[rows], self.old_answer[rows], self.new_answer[rows], self.gold[rows]
        )


@dataclass(frozen=True)
class OptionRule:
    """How two models' options become one answer.

    Attributes:
        old_temperature: divides the old model's log-likelihoods.
        new_temperature: the new one's.
        share: the old model's in the mixture; None for a stack.
        weights: of the stack; None for a mixture.
        log_kappa: of the stack, at least 0; inf keeps the old model's answer wherever it is asked.
        ask_below: probability of the new model's likeliest option below which the old one is asked; None asks always.
    """

    old_temperature: float
    new_temperature: float
    share: float | None = None
    weights: Weights | None = None
    log_kappa: float = 0.0
    ask_below: float | None = None

    def asked(self, items: OptionScores) -> Bools:
        """Return for which items the old model is asked, (items,)."""
        return below(self.sureness(items), self.ask_below)

    def sureness(self, items: OptionScores) -> Floats:
        """Return the probability of the new model's likeliest option, (items,)."""
        return sureness(items.new / self.new_temperature)

    def values(self, items: OptionScores) -> Floats:
        """Return finite log-probabilities that the answer is taken from, (items, options); -inf where no option is.

        Where the old model is not asked they are the new one's. An infinite kappa is one that leaves the others e^-30.
        """
        both = self._unraised(items)
        if self.weights is not None:
            highest = max(0.0, float(np.max(log_kappa_needed(both, items.old_answer), initial=0.0)))
            both = raised(both, items.old_answer, min(self.log_kappa, highest + _SURE))
        return np.where(self.asked(items)[:, None], both, log_softmax(items.new / self.new_temperature))

    def answers(self, items: OptionScores) -> Ints:
        """Return the option that is answered, (items,)."""
        kept = self._needed(items) <= self.log_kappa
        other = self._other(items)
        return np.where(self.asked(items), np.where(kept, items.old_answer, other), items.new_answer)

    def others(self, items: OptionScores) -> Ints:
        """Return the option that is answered where the old model's is not kept, (items,)."""
        return np.where(self.asked(items), self._other(items), items.new_answer)

    def two(self, items: OptionScores) -> Two:
        """Return the two answers that each item can get, whatever kappa is; every item has a right option."""
        return Two.judged(
            np.where(self.asked(items), self._needed(items), math.inf),
            items.old_answer == items.gold,
            self.others(items) == items.gold,
            np.full(items.gold.size, 1 / max(1, items.gold.size)),
        )

    def _unraised(self, items: OptionScores) -> Floats:
        old, new = items.old / self.old_temperature, items.new / self.new_temperature
        if self.weights is not None:
            return stack(old, new, self.weights)
        assert self.share is not None, "a mixture has a share"
        return mixture(old, new, self.share)

    def _needed(self, items: OptionScores) -> Floats:
        needed = log_kappa_needed(self._unraised(items), items.old_answer)
        # A mixture knows no kappa: its answer is the old one's, or never.
        return needed if self.weights else np.where(needed <= 0, -math.inf, math.inf)

    def _other(self, items: OptionScores) -> Ints:
        unraised = self._unraised(items)
        if unraised.shape[-1] == 1:
            return items.old_answer
        other: Ints = without(unraised, items.old_answer).argmax(-1).astype(np.int64)
        return other


def fit_options(
    items: OptionScores,
    *,
    share: float | None = None,
    kappa: float | None = None,
    limit: float | None = None,
    ask_share: float = 1.0,
    keep_accuracy: bool = False,
) -> OptionRule:
    """Fit a rule on labelled items.

    Args:
        items: labelled ones, which neither model learnt from.
        share: the old model's in the mixture; None makes a stack.
        kappa: of the stack, at least 1 (`math.inf` is allowed); None chooses the most accurate that meets the limit.
        limit: negative flip rate that kappa shall meet on these items; needed where kappa is chosen.
        ask_share: share of the items, in [0, 1], about which the old model is asked: those where the new one is least
            sure.
        keep_accuracy: choose the kappa with the fewest flips that is as accurate as the new model, whatever the limit.
    """
    old_temperature, new_temperature = (fit_temperature(each, items.gold) for each in (items.old, items.new))
    sure = sureness(items.new / new_temperature)
    ask_below = threshold_for(sure, ask_share)
    if share is not None:
        return OptionRule(old_temperature, new_temperature, share=share, ask_below=ask_below)
    weights = fit_weights(items.old / old_temperature, items.new / new_temperature, items.gold)
    rule = OptionRule(old_temperature, new_temperature, weights=weights, ask_below=ask_below)
    floor = float((items.new_answer == items.gold).mean())
    if kappa is not None:
        log_kappa = math.log(kappa) if kappa < math.inf else math.inf
    elif keep_accuracy:
        log_kappa = fewest_flips(rule.two(items), floor).log_kappa
    else:
        assert limit is not None, "kappa is chosen by a limit"
        log_kappa = choose_kappa(rule.two(items), limit, floor=floor).log_kappa
    return OptionRule(old_temperature, new_temperature, weights=weights, log_kappa=log_kappa, ask_below=ask_below)
