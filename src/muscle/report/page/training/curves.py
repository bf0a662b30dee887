"""Curves over the epochs of a training, as inline SVG: a line of what was measured in steps, marks for each epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from muscle.flips.trained import Curve
from muscle.report.numbers import told_apart
from muscle.report.page.charts import element, picture, place
from muscle.report.page.plots import Axis, axes_grid, make_axis

HEIGHT = 200.0
_SMALL = 34.0


@dataclass(frozen=True)
class Line:
    """A curve and how it is drawn.

    Attributes:
        curve: the values.
        words: what it is, for the marks' titles.
        dashed: a second line beside the first.
        marked: with a mark at each value, of curves over epochs.
    """

    curve: Curve
    words: str
    dashed: bool = False
    marked: bool = False


def curves(lines: Sequence[Line], *, title: str, percent: bool = False) -> Markup:
    """Draw curves over the epochs, on one pair of axes.

    Args:
        lines: at least one value in all.
        title: of the picture.
        percent: the values are shares.
    """
    values = [value for line in lines for value in line.curve.values]
    x_axis = make_axis([epoch for line in lines for epoch in line.curve.epochs])
    y_axis = make_axis(values, percent=percent, zero=percent)
    marks: list[str] = [*axes_grid(x_axis, y_axis, HEIGHT)]
    for line in lines:
        marks += _line_marks(line, x_axis, y_axis, HEIGHT)
    description = "; ".join(_line_words(line) for line in lines if line.curve.values)
    return picture(*marks, height=HEIGHT, title=title, description=description, class_="curves")


def small_curve(curve: Curve, *, title: str) -> Markup:
    """Draw a curve without axes, for a cell of a table."""
    line = Line(curve, title, marked=len(curve.values) == 1)
    x_axis, y_axis = make_axis(curve.epochs), _tight(curve.values)
    return picture(
        *_line_marks(line, x_axis, y_axis, _SMALL),
        height=_SMALL,
        title=title,
        description=_line_words(line),
        class_="curves",
    )


def _tight(values: Sequence[float]) -> Axis:
    low, high = min(values), max(values)
    return Axis((low, high if high > low else low + 1.0))


def _line_marks(line: Line, x_axis: Axis, y_axis: Axis, height: float) -> Iterator[Markup]:
    """Draw a line; its points lie in a square that is stretched to the picture, its width is not."""
    points = [
        (x_axis.share(epoch), 1 - y_axis.share(value))
        for epoch, value in zip(line.curve.epochs, line.curve.values, strict=True)
    ]
    yield element(
        "svg",
        element(
            "polyline",
            points=" ".join(f"{1000 * x:.2f},{1000 * y:.2f}" for x, y in points),
            class_="curve dashed" if line.dashed else "curve",
        ),
        viewBox="0 0 1000 1000",
        preserveAspectRatio="none",
        x="0",
        y="0",
        width="100%",
        height=f"{height:g}",
        overflow="visible",
    )
    if line.marked:
        for (x, y), epoch, value in zip(points, line.curve.epochs, line.curve.values, strict=True):
            title = element("title", f"{line.words}, epoch {epoch:g}: {told_apart(value, line.curve.values)}")
            yield element("circle", title, cx=place(x), cy=f"{height * y:.2f}", r="3.5", class_="mark plain")


def _line_words(line: Line) -> str:
    values = line.curve.values
    first, last, low, high = (told_apart(value, values) for value in (values[0], values[-1], min(values), max(values)))
    return f"{line.words}: {first} at first, {last} at last, between {low} and {high}"
