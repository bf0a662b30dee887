"""What an output was made from: fingerprints of files and settings, and the versions of the packages that computed."""

from __future__ import annotations

import hashlib
import json
import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("muscle-llm", "torch", "transformers", "peft", "accelerate", "lm_eval", "tokenizers", "vllm")


def fingerprint(value: object) -> str:
    """Return 16 hex digits that stand for a JSON-like value; the order of keys does not matter.

    >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hex digits, read a block at a time."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def file_hashes(path: Path) -> dict[str, str]:
    """Return the SHA-256 of a file, or of every file in a folder, by the path from `path`'s parent.

    Returns:
        Nothing where there is no such file or folder.
    """
    files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    return {each.relative_to(path.parent).as_posix(): file_sha256(each) for each in files if each.is_file()}


def package_versions(*packages: str) -> dict[str, str]:
    """Return the versions of those packages that are installed, in the order asked for."""
    found = {}
    for package in packages:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that a result depends on."""
    return {"python": platform.python_version(), **package_versions(*_PACKAGES)}
