"""`muscle collect`: several updates side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from muscle.commands.ending import BAD_INPUT
from muscle.commands.options import JsonFile, Markdown, Quiet
from muscle.commands.shell import check_outputs, start, write_result


def collect(
    runs: Annotated[list[str], typer.Argument(metavar="RUN", help="Run folders of updates, or their report.json.")],
    names: Annotated[
        list[str] | None,
        typer.Option("--name", metavar="NAME", help="What an update is called; once for each RUN."),
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
    flips avoided against the performance gap, and NFR_mc with NFR. The paper's own results stand beside yours.

    Exit code 0; 3 where a report could not be read: it is named, and what could be read is written.
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
    if found.refused:
        raise typer.Exit(BAD_INPUT)
