"""Chooses padded or packed batches: tries out whether the model keeps packed examples apart, and whether they pay."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch

from muscle.errors import ConfigError
from muscle.training.data.batches import Collator, PackingCollator, PaddingCollator, TokenIds, model_inputs

if TYPE_CHECKING:
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)

# A few are enough: one token that sees the example before its own changes all logits behind it.
_SAMPLE_TOKENS = 12


def choose_collator(
    model: PreTrainedModel,
    sequences: Sequence[Sequence[int]],
    *,
    packing: Literal["auto", "on", "off"],
    pad_token_id: int,
) -> Collator:
    """Return what makes the batches of a training.

    Args:
        model: to train.
        sequences: token ids of examples, to try packing on.
        packing: `off` pads; `on` packs; `auto` packs where the model runs by flash- or flex-attention, which skip what
            lies between examples. Elsewhere a packed row costs attention over all of its length, and padding of
            examples of like length costs little.
        pad_token_id: for padded batches.

    Raises:
        ConfigError: `on`, and the model takes its examples for one text.
    """
    attention = str(getattr(model.config, "_attn_implementation", ""))
    skips = "flash" in attention or "flex" in attention
    if packing == "off" or (packing == "auto" and not skips):
        return PaddingCollator(pad_token_id)
    if keeps_examples_apart(model, sequences):
        return PackingCollator()
    message = "the model takes packed examples for one text (its attention doesn't read position_ids)"
    if packing == "on":
        raise ConfigError(f"training.packing: on, but {message}; expected off or auto")
    logger.info("training.packing: %s; batches are padded", message)
    return PaddingCollator(pad_token_id)


@torch.no_grad()
def keeps_examples_apart(model: PreTrainedModel, sequences: Sequence[Sequence[int]]) -> bool:
    """Tell whether a model gives two packed examples the logits that each has alone, to rounding."""
    pair = [list(ids[:_SAMPLE_TOKENS]) for ids in (sequences[0], sequences[-1])]
    features = [TokenIds(input_ids=ids) for ids in pair]
    batches = [PackingCollator()(features), *(PaddingCollator(0)([feature]) for feature in features)]
    was_training = model.training
    model.eval()
    try:
        packed, *alone = (
            model(**model_inputs({name: value.to(model.device) for name, value in batch.items()})).logits[0]
            for batch in batches
        )
    finally:
        model.train(was_training)
    expected = torch.cat(alone).float()
    tolerance = 16 * torch.finfo(packed.dtype).eps if packed.dtype.itemsize < 4 else 1e-3
    return bool((packed.float() - expected).abs().max() <= tolerance * expected.abs().max())
