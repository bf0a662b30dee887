"""Files of JSON lines, as tests write them."""

from __future__ import annotations

import json
from pathlib import Path


def write_lines(path: Path, *rows: object) -> Path:
    """Write a line a row, in folders that need not be there; a text is a line as it stands."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return path
