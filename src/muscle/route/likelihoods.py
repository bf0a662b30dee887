"""Two models' log-likelihoods of an item's options, made into one distribution; plain numpy, float64.

Arrays are (items, options) of log-likelihoods in nats; an option that an item does not have is -inf on both sides.
With p_1 (old) and p_2 (new) the softmax of what comes in, each divided by a temperature of its own:

    mixture   s p_1 + (1 - s) p_2
    stack     softmax(a log p_1 + b log p_2 + log kappa [k = what the old model answered])

A stack is stacked generalisation (Wolpert 1992), a and b fitted by a logistic regression over options (McFadden's
conditional logit); kappa gives the odds by which a right answer of the old model's that would be lost weighs more than
one that is gained. `muscle.training.options.targets` has the same as targets of a student, in torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from muscle.flips.statistics.arrays import Bools, Floats, Ints

LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 1 / 20, 500.0
"""Where a model is right on every item, a lower one is always better, and where it is worse than guessing a higher one;
then the bound is what there is. Log-likelihoods of sentences lie tens of nats apart, so that even a good one is high."""

LARGEST_WEIGHT = 20.0
"""Keeps a stack's fit finite where the data would send it to infinity: every item right."""

EVEN = 0.5
"""Each model's weight in a stack of which nothing is known."""


@dataclass(frozen=True)
class Weights:
    """What each model's log-probabilities are worth in a stack.

    Attributes:
        a: the old one's.
        b: the new one's.
    """

    a: float
    b: float


def log_softmax(values: Floats) -> Floats:
    """Return log-probabilities over options, (items, options); -inf where there is no option."""
    found: Floats = special.log_softmax(values, axis=-1)
    return found


def cross_entropy(values: Floats, gold: Ints, temperature: float) -> float:
    """Return the mean over items of -log softmax(values / T)[gold], in nats."""
    scaled = values / temperature
    at_gold = scaled[np.arange(gold.size), gold]
    return float(np.mean(special.logsumexp(scaled, axis=-1) - at_gold))


