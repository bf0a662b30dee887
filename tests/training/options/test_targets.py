"""Targets over options: each is its formula, in float64, and keeps the laws that hold whatever the numbers."""

import math

import pytest
import torch
from option_teachers import teachers

from muscle.training.options.targets import (
    NO_LABEL,
    labels,
    lifted,
    mixture,
    reliability_share,
    stack,
)

EXACT = {"rtol": 0.0, "atol": 1e-14}


def reliability(old, new, share, gold):
    return mixture(old, new, reliability_share(old, new, share, gold)[:, None])


def each_target(old, new, gold) -> dict[str, torch.Tensor]:
    return {
        "mixture": mixture(old, new, 0.3),
        "reliability": reliability(old, new, 0.3, gold),
        "stack": stack(old, new, 0.7, 0.4, 3.0),
        "lifted": lifted(old, new, 0.3, gold),
    }


def test_the_mixture_is_its_formula():
    old, new, _ = teachers()
    expected = 0.3 * old.softmax(-1) + 0.7 * new.softmax(-1)
    torch.testing.assert_close(mixture(old, new, 0.3).exp(), expected, **EXACT)


def test_reliability_weighs_each_teacher_by_the_square_of_its_trust_in_the_right_option():
    old, new, gold = teachers()
    gold[2] = NO_LABEL
    p, q = old.softmax(-1), new.softmax(-1)
    for item, right in enumerate(gold.tolist()):
        e_old, e_new = (each[item].max() if right == NO_LABEL else each[item, right] for each in (p, q))
        share = 0.3 * e_old**2 / (0.3 * e_old**2 + 0.7 * e_new**2)
        torch.testing.assert_close(reliability_share(old, new, 0.3, gold)[item], share, **EXACT)
        expected = share * p[item] + (1 - share) * q[item]
        torch.testing.assert_close(reliability(old, new, 0.3, gold)[item].exp(), expected, **EXACT)


def test_the_stack_is_its_formula():
    old, new, _ = teachers()
    for item in range(len(old)):
        there = old[item] > -torch.inf
        p, q = old[item][there].softmax(-1), new[item][there].softmax(-1)
        odds = p**0.7 * q**0.4
        odds[p.argmax()] *= 3.0
        found = stack(old, new, 0.7, 0.4, 3.0)[item].exp()
        torch.testing.assert_close(found[there], odds / odds.sum(), **EXACT)
        assert (found[~there] == 0).all()


def test_lifted_takes_the_higher_trust_in_the_right_option_and_mixes_the_rest():
    old, new, gold = teachers()
    found = lifted(old, new, 0.3, gold).exp()
    p, q = old.softmax(-1), new.softmax(-1)
    for item, right in enumerate(gold.tolist()):
        highest = max(p[item, right], q[item, right])
        rest = 0.3 * p[item] / (1 - p[item, right]) + 0.7 * q[item] / (1 - q[item, right])
        expected = (1 - highest) * rest
        expected[right] = highest
        torch.testing.assert_close(found[item], expected, **EXACT)
    # The identity of the stored vector: c' = rho W_y + (1 - rho) sum_k w_k (c_k - p_k(y) W_y) / (1 - p_k(y)).
    head = torch.randn(old.shape[1], 5, dtype=torch.float64)
    item, right = 0, int(gold[0])
    highest = max(p[item, right], q[item, right])
    vector = highest * head[right] + (1 - highest) * sum(
        weight * (each[item] @ head - each[item, right] * head[right]) / (1 - each[item, right])
        for weight, each in ((0.3, p), (0.7, q))
    )
    torch.testing.assert_close(found[item] @ head, vector, rtol=0, atol=1e-13)


def test_lifted_is_the_mixture_where_there_is_no_label_and_stays_whole_where_a_teacher_is_certain():
    old, new, gold = teachers()
    gold[:] = NO_LABEL
    torch.testing.assert_close(lifted(old, new, 0.3, gold), mixture(old, new, 0.3))
    sure = torch.tensor([[200.0, 0.0, -1.0]], dtype=torch.float64)
    found = lifted(sure, torch.zeros(1, 3, dtype=torch.float64), 0.5, torch.tensor([0]))
    assert torch.isfinite(found).all()
    assert found[0, 0] == 0


def test_labels_put_everything_on_the_right_option():
    assert labels(torch.tensor([1, 0]), 3).exp().tolist() == [[0, 1, 0], [1, 0, 0]]


@pytest.mark.parametrize("name", ["mixture", "reliability", "stack", "lifted"])
def test_every_target_is_a_distribution_over_the_options_that_are_there(name):
    old, new, gold = teachers()
    found = each_target(old, new, gold)[name].exp()
    torch.testing.assert_close(found.sum(-1), torch.ones(len(old), dtype=torch.float64))
    assert (found[-2:, -1] == 0).all()
    # Whatever is added to an item's log-likelihoods changes nothing.
    shifted = each_target(old + 2.5, new - 1.5, gold)[name].exp()
    torch.testing.assert_close(found, shifted)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_of_0_is_the_new_teacher_and_of_1_the_old_one(share):
    old, new, gold = teachers()
    expected = (old if share else new).log_softmax(-1)
    torch.testing.assert_close(mixture(old, new, share), expected)
    torch.testing.assert_close(reliability(old, new, share, gold), expected)


def test_equal_teachers_are_the_target():
    old, _, gold = teachers()
    expected = old.log_softmax(-1)
    for name, found in {
        "mixture": mixture(old, old, 0.3),
        "reliability": reliability(old, old, 0.3, gold),
        "stack": stack(old, old, 0.5, 0.5, 1.0),
        "lifted": lifted(old, old, 0.3, gold),
    }.items():
        torch.testing.assert_close(found, expected, msg=name)


def test_kappa_1_raises_nothing_and_a_huge_one_gives_the_old_models_answers():
    old, new, _ = teachers()
    both = 0.6 * old.log_softmax(-1) + 0.5 * new.log_softmax(-1)
    torch.testing.assert_close(stack(old, new, 0.6, 0.5, 1.0), both.log_softmax(-1))
    assert (stack(old, new, 0.6, 0.5, 1e30).argmax(-1) == old.argmax(-1)).all()


def test_of_two_options_kappa_shifts_the_margin_by_its_logarithm():
    old, new = torch.tensor([[1.0, 0.2]]), torch.tensor([[-0.5, 0.4]])
    found = stack(old, new, 0.6, 0.5, 3.0)
    margin = 0.6 * (1.0 - 0.2) + 0.5 * (-0.5 - 0.4) + math.log(3.0)
    assert (found[0, 0] - found[0, 1]).item() == pytest.approx(margin, abs=1e-6)


def test_a_weight_of_0_rules_no_option_in():
    old, new, _ = teachers()
    assert (stack(old, new, 0.0, 1.0, 1.0)[-2:, -1] == -torch.inf).all()
