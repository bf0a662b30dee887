"""LoRA adapters in PEFT's format: made, loaded, saved, and whether they fit a base.

An adapter is a plain PEFT folder with safetensors. Two facts are kept with every one that muscle writes (`muscle.json`): the fingerprint of the
base it was trained on, and how it was made. An adapter on another base of the same shape would load without complaint and answer
nonsense, so the fingerprint is compared before the shapes are.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muscle.config import LoraSettings
from muscle.errors import ModelError
from muscle.files import file_sha256, write_json
from muscle.models import ADAPTER_NOTE, LoadedBase, reason_of

if TYPE_CHECKING:
    import torch


def new_adapter(base: LoadedBase, lora: LoraSettings) -> Any:
    """Return a PEFT model with a fresh trainable LoRA adapter on `base`.

    The base's modules are not touched: the adapter is put on a copy that shares the base's weights.

    Raises:
        ModelError: the base has no layer of the names in `target_modules`.
    """
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.target_modules,
    )
    try:
        return get_peft_model(share_weights(base.model), config)
    except ValueError as error:
        raise ModelError(f"base {base.source}: {str(error).splitlines()[0]} (lora.target_modules)") from error


def load_adapter(base: LoadedBase, folder: Path, *, trainable: bool = False) -> Any:
    """Return a PEFT model: the adapter in `folder` on a copy of `base` that shares its weights.

    Args:
        base: the base that the adapter was trained on.
        folder: a PEFT folder.
        trainable: the adapter's weights get gradients, in float32; else they take the base's dtype.

    Raises:
        ModelError: no adapter there, it was trained on another base, or its names or shapes don't fit.
    """
    from peft import PeftModel

    check_adapter(base, folder)
    try:
        model = PeftModel.from_pretrained(
            share_weights(base.model), folder, is_trainable=trainable, autocast_adapter_dtype=trainable
        )
    except (RuntimeError, ValueError, KeyError, OSError) as error:
        raise ModelError(
            f"adapter {folder}: does not load on base {base.source} ({reason_of(error)})"
        ) from error
    if not trainable:
        model.eval()
    return model


def check_adapter(base: LoadedBase, folder: Path) -> None:
    """Refuse an adapter that is damaged or was made for another base.

    Raises:
        ModelError: see `load_adapter`.
    """
    from safetensors import SafetensorError, safe_open

    weights = folder / "adapter_model.safetensors"
    for needed in (folder / "adapter_config.json", weights):
        if not needed.is_file():
            raise ModelError(f"adapter {folder}: expected a PEFT folder, found no {needed.name} in it")
    made_for = adapter_note(folder).get("base_fingerprint")
    if made_for not in (None, base.fingerprint):
        raise ModelError(
            f"adapter {folder}: made for another base (fingerprint {made_for}; {base.source} has {base.fingerprint})"
        )
    shapes = {
        name: tuple(getattr(value, "quant_state", value).shape)  # 4-bit weights are packed
        for name, value in base.model.named_parameters()
    }
    try:
        with safe_open(weights, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118  safe_open is no mapping
                _check_shape(key, tuple(file.get_slice(key).get_shape()), shapes, folder, base.source)
    except SafetensorError as error:
        raise ModelError(f"adapter {folder}: {weights.name} is damaged or cut short ({error})") from error


def _check_shape(key: str, shape: tuple[int, ...], shapes: dict[str, Any], folder: Path, source: str) -> None:
    module, _, kind = key.removeprefix("base_model.model.").partition(".lora_")
    if kind not in ("A.weight", "B.weight"):
        return  # other kinds of PEFT parameters are checked by PEFT when it loads them
    weight = shapes.get(f"{module}.weight")
    if weight is None:
        raise ModelError(f"adapter {folder}: made for another base: {source} has no layer {module}")
    found, expected = (shape[1], weight[1]) if kind.startswith("A") else (shape[0], weight[0])
    if found != expected:
        raise ModelError(
            f"adapter {folder}: made for another base: {module} is {expected} wide in {source}, {found} in the adapter"
        )


def adapter_note(folder: Path) -> dict[str, Any]:
    """Return what `muscle.json` beside an adapter says; empty for an adapter that muscle didn't write.

    Raises:
        ModelError: the file is no JSON object.
    """
    path = folder / ADAPTER_NOTE
    if not path.is_file():
        return {}
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(note, dict):
        raise ModelError(f"{path}: expected a JSON object")
    return note


def adapter_content(folder: Path) -> str:
    """Return the SHA-256 of an adapter's weights."""
    return file_sha256(folder / "adapter_model.safetensors")


def save_adapter(
    model: Any,
    folder: Path,
    *,
    base: LoadedBase,
    note: dict[str, Any],
    weights: dict[str, torch.Tensor] | None = None,
) -> None:
    """Write the active adapter and its note into an existing folder, as PEFT reads it.

    Args:
        model: a PEFT model.
        folder: an existing folder.
        base: what the adapter stands on.
        note: how it was made.
        weights: the adapter's parameters by the model's names, where the model itself holds only shards of them.
    """
    model.save_pretrained(folder, safe_serialization=True, state_dict=weights)
    # PEFT's model card names the local path of the base; it says nothing that the note doesn't say better.
    (folder / "README.md").unlink(missing_ok=True)
    write_json(folder / ADAPTER_NOTE, {"base": base.source, "base_fingerprint": base.fingerprint, **note})


def share_weights(model: Any) -> Any:
    """Return a copy of a model's modules whose parameters and buffers are the very same tensors.

    Adapters on two copies don't know of each other, and the base's weights are in memory once: the new task model and the
    student share one base this way.
    """
    memo: dict[int, Any] = {id(tensor): tensor for tensor in model.parameters()}
    memo |= {id(tensor): tensor for tensor in model.buffers()}
    # Of 4-bit layers: the scales of their weights.
    states = (getattr(module, "quant_state", None) for module in model.modules())
    memo |= {id(state): state for state in states if state is not None}
    return copy.deepcopy(model, memo)
