"""The Triton kernel by Triton's interpreter, on a CPU (`conftest.py`).

On a GPU: TRITON_INTERPRET=0 pytest tests/training/head/test_kernels.py.
"""

import logging
import math
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from muscle import IGNORE_INDEX, align, finetune
from muscle.config.alignment import AlignmentSettings
from muscle.config.settings import BaseConfig, LoraSettings, TrainingSettings
from muscle.errors import ConfigError
from muscle.models.bases import load_base
from muscle.training.head import kernels
from muscle.training.head.head_pass import head_pass
from muscle.training.head.kernels import choose_kernel, triton_kernel
from muscle.training.head.output_head import OutputHead
from muscle.training.losses.fused import (
    fused_compatibility_terms,
    fused_distillation_terms,
    fused_next_token_loss,
)
from muscle.training.stored_trainers import task_trainer
from muscle.training.teachers.rows import hidden_rows, mixed_rows, projected_rows
from tiny.bases import save_base
from tiny.pair import tiny_task

pytest.importorskip("triton", reason="triton is not installed; it exists for Linux alone")

INTERPRETED = os.environ["TRITON_INTERPRET"] == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
BUDGET = 2**20
TOLERANCE = {torch.float32: 1e-5, torch.float16: 1e-4, torch.bfloat16: torch.finfo(torch.bfloat16).eps}
"""Of the gradient against the PyTorch path's. The interpreter cuts off to bfloat16, where a carry may be lost."""


@pytest.fixture
def kernel():
    return triton_kernel()


