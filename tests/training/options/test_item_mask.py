"""Eq. 1's mask with an item in a token's place: value and gradient by hand, finite differences, whole runs."""

from dataclasses import replace

import pytest
import torch
from option_teachers import teachers

from muscle.config.alignment import AlignmentSettings
from muscle.config.methods import AnswerSettings
from muscle.errors import DataError
from muscle.models.adapters import load_adapter
from muscle.models.option_scores import option_log_likelihoods
from muscle.tasks import get_task
from muscle.tasks.task import Example
from muscle.training.arguments import training_arguments
from muscle.training.losses.masks import AnswersOfLogits
from muscle.training.options.data import OptionData
from muscle.training.options.items import ItemCollator
from muscle.training.options.lessons import taught_lesson
from muscle.training.options.losses import Source, TargetRows, item_mask, option_terms
from muscle.training.options.targets import NO_LABEL
from muscle.training.options.trainer import OptionLoss, OptionTrainer
from tiny.pair import SETTINGS, aligned, tiny_pair, weights

MASKS = ("student_wrong", "old_right", "old_always", "token_likelihood", "sequence_likelihood")


def masked_rows(old: torch.Tensor, new: torch.Tensor, gold: torch.Tensor, rest: torch.Tensor | None = None):
    weight = torch.ones(len(gold), dtype=old.dtype)
    return TargetRows(new.log_softmax(-1), gold, sources=(Source(old, weight), Source(new, weight)), rest=rest)


def student(old: torch.Tensor) -> torch.Tensor:
    """Scores of which some are right and some are not, without the options that an item does not have."""
    generator = torch.Generator().manual_seed(5)
    scores = 2 * torch.randn(old.shape, generator=generator, dtype=torch.float64)
    return scores.masked_fill(old == -torch.inf, -torch.inf).requires_grad_()


def leans(mask: str, scores: torch.Tensor, old: torch.Tensor, right: int) -> bool:
    """Equations 1 to 3 and Table 7 in plain words, for one item's options."""
    q, p = scores.softmax(-1), old.softmax(-1)
    if mask == "student_wrong":
        return max(range(len(q)), key=lambda k: q[k].item()) != right
    if mask == "old_right":
        return max(range(len(p)), key=lambda k: p[k].item()) == right
    return mask == "old_always" or bool(q[right] < p[right])


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("ce_weight", [0.0, 0.25])
@pytest.mark.parametrize("mask", MASKS)
def test_each_item_is_drawn_to_the_teacher_that_the_mask_chooses(mask, ce_weight, temperature):
    old, new, gold = teachers()
    scores = student(old)
    found = option_terms(scores, masked_rows(old, new, gold), temperature=temperature, ce_weight=ce_weight, mask=mask)
    expected, slope, num_masked = 0.0, torch.zeros_like(scores), 0
    for item, right in enumerate(gold.tolist()):
        there = old[item] > -torch.inf
        s, first, second = (each[item][there].detach() for each in (scores, old, new))
        leaning = leans(mask, s, first, right)
        num_masked += leaning
        p, q = ((each / temperature).softmax(-1) for each in (first if leaning else second, s))
        hard = torch.eye(len(s), dtype=s.dtype)[right]
        expected += (1 - ce_weight) * (p * (p / q).log()).sum() - ce_weight * s.log_softmax(-1)[right]
        slope[item][there] = (1 - ce_weight) * (q - p) / temperature + ce_weight * (s.softmax(-1) - hard)
    torch.testing.assert_close(found.loss, expected, rtol=0, atol=1e-13)
    torch.testing.assert_close(torch.autograd.grad(found.loss, scores)[0], slope, rtol=0, atol=1e-13)
    assert found.num_masked == num_masked
    assert 0 < num_masked < 7 or mask == "old_always"


@pytest.mark.parametrize("kl", ["forward", "reverse"])
def test_the_gradient_is_that_of_finite_differences_where_the_mask_stays(kl):
    old, new, gold = (each[:5] for each in teachers())  # all with four options
    rows = masked_rows(old, new, gold)
    torch.autograd.gradcheck(
        lambda z: option_terms(z, rows, mask="student_wrong", ce_weight=0.3, kl=kl).loss,
        (student(old).detach().requires_grad_(),),
    )


