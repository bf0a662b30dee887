"""The report in a notebook: a table as a cell's last value, and the page in a frame of its own.

The frame's page has its own content policy and, being sandboxed without an origin, cannot reach the notebook, whatever
the answers hold. IPython is not needed: outside of a notebook the tables of the command line are printed. The table is
small and needs no script, so that it also stands where a notebook is only read, on GitHub or in a documentation.
"""

from __future__ import annotations

import sys
import tempfile
import webbrowser
from collections.abc import Iterable, Sequence
from pathlib import Path

from markupsafe import Markup

from muscle.files import write_text
from muscle.flips.result.report import Report
from muscle.foreign_text import one_line
from muscle.report.page.html import render_html
from muscle.report.sentences.before import allowed_lines, before_lines
from muscle.report.sentences.flips import answers, flips_to_show, worst_flips
from muscle.report.text.rows import p_title, task_rows

MAX_FLIPS = 300
"""Flips that a notebook's cell holds; the whole page goes into the notebook's file each time that it is saved."""

HEIGHT = 860

MAX_TASKS = 12
MAX_SHOWN_FLIPS = 5
MAX_BEFORE = 3
_MORE = "<code>.show()</code> opens the explorer; <code>.flips</code> is the table of all flips."


def frame(report: Report, *, height: int = HEIGHT, max_flips: int = MAX_FLIPS) -> str:
    """Return the report as an `<iframe>` that holds all of it.

    Args:
        report: of a comparison or of the gate.
        height: of the frame, in pixels.
        max_flips: flips that it holds.
    """
    page = render_html(report, max_flips=max_flips)
    written = Markup(
        '<iframe title="MUSCLE report" width="100%" height="{}" frameborder="0" sandbox="allow-scripts allow-modals" '
        'allow="clipboard-write" srcdoc="{}"></iframe>'
    ).format(height, page)
    return str(written)


def overview(report: Report) -> str:
    """Return verdict, figures and worst flips as a small piece of HTML: a cell's last value.

    Args:
        report: of a comparison or of the gate.
    """
    decision = report.decision
    told = [f"How sure: {decision.sure}", f"Next: {decision.next}"] if decision is not None else report.reasons
    before = [line.text for line in before_lines(report, limit=MAX_BEFORE)]
    parts = [
        Markup("<p><strong>{}</strong></p>").format(one_line(report.sentence, 600)),
        _html_list([*allowed_lines(report), *told[:MAX_BEFORE], *before]),
        _flips_html(report),
        _tasks_html(report),
        Markup(f"<p><small>{_MORE}</small></p>"),
    ]
    return str(Markup("<div>{}</div>").format(Markup("\n").join(part for part in parts if part)))


def _html_list(lines: Iterable[str]) -> Markup:
    entries = [Markup("<li>{}</li>").format(one_line(line, 400)) for line in lines]
    return Markup("<ul>{}</ul>").format(Markup().join(entries)) if entries else Markup()


def _tasks_html(report: Report) -> Markup:
    head = ("task", "version", "items", "accuracy or score", "broke", "gained", p_title(report))
    rows = [
        (each.task, each.version, each.items, each.level, each.lost, each.gained, each.p_value)
        for each in task_rows(report, max_tasks=MAX_TASKS)
    ]
    hidden = len(report.tasks) - MAX_TASKS
    more = Markup("<p>and {} more tasks</p>").format(hidden) if hidden > 0 else Markup()
    return _html_table("", head, rows) + more


def _flips_html(report: Report) -> Markup:
    flips = flips_to_show(report, MAX_SHOWN_FLIPS)
    if not flips:
        return Markup()
    has_candidate = report.candidate is not None
    told = [answers(flip, candidate=has_candidate) for flip in flips]
    head = ("task", "id", "input", *told[0])
    rows = [(flip.task, flip.id, flip.input or "", *said.values()) for flip, said in zip(flips, told, strict=True)]
    return _html_table(worst_flips(report, len(flips)), head, rows)


def _html_table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> Markup:
    """Write a table; texts from files stand in it escaped, on one line, and cut."""
    caption = Markup("<caption>{}</caption>").format(title) if title else Markup()
    heads = Markup().join(Markup('<th scope="col">{}</th>').format(name) for name in head)
    body = Markup().join(
        Markup("<tr>{}</tr>").format(Markup().join(Markup("<td>{}</td>").format(one_line(cell, 160)) for cell in row))
        for row in rows
    )
    return Markup("<table>{}<thead><tr>{}</tr></thead><tbody>{}</tbody></table>").format(caption, heads, body)


def show(report: Report, *, height: int = HEIGHT, max_flips: int = MAX_FLIPS) -> None:
    """Show the report: the page below the cell in a notebook, else the tables that the command line prints.

    Args:
        report: of a comparison or of the gate.
        height: of the frame in a notebook, in pixels.
        max_flips: flips that the page holds.
    """
    if _in_notebook():
        from IPython.display import HTML, display  # type: ignore[import-not-found, unused-ignore]

        display(HTML(frame(report, height=height, max_flips=max_flips)))
        return
    from rich.console import Console

    from muscle.report.text.terminal import print_report

    print_report(report, Console())


def open_page(report: Report) -> Path:
    """Open the report's page in the browser.

    Args:
        report: of a comparison or of the gate.

    Returns:
        The page's file.

    Raises:
        OutputError: the page cannot be written.
    """
    path = Path(tempfile.mkdtemp(prefix="muscle-")) / "report.html"
    write_text(path, render_html(report))
    webbrowser.open(path.as_uri())
    return path


def _in_notebook() -> bool:
    """Tell whether a front end that shows HTML runs this; a plain Python or a terminal's IPython is none."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and getattr(shell, "kernel", None) is not None
