import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.overrides import TorchFunctionMode

from muscle import IGNORE_INDEX
from muscle.config.methods import STUDENT_FREE_MASKS
from muscle.training.head.output_head import OutputHead
from muscle.training.losses.fused import (
    fused_compatibility_terms,
    fused_distillation_terms,
    fused_next_token_loss,
)
from muscle.training.losses.loss import compatibility_terms, next_token_loss
from muscle.training.losses.masks import share_of_old
from muscle.training.teachers.rows import (
    HiddenRows,
    ProjectedRows,
    hidden_rows,
    mixed_rows,
    projected_rows,
    topk_rows,
)

STRATEGIES = ("student_wrong", "old_right", "old_always", "token_likelihood", "sequence_likelihood")
KINDS = ("projected", "hidden")
SMALL = 1  # bytes: one token a chunk
LARGE = 2**30
WIDTH, OLD_WIDTH, VOCAB = 5, 4, 11


class World:
    """A student, two teachers with heads of their own, and labels with padding; the old teacher has another width."""

    def __init__(
        self, seed=0, *, dtype=torch.float64, bias=False, scale=1.0, softcap=None, batch=3, seq=5, vocab=VOCAB
    ):
        self.generator = torch.Generator().manual_seed(seed)
        self.dtype = dtype
        self.hidden = self.draw(batch, seq, WIDTH)
        extra = {"scale": scale, "softcap": softcap}
        self.head = OutputHead(self.draw(vocab, WIDTH), self.draw(vocab) if bias else None, **extra)
        self.old_head = OutputHead(self.draw(vocab, OLD_WIDTH), self.draw(vocab) if bias else None, **extra)
        self.old_hidden = self.draw(batch, seq, OLD_WIDTH)
        self.new_hidden = self.hidden + 0.3 * self.draw(batch, seq, WIDTH)
        self.labels = torch.randint(0, vocab, (batch, seq), generator=self.generator)
        self.labels[torch.rand(batch, seq, generator=self.generator) < 0.3] = IGNORE_INDEX
        self.labels[0, 0] = 1

    def draw(self, *shape):
        return torch.randn(*shape, generator=self.generator, dtype=torch.float64).to(self.dtype)

    def rows(self, kind, temperature=2.0, memory_bytes=LARGE):
        counted = self.labels != IGNORE_INDEX
        sides = ((self.old_hidden, self.old_head), (self.new_hidden, self.head))
        if kind == "hidden":
            return tuple(
                hidden_rows(hidden[counted], head, self.labels[counted], memory_bytes=memory_bytes)
                for hidden, head in sides
            )
        return tuple(
            projected_rows(
                hidden[counted],
                head,
                self.labels[counted],
                student=self.head,
                temperature=temperature,
                memory_bytes=memory_bytes,
            )
            for hidden, head in sides
        )


def heaped(world, k, **formula):
    """Terms and gradient from top-k rows."""
    counted, temperature = world.labels != IGNORE_INDEX, formula.get("temperature", 2.0)
    hidden = world.hidden.clone().requires_grad_(True)
    rows = [
        topk_rows(
            states[counted],
            head,
            world.labels[counted],
            k=k,
            temperature=temperature,
            memory_bytes=SMALL,
        )
        for states, head in ((world.old_hidden, world.old_head), (world.new_hidden, world.head))
    ]
    terms = fused_compatibility_terms(hidden, world.head, world.labels, *rows, memory_bytes=SMALL, **formula)
    return terms, torch.autograd.grad(terms.loss, hidden)[0]


def plain_logits(hidden, head):
    """What a model does with its head, in the plainest words."""
    logits = hidden @ head.weight.T
    if head.bias is not None:
        logits = logits + head.bias
    logits = logits * head.scale
    return logits if head.softcap is None else head.softcap * torch.tanh(logits / head.softcap)


def reference(world, **formula):
    """The plain formula's terms and its gradient in the student's states."""
    hidden = world.hidden.clone().requires_grad_(True)
    terms = compatibility_terms(
        plain_logits(hidden, world.head),
        plain_logits(world.old_hidden, world.old_head),
        plain_logits(world.new_hidden, world.head),
        world.labels,
        **formula,
    )
    return terms, torch.autograd.grad(terms.loss, hidden)[0]


