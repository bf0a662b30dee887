"""Members of a zip archive as streams, zstd ones included; nothing is ever unpacked to disk.

`ZstdFile` unpacks zstd members (method 93): of the standard library, before Python 3.14 of its backport. It
gives as much as is asked for, so that a bomb takes no memory, and goes on where a member is made of several
frames.
"""

from __future__ import annotations

import sys
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import IO, Protocol

from muscle.errors import DataError
from muscle.predictions.packed import FREE_BYTES, MOST_FOLD
from muscle.predictions.readers.shared.json_cursor import Readable

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdError, ZstdFile
else:
    from backports.zstd import ZstdError, ZstdFile

_ZSTD = 93
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    ZstdError,
    EOFError,
    RuntimeError,
    NotImplementedError,
    ValueError,
)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, _ZSTD)


class _Stream(Readable, Protocol):
    """A member's bytes, unpacked as they are read."""

    def close(self) -> None:
        """Give back what reading it holds."""


class Archive:
    """A zip archive that is open for reading.

    Attributes:
        path: the file.
        members: names to entries, in the archive's order; of equal names the last counts.
    """

    def __init__(self, path: Path, handle: IO[bytes]) -> None:
        self.path = path
        self._most = FREE_BYTES + MOST_FOLD * path.stat().st_size
        self._num_read = 0
        try:
            self._zip = zipfile.ZipFile(handle)
        except (zipfile.BadZipFile, EOFError, OSError, ValueError, NotImplementedError) as error:
            raise DataError(
                f"{path}: expected a whole zip archive, found a damaged one ({error}); it may be cut off: copy it again"
            ) from None
        self.members: Mapping[str, zipfile.ZipInfo] = {entry.filename: entry for entry in self._zip.infolist()}
        for name in self.members:
            if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/"):
                raise DataError(
                    f"{path}, member {name!r}: expected a name inside the archive, found one that points out of it; "
                    "do not trust this file"
                )

    @contextmanager
    def open(self, name: str) -> Iterator[Readable]:
        """Give a member as a stream.

        Raises:
            DataError: the member is damaged, encrypted, or packed in a way that is not known; or what was
                read of the archive's members exceeds what it may unpack to.
        """
        entry = self.members[name]
        if entry.compress_type not in _METHODS:
            raise DataError(
                f"{self.path}, member {name!r}: expected one packed by deflate or zstd, found method "
                f"{entry.compress_type}"
            )
        with self._naming(entry):
            stream = self._opened(entry)
        try:
            yield _Member(self, entry, stream)
        finally:
            stream.close()

    @contextmanager
    def _naming(self, entry: zipfile.ZipInfo) -> Iterator[None]:
        """Turn what the unpackers raise into one error."""
        try:
            yield
        except _DAMAGED as error:
            raise DataError(
                f"{self.path}, member {entry.filename!r}: expected a whole member, found a damaged one ({error})"
            ) from None

    def read(self, entry: zipfile.ZipInfo, stream: _Stream, size: int) -> bytes:
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

    def _opened(self, entry: zipfile.ZipInfo) -> _Stream:
        if entry.compress_type != _ZSTD:
            return self._zip.open(entry)
        # Read as a member that is not packed, it gives its packed bytes; the checksum is of the unpacked
        # ones. Not left to `zipfile`, which knows the method from Python 3.14 on and in some releases unpacks
        # all it was given at once.
        packed = copy(entry)
        packed.compress_type, packed.file_size = zipfile.ZIP_STORED, entry.compress_size
        del packed.CRC
        return ZstdFile(self._zip.open(packed))


class _Member:
    """A member that is open: a stream whose reads the archive counts."""

    def __init__(self, archive: Archive, entry: zipfile.ZipInfo, stream: _Stream) -> None:
        self._archive = archive
        self._entry = entry
        self._stream = stream

    def read(self, size: int, /) -> bytes:
        """Read up to `size` bytes."""
        return self._archive.read(self._entry, self._stream, size)


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open a zip archive.

    Raises:
        DataError: it is damaged, or has a member whose name points out of it.
    """
    with path.open("rb") as handle:
        yield Archive(path, handle)