def test_the_target_told_of_is_the_chosen_teacher():
    old, new, gold = teachers()
    scores = student(old)
    chosen = item_mask("student_wrong", scores, masked_rows(old, new, gold))
    found = option_terms(scores, masked_rows(old, new, gold), mask="student_wrong")
    plain = option_terms(scores, TargetRows(torch.where(chosen[:, None], old, new), gold))
    assert (found.kl, found.agreement) == (plain.kl, plain.agreement)
    assert found.loss == plain.loss


def test_it_is_the_mask_of_tokens_with_an_items_options_as_the_vocabulary():
    old, new, gold = (each[:5] for each in teachers())
    scores = student(old).detach()
    found = item_mask("student_wrong", scores, masked_rows(old, new, gold))
    assert found.tolist() == (~AnswersOfLogits(scores, gold).right).tolist()


def test_one_batch_is_the_sum_of_its_parts():
    old, new, gold = teachers()
    scores, rows = student(old), masked_rows(old, new, gold)
    whole = option_terms(scores, rows, mask="student_wrong")
    parts = [torch.tensor([0, 3, 6]), torch.tensor([1, 2, 4, 5])]
    each = [option_terms(scores[part], rows[part], mask="student_wrong") for part in parts]
    torch.testing.assert_close(whole.loss, each[0].loss + each[1].loss)
    assert whole.num_masked == each[0].num_masked + each[1].num_masked


def test_the_rest_is_in_the_distributions_and_is_no_answer():
    # The right candidate is the likeliest one, and the rest of all texts is likelier still.
    scores = torch.tensor([[0.3, 0.1, 0.6], [0.1, 0.3, 0.6]], dtype=torch.float64).log()
    gold, rest = torch.tensor([0, 0]), torch.tensor([2, 2])
    rows = masked_rows(scores, scores, gold, rest)
    assert item_mask("student_wrong", scores, rows).tolist() == [False, True]
    assert item_mask("old_right", scores, rows).tolist() == [True, False]
    assert item_mask("student_wrong", scores, replace(rows, rest=None)).tolist() == [True, True]


