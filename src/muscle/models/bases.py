"""Finds and loads bases, and tells one from another by a fingerprint.

A base is a hub name, a local folder or a GGUF file. Its fingerprint says which one it is: everything that is made of
it keeps it.
"""

from __future__ import annotations

import copy
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from muscle.config.settings import AttentionName, BaseConfig, TrainingSettings
from muscle.errors import ConfigError, ModelError, ResourceError
from muscle.limits import is_out_of_memory
from muscle.models.devices import choose_device, choose_dtype, warn_if_slow
from muscle.models.quantization import in_4_bits, prepare_4_bits
from muscle.provenance import fingerprint

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

ADAPTER_NOTE = "muscle.json"
"""What an adapter's folder holds of muscle's own; no part of a base's fingerprint."""
# A whole pass over the weights of a large model would take long at every start.
_SAMPLED_ABOVE_BYTES = 64 * 2**20
_SAMPLE_BYTES = 2**16
_NUM_SAMPLES = 64
_CACHED = re.compile(r"(?:^|[/\\])models--(?P<name>[^/\\]+)[/\\]snapshots[/\\](?P<commit>[0-9a-f]{40})[/\\]?$")
_SMALLER = "set training.quantization: 4bit, or precision: bf16 where muscle doctor shows it; or take a larger machine"


@dataclass(frozen=True)
class Address:
    """By what other programs, on other machines, find a base.

    Attributes:
        name: a hub name, or a path.
        revision: commit, branch or tag on the hub; None without one.
        on_hub: whether `name` is a hub name.
    """

    name: str
    revision: str | None = None
    on_hub: bool = False


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


def resolve_base(base: BaseConfig) -> Path:
    """Return the local folder or GGUF file of a base; a hub name is downloaded or found in the hub's cache.

    Raises:
        ModelError: there is no such folder, file or hub repository.
    """
    path = Path(base.base).expanduser()
    if path.suffix == ".gguf":
        if not path.is_file():
            raise ModelError(f"base {base.base}: there is no such GGUF file")
        return path
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelError(f"base {base.base}: expected a model folder with config.json, found none in it")
        return path
    if not is_hub_name(base):
        raise ModelError(f"base {base.base}: there is no such folder")
    return _download(base)


def is_hub_name(base: BaseConfig) -> bool:
    """Tell whether a base that is no file or folder here can be one on the hub.

    A hub name is `name` or `org/name`; anything else can only have been meant as a path.
    """
    return is_hub_address(base.base)


def is_hub_address(name: str) -> bool:
    """Tell it of a bare name."""
    path = Path(name).expanduser()
    looks_local = path.suffix == ".gguf" or path.is_absolute() or name.startswith((".", "~"))
    return bool(name) and not (path.exists() or looks_local or name.count("/") > 1)


def address_of(base: BaseConfig, *, read: Path | None = None) -> Address:
    """Return by what an adapter names its base, so that whoever gets the adapter can load it.

    A hub name and its revision stay as the user wrote them; without one it is the commit that was read, as the name
    alone leads to another base tomorrow. A folder of the hub's cache is its hub name and commit. A path stays as
    written where it leads to the base from the working directory, else it is told from there: an absolute path stands
    there only where the user wrote one.

    Args:
        base: as the user named it.
        read: the folder or file that was found for it.
    """
    if is_hub_name(base):
        found = None if read is None else cached_address(str(read))
        commit = None if found is None else found.revision
        return Address(base.base, base.revision or commit, on_hub=True)
    written, path = Path(base.name).expanduser(), Path(base.base).expanduser()
    cached = cached_address(str(path))
    if cached is not None:
        return cached
    if written.is_absolute() or (written.exists() and written.samefile(path)):
        return Address(base.name if written == Path(base.name) else str(written))
    return Address(os.path.relpath(path))


def cached_address(path: str) -> Address | None:
    """Return the hub name and commit of a folder of the hub's cache; None for another one.

    >>> cached_address("/cache/models--org--name/snapshots/" + "0a" * 20).name
    'org/name'
    """
    found = _CACHED.search(path)
    return found and Address(found["name"].replace("--", "/", 1), found["commit"], on_hub=True)


def _download(base: BaseConfig) -> Path:
    from huggingface_hub import snapshot_download

    # No pickle files, which run code when they are read, and no second copy of the weights in another format.
    patterns = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
    if base.trust_remote_code:
        patterns.append("*.py")
    try:
        return Path(snapshot_download(base.base, revision=base.revision, allow_patterns=patterns))
    except Exception as error:
        raise ModelError(
            f"base {base.base}: no such local folder, and not to be had from the hub ({reason_of(error)})"
        ) from error


def base_fingerprint(path: Path) -> str:
    """Return 16 hex digits that stand for a base's files: configuration, tokenizer and weights.

    Large weight files are sampled (size, 64 blocks spread over the file), which tells any two trained models apart in
    well under a second; it is no protection against somebody who forges a file.

    Raises:
        ModelError: the folder holds no weights in safetensors.
    """
    if path.is_file():
        return fingerprint([_file_mark(path)])
    files = sorted(
        file
        for file in path.iterdir()
        if file.suffix in {".json", ".safetensors", ".model", ".gguf"} and file.name != ADAPTER_NOTE
    )
    if not any(file.suffix in {".safetensors", ".gguf"} for file in files):
        raise ModelError(f"base {path}: expected weights in *.safetensors, found none (pickle files are not read)")
    return fingerprint([[file.name, _file_mark(file)] for file in files])


def chat_template_fingerprint(path: Path) -> str | None:
    """Return 16 hex digits for the chat template that a base has in a file of its own; None where it has none.

    One that stands in `tokenizer_config.json` is in the base's fingerprint.
    """
    template = path / "chat_template.jinja"
    return fingerprint([_file_mark(template)]) if template.is_file() else None


def _file_mark(path: Path) -> list[int | str]:
    size = path.stat().st_size
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        if size <= _SAMPLED_ABOVE_BYTES:
            digest.update(handle.read())
        else:
            for index in range(_NUM_SAMPLES):
                handle.seek((size - _SAMPLE_BYTES) * index // (_NUM_SAMPLES - 1))
                digest.update(handle.read(_SAMPLE_BYTES))
    return [size, digest.hexdigest()]


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


def reason_of(error: Exception) -> str:
    """Return the first line of an error of any kind: transformers and the hub raise what their parts raise."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _gguf_arguments(path: Path) -> dict[str, object]:
    """Return how transformers reads a GGUF file into plain dense weights, which LoRA layers need."""
    from transformers import GgufConfig

    return {"gguf_file": path.name, "quantization_config": GgufConfig(dequantize=True)}


def same_vocabulary(old: LoadedBase, new: LoadedBase) -> bool:
    """Tell whether two bases give distributions over one vocabulary: the same tokens, and heads as wide."""
    widths = {side.model.get_output_embeddings().weight.shape[0] for side in (old, new)}
    return len(widths) == 1 and old.tokenizer.get_vocab() == new.tokenizer.get_vocab()


def check_same_tokens(old: PreTrainedTokenizerBase, new: PreTrainedTokenizerBase, bases: str) -> None:
    """Refuse two tokenizers whose vocabularies differ.

    Raises:
        ModelError: names both bases and how much differs.
    """
    ours, theirs = old.get_vocab(), new.get_vocab()
    if ours != theirs:
        differing = len(set(ours.items()) ^ set(theirs.items()))
        raise ModelError(
            f"bases {bases} have different vocabularies ({len(ours)} and {len(theirs)} tokens, {differing} entries "
            "differ); expected the same here, `muscle align` takes two"
        )


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
