"""`muscle compare` and `muscle report`: which answers flipped between two runs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from muscle.commands.groups import Comparing, Reading, spread
from muscle.commands.options import (
    AsJson,
    Candidate,
    EpsilonItem,
    Html,
    ItemFamily,
    ItemTest,
    JsonFile,
    Markdown,
    NoTexts,
    Quiet,
    Rerun,
)
from muscle.commands.shell import check_outputs, print_json, say, say_written, show_report, start, write_result
from muscle.commands.sources import both_versions, decisions, named_sources, reading
from muscle.errors import ConfigError
from muscle.samples import capitals, what_next

if TYPE_CHECKING:
    from muscle.flips.options import CompareOptions, JudgeErrors
    from muscle.flips.result.report import Report

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Judging:
    """What a comparison cuts by, lets pass, and is told of items and judges; see `muscle.CompareOptions`."""

    PANEL: ClassVar[str] = "How it is judged"

    slices: Annotated[
        list[str] | None,
        typer.Option(
            "--slice",
            metavar="BY",
            help="Group by a slice's or column's name, NAME=/REGEX/, length or length:words. Repeatable; default: the "
            "records' slices, their classes and the inputs' length.",
        ),
    ] = None
    tolerance: Annotated[
        float,
        typer.Option(min=0, max=1, help="Limit of the negative flip rate; to pass, it must be proven to hold."),
    ] = 0.01
    epsilon_item: EpsilonItem = 0.2
    item_test: ItemTest = "fisher"
    item_family: ItemFamily = None
    causes: Annotated[
        Path | None,
        typer.Option("--causes", metavar="YAML", help="Your own rules for the causes of flips (docs/causes.md)."),
    ] = None
    human_labels: Annotated[
        Path | None,
        typer.Option(
            "--human-labels",
            metavar="FILE",
            help="Human labels (id, old, new) of some items, to correct the difference of a judge's scores.",
        ),
    ] = None
    judge_errors: Annotated[
        str | None,
        typer.Option(
            "--judge-errors",
            metavar="SENSITIVITY,SPECIFICITY",
            help="The judge's sensitivity and specificity, e.g. 0.9,0.85, to correct its rates.",
        ),
    ] = None

    def added_to(self, options: CompareOptions) -> CompareOptions:
        """Return options with these."""
        return replace(
            options,
            slices=self.slices,
            tolerance=self.tolerance,
            epsilon_item=self.epsilon_item,
            item_test=self.item_test,
            item_family=self.item_family,
            causes=self.causes,
            human_labels=self.human_labels,
            judge_errors=_judge_errors(self.judge_errors),
        )


_Old = Annotated[str | None, typer.Argument(metavar="OLD", help="The old version's results: a file or folder.")]
_New = Annotated[str | None, typer.Argument(metavar="NEW", help="The new version's.")]
_Example = Annotated[bool, typer.Option("--example", help="Compare two small sample files, instead of OLD and NEW.")]


@spread
def compare(
    old: _Old = None,
    new: _New = None,
    candidate: Candidate = None,
    rerun: Rerun = None,
    floor: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="The old model, trained again: what flips without any update."),
    ] = None,
    others: Annotated[
        list[str] | None,
        typer.Option("--other", metavar="NAME=RUN", help="A further run to compare with OLD. Repeatable."),
    ] = None,
    html: Html = None,
    markdown: Markdown = None,
    json_file: JsonFile = None,
    *,
    how: Reading,
    comparing: Comparing,
    judging: Judging,
    no_texts: NoTexts = False,
    example: _Example = False,
    quiet: Quiet = False,
) -> None:
    """Show which answers flipped between two runs, and whether that is more than chance.

    A run is a file or folder written by a harness, or a plain table. RUN::key=value sets an option for one run alone,
    e.g. results.json::provider=openai:gpt-4o; the keys are name, format, metric, filter, provider and column.

    Exit code 0: pass or warning; 1: blocked, more broke than was gained; 2: cannot tell; 3: bad input.
    """
    start(quiet)
    check_outputs(html, markdown, json_file)
    from muscle.comparison import compare as compare_runs
    from muscle.flips.result.finding import EXIT_CODES
    from muscle.report.without_texts import without_texts

    old, new = _two_runs(old, new, how, example=example)
    options, further = judging.added_to(comparing.options()), named_sources(others or ())
    given = {"candidate": candidate, "rerun": rerun, "floor": floor}
    roles = {role: word for role, word in given.items() if word is not None}
    with reading([old, new, *roles.values(), *further.values()], how) as runs:
        beside = dict(zip(roles, runs[2:], strict=False))
        compared = compare_runs(
            runs[0],
            runs[1],
            candidate=beside.get("candidate"),
            rerun=beside.get("rerun"),
            floor=beside.get("floor"),
            others=dict(zip(further, runs[2 + len(roles) :], strict=True)),
            options=options,
        )
    found = compared.report
    if compared.one_file_twice is not None:
        logger.warning("%s", compared.one_file_twice)
    if no_texts:
        found = without_texts(found)
    last_lines = [*decisions(runs), *([what_next()] if example else [])]
    _tell(found, html, markdown, json_file, last_lines, quiet=quiet)
    raise typer.Exit(EXIT_CODES[found.verdict])


def _tell(
    found: Report,
    html: Path | None,
    markdown: Path | None,
    json_file: Path | None,
    last_lines: Sequence[str],
    *,
    quiet: bool,
) -> None:
    """Write the report where the options say, and print it with the lines that stand below it."""
    from muscle.report import write_html, write_markdown

    if html:
        write_html(found, html)
    if markdown:
        write_markdown(found, markdown)
    is_quiet = write_result(json_file, found) or quiet
    show_report(found, quiet=is_quiet)
    if not is_quiet:
        from muscle.report.text.terminal import MAX_FLIPS

        if html is None and found.flips_total.total > MAX_FLIPS:
            say(f"All {found.flips_total.total:,} items whose answer changed: --html report.html")
        for line in last_lines:
            say(line)
        say_written(html, markdown, json_file)


def _two_runs(old: str | None, new: str | None, how: Reading, *, example: bool) -> tuple[str, str]:
    """Return the two runs that are named, or the example's."""
    if example and old is None:
        return capitals()
    if example:
        raise ConfigError(f"--example: expected no runs beside it, found {old}; leave one of the two out")
    if old is None or new is None:
        found = "none" if old is None else f"only {old}"
        both = both_versions(old, how) if old is not None else ""
        raise ConfigError(
            f"expected two runs, OLD and NEW, found {found}; "
            + (f"if it holds both: {both}" if both else "muscle compare --example shows it on two sample files")
        )
    return old, new


