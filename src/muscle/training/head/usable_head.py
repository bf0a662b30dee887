"""Tries out whether a model's output head can be applied outside the model; holds the heads of a training's models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch

from muscle.errors import ModelError
from muscle.training.head.output_head import OutputHead, output_head, reproduces_logits

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# A few are enough: a scale or a cap that is not known here changes every logit.
_SAMPLE_TOKENS = 16


def usable_head(model: PreTrainedModel, sample: Sequence[int]) -> OutputHead:
    """Return a model's head if applying it by ourselves gives the model's own logits.

    Args:
        model: bare or with a PEFT adapter.
        sample: a few token ids to try it on.

    Raises:
        ModelError: the head is trained or no plain linear layer, or the model does something to its logits that is not
            known here; the message says what.
    """
    head = output_head(model)
    ids = torch.tensor([list(sample[:_SAMPLE_TOKENS])], device=head.weight.device)
    was_training = model.training
    model.eval()  # dropout would tell two passes apart
    try:
        agrees = reproduces_logits(model, head, {"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    finally:
        model.train(was_training)
    if not agrees:
        raise ModelError("output head: applied to the last states it does not give the model's logits")
    return head


class Heads(NamedTuple):
    """The output heads of the three models."""

    student: OutputHead
    old: OutputHead
    new: OutputHead