def fused(world, kind, *, memory_bytes=LARGE, **formula):
    hidden = world.hidden.clone().requires_grad_(True)
    old, new = world.rows(kind, formula.get("temperature", 2.0), memory_bytes)
    terms = fused_compatibility_terms(hidden, world.head, world.labels, old, new, memory_bytes=memory_bytes, **formula)
    return terms, torch.autograd.grad(terms.loss, hidden)[0]


def assert_same(found, expected, *, rel):
    (found_terms, found_gradient), (terms, gradient) = found, expected
    for name in ("loss", "kl_old", "kl_new", "cross_entropy"):
        assert getattr(found_terms, name).item() == pytest.approx(getattr(terms, name).item(), rel=rel, abs=rel), name
    assert (found_terms.num_masked, found_terms.num_tokens) == (terms.num_masked, terms.num_tokens)
    assert (found_gradient - gradient).abs().max().item() <= rel * max(1.0, gradient.abs().max().item())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mask", STRATEGIES)
@pytest.mark.parametrize("ce_weight", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("temperature", [1.0, 2.0, 0.7])
def test_value_and_gradient_equal_the_plain_formula(kind, mask, ce_weight, temperature):
    formula = {"mask": mask, "ce_weight": ce_weight, "temperature": temperature}
    world = World(1)
    assert_same(fused(world, kind, **formula), reference(world, **formula), rel=1e-12)


@pytest.mark.parametrize("mask", STRATEGIES)
@pytest.mark.parametrize("old_share", [0.0, 0.3, 0.5])
def test_a_share_of_the_old_model_equals_the_plain_formula_in_every_kind_of_rows(mask, old_share):
    formula = {"mask": mask, "old_share": old_share, "ce_weight": 0.2}
    world = World(21)
    expected = reference(world, **formula)
    for kind in KINDS:
        assert_same(fused(world, kind, memory_bytes=SMALL, **formula), expected, rel=1e-12)
    assert_same(heaped(world, VOCAB, **formula), expected, rel=1e-10)


def test_the_plain_formula_pulls_towards_the_mixture_of_both_models():
    world, share = World(22), 0.3
    found, gradient = reference(world, mask="old_always", old_share=share, temperature=2.0)
    counted = world.labels != IGNORE_INDEX
    hidden = world.hidden.clone().requires_grad_(True)
    student, old, new = (
        torch.log_softmax(plain_logits(states, head)[counted] / 2.0, -1)
        for states, head in ((hidden, world.head), (world.old_hidden, world.old_head), (world.new_hidden, world.head))
    )
    target = share * old.exp() + (1 - share) * new.exp()
    whole = (target * (target.log() - student)).sum()
    assert torch.allclose(torch.autograd.grad(whole, hidden)[0], gradient, atol=1e-12)
    # What the teachers differ by themselves: the same for every student.
    apart = share * (old.exp() * (old - target.log())).sum() + (1 - share) * (new.exp() * (new - target.log())).sum()
    assert found.loss.item() == pytest.approx((whole + apart).item(), rel=1e-12)


def test_a_share_of_none_learns_from_the_new_model_alone():
    world = World(23)
    found, _ = reference(world, mask="old_always", old_share=0.0)
    assert found.loss.item() == pytest.approx(found.kl_new.item(), rel=1e-12)
    with pytest.raises(ValueError, match=r"old_share: expected a number in \[0, 1\], found 1.5"):
        reference(world, old_share=1.5)


@pytest.mark.parametrize("mask", sorted(STUDENT_FREE_MASKS))
def test_stored_mixtures_with_a_share_have_the_gradient_of_the_plain_formula(mask):
    world = World(24)
    hidden = world.hidden.clone().requires_grad_(True)
    rows = mixture(world, share_of_old(mask, 0.3), temperature=2.0)
    found = fused_distillation_terms(hidden, world.head, world.labels, rows, memory_bytes=SMALL)
    terms, gradient = reference(world, mask=mask, old_share=0.3)
    assert torch.allclose(torch.autograd.grad(found.loss, hidden)[0], gradient, atol=1e-11)
    assert found.old_share.item() == pytest.approx(0.3 * terms.num_masked)
    assert found.loss.item() <= terms.loss.item()


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    kind=st.sampled_from(KINDS),
    mask=st.sampled_from(STRATEGIES),
    ce_weight=st.sampled_from([0.0, 0.2]),
    memory_bytes=st.integers(1, 4000),
    bias=st.booleans(),
    scale=st.sampled_from([1.0, 0.0625, 3.0]),
)
def test_equal_to_the_plain_formula_on_random_models_and_chunks(seed, kind, mask, ce_weight, memory_bytes, bias, scale):
    world = World(seed, bias=bias, scale=scale)
    found = fused(world, kind, mask=mask, ce_weight=ce_weight, memory_bytes=memory_bytes)
    assert_same(found, reference(world, mask=mask, ce_weight=ce_weight), rel=1e-10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mask", STRATEGIES)
def test_every_chunk_size_gives_the_same(kind, mask):
    world = World(3)
    expected = reference(world, mask=mask, ce_weight=0.2)
    for tokens in range(1, 16):
        found = fused(world, kind, mask=mask, ce_weight=0.2, memory_bytes=tokens * VOCAB * 56)
        assert_same(found, expected, rel=1e-12)


@pytest.mark.parametrize("mask", STRATEGIES)
@pytest.mark.parametrize("softcap", [None, 2.0])
def test_top_k_rows_of_the_whole_vocabulary_give_the_plain_formula(mask, softcap):
    world = World(11, softcap=softcap)
    formula = {"mask": mask, "ce_weight": 0.2}
    assert_same(heaped(world, VOCAB, **formula), reference(world, **formula), rel=1e-10)


@pytest.mark.parametrize("k", [1, 3, VOCAB - 1])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_top_k_rows_give_kl_with_the_tail_as_one_heap_less_than_kl_by_the_stated_error(k, temperature):
    world = World(12)
    counted = world.labels != IGNORE_INDEX
    terms, _ = heaped(world, k, temperature=temperature, mask="old_always")
    teacher = torch.softmax(plain_logits(world.old_hidden, world.old_head)[counted] / temperature, -1)
    student = torch.softmax(plain_logits(world.hidden, world.head)[counted] / temperature, -1)
    ids = teacher.topk(k, -1).indices
    whole = (teacher * (teacher / student).log()).sum(-1)
    tails = [p.scatter(1, ids, 0.0) for p in (teacher, student)]
    masses = [tail.sum(-1, keepdim=True) for tail in tails]
    within = torch.special.xlogy(tails[0], (tails[0] / masses[0]) / (tails[1] / masses[1]).clamp(min=1e-300)).sum(-1)
    assert (within > -1e-12).all()
    assert terms.kl_old.item() == pytest.approx((whole - within).sum().item(), rel=1e-9)


@pytest.mark.parametrize("mask", STRATEGIES)
def test_top_k_gradients_are_those_of_finite_differences(mask):
    world = World(13)
    gradient = heaped(world, 4, mask=mask, ce_weight=0.3)[1]
    step = 1e-5
    for place in [(0, 0, 0), (1, 2, 3)]:
        ends = []
        for sign in (1, -1):
            moved = World(13)
            moved.hidden[place] += sign * step
            ends.append(heaped(moved, 4, mask=mask, ce_weight=0.3)[0].loss.item())
        assert gradient[place].item() == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-4, abs=1e-7)


