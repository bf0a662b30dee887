"""A model without its output head: the states that it hands to it, and what it does to the head's product.

The states are caught on their way into the head, in a forward pass of the whole model: every architecture, PEFT and
data-parallel wrappers keep working as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor, nn

from muscle.errors import ModelError
from muscle.models.bases import without_adapter

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedConfig, PreTrainedModel


def head_states(
    model: nn.Module, inputs: Mapping[str, Tensor | bool], *, inner: PreTrainedModel | PeftModel | None = None
) -> Tensor:
    """Run a model without its head and return the states that it hands to it.

    The head is replaced for this call by a module whose result is one number wide, so the logits never exist.
    Replacing its `forward` alone would not do: DeepSpeed's ZeRO-3 hangs hooks on the head which expect its result in
    the loss's graph.

    Args:
        model: the model, or a data-parallel wrapper around it, whose own forward is called.
        inputs: what its forward takes.
        inner: the model within the wrapper; `model` itself where there is none.

    Returns:
        (batch, seq, width), in the graph of the model's adapter.

    Raises:
        ModelError: the model doesn't call its head exactly once.
    """
    base = without_adapter(model if inner is None else inner)
    head = base.get_output_embeddings()
    holder, name = _holder_of(head, base)
    catch = _CatchStates(head)
    setattr(holder, name, catch)
    try:
        model(**inputs)
    finally:
        setattr(holder, name, head)
    if len(catch.seen) != 1:
        raise ModelError(f"output head: expected one call in a forward pass, found {len(catch.seen)}")
    return catch.seen[0]


class _CatchStates(nn.Module):
    """Stands where the head was and keeps the states that come in; who reads the head's weights finds them here."""

    seen: list[Tensor]

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        # Past nn.Module, which would take the head for a part of this one.
        self.__dict__.update(head=head, seen=[])

    def __getattr__(self, name: str) -> Tensor | nn.Module:
        found: Tensor | nn.Module = getattr(self.__dict__["head"], name)
        return found

    def forward(self, states: Tensor) -> Tensor:
        self.__dict__["seen"].append(states)
        return states[..., :1].clone()  # FSDP2 hangs hooks on what a model returns, and wants no view there


def _holder_of(part: nn.Module, model: nn.Module) -> tuple[nn.Module, str]:
    """Return the module that holds `part`, and its name there."""
    for holder in model.modules():
        for name, child in holder.named_children():
            if child is part:
                return holder, name
    raise ModelError("output head: expected it among the model's modules")


def logit_scale(config: PreTrainedConfig) -> float:
    """Return what a model multiplies its head's product by: Cohere's, Granite's, Falcon-H1's setting; 1 else."""
    for name, inverse in (
        ("logit_scale", False),
        ("lm_head_multiplier", False),
        ("logits_scaling", True),
    ):
        value = getattr(config, name, None)
        if isinstance(value, int | float):
            return 1.0 / value if inverse else float(value)
    return 1.0


def logit_cap(config: PreTrainedConfig) -> float | None:
    """Return the cap of a model's logits, cap * tanh(logit / cap): Gemma 2's `final_logit_softcapping`."""
    cap: float | None = getattr(config, "final_logit_softcapping", None)
    return cap
