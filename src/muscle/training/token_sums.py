"""A Trainer's loss as a sum over tokens, divided by the tokens of the whole accumulated batch over all processes.

So one batch equals its micro-batches, and the validation loss is the mean over all validation tokens, not a mean of
batch means. `SummedLoss` does it for any subclass of `transformers.Trainer`: ours, and those of other libraries
(`muscle.integrations`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from muscle.training.losses.loss import CompatibilityTerms

if TYPE_CHECKING:
    from accelerate import Accelerator
    from transformers import TrainingArguments
    from transformers.modeling_outputs import CausalLMOutput
    from transformers.trainer_utils import EvalLoopOutput


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


def compatibility_sums(terms: CompatibilityTerms) -> TokenSums:
    """Return the compatibility adapter's loss, and its terms under the names of the log."""
    named = {
        "masked_share": terms.num_masked,
        "kl_old": float(terms.kl_old),
        "kl_new": float(terms.kl_new),
        "cross_entropy": float(terms.cross_entropy),
    }
    return TokenSums(terms.loss, terms.num_tokens, named)


class SummedLoss:
    """Put before a Trainer among a class's bases: its loss is `batch_sums`, whose terms are logged per token."""

    # Our loss is divided by the accumulated batch's tokens already.
    loss_is_scaled_for_ga = True

    args: TrainingArguments
    accelerator: Accelerator

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        # Makes the Trainer count the tokens of the accumulated batch, whatever the model's forward accepts.
        self.model_accepts_loss_kwargs = True
        self._sums: dict[str, dict[str, float]] = {"train": {}, "eval": {}}

    def batch_sums(self, model: torch.nn.Module, inputs: Mapping[str, Tensor]) -> tuple[TokenSums, CausalLMOutput]:
        """Return a batch's loss as sums over what the Trainer counts in its labels, and the model's outputs."""
        raise NotImplementedError

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor | tuple[Tensor, CausalLMOutput]:
        """Return the batch's sum over tokens divided by the tokens of the accumulated batch."""
        sums, outputs = self.batch_sums(model, inputs)
        self._remember("train" if model.training else "eval", sums)
        total = sums.num_tokens if num_items_in_batch is None else num_items_in_batch
        loss = sums.loss / torch.as_tensor(total, device=sums.loss.device).clamp(min=1)
        if num_items_in_batch is not None and self.args.average_tokens_across_devices:
            # Data-parallel gradients are averaged over the processes; the divisor above counts all their tokens.
            loss = loss * self.accelerator.num_processes
        return (loss, outputs) if return_outputs else loss

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

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the objective's terms, per token, to a training log line."""
        if "loss" in logs:
            logs.update(self._means("train"))
        super().log(logs, start_time)  # type: ignore[misc]  # the Trainer's

    def evaluation_loop(self, *args: object, **kwargs: object) -> EvalLoopOutput:
        """Evaluate, with the loss as the mean over all tokens."""
        self._sums["eval"] = {}
        output: EvalLoopOutput = super().evaluation_loop(*args, **kwargs)  # type: ignore[misc]  # the Trainer's
        prefix = kwargs.get("metric_key_prefix", "eval")
        output.metrics.update({f"{prefix}_{name}": value for name, value in self._means("eval").items()})
        return output
