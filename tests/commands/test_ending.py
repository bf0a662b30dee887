"""How commands end: exit code 1 says block and nothing else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest

from helpers.command_line import muscle, rows, write


class PanicError(BaseException):
    """As polars raises it: no Exception."""


class OutOfMemoryError(RuntimeError):
    """As torch names it."""


def raising(error: BaseException) -> Callable[..., None]:
    def start(quiet: bool) -> None:
        raise error

    return start


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (KeyError("x"), 4, "this is a fault of muscle, not of your files: KeyError at"),
        (PanicError("not implemented\nfor Object"), 4, "PanicError at"),
        (RecursionError("too deep"), 4, "RecursionError"),
        (AssertionError(), 4, "AssertionError"),
        (SystemExit(1), 4, "SystemExit"),
        (SystemExit(0), 4, "SystemExit"),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates"), 4, "UnicodeEncodeError"),
        (ImportError("cannot import name 'y' from 'muscle.x'", name="muscle.x"), 4, "ImportError"),
        (MemoryError(), 3, "muscle: out of memory"),
        (OutOfMemoryError("CUDA out of memory. Tried"), 3, "muscle: out of memory: CUDA"),
        (OSError(28, "No space left on device", "/x/y"), 3, "muscle: /x/y: No space left on device"),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), 3, "pip install 'muscle-llm[train]'"),
        (ImportError("libcudart.so not found", name="torch._C"), 3, "libcudart.so not found"),
        (ImportError("cannot import name 'x'", name="polars"), 3, "install muscle-llm again"),
        (KeyboardInterrupt(), 130, "muscle: interrupted"),
    ],
)
def test_whatever_a_command_raises_ends_in_one_line_and_its_own_code(
    error: BaseException, code: int, told: str
) -> None:
    with mock.patch("muscle.commands.compare.start", raising(error)):
        done = muscle("compare", "old", "new")
    assert done.code == code and done.out == "" and done.err.count("\n") == 1 and told in done.err


def test_the_traceback_of_a_fault_is_shown_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSCLE_TRACEBACK", "1")
    with mock.patch("muscle.commands.compare.start", raising(KeyError("a\x1b[2J"))):
        done = muscle("compare", "old", "new")
    assert done.code == 4 and "Traceback" in done.err and "\x1b" not in done.err
    assert done.last.startswith("muscle: this is a fault") and "MUSCLE_TRACEBACK=1" in done.last


def test_an_import_that_fails_before_any_command_ends_the_same_way(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise RuntimeError('damaged')\n")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from muscle.__main__ import main; main()",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4 and done.stderr.count("\n") == 1 and "RuntimeError" in done.stderr


def test_help_lists_the_codes() -> None:
    told = " ".join(muscle("--help").out.split())
    for words in (
        "0 pass",
        "1 block, and nothing else",
        "2 cannot tell",
        "3 bad input",
        "4 a fault",
        "130 interrupted",
    ):
        assert words in told


def test_a_blocked_update_still_ends_in_1(tmp_path: Path) -> None:
    old, new = write(tmp_path / "old.jsonl", rows()), write(tmp_path / "new.jsonl", rows(lost=60))
    assert muscle("gate", old, new).code == 1
