"""How an adapter is trained: which engine fits the models, and trainers that never make a matrix of logits.

Engines for the compatibility adapter, by what is there of the teachers while it trains: `projected` (a vector per token and teacher on disk, the
default), `mixed` (one vector per token, for masks that don't follow the student), `hidden` (their last states on disk, their heads in memory) and
`online` (both models in memory, the plain formulas). The result is the same to rounding. `topk` (k log-probabilities and the mass of
the others) is approximate. Where a model doesn't allow an engine, the next one is taken and the log says why.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers.modeling_outputs import CausalLMOutput

from muscle.config.settings import EngineName, KernelName, MaskName
from muscle.errors import ModelError
from muscle.training.data.examples import Collator, TokenizedExamples, sequence_numbers
from muscle.training.head.kernels import choose_kernel, refuse_if_forced
from muscle.training.head.output_head import OutputHead, head_input, output_head, reproduces_logits
from muscle.training.losses.fused import (
    MEMORY_BYTES,
    fused_compatibility_terms,
    fused_distillation_terms,
    fused_next_token_loss,
)
from muscle.training.losses.masks import IGNORE_INDEX
from muscle.training.teachers.rows import TeacherRows
from muscle.training.teachers.store import TeacherStore
from muscle.training.trainer import AdapterTrainer, TokenSums, next_token_objective

logger = logging.getLogger(__name__)

_SAMPLE_TOKENS = 16


def usable_head(model: Any, sample: Sequence[int]) -> OutputHead:
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


def choose_engine(
    wanted: EngineName, *, student: Any, old: Any, new: Any, sample: Sequence[int]
) -> tuple[EngineName, Heads | None]:
    """Return the wanted engine, or the nearest that the models allow; the log says why it is another.

    Args:
        wanted: the engine asked for.
        student: the model to train.
        old: M_v1.
        new: M_v2, on the student's base.
        sample: a few token ids to try the heads on.

    Returns:
        The engine, and the heads where it isn't `online`.
    """
    if wanted == "online":
        return "online", None
    try:
        heads = Heads(*(usable_head(model, sample) for model in (student, old, new)))
    except ModelError as error:
        logger.warning(
            "engine %s: %s; the online engine is used, with both teachers in memory", wanted, error
        )
        return "online", None
    if wanted in ("projected", "mixed") and heads.student.softcap is not None:
        logger.info("engine %s: the model caps its logits; the hidden engine is used", wanted)
        wanted = "hidden"
    return wanted, heads


class HeadlessTrainer(AdapterTrainer):
    """An `AdapterTrainer` whose objective gets the states that the model hands to its head, in place of logits.

    Args:
        objective: as `AdapterTrainer`'s, with (batch, seq, width) states.
        **kwargs: as for `AdapterTrainer`.
    """

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Return the objective's sum over tokens divided by the tokens of the accumulated batch."""
        headless = _Headless(model, self.accelerator.unwrap_model(model))
        return super().compute_loss(headless, inputs, return_outputs, num_items_in_batch)


@dataclass(frozen=True)
class _Headless:
    """A model as `AdapterTrainer` calls it, with its last states where the logits would be."""

    model: Any
    inner: Any

    @property
    def training(self) -> bool:
        return bool(self.model.training)

    def __call__(self, **inputs: Tensor) -> CausalLMOutput:
        return CausalLMOutput(logits=head_input(self.model, inputs, inner=self.inner))


def task_trainer(
    model: Any, *, memory_bytes: int = MEMORY_BYTES, kernels: KernelName = "auto", **shared: Any
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


@dataclass(frozen=True)
class StoredTeachers:
    """Both teachers as stores. Examples of the validation data follow those of the training data."""

    old: TeacherStore
    new: TeacherStore
    heads: Heads

    def rows(self, indices: Sequence[int], device: Any) -> tuple[TeacherRows, TeacherRows]:
        """Return the rows of examples by their index: old, new."""
        return (
            self.old.rows(indices, head=self.heads.old, device=device),
            self.new.rows(indices, head=self.heads.new, device=device),
        )


class _IndexedTrainer(HeadlessTrainer):
    """A `HeadlessTrainer` whose batches name their examples: `index`, (batch,), training before validation data."""

    def __init__(
        self,
        *args: Any,
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
        memory_bytes: budget for the logits of a chunk.
        **kwargs: as for `transformers.Trainer`: `train_dataset` and `eval_dataset` are token ids, in the order of the stores.
    """

    def __init__(
        self,
        *args: Any,
        teachers: StoredTeachers,
        temperature: float,
        mask: MaskName,
        ce_weight: float,
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
                memory_bytes=memory_bytes,
                sequences=sequence_numbers(batch),
            )
            named = {
                "masked_share": terms.num_masked,
                "kl_old": float(terms.kl_old),
                "kl_new": float(terms.kl_new),
                "cross_entropy": float(terms.cross_entropy),
            }
            return TokenSums(terms.loss, terms.num_tokens, named)

        super().__init__(*args, objective=objective, **kwargs)


class MixtureTrainer(_IndexedTrainer):
    """Train a compatibility adapter from one stored vector a token: Eq. 1 and 5 where the mask doesn't follow the student.

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
        *args: Any,
        mixture: TeacherStore,
        head: OutputHead,
        temperature: float,
        ce_weight: float,
        memory_bytes: int = MEMORY_BYTES,
        **kwargs: Any,
    ) -> None:
        def objective(states: Tensor, labels: Tensor, batch: Mapping[str, Tensor]) -> TokenSums:
            terms = fused_distillation_terms(
                states,
                head,
                labels,
                mixture.rows(_examples(batch), device=states.device),
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
    """Which examples a batch holds, without the blank ones that fill the last batch of several processes."""
    return [index for index in batch["index"].tolist() if index >= 0]


@dataclass(frozen=True)
class _Indexed(Dataset[dict[str, Any]]):
    """Examples that know their place in the teacher stores."""

    examples: TokenizedExamples
    first: int

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, place: int) -> dict[str, Any]:
        return {**self.examples[place], "index": self.first + place}


@dataclass(frozen=True)
class _IndexedCollator:
    """Adds `index`, (examples,), to a batch."""

    collate: Collator

    def __call__(self, features: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        index = torch.tensor([feature["index"] for feature in features])
        return {**self.collate(features), "index": index}
