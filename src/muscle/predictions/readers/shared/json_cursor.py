"""A place in a JSON document of any size, of which only a window is in memory."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NoReturn, Protocol

from muscle.errors import DataError

MAX_VALUE_BYTES = 32 << 20
"""Longest line or member that is parsed: eight times a prompt of a million tokens, ten times as much once parsed."""

MAX_DEPTH = 1000
"""Deepest nesting of what is passed over."""

MAX_PARSED_DEPTH = 100
"""Deepest nesting of a value that is parsed: what walks through it (into a text, back to JSON) can recurse."""

_BLOCK_BYTES = 1 << 20
_NOT_SPACE = re.compile(rb"\S")
# Possessive repeats (`++`): nothing to go back to, so a long text costs no more than its length.
_TEXT = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_NO_BRACKETS = rb'(?:[^"\[\]{}]++|' + _TEXT + rb")"
_TO_BRACKET = re.compile(_NO_BRACKETS + rb"*+[\[\]{}]", re.DOTALL)
_TEXTS = re.compile(_NO_BRACKETS + rb"++", re.DOTALL)
_SCALAR = re.compile(_TEXT + rb'|[^\s,\]}:\[{"]++', re.DOTALL)

MAX_BRACKETS = 2_000_000
"""Most lists and objects in a value that is parsed: an empty one is two bytes in a file and sixty-four in memory."""

Key = str | int


def too_deep(where: str, most: int) -> NoReturn:
    """Refuse what is nested deeper than `most`."""
    raise DataError(f"{where}: expected JSON nested less than {most} deep, found deeper; remove this entry")


def too_long(where: str) -> NoReturn:
    """Refuse an entry of more than `MAX_VALUE_BYTES`."""
    raise DataError(
        f"{where}: expected an entry of at most {MAX_VALUE_BYTES >> 20} MiB, found a longer one; remove it or "
        "cut its texts"
    )


def name_of(keys: Sequence[Key]) -> str:
    """Write keys as people do.

    >>> name_of(("results", "results", 3))
    'results.results[3]'
    """
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
    return text.removeprefix(".")


class Readable(Protocol):
    """Bytes that are read once: a file, or a member of an archive."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes; none at the end."""


class Cursor:
    """A place in a document of which only a window is in memory."""

    def __init__(self, handle: Readable, file: str) -> None:
        self.keys: tuple[Key, ...] = ()
        self._file = file
        self._handle = handle
        self._window = b""
        self._position = 0
        self._ended = False

    @property
    def where(self) -> str:
        """File and member, for messages."""
        return f"{self._file}, {name_of(self.keys)}" if self.keys else self._file

    def _refill(self, start: int) -> None:
        """Read on; drop what stands before `start`."""
        rest = self._window[start:]
        # As much again as is held: a long text is then scanned a few times only.
        block = self._handle.read(min(max(_BLOCK_BYTES, len(rest)), MAX_VALUE_BYTES + 1 - len(rest)))
        self._window, self._position = rest + block, 0
        self._ended = not block
        if len(self._window) > MAX_VALUE_BYTES:
            too_long(self.where)

    def cut_off(self) -> NoReturn:
        """Raise for a document that ends too early."""
        raise DataError(f"{self.where}: the JSON is cut off in the middle; write the file again or take the whole copy")

    def peek(self) -> bytes:
        """Return the next byte that is not white space; empty at the end."""
        while True:
            match = _NOT_SPACE.search(self._window, self._position)
            if match:
                self._position = match.start()
                return match.group()
            self._refill(len(self._window))
            if self._ended:
                return b""

    def check_end(self) -> None:
        """Refuse what stands after the document: it would not be read."""
        if self.peek():
            around = self._window[self._position : self._position + 20]
            raise DataError(
                f"{self._file}: expected one JSON document, found {around!r} after its end; "
                "give each document a file of its own"
            )

    def take(self, expected: bytes) -> bytes:
        """Return the next byte, which must be one of `expected`, and step over it."""
        found = self.peek()
        if not found:
            self.cut_off()
        if found not in expected:
            around = self._window[max(0, self._position - 20) : self._position + 20]
            wanted = " or ".join(repr(chr(byte)) for byte in expected)
            raise DataError(f"{self.where}: expected {wanted}, found {around!r}")
        self._position += 1
        return found

    def value(self, *, keep: bool) -> bytes:
        """Step over a value; return its text if it is to be kept."""
        first = self.peek()
        if not first:
            self.cut_off()
        end = self._container_end(keep) if first in b"[{" else self._scalar_end()
        data = self._window[self._position : end] if keep else b""
        self._position = end
        return data

    def _scalar_end(self) -> int:
        while True:
            match = _SCALAR.match(self._window, self._position)
            if match and (match.end() < len(self._window) or self._ended):
                return match.end()
            if match is None and self.peek() != b'"':
                self.take(b'"')
            if self._ended:
                self.cut_off()
            self._refill(self._position)

    def _container_end(self, keep: bool) -> int:
        """Find where the container that begins here ends."""
        depth, position = 0, self._position
        while True:
            while match := _TO_BRACKET.match(self._window, position):
                position = match.end()
                if self._window[position - 1] in b"[{":
                    depth += 1
                    if depth > MAX_DEPTH:
                        too_deep(self.where, MAX_DEPTH)
                else:
                    depth -= 1
                    if depth == 0:
                        return position
            if self._ended:
                self.cut_off()
            # Whole texts that no bracket follows in the window need not be looked at again.
            passed = _TEXTS.match(self._window, position)
            position = passed.end() if passed else position
            start = self._position if keep else position
            self._refill(start)
            position -= start
