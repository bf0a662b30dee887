"""One pass over the vocabulary: everything a loss needs of it, a chunk of tokens at a time.

Cross-entropy and forward KL ask the same of the output head: two normalisers, the label's probability, whether the
argmax is right, and W^T times a mixture of the student's softmax at T and at 1. `fused.py` makes the losses of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from muscle.training.head.output_head import ChunkBuffers, OutputHead, Product, Rows

MEMORY_BYTES = 128 * 2**20
"""Default budget for the logits of a chunk. On 2 cores, products lose speed below 128 tokens a chunk and gain none
above 256."""


@dataclass(frozen=True)
class HeadPass:
    """What a pass leaves per token, in the head's wide dtype.

    Attributes:
        lse: (tokens,), logsumexp(z / T).
        log_p: (tokens,), log softmax(z)[label], at T = 1.
        right: (tokens,) boolean, argmax z = label.
        pulled: (tokens, width), W^T d loss / d (W h + b) / scale, without the teachers' part where it is projected;
            None where no gradient was asked for.
    """

    lse: Tensor
    log_p: Tensor
    right: Tensor
    pulled: Tensor | None


class TeachersInPass(Protocol):
    """Teachers whose distributions exist only while their chunk is at hand (the `hidden` and `topk` stores)."""

    bytes_per_logit: int

    def see_logits(self, part: slice, logits: Tensor) -> None:
        """Look at a chunk's student logits (tokens, vocab), before they become a softmax."""

    def target(self, part: slice, right: Tensor, log_p: Tensor, soft: Softened, *, gradient: bool) -> Tensor | None:
        """Look at a chunk's softmax; return the distributions (tokens, vocab) at T that its tokens learn from.

        Without `gradient` nobody needs them. `soft` is left as it came.
        """


class Softened(NamedTuple):
    """A chunk's softmax and its normalisers.

    Attributes:
        softmax: (tokens, vocab), softmax(z / T), in the place of the logits.
        plain: (tokens, vocab), softmax(z); `softmax` itself at T = 1; None where nobody needs it.
        lse: (tokens,), logsumexp(z / T).
        lse_plain: (tokens,), logsumexp(z).
    """

    softmax: Tensor
    plain: Tensor | None
    lse: Tensor
    lse_plain: Tensor


def soften(
    logits: Tensor, top: Tensor, temperature: float, *, keep_plain: bool = False, out: Tensor | None = None
) -> Softened:
    """Turn a chunk of logits into its softmax, in place or beside them.

    A normaliser is read off the softmax's largest entry, logsumexp(z) = z_top - log softmax(z)_top: no further pass
    over the chunk, and the largest entry is never small.

    Args:
        logits: (tokens, vocab), wide; overwritten, by the softmax at T or, where that has a place of its own, by z / T.
        top: (tokens,), index of the largest entry, to rounding.
        temperature: T > 0.
        keep_plain: the softmax at 1 is needed too.
        out: (tokens, vocab), a place for the softmax at T.
    """
    column = top.unsqueeze(1)
    peak = logits.gather(1, column)
    if temperature == 1.0:
        softmax = _softmax_into(logits, out)
        lse = (peak - softmax.gather(1, column).log()).squeeze(1)
        return Softened(softmax, softmax, lse, lse)
    if temperature == 2.0 and not keep_plain:
        # softmax(z) is softmax(z / 2) squared, normalised: its normaliser comes without a second exponential.
        softmax = _softmax_into(logits.div_(2.0), out)
        lse = (peak / 2.0 - softmax.gather(1, column).log()).squeeze(1)
        return Softened(softmax, None, lse, 2.0 * (lse + torch.linalg.vector_norm(softmax, dim=-1).log()))
    plain = torch.softmax(logits, -1)
    lse_plain = (peak - plain.gather(1, column).log()).squeeze(1)
    softmax = _softmax_into(logits.div_(temperature), out)
    lse = (peak / temperature - softmax.gather(1, column).log()).squeeze(1)
    return Softened(softmax, plain if keep_plain else None, lse, lse_plain)


