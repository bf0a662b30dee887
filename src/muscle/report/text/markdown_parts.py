"""Pieces of Markdown that the report, the gate's comment and the history are put together from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from muscle.flips.result.report import Report
from muscle.foreign_text import one_line
from muscle.report.sentences.over_tasks import join_line, not_compared
from muscle.report.sentences.ways import level_title, way_rows
from muscle.report.text.escaping import escape

SIGNS = {
    "pass": "\N{WHITE HEAVY CHECK MARK}",
    "warn": "\N{WARNING SIGN}\N{VARIATION SELECTOR-16}",
    "block": "\N{NO ENTRY}",
    "cannot_tell": "\N{WHITE QUESTION MARK ORNAMENT}",
    "inform": "\N{INFORMATION SOURCE}\N{VARIATION SELECTOR-16}",
}
"""What stands before a verdict, or before what a rule of a gate adds to it."""


def markdown_table(head: Sequence[str], lines: Iterable[Sequence[str]], *, figures_from: int | None = 1) -> str:
    """Write a table.

    Args:
        head: the columns' titles.
        lines: the cells, escaped already.
        figures_from: the first column that is aligned right, as figures are; None for none.
    """
    rule = ["---" if figures_from is None or place < figures_from else "---:" for place in range(len(head))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *lines))


def bullets(lines: Iterable[str]) -> str:
    """Write a list; its lines are escaped already."""
    return "\n".join(f"- {line}" for line in lines)


def details(summary: str, body: str) -> str:
    """Write a part that is folded away under its summary."""
    return f"<details>\n<summary>{summary}</summary>\n\n{body}\n\n</details>"


def code_block(text: str, language: str = "text") -> str:
    """Return a code block that its text cannot close."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def recommendation(report: Report) -> str:
    """Write what to do as a heading, and how sure that is and what next below it; without one the verdict's line."""
    decision = report.decision
    if decision is None:
        return f"### {SIGNS[report.verdict]} {escape(one_line(report.headline, 600))}"
    parts = [f"### {SIGNS[report.verdict]} {escape(one_line(decision.sentence, 600))}"]
    for title, text in (("How sure", decision.sure), ("Next", decision.next)):
        parts += [f"**{title}:** {escape(one_line(text, 600))}"] if text else []
    return "\n\n".join(parts)


def ways_in_markdown(report: Report) -> str:
    """Write every way out with what it breaks of 100 requests, folded away; empty without any."""
    rows = way_rows(report)
    if not rows:
        return ""
    head = ["way out", "breaks per 100", "mends per 100", level_title(report), "what it takes"]
    lines = [[row.name, row.breaks, row.mends, row.level, escape(row.costs)] for row in rows]
    table = markdown_table(head, lines, figures_from=None)
    note = f"Of {escape(report.decision.ways_over)}." if report.decision is not None else ""
    return details("For whoever decides: every way out", f"{table}\n\n{note}")


def footer(report: Report, policy: str = "") -> str:
    """Write the last line: how the runs fitted together, which scores are not compared, and what wrote this.

    Args:
        report: of a comparison or of the gate.
        policy: by which the gate judged, as a sentence.
    """
    told = [
        f"{join_line(report)}.",
        escape(not_compared(report)),
        policy,
        f"Written by muscle {escape(report.muscle_version)}.",
    ]
    return " ".join(part for part in told if part)
