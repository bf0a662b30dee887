"""Writing so that nothing is ever half there, and fingerprints that name what was used.

A file is written beside its place, flushed to the disk and renamed; a folder is filled under a temporary
name and renamed. A process killed at any moment leaves the old content or the new one.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from muscle.errors import DataError, MuscleError, OutputError

_OS_ERROR = re.compile(r"([^:]*) \(os error \d+\)")


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def os_reason(error: Exception) -> str | None:
    """Return what the system said, such as a full disk, where a library in Rust (polars, safetensors) has it in an error of its own.

    >>> os_reason(ValueError("parquet: No space left on device (os error 28)"))
    'No space left on device'
    """
    if isinstance(error, OSError):
        return _reason(error)
    found = _OS_ERROR.search(str(error))
    return found[1].strip() if found else None


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it into place when the block ends without an error.

    Args:
        path: where the finished file shall be. Missing parent folders are made. What is no file (a pipe, `/dev/stdout`) is written
            to as it is: a rename would put a file in its place.

    Yields:
        The path to write to.

    Raises:
        OutputError: the folder cannot be made, or the file cannot be written or renamed.
    """
    try:
        with _beside(path) as target:
            yield target
    except MuscleError:
        raise
    except Exception as error:
        reason = os_reason(error)
        if reason is None:
            raise
        raise OutputError(f"{path}: cannot be written: {reason}") from error


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """Give what `atomic_path` gives; errors come as they are."""
    if path.exists() and not path.is_file() and not path.is_dir():
        yield path
        return
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True) if temporary.parent.is_dir() else None


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, atomically.

    Raises:
        OutputError: the file cannot be written.
    """
    with atomic_path(path) as temporary:
        # Half a surrogate pair, of a file's name that is no UTF-8, becomes its escape, in JSON too.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` as indented JSON without NaN, atomically.

    Raises:
        OutputError: the file cannot be written.
        ValueError: the value holds NaN or an infinity.
    """
    write_text(path, _indented(value) + "\n")


def _indented(value: Any) -> str:
    """Return indented JSON; the standard library indents in Python, which takes half a second for a report."""
    import orjson

    json.dumps(value, allow_nan=False)  # orjson would write null for a NaN
    try:
        return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # what it does not know: half a surrogate pair, numbers beyond 64 bits
        return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)


def read_json(path: Path, *, error: type[MuscleError] = DataError, mend: str = "") -> dict[str, Any]:
    """Read a JSON object that some program wrote, whatever became of it since.

    Args:
        path: the file.
        error: what is raised.
        mend: what to do where it is damaged.

    Raises:
        MuscleError: of the kind `error`: it cannot be read, or is no JSON object without NaN.
    """
    hint = f"; {mend}" if mend else ""
    try:
        value = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_constant)
    except OSError as problem:
        raise error(f"{path}: cannot be read: {_reason(problem)}{hint}") from problem
    except (ValueError, RecursionError) as problem:
        raise error(f"{path}: damaged, not valid JSON ({problem}){hint}") from problem
    if not isinstance(value, dict):
        raise error(f"{path}: damaged, expected a JSON object, found {type(value).__name__}{hint}")
    return value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give an empty temporary folder; move it to `path` when the block ends without an error.

    What stood at `path` is replaced only then.

    Raises:
        OutputError: the folder cannot be made, filled or moved.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if path.exists():
            retired = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.old")
            path.rename(retired)
            temporary.rename(path)
            shutil.rmtree(retired)
        else:
            temporary.rename(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {_reason(error)}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def fingerprint(value: Any) -> str:
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
