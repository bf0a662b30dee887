import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from muscle import IGNORE_INDEX, compatibility_loss
from muscle.training.losses.loss import compatibility_terms, next_token_loss
from muscle.training.losses.masks import old_model_mask

STRATEGIES = ("student_wrong", "old_right", "old_always", "token_likelihood", "sequence_likelihood")


def logits_and_labels(seed: int, *, batch: int = 3, seq: int = 5, vocab: int = 7, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    student, old, new = (torch.randn(batch, seq, vocab, generator=generator, dtype=dtype) * 2 for _ in range(3))
    labels = torch.randint(0, vocab, (batch, seq), generator=generator)
    labels[torch.rand(batch, seq, generator=generator) < 0.3] = IGNORE_INDEX
    labels[0, 0] = 1
    return student, old, new, labels


def softmax(row: list[float], temperature: float) -> list[float]:
    top = max(row)
    weights = [math.exp((value - top) / temperature) for value in row]
    return [weight / sum(weights) for weight in weights]


def reference_loss(student, old, new, labels, *, temperature, mask, ce_weight) -> float:
    """Eq. 1 and 5 as they stand in the paper, in plain Python loops."""
    total, count = 0.0, 0
    for b, row in enumerate(labels.tolist()):
        own, theirs = 0.0, 0.0
        for i, y in enumerate(row):
            if y != IGNORE_INDEX:
                own += math.log(softmax(student[b, i].tolist(), 1)[y])
                theirs += math.log(softmax(old[b, i].tolist(), 1)[y])
        for i, y in enumerate(row):
            if y == IGNORE_INDEX:
                continue
            z_c, z_1, z_2 = (side[b, i].tolist() for side in (student, old, new))
            m = {
                "student_wrong": z_c.index(max(z_c)) != y,
                "old_right": z_1.index(max(z_1)) == y,
                "old_always": True,
                "token_likelihood": softmax(z_c, 1)[y] < softmax(z_1, 1)[y],
                "sequence_likelihood": own < theirs,
            }[mask]
            teacher, p_c = softmax(z_1 if m else z_2, temperature), softmax(z_c, temperature)
            kl = sum(p * math.log(p / q) for p, q in zip(teacher, p_c, strict=True))
            total += (1 - ce_weight) * kl - ce_weight * math.log(softmax(z_c, 1)[y])
            count += 1
    return total / count


@pytest.mark.parametrize("mask", STRATEGIES)
@pytest.mark.parametrize("ce_weight", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_loss_equals_the_formula_with_padding_and_every_mask(mask, ce_weight, temperature):
    student, old, new, labels = logits_and_labels(1)
    arguments = {"temperature": temperature, "mask": mask, "ce_weight": ce_weight}
    expected = reference_loss(student, old, new, labels, **arguments)
    assert compatibility_loss(student, old, new, labels, **arguments).item() == pytest.approx(expected, rel=1e-12)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), mask=st.sampled_from(STRATEGIES), ce_weight=st.sampled_from([0.0, 0.2]))
def test_loss_equals_the_formula_on_random_tensors(seed, mask, ce_weight):
    student, old, new, labels = logits_and_labels(seed)
    arguments = {"temperature": 2.0, "mask": mask, "ce_weight": ce_weight}
    expected = reference_loss(student, old, new, labels, **arguments)
    assert compatibility_loss(student, old, new, labels, **arguments).item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("mask", STRATEGIES)
def test_gradient_equals_finite_differences(mask):
    student, old, new, labels = logits_and_labels(3, batch=2, seq=3, vocab=4)
    student.requires_grad_(True)

    def loss(z: Tensor) -> Tensor:
        return compatibility_loss(z, old, new, labels, mask=mask, ce_weight=0.25)

    assert torch.autograd.gradcheck(loss, (student,), eps=1e-6, atol=1e-7)


def test_gradient_of_a_masked_token_pulls_to_the_old_model_by_hand():
    # One token, two words, T = 2: the student says word 0, the label is word 1, so the old model teaches.
    student = torch.tensor([[[1.0, 0.0]]], dtype=torch.float64, requires_grad=True)
    old = torch.tensor([[[0.0, 2.0]]], dtype=torch.float64)
    new = torch.tensor([[[5.0, 0.0]]], dtype=torch.float64)
    compatibility_loss(student, old, new, torch.tensor([[1]])).backward()
    p_c, p_1 = 1 / (1 + math.exp(-0.5)), 1 / (1 + math.exp(1))
    # d KL(p_1 || p_c) / d z_c = (p_c - p_1) / T
    assert student.grad.flatten().tolist() == pytest.approx([(p_c - p_1) / 2, (p_1 - p_c) / 2], rel=1e-12)


