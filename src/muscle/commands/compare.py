"""`muscle compare` and `muscle report`: which answers flipped between two runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from muscle.commands.options import (
    Allow,
    Cluster,
    Columns,
    Epsilon,
    EpsilonItem,
    Format,
    ItemFamily,
    ItemTest,
    LowerIsBetter,
    MaxUnpaired,
    Quiet,
    Rerun,
)
from muscle.commands.shell import VERDICT_CODES, column_map, show_report, start


def compare(
    old: Annotated[Path, typer.Argument(help="The old version's results: a file or folder.")],
    new: Annotated[Path, typer.Argument(help="The new version's.")],
    candidate: Annotated[
        Path | None, typer.Option(help="A second new version, held against the first.")
    ] = None,
    rerun: Rerun = None,
    html: Annotated[Path | None, typer.Option(help="Write the report as one HTML file.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write it as Markdown, for a pull request.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write it as JSON; - prints it.")] = None,
    format_: Format = None,
    columns: Columns = None,
    cluster: Cluster = None,
    epsilon: Epsilon = 0.0,
    epsilon_item: EpsilonItem = 0.2,
    item_test: ItemTest = "fisher",
    item_family: ItemFamily = None,
    lower_is_better: LowerIsBetter = None,
    max_unpaired: MaxUnpaired = 0.05,
    allow: Allow = None,
    slices: Annotated[
        list[str] | None,
        typer.Option("--slice", help="Cut by a slice's name, NAME=/REGEX/, length or length:words."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Tell which answers flipped between two runs.

    And whether it is more than chance. Ends with exit code 0 (pass or warn), 1 (block), 2 (cannot tell) or 3 (bad input).
    """
    start(quiet)
    from muscle.flips.compare import compare as compare_runs
    from muscle.report import write_html, write_markdown

    found = compare_runs(
        old,
        new,
        candidate=candidate,
        rerun=rerun,
        format=format_,
        columns=column_map(columns),
        cluster=cluster,
        epsilon=epsilon,
        epsilon_item=epsilon_item,
        item_test=item_test,
        item_family=item_family,
        lower_is_better=lower_is_better or (),
        max_unpaired=max_unpaired,
        allow=allow or (),
        slices=slices,
    ).to_json()
    if html:
        write_html(found, html)
    if markdown:
        write_markdown(found, markdown)
    if json_file and str(json_file) != "-":
        from muscle.files import write_json

        write_json(json_file, found)
    show_report(found, quiet=quiet, as_json=str(json_file) == "-")
    raise typer.Exit(VERDICT_CODES[found["verdict"]])


def report(
    source: Annotated[Path, typer.Argument(help="A run folder, or a report.json.")],
    html: Annotated[
        Path | None, typer.Option(help="Where the HTML goes; beside the JSON by default.")
    ] = None,
    markdown: Annotated[Path | None, typer.Option(help="Where the Markdown goes.")] = None,
    quiet: Quiet = False,
) -> None:
    """Render a report again from its JSON."""
    start(quiet)
    from muscle.report import read_report, write_html, write_markdown

    found, folder = read_report(source)
    write_html(found, html or folder / "report.html")
    write_markdown(found, markdown or folder / "report.md")
    show_report(found, quiet=quiet, as_json=False)
