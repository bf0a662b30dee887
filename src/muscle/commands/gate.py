"""`muscle gate` and `muscle baseline`: an update judged by a policy, against a run or a kept one."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from muscle.commands.groups import Comparing, Reading, spread
from muscle.commands.help.grouped import GroupedCommand
from muscle.commands.help.texts import help_of
from muscle.commands.options import (
    Candidate,
    EpsilonItem,
    Html,
    JsonFile,
    Markdown,
    Quiet,
)
from muscle.commands.shell import check_outputs, print_commands, say, say_written, start, write_result
from muscle.commands.sources import decisions, read_source, reading, tell_unread
from muscle.errors import ConfigError
from muscle.foreign_text import first_few

if TYPE_CHECKING:
    from muscle.gate import GateResult
    from muscle.predictions.run import Run

logger = logging.getLogger(__name__)

baselines_app = typer.Typer(
    help="Keep accepted runs as named baselines for the gate.", rich_markup_mode=None, no_args_is_help=True
)


Folder = Annotated[Path, typer.Option(help="Where baselines are kept.")]
_FOLDER = Path("baselines")


@dataclass(frozen=True)
class KeptBaseline:
    """The baseline that the gate takes in place of the old version's run."""

    baseline: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="A kept baseline instead of OLD (muscle baseline save)."),
    ] = None
    baselines: Folder = _FOLDER

    def run(self, how: Reading, *, num_runs: int) -> Run | None:
        """Return the run; None where no baseline is named.

        Raises:
            ConfigError: there are not as many runs beside it as a gate needs.
        """
        if self.baseline is None:
            if num_runs != 2:
                raise ConfigError(f"gate: expected OLD and NEW, found {num_runs} {'run' if num_runs == 1 else 'runs'}")
            return None
        if num_runs != 1:
            raise ConfigError(f"gate: expected NEW alone beside --baseline, found {num_runs} runs")
        from muscle.gate import load_baseline
        from muscle.predictions.read import read_run

        kept = load_baseline(self.baseline, self.baselines)
        return read_run(kept, metric=how.metric, filter=how.filter, hash_inputs=False)


@dataclass(frozen=True)
class ByPolicy:
    """By what rules a gate judges."""

    policy: Annotated[
        Path | None, typer.Option(metavar="YAML", help="Your policy; there is a default one (docs/gate.md).")
    ] = None
    strict: Annotated[bool, typer.Option("--strict", help="A warning ends in exit code 2.")] = False
    tolerance: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Limit of every rule without its own; default: the policy's tolerance, 0.01 as in muscle compare.",
        ),
    ] = None


@dataclass(frozen=True)
class Writing:
    """Where a gate's verdict is written beside the terminal."""

    PANEL: ClassVar[str] = "What is written"

    markdown: Markdown = None
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML.")] = None
    annotations: Annotated[bool, typer.Option("--annotations", help="Print annotations for GitHub Actions.")] = False
    html: Html = None
    json_file: JsonFile = None


@spread
def gate(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="[OLD] NEW", help="The old and the new version's results; NEW alone with --baseline."),
    ],
    *,
    by: ByPolicy,
    in_place_of_old: KeptBaseline,
    candidate: Candidate = None,
    noise: Annotated[
        str | None,
        typer.Option(
            "--rerun",
            "--noise",
            metavar="RUN",
            help="A second run of the old version, to limit flips beyond its own noise.",
        ),
    ] = None,
    writing: Writing,
    how: Reading,
    comparing: Comparing,
    epsilon_item: EpsilonItem = 0.2,
    quiet: Quiet = False,
) -> None:
    """Judge an update by a policy, for CI.

    Runs are given as for muscle compare; RUN::key=value sets an option for one run alone.

    Exit code 0: pass (or a warning, without --strict); 1: block; 2: cannot tell; 3: bad input.
    """
    start(quiet)
    check_outputs(writing.markdown, writing.junit, writing.html, writing.json_file)
    from muscle.gate import gate as judge
    from muscle.gate import load_policy

    rules = None if by.policy is None else load_policy(by.policy)
    kept = in_place_of_old.run(how, num_runs=len(runs))
    given = {"candidate": candidate, "noise": noise}
    roles = {role: word for role, word in given.items() if word is not None}
    with reading([*runs, *roles.values()], how) as read:
        beside = dict(zip(roles, read[len(runs) :], strict=True))
        old, new = (read[0], read[1]) if kept is None else (kept, read[0])
        result = judge(
            old,
            new,
            rules,
            candidate=beside.get("candidate"),
            noise=beside.get("noise"),
            strict=by.strict,
            tolerance=by.tolerance,
            options=replace(comparing.options(), epsilon_item=epsilon_item),
        )
    _write_verdict(result, writing)
    is_json = write_result(writing.json_file, result.report)
    _print_verdict(result, writing, quiet=quiet, is_json=is_json)
    raise typer.Exit(result.exit_code)


def _write_verdict(result: GateResult, writing: Writing) -> None:
    from muscle.files import write_text
    from muscle.gate import to_junit, to_markdown
    from muscle.report import write_html

    if writing.markdown:
        write_text(writing.markdown, to_markdown(result.report))
    if writing.junit:
        write_text(writing.junit, to_junit(result.report))
    if writing.html:
        write_html(result.report, writing.html)


def _print_verdict(result: GateResult, writing: Writing, *, quiet: bool, is_json: bool) -> None:
    """Print the verdict and annotations; these go to standard error where JSON has standard output to itself."""
    if not quiet and not is_json:
        from rich.console import Console

        from muscle.gate.terminal import print_gate

        print_gate(result.report, Console())
        say_written(writing.html, writing.markdown, writing.junit, writing.json_file)
    if writing.annotations:
        from muscle.gate import to_annotations

        print_commands(to_annotations(result.report), err=is_json)


@baselines_app.command("save", cls=GroupedCommand, epilog=help_of("baseline save").epilog)
@spread
def baseline_save(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The accepted version's results.")],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="The baseline's name.")],
    folder: Folder = _FOLDER,
    *,
    how: Reading,
    quiet: Quiet = False,
) -> None:
    """Keep a run under a name, replacing an earlier one of that name."""
    start(quiet)
    check_outputs(folder, folder=True)
    from muscle.gate import save_baseline

    read = read_source(run, how)
    tell_unread([read])
    written = save_baseline(read, name, folder)
    if not quiet:
        for line in (*(f"{read.name}: {each}" for each in read.metadata.get("readings") or ()), *decisions([read])):
            say(line)
        say(f"{written}: {read.frame.height:,} answers, of {first_few(read.tasks, 5)}")


@baselines_app.command("list", cls=GroupedCommand, epilog=help_of("baseline list").epilog)
def baseline_list(
    folder: Folder = _FOLDER,
) -> None:
    """List the kept baselines."""
    start(False)
    from muscle.gate import list_baselines

    names = list_baselines(folder)
    if not names:
        logger.warning("%s: no baselines are kept there", folder)
    for name in names:
        say(name)