def test_loss_of_equal_models_is_zero_for_every_mask():
    student, _, _, labels = logits_and_labels(5)
    for mask in STRATEGIES:
        assert compatibility_loss(student, student, student, labels, mask=mask).item() == pytest.approx(0, abs=1e-12)


def test_ignored_positions_change_nothing():
    student, old, new, labels = logits_and_labels(7)
    changed = student.clone()
    changed[labels == IGNORE_INDEX] = 1e4
    for mask in STRATEGIES:
        before = compatibility_loss(student, old, new, labels, mask=mask)
        assert torch.equal(before, compatibility_loss(changed, old, new, labels, mask=mask))


def test_one_batch_equals_its_micro_batches():
    student, old, new, labels = logits_and_labels(9, batch=4)
    whole = compatibility_terms(student, old, new, labels, ce_weight=0.2)
    parts = [
        compatibility_terms(student[i : i + 1], old[i : i + 1], new[i : i + 1], labels[i : i + 1], ce_weight=0.2)
        for i in range(4)
    ]
    assert whole.loss.item() == pytest.approx(sum(part.loss.item() for part in parts), rel=1e-12)
    assert whole.num_tokens == sum(part.num_tokens for part in parts)
    assert whole.num_masked == sum(part.num_masked for part in parts)


def test_teachers_get_no_gradient():
    student, old, new, labels = logits_and_labels(11)
    for tensor in (student, old, new):
        tensor.requires_grad_(True)
    compatibility_loss(student, old, new, labels).backward()
    assert student.grad is not None
    assert old.grad is None
    assert new.grad is None


def test_bfloat16_logits_are_computed_in_float32():
    student, old, new, labels = logits_and_labels(13, vocab=500, dtype=torch.float32)
    narrow = [tensor.bfloat16() for tensor in (student, old, new)]
    expected = compatibility_loss(*(tensor.double() for tensor in narrow), labels)
    found = compatibility_loss(*narrow, labels)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_mask_follows_the_student_and_not_the_new_model():
    student = torch.tensor([[[2.0, 0.0], [0.0, 2.0]]])
    labels = torch.tensor([[0, 0]])
    assert old_model_mask(student, -student, labels).tolist() == [[False, True]]


def test_sequence_mask_is_one_value_a_sequence():
    student, old, _, labels = logits_and_labels(15)
    mask = old_model_mask(student, old, labels, strategy="sequence_likelihood")
    for row, label in zip(mask, labels, strict=True):
        assert len(set(row[label != IGNORE_INDEX].tolist())) == 1


def test_a_batch_without_counted_tokens_is_refused():
    student, old, new, labels = logits_and_labels(17)
    with pytest.raises(ValueError, match="at least one counted token"):
        compatibility_loss(student, old, new, torch.full_like(labels, IGNORE_INDEX))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": 0.0}, "temperature: expected a number above 0"),
        ({"ce_weight": 1.5}, r"ce_weight: expected a number in \[0, 1\]"),
        ({"mask": "nonsense"}, "mask: expected a strategy"),
    ],
)
def test_impossible_arguments_are_refused(change, message):
    student, old, new, labels = logits_and_labels(19)
    with pytest.raises(ValueError, match=message):
        compatibility_loss(student, old, new, labels, **change)


def test_other_shapes_are_refused():
    student, old, new, labels = logits_and_labels(21)
    with pytest.raises(ValueError, match="old_logits: expected the student's shape"):
        compatibility_loss(student, old[..., :-1], new, labels)
    with pytest.raises(ValueError, match="labels: expected shape"):
        compatibility_loss(student, old, new, labels[:, :-1])


def test_next_token_loss_is_the_sum_over_counted_tokens():
    student, _, _, labels = logits_and_labels(23)
    by_hand = -sum(
        math.log(softmax(student[b, i].tolist(), 1)[y])
        for b, row in enumerate(labels.tolist())
        for i, y in enumerate(row)
        if y != IGNORE_INDEX
    )
    assert next_token_loss(student, labels).item() == pytest.approx(by_hand, rel=1e-12)
