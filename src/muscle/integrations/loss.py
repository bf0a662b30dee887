"""The loss of Eq. 1 and 5 for any library's Trainer: put before it among a class's bases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, cast

import torch
from torch import Tensor
from transformers.modeling_outputs import CausalLMOutput

from muscle.integrations.sequences import KnownSequences, sequences_of
from muscle.integrations.settings import Teaching
from muscle.integrations.taught import Taught, teach
from muscle.models.head_states import head_states
from muscle.training.token_sums import SummedLoss, TokenSums

if TYPE_CHECKING:
    from peft import PeftModel


class CompatibilityLoss(SummedLoss):
    """Trains by the compatibility loss (MUSCLE, 2024, Eq. 1 and 5) in the loop of the Trainer that stands behind it.

    The teachers read the trainer's own data once, before it trains; see `Taught`. Everything else, from the collator to
    the checkpoints, is the library's. Logs what `muscle.CompatibilityTrainer` logs. The model is the new base with A_v2
    as its trainable adapter.
    """

    not_for_the_model: ClassVar[tuple[str, ...]] = ("labels",)
    """What stands in the library's batches beside what a model's forward takes."""

    model: torch.nn.Module
    train_dataset: object
    eval_dataset: object
    _taught: Taught | None = None

    def teaching(self) -> Teaching:
        """Return who teaches, and the formula."""
        raise NotImplementedError

    def taught(self) -> Taught:
        """Return what the teachers said of the data; on first use they are run."""
        if self._taught is None:
            known = KnownSequences(sequences_of(self.train_dataset, self.eval_dataset))
            student = self.accelerator.unwrap_model(self.model)
            # The library's order of the data stays what it is without us: loading an adapter draws random numbers.
            with torch.random.fork_rng():
                self._taught = teach(self.teaching(), cast("PeftModel", student), known)
        return self._taught

    def train(self, *args: object, **kwargs: object) -> object:
        """Run the teachers, then the library's own training."""
        self.taught()
        return super().train(*args, **kwargs)  # type: ignore[misc]

    def batch_sums(self, model: torch.nn.Module, inputs: Mapping[str, Tensor]) -> tuple[TokenSums, CausalLMOutput]:
        """Return a batch's loss as sums, and in place of logits the states that they are made of."""
        given = {name: value for name, value in inputs.items() if name not in self.not_for_the_model}
        states = self.states(model, {**given, "use_cache": False})
        return self.taught().sums(states, inputs), CausalLMOutput(logits=states)

    def states(self, model: torch.nn.Module, inputs: Mapping[str, Tensor | bool]) -> Tensor:
        """Return what the model hands to its head, (batch, seq, width)."""
        return head_states(model, inputs, inner=self.accelerator.unwrap_model(model))
