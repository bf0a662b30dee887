"""Whether two bases share one tokenizer, told from their files alone, or one vocabulary, once they are loaded."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from muscle.config.settings import BaseConfig
from muscle.errors import ModelError
from muscle.models.base_files import is_hub_name, resolve_base
from muscle.models.bases import LoadedBase, load_tokenizer
from muscle.provenance import file_sha256

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_FILE = "tokenizer.json"


def share_tokenizer(old: BaseConfig, new: BaseConfig) -> bool | None:
    """Tell whether two bases map the same token texts to the same numbers; None where one is not on this machine.

    Raises:
        ModelError: a base that is no hub name is not there, or its tokenizer cannot be read.
    """
    try:
        paths = resolve_base(old), resolve_base(new)
    except ModelError:
        if is_hub_name(old) or is_hub_name(new):
            return None
        raise
    if paths[0] == paths[1]:
        return True
    files = [path / _FILE for path in paths]
    if all(file.is_file() for file in files) and len({file_sha256(file) for file in files}) == 1:
        return True
    ours, theirs = (_vocabulary(path, base.trust_remote_code) for path, base in zip(paths, (old, new), strict=True))
    return ours == theirs


@lru_cache(maxsize=4)  # a GGUF file's takes seconds to read, and a sweep asks for every variant
def _vocabulary(path: Path, trust_remote_code: bool) -> dict[str, int]:
    found: dict[str, int] = load_tokenizer(BaseConfig(base=str(path), trust_remote_code=trust_remote_code)).get_vocab()
    return found


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