def fit_temperature(values: Floats, gold: Ints) -> float:
    """Return the temperature T with the least cross-entropy over options (Guo et al. 2017, Sec. 4.2).

    In 1 / T the cross-entropy is convex, so there is one minimum in log T, and a search in an interval finds it.

    Args:
        values: (items, options).
        gold: (items,), index of the right option.

    Returns:
        T, between `LOWEST_TEMPERATURE` and `HIGHEST_TEMPERATURE`.
    """
    from scipy.optimize import minimize_scalar  # a quarter of a second

    found = minimize_scalar(
        lambda log_temperature: cross_entropy(values, gold, math.exp(log_temperature)),
        bounds=(math.log(LOWEST_TEMPERATURE), math.log(HIGHEST_TEMPERATURE)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return math.exp(found.x)


def fit_weights(old: Floats, new: Floats, gold: Ints, *, penalty: float = 1.0) -> Weights:
    """Fit a stack's weights, each in [0, 20]; convex.

    a, b = argmin sum_i -log softmax(a log p_1 + b log p_2)[y_i] + penalty / 2 |(a, b) - .5|^2. The penalty stands for
    one item's worth of doubt that both models say as much; with hundreds of items it is not felt, with ten it keeps the
    weights near the plain product.

    Args:
        old: (items, options), of the old model.
        new: (items, options), of the new one.
        gold: (items,), index of the right option.
        penalty: at least 0.
    """
    from scipy.optimize import minimize

    there = old > -np.inf
    # No option: out of the sum, and no 0 x inf.
    parts = [np.where(there, log_softmax(each), 0.0) for each in (old, new)]
    rows = np.arange(gold.size)

    def loss(weights: Floats) -> tuple[float, Floats]:
        scores = np.where(there, weights[0] * parts[0] + weights[1] * parts[1], -np.inf)
        log_shares = log_softmax(scores)
        shares = np.exp(log_shares)
        slopes = np.array([((shares * part).sum(-1) - part[rows, gold]).mean() for part in parts])
        doubt = penalty / gold.size
        away = weights - EVEN
        value = -log_shares[rows, gold].mean() + doubt / 2 * float(away @ away)
        return float(value), slopes + doubt * away

    found = minimize(loss, np.full(2, EVEN), jac=True, method="L-BFGS-B", bounds=[(0.0, LARGEST_WEIGHT)] * 2)
    return Weights(float(found.x[0]), float(found.x[1]))


def mixture(old: Floats, new: Floats, share: float) -> Floats:
    """Return log(s p_1 + (1 - s) p_2), (items, options).

    Args:
        old: (items, options), of the old model.
        new: (items, options), of the new one.
        share: s, in [0, 1].

    >>> np.exp(mixture(np.zeros((1, 2)), np.array([[0.0, -np.inf]]), 0.5))
    array([[0.75, 0.25]])
    """
    with np.errstate(divide="ignore"):  # a share of 0 or 1
        mixed: Floats = np.logaddexp(np.log(share) + log_softmax(old), np.log1p(-share) + log_softmax(new))
    return mixed


def stack(old: Floats, new: Floats, weights: Weights) -> Floats:
    """Return log softmax(a log p_1 + b log p_2), (items, options): the stack with kappa = 1."""
    there = old > -np.inf
    parts = [np.where(there, log_softmax(each), 0.0) for each in (old, new)]
    return log_softmax(np.where(there, weights.a * parts[0] + weights.b * parts[1], -np.inf))


def raised(values: Floats, kept: Ints, log_kappa: float) -> Floats:
    """Return log-probabilities after the old model's answer has been raised by the odds kappa, (items, options).

    Args:
        values: (items, options).
        kept: (items,), index of the old model's answer.
        log_kappa: may be inf: then nothing else is left.
    """
    is_kept = np.arange(values.shape[-1]) == kept[:, None]
    if log_kappa == math.inf:
        return np.where(is_kept, 0.0, -np.inf)
    return log_softmax(values + np.where(is_kept, log_kappa, 0.0))


def log_kappa_needed(values: Floats, kept: Ints) -> Floats:
    """Return the log kappa from which an item's answer is the old model's, (items,); below 0 where it is so already.

    Raising lifts one option alone, so that an item has two answers only: the likeliest of the others, and from here on
    the old model's. -inf where there is no other option.

    Args:
        values: (items, options), before anything was raised.
        kept: (items,), index of the old model's answer.
    """
    rows = np.arange(kept.size)
    needed: Floats = without(values, kept).max(axis=-1) - values[rows, kept]
    return needed


def without(values: Floats, kept: Ints) -> Floats:
    """Return values, -inf at one option of each item."""
    return np.where(np.arange(values.shape[-1]) == kept[:, None], -np.inf, values)


def sureness(values: Floats) -> Floats:
    """Return the probability of each item's likeliest option, (items,)."""
    surest: Floats = np.exp(log_softmax(values).max(axis=-1))
    return surest


def threshold_for(sure: Floats, share: float) -> float | None:
    """Return what `sure` must be below, so that a share of the items are; None where all shall be.

    Args:
        sure: (items,).
        share: in [0, 1]. Items that are equally sure are all asked or none, so that it may be fewer.
    """
    if share == 0:
        return 0.0
    number = math.floor(share * sure.size + 1e-9)
    if number >= sure.size:
        return None
    ordered = np.sort(sure)
    if number == 0:
        return float(ordered[0])
    return float((ordered[number - 1] + ordered[number]) / 2)


def below(sure: Floats, threshold: float | None) -> Bools:
    """Return which items are less sure than a threshold, (items,); all where there is none."""
    return np.ones(sure.size, dtype=np.bool_) if threshold is None else sure < threshold