def candidates(count: int) -> OptionData:
    """Items with two candidate answers and the rest, half of them to validate on."""
    examples = [
        Example(id=str(n), context="", reference=(), target="", choices=("a", "b"), gold=0, answers=(0, 1))
        for n in range(count)
    ]
    return OptionData(get_task("gsm8k"), examples[: count // 2], examples[count // 2 :], answers=AnswerSettings())


def test_the_old_model_is_right_or_answers_by_its_candidates_and_never_by_the_rest():
    p = torch.tensor([[0.3, 0.1, 0.6], [0.1, 0.3, 0.6]]).repeat(3, 1).log()
    data = candidates(6)
    focal = taught_lesson(data, p, [], AlignmentSettings(method="pct", unit="answers"))
    assert focal.facts["old_right"] == 0.5
    assert focal.target.sources[0].weight.tolist() == [6.0, 1.0] * 3
    answered = taught_lesson(data, p, [], AlignmentSettings(method="relabel", unit="answers"))
    assert answered.target.log_target.argmax(-1).tolist() == [0, 1] * 3
    numbers = {"unit": "answers", "target": "stack", "temperature": 1.0}
    plain, raised = (
        taught_lesson(data, p, [p], AlignmentSettings(**numbers, kappa=kappa)).target.log_target for kappa in (1.0, 5.0)
    )
    gained = (raised - plain).exp()
    assert gained.argmax(-1).tolist() == [0, 1] * 3


def test_the_target_told_beforehand_is_that_of_a_student_that_answers_as_the_new_teacher():
    old, new, gold = teachers()
    examples = [
        Example(
            id=str(n), context="", reference=(), target="", choices=("a", "b", "c", "d")[: 3 if n > 4 else 4], gold=y
        )
        for n, y in enumerate(gold.tolist())
    ]
    data = OptionData(get_task("piqa"), examples[:3], examples[3:])
    found = taught_lesson(data, old, [new], AlignmentSettings(method="options", target="mask"))
    wrong = new.argmax(-1) != gold
    assert found.facts["masked_as_new"] == pytest.approx(wrong.double().mean().item())
    a, b = (side / found.facts["temperatures"][name] for name, side in (("old", old), ("new", new)))
    expected = torch.where(wrong[:, None], a, b).softmax(-1)
    torch.testing.assert_close(found.target.log_target.exp(), expected, rtol=0, atol=1e-13)
    unlabelled = OptionData(get_task("piqa"), [replace(examples[0], gold=None), *examples[1:3]], examples[3:])
    assert unlabelled.gold[0] == NO_LABEL
    with pytest.raises(DataError, match="example 0: expected its right option: labels are the target"):
        taught_lesson(unlabelled, old, [new], AlignmentSettings(method="options", target="mask"))


# Whole runs


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return tiny_pair(tmp_path_factory.mktemp("mask"))


@pytest.mark.parametrize(
    "more",
    [{"ce_weight": 0.2, "mask": "student_wrong"}, {"mask": "old_right", "kl": "reverse"}, {"mask": "token_likelihood"}],
    ids=lambda more: more["mask"],
)
def test_a_training_tells_its_mask_and_how_many_items_leaned_on_the_old_model(world, tmp_path, more):
    result, written = aligned(world, tmp_path / "c", method="options", target="mask", **more)
    assert {**written, **more, "target": "mask"} == written
    assert written["labels_first"]["num_epochs"] == 2
    assert set(written["temperatures"]) == {"old", "new"}
    steps = [line for line in result.log if "masked_share" in line]
    assert len(steps) == result.num_steps
    assert all(0 <= line["masked_share"] <= 1 for line in steps)
    held = [line["eval_masked_share"] * len(world.split.validation) for line in result.log if "eval_loss" in line]
    assert held == pytest.approx([round(share) for share in held], abs=1e-6)
    load_adapter(world.bases["new"], tmp_path / "c")
    start = weights(world.root / "adapter-new")
    assert any(not torch.equal(value, start[name]) for name, value in weights(tmp_path / "c").items())


def test_the_trainers_loss_follows_the_student_as_it_is_at_that_step(world, tmp_path):
    base, data = world.bases["new"], OptionData(world.task, world.split.train, world.split.validation)
    generator = torch.Generator().manual_seed(3)
    old, new = (torch.randn(len(data.all), 2, generator=generator) for _ in range(2))
    student = load_adapter(base, world.root / "adapter-new", trainable=True)
    items = data.items(base.tokenizer, 64)
    trainer = OptionTrainer(
        model=student,
        targets=masked_rows(old, new, data.gold),
        loss=OptionLoss(temperature=2.0, mask="student_wrong"),
        pad_token_id=0,
        args=training_arguments(SETTINGS, tmp_path),
        train_dataset=items[0],
        eval_dataset=items[1],
        data_collator=ItemCollator(),
    )
    count, seen = len(items[0]), []
    for _ in range(2):
        scores = torch.stack(option_log_likelihoods(student, items[0].trees, pad_token_id=0)).detach()
        wrong = scores.argmax(-1) != data.gold[:count]
        p = (torch.where(wrong[:, None], old[:count], new[:count]) / 2).softmax(-1)
        expected = (p * (p.log() - (scores / 2).log_softmax(-1))).sum(-1).mean()
        found = trainer.compute_loss(student, ItemCollator()([items[0][place] for place in range(count)]))
        assert found.item() == pytest.approx(expected.item(), rel=1e-5)
        seen.append(wrong)
        with torch.no_grad():  # another student, with the same rows
            for name, value in student.named_parameters():
                if "lora_B" in name:
                    value.neg_()
    assert not torch.equal(*seen)


def test_leaning_on_the_old_model_always_is_the_mixture_that_it_has_alone(world, tmp_path):
    common = {"unit": "options", "temperature": 1.0}
    aligned(world, tmp_path / "mask", target="mask", mask="old_always", **common)
    aligned(world, tmp_path / "alone", target="mixture", old_share=1.0, **common)
    first, second = weights(tmp_path / "mask"), weights(tmp_path / "alone")
    assert all(torch.allclose(first[name], second[name], rtol=0, atol=1e-6) for name in first)


def test_where_both_teachers_are_the_student_no_mask_teaches_anything(world, tmp_path):
    settings = SETTINGS.model_copy(update={"epochs": 1, "learning_rate": 1e-9})
    own = {"old": world.side("new"), "settings": settings}
    _, written = aligned(world, tmp_path / "c", unit="options", target="mask", temperature=1.0, **own)
    assert written["temperatures"]["old"] == written["temperatures"]["new"]
    assert written["validation"]["agreement"] == [1.0]
