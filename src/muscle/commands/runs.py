"""`muscle history` and `muscle convert`: a chain of versions, and a run in another format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from muscle.commands.options import (
    Allow,
    Cluster,
    Columns,
    Epsilon,
    FilterName,
    Format,
    JsonFile,
    LowerIsBetter,
    Markdown,
    MaxUnpaired,
    MetricName,
    On,
    Quiet,
)
from muscle.commands.shell import column_map, start, write_result
from muscle.commands.sources import Reading, reading


def history(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN", help="Two or more versions' results, oldest first.")
    ],
    names: Annotated[
        list[str] | None,
        typer.Option("--name", metavar="NAME", help="What a version is called; once for each run."),
    ] = None,
    markdown: Markdown = None,
    json_file: JsonFile = None,
    format_: Format = None,
    columns: Columns = None,
    metric: MetricName = None,
    filter_: FilterName = None,
    on: On = "auto",
    max_unpaired: MaxUnpaired = 0.05,
    allow: Allow = None,
    cluster: Cluster = None,
    epsilon: Epsilon = 0.0,
    lower_is_better: LowerIsBetter = None,
    quiet: Quiet = False,
) -> None:
    """Follow every answer along a chain of versions.

    Shows what each step broke and gained, from the first to the last, and the items that go right, wrong and right again.
    """
    start(quiet)
    from muscle.files import write_text
    from muscle.flips.history import history as follow
    from muscle.report.history import history_markdown, print_history

    with reading(runs, Reading(format_, column_map(columns), metric, filter_)) as read:
        found = follow(
            read,
            names=names,
            allow=allow or (),
            on=on,
            max_unpaired=max_unpaired,
            cluster=cluster,
            epsilon=epsilon,
            lower_is_better=lower_is_better or (),
        ).to_json()
    if markdown:
        write_text(markdown, history_markdown(found))
    write_result(json_file, found)
    if not quiet and str(json_file) != "-":
        from rich.console import Console

        print_history(found, Console())


def convert(
    source: Annotated[str, typer.Argument(metavar="RUN", help="A run in any format that is read.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="A .jsonl or .parquet file, or a folder.")],
    to: Annotated[
        Literal["records", "eee"], typer.Option(help="Our records, or Every Eval Ever's files.")
    ] = "records",
    format_: Format = None,
    columns: Columns = None,
    metric: MetricName = None,
    filter_: FilterName = None,
    quiet: Quiet = False,
) -> None:
    """Write a run in another format.

    Prints the files that were written.
    """
    start(quiet)
    from muscle.predictions.convert import convert as convert_run

    with reading([source], Reading(format_, column_map(columns), metric, filter_)) as read:
        written = convert_run(read[0], out, to=to)
    if not quiet:
        for path in written:
            typer.echo(str(path))
