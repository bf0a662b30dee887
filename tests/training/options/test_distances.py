"""Distances to a teacher: value and gradient against the formula, by hand and by finite differences, in float64."""

import pytest
import torch
from option_teachers import teachers

from muscle.training.options.distances import centred, inhibition, logits, softened, symmetric
from muscle.training.options.losses import Source, TargetRows, option_terms, right_option_loss
from muscle.training.options.targets import NO_LABEL

EXACT = {"rtol": 0.0, "atol": 1e-13}


def student(items: int = 7, options: int = 4) -> torch.Tensor:
    """Scores whose last two items have an option less, as a batch has them."""
    generator = torch.Generator().manual_seed(9)
    scores = 2 * torch.randn(items, options, generator=generator, dtype=torch.float64)
    scores[-2:, -1] = -torch.inf
    return scores


def slope(function, scores: torch.Tensor) -> torch.Tensor:
    leaf = scores.clone().requires_grad_()
    (found,) = torch.autograd.grad(function(leaf).sum(), leaf)
    return found


def numbers(row: torch.Tensor) -> torch.Tensor:
    return row[row > -torch.inf]


def held_against_finite_differences(function, scores: torch.Tensor) -> None:
    """Compare slopes of the options that are there with central differences."""
    found, step = slope(function, scores), 1e-6
    for item, option in (scores > -torch.inf).nonzero().tolist():
        sides = []
        for sign in (1, -1):
            moved = scores.clone()
            moved[item, option] += sign * step
            sides.append(function(moved)[item])
        assert found[item, option].item() == pytest.approx(((sides[0] - sides[1]) / (2 * step)).item(), abs=1e-7)
    assert (found[scores == -torch.inf] == 0).all()


def test_the_softened_distance_is_hintons_kl_with_its_factor_in_value_and_gradient():
    scores, (old, _, _) = student(), teachers()
    found = softened(scores, old, temperature=5.0)
    for item, row in enumerate(scores):
        q, t = (numbers(row) / 5).softmax(-1), (numbers(old[item]) / 5).softmax(-1)
        torch.testing.assert_close(found[item], 25 * (t * (t / q).log()).sum(), **EXACT)
        by_hand = 5 * (q - t)
        torch.testing.assert_close(
            numbers(slope(lambda z: softened(z, old, temperature=5.0), scores)[item])[: len(q)], by_hand, **EXACT
        )
    held_against_finite_differences(lambda z: softened(z, old, temperature=5.0), scores)


def test_the_distance_of_logits_is_half_their_mean_square_once_both_have_mean_0():
    scores, (old, _, _) = student(), teachers()
    found = logits(scores, old)
    for item, row in enumerate(scores):
        ours, theirs = numbers(row), numbers(old[item])
        apart = (ours - ours.mean()) - (theirs - theirs.mean())
        torch.testing.assert_close(found[item], apart.square().mean() / 2, **EXACT)
        by_hand = apart / len(apart)
        torch.testing.assert_close(slope(lambda z: logits(z, old), scores)[item][: len(apart)], by_hand, **EXACT)
    held_against_finite_differences(lambda z: logits(z, old), scores)


def test_the_softened_distance_becomes_that_of_logits_as_the_temperature_grows():
    scores, (old, _, _) = student(), teachers()
    at_100, at_1000 = (softened(scores, old, temperature=t) - logits(scores, old) for t in (1e2, 1e3))
    assert at_1000.abs().max() < 0.02
    assert (at_1000.abs() < at_100.abs() / 5).all()


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("right_option", [True, False])
def test_the_inhibition_is_its_formula_in_value_and_gradient(p, right_option):
    scores, (old, _, gold) = student(), teachers()
    gold[1] = NO_LABEL

    def held(z):
        return inhibition(z, old, gold, xi=0.4, p=p, right_option=right_option)

    for item, row in enumerate(scores):
        ours, theirs = numbers(row), numbers(old[item])
        apart = ((ours - ours.mean()) - (theirs - theirs.mean())).abs()
        beyond = (apart - 0.4).clamp(min=0) ** p
        if not right_option and gold[item] != NO_LABEL:
            beyond[gold[item]] = 0.0
        torch.testing.assert_close(held(scores)[item], beyond.mean(), **EXACT)
    held_against_finite_differences(held, scores)


