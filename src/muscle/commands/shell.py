"""What every command does around its work: set up the output, print the result, read KEY=VALUE words."""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from muscle import distributed
from muscle.commands.outgoing import Guarded
from muscle.errors import ConfigError
from muscle.foreign_text import visible

if TYPE_CHECKING:
    from muscle.flips.result.report import Report


_ACTING = re.compile(r"(?<=#)#|[\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]")
"""The second of two `#`, and characters that control or cannot be seen and that JSON leaves as they are."""


def start(quiet: bool) -> None:
    """Set up what a command shows: notes and warnings on standard error, no third party's chatter."""
    from muscle.progress import set_quiet, show_log

    quiet = quiet or not distributed.is_main()
    set_quiet(quiet)
    show_log(logging.ERROR if quiet else logging.INFO)


def show_report(found: Report, *, quiet: bool) -> None:
    """Print a report as a table for people, or not at all."""
    if not quiet:
        from rich.console import Console

        from muscle.report.text.terminal import print_report

        print_report(found, Console())


def say(text: object) -> None:
    """Print lines for people on standard output; what cannot be seen in them is spelled out."""
    sys.stdout.write(visible(text, keep="\n") + "\n")


def say_written(*paths: Path | None) -> None:
    """Say which files a command wrote; None and `-` are none."""
    for path in paths:
        if path is not None and str(path) != "-":
            say(f"Written: {path}")


def print_json(value: object) -> None:
    """Print a value as JSON, and nothing else, on standard output."""
    import json

    is_utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    text = json.dumps(value, indent=2, ensure_ascii=not is_utf8, allow_nan=False)
    # What a terminal or a runner would obey has another way of being written in JSON.
    sys.stdout.write(_ACTING.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")


def print_commands(text: str, *, err: bool) -> None:
    """Print our own commands for a pipeline's runner, on standard error or standard output."""
    stream = sys.stderr if err else sys.stdout
    stream.write_commands(text) if isinstance(stream, Guarded) else stream.write(text)


def check_outputs(*paths: Path | None, folder: bool = False, whole: bool = False) -> None:
    """See before the work that every output that was asked for can be written.

    Args:
        paths: of the outputs; None and `-` are none.
        folder: they are folders.
        whole: each is made anew and renamed; else files are written into it.

    Raises:
        OutputError: one cannot.
    """
    from muscle.files import check_can_write

    for path in paths:
        if path is not None and str(path) != "-":
            check_can_write(path, folder=folder, whole=whole)


def write_result(path: Path | None, value: object) -> bool:
    """Write a result where `--json` says: to a file, or, for `-`, to standard output.

    Args:
        path: what `--json` says; None writes nothing.
        value: the result, typed or plain, as `muscle.typed_json.to_json` takes it.

    Returns:
        Whether standard output is taken by it, so that nothing else may stand there.
    """
    if path is None:
        return False
    from muscle.typed_json import to_json

    plain = to_json(value)
    if str(path) == "-":
        print_json(plain)
        return True
    from muscle.files import write_json

    write_json(path, plain)
    return False


def assignments(pairs: list[str], *, option: str = "--set", example: str = "training.epochs=3") -> dict[str, object]:
    """Turn an option's KEY=VALUE words into keys and YAML values."""
    from muscle.yaml_files import yaml_value

    values = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise ConfigError(f"{option} {pair}: expected KEY=VALUE, such as {example}")
        values[key] = yaml_value(text)
    return values
