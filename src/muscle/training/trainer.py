"""The one training loop: `transformers.Trainer` with the loss as a function.

Task adapters and compatibility adapters are trained by the same class; only the objective differs. Every loss is a
sum over tokens, divided by the number of tokens of the whole accumulated batch over all processes, so that one batch
equals its micro-batches. The validation loss is the mean over all validation tokens, not a mean of batch means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft.helpers import disable_input_dtype_casting
from torch import Tensor
from torch.utils.data import Sampler
from transformers import Trainer
from transformers.modeling_outputs import CausalLMOutput
from transformers.trainer_pt_utils import LengthGroupedSampler

from muscle import distributed
from muscle.config.methods import MaskName
from muscle.errors import DataError, OutputError
from muscle.limits import write_failure
from muscle.training.checkpoints import CompletionMarks, checkpoint_damage
from muscle.training.data.batches import IGNORE_INDEX, model_inputs
from muscle.training.data.examples import Examples, Filled, filled
from muscle.training.layers.fast_layers import fast_layers
from muscle.training.losses.loss import compatibility_terms, next_token_loss
from muscle.training.teachers.online import OnlineTeachers, Teachers
from muscle.training.token_sums import SummedLoss, TokenSums, compatibility_sums

if TYPE_CHECKING:
    from transformers.trainer_utils import TrainOutput


Objective = Callable[[Tensor, Tensor, Mapping[str, Tensor]], TokenSums]
"""Student logits (batch, seq, vocab), shifted labels (batch, seq) and the batch in, sums over tokens out."""


def next_token_objective(logits: Tensor, labels: Tensor, batch: Mapping[str, Tensor]) -> TokenSums:
    """Return the task adapters' loss over context and answer (Sec. 4.1, step 1)."""
    del batch
    return TokenSums(next_token_loss(logits, labels), int((labels != IGNORE_INDEX).sum()))


class AdapterTrainer(SummedLoss, Trainer):  # type: ignore[misc]
    """A Trainer whose loss is an `Objective`; logs each of its terms per token.

    Args:
        objective: the loss; None where a trainer has its own `batch_sums`.
        **kwargs: as for `transformers.Trainer`. The collator must give `labels` without the first token
            (`PaddingCollator` does).
    """

    def __init__(self, *args: object, objective: Objective | None, **kwargs: Any) -> None:
        if distributed.num_processes() > 1:
            # A short last batch is filled by blank examples; by default it would be filled by examples counted twice.
            arguments = kwargs["args"]
            for name, size in (
                ("train_dataset", arguments.per_device_train_batch_size),
                ("eval_dataset", arguments.per_device_eval_batch_size),
            ):
                kwargs[name] = filled(kwargs[name], size * distributed.num_processes())
        callbacks = [CompletionMarks(), *(kwargs.pop("callbacks", None) or ())]
        super().__init__(*args, callbacks=callbacks, **kwargs)
        self.objective = objective

    def train(self, *args: object, **kwargs: object) -> TrainOutput:
        """Train with our layers."""
        # Under autocast PEFT's casts of layers' inputs to float32 are taken back at once.
        casting = disable_input_dtype_casting(self.model, active=self.accelerator.native_amp)
        # DeepSpeed gathers a sharded weight when the layer that owns it is called.
        with casting, fast_layers(self.model, lora=not self.is_deepspeed_enabled):
            return super().train(*args, **kwargs)

    def evaluate(self, *args: object, **kwargs: object) -> dict[str, float]:
        """Evaluate; before the first step without a trace in the random numbers, which order the examples."""
        unmoved = self.is_in_train and not self.state.global_step
        with torch.random.fork_rng(devices=[]) if unmoved else nullcontext():
            metrics: dict[str, float] = super().evaluate(*args, **kwargs)
        return metrics

    def _get_train_sampler(self, train_dataset: Examples | None = None) -> Sampler[int]:
        """Group by length, over the batch of an optimizer step: one order, however many processes share it."""
        examples = self.train_dataset if train_dataset is None else train_dataset
        real = examples.examples if isinstance(examples, Filled) else examples
        size = self.args.train_batch_size * self.args.gradient_accumulation_steps
        inner = LengthGroupedSampler(size * distributed.num_processes(), dataset=real, model_input_name="input_ids")
        return inner if real is examples else _SharedOrder(inner, len(examples))

    def batch_sums(self, model: torch.nn.Module, inputs: Mapping[str, Tensor]) -> tuple[TokenSums, CausalLMOutput]:
        """Return a batch's loss as sums over what the Trainer counts in its labels, and the model's outputs."""
        outputs = self.outputs(model, inputs)
        assert self.objective is not None, "a trainer without an objective has its own sums"
        return self.objective(outputs.logits[:, :-1], inputs["labels"][:, 1:], inputs), outputs

    def outputs(self, model: torch.nn.Module, inputs: Mapping[str, Tensor]) -> CausalLMOutput:
        """Run the model on a batch; the objective gets what stands under `logits`, (batch, seq, ...)."""
        return model(**model_inputs(inputs))

    def _save_checkpoint(self, model: torch.nn.Module, trial: object) -> None:
        """Save a checkpoint, or say in one line why it cannot be written."""
        try:
            super()._save_checkpoint(model, trial)
        except Exception as error:
            reason = write_failure(error)
            if reason is None:
                raise
            raise OutputError(
                f"{self.args.output_dir}: a checkpoint cannot be written: {reason}; make room and run the same command "
                "again, which goes on at the last whole one"
            ) from error

    def _load_best_model(self) -> None:
        """Load the best epoch's weights, if they still are what was saved."""
        best = Path(self.state.best_model_checkpoint)
        damage = distributed.from_main(lambda: checkpoint_damage(best))
        if damage:
            raise DataError(
                f"checkpoint {best}: {damage}; run the same command again, which trains from the last whole checkpoint"
            )
        super()._load_best_model()


