"""Fits the weights of the stack: how much each teacher's log-probabilities are worth, on the validation items."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

Weights = NDArray[np.float64]

_LARGEST_WEIGHT = 20.0
"""Keeps the fit finite where the data would send it to infinity: every item right."""


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
        return float(torch.nn.functional.cross_entropy(scores(weights), gold)), np.array(slopes)

    found = minimize(loss, np.array([0.5, 0.5]), jac=True, method="L-BFGS-B", bounds=[(0.0, _LARGEST_WEIGHT)] * 2)
    return float(found.x[0]), float(found.x[1])
