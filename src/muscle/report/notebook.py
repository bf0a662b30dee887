"""The report in a notebook: the same page in a frame of its own, so that neither disturbs the other.

The frame's page has its own content policy and, being sandboxed without an origin, cannot reach the notebook, whatever
the answers hold. IPython is not needed: outside of a notebook the page is opened in the browser.
"""

from __future__ import annotations

import sys
import tempfile
import webbrowser
from pathlib import Path

from markupsafe import Markup

from muscle.files import write_text
from muscle.flips.result.report import Report
from muscle.report.page.html import render_html

MAX_FLIPS = 300
"""Flips that a notebook's cell holds; the whole page goes into the notebook's file each time that it is saved."""

HEIGHT = 860


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


def show(report: Report, *, height: int = HEIGHT, max_flips: int = MAX_FLIPS) -> Path | None:
    """Show the report: below the cell in a notebook, else in the browser.

    Args:
        report: of a comparison or of the gate.
        height: of the frame in a notebook, in pixels.
        max_flips: flips that the page holds.

    Returns:
        The page's file where it was opened in the browser; None in a notebook.

    Raises:
        OutputError: the page cannot be written.
    """
    if _in_notebook():
        from IPython.display import HTML, display  # type: ignore[import-not-found, unused-ignore]

        display(HTML(frame(report, height=height, max_flips=max_flips)))
        return None
    path = Path(tempfile.mkdtemp(prefix="muscle-")) / "report.html"
    write_text(path, render_html(report, max_flips=max_flips))
    webbrowser.open(path.as_uri())
    return path


def _in_notebook() -> bool:
    """Tell whether a front end that shows HTML runs this; a plain Python or a terminal's IPython is none."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and getattr(shell, "kernel", None) is not None