def _softmax_into(logits: Tensor, out: Tensor | None) -> Tensor:
    # The CPU kernel reads an entry before it writes it. Of other devices' kernels nobody promises that.
    if out is None and logits.device.type != "cpu":
        return logits.copy_(torch.softmax(logits, -1))
    return torch.softmax(logits, -1, out=logits if out is None else out)


def entropy(soft: Softened, scaled: Tensor, top: Tensor) -> Tensor:
    """Return the entropy of softmax(z / T) in nats, (tokens,).

    It is logsumexp(z / T) less the mean of z / T: no logarithm per entry.

    Args:
        soft: from `soften`, with a place of its own.
        scaled: (tokens, vocab), z / T as `soften` left it; overwritten.
        top: (tokens,), index of the largest entry, to rounding.
    """
    # Seen from the largest entry: two large numbers that nearly cancel would leave no digits.
    peak = scaled.gather(1, top.unsqueeze(1))
    mean = torch.mul(scaled.sub_(peak), soft.softmax, out=scaled).sum(-1)
    return soft.lse - peak.squeeze(1) - mean


def chunks(num_tokens: int, bytes_per_token: int, memory_bytes: int) -> Iterator[slice]:
    """Cut tokens into chunks of equal size (the last may be smaller) within a memory budget, of at least one token.

    >>> list(chunks(5, 100, 250))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    largest = chunk_size(num_tokens, bytes_per_token, memory_bytes)
    return (slice(start, min(start + largest, num_tokens)) for start in range(0, num_tokens, largest))


def chunk_size(num_tokens: int, bytes_per_token: int, memory_bytes: int) -> int:
    """Return the number of tokens in the chunks of `chunks`: as even as the budget allows.

    >>> chunk_size(10, 100, 900), chunk_size(10, 100, 1)
    (5, 1)
    """
    most = max(1, memory_bytes // bytes_per_token)
    num_chunks = max(1, -(-num_tokens // most))
    return max(1, -(-num_tokens // num_chunks))


@contextmanager
def exactly(hidden: Tensor) -> Iterator[None]:
    """Compute without a graph, and in the dtypes that stand there: autocast would put 16-bit products anywhere."""
    with torch.no_grad(), torch.autocast(hidden.device.type, enabled=False):
        yield


def head_pass(
    hidden: Tensor,
    head: OutputHead,
    labels: Tensor,
    *,
    temperature: float,
    ce_weight: float,
    gradient: bool,
    memory_bytes: int,
    teachers: TeachersInPass | None = None,
) -> HeadPass:
    """Apply the head to every token once.

    Args:
        hidden: (tokens, width).
        head: the student's.
        labels: (tokens,), token ids.
        temperature: T of the KL terms.
        ce_weight: share of cross-entropy in the loss.
        gradient: also give `pulled`.
        memory_bytes: budget for the logits of a chunk.
        teachers: those that are present in the pass; their part is then in `pulled`.

    Returns:
        See `HeadPass`.
    """
    if head.kernel is not None and teachers is None:
        rows = partial(head.kernel, scale=head.scale, temperature=temperature, ce_weight=ce_weight, gradient=gradient)
        return _kernel_pass(hidden, head, labels, rows, gradient=gradient, memory_bytes=memory_bytes)
    per_token = head.vocab_size * _bytes_per_logit(head, temperature, ce_weight, gradient, teachers)
    buffers = ChunkBuffers(head, min(chunk_size(len(hidden), per_token, memory_bytes), len(hidden)))
    found = _unfilled(hidden, head, gradient=gradient)
    with exactly(hidden):
        for part in chunks(len(hidden), per_token, memory_bytes):
            label = labels[part]
            logits, top = head.logits(hidden[part], buffers, label)
            if teachers is not None:
                teachers.see_logits(part, logits)
            # Before the softmax takes the logits' place.
            wanted = logits.gather(1, label.unsqueeze(1)).squeeze(1)
            slope = _slope(head, logits) if gradient else None
            soft = soften(logits, top, temperature, keep_plain=gradient and ce_weight > 0)
            found.lse[part], found.log_p[part], found.right[part] = (
                soft.lse,
                wanted - soft.lse_plain,
                top == label,
            )
            taught = None
            if teachers is not None:
                taught = teachers.target(part, found.right[part], found.log_p[part], soft, gradient=gradient)
            if found.pulled is None:
                continue
            weights = _loss_gradient(soft, label, taught, temperature, ce_weight)
            if slope is not None:
                weights.mul_(slope)
            found.pulled[part] = head.pull(weights, (top, label), buffers.narrow)
    return found


def _kernel_pass(
    hidden: Tensor,
    head: OutputHead,
    labels: Tensor,
    rows: Callable[[Product], Rows],
    *,
    gradient: bool,
    memory_bytes: int,
) -> HeadPass:
    """`head_pass` with the product's buffer alone, which the kernel turns into the loss's gradient."""
    per_token = head.vocab_size * head.weight.dtype.itemsize
    largest = min(chunk_size(len(hidden), per_token, memory_bytes), len(hidden))
    buffer = torch.empty(largest, head.vocab_size, dtype=head.weight.dtype, device=hidden.device)
    found = _unfilled(hidden, head, gradient=gradient)
    with exactly(hidden):
        for part in chunks(len(hidden), per_token, memory_bytes):
            product = head.product(hidden[part], labels[part], buffer)
            found.lse[part], found.log_p[part], heavy = rows(product)
            found.right[part] = product.ids[:, 0] == product.ids[:, 1]
            if found.pulled is not None:
                found.pulled[part] = head.pull_split(product.raw, product.ids, heavy)
    return found


def _unfilled(hidden: Tensor, head: OutputHead, *, gradient: bool) -> HeadPass:
    """Return the place of a pass's numbers, which chunk after chunk fills."""
    lse, log_p = hidden.new_empty(2, len(hidden), dtype=head.wide_dtype).unbind()
    right = torch.empty(len(hidden), dtype=torch.bool, device=hidden.device)
    pulled = torch.empty_like(hidden, dtype=head.wide_dtype) if gradient else None
    return HeadPass(lse, log_p, right, pulled)


