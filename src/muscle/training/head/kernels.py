"""Chooses Triton's kernel or PyTorch's operations for the loss's pass over the vocabulary, once before a training.

PyTorch's operations are the reference: a chunk's rows are read and written about ten times and need a float32 buffer
beside the 16-bit one. The kernel reads a row three times, argmax included, writes it once, and its only buffer is the
product, so that the same memory holds chunks three times as large. It is taken where it can be imported, gives the
PyTorch path's numbers on this very head, and is faster on it. What it lacks: soft caps, and teachers in the pass (the
`hidden` and `topk` stores).
"""

from __future__ import annotations

import logging
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from muscle import distributed
from muscle.config.settings import KernelName
from muscle.errors import ConfigError
from muscle.training.head.head_pass import HeadPass, head_pass
from muscle.training.head.output_head import OutputHead, RowKernel

logger = logging.getLogger(__name__)

# Enough for flat rows and peaked ones.
_CHECK_TOKENS = 32
# Far more than a GPU needs to be busy; a larger chunk would only make the choice slow.
_MOST_TIMED_TOKENS = 4096
# Of which the median counts: one that was disturbed changes nothing.
_ROUNDS = 5
_LSE_TOLERANCE = 1e-4
"""Of float32 sums over a vocabulary, relative; measured between both paths: 1e-6."""
_UNLIMITED = 2**62  # bytes: one chunk for both, of which a library makes the same product


def triton_kernel() -> RowKernel:
    """Import and return the kernel.

    Raises:
        ImportError: triton is not installed.
    """
    from muscle.training.head.triton_rows import triton_rows

    return triton_rows


def choose_kernel(
    head: OutputHead,
    wanted: KernelName,
    *,
    memory_bytes: int,
    temperature: float = 1.0,
    ce_weight: float = 1.0,
    load: Callable[[], RowKernel] = triton_kernel,
) -> OutputHead:
    """Return the head with the kernel that its passes shall take, or as it is; the log says which and why.

    Called by every process of a training: the kernel is taken where all of them can use it.

    Args:
        head: the student's, on the device where it trains.
        wanted: `auto` takes the kernel on a GPU where it is right and faster, `triton` where it is right, `torch`
            never.
        memory_bytes: budget for the logits of a chunk.
        temperature: T of the training's KL terms.
        ce_weight: share of cross-entropy in its loss.
        load: gives the kernel.

    Raises:
        ConfigError: `triton` is wanted and can't be used; the message says why.
    """
    if wanted == "torch" or (wanted == "auto" and not _on_gpu(head)):
        return head
    formula = _Formula(temperature, ce_weight, memory_bytes)
    outcomes = distributed.gather(_try(head, wanted, formula, load))
    reason = next((outcome.reason for outcome in outcomes if outcome.reason), None)
    if reason is not None:
        refuse_if_forced(wanted, reason)
        logger.info("output head: PyTorch's operations, not the Triton kernel: %s", reason)
        return head
    ratio = outcomes[0].ratio
    timed = "" if ratio is None else f", in {ratio:.2f} of the time of PyTorch's operations"
    logger.info("output head: the Triton kernel%s", timed)
    return replace(head, kernel=load())


def refuse_if_forced(wanted: KernelName, reason: str) -> None:
    """Raise `ConfigError` where the kernel is wanted at any price and `reason` stands against it."""
    if wanted == "triton":
        raise ConfigError(f"training.kernels: triton, but {reason}; expected auto or torch")


@dataclass(frozen=True)
class _Formula:
    temperature: float
    ce_weight: float
    memory_bytes: int

    def run(self, head: OutputHead, states: Tensor, labels: Tensor, *, gradient: bool, memory_bytes: int) -> HeadPass:
        return head_pass(
            states,
            head,
            labels,
            temperature=self.temperature,
            ce_weight=self.ce_weight,
            gradient=gradient,
            memory_bytes=memory_bytes,
        )


@dataclass(frozen=True)
class _Outcome:
    """Why the kernel is not used, or how its time compares with that of PyTorch's operations where it was measured."""

    reason: str | None = None
    ratio: float | None = None


