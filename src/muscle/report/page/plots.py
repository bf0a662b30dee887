"""The report's charts with axes: estimates with intervals, scatter plots, histograms.

Colour tells whether it is good (blue) or bad (orange), shape tells who: a hollow circle is the plain update, a filled
diamond the candidate, a square any other run. See `charts` for how they are drawn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from muscle.report.entries import Role
from muscle.report.numbers import MINUS, count
from muscle.report.page.charts import element, picture, place


@dataclass(frozen=True)
class EstimateMark:
    """A value and its interval in data units; the interval may be missing."""

    value: float
    low: float | None
    high: float | None
    role: Role
    title: str


@dataclass(frozen=True)
class Point:
    """A mark of a scatter plot; points that share a `series` are joined in the order given."""

    x: float
    y: float
    role: Role
    label: str
    title: str
    series: str = ""


@dataclass(frozen=True)
class Axis:
    """A linear axis: its ticks, the first and the last being its ends, and how they are written."""

    ticks: tuple[float, ...]
    percent: bool = False
    signed: bool = False

    @property
    def low(self) -> float:
        """The axis' left or lower end."""
        return self.ticks[0]

    @property
    def high(self) -> float:
        """The axis' right or upper end."""
        return self.ticks[-1]

    def share(self, value: float) -> float:
        """Return where a value lies between the ends, in [0, 1] for values inside."""
        return (value - self.low) / (self.high - self.low)

    def write(self, value: float) -> str:
        """Return a tick's text."""
        step = (self.ticks[1] - self.ticks[0]) * (100 if self.percent else 1)
        places = next((p for p in range(7) if abs(round(step, p) - step) < 1e-6 * step), None)
        form = ".10g" if places is None else f",.{places}f"  # no tick reads as its neighbour
        text = f"{value * (100 if self.percent else 1):{form}}".replace("-", MINUS)
        return ("+" if self.signed and value > 0 else "") + text + ("%" if self.percent else "")


