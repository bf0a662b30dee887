"""How large a Parquet or Arrow file is unpacked, from what it says itself: nothing is unpacked for it.

A Parquet file's footer is a struct of Thrift's compact protocol (https://github.com/apache/parquet-format,
`FileMetaData`). Of it the number of rows and each row group's unpacked size are read; the rest is stepped
over. In an Arrow file each packed buffer begins with its unpacked length
(https://arrow.apache.org/docs/format/Columnar.html, "Compressed body buffers").
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from pathlib import Path

MAX_FOOTER_BYTES = 8 << 20
# The length, then the magic number of a zstd or an LZ4 frame.
_PACKED_BUFFER = re.compile(rb"(.{8})(?:\x28\xb5\x2f\xfd|\x04\x22\x4d\x18)", re.DOTALL)
_MAX_DEPTH = 32
_STOP, _TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(13)
_ROWS_FIELD, _GROUPS_FIELD, _BYTES_FIELD = 3, 4, 2


def parquet_size(path: Path) -> tuple[int, int]:
    """Return the number of rows and of bytes, unpacked, that a file's footer names.

    Raises:
        ValueError: the file has no whole footer.
    """
    with path.open("rb") as handle:
        length = handle.seek(0, 2)
        if length < 12:
            raise ValueError("the file is too short")
        handle.seek(length - 8)
        tail = handle.read(8)
        size = int.from_bytes(tail[:4], "little")
        if tail[4:] != b"PAR1" or size > min(length - 12, MAX_FOOTER_BYTES):
            raise ValueError("no whole footer at its end")
        handle.seek(length - 8 - size)
        footer = _Thrift(handle.read(size))
    num_rows = num_bytes = 0
    try:
        for number, kind in footer.fields():
            if number == _ROWS_FIELD and kind == _I64:
                num_rows = footer.integer()
            elif number == _GROUPS_FIELD and kind == _LIST:
                num_bytes = sum(footer.group_bytes() for _ in range(footer.list_header()[1]))
            else:
                footer.skip(kind)
    except IndexError:
        raise ValueError("its footer is cut off") from None
    if num_rows < 0 or num_bytes < 0:
        raise ValueError("its footer names negative sizes")
    return num_rows, num_bytes


def arrow_bytes(path: Path) -> int:
    """Return the bytes, unpacked, of an Arrow file's packed buffers, and of the file."""
    length = path.stat().st_size
    with path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
        sizes = [int.from_bytes(found[1], "little", signed=True) for found in _PACKED_BUFFER.finditer(data)]
    return length + sum(size for size in sizes if size > 0)


class _Thrift:
    """Reads Thrift's compact protocol."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
            if shift > 63:
                raise ValueError("its footer is damaged")

    def integer(self) -> int:
        """Read a signed number."""
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def fields(self) -> Iterator[tuple[int, int]]:
        """Yield number and kind of each field of a struct; its value is to be read before the next."""
        number = 0
        while (head := self._byte()) != _STOP:
            number = number + (head >> 4) if head >> 4 else self.integer()
            yield number, head & 0x0F

    def list_header(self) -> tuple[int, int]:
        """Return kind and number of a list's elements."""
        head = self._byte()
        size = self._varint() if head >> 4 == 15 else head >> 4
        if size > len(self._data):
            raise ValueError("its footer is damaged")
        return head & 0x0F, size

    def group_bytes(self) -> int:
        """Read a row group; return its unpacked size."""
        found = 0
        for number, kind in self.fields():
            if number == _BYTES_FIELD and kind == _I64:
                found = self.integer()
            else:
                self.skip(kind)
        return found

    def skip(self, kind: int, depth: int = 0) -> None:
        """Step over a value."""
        if depth > _MAX_DEPTH:
            raise ValueError("its footer is nested too deeply")
        if kind in (_I16, _I32, _I64):
            self._varint()
        elif kind == _BYTE:
            self._byte()
        elif kind == _DOUBLE:
            self._at += 8
        elif kind == _BINARY:
            length = self._varint()
            self._at += length
        elif kind in (_LIST, _SET):
            inner, size = self.list_header()
            for _ in range(size):
                # In a list a truth value takes a byte; in a struct it is the field's kind.
                self.skip(_BYTE if inner in (_TRUE, _FALSE) else inner, depth + 1)
        elif kind == _MAP:
            self._skip_map(depth)
        elif kind == _STRUCT:
            for _, inner in self.fields():
                self.skip(inner, depth + 1)
        elif kind not in (_TRUE, _FALSE):
            raise ValueError("its footer is damaged")

    def _skip_map(self, depth: int) -> None:
        size = self._varint()
        if size > len(self._data):
            raise ValueError("its footer is damaged")
        if size:
            kinds = self._byte()
            for _ in range(size):
                self.skip(kinds >> 4, depth + 1)
                self.skip(kinds & 0x0F, depth + 1)