def _judge_errors(text: str | None) -> JudgeErrors | None:
    """Read `0.9,0.85`, or `0.9/200,0.85/150` with the numbers of answers that the two were measured on."""
    if text is None:
        return None
    from muscle.flips.options import JudgeErrors

    parts = [part.strip().partition("/") for part in text.split(",")]
    try:
        (sensitivity, specificity) = (float(part[0]) for part in parts)
        counts = [int(part[2]) if part[2] else None for part in parts]
        if any(count is not None and count < 1 for count in counts):
            raise ValueError("expected one answer or more that each was measured on")
        return JudgeErrors(sensitivity, specificity, *counts)
    except ValueError as error:
        raise ConfigError(
            f"--judge-errors {text}: expected SENSITIVITY,SPECIFICITY as 0.9,0.85 (or 0.9/200,0.85/150): {error}"
        ) from error


def closeness(
    source: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="What llama-perplexity --kl-divergence printed for the new model."),
    ],
    own: Annotated[
        Path | None, typer.Option("--self", metavar="FILE", help="The same for the base against itself.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read llama.cpp's KL divergence of a quantised model, next to that of the base against itself.

    Equal tails of the change of the true token's probability mean noise, a heavier negative tail means damage.
    """
    start(False)
    from muscle.flips.explaining import llama_cpp

    found = llama_cpp.read(source)
    base = llama_cpp.read(own) if own else None
    if as_json:
        print_json(llama_cpp.to_json(found, base))
        return
    for line in llama_cpp.lines(found, base):
        say(line)


def report(
    source: Annotated[Path, typer.Argument(metavar="REPORT", help="A run folder, or a report.json.")],
    html: Annotated[Path | None, typer.Option(help="Where to write the HTML; default: next to the JSON.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Where to write the Markdown.")] = None,
    json_file: JsonFile = None,
    no_texts: NoTexts = False,
    quiet: Quiet = False,
) -> None:
    """Render a report again from its JSON."""
    start(quiet)
    check_outputs(html, markdown, json_file)
    from muscle.files import write_text
    from muscle.report import read_report, whole_report
    from muscle.report.page.html import render_html
    from muscle.report.text.markdown import render_markdown
    from muscle.report.without_texts import without_texts

    found, folder = read_report(source)
    paths = (html or folder / "report.html", markdown or folder / "report.md")
    check_outputs(*paths)
    with whole_report(source):
        if no_texts:
            found = without_texts(found)
        page, text = render_html(found), render_markdown(found)
        for path, written in zip(paths, (page, text), strict=True):
            write_text(path, written)
        is_quiet = write_result(json_file, found) or quiet
        show_report(found, quiet=is_quiet)
    if not is_quiet:
        say_written(*paths, json_file)
