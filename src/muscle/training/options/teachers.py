"""What each teacher thinks of the items' options, at the temperature that fits, and what it is worth in a stack.

A mixture of two teachers weighs the surer one more, whether or not it has a reason to be sure. Divided by a temperature
of its own, fitted on labelled items that it has not learnt from, each teacher's options say how often it is right
(Guo et al. 2017, Sec. 4.2, https://arxiv.org/abs/1706.04599).
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from muscle.config.settings import TrainingSettings
from muscle.errors import DataError
from muscle.route.likelihoods import HIGHEST_TEMPERATURE, LOWEST_TEMPERATURE, fit_temperature, fit_weights
from muscle.training.options.data import OptionData
from muscle.training.options.items import padded
from muscle.training.teachers.make_rows import TaskModel
from muscle.training.teachers.option_rows import store_options
from muscle.training.teachers.rows import OptionRows

LOWEST, HIGHEST = LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE
"""The temperatures between which the fitted one is sought."""


def teacher_scores(
    path: Path, side: TaskModel, data: OptionData, *, settings: TrainingSettings, description: str
) -> Tensor:
    """Run a teacher over all items, or open what it left.

    Args:
        path: of its store.
        side: the teacher.
        data: the items, which it reads in its own tokens.
        settings: `max_length`, `batch_size` and `chunk_memory_mb` are read.
        description: for progress and log.

    Returns:
        What each item's options are chosen by, (items, options); -inf where there is no option.

    Raises:
        OutputError: the store cannot be written.
    """
    examples, end_of_text = data.rendered(data.all, side.base.tokenizer)
    store = store_options(
        path,
        side,
        examples,
        max_length=settings.max_length,
        distinguishing=data.distinguishing,
        end_of_text=end_of_text,
        batch_size=settings.batch_size,
        memory_bytes=settings.chunk_memory_mb * 2**20,
        description=description,
    )
    rows = store.rows(range(store.num_examples))
    assert isinstance(rows, OptionRows), "a store of options"
    ends = torch.tensor([len(example.choices) for example in data.all]).cumsum(0)[:-1]
    parts = zip(*(torch.tensor_split(column, ends) for column in (rows.log_likelihood, rows.num_tokens)), strict=True)
    return padded(
        [
            data.scoring(example, num_tokens.tolist())(values)
            for example, (values, num_tokens) in zip(examples, parts, strict=True)
        ]
    )


def calibrated(data: OptionData, scores: Tensor) -> Tensor:
    """Return a teacher's scores, (items, options), at the temperature that fits the validation items best.

    As they are where all answers that are no candidates count as an option.
    """
    held = slice(data.num_trained, None)
    return scores if data.counts_rest else scores / calibrated_temperature(scores[held], data.gold[held])


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


def teaching_temperature(log_likelihoods: Tensor, gold: Tensor) -> float:
    """Return the temperature at which a teacher teaches: the calibrated one, but at most its typical margin.

    Where a teacher's scores hardly tell when it is right (sentences, of which some are simply longer), the calibrated
    temperature goes to infinity. All options then are alike, and a student learns that in place of what the teacher
    answers. At most its typical margin, the teacher still says which option it takes, at typical odds of e to 1.

    Args:
        log_likelihoods: (items, options), in nats; -inf where an item has no such option.
        gold: (items,), index of the right option.

    Raises:
        DataError: see `calibrated_temperature`.

    Example:
        >>> from torch import tensor
        >>> round(teaching_temperature(tensor([[2.0, 0.0]] * 4), tensor([0, 1, 0, 1])), 3)
        2.0
    """
    return max(LOWEST, min(calibrated_temperature(log_likelihoods, gold), typical_margin(log_likelihoods)))


def typical_margin(scores: Tensor) -> float:
    """Return the root of the mean square of best minus second best; inf where no item has two options.

    Args:
        scores: (items, options); -inf where an item has no such option.
    """
    if scores.shape[1] < 2:
        return math.inf
    best = scores.topk(2, dim=-1).values
    margins = (best[:, 0] - best[:, 1])[best[:, 1] > -torch.inf]
    return float(margins.double().square().mean().sqrt()) if len(margins) else math.inf


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
