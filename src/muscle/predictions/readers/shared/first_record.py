"""The first record of a file, by which its format is known, however long it is."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from muscle.errors import DataError
from muscle.predictions.readers.shared.json_cursor import MAX_VALUE_BYTES
from muscle.predictions.readers.shared.json_members import Pattern, line_objects, members


def is_whole(path: Path, head: bytes) -> bool:
    """Tell whether the beginning of a file is all of it, so that nothing more can be learnt of its first record."""
    return path.stat().st_size <= len(head)


def first_line(path: Path) -> Mapping[str, Any]:
    """Return the object in a file's first line; an empty one where there is none."""
    try:
        return next(line_objects(path), (0, {}))[1]
    except DataError:
        return {}


def first_member(path: Path, patterns: Sequence[Pattern]) -> Mapping[str, Any]:
    """Return the first object in a document that fits one of some patterns; an empty one where there is none.

    Args:
        path: a file that holds one JSON document.
        patterns: as for `muscle.predictions.readers.shared.json_members.members`. Only as much as one record may have is looked through.
    """
    with path.open("rb") as handle:
        start = io.BytesIO(handle.read(MAX_VALUE_BYTES))
    try:
        found = next(members(start, str(path), patterns), None)
    except DataError:
        return {}
    return found.value if found is not None and isinstance(found.value, dict) else {}
