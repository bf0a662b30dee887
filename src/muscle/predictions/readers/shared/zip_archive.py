"""Members of a zip archive as streams, zstd ones included; nothing is ever unpacked to disk.

The standard library reads zstd members (method 93) from Python 3.14 on. Before, the package zstandard
unpacks them; it is imported when such a member is met.
"""

from __future__ import annotations

import importlib
import io
import sys
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from muscle.errors import DataError

_ZSTD = 93
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, _ZSTD)
_LOCAL_HEADER_BYTES = 30

FREE_BYTES = 128 << 20
MOST_FOLD = 100
"""An archive may unpack to `FREE_BYTES`, and to this many times its size beyond: long transcripts that say the same again and
again pack to a fiftieth, a bomb to less than a thousandth."""


class Archive:
    """A zip archive that is open for reading.

    Attributes:
        path: the file.
        members: names to entries, in the archive's order; of equal names the last counts.
    """

    def __init__(self, path: Path, handle: IO[bytes]) -> None:
        self.path = path
        self._handle = handle
        self._most = FREE_BYTES + MOST_FOLD * path.stat().st_size
        self._num_read = 0
        try:
            self._zip = zipfile.ZipFile(handle)
        except (zipfile.BadZipFile, EOFError, OSError, ValueError, NotImplementedError) as error:
            raise DataError(
                f"{path}: expected a whole zip archive, found a damaged one ({error}); it may be cut off: copy it again"
            ) from None
        self.members: Mapping[str, zipfile.ZipInfo] = {
            entry.filename: entry for entry in self._zip.infolist()
        }
        for name in self.members:
            if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/"):
                raise DataError(
                    f"{path}, member {name!r}: expected a name inside the archive, found one that points out of it; "
                    "do not trust this file"
                )

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """Give a member as a stream.

        Raises:
            DataError: the member is damaged, encrypted, or packed in a way that is not known; or what was read of the archive's
                members exceeds what it may unpack to.
        """
        entry = self.members[name]
        if entry.compress_type not in _METHODS:
            raise DataError(
                f"{self.path}, member {name!r}: expected one packed by deflate or zstd, found method {entry.compress_type}"
            )
        with self._naming(entry):
            stream = self._opened(entry)
        try:
            yield cast(IO[bytes], _Member(self, entry, stream))
        finally:
            stream.close()

    @contextmanager
    def _naming(self, entry: zipfile.ZipInfo) -> Iterator[None]:
        """Turn what the unpackers raise into one error."""
        damages: tuple[type[Exception], ...] = (*_DAMAGED, *_zstd_errors(entry))
        try:
            yield
        except damages as error:
            raise DataError(
                f"{self.path}, member {entry.filename!r}: expected a whole member, found a damaged one ({error})"
            ) from None

    def read(self, entry: zipfile.ZipInfo, stream: IO[bytes], size: int) -> bytes:
        """Read up to `size` bytes of a member that is open, and count them with those of all members.

        Raises:
            DataError: the member is damaged, or the archive unpacks to too much.
        """
        with self._naming(entry):
            data = stream.read(size)
        self._num_read += len(data)
        if self._num_read > self._most:
            raise DataError(
                f"{self.path}: expected an archive that unpacks to at most {self._most >> 20} MiB, "
                f"{MOST_FOLD} times its size and {FREE_BYTES >> 20} MiB, found more; do not trust this file"
            )
        return data

    def _opened(self, entry: zipfile.ZipInfo) -> IO[bytes]:
        if entry.compress_type != _ZSTD:
            return self._zip.open(entry)
        try:
            return self._zip.open(entry)
        except NotImplementedError:
            pass
        try:
            from zstandard import ZstdDecompressor
        except ImportError:
            raise DataError(
                f"{self.path}: its members are packed with zstd; install the package zstandard (pip install zstandard)"
            ) from None
        packed = cast(IO[bytes], _Slice(self._handle, self._data_start(entry), entry.compress_size))
        return io.BufferedReader(ZstdDecompressor().stream_reader(packed, read_across_frames=True))

    def _data_start(self, entry: zipfile.ZipInfo) -> int:
        self._handle.seek(entry.header_offset)
        header = self._handle.read(_LOCAL_HEADER_BYTES)
        if len(header) < _LOCAL_HEADER_BYTES or not header.startswith(b"PK\x03\x04"):
            raise zipfile.BadZipFile("no local header where the directory says")
        name_length, extra_length = (
            int.from_bytes(header[26:28], "little"),
            int.from_bytes(header[28:30], "little"),
        )
        return entry.header_offset + _LOCAL_HEADER_BYTES + name_length + extra_length


def _zstd_errors(entry: zipfile.ZipInfo) -> tuple[type[Exception], ...]:
    """What the unpacker of a zstd member raises; nothing for other members, whose readers need no package."""
    if entry.compress_type != _ZSTD:
        return ()
    module = "compression.zstd" if sys.version_info >= (3, 14) else "zstandard"
    return (importlib.import_module(module).ZstdError,)


class _Member:
    """A member that is open: a stream whose reads the archive counts."""

    def __init__(self, archive: Archive, entry: zipfile.ZipInfo, stream: IO[bytes]) -> None:
        self._archive = archive
        self._entry = entry
        self._stream = stream

    def read(self, size: int) -> bytes:
        """Read up to `size` bytes."""
        return self._archive.read(self._entry, self._stream, size)


class _Slice(io.RawIOBase):
    """A part of a file as a stream."""

    def __init__(self, handle: IO[bytes], start: int, length: int) -> None:
        self._handle = handle
        self._position = start
        self._end = start + length

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes, all that are left where it is negative."""
        left = self._end - self._position
        self._handle.seek(self._position)
        data = self._handle.read(left if size < 0 else min(size, left))
        self._position += len(data)
        return data


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open a zip archive.

    Raises:
        DataError: it is damaged, or has a member whose name points out of it.
    """
    with path.open("rb") as handle:
        yield Archive(path, handle)