def mixture(world, old_share, *, temperature, memory_bytes=SMALL):
    counted = world.labels != IGNORE_INDEX
    return mixed_rows(
        (world.old_hidden[counted], world.new_hidden[counted]),
        (world.old_head, world.head),
        world.labels[counted],
        old_share=old_share,
        student=world.head,
        temperature=temperature,
        memory_bytes=memory_bytes,
    )


@pytest.mark.parametrize("mask", sorted(STUDENT_FREE_MASKS))
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_a_mixture_by_a_mask_that_ignores_the_student_gives_the_plain_formula(mask, temperature):
    world = World(14, scale=0.5)
    formula = {"ce_weight": 0.2, "temperature": temperature}
    hidden = world.hidden.clone().requires_grad_(True)
    rows = mixture(world, share_of_old(mask), temperature=temperature)
    found = fused_distillation_terms(hidden, world.head, world.labels, rows, memory_bytes=SMALL, **formula)
    terms, gradient = reference(world, mask=mask, **formula)
    assert found.loss.item() == pytest.approx(terms.loss.item(), rel=1e-10)
    assert found.cross_entropy.item() == pytest.approx(terms.cross_entropy.item(), rel=1e-10)
    assert (found.old_share.item(), found.num_tokens) == (terms.num_masked, terms.num_tokens)
    assert torch.allclose(torch.autograd.grad(found.loss, hidden)[0], gradient, atol=1e-11)


