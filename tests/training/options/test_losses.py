"""Losses over options: value and gradient against the formula, by hand and by finite differences, in float64."""

import pytest
import torch
from option_teachers import teachers

from muscle.training.options.losses import (
    TargetRows,
    divergence,
    margin,
    margin_hinge,
    option_terms,
    right_option_loss,
)
from muscle.training.options.targets import NO_LABEL, labels


def student(items: int = 7, options: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(9)
    return (2 * torch.randn(items, options, generator=generator, dtype=torch.float64)).requires_grad_()


def ragged(scores: torch.Tensor) -> torch.Tensor:
    """Scores whose last items have an option less, as a batch has them."""
    there = torch.ones_like(scores, dtype=torch.bool)
    there[-2:, -1] = False
    return torch.where(there, scores, -torch.inf)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("kl", ["forward", "reverse"])
def test_the_divergence_is_its_formula_in_value_and_gradient(kl, temperature):
    scores, (old, _, _) = student(), teachers()
    found = divergence(ragged(scores), old, temperature=temperature, kl=kl)
    for item in range(len(scores)):
        there = old[item] > -torch.inf
        q = (scores[item][there] / temperature).softmax(-1)
        t = (old[item][there] / temperature).softmax(-1)
        expected = (t * (t / q).log()).sum() if kl == "forward" else (q * (q / t).log()).sum()
        torch.testing.assert_close(found[item], expected, rtol=0, atol=1e-14)
        (slope,) = torch.autograd.grad(found[item], scores, retain_graph=True)
        by_hand = ((q - t) if kl == "forward" else q * ((q / t).log() - expected)) / temperature
        torch.testing.assert_close(slope[item][there], by_hand, rtol=0, atol=1e-14)
        assert (slope[item][~there] == 0).all()
    torch.autograd.gradcheck(lambda z: divergence(ragged(z), old, temperature=temperature, kl=kl), (scores,))


@pytest.mark.parametrize("kl", ["forward", "reverse"])
def test_equal_distributions_have_no_divergence_and_no_slope(kl):
    old, _, _ = teachers()
    scores = old.clone().requires_grad_()
    found = divergence(scores + 3.0, old.log_softmax(-1), kl=kl)
    torch.testing.assert_close(found, torch.zeros_like(found), rtol=0, atol=1e-14)
    (slope,) = torch.autograd.grad(found.sum(), scores)
    torch.testing.assert_close(slope, torch.zeros_like(slope), rtol=0, atol=1e-14)


def test_a_target_of_labels_makes_the_divergence_a_cross_entropy():
    scores, (_, _, gold) = student(), teachers()
    expected = right_option_loss(ragged(scores), gold)
    torch.testing.assert_close(divergence(ragged(scores), labels(gold, 4)), expected)
    by_hand = -torch.stack([row.log_softmax(-1)[y] for row, y in zip(ragged(scores), gold, strict=True)])
    torch.testing.assert_close(expected, by_hand)
    torch.autograd.gradcheck(lambda z: right_option_loss(ragged(z), gold), (scores,))


def test_an_item_without_a_label_has_no_cross_entropy():
    scores = student()
    gold = torch.tensor([0, NO_LABEL, 1, NO_LABEL, 0, 0, 0])
    found = right_option_loss(scores, gold)
    assert found[1] == found[3] == 0
    (slope,) = torch.autograd.grad(found.sum(), scores)
    assert (slope[1] == 0).all()


def test_the_hinge_asks_for_the_old_models_margin():
    scores = torch.tensor([[2.0, 0.5, 1.0], [0.0, 3.0, 1.0]], dtype=torch.float64, requires_grad=True)
    gold = torch.tensor([0, 2])
    assert margin(scores, gold).tolist() == [1.0, -2.0]
    found = margin_hinge(scores, gold, torch.tensor([1.5, -2.5]))
    assert found.tolist() == [0.5, 0.0]
    (slope,) = torch.autograd.grad(found.sum(), scores)
    assert slope.tolist() == [[-1, 0, 1], [0, 0, 0]]


def test_the_hinges_gradient_is_that_of_finite_differences():
    scores, (old, _, gold) = student(), teachers()
    old_margin = margin(old, gold) + 1.0
    torch.autograd.gradcheck(lambda z: margin_hinge(ragged(z), gold, old_margin), (scores,))
    assert (margin_hinge(ragged(scores), gold, torch.full_like(old_margin, -torch.inf)) == 0).all()


@pytest.mark.parametrize("ce_weight", [0.0, 0.25])
def test_a_batchs_loss_weighs_divergence_and_cross_entropy(ce_weight):
    scores, (old, _, gold) = student(), teachers()
    gold[1] = NO_LABEL
    rows = TargetRows(old.log_softmax(-1), gold)
    found = option_terms(ragged(scores), rows, ce_weight=ce_weight)
    kl = divergence(ragged(scores), rows.log_target).sum()
    cross_entropy = right_option_loss(ragged(scores), gold).sum()
    torch.testing.assert_close(found.loss, (1 - ce_weight) * kl + ce_weight * cross_entropy)
    assert [found.kl, found.cross_entropy] == pytest.approx([kl.item(), cross_entropy.item()])
    assert (found.num_items, found.num_labelled, found.hinge) == (7, 6, 0.0)
    assert found.agreement == int((ragged(scores).argmax(-1) == old.argmax(-1)).sum())
    torch.autograd.gradcheck(lambda z: option_terms(ragged(z), rows, ce_weight=ce_weight).loss, (scores,))


def test_with_an_old_margin_the_hinge_comes_on_top_of_the_cross_entropy():
    scores, (old, _, gold) = student(), teachers()
    old_margin = margin(old, gold)
    found = option_terms(ragged(scores), TargetRows(labels(gold, 4), gold, old_margin))
    cross_entropy = right_option_loss(ragged(scores), gold).sum()
    hinge = margin_hinge(ragged(scores), gold, old_margin).sum()
    torch.testing.assert_close(found.loss, cross_entropy + hinge)
    without = option_terms(ragged(scores), TargetRows(labels(gold, 4), gold, torch.full_like(old_margin, -torch.inf)))
    torch.testing.assert_close(without.loss, cross_entropy)


def test_one_batch_is_the_sum_of_its_parts():
    scores, (old, new, gold) = student(), teachers()
    rows = TargetRows(new.log_softmax(-1), gold, margin(old, gold))
    whole = option_terms(ragged(scores), rows, ce_weight=0.5)
    parts = [
        option_terms(ragged(scores)[part], rows[part], ce_weight=0.5)
        for part in (torch.tensor([0, 3, 6]), torch.tensor([1, 2, 4, 5]))
    ]
    torch.testing.assert_close(whole.loss, parts[0].loss + parts[1].loss)
    assert whole.agreement == parts[0].agreement + parts[1].agreement
