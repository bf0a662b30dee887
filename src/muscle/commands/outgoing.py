"""Text on its way out, to a terminal or into a pipeline's log: what stands in it must neither act nor hide.

Names and answers come from files that anyone may have written. A terminal obeys escape sequences; a runner reads
commands in what a step prints: GitHub `::name::` at a line's beginning and `##[name]` anywhere in it, Azure
`##vso[name]`, TeamCity `##teamcity[name]`. The first are spelled out where a text is written
(`muscle.foreign_text.visible`), the second where it leaves (`Guarded`), since only there is it known which text begins
a line.
"""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from muscle.errors import OutputError

_ESCAPE = r"\x1b\[[0-9;?]*[ -/]*[@-~]"
_COMMAND = re.compile(
    rf"(?P<start>(?:^|(?<=[\r\n]))(?:[^\S\r\n]|\ufeff|{_ESCAPE})*:)(?=:)|(?P<anywhere>##(?:vso|teamcity)?)(?=\[)",
    re.IGNORECASE,
)
_LONGEST_HEAD = 16


def without_commands(text: str) -> str:
    """Return text in which no runner finds a command: a space stands in each of their marks.

    >>> without_commands("  ::error::x")
    '  : :error::x'
    >>> without_commands("a::b ##[group]c ##vso[task.setvariable]d")
    'a::b ## [group]c ##vso [task.setvariable]d'
    """
    return _COMMAND.sub(lambda found: f"{found[0]} ", text)


class Guarded(io.TextIOBase):
    """Standard output or standard error through which no runner command goes.

    A reader that went away (`| head`) takes nothing from a command's work or its exit code: what is written then goes
    nowhere.
    """

    def __init__(self, stream: TextIO, name: str) -> None:
        self._stream = stream
        self._name = name
        self._line = ""
        self._failure: OutputError | None = None

    def write(self, text: str) -> int:
        """Write text without the commands in it; a mark that is written in two pieces is one too."""
        before = self._line
        joined = before + text
        self._to_stream(without_commands(joined)[len(before) :])
        line = re.split(r"[\r\n]", joined)[-1].lstrip()
        self._line = line if len(line) <= _LONGEST_HEAD else f"x{line[-_LONGEST_HEAD:]}"
        return len(text)

    def write_commands(self, text: str) -> None:
        """Write text as it is: our own commands."""
        self._to_stream(text)
        self._line = ""

    def flush(self) -> None:
        """Bring what was written to its reader."""
        with self._reader():
            self._stream.flush()
        # Libraries try whether a stream can be written to, and pass over what it raises: so it is raised again.
        if self._failure is not None:
            raise self._failure

    def _to_stream(self, text: str) -> None:
        with self._reader():
            self._stream.write(text)

    @contextmanager
    def _reader(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            # Else the interpreter fails again when it ends, with an exit code of its own.
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            if not isinstance(error, BrokenPipeError):
                reason = error.strerror or str(error)
                self._failure = OutputError(f"{self._name}: cannot be written: {reason}")
                raise self._failure from error

    def writable(self) -> bool:
        """Tell that it can be written to."""
        return True

    def isatty(self) -> bool:
        """Tell whether a person may be reading."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Return the file's number."""
        return self._stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """How characters become bytes."""
        return self._stream.encoding or "utf-8"

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """What becomes of characters that the encoding does not have."""
        return self._stream.errors


@contextmanager
def guarded() -> Iterator[None]:
    """Let everything that the block prints go through `Guarded`."""
    before: tuple[Any, Any] = sys.stdout, sys.stderr
    # A closed stream (`>&-`) is None.
    streams = [stream or Path(os.devnull).open("w") for stream in before]  # noqa: SIM115
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # what an encoding lacks is no reason to fail
    sys.stdout = Guarded(streams[0], "standard output")
    sys.stderr = Guarded(streams[1], "standard error")
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
