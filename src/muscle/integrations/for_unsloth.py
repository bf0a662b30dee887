"""Unsloth: TRL's trainer on a model of Unsloth's, whose forward hands out the states before its head.

Import `unsloth` first, as it asks for: it replaces parts of transformers and TRL when it is imported.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import cast

import torch
import unsloth  # noqa: F401  before TRL, which it patches
from torch import Tensor

from muscle.errors import ModelError
from muscle.integrations import for_trl

_VARIABLE = "UNSLOTH_RETURN_HIDDEN_STATES"


class CompatibilityTrainer(for_trl.CompatibilityTrainer):
    """`muscle.integrations.for_trl.CompatibilityTrainer` for a model of `FastLanguageModel`."""

    def states(self, model: torch.nn.Module, inputs: Mapping[str, Tensor | bool]) -> Tensor:
        """Return what the model hands to its head, which Unsloth gives in place of logits where it is asked to."""
        with _hidden_states_for_logits():
            found = cast(Tensor, model(**inputs).logits)
        width = self.taught().head.weight.shape[1]
        if found.shape[-1] != width:
            raise ModelError(
                f"Unsloth: expected {_VARIABLE}=1 to give states of width {width}, found width {found.shape[-1]}; take "
                "muscle.integrations.for_trl for this model"
            )
        return found


@contextmanager
def _hidden_states_for_logits() -> Iterator[None]:
    before = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_VARIABLE]
        else:
            os.environ[_VARIABLE] = before
