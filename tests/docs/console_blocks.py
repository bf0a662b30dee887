"""Runs the commands of the pages' console blocks, and writes or compares what they print.

A block below `<!-- run -->` is run in a folder that holds the sample files, at 80 columns; lines that begin with
`$ muscle` are typed there, other commands (`$ pip ...`) print nothing, and
`| head -N` takes the first N lines. The folder of the package's own samples is
written `.../muscle/samples`.

PYTHONPATH=src:tests python tests/docs/console_blocks.py      writes what the commands print now
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import tempfile
from pathlib import Path
from unittest import mock

from helpers.command_line import muscle
from helpers.places import ROOT
from muscle.samples import capitals

PAGES = sorted(
    page for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")) if "<!-- run -->" in page.read_text()
)
SAMPLES = Path(capitals()[0]).parent
_BLOCK = re.compile(r"(?<=<!-- run -->\n)(\n?```console\n)(.*?)(?=```)", re.DOTALL)


def run_block(block: str, folder: Path) -> str:
    """Return a block as it should be: its commands, and what each prints.

    Args:
        block: the lines of the block.
        folder: where the commands are typed.
    """
    lines, code = [], 0
    for line in (line for line in block.splitlines() if line.startswith("$ ")):
        lines.append(line)
        typed, _, limit = line.removeprefix("$ ").partition(" | head -")
        words = shlex.split(typed, comments=True)
        if words == ["echo", "$?"]:
            lines.append(str(code))
        elif words[0] == "muscle":
            done = muscle(*words[1:], cwd=folder)
            code = done.code
            printed = (done.err + done.out).replace(str(SAMPLES), ".../muscle/samples")
            lines += [each.rstrip() for each in printed.rstrip().splitlines()[: int(limit) if limit else None]]
    return "\n".join(lines) + "\n"


def rewritten(text: str) -> str:
    """Return a page with what its blocks print now."""
    with tempfile.TemporaryDirectory() as name, mock.patch.dict(os.environ, {"COLUMNS": "80"}):
        for each in (*SAMPLES.glob("*.csv"), *SAMPLES.glob("*.jsonl")):
            shutil.copy(each, name)
        return _BLOCK.sub(lambda found: found[1] + run_block(found[2], Path(name)), text)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(rewritten(page.read_text(encoding="utf-8")), encoding="utf-8")
