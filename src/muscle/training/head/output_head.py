"""A model's output head as the training engine sees it: the last matrix, and what a model does to its product.

The engine runs a model's decoder without its head and applies the head chunk by chunk. That is right only where the
logits are `softcap(scale * (W h + b))` of the very states that the model hands to its head; whether they are is
checked by numbers (`reproduces_logits`), not by the model's name. The states are caught on their way into the head,
in a forward pass of the whole model: every architecture, PEFT and data-parallel wrappers keep working as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from muscle.errors import ModelError
from muscle.models.bases import without_adapter
from muscle.models.head_states import head_states, logit_cap, logit_scale
from muscle.training.data.batches import model_inputs

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

PULL_BLOCKS = 8
"""Of the vocabulary in `pull`. Measured: a third off the gradient's rounding, at no time; 32 take off little more."""
_ARGMAX_BLOCK = 256


class ChunkBuffers:
    """Memory for one chunk's logits, used again for every chunk: fresh pages would cost as much as the softmax.

    Args:
        head: whose logits.
        num_tokens: rows of the largest chunk.
    """

    def __init__(self, head: OutputHead, num_tokens: int) -> None:
        shape, device = (num_tokens, head.vocab_size), head.weight.device
        self.wide = torch.empty(shape, dtype=head.wide_dtype, device=device)
        # The 16-bit product on its way to float32, and the weights on their way back into a 16-bit product.
        self.narrow = torch.empty(shape, dtype=head.weight.dtype, device=device) if head.is_narrow else None


class Product(NamedTuple):
    """A chunk's product with a head, before scale and cap.

    Attributes:
        raw: (tokens, vocab), W h + b in the head's own dtype.
        ids: (tokens, 2), argmax and label.
        exact: (tokens, 2), the product there, wide and without the rounding of `raw`.
    """

    raw: Tensor
    ids: Tensor
    exact: Tensor


class Rows(NamedTuple):
    """What a `RowKernel` finds in a chunk, wide.

    Attributes:
        lse: (tokens,), logsumexp(z / T).
        log_p: (tokens,), log softmax(z)[label], at T = 1.
        heavy: (tokens, 2), d loss / d z of argmax and label, without a teacher's part; where the two are one token,
            the second is 0. Without a gradient nothing stands in it.
    """

    lse: Tensor
    log_p: Tensor
    heavy: Tensor


class RowKernel(Protocol):
    """Everything a loss without teachers in the pass needs of a chunk's product, see `muscle.training.head.kernels`."""

    def __call__(self, product: Product, *, scale: float, temperature: float, ce_weight: float, gradient: bool) -> Rows:
        """Return a chunk's numbers.

        With `gradient` every d loss / d z takes its entry's place in `product.raw`, and 0 that of those in
        `Rows.heavy`.
        """
        ...


