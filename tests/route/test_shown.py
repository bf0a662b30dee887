"""The report for people: a terminal's table and an offline page in which foreign text does not act."""

from __future__ import annotations

import html
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from helpers.browser import CHROMIUM, DRIVER, Browser
from helpers.two_models import two_answers, two_runs
from muscle.route import FitOptions, RouteReport, fit_route
from muscle.route.shown.page import render_route
from muscle.route.shown.terminal import print_worth, thinned
from muscle.typed_json import from_json, to_json

EVIL = '<script>alert(1)</script>"><img src=x onerror=alert(2)>\u202etxt\x1b[31m'


@pytest.fixture(scope="module")
def report() -> RouteReport:
    return fit_route(*two_runs(600), fit=FitOptions(ask_share=0.5)).report


def printed(report: RouteReport) -> str:
    console = Console(width=80, record=True, file=None, quiet=False)
    with console.capture() as caught:
        print_worth(report, console)
    return caught.get()


def test_the_table_fits_into_eighty_columns_and_has_every_way(report: RouteReport) -> None:
    text = printed(report)
    assert "…" not in text and all(len(line) <= 80 for line in text.splitlines())
    for words in ("old model alone", "new model alone", "flips/1,000", "cost/1,000", "saves", "needs new items"):
        assert words in text
    assert report.headline.split(":")[0] in text


def test_foreign_text_does_not_act_on_the_page_or_in_the_terminal(report: RouteReport) -> None:
    hostile = replace(report, old=EVIL, new=EVIL, missing=EVIL, notes=(EVIL,))
    page = render_route(hostile)
    assert "<script" not in page and "<img" not in page
    assert "&lt;script&gt;" in page and "⟨U+202E⟩" in page
    assert "\x1b" not in page and "\x1b[31m" not in printed(hostile)


def test_the_page_loads_nothing_and_shows_every_number_of_the_table(report: RouteReport) -> None:
    page = render_route(report)
    assert "default-src 'none'" in html.unescape(page) and "http" not in page.replace("http-equiv", "")
    for way in report.ways:
        assert f"{way.words}</th>" in page
    assert f"{1000 * report.ways[1].negative_flip_rate:,.1f}" in page
    assert page.count("<svg") > 2, "two curves with their marks"
    assert "kappa is how many gained answers a lost one weighs" in page
    assert page.count('class="x-name">negative flips') == page.count('class="y-name">accuracy') == 2


@pytest.mark.skipif(CHROMIUM is None or DRIVER is None, reason="needs chromium and chromedriver")
def test_a_phone_shows_the_page_without_scrolling_it_sideways(report: RouteReport, tmp_path: Path) -> None:
    page = tmp_path / "route.html"
    page.write_text(render_route(report), encoding="utf-8")
    with Browser(phone=True) as phone:
        phone.open(page)
        assert phone.run("return [document.documentElement.scrollWidth, innerWidth]") == [390, 390]


def test_a_page_without_a_curve_or_items_is_a_page() -> None:
    bare = fit_route(*two_answers(200), fit=FitOptions(apart=0)).report
    assert "no item was kept apart" in render_route(bare)
    assert "cannot tell" in printed(bare)


def test_the_report_is_read_back_from_json(report: RouteReport) -> None:
    assert from_json(RouteReport, to_json(report), where="x") == report


def test_thinning_keeps_both_ends(report: RouteReport) -> None:
    kept = thinned(report.by_kappa, 5)
    assert len(kept) == 5 and (kept[0], kept[-1]) == (report.by_kappa[0], report.by_kappa[-1])