class _SharedOrder(Sampler[int]):
    """The main process's order for all processes, then the blank examples."""

    def __init__(self, inner: Sampler[int], length: int) -> None:
        self.inner, self.length = inner, length

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        own = list(self.inner)
        return iter([*distributed.from_main(lambda: own), *range(len(own), self.length)])


class CompatibilityTrainer(AdapterTrainer):
    """Train a compatibility adapter (MUSCLE, 2024, Eq. 1 and 5), also in a training script of one's own.

    Logs per step: `loss`, `masked_share` (share of tokens that lean on the old model), `kl_old`, `kl_new`,
    `cross_entropy` (nats per token), and the same on validation data.

    Args:
        teachers: gives both task models' logits on a batch, e.g. `OnlineTeachers(old, new)`.
        temperature: T of Eq. 1.
        mask: which tokens lean on the old model.
        ce_weight: 1 - lambda of Eq. 5.
        old_share: of a token that leans on the old model, what it learns from it.
        **kwargs: as for `transformers.Trainer`: `model` (the new base with A_v2 as its trainable adapter), `args`,
            `train_dataset`, `eval_dataset`, `data_collator` (a `PaddingCollator`).
    """

    def __init__(
        self,
        *args: object,
        teachers: Teachers,
        temperature: float = 2.0,
        mask: MaskName = "student_wrong",
        ce_weight: float = 0.0,
        old_share: float = 1.0,
        **kwargs: object,
    ) -> None:
        def objective(logits: Tensor, labels: Tensor, batch: Mapping[str, Tensor]) -> TokenSums:
            taught = teachers(batch)
            terms = compatibility_terms(
                logits,
                taught.old[:, :-1],
                taught.new[:, :-1],
                labels,
                temperature=temperature,
                mask=mask,
                ce_weight=ce_weight,
                old_share=old_share,
            )
            return compatibility_sums(terms)

        super().__init__(*args, objective=objective, **kwargs)
        self._teachers = teachers

    def train(self, *args: object, **kwargs: object) -> TrainOutput:
        """Train; teachers of ours with our layers too."""
        with self._teachers.fast() if isinstance(self._teachers, OnlineTeachers) else nullcontext():
            return super().train(*args, **kwargs)
