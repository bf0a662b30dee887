"""The lines that serve, load, merge and publish one adapter, exact for it: base, revision, rank, name."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from muscle.config.settings import BaseConfig
from muscle.errors import ModelError
from muscle.files import read_json
from muscle.foreign_text import visible
from muscle.models.adapter_check import CONFIG, adapter_note
from muscle.models.base_files import Address, address_of, cached_address, is_hub_address

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM takes for `max_lora_rank`."""

UNSERVED = (
    *("alpha_pattern", "bias", "lora_bias", "modules_to_save", "rank_pattern", "target_parameters"),
    *("trainable_token_indices", "use_dora"),
)
"""Keys of an adapter's configuration that vLLM refuses or passes over."""

_STAGES = {"align": "compat", "finetune": "task"}


@dataclass(frozen=True)
class Lines:
    """One thing to do with an adapter.

    Attributes:
        title: what it does.
        language: of the lines.
        text: the lines, to be copied.
        remark: what to know; empty for nothing.
    """

    title: str
    language: Literal["bash", "python"]
    text: str
    remark: str = ""


@dataclass(frozen=True)
class Shipped:
    """What the lines of an adapter need.

    Attributes:
        name: what it is served as: letters, digits, `.`, `_`, `-`.
        base: what it stands on.
        rank: the largest rank of its layers.
        unserved: the key of its configuration that vLLM does not serve; None where it serves all.
        rslora: its scale is alpha / sqrt(r), which llama.cpp does not read.
    """

    name: str
    base: Address
    rank: int
    unserved: str | None = None
    rslora: bool = False


def read_shipped(folder: Path, *, base: str | None = None) -> Shipped:
    """Read what the lines of an adapter need.

    The base is that of `adapter_config.json`. Where that one names a folder of a machine's cache, as adapters of older
    versions do, it is what `muscle.json` says, or the hub name in the folder's name.

    Args:
        folder: a PEFT folder.
        base: another name of the base.

    Raises:
        ModelError: no LoRA adapter is there.
    """
    config, note = read_json(folder / CONFIG, error=ModelError), adapter_note(folder)
    rank, named, revision = config.get("r"), config.get("base_model_name_or_path"), config.get("revision")
    if config.get("peft_type") != "LORA" or not isinstance(rank, int):
        raise ModelError(f"{folder / CONFIG}: no configuration of a LoRA adapter")
    patterns = config.get("rank_pattern")
    ranks = [each for each in patterns.values() if isinstance(each, int)] if isinstance(patterns, dict) else []
    plain: tuple[object, ...] = (None, False, "none", {}, [])
    return Shipped(
        name=_slug(str(note.get("task", "")), _STAGES.get(str(note.get("stage")), ""))
        or _slug(folder.resolve().name)
        or "adapter",
        base=_address(named, revision if isinstance(revision, str) else None, note)
        if base is None
        else address_of(BaseConfig(base=base)),
        rank=max([rank, *ranks]),
        unserved=next((key for key in UNSERVED if config.get(key) not in plain), None),
        rslora=config.get("use_rslora") is True,
    )


def _address(named: object, revision: str | None, note: dict[str, object]) -> Address:
    name, told, on_hub = named if isinstance(named, str) else "", note.get("base"), note.get("base_on_hub")
    cached = cached_address(name)
    if not is_hub_address(name) and not Path(name).exists() and cached is None and isinstance(told, str):
        name = told
    if not name:
        raise ModelError("the adapter does not name its base; expected --base NAME")
    return cached or Address(name, revision, on_hub=is_hub_address(name) if on_hub is None else on_hub is True)


def _slug(*words: str) -> str:
    return "-".join(filter(None, (re.sub(r"[^A-Za-z0-9._]+", "-", word).strip("-._") for word in words)))[:80]


def lines_of(shipped: Shipped, path: str | None) -> Iterator[Lines]:
    """Write the lines for an adapter's folder.

    Args:
        shipped: the adapter.
        path: its folder; None for the folder that the lines are typed in, as in a model card, which may lie anywhere.
    """
    base, name = shipped.base, shipped.name
    folder = '"$PWD"' if path is None else shlex.quote(path)
    here, beside = (".", "../") if path is None else (folder, "")
    whole = f"{beside}{name}-merged"
    quoted, gguf = shlex.quote(base.name), base.name.endswith(".gguf")
    served = f"vllm serve {quoted}{_option('--revision', base.revision)} --enable-lora \\\n  --lora-modules {name}="
    yield Lines(
        "Serve it with vLLM",
        "bash",
        f"{served}{folder} --max-lora-rank {_served_rank(shipped.rank)}",
        _vllm_remark(shipped, gguf=gguf),
    )
    yield Lines("Load it in Python", "python", _python(base, path or "."))
    yield Lines("Merge it into the base", "bash", f"muscle export {here} --out {whole} --merged")
    yield Lines("Serve it merged", "bash", f"vllm serve {whole}")
    yield Lines("Put it on the hub", "bash", f"hf auth login\nhf upload YOUR_NAME/{name} {here}")
    convert = f"python llama.cpp/convert_hf_to_gguf.py {whole} --outfile {whole}.gguf"
    if gguf or shipped.rslora or shipped.unserved is not None:
        yield Lines("Make a GGUF of it (llama.cpp)", "bash", convert, "Of the merged model alone.")
        return
    source = f"--base-model-id {quoted}" if base.on_hub else f"--base {quoted}"
    alone = f"python llama.cpp/convert_lora_to_gguf.py {here} {source} --outfile {beside}{name}.gguf"
    remark = "The first is the adapter alone, beside a GGUF of the base; the second the merged model."
    yield Lines("Make a GGUF of it (llama.cpp)", "bash", f"{alone}\n{convert}", remark)


def _served_rank(rank: int) -> int:
    return next((size for size in RANKS if size >= rank), rank)


def _vllm_remark(shipped: Shipped, *, gguf: bool) -> str:
    if shipped.unserved is not None:
        return f"vLLM does not serve adapters with {shipped.unserved}: merge this one."
    if shipped.rank > RANKS[-1]:
        return f"vLLM serves ranks up to {RANKS[-1]}, this one has {shipped.rank}: merge it."
    return "vLLM reads no adapters on a GGUF base here: merge it." if gguf else _base_remark(shipped.base)


def _base_remark(base: Address) -> str:
    return "" if base.on_hub else "The base is a file or folder: the line runs where that path leads to it."


def _option(name: str, value: str | None) -> str:
    return f" {name} {shlex.quote(value)}" if value else ""


def _python(base: Address, folder: str) -> str:
    revision = f", revision={visible(base.revision)!r}" if base.revision else ""
    return (
        "from peft import AutoPeftModelForCausalLM\nfrom transformers import AutoTokenizer\n\n"
        f'model = AutoPeftModelForCausalLM.from_pretrained({folder!r}, dtype="auto")\n'
        f"tokenizer = AutoTokenizer.from_pretrained({base.name!r}{revision})"
    )