@dataclass(frozen=True)
class OutputHead:
    """A frozen output head: logits = softcap * tanh(scale * (W h + b) / softcap), without tanh where there is no cap.

    Attributes:
        weight: W, (vocab, width).
        bias: b, (vocab,).
        scale: Cohere's `logit_scale`, Granite's 1 / `logits_scaling`, Falcon-H1's `lm_head_multiplier`; 1 else.
        softcap: Gemma 2's `final_logit_softcapping`.
        kernel: goes over the product's rows in place of PyTorch's operations, where no teacher is present in the pass.
    """

    weight: Tensor
    bias: Tensor | None = None
    scale: float = 1.0
    softcap: float | None = None
    kernel: RowKernel | None = None

    @property
    def vocab_size(self) -> int:
        """Rows of W."""
        return int(self.weight.shape[0])

    @property
    def is_narrow(self) -> bool:
        """Whether products with W are rounded to 16 bits."""
        return self.weight.dtype.itemsize < 4

    @property
    def wide_dtype(self) -> torch.dtype:
        """What logits and sums are computed in: float32, or float64 for a float64 head."""
        return torch.float32 if self.is_narrow else self.weight.dtype

    @property
    def bytes_per_logit(self) -> int:
        """What `ChunkBuffers` take for an entry."""
        return self.wide_dtype.itemsize + (self.weight.dtype.itemsize if self.is_narrow else 0)

    def logits(self, hidden: Tensor, buffers: ChunkBuffers, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return logits of a chunk of states, wide, and their argmax; inside `torch.no_grad`.

        A 16-bit product is rounded to 3 digits, which a logit of 20 feels as 0.06. The entries that matter most, the
        argmax and the label, are therefore computed again from the same 16-bit inputs in float32.

        Args:
            hidden: (tokens, width).
            buffers: for at least as many tokens; the logits are a view of them.
            labels: (tokens,), token ids.

        Returns:
            Logits (tokens, vocab) in `wide_dtype`, and argmax (tokens,) as the model itself sees it.
        """
        states = hidden.to(self.weight.dtype)
        wide = buffers.wide[: len(states)]
        product = wide if buffers.narrow is None else buffers.narrow[: len(states)]
        self._multiply(states, product)
        if product is not wide:
            wide.copy_(product)
        top = _argmax(wide)
        if self.is_narrow:
            for index in (top, labels):
                if index is not None:
                    wide.scatter_(1, index.unsqueeze(1), self._entry(states, index).unsqueeze(1))
        if self.scale != 1.0:
            wide.mul_(self.scale)
        if self.softcap is not None:
            wide.div_(self.softcap).tanh_().mul_(self.softcap)
        return wide, top

    def product(self, hidden: Tensor, labels: Tensor, buffer: Tensor) -> Product:
        """Return a chunk's product, with argmax and label exact, for a `RowKernel`; inside `torch.no_grad`.

        Args:
            hidden: (tokens, width).
            labels: (tokens,), token ids.
            buffer: (at least tokens, vocab), in the head's own dtype; the product is a view of it.
        """
        states = hidden.to(self.weight.dtype)
        raw = buffer[: len(states)]
        self._multiply(states, raw)
        ids = torch.stack((raw.argmax(-1), labels), 1)
        if not self.is_narrow:
            return Product(raw, ids, raw.gather(1, ids))
        return Product(raw, ids, torch.stack([self._entry(states, index) for index in ids.unbind(1)], 1))

    def _multiply(self, states: Tensor, out: Tensor) -> None:
        if self.bias is None:
            torch.mm(states, self.weight.T, out=out)
        else:
            torch.addmm(self.bias.to(states.dtype), states, self.weight.T, out=out)

    def _entry(self, states: Tensor, index: Tensor) -> Tensor:
        """Return (W h + b)[index] per token, wide."""
        value = (states.to(self.wide_dtype) * self.weight[index].to(self.wide_dtype)).sum(-1)
        return value if self.bias is None else value + self.bias[index].to(self.wide_dtype)

    def pull(self, weights: Tensor, heavy: tuple[Tensor, ...], scratch: Tensor | None = None) -> Tensor:
        """Return sum_v weights[:, v] * W[v], wide. `weights` may be overwritten.

        In 16 bits the product is summed in float32 over blocks of the vocabulary, since each block's result is
        rounded; and the entries in `heavy` are added in float32. Both keep the rounding small beside the difference
        of two such sums, which is what a gradient is when student and teacher agree.

        Args:
            weights: (tokens, vocab), wide.
            heavy: token ids, (tokens,) each, of entries that carry most of the weight.
            scratch: memory for the weights in 16 bits, (at least tokens, vocab).

        Returns:
            (tokens, width).
        """
        if not self.is_narrow:
            return weights @ self.weight
        total = torch.zeros(len(weights), self.weight.shape[1], dtype=self.wide_dtype, device=weights.device)
        for index in heavy:
            column = index.unsqueeze(1)
            total += weights.gather(1, column) * self.weight[index].to(self.wide_dtype)
            weights.scatter_(1, column, 0.0)  # an entry named twice counts once
        if scratch is None or scratch.dtype != self.weight.dtype:
            scratch = torch.empty_like(weights, dtype=self.weight.dtype)
        narrow = scratch[: len(weights)].copy_(weights)
        return self._add_product(total, narrow)

    def pull_split(self, light: Tensor, ids: Tensor, heavy: Tensor) -> Tensor:
        """Return what `pull` returns, of weights whose largest stand beside them.

        Args:
            light: (tokens, vocab), in the head's own dtype, 0 at `ids`.
            ids: (tokens, k), token ids.
            heavy: (tokens, k), wide: their weights.

        Returns:
            (tokens, width), wide.
        """
        total = torch.zeros(len(light), self.weight.shape[1], dtype=self.wide_dtype, device=light.device)
        for index, weight in zip(ids.unbind(1), heavy.unbind(1), strict=True):
            total += weight.unsqueeze(1) * self.weight[index].to(self.wide_dtype)
        return self._add_product(total, light)

    def _add_product(self, total: Tensor, weights: Tensor) -> Tensor:
        for part, block in zip(weights.chunk(PULL_BLOCKS, 1), self.weight.chunk(PULL_BLOCKS), strict=True):
            total += part @ block
        return total


def _argmax(values: Tensor) -> Tensor:
    """Return the place of each row's largest entry, as `values.argmax(-1)`.

    torch's CPU kernels find a maximum in a fraction of the time that its place takes: so first each block's maximum,
    then the place in one block.
    """
    whole = values.shape[1] // _ARGMAX_BLOCK * _ARGMAX_BLOCK
    if values.device.type != "cpu" or not whole or not len(values):
        return values.argmax(-1)
    blocks = values[:, :whole].view(len(values), -1, _ARGMAX_BLOCK)
    peaks, best = blocks.amax(-1).max(-1)
    place = blocks[torch.arange(len(values)), best].argmax(-1) + best * _ARGMAX_BLOCK
    if whole == values.shape[1]:
        return place
    rest, later = values[:, whole:].max(-1)
    return torch.where(rest > peaks, later + whole, place)


def output_head(model: PreTrainedModel | PeftModel) -> OutputHead:
    """Return a model's frozen output head.

    Args:
        model: a causal language model, bare or with a PEFT adapter.

    Returns:
        The head; its tensors are the model's own.

    Raises:
        ModelError: the head is trained, carries an adapter, or is no plain linear layer.
    """
    base = without_adapter(model)
    module = base.get_output_embeddings()
    if type(module) is not nn.Linear:
        raise ModelError(f"output head: expected a plain linear layer, found {type(module).__name__}")
    if any(parameter.requires_grad for parameter in module.parameters()):
        raise ModelError("output head: expected frozen weights, found trained ones")
    config = base.config.get_text_config()
    return OutputHead(
        weight=module.weight.detach(),
        bias=None if module.bias is None else module.bias.detach(),
        scale=logit_scale(config),
        softcap=logit_cap(config),
    )


def head_input(
    model: nn.Module, batch: Mapping[str, Tensor], *, inner: PreTrainedModel | PeftModel | None = None
) -> Tensor:
    """Run a model on a batch of training without its head, see `muscle.models.head_states`.

    Args:
        model: the model, or a data-parallel wrapper around it, whose own forward is called.
        batch: `input_ids` and `attention_mask`, (batch, seq), or `position_ids` where it is packed.
        inner: the model within the wrapper; `model` itself where there is none.

    Returns:
        (batch, seq, width), in the graph of the model's adapter.

    Raises:
        ModelError: the model doesn't call its head exactly once.
    """
    return head_states(model, model_inputs(batch), inner=inner)


@torch.no_grad()
def reproduces_logits(model: PreTrainedModel | PeftModel, head: OutputHead, batch: Mapping[str, Tensor]) -> bool:
    """Tell whether `head` on the model's states gives the model's own logits, to the rounding of its weights.

    Args:
        model: in evaluation mode.
        head: from `output_head`.
        batch: `input_ids` and `attention_mask`, (batch, seq); one short row is enough.
    """
    expected = model(**model_inputs(batch)).logits.flatten(0, 1).to(head.wide_dtype)
    states = head_input(model, batch).flatten(0, 1)
    found, _ = head.logits(states, ChunkBuffers(head, len(states)))
    if found.shape != expected.shape:
        return False
    # Twice: our most important entries are exact, the model's are rounded, and scaling rounds once more.
    tolerance = 4 * torch.finfo(head.weight.dtype).eps if head.is_narrow else 1e-4
    return bool((found - expected).abs().max() <= tolerance * expected.abs().max())
