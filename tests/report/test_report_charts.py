"""The report's charts: positions and areas in proportion to the numbers, titles in words."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muscle.report.page.charts import Part, Quadrants, mosaic, strip
from muscle.report.page.plots import Axis, EstimateMark, Point, estimates, histogram, make_axis, scatter

numbers = st.floats(-1e6, 1e6).filter(lambda v: v == 0 or abs(v) > 1e-6)


def parse(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def percent(text: str | None) -> float:
    assert text is not None and text.endswith("%")
    return float(text[:-1])


def areas(svg: str) -> dict[str, float]:
    """Each tile's area by its class, in percent times pixels."""
    tiles = (rect for rect in parse(svg).iter("rect") if rect.get("class", "").startswith("tile"))
    return {t.get("class", "").split()[1]: percent(t.get("width")) * float(t.get("height", "0")) for t in tiles}


@given(st.lists(numbers, min_size=1, max_size=8))
def test_an_axis_covers_its_values_and_zero_with_few_round_ticks(values: list[float]) -> None:
    axis = make_axis(values)
    hair = 1e-8 * (axis.ticks[1] - axis.ticks[0])
    assert axis.low <= min([*values, 0.0]) + hair
    assert axis.high >= max([*values, 0.0]) - hair
    assert 2 <= len(axis.ticks) <= 8
    assert 0.0 in axis.ticks


@pytest.mark.parametrize(
    ("ticks", "written"),
    [((0.0, 0.025, 0.05), ["0.0%", "2.5%", "5.0%"]), ((0.0, 0.02, 0.04), ["0%", "2%", "4%"])],
)
def test_ticks_are_written_with_as_many_decimals_as_their_step_needs(
    ticks: tuple[float, ...], written: list[str]
) -> None:
    axis = Axis(ticks, percent=True)
    assert [axis.write(tick) for tick in axis.ticks] == written


@given(st.tuples(*[st.integers(1, 500)] * 5))
def test_the_quadrants_areas_are_in_proportion_to_their_counts(
    counts: tuple[int, int, int, int, int],
) -> None:
    cells = Quadrants(*counts)
    found = areas(mosaic(cells, title="t"))
    whole = sum(found.values())
    for style, number in zip(("right", "loss", "gain", "wrong", "hatch"), counts, strict=True):
        assert found[style] / whole == pytest.approx(number / cells.total, rel=0.02, abs=2e-4)


def test_an_empty_quadrant_is_not_drawn() -> None:
    assert set(areas(mosaic(Quadrants(10, 0, 0, 5, 0), title="t"))) == {"right", "wrong"}


def test_quadrants_without_an_item_are_drawn_as_nothing() -> None:
    assert "no items" in mosaic(Quadrants(0, 0, 0, 0, 0), title="t")


def test_a_strip_s_parts_fill_it_in_order() -> None:
    parts = [Part(30, "loss", "worse"), Part(0, "wrong", "equal"), Part(10, "gain", "better")]
    tiles = list(parse(strip(parts, title="t")).iter("rect"))
    assert [(percent(r.get("x")), percent(r.get("width"))) for r in tiles] == [(0, 75), (75, 25)]


def test_estimates_and_their_intervals_stand_where_the_axis_says() -> None:
    rows = [
        EstimateMark(0.10, 0.08, 0.12, "plain", "before"),
        EstimateMark(0.05, None, None, "candidate", "after"),
    ]
    svg = parse(estimates(rows, Axis((0.0, 0.1, 0.2), percent=True), title="t"))
    (whisker,) = [line for line in svg.iter("line") if line.get("class") == "whisker"]
    assert (percent(whisker.get("x1")), percent(whisker.get("x2"))) == (40, 60)
    assert [percent(m.get("x")) for m in svg.iter("svg") if m.get("x")] == [50, 25]
    (band,) = svg.iter("rect")
    assert band.get("class") == "band better" and percent(band.get("x")) == 25 and percent(band.get("width")) == 25


def test_a_rise_of_a_rate_that_should_fall_is_marked_as_worse() -> None:
    rows = [
        EstimateMark(0.05, None, None, "plain", "before"),
        EstimateMark(0.10, None, None, "candidate", "after"),
    ]
    assert "band worse" in estimates(rows, Axis((0.0, 0.1, 0.2)), title="t")


def test_points_stand_at_their_coordinates_and_say_what_they_are() -> None:
    points = [Point(0.5, 1.0, "plain", "a", "first", "s"), Point(1.0, 0.0, "candidate", "", "second", "s")]
    svg = parse(scatter(points, Axis((0.0, 1.0)), Axis((0.0, 1.0)), title="t", height=200))
    marks = [
        (percent(m.get("x")), float(m.get("y", "nan")), m.findtext("title")) for m in svg.iter("svg") if m.get("x")
    ]
    assert marks == [(50, 0, "first"), (100, 200, "second")]
    (join,) = [line for line in svg.iter("line") if line.get("class") == "join"]
    assert [join.get(k) for k in ("x1", "y1", "x2", "y2")] == ["50%", "0", "100%", "200"]


def test_labels_of_points_on_top_of_each_other_do_not_overlap() -> None:
    points = [Point(0.5, 0.5, "plain", "a long label", "t") for _ in range(9)]
    svg = parse(scatter(points, Axis((0.0, 1.0)), Axis((0.0, 1.0)), title="t"))
    labels = [(t.get("y"), t.get("class")) for t in svg.iter("text") if t.text == "a long label"]
    assert 1 <= len(labels) == len(set(labels)) < 9


def test_histogram_bars_rise_and_fall_in_proportion_on_one_scale() -> None:
    svg = histogram([-1.0, 0.0, 1.0], [10, 20], [5, 0], title="t", unit="rouge1")
    bars = list(parse(svg).iter("rect"))
    heights = [float(b.get("height", "nan")) for b in bars]
    assert [b.get("class") for b in bars] == ["bar loss", "bar gain", "bar loss"]
    assert heights == pytest.approx([heights[1] / 2, heights[1], heights[1] / 4])


def test_a_bin_around_zero_is_neither_loss_nor_gain() -> None:
    svg = histogram([-1.5, -0.5, 0.5, 1.5], [1, 2, 3], None, title="t", unit="s")
    assert [b.get("class") for b in parse(svg).iter("rect")] == ["bar loss", "bar wrong", "bar gain"]


def test_names_in_charts_are_escaped() -> None:
    svg = scatter([Point(0, 0, "plain", "<b>&", "<script>")], Axis((0.0, 1.0)), Axis((0.0, 1.0)), title='"<x>')
    assert not re.search("<b>|<script>|<x>", svg)
    assert parse(svg).get("aria-label", "").startswith('"<x>')


def test_ticks_of_tiny_steps_are_written_apart():
    axis = make_axis([3.50412e-8, 3.5049e-8], zero=False)
    written = [axis.write(tick) for tick in axis.ticks]
    assert len(set(written)) == len(written) > 3
    assert [float(text.replace("\N{MINUS SIGN}", "-")) for text in written] == pytest.approx(list(axis.ticks), rel=1e-9)
