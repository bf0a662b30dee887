"""What every command does around its work: set up the output, print the result, read KEY=VALUE words."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import typer

from muscle import distributed
from muscle.errors import ConfigError

VERDICT_CODES = {"pass": 0, "warn": 0, "block": 1, "cannot_tell": 2}


def start(quiet: bool) -> None:
    """Set up what a command shows: notes and warnings on standard error, no third party's chatter."""
    from muscle.progress import set_quiet

    quiet = quiet or not distributed.is_main()
    set_quiet(quiet)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    ours = logging.getLogger("muscle")
    ours.handlers = [handler]
    ours.setLevel(logging.ERROR if quiet else logging.INFO)
    # Deprecation notices of the libraries below are for their developers, not for our users.
    warnings.simplefilter("ignore")


def show_report(found: dict[str, Any], *, quiet: bool) -> None:
    """Print a report as a table for people, or not at all."""
    if not quiet:
        from rich.console import Console

        from muscle.report.terminal import print_report

        print_report(found, Console())


def print_json(value: Any) -> None:
    """Print a value as JSON, and nothing else, on standard output."""
    import json

    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def write_result(path: Path | None, value: Any) -> bool:
    """Write a result where `--json` says: to a file, or, for `-`, to standard output.

    Returns:
        Whether standard output is taken by it, so that nothing else may stand there.
    """
    if path is None:
        return False
    if str(path) == "-":
        print_json(value)
        return True
    from muscle.files import write_json

    write_json(path, value)
    return False


def assignments(
    pairs: list[str], *, option: str = "--set", example: str = "training.epochs=3"
) -> dict[str, Any]:
    """Turn an option's KEY=VALUE words into keys and YAML values."""
    import yaml

    values = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise ConfigError(f"{option} {pair}: expected KEY=VALUE, such as {example}")
        try:
            values[key] = yaml.safe_load(text)
        except yaml.YAMLError:
            values[key] = text
    return values