def case(dtype=torch.float16, *, tokens=6, width=24, vocab=5000, bias=False, scale=1.0, seed=0):
    """States, head, labels."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator).to(DEVICE, dtype)

    head = OutputHead(draw(vocab, width), draw(vocab) if bias else None, scale=scale)
    labels = torch.randint(vocab, (tokens,), generator=generator).to(DEVICE)
    return draw(tokens, width), head, labels


def run(states, head, labels, *, temperature=2.0, ce_weight=0.3, gradient=True, memory_bytes=BUDGET):
    formula = {"temperature": temperature, "ce_weight": ce_weight}
    return head_pass(states, head, labels, gradient=gradient, memory_bytes=memory_bytes, **formula)


def both(states, head, labels, kernel, **formula):
    """The PyTorch path's numbers and the kernel's."""
    return run(states, head, labels, **formula), run(states, replace(head, kernel=kernel), labels, **formula)


def assert_same(expected, found, *, gradient, value=1e-5):
    for name in ("lse", "log_p"):
        theirs, ours = (getattr(side, name).tolist() for side in (expected, found))
        assert ours == pytest.approx(theirs, rel=1e-5, abs=value), name
    assert torch.equal(found.right, expected.right)
    assert torch.isfinite(found.pulled).all()
    assert (found.pulled - expected.pulled).norm() <= gradient * expected.pulled.norm()


def truth(states, head, labels, temperature, ce_weight):
    """The same by the plain formula and autograd, in float64: lse, log_p, pulled."""
    weight = head.weight.double()
    raw = (states.double() @ weight.T).requires_grad_(True)
    logits = head.scale * raw
    lse = torch.logsumexp(logits / temperature, -1)
    log_p = logits.log_softmax(-1).gather(1, labels.unsqueeze(1)).squeeze(1)
    ((1 - ce_weight) * lse - ce_weight * log_p).sum().backward()
    return lse, log_p, raw.grad @ weight / head.scale


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("temperature", [1.0, 2.0, 3.5])
@pytest.mark.parametrize("ce_weight", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("vocab", [5000, 8192])
def test_value_and_gradient_are_those_of_the_pytorch_path(kernel, dtype, temperature, ce_weight, vocab):
    expected, found = both(*case(dtype, vocab=vocab), kernel, temperature=temperature, ce_weight=ce_weight)
    assert_same(expected, found, gradient=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("temperature", [1.0, 2.0, 3.5])
@pytest.mark.parametrize("ce_weight", [0.0, 0.3, 1.0])
def test_both_are_as_near_to_the_exact_numbers(kernel, dtype, temperature, ce_weight):
    states, head, labels = case(dtype, tokens=16, scale=0.5)
    formula = {"temperature": temperature, "ce_weight": ce_weight}
    exact = truth(states, head, labels, **formula)
    errors = []
    for found in both(states, head, labels, kernel, **formula):
        numbers = (found.lse, found.log_p, found.pulled)
        errors.append([(a - b).norm() / b.norm() for a, b in zip(numbers, exact, strict=True)])
    for plain, own in zip(*errors, strict=True):
        assert own <= 1.05 * plain + 1e-6


@pytest.mark.parametrize("extra", [{"bias": True}, {"scale": 0.0625}, {"bias": True, "scale": 3.0}])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_heads_with_bias_and_scale(kernel, extra, temperature):
    for dtype in (torch.float16, torch.float32):
        expected, found = both(*case(dtype, **extra), kernel, temperature=temperature)
        assert_same(expected, found, gradient=TOLERANCE[dtype])


@pytest.mark.parametrize("vocab", [1, 2, 11, 4095, 4097])
def test_vocabularies_around_a_block(kernel, vocab):
    states, head, labels = case(torch.float32, vocab=vocab, tokens=3)
    expected, found = both(states, head, labels, kernel)
    assert_same(expected, found, gradient=TOLERANCE[torch.float32])


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_a_label_that_is_the_argmax_is_counted_once(kernel, temperature):
    states, head, _ = case(tokens=8)
    labels = (states @ head.weight.T).argmax(-1)
    expected, found = both(states, head, labels, kernel, temperature=temperature)
    assert found.right.all()
    assert_same(expected, found, gradient=TOLERANCE[torch.float16])


def test_of_equal_logits_the_first_is_the_argmax(kernel):
    states, head, labels = case(tokens=4)
    top = (states @ head.weight.T).argmax(-1)
    weight = head.weight.clone()
    weight[0] = weight[4999] = weight[top[0]]
    labels[0] = 0
    expected, found = both(states, replace(head, weight=weight), labels, kernel)
    assert found.right[0]
    assert_same(expected, found, gradient=TOLERANCE[torch.float16])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("temperature", [1.0, 2.0, 3.5])
def test_extreme_logits_stay_finite(kernel, dtype, temperature):
    # Logits of +-9,984, which 16 bits hold; the label is one of two largest, the smallest, and one between.
    weight = torch.tensor([[96.0], [-96.0], [95.0], [0.0], [96.0]]).to(DEVICE, dtype)
    states = torch.tensor([[104.0], [-104.0], [104.0]]).to(DEVICE, dtype)
    labels = torch.tensor([0, 0, 3], device=DEVICE)
    expected_log_p = [-math.log(2), -19_968, -9_984 - math.log(2)]
    expected, found = both(states, OutputHead(weight), labels, kernel, temperature=temperature)
    # The PyTorch path takes log_p as a difference of float32 numbers near 10,000.
    assert_same(expected, found, gradient=TOLERANCE[dtype], value=1e-3)
    assert found.log_p.tolist() == pytest.approx(expected_log_p, rel=1e-6)


def test_a_row_whose_rounding_lifts_it_far_above_its_exact_argmax_stays_finite(kernel):
    # In bfloat16 100,200 and 100,202 are rounded to 100,352, and the first of them is the argmax: exact, it is 152
    # below the second.
    states = torch.ones(1, 2, dtype=torch.bfloat16, device=DEVICE)
    weight = torch.tensor([[100352.0, -152.0], [100352.0, -150.0], [99840.0, 256.0]], dtype=torch.bfloat16)
    head = replace(OutputHead(weight.to(DEVICE)), kernel=kernel)
    found = run(states, head, torch.tensor([2], device=DEVICE), ce_weight=0.0)
    assert (found.lse.item(), found.log_p.item()) == (100352 / 2, 100096 - 100352)
    assert found.pulled.tolist() == [[100352 / 2, -150 / 2]]


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_a_maximum_that_comes_late_takes_the_sums_before_it_along(kernel, temperature):
    # In bfloat16 1,003 is rounded to 1,004: above the exact argmax, which is the first of two, lies the second, a block
    # later.
    states = torch.ones(1, 2, dtype=torch.bfloat16, device=DEVICE)
    weight = torch.zeros(5000, 2)
    weight[:3000, 0] = weight[4999, 0] = 1000.0
    weight[0, 1] = weight[4999, 1] = 3.0
    head = replace(OutputHead(weight.bfloat16().to(DEVICE)), kernel=kernel)
    found = run(states, head, torch.tensor([1], device=DEVICE), temperature=temperature)
    logits = weight.double().sum(1)
    logits[4999] = 1004.0
    lse = torch.logsumexp(logits / temperature, 0).item()
    assert found.lse.item() == pytest.approx(lse, rel=1e-6)
    assert found.log_p.item() == pytest.approx(logits.log_softmax(0)[1].item(), rel=1e-5)
    assert found.lse.item() - 1004 / temperature > 3  # the block before counts


def test_no_token_and_one_token(kernel):
    states, head, labels = case()
    none = run(states[:0], replace(head, kernel=kernel), labels[:0])
    assert (len(none.lse), len(none.right), none.pulled.shape) == (0, 0, (0, 24))
    expected, found = both(states[:1], head, labels[:1], kernel)
    assert_same(expected, found, gradient=TOLERANCE[torch.float16])


def test_without_a_gradient_the_values_are_the_same_and_the_product_stays(kernel):
    states, head, labels = case()
    head = replace(head, kernel=kernel)
    found, valued = run(states, head, labels), run(states, head, labels, gradient=False)
    assert torch.equal(valued.lse, found.lse)
    assert torch.equal(valued.log_p, found.log_p)
    assert valued.pulled is None


@pytest.mark.parametrize(("dtype", "tokens"), [(torch.float16, 50), (torch.float32, 25)])
def test_a_chunk_fills_the_budget_with_the_product_alone(kernel, dtype, tokens):
    seen = []

    def spy(product, **formula):
        seen.append(len(product.raw))
        return kernel(product, **formula)

    states, head, labels = case(dtype, tokens=100, vocab=1000)
    expected = run(states, head, labels)
    found = run(states, replace(head, kernel=spy), labels, memory_bytes=100_000)
    assert seen == [tokens] * (100 // tokens)
    assert_same(expected, found, gradient=TOLERANCE[dtype])


def loss_and_gradient(loss, states):
    states = states.clone().requires_grad_(True)
    value = loss(states)
    value.backward()
    return value.item(), states.grad


def fused_losses(states, head, labels, old_head):
    """Every loss that has no teacher in the pass, by its name: functions of the states (1, tokens, width)."""
    counted = labels != IGNORE_INDEX
    made = {"student": replace(head, kernel=None), "temperature": 2.0, "memory_bytes": BUDGET}
    old, new = (
        projected_rows(teacher.flatten(0, 1)[counted[0]], of, labels[counted], **made)
        for teacher, of in ((states.flip(1), old_head), (1.1 * states, made["student"]))
    )
    kept = [side.flatten(0, 1)[counted[0]] for side in (states.flip(1), 1.1 * states)]
    mixture = mixed_rows(
        kept,
        (old_head, made["student"]),
        labels[counted],
        old_share=lambda old, new, right: torch.full_like(old, 0.4),
        **made,
    )
    return {
        "cross-entropy": lambda h: fused_next_token_loss(h, head, labels),
        "both": lambda h: fused_compatibility_terms(h, head, labels, old, new, ce_weight=0.2).loss,
        "mixture": lambda h: fused_distillation_terms(h, head, labels, mixture).loss,
    }


@pytest.mark.parametrize("name", ["cross-entropy", "both", "mixture"])
def test_every_loss_without_teachers_in_the_pass_is_the_same(kernel, name):
    states, head, labels = case(torch.float32, tokens=7, vocab=300, scale=0.5)
    old_head = case(torch.float32, vocab=300, seed=1)[1]
    labels[3] = IGNORE_INDEX
    calls = []

    def spy(product, **formula):
        calls.append(formula)
        return kernel(product, **formula)

    ends = [
        loss_and_gradient(fused_losses(states[None], side, labels[None], old_head)[name], states[None])
        for side in (head, replace(head, kernel=spy))
    ]
    assert calls
    assert ends[1][0] == pytest.approx(ends[0][0], rel=1e-5)
    assert (ends[1][1] - ends[0][1]).norm() <= 1e-5 * ends[0][1].norm()


def never(product, **formula):
    raise AssertionError("the kernel was called")


def test_teachers_in_the_pass_stay_on_the_pytorch_path():
    states, head, labels = case(torch.float32, tokens=5, vocab=50)
    rows = [hidden_rows(side, head, labels, memory_bytes=BUDGET) for side in (states.flip(0), states)]
    losses = [
        fused_compatibility_terms(states[None], side, labels[None], *rows).loss
        for side in (head, replace(head, kernel=never))
    ]
    assert torch.equal(*losses)


def wrong(change):
    """The kernel, and then an error."""
    right = triton_kernel()

    def kernel(product, **formula):
        rows = right(product, **formula)
        return change(product, rows)

    return kernel


def spoilt_row(product, rows):
    product.raw[:, : product.raw.shape[1] // 2] = 0
    return rows


MISTAKES = {
    "lse": lambda product, rows: rows._replace(lse=rows.lse + 0.01),
    "log_p": lambda product, rows: rows._replace(log_p=rows.log_p * float("nan")),
    "gradient": lambda product, rows: rows._replace(heavy=rows.heavy * 0.9),
    "gradient, light": spoilt_row,
}


@pytest.fixture
def as_on_a_gpu(kernel, monkeypatch):
    """What is asked of a GPU where nobody sets the interpreter; the kernel was read before, and runs by it."""
    monkeypatch.setattr(kernels, "_on_gpu", lambda head: True)
    monkeypatch.delenv("TRITON_INTERPRET")


@pytest.mark.usefixtures("as_on_a_gpu")
@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_a_wrong_kernel_is_not_used_and_the_log_says_why(mistake, temperature, caplog):
    _, head, _ = case(vocab=500)
    with caplog.at_level(logging.INFO, "muscle"):
        chosen = choose_kernel(
            head, "auto", memory_bytes=20_000, temperature=temperature, load=lambda: wrong(MISTAKES[mistake])
        )
    assert chosen is head
    name = mistake.partition(",")[0]
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"output head: PyTorch's operations, not the Triton kernel: its {name} is off by ")


@pytest.mark.usefixtures("as_on_a_gpu")
def test_a_slower_kernel_is_not_used(caplog):
    _, head, _ = case(vocab=500)
    with caplog.at_level(logging.INFO, "muscle"):
        assert choose_kernel(head, "auto", memory_bytes=20_000) is head  # by the interpreter it is slower
    assert "not the Triton kernel: it takes " in caplog.text


@pytest.mark.usefixtures("as_on_a_gpu")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_right_and_faster_kernel_is_used(dtype, monkeypatch, caplog, kernel):
    monkeypatch.setattr(kernels, "_time_ratio", lambda *_: 0.5)
    _, head, _ = case(dtype, vocab=500)
    with caplog.at_level(logging.INFO, "muscle"):
        chosen = choose_kernel(head, "auto", memory_bytes=20_000, temperature=2.0, ce_weight=0.0)
    assert chosen.kernel is kernel
    assert "output head: the Triton kernel, in 0.50 of the time of PyTorch's operations" in caplog.text


@pytest.mark.usefixtures("as_on_a_gpu")
def test_where_another_process_cant_use_it_no_process_does(monkeypatch, caplog):
    monkeypatch.setattr(kernels, "_time_ratio", lambda *_: 0.5)
    monkeypatch.setattr(
        kernels.distributed, "gather", lambda value: [value, replace(value, reason="it is Monday there")]
    )
    _, head, _ = case(vocab=500)
    with caplog.at_level(logging.INFO, "muscle"):
        assert choose_kernel(head, "auto", memory_bytes=20_000) is head
    assert "not the Triton kernel: it is Monday there" in caplog.text


@pytest.mark.usefixtures("as_on_a_gpu")
@pytest.mark.parametrize("error", [ImportError("No module named 'triton'"), RuntimeError("ptxas\nfailed")])
def test_a_kernel_that_cant_be_imported_or_compiled_is_not_used(error, caplog):
    def load():
        raise error

    _, head, _ = case(vocab=500)
    with caplog.at_level(logging.INFO, "muscle"):
        assert choose_kernel(head, "auto", memory_bytes=20_000, load=load) is head
    first_line = str(error).partition("\n")[0]
    assert caplog.messages == [
        "output head: PyTorch's operations, not the Triton kernel: it can't be run here "
        f"({type(error).__name__}: {first_line})"
    ]


def test_a_kernel_that_is_wanted_at_any_price_is_used_or_refused_in_one_line(kernel, monkeypatch):
    _, head, _ = case(vocab=500)
    assert choose_kernel(head, "triton", memory_bytes=20_000).kernel is kernel
    expected = r"training\.kernels: triton, but {}; expected auto or torch$"
    for side, load, reason in (
        (replace(head, softcap=30.0), triton_kernel, "the model caps its logits"),
        (replace(head, weight=head.weight.double()), triton_kernel, r"the head is in torch\.float64"),
        (head, lambda: wrong(MISTAKES["lse"]), "its lse is off by .* times what rounding explains"),
    ):
        with pytest.raises(ConfigError, match=expected.format(reason)):
            choose_kernel(side, "triton", memory_bytes=20_000, load=load)
    monkeypatch.delenv("TRITON_INTERPRET")
    if INTERPRETED:
        with pytest.raises(ConfigError, match=expected.format("the model is on cpu, and the kernel needs a GPU")):
            choose_kernel(head, "triton", memory_bytes=20_000)


def test_on_a_cpu_and_where_it_is_not_wanted_nothing_is_tried():
    _, head, _ = case(vocab=500)
    assert choose_kernel(head, "torch", memory_bytes=20_000, load=never) is head
    if INTERPRETED:
        assert choose_kernel(head, "auto", memory_bytes=20_000, load=never) is head


def test_the_choice_leaves_the_training_s_random_numbers_alone():
    _, head, _ = case(vocab=500)
    before = torch.random.get_rng_state()
    choose_kernel(head, "triton", memory_bytes=20_000)
    assert torch.equal(torch.random.get_rng_state(), before)


WITHOUT_TRITON = """
import sys
sys.modules["triton"] = None
import torch
from muscle.errors import ConfigError
from muscle.training.head.output_head import OutputHead
from muscle.training.head.kernels import choose_kernel
head = OutputHead(torch.zeros(5, 3))
assert choose_kernel(head, "auto", memory_bytes=1000) is head
try:
    choose_kernel(head, "triton", memory_bytes=1000)
