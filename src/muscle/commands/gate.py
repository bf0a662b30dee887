"""`muscle gate` and `muscle baseline`: an update judged by a policy, against a run or a kept one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from muscle.commands.options import (
    Allow,
    Cluster,
    Columns,
    Epsilon,
    EpsilonItem,
    Format,
    LowerIsBetter,
    MaxUnpaired,
    Quiet,
)
from muscle.commands.shell import column_map, print_json, start
from muscle.errors import ConfigError

baselines_app = typer.Typer(
    help="Keep accepted runs as named baselines for the gate.", rich_markup_mode=None, no_args_is_help=True
)


def gate(
    runs: Annotated[
        list[Path],
        typer.Argument(help="The old and the new version's results; the new one alone with --baseline."),
    ],
    policy: Annotated[Path | None, typer.Option(help="The policy's YAML; the default one without.")] = None,
    candidate: Annotated[Path | None, typer.Option(help="Judge this one; NEW is shown beside it.")] = None,
    baseline: Annotated[str | None, typer.Option(help="Name of a kept baseline in place of OLD.")] = None,
    baselines: Annotated[Path, typer.Option(help="Folder of the kept baselines.")] = Path("baselines"),
    noise: Annotated[
        Path | None,
        typer.Option(
            "--rerun", "--noise", help="A second run of the old version, for limits beyond its own noise."
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="A warning ends in exit code 2.")] = False,
    allow: Allow = None,
    format_: Format = None,
    columns: Columns = None,
    cluster: Cluster = None,
    epsilon: Epsilon = 0.0,
    epsilon_item: EpsilonItem = 0.2,
    lower_is_better: LowerIsBetter = None,
    max_unpaired: MaxUnpaired = 0.05,
    markdown: Annotated[Path | None, typer.Option(help="Write a comment for a pull request.")] = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the report as one HTML file.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write it as JSON; - prints it.")] = None,
    annotations: Annotated[
        bool, typer.Option("--annotations", help="Print annotations for GitHub Actions.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Judge an update by a policy, for CI.

    Ends with exit code 0 (pass, or warn without --strict), 1 (block), 2 (cannot tell) or 3 (bad input).
    """
    start(quiet)
    from muscle import gate as gates
    from muscle.files import write_json, write_text
    from muscle.report import write_html

    old, new = _old_and_new(runs, baseline, baselines)
    result = gates.gate(
        old,
        new,
        policy,
        candidate=candidate,
        noise=noise,
        strict=strict,
        allow=allow or (),
        format=format_,
        columns=column_map(columns),
        cluster=cluster,
        epsilon=epsilon,
        epsilon_item=epsilon_item,
        lower_is_better=lower_is_better or (),
        max_unpaired=max_unpaired,
    )
    if markdown:
        write_text(markdown, gates.to_markdown(result.report))
    if junit:
        write_text(junit, gates.to_junit(result.report))
    if html:
        write_html(result.report, html)
    if json_file and str(json_file) != "-":
        write_json(json_file, result.report)
    if str(json_file) == "-":
        print_json(result.report)
    elif not quiet:
        from rich.console import Console

        from muscle.gate.terminal import print_gate

        print_gate(result.report, Console())
    if annotations:
        typer.echo(gates.to_annotations(result.report))
    raise typer.Exit(result.exit_code)


def _old_and_new(runs: list[Path], baseline: str | None, folder: Path) -> tuple[Any, Path]:
    if baseline is None:
        if len(runs) != 2:
            raise ConfigError(f"gate: expected OLD and NEW, found {len(runs)} runs")
        return runs[0], runs[1]
    if len(runs) != 1:
        raise ConfigError(f"gate: expected NEW alone beside --baseline, found {len(runs)} runs")
    from muscle.gate import load_baseline

    return load_baseline(baseline, folder), runs[0]


@baselines_app.command("save")
def baseline_save(
    run: Annotated[Path, typer.Argument(help="The accepted version's results.")],
    name: Annotated[str, typer.Option("--name", help="What it is called from now on.")],
    folder: Annotated[Path, typer.Option(help="Where baselines are kept.")] = Path("baselines"),
    format_: Format = None,
    quiet: Quiet = False,
) -> None:
    """Keep a run under a name; one of that name is replaced."""
    start(quiet)
    from muscle.gate import save_baseline

    written = save_baseline(run, name, folder, format=format_)
    if not quiet:
        typer.echo(str(written))


@baselines_app.command("list")
def baseline_list(
    folder: Annotated[Path, typer.Option(help="Where baselines are kept.")] = Path("baselines"),
) -> None:
    """List the kept baselines."""
    from muscle.gate import list_baselines

    for name in list_baselines(folder):
        typer.echo(name)