def test_a_mixture_of_both_teachers_is_kl_to_their_weighted_distributions():
    world = World(15)
    counted = world.labels != IGNORE_INDEX

    def reliability(old, new, old_right):
        del old_right
        return torch.sigmoid(2 * (old - new))  # p_1^2 / (p_1^2 + p_2^2)

    hidden = world.hidden.clone().requires_grad_(True)
    rows = mixture(world, reliability, temperature=1.0)
    found = fused_distillation_terms(hidden, world.head, world.labels, rows, temperature=1.0, memory_bytes=SMALL)
    states = world.hidden.clone().requires_grad_(True)
    student, old, new = (
        torch.log_softmax(plain_logits(side, head)[counted], -1)
        for side, head in (
            (states, world.head),
            (world.old_hidden, world.old_head),
            (world.new_hidden, world.head),
        )
    )
    label = world.labels[counted].unsqueeze(1)
    squares = [side.gather(1, label).exp().square() for side in (old, new)]
    share = squares[0] / (squares[0] + squares[1])
    target = share * old.exp() + (1 - share) * new.exp()
    expected = (target * (target.log() - student)).sum()
    assert found.loss.item() == pytest.approx(expected.item(), rel=1e-10)
    assert found.old_share.item() == pytest.approx(share.sum().item())
    gradients = (torch.autograd.grad(found.loss, hidden)[0], torch.autograd.grad(expected, states)[0])
    assert torch.allclose(*gradients, atol=1e-11)


@pytest.mark.parametrize("ce_weight", [0.0, 0.4])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_capped_logits_are_handled_by_hidden_rows(ce_weight, temperature):
    world = World(5, softcap=2.0, scale=0.5)
    formula = {"ce_weight": ce_weight, "temperature": temperature}
    found = fused(world, "hidden", memory_bytes=SMALL, **formula)
    assert_same(found, reference(world, **formula), rel=1e-12)


def test_projected_rows_of_capped_logits_are_refused():
    with pytest.raises(ValueError, match="a head with a soft cap has no projected rows"):
        fused(World(5, softcap=2.0), "projected")


