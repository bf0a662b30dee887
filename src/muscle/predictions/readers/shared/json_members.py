"""JSON from files of any size: a line, or a member of a document, at a time.

orjson parses; the standard library takes what orjson refuses but harnesses write (a bare NaN, half a
surrogate pair). A document is never held whole: the members that are asked for are cut out, so memory is bounded by the
largest member.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from muscle.errors import DataError
from muscle.foreign_text import kind_word
from muscle.predictions.plain.json_lines import check_text, is_cut_off, no_utf8
from muscle.predictions.readers.shared.json_cursor import (
    MAX_BRACKETS,
    MAX_DEPTH,
    MAX_PARSED_DEPTH,
    MAX_VALUE_BYTES,
    Cursor,
    Key,
    Readable,
    too_deep,
    too_long,
)

# Half a surrogate pair (an emoji that a token limit cut) has no UTF-8 form; it becomes "?".
_HALF_PAIR = re.compile(rb"\\u[dD][89a-fA-F]")


def parse(data: bytes, where: str) -> object:
    """Return the value of a piece of JSON; a bare NaN or Infinity is read as a float.

    Args:
        data: UTF-8 text.
        where: the words that open a message: file and line or member.

    Raises:
        DataError: the text is not JSON, is cut off, nested too deeply, or would take too much memory.
    """
    num_brackets = data.count(b"[") + data.count(b"{")
    if num_brackets > MAX_BRACKETS:
        raise DataError(
            f"{where}: expected an entry of at most {MAX_BRACKETS:,} lists and objects, found more; remove it"
        )
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        value = _parse_leniently(data, where)
    if num_brackets > MAX_PARSED_DEPTH:
        _check_depth(value, where)
    return value


def _check_depth(value: dict[str, object] | list[object], where: str) -> None:
    level, depth = [value], 0
    while level:
        if depth > MAX_PARSED_DEPTH:
            too_deep(where, MAX_PARSED_DEPTH)
        entries = (each.values() if isinstance(each, dict) else each for each in level)
        level = [entry for each in entries for entry in each if isinstance(entry, dict | list)]
        depth += 1


def _int_or_float(text: str) -> int | float:
    """Read a whole number as orjson does: one that fits no 64 bits becomes a float."""
    # 19 digits always fit 64 unsigned bits; Python would refuse to read one of thousands of digits.
    return int(text) if len(text) < 20 else float(text)


def _parse_leniently(data: bytes, where: str) -> object:
    try:
        value = json.loads(data.decode("utf-8-sig"), parse_int=_int_or_float)
        if _HALF_PAIR.search(data):
            value = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
        return value
    except RecursionError:
        too_deep(where, MAX_DEPTH)
    except UnicodeDecodeError as error:
        raise no_utf8(where, error) from None
    except json.JSONDecodeError as error:
        if is_cut_off(error):
            raise DataError(
                f"{where}: the JSON is cut off in the middle; write the file again or take the whole copy"
            ) from None
        raise DataError(
            f"{where}, column {error.colno}: expected JSON, found "
            f"{error.doc[max(0, error.pos - 20) : error.pos + 20]!r}"
        ) from None


def parse_object(data: bytes, where: str) -> dict[str, object]:
    """Like `parse`, for what must be a JSON object."""
    return as_object(parse(data, where), where)


def as_object(value: object, where: str) -> dict[str, object]:
    """Return a value that must be a JSON object.

    Raises:
        DataError: it is something else: place, and its type.
    """
    if not isinstance(value, dict):
        raise DataError(f"{where}: expected a JSON object, found {kind_word(value)}")
    return value


def load_object(path: Path) -> dict[str, object]:
    """Return the JSON object that a small file holds (settings, aggregate results).

    Raises:
        DataError: the file is not one JSON object, or is larger than `MAX_VALUE_BYTES`.
    """
    with path.open("rb") as handle:
        data = handle.read(MAX_VALUE_BYTES + 1)
    if len(data) > MAX_VALUE_BYTES:
        raise DataError(f"{path}: expected at most {MAX_VALUE_BYTES >> 20} MiB of settings, found more")
    return parse_object(data, str(path))


def lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield number (from 1) and bytes of every line that is not blank.

    Raises:
        DataError: the file is empty or binary, or a line is longer than `MAX_VALUE_BYTES`.
    """
    with path.open("rb") as handle:
        check_text(path, handle.read(4096))
        handle.seek(0)
        number = 0
        while line := handle.readline(MAX_VALUE_BYTES + 1):
            number += 1
            if len(line) > MAX_VALUE_BYTES:
                too_long(f"{path}, line {number}")
            if not line.isspace():
                yield number, line


def line_objects(path: Path) -> Iterator[tuple[dict[str, object], str]]:
    """Yield the object in every line of a JSONL file that is not blank, with file and line for messages.

    Raises:
        DataError: a line is not a JSON object: file and line.
    """
    for number, line in lines(path):
        where = f"{path}, line {number}"
        yield parse_object(line, where), where


Pattern = tuple[Key, ...]
"""Keys that lead to a member; "*" stands for any key or index, "#" for any index."""


