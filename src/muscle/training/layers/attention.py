"""Causal attention on a CPU, as plain products over blocks of queries.

torch's fused CPU kernel works through small blocks of keys as well, and in bfloat16 its backward pass takes two to
three times as long as the few batched products and the softmax that attention is made of (`benchmarks/attention.py`).
A block of queries sees only the keys up to its own end, so that little of the upper triangle is computed. Short
sequences keep their probabilities for the backward pass; long ones, whose probabilities would fill the memory,
compute them again. The numbers are the same to rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from muscle.models.bases import quiet_libraries, without_adapter

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

LONGEST = 4096
"""Tokens: as far as it was measured to pay."""
KEPT = 256
"""Tokens. Up to it the probabilities (heads x tokens x tokens, half of them) are kept for the backward pass."""
_BLOCK, _LONG_BLOCK = 64, 128
"""Queries of a block, up to `KEPT` tokens and beyond, by measurement."""
# How transformers knows it.
_NAME = "muscle_blocks"
_HARMLESS = frozenset({"position_ids", "use_cache", "sliding_window"})
"""Of what models hand to their attention beside its arguments: what changes nothing, or comes as a mask where it
does."""


@contextmanager
def block_attention(model: PreTrainedModel | PeftModel) -> Iterator[None]:
    """While it lasts, a model on a CPU that attends by torch's fused kernel does so by plain products.

    Sequences beyond `LONGEST`, and calls with a mask (a packed row, a sliding window), go to the fused kernel as
    before.

    Args:
        model: a transformers model, with or without a PEFT adapter; on another device, or with another attention, it
            is left alone.
    """
    base = without_adapter(model)
    before = getattr(getattr(base, "config", None), "_attn_implementation", None)
    if before != "sdpa" or base.device.type != "cpu" or not hasattr(base, "set_attn_implementation"):
        yield
        return
    _register_attention()
    with quiet_libraries():  # a model whose attention is its own says so, and stays as it is
        base.set_attn_implementation(_NAME)
    try:
        yield
    finally:
        with quiet_libraries():
            base.set_attn_implementation(before)


def _register_attention() -> None:
    """Make the attention known to transformers, with the masks of its `sdpa`."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(_NAME, _attend)
    AttentionMaskInterface.register(_NAME, sdpa_mask)


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **more: object,
) -> tuple[Tensor, None]:
    """Attend as transformers' attention functions do: (batch, heads, seq, width) in, (batch, seq, heads, width) out."""
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    known = all(value is None for name, value in more.items() if name not in _HARMLESS)
    plain = attention_mask is None and causal and not dropout and known
    fits = query.shape[2] == key.shape[2] <= LONGEST
    # In float32 the plain products gain nothing.
    narrow = query.dtype == key.dtype == value.dtype == torch.bfloat16
    if not (plain and fits and narrow):
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        found: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling, is_causal, **more
        )
        return found
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return causal_attention(query, key, value, scale).transpose(1, 2), None


def causal_attention(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """Return softmax(scale * Q K^T + causal mask) V.

    Args:
        query: (batch, heads, seq, width).
        key: (batch, key heads, seq, width); each serves heads / key heads neighbouring query heads.
        value: (batch, key heads, seq, value width).
        scale: of the products.

    Returns:
        (batch, heads, seq, value width); contiguous with the heads behind `seq`, as models want it next.

    Example:
        >>> states = torch.ones(1, 2, 3, 4)
        >>> bool(torch.allclose(causal_attention(states, states, states, 0.5), states))
        True
    """
    found: Tensor = _CausalAttention.apply(query, key, value, scale)  # type: ignore[no-untyped-call]
    return found


class _Blocks:
    """The queries of a batch, block by block, each with the keys that it may see.

    The query heads that share a key head stand below each other: one product serves them all, and no key is repeated.
    """

    def __init__(self, query: Tensor, key: Tensor, scale: float) -> None:
        self.key_heads, self.seq, self.scale = key.shape[1], key.shape[2], scale
        self.query, self.key = query, key.flatten(0, 1)
        self.size = _BLOCK if self.seq <= KEPT else _LONG_BLOCK
        self.later = query.new_full((self.size, self.size), -torch.inf).triu_(1)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((start, min(start + self.size, self.seq)) for start in range(0, self.seq, self.size))

    def take(self, states: Tensor, start: int, end: int) -> Tensor:
        """(batch, heads, seq, width) to (batch x key heads, heads of each x block, width)."""
        return self._grouped(states, start, end).reshape(len(self.key), -1, states.shape[-1])

    def put(self, states: Tensor, start: int, end: int, block: Tensor) -> None:
        """Write a block back to where `take` has it from."""
        place = self._grouped(states, start, end)
        place.copy_(block.view(place.shape))

    def _grouped(self, states: Tensor, start: int, end: int) -> Tensor:
        """(batch, heads, seq, width) to a view (batch, key heads, heads of each, block, width)."""
        part = states[:, :, start:end]
        return part.view(len(part), self.key_heads, -1, end - start, part.shape[-1])

    def shares(self, start: int, end: int) -> Tensor:
        """Return the block's probabilities over the keys up to `end`."""
        queries, keys = self.take(self.query, start, end), self.key[:, :end].transpose(1, 2)
        room = queries.new_empty(len(keys), queries.shape[1], end)
        # With beta = 0 the first argument only gives the result's shape.
        logits = torch.baddbmm(room, queries, keys, beta=0, alpha=self.scale)
        last = end - start
        logits.view(len(keys), -1, last, end)[..., start:] += self.later[:last, :last]
        return torch.softmax(logits, -1)


class _CausalAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        with torch.autocast(query.device.type, enabled=False):
            batch, heads, seq, _ = query.shape
            blocks, values, kept = _Blocks(query, key, scale), value.flatten(0, 1), []
            found = value.new_empty(batch, seq, heads, value.shape[-1]).transpose(1, 2)
            for start, end in blocks:
                shares = blocks.shares(start, end)
                blocks.put(found, start, end, torch.bmm(shares, values[:, :end]))
                if seq <= KEPT:
                    kept.append(shares)
        ctx.save_for_backward(query, key, value, *kept)
        ctx.scale = scale
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        query, key, value, *kept = ctx.saved_tensors
        with torch.autocast(query.device.type, enabled=False):
            blocks, values = _Blocks(query, key, ctx.scale), value.flatten(0, 1)
            pulled = torch.empty_like(query)
            # Every block adds to the keys before it: in 16 bits each sum would be rounded.
            wide = torch.promote_types(query.dtype, torch.float32)
            pulled_key, pulled_value = (torch.zeros_like(side, dtype=wide) for side in (blocks.key, values))
            for number, (start, end) in enumerate(blocks):
                shares = kept[number] if kept else blocks.shares(start, end)
                slopes = blocks.take(outer, start, end)
                pulled_value[:, :end] += torch.bmm(shares.transpose(1, 2), slopes)
                slopes = torch.bmm(slopes, values[:, :end].transpose(1, 2))
                slopes = torch.ops.aten._softmax_backward_data(slopes, shares, -1, shares.dtype).mul_(ctx.scale)
                blocks.put(pulled, start, end, torch.bmm(slopes, blocks.key[:, :end]))
                pulled_key[:, :end] += torch.bmm(slopes.transpose(1, 2), blocks.take(query, start, end))
        return (
            pulled,
            pulled_key.view(key.shape).to(key.dtype),
            pulled_value.view(value.shape).to(value.dtype),
            None,
        )