def test_the_inhibition_of_the_likeliest_options_leaves_the_others_alone():
    scores = torch.tensor([[5.0, 1.0, 0.0, -6.0], [0.0, 2.0, -2.0, -torch.inf]], dtype=torch.float64)
    teacher = torch.tensor([[1.0, 1.0, 0.0, -2.0], [0.0, 2.0, -2.0, -torch.inf]], dtype=torch.float64)
    gold = torch.tensor([0, 1])
    assert inhibition(scores, teacher, gold, xi=1.0, p=2.0).tolist() == [(9 + 9) / 4, 0]
    assert inhibition(scores, teacher, gold, xi=1.0, p=2.0, top=2).tolist() == [9 / 2, 0]
    assert inhibition(scores, teacher, gold, xi=1.0, p=2.0, top=9).tolist() == [(9 + 9) / 4, 0]
    held_against_finite_differences(lambda z: inhibition(z, teacher, gold, xi=1.0, p=2.0, top=2), scores)


def test_differences_up_to_xi_have_no_loss_and_no_slope():
    old, _, gold = teachers()
    near = old + 0.2 * torch.sin(torch.arange(4))
    assert (inhibition(near, old, gold, xi=0.5, p=2.0) == 0).all()
    assert (slope(lambda z: inhibition(z, old, gold, xi=0.5, p=2.0), near) == 0).all()


def test_the_symmetric_distance_is_the_mean_of_both_divergences_with_a_gradient_for_both():
    first, (second, _, _) = student(), teachers()
    for item, row in enumerate(first):
        p, q = numbers(row).softmax(-1), numbers(second[item]).softmax(-1)
        expected = ((p * (p / q).log()).sum() + (q * (q / p).log()).sum()) / 2
        torch.testing.assert_close(symmetric(first, second)[item], expected, **EXACT)
    torch.testing.assert_close(symmetric(first, second), symmetric(second, first), **EXACT)
    held_against_finite_differences(lambda z: symmetric(z, second), first)
    held_against_finite_differences(lambda z: symmetric(first, z), second)


def each_distance(scores, teacher, gold) -> dict[str, torch.Tensor]:
    return {
        "softened": softened(scores, teacher, temperature=100.0),
        "logits": logits(scores, teacher),
        "inhibition": inhibition(scores, teacher, gold, xi=0.0, p=2.0),
        "symmetric": symmetric(scores, teacher),
    }


@pytest.mark.parametrize("name", ["softened", "logits", "inhibition", "symmetric"])
def test_equal_models_are_not_apart_whatever_is_added_to_an_items_scores(name):
    old, new, gold = teachers()
    found = each_distance(old + 3.0, old, gold)[name]
    torch.testing.assert_close(found, torch.zeros_like(found), rtol=0, atol=1e-9)
    torch.testing.assert_close(
        each_distance(new + 2.5, old - 1.5, gold)[name], each_distance(new, old, gold)[name], rtol=1e-7, atol=1e-9
    )


def test_centred_scores_have_mean_0_over_the_options_that_are_there():
    scores = student()
    found = centred(scores)
    assert (found[scores == -torch.inf] == -torch.inf).all()
    for row in found:
        assert numbers(row).mean().item() == pytest.approx(0.0, abs=1e-15)
    torch.testing.assert_close(found.softmax(-1), scores.softmax(-1))


@pytest.mark.parametrize("ce_weight", [0.0, 0.1])
def test_a_batchs_loss_weighs_each_source_item_by_item(ce_weight):
    scores, (old, new, gold) = student(), teachers()
    gold[1] = NO_LABEL
    weights = [torch.arange(7).double(), torch.full((7,), 0.25, dtype=torch.float64)]
    sources = (Source(old, weights[0]), Source(new, weights[1]))
    rows = TargetRows(old.log_softmax(-1), gold, sources=sources)
    found = option_terms(scores, rows, ce_weight=ce_weight, distance=lambda z, t, _: logits(z, t))
    drawn = (weights[0] * logits(scores, old) + weights[1] * logits(scores, new)).sum()
    expected = (1 - ce_weight) * drawn + ce_weight * right_option_loss(scores, gold).sum()
    torch.testing.assert_close(found.loss, expected)
    parts = [
        option_terms(scores[part], rows[part], ce_weight=ce_weight, distance=lambda z, t, _: logits(z, t)).loss
        for part in (torch.tensor([0, 3, 6]), torch.tensor([1, 2, 4, 5]))
    ]
    torch.testing.assert_close(found.loss, parts[0] + parts[1])


def test_sources_are_part_of_what_stands_for_the_values():
    old, new, gold = teachers()
    rows = [
        TargetRows(old, gold, sources=(Source(side, torch.full((7,), weight)),))
        for side, weight in ((old, 1.0), (new, 1.0), (old, 2.0))
    ]
    assert len({each.digest for each in (*rows, TargetRows(old, gold))}) == 4
