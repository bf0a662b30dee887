"""The gate in a terminal: what to do, what broke, every rule with what was seen, in about thirty lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from muscle.flips.result.finding import Finding
from muscle.flips.result.report import Report
from muscle.foreign_text import one_line
from muscle.gate.output import figures, gate_section, rule_text
from muscle.report.numbers import count
from muscle.report.sentences.noise import noise_lines
from muscle.report.text.terminal_parts import (
    print_flips,
    print_hidden,
    print_last_line,
    print_lines,
    print_verdict,
    unframed_table,
)

MAX_RULES = 10
MAX_REASONS = 4
MAX_NOTES = 5
MAX_FLIPS = 3
MAX_NAME = 160
"""Characters of a name, which wraps in its column."""

_STYLES = {"pass": "green", "warn": "yellow", "block": "bold red", "cannot_tell": "cyan", "inform": "dim"}


def print_gate(report: Report, console: Console) -> None:
    """Print what to do, the worst flips, the gate's rules with what was seen, and the reasons.

    Args:
        report: the report of a `GateResult`.
        console: where to print.

    Raises:
        DataError: the report is not one of the gate.
    """
    findings = gate_section(report).findings
    print_verdict(report, console, max_before=MAX_NOTES, style=_STYLES[report.verdict])
    print_flips(report, console, limit=MAX_FLIPS)
    console.print()
    if report.decision is not None:
        print_lines([report.headline], console, limit=600)
    console.print(_rules_laid_out(findings))
    print_hidden(len(findings) - MAX_RULES, "rules, none worse than these", console)
    print_lines(noise_lines(report, max_tasks=MAX_REASONS), console, limit=400)
    told = [finding for finding in findings if finding.verdict != "pass"]
    if told:
        console.print()
    for finding in told[:MAX_REASONS]:
        print_lines(
            [f"{finding.where}: {finding.reason}"], console, limit=400, indent="  ", style=_STYLES[finding.verdict]
        )
    print_hidden(len(told) - MAX_REASONS, "", console, indent="  ")
    print_last_line(report, console)


def _rules_laid_out(findings: Sequence[Finding]) -> Table:
    """Lay out the rules with what was seen; where there is too little room the names of tasks and rules wrap."""
    shown = findings[:MAX_RULES]
    rows = [(each.outcome, each.where, rule_text(each), each.tier, count(each.n), figures(each)) for each in shown]
    table = unframed_table(right=1)
    for place, name in enumerate(("", "task", "rule", "tier", "items", "seen (bounds)")):
        justify: Literal["left", "right"] = "right" if name == "items" else "left"
        is_name = name in ("task", "rule")
        whole = max((len(row[place]) for row in rows), default=0)
        table.add_column(name, no_wrap=not is_name, overflow="fold", justify=justify, min_width=6 if is_name else whole)
    for finding, row in zip(shown, rows, strict=True):
        told = (one_line(cell, MAX_NAME) for cell in row[1:])
        table.add_row(Text(row[0], style=_STYLES[finding.verdict]), *map(Text, told))
    return table
