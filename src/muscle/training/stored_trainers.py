"""The training loop on the states that a model hands to its head: trainers that never make a matrix of logits."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers.modeling_outputs import CausalLMOutput

from muscle.config.methods import MaskName
from muscle.config.settings import KernelName
from muscle.errors import ModelError
from muscle.training.data.batches import IGNORE_INDEX, Collator, TokenIds, sequence_numbers
from muscle.training.data.examples import TokenizedExamples
from muscle.training.head.head_pass import MEMORY_BYTES
from muscle.training.head.kernels import choose_kernel, refuse_if_forced
from muscle.training.head.output_head import OutputHead, head_input
from muscle.training.head.usable_head import usable_head
from muscle.training.losses.fused import (
    fused_compatibility_terms,
    fused_distillation_terms,
    fused_next_token_loss,
)
from muscle.training.teachers.rows import MixedRows
from muscle.training.teachers.store import StoredTeachers, TeacherStore
from muscle.training.token_sums import TokenSums, compatibility_sums
from muscle.training.trainer import AdapterTrainer, next_token_objective

if TYPE_CHECKING:
    from peft import PeftModel

logger = logging.getLogger(__name__)


class HeadlessTrainer(AdapterTrainer):
    """An `AdapterTrainer` whose objective gets the states that the model hands to its head, in place of logits.

    Args:
        objective: as `AdapterTrainer`'s, with (batch, seq, width) states.
        **kwargs: as for `AdapterTrainer`.
    """

    def outputs(self, model: torch.nn.Module, inputs: Mapping[str, Tensor]) -> CausalLMOutput:
        """Run the model on a batch without its head."""
        return CausalLMOutput(logits=head_input(model, inputs, inner=self.accelerator.unwrap_model(model)))


def task_trainer(
    model: PeftModel, *, memory_bytes: int = MEMORY_BYTES, kernels: KernelName = "auto", **shared: Any
) -> AdapterTrainer:
    """Return the trainer of a task adapter: next-token loss, chunk by chunk where the model's head allows it.

    Args:
        model: the base with a trainable adapter.
        memory_bytes: budget for the logits of a chunk.
        kernels: see `choose_kernel`.
        **shared: as for `transformers.Trainer`; `train_dataset` has an example at least.

    Raises:
        ConfigError: the Triton kernel is wanted at any price and can't be used.
    """
    try:
        head = usable_head(model, shared["train_dataset"][0]["input_ids"])
    except ModelError as error:
        refuse_if_forced(kernels, str(error))
        logger.info("%s; the loss is computed on whole logits", error)
        return AdapterTrainer(model=model, objective=next_token_objective, **shared)
    head = choose_kernel(head, kernels, memory_bytes=memory_bytes)

    def objective(states: Tensor, labels: Tensor, batch: Mapping[str, Tensor]) -> TokenSums:
        del batch
        loss = fused_next_token_loss(states, head, labels, memory_bytes=memory_bytes)
        return TokenSums(loss, int((labels != IGNORE_INDEX).sum()))

    return HeadlessTrainer(model=model, objective=objective, **shared)


class _IndexedTrainer(HeadlessTrainer):
    """A `HeadlessTrainer` whose batches name their examples: `index`, (batch,), training before validation data."""

    def __init__(
        self,
        *args: object,
        train_dataset: TokenizedExamples,
        eval_dataset: TokenizedExamples,
        data_collator: Collator,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            *args,
            train_dataset=_Indexed(train_dataset, 0),
            eval_dataset=_Indexed(eval_dataset, len(train_dataset)),
            data_collator=_IndexedCollator(data_collator),
            **kwargs,
        )


class StoredTrainer(_IndexedTrainer):
    """Train a compatibility adapter (MUSCLE, 2024, Eq. 1 and 5) from what the teachers left on disk.

    Logs what `CompatibilityTrainer` logs.

    Args:
        teachers: of the very examples that are trained and validated on.
        temperature: T of Eq. 1.
        mask: which tokens lean on the old model.
        ce_weight: 1 - lambda of Eq. 5.
        old_share: of a token that leans on the old model, what it learns from it.
        memory_bytes: budget for the logits of a chunk.
        **kwargs: as for `transformers.Trainer`: `train_dataset` and `eval_dataset` are token ids, in the order of the
            stores.
    """

    def __init__(
        self,
        *args: object,
        teachers: StoredTeachers,
        temperature: float,
        mask: MaskName,
        ce_weight: float,
        old_share: float = 1.0,
        memory_bytes: int = MEMORY_BYTES,
        **kwargs: Any,
    ) -> None:
        def objective(states: Tensor, labels: Tensor, batch: Mapping[str, Tensor]) -> TokenSums:
            old, new = teachers.rows(_examples(batch), states.device)
            terms = fused_compatibility_terms(
                states,
                teachers.heads.student,
                labels,
                old,
                new,
                temperature=temperature,
                mask=mask,
                ce_weight=ce_weight,
                old_share=old_share,
                memory_bytes=memory_bytes,
                sequences=sequence_numbers(batch),
            )
            return compatibility_sums(terms)

        super().__init__(*args, objective=objective, **kwargs)


class MixtureTrainer(_IndexedTrainer):
    """Train a compatibility adapter from one stored vector a token, where the mask doesn't follow the student.

    Logs per step: `loss`, `masked_share` (mean share of the old model), `kl` (to the mixture), `cross_entropy`.

    Args:
        mixture: a `mixed` store of the very examples that are trained and validated on.
        head: the student's.
        temperature: T of Eq. 1.
        ce_weight: 1 - lambda of Eq. 5.
        memory_bytes: budget for the logits of a chunk.
        **kwargs: as for `StoredTrainer`.
    """

    def __init__(
        self,
        *args: object,
        mixture: TeacherStore,
        head: OutputHead,
        temperature: float,
        ce_weight: float,
        memory_bytes: int = MEMORY_BYTES,
        **kwargs: Any,
    ) -> None:
        def objective(states: Tensor, labels: Tensor, batch: Mapping[str, Tensor]) -> TokenSums:
            target = mixture.rows(_examples(batch), device=states.device)
            assert isinstance(target, MixedRows), "a store of mixtures"
            terms = fused_distillation_terms(
                states,
                head,
                labels,
                target,
                temperature=temperature,
                ce_weight=ce_weight,
                memory_bytes=memory_bytes,
            )
            named = {
                "masked_share": float(terms.old_share),
                "kl": float(terms.kl),
                "cross_entropy": float(terms.cross_entropy),
            }
            return TokenSums(terms.loss, terms.num_tokens, named)

        super().__init__(*args, objective=objective, **kwargs)


def _examples(batch: Mapping[str, Tensor]) -> list[int]:
    """Return which examples a batch holds, without the blank ones that fill the last batch of several processes."""
    return [index for index in batch["index"].tolist() if index >= 0]


@dataclass(frozen=True)
class _Indexed(Dataset[TokenIds]):
    """Examples that know their place in the teacher stores."""

    examples: TokenizedExamples
    first: int

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, place: int) -> TokenIds:
        return {**self.examples[place], "index": self.first + place}


@dataclass(frozen=True)
class _IndexedCollator:
    """Adds `index`, (examples,), to a batch."""

    collate: Collator

    def __call__(self, features: Sequence[TokenIds]) -> dict[str, Tensor]:
        index = torch.tensor([feature["index"] for feature in features])
        return {**self.collate(features), "index": index}
