"""Results in a notebook and in plain Python: a short line, a small table, the page in a frame, the printed tables."""

from __future__ import annotations

import sys
import types
import webbrowser
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from helpers.report_examples import make_report, typed
from muscle import MuscleError, collect, compare, history, read_run
from muscle.files import write_json
from muscle.gate import gate
from muscle.pipeline.update import UpdateResult
from muscle.report.notebook import frame, overview, show
from muscle.report.page.html import render_html
from muscle.report.text.terminal import print_report


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


OLD = pl.DataFrame({"id": [str(i) for i in range(40)], "correct": [True] * 40})
NEW = OLD.with_columns(correct=pl.col("id") != "7")


def test_a_cell_s_last_value_is_a_small_table_without_script_or_frame() -> None:
    html = compare(OLD, NEW)._repr_html_()
    tags = {tag for tag, _ in Frame(html).elements}
    assert {"table", "strong"} <= tags and not tags & {"iframe", "script", "style"}
    assert len(html) < 4_000
    assert "<td>7</td>" in html and "1: 2.5%" in html


def test_answers_in_the_table_stay_text() -> None:
    rows = [{"id": n, "input": "<img src=x>", "output": "<b>a</b>\x1b[2J", "correct": True} for n in range(3)]
    html = compare(rows, [{**rows[0], "correct": False}, *rows[1:]])._repr_html_()
    assert "&lt;img src=x&gt;" in html and "&lt;b&gt;a&lt;/b&gt;␛[2J" in html
    assert not {tag for tag, _ in Frame(html).elements} & {"img", "b"}


def test_a_result_says_itself_in_one_short_line(tmp_path: Path) -> None:
    result, judged = compare(OLD, NEW), gate(OLD, NEW)
    for shown, name in ((result, "Comparison"), (result.report, "Report"), (judged, "GateResult")):
        assert repr(shown) == f"<{name}: {(judged if shown is judged else result).report.sentence}>"
    assert repr(read_run(OLD, name="v1")) == "<Run v1: 40 predictions, tasks all>"
    assert repr(history([OLD, NEW, OLD])) == "<History 1 table → 2 table → 3 table: tasks all>"
    path = tmp_path / "report.json"
    write_json(path, result.to_json())
    assert repr(collect([path])) == "<Collection: 1 rows, 0 reports refused>"


def test_a_history_prints_its_steps(capsys: pytest.CaptureFixture[str]) -> None:
    history([OLD, NEW, OLD], names=["v1", "v2", "v3"]).show()
    told = capsys.readouterr().out
    assert told.startswith("all: v1 to v3: +0 gained / -0 broken of 40 items") and "RWR  1 (2.5%)" in told


def test_an_update_s_result_shows_itself_as_a_comparison_does(capsys: pytest.CaptureFixture[str]) -> None:
    report = compare(OLD, NEW).report
    result = UpdateResult(Path("runs/update"), report, num_stages_run=0)
    assert repr(result) == f"<UpdateResult: {report.sentence}>"
    result.show()
    assert report.tasks["all"].n == 40 and "40 predictions paired" in capsys.readouterr().out


def test_the_gate_s_result_shows_itself_as_a_comparison_does(capsys: pytest.CaptureFixture[str]) -> None:
    result = gate(OLD, NEW)
    assert result.to_json() == result.report.to_json()
    assert result._repr_html_() == overview(result.report)
    result.show()
    assert result.headline in " ".join(capsys.readouterr().out.split())


def test_show_displays_below_the_cell_where_a_notebook_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    ipython, display = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    shell = types.SimpleNamespace(kernel=object())
    monkeypatch.setattr(ipython, "get_ipython", lambda: shell, raising=False)
    monkeypatch.setattr(display, "HTML", lambda text: text, raising=False)
    monkeypatch.setattr(display, "display", shown.append, raising=False)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    show(typed(make_report()))
    assert shown == [frame(typed(make_report()))]


def test_without_a_notebook_the_tables_of_the_command_line_are_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    result = compare(OLD, NEW)
    result.show()
    printed = capsys.readouterr().out
    print_report(result.report, Console())
    assert printed == capsys.readouterr().out and "1: 2.5%" in printed


def test_the_page_is_opened_in_the_browser_where_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    result = compare(OLD, NEW)
    result.show(browser=True)
    (uri,) = opened
    page = Path(uri.removeprefix("file://"))
    assert page.read_text(encoding="utf-8") == render_html(result.report, max_flips=300)


def test_the_flips_are_tables_of_polars_and_pandas_alike() -> None:
    result = compare(OLD, NEW)
    assert result.to_polars() is result.flips
    table = result.to_pandas()
    assert list(table.columns) == result.flips.columns
    row = table.iloc[0].to_dict()
    assert (row["id"], row["flip"], row["correct_old"], row["correct_new"]) == ("7", -1, True, False)
    assert row["output_old"] is None and str(table["choice_old"].dtype) == "Int64" and table["choice_old"].isna().all()


def test_pandas_that_is_not_there_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MuscleError, match="pip install pandas"):
        compare(OLD, NEW).to_pandas()
