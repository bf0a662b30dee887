"""How a command ends: at most one line on standard error, and an exit code that says what it says and nothing else.

0 pass, 1 block, 2 cannot tell (or warn under `--strict`), 3 bad input or configuration (or a full disk, or no memory),
4 a fault of muscle itself, 130 interrupted. A pipeline stops an update on 1, so nothing that went wrong may end with
it.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from muscle.commands.outgoing import guarded
from muscle.errors import MuscleError
from muscle.foreign_text import message_line, visible

BAD_INPUT, FAULT, INTERRUPTED = 3, 4, 130
TRACEBACK = "MUSCLE_TRACEBACK"
_INTERRUPTED = "interrupted; what was finished is kept, and the same command goes on from there"

_TRAIN = {
    "accelerate",
    "datasets",
    "gguf",
    "lm_eval",
    "peft",
    "safetensors",
    "tokenizers",
    "torch",
    "transformers",
}
"""Packages that come with `muscle-llm[train]` and not with the light core."""


def end(work: Callable[[], int]) -> NoReturn:
    """Do a command's work, and leave the process with its exit code; what it raises becomes one line and a code.

    Args:
        work: returns the exit code.
    """
    with guarded():
        code = INTERRUPTED
        try:
            code = work()
            sys.stdout.flush()
            message = _INTERRUPTED if code == INTERRUPTED else None  # typer's own answer to Ctrl-C
        except BaseException as error:  # polars' panics are no Exceptions
            message, code = _told(error)
            if os.environ.get(TRACEBACK):
                sys.stderr.write(visible(traceback.format_exc(), keep="\n"))
        with suppress(MuscleError):
            if message is not None:
                sys.stderr.write(f"muscle: {message_line(message)}\n")
            sys.stdout.flush()
            sys.stderr.flush()
    sys.exit(code)


def _told(error: BaseException) -> tuple[str, int]:
    """Return the line and the exit code for what a command raised."""
    if isinstance(error, MuscleError):
        return str(error), BAD_INPUT
    if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "Abort":  # the latter is typer's
        return _INTERRUPTED, INTERRUPTED
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # the latter is torch's
        return f"out of memory: {error}".removesuffix(": "), BAD_INPUT
    if isinstance(error, OSError):
        return f"{error.filename or 'system'}: {error.strerror or error}", BAD_INPUT
    if isinstance(error, ImportError) and (missing := _missing_package(error)):
        return missing, BAD_INPUT
    if hasattr(error, "format_message"):  # how the command was typed
        context = getattr(error, "ctx", None)
        hint = f" (see {context.command_path} --help)" if context else ""
        return f"{error.format_message()}{hint}", BAD_INPUT
    return _fault(error), FAULT


def _missing_package(error: ImportError) -> str | None:
    """Say which package is not there or cannot be loaded; None where it is a part of muscle."""
    package = (error.name or "").partition(".")[0]
    if not package or package == "muscle":
        return None
    if package not in _TRAIN:
        return f"the package {package} cannot be loaded ({error}); install muscle-llm again"
    if isinstance(error, ModuleNotFoundError):
        return f"this needs the package {package}; install it with: pip install 'muscle-llm[train]'"
    return f"the package {package} cannot be loaded ({error}); install muscle-llm[train] again"


def _fault(error: BaseException) -> str:
    """Say that muscle is at fault, where, and how to report it."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(__file__).parent in Path(frame.filename).parents] or frames
    place = f" at {Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else ""
    reason = message_line(error, 300).rstrip(".")
    return (
        f"this is a fault of muscle, not of your files: {type(error).__name__}{place}: {reason}. Please report "
        f"this line, the command and `muscle --version`; {TRACEBACK}=1 before the command shows where it comes from"
    )
