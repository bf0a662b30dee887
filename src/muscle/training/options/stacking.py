"""Fits the weights of the stack: how much each teacher's log-probabilities are worth, on the validation items."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from muscle.route.likelihoods import fit_weights


def fit_stack(old: Tensor, new: Tensor, gold: Tensor) -> tuple[float, float]:
    """Return a, b = argmin sum_i -log softmax(a log p_old + b log p_new)[y_i], each in [0, 20].

    Args:
        old: (items, options), of the old teacher; -inf where there is no option.
        new: (items, options), of the new one.
        gold: (items,), index of the right option.
    """
    scores = [each.double().cpu().numpy() for each in (old, new)]
    found = fit_weights(scores[0], scores[1], gold.cpu().numpy().astype(np.int64), penalty=0.0)
    return found.a, found.b
