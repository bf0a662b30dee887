"""Adapters added up in weights: w_1 times the one's change of the base plus w_2 times the other's, as one adapter.

Interpolation of an old and a new model's weights is BCWI (Schumann et al. 2024, https://arxiv.org/abs/2301.10546:
a theta_old + (1 - a) theta_new). On one base that is the interpolation of the changes s B A that two adapters
make. Their mean, factor by factor, would be something else: (B_1 + B_2)(A_1 + A_2) has cross terms. One adapter of rank
r_1 + r_2 is the sum exactly: A = [A_1; A_2], B = [w_1 s_1 B_1, w_2 s_2 B_2] / s, with the result's own scale s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from muscle.errors import ModelError
from muscle.models.adapter_check import WEIGHTS, check_adapter
from muscle.models.adapters import start_adapter
from muscle.models.bases import LoadedBase, share_weights

if TYPE_CHECKING:
    from peft import LoraConfig, PeftModel
    from torch import Tensor


@dataclass(frozen=True)
class Part:
    """An adapter in a sum.

    Attributes:
        folder: a PEFT folder.
        weight: w.
        carried: it was made for another base of the same shapes.
    """

    folder: Path
    weight: float
    carried: bool = False


def summed_adapter(base: LoadedBase, parts: Sequence[Part]) -> PeftModel:
    """Return a PEFT model with the weighted sum of adapters, ready to train.

    A part without weight is left out; a single one of weight 1 is that adapter as it is, tensor by tensor.

    Args:
        base: what they stand on.
        parts: at least one with a weight.

    Raises:
        ModelError: one doesn't fit the base, or is no plain LoRA with one rank and scale for all layers, or two are not
            on the same layers.
    """
    from peft import get_peft_model, set_peft_model_state_dict

    counted = [part for part in parts if part.weight]
    if len(counted) == 1 and counted[0].weight == 1.0:
        return start_adapter(base, counted[0].folder, carried=counted[0].carried)
    configs = [_plain_config(base, part) for part in counted]
    held = [_tensors(part.folder) for part in counted]
    _refuse_other_layers(counted, held)
    rank = sum(config.r for config in configs)
    # That of two halves of one adapter is the adapter's: what trains on begins with the B that it had.
    alpha = sum(_scale(config) * config.r for config in configs) / len(configs)
    factors = [part.weight * _scale(config) * rank / alpha for part, config in zip(counted, configs, strict=True)]
    config = configs[0]
    config.inference_mode = False
    config.base_model_name_or_path = None  # as for `check_adapter`: PEFT warns of another path
    config.r, config.lora_alpha, config.use_rslora = rank, alpha, False
    model = get_peft_model(share_weights(base.model), config)
    set_peft_model_state_dict(model, _side_by_side(held, factors))
    return model


def _side_by_side(held: Sequence[Mapping[str, Tensor]], factors: Sequence[float]) -> dict[str, Tensor]:
    """Return the sum's tensors: A's rows one below the other, B's columns side by side, each times its factor."""
    import torch

    found = {}
    for name in held[0]:
        values = [each[name].float() for each in held]
        if "lora_A" in name or "lora_embedding_A" in name:
            found[name] = torch.cat(values, dim=0)
        else:
            found[name] = torch.cat([value * factor for value, factor in zip(values, factors, strict=True)], dim=1)
    return found


def _plain_config(base: LoadedBase, part: Part) -> LoraConfig:
    config = check_adapter(base, part.folder, carried=part.carried)
    beside = ("rank_pattern", "alpha_pattern", "modules_to_save", "target_parameters", "use_dora", "lora_bias")
    for key in beside:
        if getattr(config, key, None):
            raise ModelError(
                f"adapter {part.folder}: expected LoRA with one rank and scale for all layers and nothing beside it, "
                f"to add it to another; found {key}"
            )
    return config


def _scale(config: LoraConfig) -> float:
    return float(config.lora_alpha / (config.r**0.5 if config.use_rslora else config.r))


def _tensors(folder: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    found: dict[str, Tensor] = load_file(folder / WEIGHTS)
    return found


def _refuse_other_layers(parts: Sequence[Part], held: Sequence[Mapping[str, Tensor]]) -> None:
    for part, tensors in zip(parts[1:], held[1:], strict=True):
        other = sorted(tensors.keys() ^ held[0].keys())
        if other:
            raise ModelError(
                f"adapter {part.folder}: expected the layers of {parts[0].folder}, to add them up; found {len(other)} "
                f"tensors that one of them lacks, such as {other[0]}"
            )
