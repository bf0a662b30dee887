"""Members of a zip archive as streams, zstd ones included; nothing is ever unpacked to disk.

The standard library reads zstd members (method 93) from Python 3.14 on. Before, the package zstandard
unpacks them; it is imported when such a member is met.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from muscle.errors import DataError

_ZSTD = 93
_LOCAL_HEADER_BYTES = 30


class Archive:
    """A zip archive that is open for reading.

    Attributes:
        path: the file.
        members: names to entries, in the archive's order; of equal names the last counts.
    """

    def __init__(self, path: Path, handle: IO[bytes]) -> None:
        self.path = path
        self._handle = handle
        try:
            self._zip = zipfile.ZipFile(handle)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
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
            DataError: the member is damaged, encrypted, or packed in a way that is not known.
        """
        entry = self.members[name]
        try:
            if entry.compress_type == _ZSTD:
                with self._open_zstd(entry) as stream:
                    yield stream
            else:
                with self._zip.open(entry) as stream:
                    yield stream
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
            raise DataError(
                f"{self.path}, member {name!r}: expected a whole member, found a damaged one ({error})"
            ) from None

    @contextmanager
    def _open_zstd(self, entry: zipfile.ZipInfo) -> Iterator[IO[bytes]]:
        try:
            with self._zip.open(entry) as stream:
                yield stream
            return
        except NotImplementedError:
            pass
        try:
            import zstandard
        except ImportError:
            raise DataError(
                f"{self.path}: its members are packed with zstd; install the package zstandard (pip install zstandard)"
            ) from None
        packed = cast(IO[bytes], _Slice(self._handle, self._data_start(entry), entry.compress_size))
        try:
            with zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True) as stream:
                yield io.BufferedReader(stream)
        except zstandard.ZstdError as error:
            raise zipfile.BadZipFile(str(error)) from None

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