def make_axis(
    values: Sequence[float], *, ticks: int = 5, percent: bool = False, signed: bool = False, zero: bool = True
) -> Axis:
    """Return an axis with round ticks that covers the values.

    Args:
        values: what must lie on the axis, in data units.
        ticks: about how many steps.
        percent: the values are rates, to be written in percent.
        signed: write a plus before positive ticks.
        zero: cover zero too.

    >>> make_axis([0.043, 0.098], percent=True).ticks
    (0.0, 0.02, 0.04, 0.06, 0.08, 0.1)
    """
    low, high = min([*values, 0.0] if zero else values), max([*values, 0.0] if zero else values)
    if high <= low:
        low, high = (low, low + 1.0) if low == 0 else (min(low, 0.0), max(low, 0.0))
    raw = (high - low) / ticks
    magnitude = 10.0 ** math.floor(math.log10(raw))
    # A step, or an end, that is hit exactly must not be passed over by a rounding error.
    step = next(m * magnitude for m in (1, 2, 2.5, 5, 10) if m * magnitude >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    # 3 * 0.1 is not 0.3: ticks are written as they are, and the one at zero is compared with it.
    return Axis(tuple(float(f"{i * step:.10g}") for i in range(first, last + 1)), percent, signed)


def mark(x: float, y: float, role: Role, title: str) -> Markup:
    """Return a role's mark at `x` in [0, 1] of the width and `y` pixels."""
    shape = {
        "plain": element("circle", r=5, class_="mark plain"),
        "candidate": element("path", d="M-6.5 0L0-6.5L6.5 0L0 6.5Z", class_="mark candidate"),
        "other": element("rect", x=-4, y=-4, width=8, height=8, class_="mark other"),
    }[role]
    return element("svg", element("title", title), shape, x=place(x), y=f"{y:g}", overflow="visible")


def estimates(rows: Sequence[EstimateMark], axis: Axis, *, title: str, band: bool = True) -> Markup:
    """Draw estimates with their intervals on one axis, one below the other, of a number of which less is better.

    A band marks the way from first to last.
    """
    step = 16.0
    height = max(48.0, 16.0 * len(rows) + 16.0)
    top = (height - step * (len(rows) - 1)) / 2
    marks: list[str] = [
        element("line", x1=place(axis.share(t)), x2=place(axis.share(t)), y1=0, y2=f"{height:g}", class_="grid")
        for t in axis.ticks
    ]
    if band and len(rows) > 1:
        start, end = rows[0].value, rows[-1].value
        low, high = sorted((start, end))
        better = end < start
        marks.append(
            element(
                "rect",
                x=place(axis.share(low)),
                width=place(axis.share(high) - axis.share(low)),
                y=f"{top - 8:g}",
                height=f"{step * (len(rows) - 1) + 16:g}",
                class_="band " + ("better" if better else "worse"),
            )
        )
    for position, row in enumerate(rows):
        y = step * position + top
        if row.low is not None and row.high is not None:
            ends = {"x1": place(axis.share(row.low)), "x2": place(axis.share(row.high))}
            marks.append(element("line", **ends, y1=f"{y:g}", y2=f"{y:g}", class_="whisker"))
        marks.append(mark(axis.share(row.value), y, row.role, row.title))
    return picture(*marks, height=height, title=title, description="; ".join(r.title for r in rows), class_="estimates")


def ruler(axis: Axis) -> Markup:
    """Draw an axis' ticks as a row of labels, to stand under `estimates`."""
    labels = [
        element("text", axis.write(tick), x=place(axis.share(tick)), y=12, class_=_tick_class(axis, tick))
        for tick in axis.ticks
    ]
    return element("svg", *labels, class_="chart ruler", width="100%", height="16", aria_hidden="true")


def _tick_class(axis: Axis, tick: float) -> str:
    if tick == axis.low:
        return "axis"
    return "axis end" if tick == axis.high else "axis middle"


def scatter(
    points: Sequence[Point],
    x_axis: Axis,
    y_axis: Axis,
    *,
    title: str,
    lines: Sequence[tuple[tuple[float, float], tuple[float, float]]] = (),
    height: float = 300,
) -> Markup:
    """Draw points with labels, points of one series joined, and reference lines in data units."""

    def spot(x: float, y: float) -> tuple[float, float]:
        return x_axis.share(x), height * (1 - y_axis.share(y))

    marks = axes_grid(x_axis, y_axis, height)
    for start, end in lines:
        marks.append(_segment(spot(*start), spot(*end), "reference"))
    series: dict[str, list[Point]] = {}
    for point in points:
        series.setdefault(point.series, []).append(point)
    for name, members in series.items():
        if name:
            pairs = pairwise(members)
            marks.extend(_segment(spot(a.x, a.y), spot(b.x, b.y), "join") for a, b in pairs)
    marks.extend(mark(*spot(p.x, p.y), p.role, p.title) for p in points)
    marks.extend(_labels(points, [spot(p.x, p.y) for p in points], height))
    description = "; ".join(p.title for p in points)
    return picture(*marks, height=height, title=title, description=description, class_="scatter")


def axes_grid(x_axis: Axis, y_axis: Axis, height: float) -> list[str]:
    """Draw the ticks of two axes, their lines and their texts."""
    marks: list[str] = []
    for tick in x_axis.ticks:
        x = place(x_axis.share(tick))
        marks.append(element("line", x1=x, x2=x, y1=0, y2=f"{height:g}", class_="zero" if tick == 0 else "grid"))
        marks.append(element("text", x_axis.write(tick), x=x, y=f"{height + 18:g}", class_="axis middle"))
    for tick in y_axis.ticks:
        y = height * (1 - y_axis.share(tick))
        marks.append(element("line", x1=0, x2="100%", y1=f"{y:g}", y2=f"{y:g}", class_="zero" if tick == 0 else "grid"))
        marks.append(element("text", y_axis.write(tick), x=0, dx=-8, y=f"{y + 4:g}", class_="axis end"))
    return marks


def _segment(start: tuple[float, float], end: tuple[float, float], style: str) -> Markup:
    ends = {"x1": place(start[0]), "y1": f"{start[1]:g}", "x2": place(end[0]), "y2": f"{end[1]:g}"}
    return element("line", **ends, class_=style)


def _labels(points: Sequence[Point], places: Sequence[tuple[float, float]], height: float) -> list[str]:
    """Label the points, each where it meets no mark or label; one that finds no place is left to its tooltip.

    The width is that of a phone, so that what fits there fits everywhere.
    """
    wide = 270.0
    taken = [(x * wide - 7, y - 7, x * wide + 7, y + 7) for x, y in places]
    marks: list[str] = []
    for point, (x, y) in zip(points, places, strict=True):
        if not point.label:
            continue
        # A letter of the labels' type is 6.6 pixels wide on average.
        length, centre = 6.6 * len(point.label), x * wide
        for dx, dy, style in ((11, 4, ""), (-11, 4, "end"), (0, -12, "middle"), (0, 21, "middle")):
            left = centre + dx - {"": 0.0, "end": length, "middle": length / 2}[style]
            box = (left, y + dy - 11, left + length, y + dy + 3)
            inside = box[0] >= -4 and box[2] <= wide + 4 and box[1] >= -8 and box[3] <= height + 2
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                where = {"x": place(x), "y": f"{y + dy:g}", "dx": dx or None}
                marks.append(element("text", point.label, class_=f"label point {style}".strip(), **where))
                break
    return marks


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def histogram(
    edges: Sequence[float], above: Sequence[int], below: Sequence[int] | None, *, title: str, unit: str
) -> Markup:
    """Draw counts per bin, `above` upwards and `below` (the candidate) mirrored downwards on the same scale.

    Bins left of zero are losses, right of it gains; one that holds zero is neither.
    """
    peak = max([*above, *(below or []), 1])
    room = 110.0
    base = room + 14
    height = base + (room + 14 if below is not None else 0) + 22
    axis = Axis((edges[0], edges[-1]))
    marks: list[str] = [element("text", "0", x=0, dx=-8, y=f"{base + 4:g}", class_="axis end")]
    sides = [("plain update", above, -1)] + ([("candidate", below, 1)] if below is not None else [])
    for name, counts, direction in sides:
        # There is an edge more than there are bins.
        for low, high, number in zip(edges, edges[1:], counts, strict=False):
            if not number:
                continue
            tall = room * number / peak
            style = "loss" if high <= 0 else "gain" if low >= 0 else "wrong"
            marks.append(
                element(
                    "rect",
                    element("title", f"{name}: {count(number)} items with D from {low:.4g} to {high:.4g}"),
                    x=place(axis.share(low)),
                    width=place((high - low) / (axis.high - axis.low)),
                    y=f"{base - tall if direction < 0 else base:g}",
                    height=f"{tall:g}",
                    class_=f"bar {style}",
                )
            )
        y = 10 if direction < 0 else base + room + 12
        marks.append(element("text", name, x="0", y=f"{y:g}", class_="axis strongish"))
        line = base + direction * room
        marks.append(element("line", x1=0, x2="100%", y1=f"{line:g}", y2=f"{line:g}", class_="grid"))
        marks.append(element("text", count(peak), x=0, dx=-8, y=f"{line + 4:g}", class_="axis end"))
    marks.append(element("line", x1=0, x2="100%", y1=f"{base:g}", y2=f"{base:g}", class_="zero"))
    for value in (edges[0], 0.0, edges[-1]):
        if edges[0] <= value <= edges[-1]:
            style = "axis" if value == edges[0] else "axis end" if value == edges[-1] else "axis middle"
            text = f"{value:+.3g}".replace("-", MINUS) if value else "0"
            marks.append(element("text", text, x=place(axis.share(value)), y=f"{height - 4:g}", class_=style))
    description = f"Number of items per difference of {unit}; losses left of zero, gains right of it."
    return picture(*marks, height=height, title=title, description=description, class_="histogram")
