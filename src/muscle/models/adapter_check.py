"""Checks that an adapter's configuration, its tensors and a base fit each other, before anything is loaded.

PEFT loads the tensors that it finds a place for and says nothing of the others, nor of places that got none; the
answers are then the bare base's, or half an adapter's. Some adapters it loads by rewriting the base's own weights,
which muscle shares among models. So nothing is loaded before every tensor of the file has a place on the base and
every place its tensor, and never by such a way.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from muscle.errors import ModelError
from muscle.files import read_json
from muscle.foreign_text import kind_word
from muscle.models.base_files import ADAPTER_NOTE, reason_of
from muscle.models.bases import LoadedBase, share_weights
from muscle.provenance import file_sha256

if TYPE_CHECKING:
    from peft import LoraConfig, PeftModel
    from transformers import PreTrainedModel

CONFIG, WEIGHTS = ADAPTER_FILES = "adapter_config.json", "adapter_model.safetensors"

_STARTS_BESIDE_THE_BASE = (True, False, "gaussian", "eva", "orthogonal", "mica")
"""Values of `init_lora_weights` that leave the base's weights alone. The others (PiSSA, OLoRA, CorDA, LoftQ, LoRA-GA)
change them, at every load again."""
_UNDERSTOOD = {
    *("alpha_pattern", "auto_mapping", "base_model_name_or_path", "exclude_modules", "fan_in_fan_out"),
    *("inference_mode", "init_lora_weights", "layers_pattern", "layers_to_transform", "lora_alpha"),
    *("lora_bias", "lora_dropout", "modules_to_save", "peft_type", "peft_version", "r", "rank_pattern"),
    *("revision", "target_modules", "target_parameters", "task_type", "trainable_token_indices"),
    *("use_dora", "use_rslora"),
    # Of starts that are over: they say how the tensors in the file once began.
    *("corda_config", "eva_config", "loftq_config", "lora_ga_config"),
}
"""Keys of LoRA's configuration whose every value loads as it should, each tried in the tests; the others must have
PEFT's default."""
# Matching in this process could not be stopped: a pattern of nested repeats takes hours on a long name.
_PATTERN_SECONDS = 5.0
_MATCH = """
import json, re, sys
patterns, names = json.load(sys.stdin)
for pattern in patterns:
    for name in names:
        re.match(pattern, name)
"""


def read_config(folder: Path) -> LoraConfig:
    """Return an adapter's configuration as PEFT's `LoraConfig`, set to start beside the base.

    Raises:
        ModelError: there is none, it is damaged, or it is of an adapter that muscle does not load.
    """
    from peft import LoraConfig

    path = folder / CONFIG
    raw = read_json(path, error=ModelError)
    if raw.get("peft_type") != "LORA":
        raise ModelError(f"{path}: expected peft_type LORA, found {raw.get('peft_type')!r}")
    if raw.get("task_type") not in (None, "CAUSAL_LM"):
        raise ModelError(f"{path}: expected task_type CAUSAL_LM, found {raw['task_type']!r}")
    start = raw.get("init_lora_weights", True)
    if not any(start is each or start == each for each in _STARTS_BESIDE_THE_BASE):
        raise ModelError(
            f"{path}: init_lora_weights is {start!r}: such an adapter belongs to a base whose weights were changed "
            "when it began; convert it to plain LoRA (PEFT's save_pretrained with "
            "path_initial_model_for_weight_conversion)"
        )
    defaults = LoraConfig().to_dict()
    for key in sorted(raw.keys() - _UNDERSTOOD):
        if raw[key] not in (None, False, "none", {}, []) and raw[key] != defaults.get(key):
            raise ModelError(
                f"{path}: {key} is {str(raw[key])[:80]!r}, which muscle does not load; expected a plain LoRA adapter"
            )
    try:
        config = LoraConfig.from_pretrained(str(folder))
    except Exception as error:  # PEFT takes the values as they come
        raise ModelError(f"{path}: no configuration of a LoRA adapter ({reason_of(error)})") from error
    config.init_lora_weights = True
    return config


