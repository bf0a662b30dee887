"""`muscle compare` and `muscle report`: which answers flipped between two runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from muscle.commands.options import (
    Allow,
    Candidate,
    Cluster,
    Columns,
    Epsilon,
    EpsilonItem,
    FilterName,
    Format,
    Html,
    ItemFamily,
    ItemTest,
    JsonFile,
    LowerIsBetter,
    Markdown,
    MaxUnpaired,
    MetricName,
    On,
    Quiet,
    Rerun,
)
from muscle.commands.shell import VERDICT_CODES, column_map, show_report, start, write_result
from muscle.commands.sources import Reading, named_sources, reading


def compare(
    old: Annotated[str, typer.Argument(metavar="OLD", help="The old version's results: a file or folder.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The new version's.")],
    candidate: Candidate = None,
    rerun: Rerun = None,
    others: Annotated[
        list[str] | None,
        typer.Option("--other", metavar="NAME=RUN", help="A further run, held against OLD. Repeatable."),
    ] = None,
    html: Html = None,
    markdown: Markdown = None,
    json_file: JsonFile = None,
    slices: Annotated[
        list[str] | None,
        typer.Option(
            "--slice",
            metavar="BY",
            help="Cut by a slice's or column's name, NAME=/REGEX/, length or length:words. Repeatable; without it the "
            "records' slices, their classes and the inputs' length.",
        ),
    ] = None,
    tolerance: Annotated[
        float,
        typer.Option(min=0, max=1, help="Negative flip rate that passes, once it is proven to be no higher."),
    ] = 0.01,
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
    epsilon_item: EpsilonItem = 0.2,
    item_test: ItemTest = "fisher",
    item_family: ItemFamily = None,
    quiet: Quiet = False,
) -> None:
    """Tell which answers flipped between two runs, and whether it is more than chance.

    A run is a file or folder as a harness wrote it, or a plain table. RUN::key=value says something of one run alone, as
    results.json::provider=openai:gpt-4o; the keys are name, format, metric, filter and provider.

    Exit code 0: pass or warning; 1: blocked, more broke than was gained; 2: cannot tell; 3: bad input.
    """
    start(quiet)
    from muscle.flips.compare import compare as compare_runs
    from muscle.report import write_html, write_markdown

    how = Reading(format_, column_map(columns), metric, filter_)
    further = named_sources(others or ())
    given = {"candidate": candidate, "rerun": rerun}
    roles = {role: word for role, word in given.items() if word is not None}
    with reading([old, new, *roles.values(), *further.values()], how) as runs:
        beside = dict(zip(roles, runs[2:], strict=False))
        found = compare_runs(
            runs[0],
            runs[1],
            candidate=beside.get("candidate"),
            rerun=beside.get("rerun"),
            others=dict(zip(further, runs[2 + len(roles) :], strict=True)),
            on=on,
            cluster=cluster,
            epsilon=epsilon,
            epsilon_item=epsilon_item,
            item_test=item_test,
            item_family=item_family,
            lower_is_better=lower_is_better or (),
            max_unpaired=max_unpaired,
            allow=allow or (),
            slices=slices,
            tolerance=tolerance,
        ).to_json()
    if html:
        write_html(found, html)
    if markdown:
        write_markdown(found, markdown)
    write_result(json_file, found)
    show_report(found, quiet=quiet or str(json_file) == "-", as_json=False)
    raise typer.Exit(VERDICT_CODES[found["verdict"]])


def report(
    source: Annotated[Path, typer.Argument(metavar="REPORT", help="A run folder, or a report.json.")],
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
