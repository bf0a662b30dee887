"""Bases in memory: loaded whole, or without their weights, or their tokenizer alone."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from muscle.config.settings import AttentionName, BaseConfig, TrainingSettings
from muscle.errors import ConfigError, ModelError, ResourceError
from muscle.limits import is_out_of_memory
from muscle.models.base_files import Address, address_of, base_fingerprint, reason_of, resolve_base
from muscle.models.devices import choose_device, choose_dtype, warn_if_slow
from muscle.models.quantization import in_4_bits, prepare_4_bits

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_SMALLER = "set training.quantization: 4bit, or precision: bf16 where muscle doctor shows it; or take a larger machine"


@dataclass(frozen=True)
class LoadedBase:
    """A base in memory.

    Attributes:
        model: the causal language model, frozen, in evaluation mode.
        tokenizer: its tokenizer, with a padding token.
        fingerprint: of the files it came from.
        source: what the user named.
        address: by which an adapter on it names it, see `address_of`.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    fingerprint: str
    source: str
    address: Address

    @property
    def is_whole(self) -> bool:
        """Whether this process holds every weight: a training that shards the base leaves none or a part of them."""
        return all(parameter.numel() > 0 for parameter in self.model.parameters())


def load_base(
    base: BaseConfig,
    *,
    precision: Literal["auto", "bf16", "float32"] = "auto",
    device: str | None = None,
    quantization: Literal["4bit"] | None = None,
    attention: AttentionName = "auto",
) -> LoadedBase:
    """Load a base and its tokenizer.

    Args:
        base: what to load.
        precision: of the weights.
        device: a torch device; the best one there is by default.
        quantization: `4bit` keeps the linear layers in bitsandbytes' NF4 (QLoRA).
        attention: what computes it; `auto` is transformers' choice.

    Returns:
        The base, frozen.

    Raises:
        ModelError: it is not there, holds no safetensors, or cannot be read.
        ResourceError: it does not fit into memory.
        ConfigError: quantization without bitsandbytes, or where it doesn't compute right.
    """
    from transformers import AutoModelForCausalLM

    place: dict[str, object] = {} if quantization is None else in_4_bits(precision)
    if attention != "auto":
        place["attn_implementation"] = attention
    path = resolve_base(base)
    mark = base_fingerprint(path)
    tokenizer = load_tokenizer(base)
    source = _gguf_arguments(path) if path.is_file() else {"use_safetensors": True}
    try:
        with quiet_libraries():
            model = AutoModelForCausalLM.from_pretrained(
                path.parent if path.is_file() else path,
                dtype=choose_dtype(precision),
                trust_remote_code=base.trust_remote_code,
                **source,
                **place,
            )
        if quantization is None:  # 4-bit layers were put in their place while they were read
            model = model.to(device or choose_device())
    except Exception as error:
        if is_out_of_memory(error):
            raise ResourceError(
                f"base {base.base}: does not fit into memory ({reason_of(error)}); {_SMALLER}"
            ) from error
        raise ModelError(f"base {base.base}: cannot be loaded ({reason_of(error)})") from error
    # A dequantised GGUF is a plain model; the note that it once was quantised would keep it from being saved.
    if path.is_file() and hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    # Only adapters are trained; their copies of this model share its weights.
    model.requires_grad_(False)
    model.eval()
    if quantization is not None:
        prepare_4_bits(model)
    return LoadedBase(model, tokenizer, mark, base.name, address_of(base, read=path))


def share_weights(model: PreTrainedModel) -> PreTrainedModel:
    """Return a copy of a model's modules whose parameters and buffers are the very same tensors.

    Adapters on two copies don't know of each other, and the base's weights are in memory once: the new task model and
    the student share one base this way.
    """
    memo: dict[int, object] = {id(tensor): tensor for tensor in model.parameters()}
    memo |= {id(tensor): tensor for tensor in model.buffers()}
    # Of 4-bit layers: the scales of their weights.
    states = (getattr(module, "quant_state", None) for module in model.modules())
    memo |= {id(state): state for state in states if state is not None}
    return copy.deepcopy(model, memo)


def without_adapter(model: PreTrainedModel | PeftModel) -> PreTrainedModel:
    """Return the model that an adapter stands on; a bare model as it is."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def load_for_training(base: BaseConfig, training: TrainingSettings) -> LoadedBase:
    """Load a base as a training's settings want it; see `load_base`.

    Raises:
        ConfigError: also an attention that can't train on this device.
    """
    if training.attention == "flex_attention" and choose_device() == "cpu":
        raise ConfigError(
            "training.attention: flex_attention has no backward pass on a CPU; expected auto, sdpa or eager"
        )
    warn_if_slow(training.precision)
    return load_base(
        base,
        precision=training.precision,
        quantization=training.quantization,
        attention=training.attention,
    )


def load_outline(base: BaseConfig) -> LoadedBase:
    """Load a base without its weights: its tensors have shapes alone, which is all that `check_adapter` needs.

    Raises:
        ModelError: it is not there, holds no safetensors, is a GGUF file, or cannot be read.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    path = resolve_base(base)
    mark = base_fingerprint(path)
    tokenizer = load_tokenizer(base)
    trust = base.trust_remote_code
    try:
        with quiet_libraries(), torch.device("meta"):
            config = AutoConfig.from_pretrained(path, trust_remote_code=trust)
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=trust)
    except Exception as error:
        raise ModelError(f"base {base.base}: cannot be loaded ({reason_of(error)})") from error
    return LoadedBase(model, tokenizer, mark, base.name, address_of(base, read=path))


def load_tokenizer(base: BaseConfig) -> PreTrainedTokenizerBase:
    """Load a base's tokenizer alone, with a padding token.

    Raises:
        ModelError: the base is not there, or its tokenizer cannot be read.
    """
    from transformers import AutoTokenizer

    path = resolve_base(base)
    gguf = {"gguf_file": path.name} if path.is_file() else {}
    folder = path.parent if path.is_file() else path
    try:
        with quiet_libraries():
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=base.trust_remote_code, **gguf)
    except Exception as error:
        raise ModelError(f"base {base.base}: its tokenizer cannot be loaded ({reason_of(error)})") from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _gguf_arguments(path: Path) -> dict[str, object]:
    """Return how transformers reads a GGUF file into plain dense weights, which LoRA layers need."""
    from transformers import GgufConfig

    return {"gguf_file": path.name, "quantization_config": GgufConfig(dequantize=True)}


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep transformers' loading bars and notices off the terminal while muscle shows its own progress."""
    from transformers.utils import logging as transformers_logging

    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


@contextmanager
def off_the_accelerator(base: LoadedBase, *, unless: bool) -> Iterator[None]:
    """Keep a base that isn't needed off the accelerator while the block runs.

    Args:
        base: which.
        unless: leave it where it is.
    """
    device = base.model.device
    if unless or device.type == "cpu":
        yield
        return
    base.model.to("cpu")
    try:
        yield
    finally:
        base.model.to(device)
