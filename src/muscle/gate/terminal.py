"""The gate in a terminal: the verdict, every rule that did not simply hold, and what broke, in about thirty lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from muscle.gate.output import figures, gate_section, rule_text, where_text
from muscle.report import rows
from muscle.report.numbers import count
from muscle.report.rows import one_line
from muscle.report.sentences.before import before_lines
from muscle.report.sentences.noise import noise_lines

MAX_RULES = 10
MAX_REASONS = 4
MAX_NOTES = 5
MAX_FLIPS = 3
_GAPS = 8
"""Between six columns, and a heading that is wider than its cells."""

_STYLES = {
    "pass": "green",
    "warn": "yellow",
    "block": "bold red",
    "cannot_tell": "cyan",
    "inform": "dim",
}


def _rules(findings: Sequence[Mapping[str, Any]], *, width: int) -> Table:
    """Lay out the rules with what was seen; where there is too little room the names of the tasks are cut."""
    shown = findings[:MAX_RULES]
    cells = [(rule_text(entry), entry["tier"], count(entry["n"]), figures(entry)) for entry in shown]
    taken = sum(max((len(row[place]) for row in cells), default=0) for place in range(4))
    told = max((len(entry["outcome"]) for entry in shown), default=0)
    room = max(8, width - taken - told - _GAPS)
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1, 0, 0))
    for name in ("", "task", "rule", "tier", "items", "seen (bounds)"):
        justify: Literal["left", "right"] = "right" if name == "items" else "left"
        table.add_column(name, no_wrap=True, overflow="ellipsis", justify=justify)
    for entry, row in zip(shown, cells, strict=True):
        outcome = Text(entry["outcome"], style=_STYLES[entry["verdict"]])
        table.add_row(outcome, *(Text(cell) for cell in (rows.middle_cut(where_text(entry), room), *row)))
    return table


def print_gate(report: Mapping[str, Any], console: Console) -> None:
    """Print the gate's verdict, its rules with what was seen, the reasons, and the worst flips.

    Args:
        report: the report of a `GateResult`.
        console: where to print.

    Raises:
        DataError: the report is not one of the gate.
    """
    findings = gate_section(report)["findings"]
    for line in before_lines(report, limit=MAX_NOTES):
        console.print(Text(one_line(line, 400), style="yellow"))
    console.print(Text(one_line(report["headline"], 600), style=_STYLES[report["verdict"]]))
    console.print()
    console.print(_rules(findings, width=console.width))
    if len(findings) > MAX_RULES:
        console.print(Text(f"and {len(findings) - MAX_RULES} more rules, none worse than these", style="dim"))
    for line in noise_lines(report, max_tasks=MAX_REASONS):
        console.print(Text(one_line(line, 400)))
    told = [entry for entry in findings if entry["verdict"] != "pass"]
    if told:
        console.print()
    for entry in told[:MAX_REASONS]:
        line = f"  {one_line(where_text(entry), 80)}: {one_line(entry['reason'], 300)}"
        console.print(Text(line, style=_STYLES[entry["verdict"]]))
    if len(told) > MAX_REASONS:
        console.print(Text(f"  and {len(told) - MAX_REASONS} more", style="dim"))
    _print_flips(report, console)
    console.print(Text(f"\n{rows.join_line(report)}. {rows.not_compared(report)}".rstrip(), style="dim"))


def _print_flips(report: Mapping[str, Any], console: Console) -> None:
    flips = rows.flips_to_show(report, MAX_FLIPS)
    if not flips:
        return
    last = "candidate" if report["candidate"] is not None else "new"
    console.print(Text(f"\nWhat broke, {rows.worst_flips(report)}:"))
    for flip in flips:
        line = Text("  ")
        line.append(f"{one_line(flip['task'], 24)} {one_line(flip['id'], 24)}", style="bold")
        line.append(f"  {one_line(flip['input'] or '', 60)}")
        answers = "  ".join(f"{side}: {one_line(rows.answer(flip, side), 30)}" for side in ("old", last))
        line.append(f"  {answers}", style="dim")
        console.print(line, no_wrap=True, overflow="ellipsis")
