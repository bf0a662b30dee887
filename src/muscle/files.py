"""Writing so that nothing is ever half there.

A file is written beside its place, flushed to the disk and renamed; a folder is filled under a temporary name
and takes its place in one step where the system can swap two folders (Linux). A process killed at any moment
leaves the old content or the new one; where the system cannot, a kill between two renames leaves the old
folder under a hidden name, from where `clear_leftovers` puts it back.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from muscle.errors import DataError, MuscleError, OutputError
from muscle.foreign_text import kind_word
from muscle.limits import write_failure

_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{8}\.(part|old)")
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


def _beside(path: Path, kind: str) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.{kind}")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it into place when the block ends without an error.

    Args:
        path: where the finished file shall be. Missing parent folders are made. What is no file (a pipe,
            `/dev/stdout`) is written to as it is: a rename would put a file in its place.

    Yields:
        The path to write to.

    Raises:
        OutputError: the folder cannot be made, or the file cannot be written or renamed.
    """
    with _refused(path), _target_for(path) as target:
        yield target


@contextmanager
def _refused(path: Path) -> Iterator[None]:
    """Say of what cannot be written that it cannot, and why; any other error goes on as it is."""
    try:
        yield
    except Exception as error:
        reason = write_failure(error)
        if reason is None:
            raise
        raise OutputError(f"{path}: cannot be written: {reason}") from error


@contextmanager
def _target_for(path: Path) -> Iterator[Path]:
    """Give what `atomic_path` gives; errors come as they are, or as the system's where that is why a library failed."""
    if _is_stream(path):
        yield path
        return
    temporary = _beside(path, "part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
    except Exception as error:
        if write_failure(error) is None and temporary.exists():
            _append_block(temporary)  # polars does not always say that the disk is full
        raise
    finally:
        temporary.unlink(missing_ok=True) if temporary.parent.is_dir() else None


def _is_stream(path: Path) -> bool:
    """Tell whether a path is no file of its own: a pipe, a device, or `/dev/stdout`, which may lead to any file."""
    if not path.exists() or path.is_dir():
        return False
    return not path.is_file() or (path.is_symlink() and path.absolute().parts[:2] in (("/", "dev"), ("/", "proc")))


def _append_block(path: Path) -> None:
    """Add a block to a file that is thrown away: raises the system's error where there is one."""
    with path.open("ab") as handle:
        handle.write(b"\0" * 65_536)
        handle.flush()
        os.fsync(handle.fileno())


def check_can_write(path: Path, *, folder: bool = False, whole: bool = False) -> None:
    """See before the work that a file or folder can be written where it shall be; nothing is left there.

    A pipe, a device and `/dev/stdout` are taken as they are.

    Args:
        path: of the output.
        folder: it will be a folder.
        whole: a folder that is made beside its place and renamed (`atomic_folder`); else files are written into it.

    Raises:
        OutputError: what is there is of the other kind, or the nearest folder above that exists takes no file.
    """
    if _is_stream(path):
        if folder:
            raise OutputError(f"{path}: cannot be written: expected a folder, found a file")
        return
    if path.exists() and path.is_dir() != folder:
        wanted, found = ("a folder", "a file") if folder else ("a file", "a folder")
        raise OutputError(f"{path}: cannot be written: expected {wanted}, found {found}")
    place = path if folder and not whole else path.parent
    try:
        while not place.exists() and place != place.parent:
            place = place.parent
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, atomically.

    Raises:
        OutputError: the file cannot be written.
    """
    with atomic_path(path) as temporary:
        # Half a surrogate pair, of a file's name that is no UTF-8, becomes its escape, in JSON too.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, value: object) -> None:
    """Write `value` to `path` as indented JSON without NaN, atomically.

    Raises:
        OutputError: the file cannot be written.
        ValueError: the value holds NaN or an infinity.
    """
    write_text(path, _indented(value) + "\n")


def plain_json(value: object) -> Any:
    """Return a value as JSON can hold it: names as text, no NaN or infinity, and what JSON does not know as text.

    >>> plain_json({1: float("nan"), "path": Path("a")})
    {'1': 'NaN', 'path': 'a'}
    """
    return json.loads(json.dumps(value, default=str), parse_constant=str)


def _indented(value: object) -> str:
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
        raise error(f"{path}: cannot be read: {problem.strerror or problem}{hint}") from problem
    except (ValueError, RecursionError) as problem:
        raise error(f"{path}: damaged, not valid JSON ({problem}){hint}") from problem
    if not isinstance(value, dict):
        raise error(f"{path}: damaged, expected a JSON object, found {kind_word(value)}{hint}")
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
    temporary = _beside(path, "part")
    try:
        with _refused(path):
            temporary.mkdir(parents=True)
            yield temporary
            _replace_folder(path, temporary)
    finally:
        if temporary.is_symlink() or temporary.exists():
            _remove(temporary)


def _replace_folder(path: Path, successor: Path) -> None:
    if not path.exists():
        successor.rename(path)
    elif not _exchange(path, successor):
        retired = _beside(path, "old")
        path.rename(retired)
        successor.rename(path)
        _remove(retired)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two paths in one step (Linux's renameat2); False where the system or the file system cannot."""
    if sys.platform != "linux":
        return False
    import ctypes

    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    if rename is None:
        return False
    paths = os.fsencode(one), os.fsencode(other)
    return bool(rename(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE) == 0)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def clear_leftovers(folder: Path, name: str | None = None) -> None:
    """Remove what killed processes left half written in a folder.

    What was moved aside goes back where nothing took its place.

    Args:
        folder: where nothing else is writing.
        name: only what was to become this one.
    """
    for path in sorted(folder.glob(".*")):
        found = _TEMPORARY.fullmatch(path.name)
        if found is None or name not in (None, found[1]):
            continue
        place = path.with_name(found[1])
        if found[2] == "old" and not place.exists():
            path.rename(place)
        else:
            _remove(path)
