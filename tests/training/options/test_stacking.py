"""The stack's weights: the fit finds what labels were drawn by, and stays finite."""

from types import SimpleNamespace

import pytest
import torch
from option_teachers import teachers

from muscle.config.alignment import AlignmentSettings
from muscle.training.options import targets
from muscle.training.options.lessons import taught_lesson
from muscle.training.options.teachers import fit_stack, typical_margin


def drawn(scores: torch.Tensor) -> torch.Tensor:
    return torch.multinomial(scores.softmax(-1), 1, generator=torch.Generator().manual_seed(1))[:, 0]


def test_the_weights_that_labels_were_drawn_by_are_found():
    old, new, _ = teachers(items=20_000)
    gold = drawn((0.8 * old.log_softmax(-1) + 0.3 * new.log_softmax(-1)).nan_to_num(neginf=-torch.inf))
    assert fit_stack(old, new, gold) == pytest.approx((0.8, 0.3), abs=0.03)


def test_a_teacher_that_knows_nothing_gets_no_weight():
    old, new, _ = teachers(items=5_000)
    a, b = fit_stack(torch.zeros_like(old).masked_fill(old == -torch.inf, -torch.inf), new, drawn(new))
    assert b == pytest.approx(1.0, abs=0.1)
    assert 0 <= a <= 20


def test_the_fit_stays_finite_where_every_answer_is_right():
    old, new, _ = teachers()
    gold = old.argmax(-1)
    assert all(0 <= weight <= 20 for weight in fit_stack(old, new, gold))


def test_a_stack_of_teachers_whose_scores_tell_nothing_still_takes_an_option():
    generator = torch.Generator().manual_seed(0)
    old, new = (torch.randn(400, 2, generator=generator) for _ in range(2))
    gold = torch.randint(0, 2, (400,), generator=generator)
    assert typical_margin(targets.stack(old, new, *fit_stack(old, new, gold), 1.0)) < 0.7
    data = SimpleNamespace(gold=gold, num_trained=0, counts_rest=False, rest=None, without_rest=lambda side: side)
    alignment = AlignmentSettings(unit="options", target="stack", kappa=1.0, temperature=1.0)
    assert typical_margin(taught_lesson(data, old, [new], alignment).target.log_target) >= 1 - 1e-6
