"""Runs attention and LoRA layers in fewer steps than their libraries do; the numbers are the same to rounding."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from muscle.training.layers.attention import block_attention
from muscle.training.layers.lora_layer import one_step_lora

if TYPE_CHECKING:
    from peft import PeftModel


@contextmanager
def fast_layers(model: PeftModel, *, lora: bool = True) -> Iterator[None]:
    """While it lasts, a model's LoRA layers run as one step each and its attention, on a CPU, in blocks.

    Args:
        model: a transformers model, with or without a PEFT adapter.
        lora: leave it out where something must see each layer's weights being used, as DeepSpeed does.
    """
    with ExitStack() as stack:
        if lora:
            stack.enter_context(one_step_lora(model))
        stack.enter_context(block_attention(model))
        yield