def check_adapter(base: LoadedBase, folder: Path, *, carried: bool = False) -> LoraConfig:
    """Refuse an adapter that is damaged, made for another base, or not whole; its weights are not read.

    Args:
        base: what it shall stand on.
        folder: a PEFT folder.
        carried: it was made for another base, of the same shapes, and is a start on this one.

    Returns:
        Its configuration, see `read_config`.

    Raises:
        ModelError: see `muscle.models.adapters.load_adapter`.
    """
    _find_files(folder)
    made_for = adapter_note(folder).get("base_fingerprint")
    if not carried and made_for not in (None, base.fingerprint):
        raise ModelError(
            f"adapter {folder}: made for another base (fingerprint {made_for}; {base.source} has {base.fingerprint})"
        )
    config = read_config(folder)
    check_patterns(config, base.model, str(folder / CONFIG))
    _compare_shapes(_held_shapes(folder), _wanted_shapes(base, config, folder), base, folder)
    return config


def check_adapter_alone(folder: Path) -> None:
    """Refuse an adapter that is damaged or no plain LoRA adapter, where its base is not there to hold it against.

    Raises:
        ModelError: see `check_adapter`.
    """
    _find_files(folder)
    read_config(folder)
    _held_shapes(folder)


def _find_files(folder: Path) -> None:
    for needed in (CONFIG, WEIGHTS):
        if not (folder / needed).is_file():
            raise ModelError(f"adapter {folder}: expected a PEFT folder, found no {needed} in it")


