"""Files as their readers take them: unpacked, and in UTF-8.

A `.jsonl.gz`, a `.csv.zst` or JSON lines in UTF-16 is written to a temporary file first, a block at a time; messages
go on naming the file that was given. What may be unpacked is bounded: long transcripts that say the same again and
again pack to a fiftieth, a bomb to less than a thousandth.
"""

from __future__ import annotations

import gzip
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TypeVar, cast

from muscle.errors import DataError
from muscle.predictions.formats import TEXT_TABLE_SUFFIXES
from muscle.predictions.run import Run

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdError, ZstdFile
else:
    from backports.zstd import ZstdError, ZstdFile

FREE_BYTES = 128 << 20
MOST_FOLD = 100
"""A file may unpack to `FREE_BYTES`, and to this many times its size beyond."""

_SUFFIXES = (".gz", ".gzip", ".zst", ".zstd")
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_BLOCK_BYTES = 1 << 20
_DAMAGED = (gzip.BadGzipFile, zlib.error, ZstdError, EOFError)

T = TypeVar("T")


class _Bytes(Protocol):
    """A file's bytes, unpacked as they are read."""

    def read(self, size: int, /) -> bytes:
        """Read up to `size` bytes."""


def plain_name(name: str) -> str:
    """Return a file's name without what says that it is packed.

    >>> plain_name("old.jsonl.gz"), plain_name("old.jsonl"), plain_name(".gz")
    ('old.jsonl', 'old.jsonl', '.gz')
    """
    suffix = next((each for each in _SUFFIXES if name.lower().endswith(each)), "")
    return name.removesuffix(name[len(name) - len(suffix) :]) or name if suffix else name


@contextmanager
def readable(path: Path) -> Iterator[Path]:
    """Give a file as its readers take it; a file that is neither packed nor in UTF-16 as it is.

    Args:
        path: a file, or a folder, which is given as it is.

    Raises:
        DataError: the file is damaged, or unpacks to too much; and what the block raises, in the given file's name.
    """
    head = _head(path)
    opener = gzip.open if head.startswith(_GZIP) else ZstdFile if head.startswith(_ZSTD) else None
    if opener is None and _wide_encoding(path, head) is None:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="muscle-") as folder:
        file = Path(folder) / plain_name(path.name)
        if opener is not None:
            with path.open("rb") as packed:
                _unpack(path, cast("_Bytes", opener(packed)), file)
        encoding = _wide_encoding(file if opener else path, _head(file) if opener else head)
        if encoding is not None:
            file = _in_utf8(file if opener else path, encoding, file.with_name("utf-8") / file.name, given=path)
        try:
            yield file
        except DataError as error:
            error.args = (_renamed(str(error), file, path), *error.args[1:])
            raise


def _head(path: Path) -> bytes:
    if not path.is_file():
        return b""
    with path.open("rb") as handle:
        return handle.read(4)


def _unpack(path: Path, packed: _Bytes, file: Path) -> None:
    most = FREE_BYTES + MOST_FOLD * path.stat().st_size
    num_bytes = 0
    try:
        with file.open("wb") as handle:
            while block := packed.read(_BLOCK_BYTES):
                num_bytes += len(block)
                if num_bytes > most:
                    raise DataError(
                        f"{path}: expected a file that unpacks to at most {most >> 20} MiB, {MOST_FOLD} times its size "
                        f"and {FREE_BYTES >> 20} MiB, found more; do not trust it, or unpack it yourself"
                    )
                handle.write(block)
    except _DAMAGED as error:
        raise DataError(
            f"{path}: expected a whole packed file, found a damaged one ({error}); it may be cut off: copy it again"
        ) from None


def _wide_encoding(path: Path, head: bytes) -> str | None:
    """Return the encoding of JSON lines in UTF-16; None of another file. Tables of text are read in it as they are."""
    if Path(plain_name(path.name)).suffix.lower() in TEXT_TABLE_SUFFIXES:
        return None
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    # Without a mark: what opens JSON is one byte wide in UTF-8.
    if head[:1] in (b"{", b"[") and head[1:2] == b"\0":
        return "utf-16-le"
    return "utf-16-be" if head[:1] == b"\0" and head[1:2] in (b"{", b"[") else None


def _in_utf8(path: Path, encoding: str, file: Path, *, given: Path) -> Path:
    """Write a text in UTF-8, its line ends as they are."""
    file.parent.mkdir()
    try:
        with path.open(encoding=encoding, newline="") as source, file.open("w", encoding="utf-8", newline="") as target:
            while block := source.read(_BLOCK_BYTES):
                target.write(block)
    except UnicodeError as error:
        raise DataError(
            f"{given}: expected UTF-16, as its beginning is, found a damaged text ({error}); save it as UTF-8"
        ) from None
    return file


def with_name_of(run: Run, file: Path, path: Path) -> Run:
    """Return a run that was read from `file` as one of `path`, wherever it names its source."""
    if file == path:
        return run
    unread = tuple(replace(each, where=_renamed(each.where, file, path)) for each in run.unread)
    return replace(run, metadata=_renamed(run.metadata, file, path), unread=unread)


def _renamed(value: T, file: Path, path: Path) -> T:
    """Put one path in another's place in all texts of a value."""
    if isinstance(value, str):
        return cast("T", value.replace(str(file), str(path)))
    if isinstance(value, dict):
        return cast("T", {name: _renamed(entry, file, path) for name, entry in value.items()})
    if isinstance(value, list | tuple):
        return cast("T", type(value)(_renamed(entry, file, path) for entry in value))
    return value