@dataclass(frozen=True)
class Member:
    """A value inside a document.

    Attributes:
        keys: the keys and indices (from 0) that lead to it.
        value: what it holds.
        where: file and member, for messages.
    """

    keys: tuple[Key, ...]
    value: object
    where: str


def members(handle: Readable, where: str, patterns: Sequence[Pattern]) -> Iterator[Member]:
    """Yield the members of a JSON document that `patterns` ask for, parsed, in the document's order.

    Args:
        handle: the document, UTF-8, read once from where it stands.
        where: the words that open a message: the file.
        patterns: which members; `("results", "*")` takes every entry of `results`, `("*",)` every entry of
            the document.

    Raises:
        DataError: the document is not JSON, is cut off, nested too deeply, has a member longer than
            `MAX_VALUE_BYTES`, or something after its end.
    """
    cursor = _begin(handle, where)
    yield from _walk(cursor, (), patterns)
    cursor.check_end()


def file_objects(path: Path, pattern: Pattern) -> Iterator[tuple[dict[str, object], str]]:
    """Yield the members of a JSON file that fit a pattern, which must be objects, each with its place for messages.

    Raises:
        DataError: as for `members`, or a member is no object.
    """
    with path.open("rb") as handle:
        for member in members(handle, str(path), [pattern]):
            yield as_object(member.value, member.where), member.where


def objects(handle: Readable, where: str, place: Pattern, fields: Collection[str]) -> Iterator[Member]:
    """Yield every member at a place as an object of some of its fields; what is no object comes as it stands.

    Other than by `members`, a member that is null, empty or of another type is seen.

    Args:
        handle: the document, UTF-8, read once from where it stands.
        where: the words that open a message: the file.
        place: the keys that lead to the members; `("samples", "#")` takes every entry of the list `samples`,
            `()` the document.
        fields: the fields that are kept; together they may hold `MAX_VALUE_BYTES`.

    Raises:
        DataError: as for `members`.
    """
    cursor = _begin(handle, where)
    yield from _find(cursor, (), place, frozenset(fields))
    cursor.check_end()


def _begin(handle: Readable, where: str) -> Cursor:
    cursor = Cursor(handle, where)
    first = cursor.peek()
    if first not in (b"{", b"["):
        found = "an empty file" if not first else f"a file that begins with {first!r}"
        raise DataError(f"{where}: expected a JSON object or list, found {found}")
    return cursor


def _matches(keys: tuple[Key, ...], pattern: Pattern) -> bool:
    return all(
        wanted in ("*", key) or (wanted == "#" and isinstance(key, int))
        for key, wanted in zip(keys, pattern, strict=False)
    )


def _walk(cursor: Cursor, keys: tuple[Key, ...], patterns: Sequence[Pattern]) -> Iterator[Member]:
    fitting = [pattern for pattern in patterns if len(pattern) >= len(keys) and _matches(keys, pattern)]
    cursor.keys = keys
    if any(len(pattern) == len(keys) for pattern in fitting):
        data, where = cursor.value(keep=True), cursor.where
        yield Member(keys, parse(data, where), where)
    elif fitting and cursor.peek() in (b"{", b"["):
        for key in _keys_of_container(cursor):
            yield from _walk(cursor, (*keys, key), fitting)
    else:
        cursor.value(keep=False)


def _find(cursor: Cursor, keys: tuple[Key, ...], place: Pattern, fields: frozenset[str]) -> Iterator[Member]:
    cursor.keys = keys
    if len(keys) == len(place):
        where = cursor.where
        yield Member(keys, _some_fields(cursor, keys, fields), where)
    elif cursor.peek() in (b"{", b"["):
        for key in _keys_of_container(cursor):
            if _matches((*keys, key), place):
                yield from _find(cursor, (*keys, key), place, fields)
            else:
                cursor.value(keep=False)
    else:
        cursor.value(keep=False)


def _some_fields(cursor: Cursor, keys: tuple[Key, ...], fields: frozenset[str]) -> object:
    if cursor.peek() != b"{":
        return parse(cursor.value(keep=True), cursor.where)
    found, num_bytes = {}, 0
    for key in _keys_of_container(cursor):
        cursor.keys = (*keys, key)
        data = cursor.value(keep=key in fields)
        if key in fields:
            num_bytes += len(data)
            if num_bytes > MAX_VALUE_BYTES:
                too_long(cursor.where)
            found[str(key)] = parse(data, cursor.where)
    return found


def _keys_of_container(cursor: Cursor) -> Iterator[Key]:
    """Yield the keys of the container that begins here; the taker steps over each value."""
    is_object = cursor.take(b"{[") == b"{"
    closing = b"}" if is_object else b"]"
    index = 0
    while cursor.peek() != closing:
        if is_object:
            key: Key = str(parse(cursor.value(keep=True), cursor.where))
            cursor.take(b":")
        else:
            key = index
        yield key
        index += 1
        if cursor.peek() != closing:
            cursor.take(b"," + closing)
    cursor.take(closing)