except ConfigError as error:
    print(error)
"""


def python(script, **environment):
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **environment},
    )


def test_without_triton_everything_else_works_and_the_wish_for_it_is_refused():
    done = python(WITHOUT_TRITON, TRITON_INTERPRET="1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(
        "training.kernels: triton, but it can't be run here (ModuleNotFoundError: import of triton"
    )
    assert done.stdout.count("\n") == 1


COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from muscle.training.head.triton_rows import _row_kernel
types = {"raw": "*bf16", "ids": "*i64", "exact": "*fp32", "found": "*fp32", "vocab": "i32"}
for soft, plain, gradient in ((False, True, True), (True, False, True), (True, True, True), (True, True, False)):
    fixed = {"SOFT": soft, "PLAIN": plain, "GRADIENT": gradient, "BLOCK": 4096}
    signature = {name: "constexpr" if name in fixed else types.get(name, "fp32") for name in _row_kernel.arg_names}
    places = {(_row_kernel.arg_names.index(name),): value for name, value in fixed.items()}
    source = ASTSource(_row_kernel, signature, places)
    print(len(triton.compile(source, target=GPUTarget("cuda", 80, 32), options={"num_warps": 8}).asm["cubin"]))
"""


def test_the_kernel_compiles_for_a_gpu_that_is_not_here(tmp_path):
    # What the interpreter lets pass the compiler may refuse. No GPU is needed up to the machine code.
    done = python(COMPILE, TRITON_INTERPRET="0", TRITON_CACHE_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr[-2000:]
    assert all(int(size) > 1000 for size in done.stdout.split())
    assert len(done.stdout.split()) == 4


SETTINGS = TrainingSettings(
    epochs=1, learning_rate=5e-3, warmup_steps=1, batch_size=8, gradient_accumulation=1, precision="float32"
)


def settings(kernels):
    return SETTINGS.model_copy(update={"kernels": kernels})


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A base, a task, and a task adapter trained by either path."""
    root = tmp_path_factory.mktemp("world")
    task, split = tiny_task(root, 20)
    base = load_base(BaseConfig(base=str(save_base(root / "base", seed=1))), precision="float32", device=DEVICE)
    parts = {"train_examples": split.train, "validation_examples": split.validation}
    for kernels_ in ("torch", "triton"):
        lora = LoraSettings(r=4, alpha=8)
        out = root / kernels_
        finetune(base, task, lora=lora, settings=settings(kernels_), out=out, **parts)
    return root, task, parts, base


def adapted(world, out, kernels, **alignment):
    root, task, parts, base = world
    return align(
        base,
        root / "torch",
        base,
        root / "triton",
        task,
        alignment=AlignmentSettings(**alignment),
        settings=settings(kernels),
        out=out,
        **parts,
    )


def largest_difference(first, second):
    first, second = (load_file(folder / "adapter_model.safetensors") for folder in (first, second))
    return max((first[key] - second[key]).abs().max().item() for key in first)


def test_a_task_adapter_is_the_same_by_the_kernel(world):
    root = world[0]
    assert largest_difference(root / "torch", root / "triton") < 1e-5


@pytest.mark.parametrize("engine", ["projected", "mixed"])
def test_a_compatibility_adapter_is_the_same_by_the_kernel(world, tmp_path, engine, caplog):
    alignment = {"engine": engine, "mask": "old_always", "ce_weight": 0.2}
    with caplog.at_level(logging.INFO, "muscle"):
        for name in ("torch", "triton"):
            adapted(world, tmp_path / name, name, **alignment)
    assert caplog.messages.count("output head: the Triton kernel") == 1
    assert largest_difference(tmp_path / "torch", tmp_path / "triton") < 1e-5


@pytest.mark.parametrize("engine", ["hidden", "topk", "online"])
def test_an_engine_with_teachers_in_the_pass_refuses_the_wish_for_the_kernel(world, tmp_path, engine):
    with pytest.raises(
        ConfigError,
        match=f"kernels: triton, but the engine {engine} has its teachers in the loss; expected auto",
    ):
        adapted(world, tmp_path / "adapter", "triton", engine=engine)
    adapted(world, tmp_path / "adapter", "auto", engine=engine)


def test_whole_logits_refuse_the_wish_for_the_kernel(world):
    from muscle.models.adapters import new_adapter

    lora = LoraSettings(r=4, alpha=8, target_modules=["q_proj", "lm_head"])
    model = new_adapter(world[3], lora)
    with pytest.raises(ConfigError, match="kernels: triton, but output head: expected a plain linear layer"):
        task_trainer(model, kernels="triton", train_dataset=[{"input_ids": [1, 2, 3]}])
