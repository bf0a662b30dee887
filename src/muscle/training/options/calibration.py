"""Fits what targets need of labelled items: a teacher's calibration temperature, and the weights of the stack.

Both minimise the negative log-likelihood of the right option on the validation items. Temperature scaling: Guo et al.
2017, https://arxiv.org/abs/1706.04599. The bounds keep a fit finite where the data would send it to infinity (every
item right).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from torch import Tensor

Weights = NDArray[np.float64]

_LOWEST, _HIGHEST = 0.05, 20.0
_LARGEST_WEIGHT = 20.0


def fit_temperature(log_likelihoods: Tensor, gold: Tensor) -> float:
    """Return T = argmin sum_i -log softmax(L_i / T)[y_i], in [0.05, 20].

    Args:
        log_likelihoods: (items, options), -inf where there is no option.
        gold: (items,), index of the right option.
    """
    wide = log_likelihoods.double()

    def loss(log_temperature: float) -> float:
        return _negative_log_likelihood(wide / float(np.exp(log_temperature)), gold)

    found = minimize_scalar(loss, bounds=(np.log(_LOWEST), np.log(_HIGHEST)), method="bounded")
    return float(np.exp(found.x))


def fit_stack(old: Tensor, new: Tensor, gold: Tensor) -> tuple[float, float]:
    """Return a, b = argmin sum_i -log softmax(a log p_old + b log p_new)[y_i], each in [0, 20].

    A logistic regression over options (McFadden's conditional logit) on both teachers' log-probabilities; convex.

    Args:
        old: (items, options), of the old teacher; -inf where there is no option.
        new: (items, options), of the new one.
        gold: (items,), index of the right option.
    """
    there = old > -torch.inf
    # No option: out of the sum, and no 0 x inf.
    parts = [each.double().log_softmax(-1).masked_fill(~there, 0.0) for each in (old, new)]

    def scores(weights: Weights) -> Tensor:
        a, b = map(float, weights)
        return (a * parts[0] + b * parts[1]).masked_fill(~there, -torch.inf)

    def loss(weights: Weights) -> tuple[float, Weights]:
        shares = scores(weights).softmax(-1)
        slopes = [float(((shares * part).sum(-1) - part.gather(-1, gold[:, None])[:, 0]).mean()) for part in parts]
        return _negative_log_likelihood(scores(weights), gold), np.array(slopes)

    found = minimize(loss, np.array([0.5, 0.5]), jac=True, method="L-BFGS-B", bounds=[(0.0, _LARGEST_WEIGHT)] * 2)
    return float(found.x[0]), float(found.x[1])


def _negative_log_likelihood(scores: Tensor, gold: Tensor) -> float:
    return float(torch.nn.functional.cross_entropy(scores, gold))
