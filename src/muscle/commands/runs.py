"""`muscle history` and `muscle convert`: a chain of versions, and a run in another format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from muscle.commands.options import Allow, Columns, Format, Quiet
from muscle.commands.shell import column_map, print_json, start


def history(
    runs: Annotated[list[Path], typer.Argument(help="Two or more versions' results, oldest first.")],
    names: Annotated[
        list[str] | None, typer.Option("--name", help="What a version is called; once for each run.")
    ] = None,
    allow: Allow = None,
    format_: Format = None,
    columns: Columns = None,
    markdown: Annotated[Path | None, typer.Option(help="Write it as Markdown.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write it as JSON; - prints it.")] = None,
    quiet: Quiet = False,
) -> None:
    """Follow every answer along a chain of versions."""
    start(quiet)
    from muscle.files import write_json, write_text
    from muscle.flips.history import history as follow
    from muscle.report.history import history_markdown, print_history

    found = follow(
        runs, names=names, format=format_, columns=column_map(columns), allow=allow or ()
    ).to_json()
    if markdown:
        write_text(markdown, history_markdown(found))
    if json_file and str(json_file) != "-":
        write_json(json_file, found)
    if str(json_file) == "-":
        print_json(found)
    elif not quiet:
        from rich.console import Console

        print_history(found, Console())


def convert(
    source: Annotated[Path, typer.Argument(help="A run in any format that is read.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="A .jsonl or .parquet file, or a folder.")],
    to: Annotated[
        Literal["records", "eee"], typer.Option(help="Our records, or Every Eval Ever's files.")
    ] = "records",
    format_: Format = None,
    columns: Columns = None,
    quiet: Quiet = False,
) -> None:
    """Write a run in another format."""
    start(quiet)
    from muscle.predictions.convert import convert as convert_run

    written = convert_run(source, out, to=to, format=format_, columns=column_map(columns))
    if not quiet:
        for path in written:
            typer.echo(str(path))
