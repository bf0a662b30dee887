"""The one training loop: `transformers.Trainer` with the loss as a function.

Task adapters and compatibility adapters are trained by the same class; only the objective differs. Every loss is a
sum over tokens, divided by the number of tokens of the whole accumulated batch over all processes, so that one batch
equals its micro-batches. The validation loss is the mean over all validation tokens, not a mean of batch means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
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
from muscle.training.losses.loss import CompatibilityTerms, compatibility_terms, next_token_loss
from muscle.training.teachers.online import OnlineTeachers, Teachers

if TYPE_CHECKING:
    from transformers.trainer_utils import EvalLoopOutput, TrainOutput


@dataclass(frozen=True)
class TokenSums:
    """A batch's loss as sums over its counted tokens.

    Attributes:
        loss: scalar with gradient.
        num_tokens: what `loss` and `terms` are divided by.
        terms: further sums over the same tokens, for the log.
    """

    loss: Tensor
    num_tokens: int
    terms: Mapping[str, float] = field(default_factory=dict)


Objective = Callable[[Tensor, Tensor, Mapping[str, Tensor]], TokenSums]
"""Student logits (batch, seq, vocab), shifted labels (batch, seq) and the batch in, sums over tokens out."""


def next_token_objective(logits: Tensor, labels: Tensor, batch: Mapping[str, Tensor]) -> TokenSums:
    """Return the task adapters' loss over context and answer (Sec. 4.1, step 1)."""
    del batch
    return TokenSums(next_token_loss(logits, labels), int((labels != IGNORE_INDEX).sum()))


def compatibility_sums(terms: CompatibilityTerms) -> TokenSums:
    """Return the compatibility adapter's loss, and its terms under the names of the log."""
    named = {
        "masked_share": terms.num_masked,
        "kl_old": float(terms.kl_old),
        "kl_new": float(terms.kl_new),
        "cross_entropy": float(terms.cross_entropy),
    }
    return TokenSums(terms.loss, terms.num_tokens, named)


class AdapterTrainer(Trainer):  # type: ignore[misc]
    """A Trainer whose loss is an `Objective`; logs each of its terms per token.

    Args:
        objective: the loss; None where a trainer has its own `batch_sums`.
        **kwargs: as for `transformers.Trainer`. The collator must give `labels` without the first token
            (`PaddingCollator` does).
    """

    # Our loss is divided by the accumulated batch's tokens already.
    loss_is_scaled_for_ga = True

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
        # Makes the Trainer count the tokens of the accumulated batch, whatever the model's forward accepts.
        self.model_accepts_loss_kwargs = True
        self._sums: dict[str, dict[str, float]] = {"train": {}, "eval": {}}

    def train(self, *args: object, **kwargs: object) -> TrainOutput:
        """Train with our layers."""
        # Under autocast PEFT's casts of layers' inputs to float32 are taken back at once.
        casting = disable_input_dtype_casting(self.model, active=self.accelerator.native_amp)
        # DeepSpeed gathers a sharded weight when the layer that owns it is called.
        with casting, fast_layers(self.model, lora=not self.is_deepspeed_enabled):
            return super().train(*args, **kwargs)

    def _get_train_sampler(self, train_dataset: Examples | None = None) -> Sampler[int]:
        """Group by length, over the batch of an optimizer step: one order, however many processes share it."""
        examples = self.train_dataset if train_dataset is None else train_dataset
        real = examples.examples if isinstance(examples, Filled) else examples
        size = self.args.train_batch_size * self.args.gradient_accumulation_steps
        inner = LengthGroupedSampler(size * distributed.num_processes(), dataset=real, model_input_name="input_ids")
        return inner if real is examples else _SharedOrder(inner, len(examples))

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor | tuple[Tensor, CausalLMOutput]:
        """Return the objective's sum over tokens divided by the tokens of the accumulated batch."""
        sums, outputs = self.batch_sums(model, inputs)
        self._remember("train" if model.training else "eval", sums)
        total = sums.num_tokens if num_items_in_batch is None else num_items_in_batch
        loss = sums.loss / torch.as_tensor(total, device=sums.loss.device).clamp(min=1)
        if num_items_in_batch is not None and self.args.average_tokens_across_devices:
            # Data-parallel gradients are averaged over the processes; the divisor above counts all their tokens.
            loss = loss * self.accelerator.num_processes
        return (loss, outputs) if return_outputs else loss

    def batch_sums(self, model: torch.nn.Module, inputs: Mapping[str, Tensor]) -> tuple[TokenSums, CausalLMOutput]:
        """Return a batch's loss as sums over what the Trainer counts in its labels, and the model's outputs."""
        outputs = self.outputs(model, inputs)
        assert self.objective is not None, "a trainer without an objective has its own sums"
        return self.objective(outputs.logits[:, :-1], inputs["labels"][:, 1:], inputs), outputs

    def outputs(self, model: torch.nn.Module, inputs: Mapping[str, Tensor]) -> CausalLMOutput:
        """Run the model on a batch; the objective gets what stands under `logits`, (batch, seq, ...)."""
        return model(**model_inputs(inputs))

    def _remember(self, split: str, sums: TokenSums) -> None:
        kept = self._sums[split]
        for name, value in {
            "loss": float(sums.loss.detach()),
            "num_tokens": sums.num_tokens,
            **sums.terms,
        }.items():
            kept[name] = kept.get(name, 0.0) + float(value)

    def _means(self, split: str) -> dict[str, float]:
        """Take the sums since the last call, over all processes, as means per token."""
        sums, self._sums[split] = self._sums[split], {}
        if not sums:
            return {}
        # float64: in float32 the sums over a long evaluation would lose the last tokens' digits.
        values = torch.tensor([sums[name] for name in sorted(sums)], dtype=torch.float64, device=self.args.device)
        if self.accelerator.num_processes > 1:
            values = self.accelerator.reduce(values, reduction="sum")
        total = dict(zip(sorted(sums), values.tolist(), strict=True))
        num_tokens = total.pop("num_tokens")
        return {name: value / num_tokens for name, value in total.items()} if num_tokens else {}

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

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the objective's terms, per token, to a training log line."""
        if "loss" in logs:
            logs.update(self._means("train"))
        super().log(logs, start_time)

    def evaluation_loop(self, *args: object, **kwargs: object) -> EvalLoopOutput:
        """Evaluate, with the loss as the mean over all tokens."""
        self._sums["eval"] = {}
        output = super().evaluation_loop(*args, **kwargs)
        prefix = kwargs.get("metric_key_prefix", "eval")
        output.metrics.update({f"{prefix}_{name}": value for name, value in self._means("eval").items()})
        return output


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
            )
            return compatibility_sums(terms)

        super().__init__(*args, objective=objective, **kwargs)
        self._teachers = teachers

    def train(self, *args: object, **kwargs: object) -> TrainOutput:
        """Train; teachers of ours with our layers too."""
        with self._teachers.fast() if isinstance(self._teachers, OnlineTeachers) else nullcontext():
            return super().train(*args, **kwargs)
