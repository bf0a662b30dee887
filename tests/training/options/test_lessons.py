"""What published methods make of teachers: weights, references and margins against their formulas, in float64."""

import math

import pytest
import torch
from option_teachers import teachers

from muscle.config.alignment import AlignmentSettings
from muscle.errors import DataError
from muscle.tasks import get_task
from muscle.tasks.task import Example
from muscle.training.options import targets
from muscle.training.options.data import OptionData
from muscle.training.options.distances import centred, softened
from muscle.training.options.lessons import distance_of, focal_weight, taught_lesson
from muscle.training.options.losses import TargetRows, margin, margin_hinge, option_terms, right_option_loss
from muscle.training.options.targets import NO_LABEL

EXACT = {"rtol": 0.0, "atol": 1e-13}


def items(gold: torch.Tensor, *, unlabelled: bool = True) -> OptionData:
    """Return seven items: three that are trained on, one that may lack its label, three to validate on."""
    examples = [
        Example(
            id=str(number),
            context="",
            reference=(),
            target="",
            choices=("a", "b", "c", "d")[: 3 if number > 4 else 4],
            gold=None if right == NO_LABEL else right,
        )
        for number, right in enumerate(gold.tolist())
    ]
    learnt = 3 if unlabelled else 4
    return OptionData(get_task("piqa"), examples[:learnt], examples[4:], examples[learnt:4])


def lesson(old, new, gold, **alignment):
    """Return the target rows, and the teachers at the temperatures that were fitted."""
    settings = AlignmentSettings(**alignment)
    found = taught_lesson(items(gold), old, new, settings)
    fitted = found.facts["temperatures"]
    scales = [fitted["old"], *([fitted["new"]] if new else []), *fitted.get("teachers", [])]
    return found, [side / scale for side, scale in zip([old, *new], scales, strict=True)], settings


def given():
    old, new, gold = teachers()
    gold[3] = NO_LABEL
    return old, new, gold


def loss_of(scores, rows, settings) -> torch.Tensor:
    return option_terms(scores, rows, ce_weight=settings.ce_weight, distance=distance_of(settings)).loss


def test_focal_weights_are_alpha_and_beta_where_the_teacher_is_right():
    old, _, gold = given()
    found = focal_weight(old, gold, alpha=1.0, beta=5.0)
    expected = [
        6.0 if right == best else 1.0 for best, right in zip(old.argmax(-1).tolist(), gold.tolist(), strict=True)
    ]
    assert found.tolist() == expected
    assert found[3] == 1.0


def test_positive_congruent_training_is_its_formula():
    old, new, gold = given()
    found, (calibrated,), settings = lesson(old, [], gold, method="pct")
    weight = focal_weight(calibrated, gold, alpha=1.0, beta=5.0)
    focal = (weight * softened(new, calibrated, temperature=100.0)).sum()
    expected = 0.9 * focal + 0.1 * right_option_loss(new, gold).sum()
    torch.testing.assert_close(loss_of(new, found.target, settings), expected, **EXACT)
    assert found.facts["old_right"] == pytest.approx((old.argmax(-1) == gold)[gold >= 0].double().mean().item())


def test_without_beta_focal_distillation_is_plain_distillation():
    old, new, gold = given()
    numbers = {"unit": "options", "target": "focal", "temperature": 1.0, "focal": {"beta": 0.0}}
    found, (calibrated,), settings = lesson(old, [], gold, **numbers)
    plain = option_terms(new, TargetRows(calibrated.log_softmax(-1), gold)).loss
    torch.testing.assert_close(loss_of(new, found.target, settings), plain, **EXACT)


def test_margin_preserving_training_is_in_the_official_codes_proportion():
    old, new, gold = given()
    generator = torch.Generator().manual_seed(4)
    scores = (old + torch.randn(old.shape, generator=generator, dtype=torch.float64)).requires_grad_()
    found, sides, settings = lesson(old, [new], gold, method="mpt")
    # The official loss: CE + mean of (1 + 5 [right]) KL at tau = 5, without tau^2, to each of both models.
    official = right_option_loss(scores, gold).sum()
    for side in sides:
        weight = 1.0 + 5.0 * (side.argmax(-1) == gold).double()
        official = official + (weight * softened(scores, side, temperature=5.0) / 25).sum()
    ours = loss_of(scores, found.target, settings)
    torch.testing.assert_close(ours, 25 / 27 * official, **EXACT)
    slopes = [torch.autograd.grad(each, scores, retain_graph=True)[0] for each in (ours, 25 / 27 * official)]
    torch.testing.assert_close(*slopes, rtol=0, atol=1e-12)


def test_both_sources_with_all_the_share_on_the_old_one_are_that_one_alone():
    old, new, gold = given()
    numbers = {"unit": "options", "target": "focal", "temperature": 5.0}
    alone, _, settings = lesson(old, [], gold, **numbers)
    both, _, shared = lesson(old, [new], gold, **numbers, focal={"sources": "both"}, old_share=1.0)
    scores = old.roll(1, dims=0)
    scores[-2:, -1] = scores[0, -1] = -torch.inf
    scores = torch.where(old > -torch.inf, scores.masked_fill(scores == -torch.inf, 0.0), -torch.inf)
    torch.testing.assert_close(loss_of(scores, both.target, shared), loss_of(scores, alone.target, settings), **EXACT)


