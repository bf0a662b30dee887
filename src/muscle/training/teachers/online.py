"""The two frozen task models that the compatibility adapter learns from (Sec. 4.1, step 2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from muscle.errors import ModelError
from muscle.training.data.batches import model_inputs
from muscle.training.layers.fast_layers import fast_layers

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class TeacherLogits(NamedTuple):
    """Both teachers' logits on a batch, each (batch, seq, vocab), in no graph."""

    old: Tensor
    new: Tensor


Teachers = Callable[[Mapping[str, Tensor]], TeacherLogits]
"""A batch (`input_ids`, `attention_mask`, each (batch, seq)) in, both teachers' logits out."""


class OnlineTeachers:
    """Both task models in memory, run on every batch: exact for any model, and the slowest way.

    Args:
        old: M_v1, the old base with its task adapter.
        new: M_v2, the new base with its task adapter.
    """

    def __init__(self, old: PreTrainedModel, new: PreTrainedModel) -> None:
        self.old = old.eval().requires_grad_(False)
        self.new = new.eval().requires_grad_(False)

    @torch.no_grad()
    def __call__(self, batch: Mapping[str, Tensor]) -> TeacherLogits:
        """Return both teachers' logits on a batch.

        Raises:
            ModelError: DeepSpeed's ZeRO-3 has sharded a teacher along with the student whose base it shares.
        """
        for model in (self.old, self.new):
            if any(parameter.numel() == 0 for parameter in model.parameters()):
                raise ModelError(
                    "engine online: a teacher shares the student's base, which ZeRO-3 has sharded; use another engine "
                    "or stage"
                )
        inputs = model_inputs(batch)
        return TeacherLogits(self.old(**inputs).logits, self.new(**inputs).logits)

    @contextmanager
    def fast(self) -> Iterator[None]:
        """While it lasts, both run with our layers, as the student does in training."""
        with fast_layers(self.old), fast_layers(self.new):
            yield
