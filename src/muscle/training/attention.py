"""Attention of short examples on a CPU, as plain products.

torch's fused CPU kernel works through small blocks of keys and never keeps a row of probabilities. That is what long sequences need; on
short ones in bfloat16 its backward pass takes two to three times as long as the few batched products and the softmax that attention
is made of (`benchmarks/attention.py`). The numbers are the same to rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from muscle.models import quiet_libraries

LONGEST = 256
"""Tokens. Beyond it little is gained, and the probabilities (heads x tokens x tokens) cost memory."""
_NAME = "muscle_short"
_HARMLESS = frozenset({"position_ids", "use_cache", "sliding_window"})
"""Of what models hand to their attention beside its arguments: what changes nothing, or comes as a mask where it does."""


@contextmanager
def short_attention(model: Any) -> Iterator[None]:
    """While it lasts, a model on a CPU that attends by torch's fused kernel does so by plain products on short sequences.

    Sequences beyond `LONGEST`, and calls with a mask (a packed row, a sliding window), go to the fused kernel as before.

    Args:
        model: a transformers model, with or without a PEFT adapter; on another device, or with another attention, it is left alone.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    before = getattr(base.config, "_attn_implementation", None)
    if before != "sdpa" or base.device.type != "cpu" or not hasattr(base, "set_attn_implementation"):
        yield
        return
    _register()
    with quiet_libraries():  # a model whose attention is its own says so, and stays as it is
        base.set_attn_implementation(_NAME)
    try:
        yield
    finally:
        with quiet_libraries():
            base.set_attn_implementation(before)


def _register() -> None:
    """Make the attention known to transformers, with the masks of its `sdpa`."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(_NAME, _attend)
    AttentionMaskInterface.register(_NAME, sdpa_mask)


def _attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **more: Any,
) -> tuple[Tensor, None]:
    """Attend as transformers' attention functions do: (batch, heads, seq, width) in, (batch, seq, heads, width) out."""
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    known = all(value is None for name, value in more.items() if name not in _HARMLESS)
    plain = attention_mask is None and causal and not dropout and known
    short = query.shape[2] == key.shape[2] <= LONGEST
    # In float32 the plain products gain nothing.
    narrow = query.dtype == key.dtype == value.dtype == torch.bfloat16
    if not (plain and short and narrow):
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        found: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling, is_causal, **more
        )
        return found
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return causal_attention(query, key, value, scale).transpose(1, 2).contiguous(), None


def causal_attention(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """Return softmax(scale * Q K^T + causal mask) V, keeping the probabilities for the backward pass.

    Args:
        query: (batch, heads, seq, width).
        key: (batch, key heads, seq, width); each serves heads / key heads neighbouring query heads.
        value: (batch, key heads, seq, value width).
        scale: of the products.

    Returns:
        (batch, heads, seq, value width).

    Example:
        >>> states = torch.ones(1, 2, 3, 4)
        >>> bool(torch.allclose(causal_attention(states, states, states, 0.5), states))
        True
    """
    batch, heads, seq, width = query.shape
    groups = batch * key.shape[1]
    # The query heads of a key head stand below each other: one product serves them all, and no key is repeated.
    found: Tensor = _CausalAttention.apply(  # type: ignore[no-untyped-call]
        query.reshape(groups, -1, width), key.reshape(groups, seq, -1), value.reshape(groups, seq, -1), scale
    )
    return found.view(batch, heads, seq, -1)


class _CausalAttention(torch.autograd.Function):
    """(groups, queries x seq, width), (groups, seq, width), (groups, seq, value width) to (groups, queries x seq, value width)."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        with torch.autocast(query.device.type, enabled=False):
            seq = key.shape[1]
            later = torch.full((seq, seq), -torch.inf, dtype=query.dtype, device=query.device).triu_(1)
            later = later.repeat(query.shape[1] // seq, 1).expand(len(query), -1, -1)
            logits = torch.baddbmm(later, query, key.transpose(1, 2), alpha=scale)
            shares = torch.softmax(logits, -1)
            ctx.save_for_backward(query, key, value, shares)
            ctx.scale = scale
            return torch.bmm(shares, value)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        query, key, value, shares = ctx.saved_tensors
        with torch.autocast(query.device.type, enabled=False):
            slope = torch.bmm(outer, value.transpose(1, 2))
            slope = torch.ops.aten._softmax_backward_data(slope, shares, -1, shares.dtype).mul_(ctx.scale)
            return (
                torch.bmm(slope, key),
                torch.bmm(slope.transpose(1, 2), query),
                torch.bmm(shares.transpose(1, 2), outer),
                None,
            )
