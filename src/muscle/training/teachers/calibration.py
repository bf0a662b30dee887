"""One temperature that makes a teacher's options as sure as it is right (Guo et al. 2017, Sec. 4.2).

A mixture of two teachers weighs the surer one more, whether or not it has a reason to be sure. Divided by a temperature
of its own, fitted on labelled items that it has not learnt from, each teacher's options say how often it is right.
https://arxiv.org/abs/1706.04599
"""

from __future__ import annotations

import torch
from torch import Tensor

from muscle.errors import DataError
from muscle.route.likelihoods import HIGHEST_TEMPERATURE, LOWEST_TEMPERATURE, fit_temperature

LOWEST, HIGHEST = LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE
"""The temperatures between which the fitted one is sought."""


def calibrated_temperature(log_likelihoods: Tensor, gold: Tensor) -> float:
    """Return the temperature T with the least cross-entropy over options, mean of -log softmax(l / T)[gold].

    Args:
        log_likelihoods: (items, options), in nats; -inf where an item has no such option.
        gold: (items,), index of the right option.

    Returns:
        T, between `LOWEST` and `HIGHEST`.

    Raises:
        DataError: no items, an item without that option, or a likelihood that is no number.

    Example:
        >>> import math
        >>> from torch import tensor
        >>> sure, right = tensor([[4.0, 0.0]] * 4), tensor([0, 0, 0, 1])  # 3 of 4: log(3 / 1) = 4 / T
        >>> round(calibrated_temperature(sure, right), 3), round(4 / math.log(3), 3)
        (3.641, 3.641)
    """
    if len(gold) == 0 or len(gold) != len(log_likelihoods):
        raise DataError(
            f"calibration: expected at least one labelled item, found {len(log_likelihoods)} items with {len(gold)} "
            "labels"
        )
    is_option = (gold >= 0) & (gold < log_likelihoods.shape[1])
    at_gold = log_likelihoods.gather(1, gold.where(is_option, 0).unsqueeze(1)).squeeze(1)
    is_number = (log_likelihoods < torch.inf).all(1)  # NaN is below nothing
    told = is_option & is_number & at_gold.isfinite()
    if not told.all():
        number = int((~told).nonzero()[0])
        raise DataError(
            f"calibration: item {number}: expected likelihoods and option {int(gold[number])} among them, found "
            f"{log_likelihoods[number].tolist()}"
        )
    return fit_temperature(log_likelihoods.double().cpu().numpy(), gold.cpu().numpy())
