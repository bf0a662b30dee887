"""Reading a record: how its answers were asked for, and what was answered to each item."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from muscle.predictions.records import CALL

_MARK = f'"{CALL}"'.encode()


def calls_of(path: Path) -> list[Mapping[str, object]]:
    """Return how the answers of a record were asked for; nothing of another program's file.

    Args:
        path: a file that has been read as predictions, or a folder with such files.
    """
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path] if path.suffix == ".jsonl" else []
    return [call for file in files for call in _calls(file)]


def _calls(file: Path) -> Iterator[Mapping[str, object]]:
    with file.open("rb") as lines:
        for line in lines:
            if _MARK in line:
                row = json.loads(line)
                call = row.get(CALL) if isinstance(row, dict) else None
                if isinstance(call, dict):
                    yield call
