"""`muscle export`: an adapter copied out with its card, or merged into its base.

A merge is checked before it is written: bases whose output head is their input embedding, say, have no merged form of
an adapter on one of the two.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from muscle.config.settings import BaseConfig
from muscle.errors import ModelError, OutputError
from muscle.files import atomic_folder, read_json, write_json
from muscle.limits import memory_for
from muscle.models.adapter_check import ADAPTER_FILES, CONFIG, adapter_note
from muscle.models.adapters import MODEL_CARD, load_adapter
from muscle.models.base_files import ADAPTER_NOTE, Address, resolve_base
from muscle.models.bases import LoadedBase, load_base, quiet_libraries
from muscle.shipping.card import write_card
from muscle.shipping.lines import Lines, Shipped, lines_of, read_shipped

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

MAX_KL = {"float32": 1e-5, "bfloat16": 0.01, "float16": 0.01}
"""Nats a token that a merged model may differ from the adapter on its base, by the precision it is kept in; more is no
rounding."""
_NUM_TOKENS, _NUM_TEXTS = 32, 8


@dataclass(frozen=True)
class Exported:
    """What an export left.

    Attributes:
        folder: where it is.
        shipped: the adapter.
        lines: what to do with it.
        kl: nats a token from the adapter on its base to the merged model, on random tokens; None where none was made.
    """

    folder: Path
    shipped: Shipped
    lines: tuple[Lines, ...]
    kl: float | None = None


def export_adapter(
    adapter: Path, out: Path, *, merged: bool = False, base: str | None = None, force: bool = False
) -> Exported:
    """Write an adapter for others: a PEFT folder that names its base by its hub name, or a whole merged model.

    Args:
        adapter: a PEFT folder, of muscle or not.
        out: the folder to write.
        merged: the merged weights (safetensors, in the base's own precision) with the tokenizer, in place of the
            adapter.
        base: what the base is called, where the adapter does not say or says a path of another machine.
        force: replace `out` where it is there, and a model or an adapter.

    Raises:
        ModelError: there is no adapter, its base is not there or another one, or it cannot be merged.
        OutputError: `out` is there already, is no model or holds the adapter, or cannot be written.
    """
    if out.exists() and out.resolve() == adapter.resolve():
        raise OutputError(f"{out}: is the adapter itself; expected another folder for --out")
    if out.exists() and not force:
        raise OutputError(f"{out}: exists already; --force replaces it")
    _check_replaced(out, adapter)
    shipped = read_shipped(adapter, base=base)
    lines = tuple(lines_of(shipped, str(out)))
    if not merged:
        _copy(adapter, out, shipped, renamed=base is not None)
        return Exported(out, shipped, lines)
    merging = [Lines("Serve it with vLLM", "bash", f"vllm serve {_quoted(out)}"), *_gguf_of(out, shipped)]
    return Exported(out, shipped, tuple(merging), _merge(adapter, out, shipped, base))


def _check_replaced(out: Path, adapter: Path) -> None:
    """Refuse to replace what nobody can have meant: all in the folder is gone once the new one is written."""
    if out.exists() and adapter.resolve().is_relative_to(out.resolve()):
        raise OutputError(f"{out}: the adapter lies in it; expected another folder for --out")
    is_model = any((out / name).is_file() for name in ("config.json", ADAPTER_FILES[0]))
    if out.is_dir() and any(out.iterdir()) and not is_model:
        raise OutputError(f"{out}: --force replaces a model or an adapter, found another folder; give another --out")


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def _gguf_of(out: Path, shipped: Shipped) -> Iterator[Lines]:
    yield Lines("Put it on the hub", "bash", f"hf auth login\nhf upload YOUR_NAME/{shipped.name}-merged {_quoted(out)}")
    line = f"python llama.cpp/convert_hf_to_gguf.py {_quoted(out)} --outfile {shipped.name}-merged.gguf"
    yield Lines("Make a GGUF of it (llama.cpp)", "bash", line)


def _copy(adapter: Path, out: Path, shipped: Shipped, *, renamed: bool) -> None:
    for needed in ADAPTER_FILES:
        if not (adapter / needed).is_file():
            raise ModelError(f"adapter {adapter}: expected a PEFT folder, found no {needed} in it")
    with atomic_folder(out) as folder:
        for name in (*ADAPTER_FILES, ADAPTER_NOTE, "training.json", MODEL_CARD):
            if (adapter / name).is_file():
                shutil.copyfile(adapter / name, folder / name)  # the mode of a new file, not the adapter's
        named = {"base_model_name_or_path": shipped.base.name, "revision": shipped.base.revision}
        write_json(folder / CONFIG, read_json(folder / CONFIG, error=ModelError) | named)
        note = adapter_note(adapter)
        if note:
            told = {"base": shipped.base.name, "base_on_hub": shipped.base.on_hub}
            write_json(folder / ADAPTER_NOTE, note | told)
        if renamed or not (folder / MODEL_CARD).is_file():
            write_card(folder)


def _merge(adapter: Path, out: Path, shipped: Shipped, base: str | None) -> float:
    """Merge, check, write; return how far the two are apart."""
    with memory_for("merging", advice="take a machine with more, or serve the adapter as it is"):
        loaded, kept = _load(shipped.base)
        model = load_adapter(loaded, adapter)
        tokens = _random_tokens(loaded)
        before = _log_probabilities(model, tokens)
        try:
            whole = model.merge_and_unload(safe_merge=True)
        except ValueError as error:
            raise ModelError(f"adapter {adapter}: cannot be merged ({str(error).splitlines()[0]})") from error
        whole.to(kept)
        after = _log_probabilities(whole, tokens)
    kl = float((before.exp() * (before - after)).sum(-1).mean())
    limit = MAX_KL.get(str(kept).removeprefix("torch."), min(MAX_KL.values()))
    if not kl <= limit:
        raise ModelError(
            f"adapter {adapter}: merged into {shipped.base.name} it answers differently (KL {kl:.2g} nats a token, "
            f"expected at most {limit:g}); serve the adapter as it is"
        )
    with atomic_folder(out) as folder:
        with quiet_libraries():
            whole.save_pretrained(folder, safe_serialization=True)
            loaded.tokenizer.save_pretrained(folder)
        write_json(folder / ADAPTER_NOTE, {**adapter_note(adapter), "merged": True, "merging_kl": kl})
        write_card(folder, merged=True, adapter=adapter, base=base)
        mode = (folder / ADAPTER_NOTE).stat().st_mode
        for file in folder.glob("*.safetensors"):
            file.chmod(mode)
    return kl


def _load(base: Address) -> tuple[LoadedBase, torch.dtype]:
    """Load a base in the precision that it is kept in, as far as muscle computes in it, and tell that precision."""
    import torch

    config = BaseConfig(base=base.name, revision=base.revision)
    path = resolve_base(config)
    raw = read_json(path / "config.json", error=ModelError) if path.is_dir() else {}
    kept = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(
        str(raw.get("dtype") or raw.get("torch_dtype")), torch.float32
    )
    precision: Literal["bf16", "float32"] = "bf16" if kept == torch.bfloat16 else "float32"
    return load_base(config, precision=precision), kept


def _random_tokens(base: LoadedBase) -> torch.Tensor:
    """Return (8, 32) token ids, the same at every call."""
    import torch

    generator = torch.Generator().manual_seed(0)
    size = (_NUM_TEXTS, _NUM_TOKENS)
    return torch.randint(len(base.tokenizer), size, generator=generator).to(base.model.device)


def _log_probabilities(model: PreTrainedModel, tokens: torch.Tensor) -> torch.Tensor:
    """Return log p of every token at every place, (texts, tokens, vocab), a text at a time."""
    import torch

    with torch.no_grad():
        return torch.cat([model(row[None]).logits.double().log_softmax(-1).cpu() for row in tokens])
