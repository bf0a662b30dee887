"""`muscle history`, `convert` and `collect`: a chain of versions, a run in another format, updates side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from muscle.commands.ending import BAD_INPUT
from muscle.commands.groups import Comparing, Reading, spread
from muscle.commands.options import JsonFile, Markdown, Quiet
from muscle.commands.shell import check_outputs, say, say_written, start, write_result
from muscle.commands.sources import reading


@spread
def history(
    runs: Annotated[list[str], typer.Argument(metavar="RUN", help="Two or more versions' results, oldest first.")],
    names: Annotated[
        list[str] | None,
        typer.Option("--name", metavar="NAME", help="A version's name in the output; once for each run."),
    ] = None,
    markdown: Markdown = None,
    json_file: JsonFile = None,
    *,
    how: Reading,
    comparing: Comparing,
    quiet: Quiet = False,
) -> None:
    """Follow every answer through a chain of versions.

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
    source: Annotated[str, typer.Argument(metavar="RUN", help="A run in any format that muscle reads.")],
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
    from muscle.predictions.writers.convert import check_target
    from muscle.predictions.writers.convert import convert as convert_run

    check_target(out, to)
    with reading([source], how) as read:
        written = convert_run(read[0], out, to=to)
    if not quiet:
        for path in written:
            say(str(path))


def collect(
    runs: Annotated[list[str], typer.Argument(metavar="RUN", help="Run folders of updates, or their report.json.")],
    names: Annotated[
        list[str] | None,
        typer.Option("--name", metavar="NAME", help="An update's name in the output; once for each RUN."),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write tables and figures as one HTML file.")] = None,
    markdown: Markdown = None,
    latex: Annotated[Path | None, typer.Option(help="Write the tables for LaTeX (booktabs).")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write every number in one flat table.")] = None,
    json_file: JsonFile = None,
    paper: Annotated[
        bool, typer.Option(" /--no-paper", help="Leave out the paper's own results on the same tasks.")
    ] = True,
    quiet: Quiet = False,
) -> None:
    """Put several updates into the paper's tables and figures.

    Tables 4 to 6: accuracy, exact match and scores of old, new and compatible version, with their flips. Fig. 4 and 5:
    flips avoided against the performance gap, and NFR_mc with NFR. The paper's own results are shown next to yours.

    Exit code 0; 3 if a report could not be read: it is named, and all others are written.
    """
    start(quiet)
    check_outputs(html, markdown, latex, csv, json_file)
    from muscle.files import write_text
    from muscle.report.collection.page import render_collection
    from muscle.report.collection.rows import collect as collect_runs
    from muscle.report.collection.tables import flat_table
    from muscle.report.collection.text import (
        collection_latex,
        collection_markdown,
        print_collection,
        print_refused,
    )
    from muscle.report.text.table_forms import to_csv

    found = collect_runs(runs, names=names, paper=paper)
    for path, write in (
        (html, render_collection),
        (markdown, collection_markdown),
        (latex, collection_latex),
        (csv, lambda collection: to_csv(flat_table(collection))),
    ):
        if path:
            write_text(path, write(found))
    is_printed = write_result(json_file, found)
    from rich.console import Console

    print_refused(found, Console(stderr=True))
    if not (is_printed or quiet):
        print_collection(found, Console())
        say_written(html, markdown, latex, csv, json_file)
    if found.refused:
        raise typer.Exit(BAD_INPUT)
