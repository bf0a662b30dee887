"""Two models served side by side: what both say of the options becomes one answer. A bound for one model, no rival.

Computed from stored scores, by the targets that a student may be drawn to (`muscle.training.options.targets`): the
mean of both distributions, the mean with the old model's share at .7, and the stack with kappa = 1 and 2. Each
model's scores are first divided by a temperature of its own, and the stack's weights fitted, on the validation texts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from answers import Unit, records, write_answers
from bench import Bench
from torch import Tensor

from muscle.predictions.read import read_run
from muscle.training.options.stacking import fit_stack
from muscle.training.options.targets import mixture, stack
from muscle.training.teachers.calibration import calibrated_temperature

Rule = Callable[[Tensor, Tensor, tuple[float, float]], Tensor]
"""Calibrated scores of old and new (items, options) and the stack's weights in, log-probabilities out."""


@dataclass(frozen=True)
class Served:
    """Two models behind one answer.

    Attributes:
        name: of its records.
        words: what it is, in the table.
        partner: the model beside the old one.
        rule: how their distributions become one.
    """

    name: str
    words: str
    partner: str
    rule: Rule


def mean(share: float) -> Rule:
    """Return the mixture with the old model's share."""
    return lambda old, new, weights: mixture(old, new, share)


def stacked(kappa: float) -> Rule:
    """Return the stack that raises the old model's answer by the odds kappa."""
    return lambda old, new, weights: stack(old, new, *weights, kappa)


def _rules(partner: str, words: str) -> tuple[Served, ...]:
    start = f"two models served, old and {words}"
    return (
        Served(f"served_mean_{partner}", f"{start}: mean", partner, mean(0.5)),
        Served(f"served_share7_{partner}", f"{start}: old's share .7", partner, mean(0.7)),
        Served(f"served_stack1_{partner}", f"{start}: stack, kappa 1", partner, stacked(1.0)),
        Served(f"served_stack2_{partner}", f"{start}: stack, kappa 2", partner, stacked(2.0)),
    )


SERVED = (*_rules("new", "plain update"), *_rules("labels", "labels alone"))


def serve(bench: Bench, served: Served, unit: Unit) -> None:
    """Write the records of two models served, where both have answered and it is not done."""
    pair = ("old", served.partner)
    files = [records(bench, name, unit, part) for name in pair for part in ("validation", "test")]
    out = records(bench, served.name, unit)
    if out.is_file() or not all(file.is_file() for file in files):
        return
    gold = torch.tensor([example.gold for example in bench.examples("validation")])
    held_out = [_scores(bench, name, unit, "validation") for name in pair]
    temperatures = [calibrated_temperature(list(scores), gold.tolist()) for scores in held_out]
    old, new = (scores / t for scores, t in zip(held_out, temperatures, strict=True))
    weights = fit_stack(old, new, gold)
    old, new = (_scores(bench, name, unit, "test") / t for name, t in zip(pair, temperatures, strict=True))
    write_answers(
        bench.task,
        bench.examples("test"),
        served.rule(old, new, weights).tolist(),
        out,
        name=served.name,
        facts={"temperatures": temperatures, "stack_weights": list(weights)},
    )


def _scores(bench: Bench, name: str, unit: Unit, part: str) -> Tensor:
    """Return stored scores, (items, options), float64."""
    frame = read_run(records(bench, name, unit, part)).frame
    ids = [example.id for example in bench.examples(part)]
    assert frame["id"].to_list() == ids, "records stand in the order of the texts"
    return torch.tensor(frame["logprobs"].to_list(), dtype=torch.float64)
