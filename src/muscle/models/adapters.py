"""LoRA adapters in PEFT's format: made, loaded, saved, and whether they fit a base.

An adapter is a plain PEFT folder with safetensors. Two facts are kept with every one that muscle writes
(`muscle.json`): the fingerprint of the base it was trained on, and how it was made. An adapter on another base of the
same shape would load without complaint and answer nonsense, so the fingerprint is compared before the shapes are.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from muscle.config.settings import BaseConfig, LoraSettings
from muscle.errors import ConfigError, ModelError, OutputError
from muscle.files import read_json, write_json
from muscle.foreign_text import listing
from muscle.models.adapter_check import CONFIG, WEIGHTS, check_adapter, check_loaded, check_patterns
from muscle.models.base_files import ADAPTER_NOTE, reason_of
from muscle.models.bases import LoadedBase, share_weights
from muscle.provenance import versions

if TYPE_CHECKING:
    import torch
    from peft import PeftModel

MODEL_CARD = "README.md"
"""What the hub shows of a folder."""


def check_place(out: Path) -> None:
    """See that an adapter takes the place of nothing but another one: what stands there is gone once it is written.

    Raises:
        OutputError: a folder of something else is there, or no name is given.
    """
    if out.name in ("", ".."):
        raise OutputError(f"{out}: expected a name for the adapter's folder, found none; give another --out")
    found = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
    if found and not {CONFIG, WEIGHTS, "training.json"} & set(found):
        raise OutputError(
            f"{out}: expected a new folder, or an adapter's, which is replaced; found {listing(found, 3)} in it; give "
            "another --out"
        )


def split_model(text: str) -> tuple[BaseConfig, Path | None]:
    """Split `BASE+ADAPTER`; a bare `BASE` has no adapter.

    >>> split_model("org/model")
    (BaseConfig(base='org/model', revision=None, trust_remote_code=False, adapters={}, record=[]), None)

    Raises:
        ConfigError: one of the two parts is empty.
    """
    # A folder's name may hold a plus of its own.
    if "+" not in text or Path(text).exists():
        return BaseConfig(base=text), None
    base, _, adapter = text.rpartition("+")
    if not base or not adapter:
        raise ConfigError(f"{text}: expected BASE+ADAPTER")
    return BaseConfig(base=base), Path(adapter)


def new_adapter(base: LoadedBase, lora: LoraSettings) -> PeftModel:
    """Return a PEFT model with a fresh trainable LoRA adapter on `base`.

    The base's modules are not touched: the adapter is put on a copy that shares the base's weights.

    Raises:
        ModelError: the base has no layer of the names in `target_modules`, or they are a pattern that takes too long
            to match.
    """
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.target_modules,
    )
    check_patterns(config, base.model, "lora.target_modules")
    try:
        return get_peft_model(share_weights(base.model), config)
    except ValueError as error:
        raise ModelError(f"base {base.source}: {str(error).splitlines()[0]} (lora.target_modules)") from error


def load_adapter(base: LoadedBase, folder: Path, *, trainable: bool = False) -> PeftModel:
    """Return a PEFT model: the adapter in `folder` on a copy of `base` that shares its weights.

    Args:
        base: the base that the adapter was trained on.
        folder: a PEFT folder.
        trainable: the adapter's weights get gradients, in float32; else they take the base's dtype.

    Raises:
        ModelError: no adapter there, it is damaged or none that muscle loads, it was trained on another base, or what
            its file holds is not what its configuration asks for on this base.
    """
    from peft import PeftModel

    config = check_adapter(base, folder)
    try:
        model = PeftModel.from_pretrained(
            share_weights(base.model),
            folder,
            config=config,
            is_trainable=trainable,
            autocast_adapter_dtype=trainable,
        )
    except Exception as error:  # PEFT raises many kinds
        raise ModelError(f"adapter {folder}: does not load on base {base.source} ({reason_of(error)})") from error
    # PEFT says nothing of tensors that it leaves out.
    check_loaded(model, folder)
    if not trainable:
        model.eval()
    return model


def start_adapter(base: LoadedBase, folder: Path, *, rank: int | None = None, carried: bool = False) -> PeftModel:
    """Return a PEFT model with the adapter in `folder` as a start to train from.

    With a larger rank r' > r the added columns of B are zero and the added rows of A a fresh start, and alpha' / r' =
    alpha / r: the product s B A, and so the model's every output, is the adapter's own.

    Args:
        base: what it stands on.
        folder: a PEFT folder.
        rank: r'; its own without.
        carried: it was made for another base of the same shapes.

    Raises:
        ModelError: as for `load_adapter`; a rank below the adapter's, or one to grow with ranks of single layers.
    """
    from peft import get_peft_model, set_peft_model_state_dict
    from safetensors.torch import load_file

    config = check_adapter(base, folder, carried=carried)
    config.inference_mode = False
    config.base_model_name_or_path = None  # as for `check_adapter`: PEFT warns of another path
    grown = rank is not None and rank != config.r
    if rank is not None and grown:
        if rank < config.r:
            raise ModelError(f"adapter {folder}: alignment.lora.r: expected its rank {config.r} or more, found {rank}")
        if config.rank_pattern or config.alpha_pattern or config.modules_to_save or config.target_parameters:
            raise ModelError(
                f"adapter {folder}: alignment.lora.r: expected an adapter with one rank and scale for all layers, and "
                "nothing beside them"
            )
        config.lora_alpha *= (rank / config.r) ** (0.5 if config.use_rslora else 1.0)
        config.r = rank
    model = get_peft_model(share_weights(base.model), config)
    held = load_file(folder / WEIGHTS)
    set_peft_model_state_dict(model, _with_room(held, model) if grown else held)
    if not grown:
        check_loaded(model, folder)
    return model


def _with_room(held: Mapping[str, torch.Tensor], model: PeftModel) -> dict[str, torch.Tensor]:
    """Return an adapter's tensors with the added rows of A as the model began them, and those of B zero."""
    from peft import get_peft_model_state_dict

    fresh = get_peft_model_state_dict(model, save_embedding_layers=False)
    found = {}
    for name, value in held.items():
        whole = fresh[name].clone().to(value)
        if "lora_A" in name or "lora_embedding_A" in name:
            whole[: len(value)] = value
        elif "lora_B" in name or "lora_embedding_B" in name:
            whole.zero_()[:, : value.shape[1]] = value
        else:
            whole.copy_(value)
        found[name] = whole
    return found


def save_adapter(
    model: PeftModel,
    folder: Path,
    *,
    base: LoadedBase,
    note: Mapping[str, object],
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
    # The base's embeddings are the base's, also where the adapter is on them.
    model.save_pretrained(folder, safe_serialization=True, state_dict=weights, save_embedding_layers=False)
    # PEFT names the folder that the base was read from, on this machine alone; and it writes a set of names in another
    # order each time: the same training ends in the same files.
    config = read_json(folder / CONFIG)
    names = config["target_modules"]
    config |= {"base_model_name_or_path": base.address.name, "revision": base.address.revision}
    write_json(folder / CONFIG, config | ({"target_modules": sorted(names)} if isinstance(names, list) else {}))
    # safetensors writes files that nobody else on the machine, such as the one that serves, may read.
    (folder / WEIGHTS).chmod((folder / CONFIG).stat().st_mode)
    # PEFT's model card says nothing of how the adapter was made; `muscle.shipping.card` does.
    (folder / MODEL_CARD).unlink(missing_ok=True)
    facts = {"base_on_hub": base.address.on_hub, "versions": versions()}
    made = {"base": base.source, "base_fingerprint": base.fingerprint, **facts, **note}
    write_json(folder / ADAPTER_NOTE, made)
