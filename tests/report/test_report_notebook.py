"""The report in a notebook: a frame that holds the page, shown by the front end, or the browser without one."""

from __future__ import annotations

import sys
import types
import webbrowser
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest

from muscle import compare
from muscle.gate import gate
from muscle.report.notebook import frame, show
from muscle.report.page.html import render_html
from report_examples import make_report, typed


class Frame(HTMLParser):
    """The attributes of the one element that a notebook gets."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))


def test_the_frame_holds_the_whole_page_and_nothing_else() -> None:
    report = typed(make_report())
    ((tag, attributes),) = Frame(frame(report, height=500, max_flips=50)).elements
    assert tag == "iframe" and attributes["height"] == "500"
    assert attributes["srcdoc"] == render_html(report, max_flips=50)
    assert attributes["sandbox"] and "allow-same-origin" not in attributes["sandbox"]


def test_a_comparison_shows_itself_in_a_notebook() -> None:
    old = pl.DataFrame({"id": [str(i) for i in range(40)], "correct": [True] * 40})
    new = old.with_columns(correct=pl.col("id") != "7")
    html = compare(old, new)._repr_html_()
    ((tag, attributes),) = Frame(html).elements
    assert tag == "iframe" and "Examples" in (attributes["srcdoc"] or "")


def test_the_gate_s_result_shows_itself_as_a_comparison_does(monkeypatch: pytest.MonkeyPatch) -> None:
    old = pl.DataFrame({"id": [str(i) for i in range(40)], "correct": [True] * 40})
    result = gate(old, old.with_columns(correct=pl.col("id") != "7"))
    assert result.to_json() == result.report.to_json()
    ((tag, attributes),) = Frame(result._repr_html_()).elements
    assert tag == "iframe" and "Rules of the policy" in (attributes["srcdoc"] or "")
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    result.show()
    assert len(opened) == 1


def test_show_displays_below_the_cell_where_a_notebook_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    ipython, display = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    shell = types.SimpleNamespace(kernel=object())
    monkeypatch.setattr(ipython, "get_ipython", lambda: shell, raising=False)
    monkeypatch.setattr(display, "HTML", lambda text: text, raising=False)
    monkeypatch.setattr(display, "display", shown.append, raising=False)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    assert show(typed(make_report())) is None
    assert shown == [frame(typed(make_report()))]


def test_without_a_notebook_the_page_is_opened_in_the_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    path = show(typed(make_report()))
    assert isinstance(path, Path) and opened == [path.as_uri()]
    assert path.read_text(encoding="utf-8") == render_html(typed(make_report()), max_flips=300)
