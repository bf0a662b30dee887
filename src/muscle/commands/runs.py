"""`muscle history` and `muscle convert`: a chain of versions, and a run in another format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from muscle.commands.groups import Comparing, Reading, spread
from muscle.commands.options import JsonFile, Markdown, Quiet
from muscle.commands.shell import check_outputs, say, start, write_result
from muscle.commands.sources import reading


@spread
def history(
    runs: Annotated[list[str], typer.Argument(metavar="RUN", help="Two or more versions' results, oldest first.")],
    names: Annotated[
        list[str] | None,
        typer.Option("--name", metavar="NAME", help="What a version is called; once for each run."),
    ] = None,
    markdown: Markdown = None,
    json_file: JsonFile = None,
    *,
    how: Reading,
    comparing: Comparing,
    quiet: Quiet = False,
) -> None:
    """Follow every answer along a chain of versions.

    Shows what each step broke and gained, from the first to the last, and the items that go right, wrong and right
    again.
    """
    start(quiet)
    check_outputs(markdown, json_file)
    from muscle.files import write_text
    from muscle.flips.history import history as follow
    from muscle.report.text.history import history_markdown, print_history

    with reading(runs, how) as read:
        found = follow(read, names=names, options=comparing.options())
    if markdown:
        write_text(markdown, history_markdown(found))
    if not write_result(json_file, found) and not quiet:
        from rich.console import Console

        print_history(found, Console())


@spread
def convert(
    source: Annotated[str, typer.Argument(metavar="RUN", help="A run in any format that is read.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="A .jsonl or .parquet file, or a folder.")],
    to: Annotated[Literal["records", "eee"], typer.Option(help="Our records, or Every Eval Ever's files.")] = "records",
    *,
    how: Reading,
    quiet: Quiet = False,
) -> None:
    """Write a run in another format.

    Prints the files that were written.
    """
    start(quiet)
    from muscle.predictions.writers.convert import convert as convert_run

    with reading([source], how) as read:
        written = convert_run(read[0], out, to=to)
    if not quiet:
        for path in written:
            say(str(path))
