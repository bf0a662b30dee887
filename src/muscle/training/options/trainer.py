"""The one training loop with a loss over whole answer options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers.modeling_outputs import CausalLMOutput

from muscle import distributed
from muscle.config.methods import KlName, MaskName
from muscle.models.option_scores import MEMORY_BYTES, option_log_likelihoods, whole_head
from muscle.training.data.examples import BLANK
from muscle.training.options.items import OptionItems, padded
from muscle.training.options.losses import Distance, OptionTerms, TargetRows, option_terms
from muscle.training.token_sums import TokenSums
from muscle.training.trainer import AdapterTrainer


@dataclass(frozen=True)
class OptionLoss:
    """The loss of a training on options, see `option_terms`.

    Attributes:
        temperature: T of the distillation.
        ce_weight: weight of the right option's cross-entropy.
        kl: direction of the distillation.
        distance: to the target's sources, in place of the distillation.
        mask: chooses between both teachers for each item, in place of one target.
    """

    temperature: float = 1.0
    ce_weight: float = 0.0
    kl: KlName = "forward"
    distance: Distance | None = None
    mask: MaskName | None = None


class OptionTrainer(AdapterTrainer):
    """Train an adapter on the options of items.

    Logs per step, and for the validation items per epoch: `loss`, `kl` (to the target), `agreement` (share of items
    whose likeliest option is the target's), `hinge`, all a mean over items; `cross_entropy` of the right option, a mean
    over labelled ones, and `labelled`, their share; with a mask `masked_share`, of items that lean on the old model.

    Args:
        targets: of all items, those trained on and then those validated on.
        loss: how they are approached.
        pad_token_id: of the student's tokenizer.
        option_by_option: the student can't read trees (`reads_trees`).
        memory_bytes: budget for the logits of a chunk.
        **kwargs: as for `transformers.Trainer`: `train_dataset` and `eval_dataset` are `OptionItems`, the collator an
            `ItemCollator`.
    """

    def __init__(
        self,
        *args: object,
        targets: TargetRows,
        loss: OptionLoss,
        pad_token_id: int,
        option_by_option: bool = False,
        memory_bytes: int = MEMORY_BYTES,
        train_dataset: OptionItems,
        eval_dataset: OptionItems,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, objective=None, train_dataset=train_dataset, eval_dataset=eval_dataset, **kwargs)
        self._items = (train_dataset, eval_dataset)
        self._targets, self._loss = targets, loss
        self._score = partial(
            option_log_likelihoods,
            pad_token_id=pad_token_id,
            option_by_option=option_by_option,
            memory_bytes=memory_bytes,
            head=whole_head(self.model) if distributed.sharded() else None,
        )

    def batch_sums(self, model: torch.nn.Module, inputs: Mapping[str, Tensor]) -> tuple[TokenSums, CausalLMOutput]:
        """Return a batch's loss as sums over its items."""
        real = inputs["index"] != BLANK
        scores = self.read(model, inputs)
        if not bool(real.any()):
            nothing = scores.masked_fill(scores == -torch.inf, 0.0).sum() * 0.0
            return TokenSums(nothing, 0, self._named(None)), CausalLMOutput()
        terms = option_terms(
            scores[real],
            self.taught(inputs, scores)[real.to(scores.device)],
            temperature=self._loss.temperature,
            ce_weight=self._loss.ce_weight,
            kl=self._loss.kl,
            distance=self._loss.distance,
            mask=self._loss.mask,
        )
        return TokenSums(terms.loss, terms.num_items, self._named(terms)), CausalLMOutput()

    def read(self, model: torch.nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return what the model makes of a batch's options, (items, options); -inf where an item has none."""
        # A blank item is read too, as the first one: every process of several takes part in every pass.
        places = [self._place(number) for number in inputs["index"].clamp(min=0).tolist()]
        trees = [items.trees[place] for items, place in places]
        found = self._score(self.accelerator.unwrap_model(model), trees, wrapper=model)
        return padded([items.scores(place, values) for (items, place), values in zip(places, found, strict=True)])

    def taught(self, inputs: Mapping[str, Tensor], scores: Tensor) -> TargetRows:
        """Return what a batch's items are trained towards, beside their scores; a blank item has the first one's."""
        rows = self._targets[inputs["index"].clamp(min=0).cpu()]
        return rows.to(scores.device).of_width(scores.shape[1])

    def _named(self, terms: OptionTerms | None) -> dict[str, float]:
        """Return a batch's terms under the names of the log: the same names in every process."""
        masked = {"masked_share": terms.num_masked if terms else 0} if self._loss.mask else {}
        return {**named_sums(terms), **masked}

    def _place(self, number: int) -> tuple[OptionItems, int]:
        trained, validated = self._items
        return (trained, number) if number < validated.first else (validated, number - validated.first)

    def _means(self, split: str) -> dict[str, float]:
        """As `AdapterTrainer`'s; the cross-entropy is one of labelled items."""
        means = super()._means(split)
        if means.get("labelled"):
            means["cross_entropy"] /= means["labelled"]
        return means


def named_sums(terms: OptionTerms | None) -> dict[str, float]:
    """Return the terms under the names of the log; all 0 for a batch of blank items."""
    return {
        "kl": terms.kl if terms else 0.0,
        "cross_entropy": terms.cross_entropy if terms else 0.0,
        "hinge": terms.hinge if terms else 0.0,
        "agreement": terms.agreement if terms else 0,
        "labelled": terms.num_labelled if terms else 0,
    }
