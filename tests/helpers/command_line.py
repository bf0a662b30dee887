"""Runs the real command line in this process, and writes small runs to give it."""

from __future__ import annotations

import io
import json
import logging
import sys
from contextlib import chdir, nullcontext, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from helpers.json_lines import write_lines
from muscle import cli

Row = dict[str, Any]
TOPICS = ("law", "maths", "medicine")


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def last(self) -> str:
        """The last line on standard error."""
        return self.err.strip().splitlines()[-1] if self.err.strip() else ""


def muscle(*arguments: object, cwd: Path | None = None) -> Done:
    """Run a command as `muscle` does, in a folder, and return how it ended."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    logger = logging.getLogger("muscle")
    before = logger.handlers, logger.level
    words = ["muscle", *map(str, arguments)]
    try:
        with (
            mock.patch.object(sys, "argv", words),
            redirect_stdout(out),
            redirect_stderr(err),
            nullcontext() if cwd is None else chdir(cwd),
        ):
            cli.main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        logger.handlers, logger.level = before
    return Done(code, out.getvalue(), err.getvalue())


def refused(*arguments: object) -> str:
    """Run a command that must fail as bad input: exit code 3, one line, nothing on standard output."""
    done = muscle(*arguments)
    assert done.code == 3, done
    assert done.out == ""
    (line,) = done.err.strip().splitlines()
    assert line.startswith("muscle: ")
    return line


def rows(num: int = 300, *, lost: int = 0, gained: int = 0) -> list[Row]:
    """Return items of which every fourth is wrong; of the right ones the first are lost, of the wrong ones gained."""
    right = [item for item in range(num) if item % 4]
    wrong = [item for item in range(num) if not item % 4]
    flipped = {*right[:lost], *wrong[:gained]}
    return [
        {
            "id": f"q{item}",
            "task": "trivia",
            "input": f"Question {item} about {TOPICS[item % 3]}?",
            "reference": "yes",
            "output": "yes" if (item % 4 != 0) != (item in flipped) else "no",
            "correct": (item % 4 != 0) != (item in flipped),
            "slices": {"topic": TOPICS[item % 3]},
        }
        for item in range(num)
    ]


def write(path: Path, lines: list[Row]) -> Path:
    """Write a run as JSON lines."""
    return write_lines(path, *lines)


def write_folder(folder: Path, lines: list[Row], metadata: Row) -> Path:
    """Write a run as a folder that says how it was made."""
    write(folder / "trivia.jsonl", lines)
    (folder / "run.json").write_text(json.dumps(metadata))
    return folder
