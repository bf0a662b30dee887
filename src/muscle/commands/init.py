"""The command that writes what one starts from: an update.yaml, or a task for rows of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from muscle.commands.follow_up import command
from muscle.commands.shell import check_outputs, say
from muscle.commands.sources import column_map
from muscle.errors import ConfigError


def init(
    path: Annotated[
        Path | None, typer.Argument(help="The file to write: update.yaml, or with --task the data's name.yaml.")
    ] = None,
    task: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Your own rows: write a task's YAML for them, with kind, fields and scorer proposed from the "
            "data, and say why.",
        ),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option("--column", metavar="OURS=THEIRS", help="With --task: input=A,B, answer=C or id=D. Repeatable."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The file to write, as an option.")] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Write every setting with its default, not only the most common ones.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Write a commented update.yaml to start from, or a task's YAML for your own data."""
    if path is not None and out is not None:
        raise ConfigError(f"--out {out}: expected one file to write, found {path} beside it; leave one of the two out")
    path = path or out or Path(f"{task.stem}.yaml" if task else "update.yaml")
    check_outputs(path)
    if task is not None:
        if full:
            raise ConfigError("--full: only read without --task")
        from muscle.tasks.proposal.start import start_task

        say("\n".join(start_task(task, path, columns=column_map(columns or ()), force=force)))
        return
    if columns:
        raise ConfigError("--column: only read with --task")
    from muscle.config.template import SHORT_UPDATE_YAML, UPDATE_YAML
    from muscle.files import write_text

    if path.exists() and not force:
        raise ConfigError(f"{path}: exists already; --force replaces it")
    write_text(path, UPDATE_YAML if full else SHORT_UPDATE_YAML)
    say(f"wrote {path}; edit it, then: {command('muscle', 'update', arguments=[path], options=['--dry-run'])}")
