"""The first record of a file, by which its format is known, however long it is."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from muscle.errors import DataError
from muscle.predictions.readers.shared.json_cursor import MAX_VALUE_BYTES
from muscle.predictions.readers.shared.json_members import Pattern, line_objects, members


def first_byte(head: bytes) -> bytes:
    """Return the first byte of a text that is neither white space nor a byte order mark; empty where there is none."""
    return head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]


def is_whole(path: Path, head: bytes) -> bool:
    """Tell whether the beginning of a file is all of it, so that nothing more can be learnt of its first record."""
    return path.stat().st_size <= len(head)


def first_line(path: Path) -> Mapping[str, object]:
    """Return the object in a file's first line; an empty one where there is none."""
    try:
        return next(line_objects(path), ({}, ""))[0]
    except DataError:
        return {}


def first_member(path: Path, patterns: Sequence[Pattern]) -> Mapping[str, object]:
    """Return the first object in a document that fits one of some patterns; an empty one where there is none.

    Args:
        path: a file that holds one JSON document.
        patterns: as for `muscle.predictions.readers.shared.json_members.members`. Only as much as one record
            may have is looked through.
    """
    with path.open("rb") as handle:
        start = io.BytesIO(handle.read(MAX_VALUE_BYTES))
    try:
        found = next((member.value for member in members(start, str(path), patterns)), None)
    except DataError:
        return {}
    return found if isinstance(found, dict) else {}