@pytest.mark.parametrize("extra", [{}, {"bias": True, "scale": 0.5}, {"softcap": 3.0}])
def test_cross_entropy_equals_the_plain_formula(extra):
    world = World(7, **extra)
    found_hidden, hidden = (world.hidden.clone().requires_grad_(True) for _ in range(2))
    found = fused_next_token_loss(found_hidden, world.head, world.labels, memory_bytes=SMALL)
    expected = next_token_loss(plain_logits(hidden, world.head), world.labels)
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)
    (3 * found).backward()
    (3 * expected).backward()
    assert torch.allclose(found_hidden.grad, hidden.grad, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mask", STRATEGIES)
def test_gradient_equals_finite_differences(kind, mask):
    world = World(9, batch=2, seq=3)
    old, new = world.rows(kind)

    def loss(hidden):
        terms = fused_compatibility_terms(
            hidden, world.head, world.labels, old, new, mask=mask, ce_weight=0.25, memory_bytes=SMALL
        )
        return terms.loss

    assert torch.autograd.gradcheck(loss, (world.hidden.requires_grad_(True),), eps=1e-6, atol=1e-7)


def test_one_token_of_two_words_by_hand():
    # W is the identity, so that states are logits: the student says word 0, the label is word 1, the old model teaches.
    head = OutputHead(torch.eye(2, dtype=torch.float64))
    hidden = torch.tensor([[1.0, 0.0]], dtype=torch.float64, requires_grad=True)
    p_1, p_c = 1 / (1 + math.exp(1)), 1 / (1 + math.exp(-0.5))
    old = ProjectedRows(
        vector=torch.tensor([[p_1, 1 - p_1]], dtype=torch.float64),
        entropy=torch.tensor([-p_1 * math.log(p_1) - (1 - p_1) * math.log(1 - p_1)], dtype=torch.float64),
        log_p=torch.zeros(1, dtype=torch.float64),
        right=torch.tensor([True]),
        bias=None,
        temperature=2.0,
    )
    terms = fused_compatibility_terms(hidden, head, torch.tensor([1]), old, old)
    terms.loss.backward()
    kl = p_1 * math.log(p_1 / p_c) + (1 - p_1) * math.log((1 - p_1) / (1 - p_c))
    assert terms.loss.item() == pytest.approx(kl, rel=1e-12)
    assert hidden.grad.flatten().tolist() == pytest.approx([(p_c - p_1) / 2, (p_1 - p_c) / 2], rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_equal_models_have_no_loss_and_no_gradient(kind):
    world = World(11)
    world.old_hidden, world.old_head, world.new_hidden = world.hidden, world.head, world.hidden
    for mask in STRATEGIES:
        terms, gradient = fused(world, kind, mask=mask)
        assert terms.loss.item() == pytest.approx(0, abs=1e-12)
        assert gradient.abs().max().item() < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_without_counted_tokens_gives_sums_of_zero(kind):
    world = World(13)
    world.labels.fill_(IGNORE_INDEX)
    for mask in STRATEGIES:
        terms, gradient = fused(world, kind, mask=mask, ce_weight=0.1)
        assert (terms.loss.item(), terms.num_tokens, terms.num_masked) == (0.0, 0, 0)
        assert gradient.abs().max().item() == 0
    assert fused_next_token_loss(world.hidden, world.head, world.labels).item() == 0


def test_ignored_positions_get_no_gradient_and_change_nothing():
    world = World(15)
    before, gradient = fused(world, "projected")
    ignored = world.labels == IGNORE_INDEX
    assert gradient[ignored].abs().max().item() == 0
    world.hidden[ignored] = 1e4
    assert torch.equal(fused(world, "projected")[0].loss, before.loss)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mask", STRATEGIES)
def test_without_gradient_the_values_are_the_same(kind, mask):
    world = World(17)
    terms, _ = fused(world, kind, mask=mask, ce_weight=0.2)
    old, new = world.rows(kind)
    with torch.no_grad():
        valued = fused_compatibility_terms(world.hidden, world.head, world.labels, old, new, mask=mask, ce_weight=0.2)
    assert valued.loss.item() == pytest.approx(terms.loss.item(), rel=1e-12)
    assert not valued.loss.requires_grad


@pytest.mark.parametrize("kind", KINDS)
def test_float32_equals_the_plain_formula_to_rounding(kind):
    world = World(19, dtype=torch.float32, vocab=500)
    assert_same(fused(world, kind), reference(world), rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_is_as_near_to_the_exact_loss_as_the_plain_formula(kind):
    shape = {"vocab": 500, "batch": 8, "seq": 32}
    world, exact = World(21, dtype=torch.bfloat16, **shape), World(21, dtype=torch.bfloat16, **shape)
    for name in ("hidden", "old_hidden", "new_hidden"):
        setattr(exact, name, getattr(exact, name).double())
    exact.head = OutputHead(exact.head.weight.double())
    exact.old_head = OutputHead(exact.old_head.weight.double())
    # A mask that no rounding flips.
    (best, best_gradient), (plain, plain_gradient) = (reference(side, mask="old_always") for side in (exact, world))
    found, gradient = fused(world, kind, mask="old_always")
    assert gradient.dtype == torch.bfloat16
    # A projected row's vector is a rounded sum itself.
    most = 2 if kind == "projected" else 1
    assert abs(found.loss - best.loss) < most * abs(plain.loss - best.loss)
    errors = [(side.double() - best_gradient).norm().item() for side in (gradient, plain_gradient)]
    assert errors[0] < 1.2 * errors[1]


def test_autocast_changes_nothing():
    world = World(23, dtype=torch.float32)
    plain = fused(world, "projected")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = fused(world, "projected")
    assert torch.equal(plain[0].loss, cast[0].loss)
    assert torch.equal(plain[1], cast[1])


def test_both_heads_of_the_store_agree_with_the_teachers_own_logits():
    world = World(25, bias=True)
    counted = world.labels != IGNORE_INDEX
    logits = plain_logits(world.old_hidden, world.old_head)[counted]
    log_p = logits.log_softmax(-1).gather(1, world.labels[counted].unsqueeze(1)).squeeze(1)
    p = (logits / 2).softmax(-1)
    projected, hidden = (world.rows(kind, memory_bytes=SMALL)[0] for kind in KINDS)
    for rows in (projected, hidden):
        assert torch.allclose(rows.log_p, log_p, rtol=1e-12)
        assert torch.equal(rows.right, logits.argmax(-1) == world.labels[counted])
    assert torch.allclose(projected.vector, p @ world.head.weight, rtol=1e-11)
    assert torch.allclose(projected.entropy, -(p * p.log()).sum(-1), rtol=1e-11)
    assert torch.allclose(projected.bias, p @ world.head.bias, rtol=1e-11)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": 0.0}, "temperature: expected a number above 0"),
        ({"ce_weight": 1.5}, r"ce_weight: expected a number in \[0, 1\]"),
        ({"mask": "nonsense"}, "mask: expected a strategy"),
        ({"temperature": 1.0}, r"old: rows made at temperature 2\.0, expected 1\.0"),
    ],
)
def test_impossible_arguments_are_refused(change, message):
    world = World(27)
    old, new = world.rows("projected")
    with pytest.raises(ValueError, match=message):
        fused_compatibility_terms(world.hidden, world.head, world.labels, old, new, **change)


def test_rows_of_other_tokens_kinds_and_widths_are_refused():
    world = World(29)
    (old, new), (old_hidden, _) = world.rows("projected"), world.rows("hidden")
    arguments = (world.hidden, world.head, world.labels)
    with pytest.raises(ValueError, match="new: expected HiddenRows as the old model's, found ProjectedRows"):
        fused_compatibility_terms(*arguments, old_hidden, new)
    with pytest.raises(ValueError, match="labels: expected shape"):
        fused_compatibility_terms(world.hidden, world.head, world.labels[:, :-1], old, new)
    with pytest.raises(ValueError, match="expected states 5 wide"):
        fused_compatibility_terms(world.hidden[..., :-1], world.head, world.labels, old, new)
    short = HiddenRows(old_hidden.vector[:-1], old_hidden.log_p[:-1], old_hidden.right[:-1], world.old_head)
    with pytest.raises(ValueError, match="rows, one a counted token, found"):
        fused_compatibility_terms(*arguments, short, short)


def test_a_teacher_of_another_vocabulary_is_refused():
    world, other = World(31), World(31, vocab=VOCAB + 1)
    with pytest.raises(ValueError, match=f"expected a head of {VOCAB} rows"):
        projected_rows(
            world.hidden[0],
            other.head,
            world.labels[0].clamp(min=0),
            student=world.head,
            temperature=2.0,
            memory_bytes=LARGE,
        )
    counted = world.labels != IGNORE_INDEX
    rows = hidden_rows(world.hidden[counted], other.head, world.labels[counted], memory_bytes=LARGE)
    with pytest.raises(ValueError, match=f"old: expected a head of {VOCAB} rows"):
        fused_compatibility_terms(world.hidden, world.head, world.labels, rows, rows)


def test_no_matrix_of_tokens_by_vocabulary_is_made():
    # Every tensor that exists in the pass is counted: with a small budget none is as large as the logits would be.
    largest = 0

    class Count(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            result = function(*args, **(kwargs or {}))
            for value in result if isinstance(result, tuple | list) else [result]:
                if isinstance(value, torch.Tensor):
                    largest = max(largest, value.numel())
            return result

    world = World(33, dtype=torch.float32, vocab=300, batch=8, seq=32)
    rows = {kind: world.rows(kind) for kind in KINDS}
    with Count():
        for kind in KINDS:
            hidden = world.hidden.clone().requires_grad_(True)
            fused_compatibility_terms(
                hidden, world.head, world.labels, *rows[kind], memory_bytes=20 * 300 * 4
            ).loss.backward()
    assert 300 < largest <= max(20 * 300, world.hidden.numel(), world.head.weight.numel())
