"""What a benchmark keeps of itself: the machine that its numbers are of, and a file of which a diff can be read."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def machine() -> str:
    """Name this machine and its Python, for the head of a result."""
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def processor() -> str:
    """Name the processor, as Linux does where it is there."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def write_rows(path: Path, head: Mapping[str, Any], rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Write what holds for all of a result, then its lists of rows, a line a row."""
    lists = "".join(
        f',\n  "{name}": [\n    ' + ",\n    ".join(map(json.dumps, each)) + "\n  ]" for name, each in rows.items()
    )
    path.write_text(json.dumps(head, indent=2)[:-2] + lists + "\n}\n", encoding="utf-8")