def test_inhibition_holds_the_student_to_the_old_logits_or_to_an_ensembles_mean():
    old, new, gold = given()
    third = old.flip(0)
    third = torch.where(old > -torch.inf, third.masked_fill(third == -torch.inf, 0.5), -torch.inf)
    single, (calibrated,), _ = lesson(old, [], gold, method="ldi")
    torch.testing.assert_close(single.target.sources[0].scores, centred(calibrated), **EXACT)
    for share in (0.0, 0.4):
        found, (a, b, c), _ = lesson(old, [new, third], gold, method="elodi", teachers=["third"], old_share=share)
        expected = share * centred(a) + (1 - share) * (centred(b) + centred(c)) / 2
        there = old > -torch.inf
        torch.testing.assert_close(found.target.sources[0].scores[there], expected[there], **EXACT)
        assert (found.target.sources[0].scores[~there] == -torch.inf).all()
        assert len(found.facts["temperatures"]["teachers"]) == 1


def test_a_student_that_is_the_reference_has_no_inhibition():
    old, _, gold = given()
    found, (calibrated,), settings = lesson(old, [], gold, method="ldi", ce_weight=0.0, inhibition={"xi": 0.0})
    assert loss_of(calibrated + 2.0, found.target, settings).item() == pytest.approx(0.0, abs=1e-15)


def test_the_new_teacher_may_be_the_mean_of_several():
    old, new, gold = given()
    found, (a, b, c), _ = lesson(old, [new, old], gold, unit="options", target="mixture", teachers=["x"], old_share=0.2)
    expected = 0.2 * a.softmax(-1) + 0.4 * b.softmax(-1) + 0.4 * c.softmax(-1)
    torch.testing.assert_close(found.target.log_target.exp(), expected, **EXACT)
    same = targets.mean_teacher([new, new, new])
    torch.testing.assert_close(same, new.log_softmax(-1), **EXACT)


def test_cross_entropy_and_the_old_teacher_are_the_churn_equivalent_target():
    # lambda y + (1 - lambda) p_old: the losses differ by the target's entropy, so that the slopes are the same.
    old, new, gold = given()
    gold[3] = 0
    found, (calibrated, _), settings = lesson(old, [new], gold, method="churn", ce_weight=0.3)
    scores = new.clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss_of(scores, found.target, settings), scores)
    mixed = 0.3 * targets.labels(gold, 4).exp() + 0.7 * calibrated.softmax(-1)
    torch.testing.assert_close(slope, scores.softmax(-1) - mixed, rtol=0, atol=1e-7)


@pytest.mark.parametrize("keep", [False, True])
def test_relabelling_takes_the_old_models_answers_where_labels_do_not_stay(keep):
    old, _, gold = given()
    found, _, _ = lesson(old, [], gold, method="relabel", keep_labels=keep)
    answers = old.argmax(-1).tolist()
    expected = [y if keep and y != NO_LABEL else answer for answer, y in zip(answers, gold.tolist(), strict=True)]
    assert found.target.log_target.argmax(-1).tolist() == expected
    assert found.target.log_target.exp().sum(-1).tolist() == [1.0] * len(gold)


def test_labels_that_all_stay_leave_nothing_to_the_old_model():
    old, _, gold = given()
    with pytest.raises(DataError, match=r"alignment\.keep_labels: expected inputs without labels"):
        taught_lesson(items(gold, unlabelled=False), old, [], AlignmentSettings(method="relabel", keep_labels=True))


def test_the_higher_margin_is_the_new_ones_where_the_old_one_asks_nothing():
    old, new, _ = teachers()
    gold = torch.arange(7) % 3
    numbers = {"unit": "options", "target": "margin", "margin_of": "higher"}
    found, (a, b), _ = lesson(old, [new], gold, **numbers)
    torch.testing.assert_close(found.target.old_margin, torch.maximum(margin(a, gold), margin(b, gold)), **EXACT)
    # An old model that rules the right option out has a margin of minus infinity.
    ruled_out = old.scatter(1, gold[:, None], -1e6)
    only_new, (_, b), _ = lesson(ruled_out, [new], gold, **numbers)
    torch.testing.assert_close(
        margin_hinge(old, gold, only_new.target.old_margin), margin_hinge(old, gold, margin(b, gold)), **EXACT
    )


def test_sharpness_is_the_power_of_a_teachers_trust():
    old, new, gold = teachers()
    p, q = old.softmax(-1).gather(1, gold[:, None])[:, 0], new.softmax(-1).gather(1, gold[:, None])[:, 0]
    for sharpness in (0.0, 1.0, 4.0):
        expected = 0.3 * p**sharpness / (0.3 * p**sharpness + 0.7 * q**sharpness)
        found = targets.reliability_share(old, new, 0.3, gold, sharpness=sharpness)
        torch.testing.assert_close(found, expected, **EXACT)
    assert math.isclose(AlignmentSettings(method="options", target="reliability").sharpness, 2.0)