def _slope(head: OutputHead, logits: Tensor) -> Tensor | None:
    """Return how the soft cap flattens a logit: d z / d (scale * raw), (tokens, vocab); None without a cap."""
    return None if head.softcap is None else 1.0 - (logits / head.softcap).square_()


def _bytes_per_logit(
    head: OutputHead, temperature: float, ce_weight: float, gradient: bool, teachers: TeachersInPass | None
) -> int:
    """Count the buffers, the second softmax where one is made, the cap's slope, and what the teachers hold."""
    second = temperature != 1.0 and (temperature != 2.0 or (gradient and ce_weight > 0))
    tensors = int(second) + int(head.softcap is not None and gradient)
    own = head.bytes_per_logit + tensors * head.wide_dtype.itemsize
    return own + (0 if teachers is None else teachers.bytes_per_logit)


def _loss_gradient(
    soft: Softened, label: Tensor, taught: Tensor | None, temperature: float, ce_weight: float
) -> Tensor:
    """Return d loss / d z, (tokens, vocab), in the softmax's place; without `taught`, less the teachers' part."""
    share = (1.0 - ce_weight) / temperature
    weights = soft.softmax
    if soft.plain is not weights:
        weights.mul_(share)
        if soft.plain is not None:
            weights.add_(soft.plain, alpha=ce_weight)
    # At T = 1 both parts are the same softmax, and their shares sum to 1.
    if ce_weight:
        weights.scatter_add_(1, label.unsqueeze(1), weights.new_full((len(label), 1), -ce_weight))
    if taught is not None:
        weights.sub_(taught, alpha=share)
    return weights
