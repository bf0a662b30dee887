"""Twin-bootstrap co-training: two adapters, each with the labels of its own bootstrap, held to agree on both.

Prastalo & Jablonka 2026 (https://arxiv.org/abs/2605.13826), Sec. 3: with bootstraps S_A, S_B of the N labelled items,
N draws each with replacement,

    L = CE(A; S_A) + CE(B; S_B) + lambda (symKL(A, B; S_A) + symKL(A, B; S_B)) / 2

The paper serves the mean of the twins' predictions, two networks. Here one adapter is served: the mean of their
weights, which is exact in twice the rank. Both begin as the same adapter, so that they stay in one region of the
weights. They are trained as that one adapter: its first r directions are the one twin, its last r the other, each shown
alone at twice its weight; together they are the mean, and that is what the epoch is chosen by.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from transformers.modeling_outputs import CausalLMOutput

from muscle.errors import ModelError
from muscle.training.options.data import OptionData
from muscle.training.options.distances import symmetric
from muscle.training.options.losses import option_terms
from muscle.training.options.trainer import OptionTrainer, named_sums
from muscle.training.token_sums import TokenSums

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers.trainer_utils import TrainOutput

Half = int
"""0 is the first twin, 1 the second."""


def bootstrapped(data: OptionData, seed: int) -> OptionData:
    """Return the items with both twins' draws in place of those that are trained on: all of the one, then the other's.

    Args:
        data: labelled items.
        seed: of the draws.
    """
    draws = np.random.default_rng(seed).integers(0, len(data.train), size=2 * len(data.train))
    return replace(data, train=[data.train[int(number)] for number in draws], times=2)


class Halves:
    """Shows one half of an adapter's directions at twice their weight, or both as they are.

    Args:
        model: with an adapter of an even rank on linear layers.

    Raises:
        ModelError: the adapter is on something else too.
    """

    def __init__(self, model: PeftModel) -> None:
        self._half: Half | None = None
        layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
        if any(len(layer.lora_embedding_A) for layer in layers):
            raise ModelError(
                "alignment.target twins: expected an adapter on linear layers, found one on embeddings too"
            )
        downs = [down for layer in layers for down in layer.lora_A.values()]
        self._hooks = [down.register_forward_hook(self._shown) for down in downs]

    def remove(self) -> None:
        """Let the model be as it was."""
        for hook in self._hooks:
            hook.remove()

    @contextmanager
    def only(self, half: Half) -> Iterator[None]:
        """Show one half while the block runs."""
        self._half = half
        try:
            yield
        finally:
            self._half = None

    def _shown(self, module: nn.Module, inputs: tuple[Tensor, ...], low: Tensor) -> Tensor | None:
        del module, inputs
        if self._half is None:
            return None
        rank = low.shape[-1] // 2
        factor = low.new_zeros(2 * rank)
        factor[self._half * rank : (self._half + 1) * rank] = 2.0
        return low * factor


class TwinTrainer(OptionTrainer):
    """Train two adapters, the halves of one; validate what they are together.

    Logs beside `OptionTrainer`'s terms `twins_apart`, their symmetric KL per draw.

    Args:
        agreement: lambda.
        **kwargs: as for `OptionTrainer`; the training items are those of `bootstrapped`.
    """

    def __init__(self, *args: object, agreement: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._agreement = agreement
        self._halves: Halves | None = None

    def train(self, *args: object, **kwargs: object) -> TrainOutput:
        """Train with one half shown at a time."""
        self._halves = Halves(self.model)
        try:
            return super().train(*args, **kwargs)
        finally:
            self._halves.remove()
            self._halves = None

    def batch_sums(self, model: nn.Module, inputs: Mapping[str, Tensor]) -> tuple[TokenSums, CausalLMOutput]:
        """Return the loss of a batch of draws as sums over them."""
        if not model.training or self._halves is None:
            return super().batch_sums(model, inputs)
        read = []
        for half in (0, 1):
            with self._halves.only(half):
                read.append(self.read(model, inputs))
        first, second = read
        of_first = of_first_twin(inputs["index"], len(self.train_dataset)).to(first.device)
        terms = option_terms(torch.where(of_first[:, None], first, second), self.taught(inputs, first))
        apart = symmetric(first, second).sum()
        # A batch's draws are divided by their number, two a step of the formula's: so is lambda / 2 a draw.
        loss = terms.loss + self._agreement / 2 * apart
        return TokenSums(loss, terms.num_items, {**named_sums(terms), "twins_apart": float(apart.detach())}), (
            CausalLMOutput()
        )


def of_first_twin(index: Tensor, count: int) -> Tensor:
    """Tell which of the draws are the first twin's, (items,), of `count` in all."""
    return index < count // 2
