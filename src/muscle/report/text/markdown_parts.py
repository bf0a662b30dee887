"""Pieces of Markdown that the report, the gate's comment and the history are put together from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from muscle.flips.result.report import Report
from muscle.report.sentences.over_tasks import join_line, not_compared
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
