"""The gate in a terminal: what to do, what broke, every rule with what was seen, in about thirty lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from muscle.flips.result.finding import Finding
from muscle.flips.result.report import Report
from muscle.foreign_text import middle_cut, one_line
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
_GAPS = 8
"""Between six columns, and a heading that is wider than its cells."""

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
    console.print(_rules_laid_out(findings, width=console.width))
    print_hidden(len(findings) - MAX_RULES, "rules, none worse than these", console)
    print_lines(noise_lines(report, max_tasks=MAX_REASONS), console, limit=400)
    told = [finding for finding in findings if finding.verdict != "pass"]
    if told:
        console.print()
    for finding in told[:MAX_REASONS]:
        line = f"  {one_line(finding.where, 80)}: {one_line(finding.reason, 300)}"
        console.print(Text(line, style=_STYLES[finding.verdict]))
    print_hidden(len(told) - MAX_REASONS, "", console, indent="  ")
    print_last_line(report, console)


def _rules_laid_out(findings: Sequence[Finding], *, width: int) -> Table:
    """Lay out the rules with what was seen; where there is too little room the names of the tasks are cut."""
    shown = findings[:MAX_RULES]
    cells = [(rule_text(each), each.tier, count(each.n), figures(each)) for each in shown]
    taken = sum(max((len(row[place]) for row in cells), default=0) for place in range(4))
    told = max((len(each.outcome) for each in shown), default=0)
    room = max(8, width - taken - told - _GAPS)
    table = unframed_table(right=1)
    for name in ("", "task", "rule", "tier", "items", "seen (bounds)"):
        justify: Literal["left", "right"] = "right" if name == "items" else "left"
        table.add_column(name, no_wrap=True, overflow="ellipsis", justify=justify)
    for finding, row in zip(shown, cells, strict=True):
        outcome = Text(finding.outcome, style=_STYLES[finding.verdict])
        table.add_row(outcome, *(Text(cell) for cell in (middle_cut(finding.where, room), *row)))
    return table