def _try(head: OutputHead, wanted: KernelName, formula: _Formula, load: Callable[[], RowKernel]) -> _Outcome:
    reason = _hindrance(head, wanted)
    if reason is not None:
        return _Outcome(reason)
    try:
        candidate = replace(head, kernel=load())
        reason = _say_how_it_differs(candidate, head, formula)
        if reason is not None or wanted == "triton":
            return _Outcome(reason)
        ratio = _time_ratio(candidate, head, formula)
    # A compiler and a driver may raise anything, and a training goes on without them.
    except Exception as error:
        first_line = str(error).strip().partition("\n")[0]
        return _Outcome(f"it can't be run here ({type(error).__name__}: {first_line})")
    return _Outcome(None if ratio < 1.0 else f"it takes {ratio:.2f} of their time", ratio)


def _on_gpu(head: OutputHead) -> bool:
    return head.weight.device.type == "cuda"  # AMD's too


def _hindrance(head: OutputHead, wanted: KernelName) -> str | None:
    interpreted = os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "on", "yes", "y")
    if head.softcap is not None:
        return "the model caps its logits"
    if head.weight.dtype not in (torch.bfloat16, torch.float16, torch.float32):
        return f"the head is in {head.weight.dtype}"
    if not _on_gpu(head) and not interpreted:
        return f"the model is on {head.weight.device.type}, and the kernel needs a GPU"
    if interpreted and wanted == "auto":
        return "TRITON_INTERPRET is set"
    return None


def _say_how_it_differs(candidate: OutputHead, reference: OutputHead, formula: _Formula) -> str | None:
    """Say how the kernel's numbers differ beyond rounding; None where they do not."""
    # Flat rows and peaked ones, and half of the labels the argmax.
    states, labels = _sample(reference, _CHECK_TOKENS)
    states *= torch.logspace(-0.5, 1.0, len(states)).unsqueeze(1).to(states)
    with torch.no_grad():
        product = reference.product(states, labels, states.new_empty(len(states), reference.vocab_size))
    labels[::2] = product.ids[::2, 0]
    for gradient in (True, False):
        expected, found = (
            formula.run(head, states, labels, gradient=gradient, memory_bytes=_UNLIMITED)
            for head in (reference, candidate)
        )
        gaps = {
            "lse": _largest_relative_gap(found.lse, expected.lse) / _LSE_TOLERANCE,
            "log_p": _largest_relative_gap(found.log_p, expected.log_p) / _LSE_TOLERANCE,
            "argmax": float((found.right != expected.right).sum()) / 0.5,
        }
        if expected.pulled is not None and found.pulled is not None:
            error = (found.pulled - expected.pulled).norm() / expected.pulled.norm()
            gaps["gradient"] = float(error) / max(torch.finfo(reference.weight.dtype).eps, _LSE_TOLERANCE)
        for name, gap in gaps.items():
            if not gap <= 1.0:  # NaN is one too
                return f"its {name} is off by {gap:.3g} times what rounding explains"
    return None


def _largest_relative_gap(found: Tensor, expected: Tensor) -> float:
    return float(((found - expected).abs() / (1.0 + expected.abs())).max())


def _time_ratio(candidate: OutputHead, reference: OutputHead, formula: _Formula) -> float:
    """Return the kernel's time for a chunk, as a share of the time of PyTorch's operations."""
    per_token = reference.vocab_size * reference.weight.dtype.itemsize
    num_tokens = max(1, min(formula.memory_bytes // per_token, _MOST_TIMED_TOKENS))
    states, labels = _sample(reference, num_tokens)
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(1 + _ROUNDS):
        for head, taken in zip((candidate, reference), seconds, strict=True):
            start = time.perf_counter()
            found = formula.run(head, states, labels, gradient=True, memory_bytes=formula.memory_bytes)
            found.lse.cpu()  # waits for the device
            taken.append(time.perf_counter() - start)
    own, plain = (statistics.median(taken[1:]) for taken in seconds)  # the first round loads libraries
    return own / plain


def _sample(head: OutputHead, num_tokens: int) -> tuple[Tensor, Tensor]:
    """Return random states and labels, by a generator of their own: a training's random numbers stay what they are."""
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(num_tokens, head.weight.shape[1], generator=generator)
    labels = torch.randint(head.vocab_size, (num_tokens,), generator=generator)
    return states.to(head.weight), labels.to(head.weight.device)
