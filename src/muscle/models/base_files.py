"""The files of a base: where they are, by what others find them, and by what fingerprint they are known.

A base is a hub name, a local folder or a GGUF file. Its fingerprint says which one it is: everything that is made of
it keeps it.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from muscle.config.settings import BaseConfig
from muscle.errors import ModelError
from muscle.provenance import fingerprint

ADAPTER_NOTE = "muscle.json"
"""What an adapter's folder holds of muscle's own; no part of a base's fingerprint."""

# A whole pass over the weights of a large model would take long at every start.
_SAMPLED_ABOVE_BYTES = 64 * 2**20
_SAMPLE_BYTES = 2**16
_NUM_SAMPLES = 64
_CACHED = re.compile(r"(?:^|[/\\])models--(?P<name>[^/\\]+)[/\\]snapshots[/\\](?P<commit>[0-9a-f]{40})[/\\]?$")


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


def reason_of(error: Exception) -> str:
    """Return the first line of an error of any kind: transformers and the hub raise what their parts raise."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