def _held_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors in an adapter's file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / WEIGHTS, framework="pt") as file:
            return {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118  no mapping
    except (SafetensorError, OSError) as error:
        raise ModelError(f"adapter {folder}: {WEIGHTS} is damaged or cut short ({error})") from error


def _wanted_shapes(base: LoadedBase, config: LoraConfig, folder: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors that PEFT asks for with this configuration on the base; nothing is loaded."""
    from peft import get_peft_model, get_peft_model_state_dict

    tried = copy.deepcopy(config)  # PEFT writes into it
    tried.base_model_name_or_path = None  # the fingerprint says more than a path
    try:
        # On empty tensors: no start is computed, no random number drawn.
        model = get_peft_model(share_weights(base.model), tried, low_cpu_mem_usage=True)
        wanted = get_peft_model_state_dict(model, save_embedding_layers=False)
    except Exception as error:  # whatever PEFT stumbles over in a configuration that is not its own
        raise ModelError(f"adapter {folder}: {CONFIG} does not fit base {base.source} ({reason_of(error)})") from error
    return {key: tuple(value.shape) for key, value in wanted.items()}


def _compare_shapes(
    held: Mapping[str, tuple[int, ...]],
    places: Mapping[str, tuple[int, ...]],
    base: LoadedBase,
    folder: Path,
) -> None:
    modules = {name for name, _ in base.model.named_modules()}
    homeless = sorted(key for key in held.keys() - places.keys() if not _copies_base(base, folder, key))
    for key in homeless:
        module = key.removeprefix("base_model.model.").partition(".lora_")[0]
        if key.startswith("base_model.model.") and ".lora_" in key and module not in modules:
            raise ModelError(f"adapter {folder}: made for another base: {base.source} has no layer {module}")
    if homeless:
        raise ModelError(
            f"adapter {folder}: {len(homeless)} of {len(held)} tensors in {WEIGHTS} have no place on base "
            f"{base.source} by its {CONFIG}, such as {homeless[0]}; expected names such as "
            f"{min(places, default='of a LoRA layer')}"
        )
    lacking = sorted(places.keys() - held.keys())
    if lacking:
        raise ModelError(
            f"adapter {folder}: {WEIGHTS} lacks {len(lacking)} of the {len(places)} tensors that its {CONFIG} asks for "
            f"on base {base.source}, such as {lacking[0]}"
        )
    for key, shape in places.items():
        if held[key] != shape:
            raise ModelError(
                f"adapter {folder}: made for another base or with other settings: {key} is {list(held[key])} in it, "
                f"{list(shape)} on base {base.source} by its {CONFIG}"
            )


def _copies_base(base: LoadedBase, folder: Path, key: str) -> bool:
    """Tell whether a tensor is the base's own, which PEFT saves along with an adapter on the embeddings or the head."""
    import torch
    from safetensors import safe_open

    name = key.removeprefix("base_model.model.").replace(".base_layer.", ".")
    own = base.model.state_dict().get(name)
    if own is None or own.is_meta or ".lora_" in key:
        return False
    with safe_open(folder / WEIGHTS, framework="pt") as file:
        found = file.get_tensor(key)
    return found.shape == own.shape and bool(torch.equal(found.to(own), own))


def check_loaded(model: PeftModel, folder: Path) -> None:
    """See that a model holds an adapter's tensors, value by value.

    Raises:
        ModelError: one is another than in the file, or holds what is no finite number.
    """
    import torch
    from peft import get_peft_model_state_dict
    from safetensors import safe_open

    loaded = get_peft_model_state_dict(model, save_embedding_layers=False)
    with safe_open(folder / WEIGHTS, framework="pt") as file:
        for key, value in loaded.items():
            expected = file.get_tensor(key).to(value)
            if not bool(torch.isfinite(expected).all()):
                raise ModelError(f"adapter {folder}: {key} holds values that are no finite numbers")
            if not torch.equal(expected, value):
                raise ModelError(f"adapter {folder}: PEFT loads {key} as something else than {WEIGHTS} holds")


def check_patterns(config: LoraConfig, model: PreTrainedModel, where: str) -> None:
    """Refuse regular expressions that would match a model's layer names for hours: an adapter's are its maker's.

    They are tried in a process of their own, as PEFT puts them together.

    Args:
        config: PEFT's `LoraConfig`.
        model: whose layers.
        where: for the message.

    Raises:
        ModelError: one is no text or no regular expression, or they take longer than five seconds.
    """
    patterns = {}
    for written, put_together in _matched_texts(config):
        if not isinstance(written, str):
            raise ModelError(
                f"{where}: expected texts that name layers, found {kind_word(written)} {str(written)[:80]}"
            )
        if re.fullmatch(r"[\w.-]*", written) is None:
            patterns[written] = put_together
    if not patterns:
        return
    shown = "; ".join(str(written)[:80] for written in list(patterns)[:3])
    names = [name for name, _ in model.named_modules()]
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", _MATCH],
            input=json.dumps([list(patterns.values()), names]),
            capture_output=True,
            text=True,
            timeout=_PATTERN_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise ModelError(
            f"{where}: matching {shown!r} with the names of the layers takes longer than {_PATTERN_SECONDS:.0f} "
            "seconds; expected a list of names, or a simpler pattern"
        ) from None
    if done.returncode:
        reason = done.stderr.strip().rpartition("\n")[2]
        raise ModelError(f"{where}: expected a regular expression, found {shown!r} ({reason})")


def _matched_texts(config: LoraConfig) -> Iterator[tuple[object, str]]:
    """Yield every text of a configuration that PEFT matches as a regular expression, and what it makes of it."""
    for value in (config.target_modules, config.exclude_modules):
        if isinstance(value, str):
            yield value, rf"(?:{value})\Z"
    for value in _names_in(config.layers_pattern):
        yield value, rf"(?:^|.*?\.){value}\.(?P<idx>\d+)\."
    for value in _names_in(config.modules_to_save):
        yield value, rf"(^|.*\.){value}($|\..*)"
    for value in (*_names_in(config.rank_pattern), *_names_in(config.alpha_pattern)):
        yield value, rf"(.*\.)?({value})$"


def _names_in(value: object) -> Iterable[object]:
    """Return what a list or an object names; anything else but null as it is."""
    if value is None:
        return ()
    return value if isinstance(value, list | tuple | set | dict) else (value,)


def adapter_note(folder: Path) -> dict[str, object]:
    """Return what `muscle.json` beside an adapter says; empty for an adapter that muscle didn't write.

    Raises:
        ModelError: the file is no JSON object.
    """
    path = folder / ADAPTER_NOTE
    return read_json(path, error=ModelError) if path.is_file() else {}


def adapter_content(folder: Path) -> str:
    """Return 64 hex digits that stand for an adapter: its weights and its configuration."""
    return hashlib.sha256("".join(file_sha256(folder / name) for name in ADAPTER_FILES).encode()).hexdigest()
