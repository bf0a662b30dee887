"""One temperature that makes a teacher's options as sure as it is right (Guo et al. 2017, Sec. 4.2).

A mixture of two teachers weighs the surer one more, whether or not it has a reason to be sure. Divided by a temperature
of its own, fitted on labelled items that it has not learnt from, each teacher's options say how often it is right.
https://arxiv.org/abs/1706.04599
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from muscle import distributed
from muscle.errors import DataError
from muscle.files import read_json, write_json
from muscle.route.likelihoods import HIGHEST_TEMPERATURE, LOWEST_TEMPERATURE, cross_entropy, fit_temperature
from muscle.tasks.task import Example
from muscle.training.teachers.rows import OptionRows
from muscle.training.teachers.store import TeacherStore

LOWEST, HIGHEST = LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE
"""The temperatures between which the fitted one is sought."""
_FILE = "calibration.json"


@dataclass(frozen=True)
class Calibration:
    """How sure a teacher is, against how often it is right.

    Attributes:
        temperature: divides its log-likelihoods before the softmax over options.
        cross_entropy: mean of -log p(right option) with it, in nats an item.
        cross_entropy_before: the same at temperature 1.
        num_items: labelled items that it was fitted on.
    """

    temperature: float
    cross_entropy: float
    cross_entropy_before: float
    num_items: int


def calibrated_temperature(log_likelihoods: Sequence[Tensor], gold: Sequence[int]) -> float:
    """Return the temperature T with the least cross-entropy over options, mean of -log softmax(l / T)[gold].

    In 1 / T the cross-entropy is convex, so there is one minimum in log T, and a search in an interval finds it.

    Args:
        log_likelihoods: of each item, (options,), in nats.
        gold: of each item, the index of the right option.

    Returns:
        T, between `LOWEST` and `HIGHEST`.

    Raises:
        DataError: no items, an item without that option, or a likelihood that is no finite number.

    Example:
        >>> import math
        >>> from torch import tensor
        >>> sure, right = tensor([4.0, 0.0]), [0, 0, 0, 1]  # 3 of 4: log(3 / 1) = 4 / T
        >>> round(calibrated_temperature([sure] * 4, right), 3), round(4 / math.log(3), 3)
        (3.641, 3.641)
    """
    return _fitted(log_likelihoods, gold).temperature


def calibrate(store: TeacherStore, examples: Sequence[Example]) -> Calibration:
    """Fit a teacher's temperature on the labelled examples of an `options` store, and keep it beside the store.

    Args:
        store: of the examples, which the teacher has not learnt from.
        examples: in the store's order; those without a right option are left out.

    Raises:
        DataError: no example is labelled, or the store is another's.
        OutputError: it cannot be written.
    """
    if store.kind != "options" or store.num_examples != len(examples):
        raise DataError(
            f"teacher store {store.path}: expected likelihoods of the options of {len(examples)} examples, found "
            f"{store.kind} of {store.num_examples}"
        )
    labelled = [(index, example.gold) for index, example in enumerate(examples) if example.gold is not None]
    values = []
    for index, _ in labelled:
        rows = store.rows([index])
        assert isinstance(rows, OptionRows), "a store of options"
        values.append(rows.log_likelihood)
    found = _fitted(values, [gold for _, gold in labelled])
    distributed.from_main(lambda: write_json(store.path / _FILE, asdict(found)))
    return found


def kept_calibration(store: TeacherStore) -> Calibration | None:
    """Return what `calibrate` left beside a store; None where it was not called.

    Raises:
        DataError: it is damaged.
    """
    file = store.path / _FILE
    if not file.is_file():
        return None
    try:
        return Calibration(**read_json(file))
    except TypeError as error:
        raise DataError(f"{file}: damaged ({error}); delete it to fit the temperature again") from error


def _fitted(log_likelihoods: Sequence[Tensor], gold: Sequence[int]) -> Calibration:
    if not gold or len(gold) != len(log_likelihoods):
        raise DataError(
            f"calibration: expected at least one labelled item, found {len(log_likelihoods)} items with {len(gold)} "
            "labels"
        )
    for number, (options, index) in enumerate(zip(log_likelihoods, gold, strict=True)):
        if not 0 <= index < len(options) or not bool(options.isfinite().all()):
            raise DataError(
                f"calibration: item {number}: expected finite likelihoods and option {index} among them, found "
                f"{options.tolist()}"
            )
    values, right = _padded(log_likelihoods), np.asarray(gold, dtype=np.int64)
    temperature = fit_temperature(values, right)
    return Calibration(
        temperature=temperature,
        cross_entropy=cross_entropy(values, right, temperature),
        cross_entropy_before=cross_entropy(values, right, 1.0),
        num_items=len(right),
    )


def _padded(log_likelihoods: Sequence[Tensor]) -> NDArray[np.float64]:
    """Return (items, most options), -inf where an item has no such option."""
    padded = np.full((len(log_likelihoods), max(map(len, log_likelihoods))), -np.inf)
    for row, values in zip(padded, log_likelihoods, strict=True):
        row[: len(values)] = values.double().cpu().numpy()
    return padded
