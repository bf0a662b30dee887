"""The stack's weights: the fit finds what labels were drawn by, and stays finite."""

import pytest
import torch
from option_teachers import teachers

from muscle.training.options.teachers import fit_stack


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
