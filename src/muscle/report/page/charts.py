"""The report's charts of parts of a whole, and what all charts share: inline SVG that needs no JavaScript.

Written by hand instead of by a chart library: a library's script would add megabytes to every report and draw nothing
where scripts are off. Horizontal positions are percentages and vertical ones pixels, so a chart is as wide as its
place, on a phone as on a desk, and its text keeps its size. Colours are classes that the style sheet resolves for light
and dark.

One code throughout: colour tells whether it is good (blue) or bad (orange), shape tells who (hollow circle: the plain
update; filled diamond: the candidate; square: other runs). So nothing is told by colour alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from muscle.report.numbers import count, format_number

HATCHED = frozenset({"hatch", "introduced"})
"""Styles that are told apart by lines too."""


@dataclass(frozen=True)
class Part:
    """A part of a whole: its number of items or its share, the class that colours it, and its name."""

    number: float
    style: str
    name: str


@dataclass(frozen=True)
class Quadrants:
    """The four cells of Fig. 2, "both wrong" in two parts; the numbers are counts of items."""

    both_right: int
    negative_flips: int
    positive_flips: int
    both_wrong_same: int
    both_wrong_different: int

    @property
    def total(self) -> int:
        """Number of items in all cells."""
        return self.old_right + self.old_wrong

    @property
    def old_right(self) -> int:
        """Number of items that the old model has right."""
        return self.both_right + self.negative_flips

    @property
    def old_wrong(self) -> int:
        """Number of items that the old model has wrong."""
        return self.positive_flips + self.both_wrong_same + self.both_wrong_different


def element(tag: str, *children: str, **attributes: object) -> Markup:
    """Return an SVG element; `_` in an attribute's name stands for `-`, a trailing one is dropped, None is left out.

    >>> str(element("rect", x="10%", class_="gain"))
    '<rect x="10%" class="gain"></rect>'
    """
    names = {k.rstrip("_").replace("_", "-"): v for k, v in attributes.items() if v is not None}
    written = "".join(f' {k}="{escape(v)}"' for k, v in names.items())
    return Markup(f"<{tag}{written}>{''.join(map(escape, children))}</{tag}>")


def picture(*children: str, height: float, title: str, description: str, class_: str = "") -> Markup:
    """Return a fluid SVG of a fixed height that screen readers announce as one picture with its description.

    The name is a label, not a `<title>`: that would pop up over every blank spot and hide the marks' own titles.
    """
    return element(
        "svg",
        element("desc", description),
        *children,
        class_=f"chart {class_}".strip(),
        width="100%",
        height=f"{height:g}",
        role="img",
        aria_label=f"{title}. {description}",
    )


def place(share: float) -> str:
    """Return a horizontal position or width, given as a share of the whole."""
    return f"{round(100 * share, 3):g}%"


def mosaic(cells: Quadrants, *, title: str, height: float = 236) -> Markup:
    """Draw the four quadrants (MUSCLE, 2024, Fig. 2) with areas in proportion to the number of items.

    Columns are old right and old wrong, as wide as their shares; in each, new right lies above new wrong.
    """
    if cells.total == 0:
        return picture(height=4, title=title, description="no items")
    left = (Part(cells.both_right, "right", "both right"), Part(cells.negative_flips, "loss", "lost"))
    right = (
        Part(cells.positive_flips, "gain", "gained"),
        Part(cells.both_wrong_same, "wrong", "both wrong"),
        Part(cells.both_wrong_different, "hatch", "other wrong"),
    )
    share = cells.old_right / cells.total
    heads = (
        element("text", f"old right {format_number(share, 'rate')}", x="0", y="14", class_="axis"),
        element("text", f"old wrong {format_number(1 - share, 'rate')}", x="100%", y="14", class_="axis end"),
    )
    description = (
        f"Of {count(cells.total)}, {count(cells.both_right)} are right in both, {count(cells.negative_flips)} went "
        f"from right to wrong, {count(cells.positive_flips)} from wrong to right, {count(cells.both_wrong_same)} are "
        f"wrong in both with the same answer and {count(cells.both_wrong_different)} with another wrong answer."
    )
    columns = [
        *_column(left, 0, share, height, cells.total),
        *_column(right, share, 1 - share, height, cells.total),
    ]
    return picture(*heads, *columns, height=height, title=title, description=description, class_="mosaic")


def _column(parts: Sequence[Part], x: float, width: float, height: float, total: int) -> list[Markup]:
    """Stack parts as high as their shares of the column, below the head line."""
    y, whole, marks = 22.0, sum(part.number for part in parts), []
    for part in parts:
        if part.number:
            tall = (height - 22.0) * part.number / whole
            marks.append(_tile(x, width, y, tall, part, total, _whole_number))
            marks.append(_tile_label(x, width, y, tall, part, total))
            y += tall
    return marks


def _tile(
    x: float, width: float, y: float, height: float, part: Part, total: float, write: Callable[[float], str]
) -> Markup:
    area = {"x": place(x), "y": f"{y:g}", "width": place(width), "height": f"{height:g}"}
    share = format_number(part.number / total, "rate")
    written = write(part.number)
    title = f"{part.name}: {written}" if written == share else f"{part.name}: {written} ({share})"
    tile = element("rect", element("title", title), class_=f"tile {part.style}", **area)
    return tile + element("rect", class_="hatched", **area) if part.style in HATCHED else tile


def _tile_label(x: float, width: float, y: float, height: float, part: Part, total: float) -> Markup:
    """Write a tile's share and name inside it where there is room; the legend beside has them all.

    The class `narrow` is for names that fit only where the picture is wide; the style sheet knows where that is.
    """
    # On a phone a chart is about 270 pixels wide: a share in percent takes 50 of them, with a name beside it 110.
    if width < 0.2 or height < 18:
        return Markup()
    where, style = place(x + width / 2), f"label on-{part.style}"
    share = format_number(part.number / total, "rate")
    if height < 38 or part.style in HATCHED:
        text = f"{share} {part.name}" if width > 0.4 else share
        return element("text", text, x=where, y=f"{y + height / 2 + 4:g}", class_=style)
    narrow = "" if width > 0.38 else " narrow"
    name = element("text", part.name, x=where, y=f"{y + height / 2 + 15:g}", class_=style + narrow)
    return element("text", share, x=where, y=f"{y + height / 2 - 2:g}", class_=f"{style} strong") + name


def _whole_number(number: float) -> str:
    return count(int(number))


def strip(
    parts: Sequence[Part], *, title: str, height: float = 30, write: Callable[[float], str] = _whole_number
) -> Markup:
    """Draw parts of a whole as one bar; `write` makes a part's number text, a count unless told otherwise."""
    total = sum(part.number for part in parts)
    description = ", ".join(f"{part.name} {write(part.number)}" for part in parts)
    marks: list[str] = []
    x = 0.0
    for part in parts:
        width = part.number / total if total else 0.0
        if part.number:
            marks.append(_tile(x, width, 0, height, part, total, write))
            # A count of four digits, 30 pixels on a phone.
            if width > 0.12:
                middle = {"x": place(x + width / 2), "y": f"{height / 2 + 4:g}"}
                marks.append(element("text", write(part.number), class_=f"label on-{part.style}", **middle))
        x += width
    return picture(*marks, height=height, title=title, description=description, class_="strip")


def bar(share: float, style: str, reference: float | None = None) -> Markup:
    """Draw a share of the width as a bar beside its figure, with a line at another share to hold it against."""
    area = {"x": 0, "y": 3, "width": place(share), "height": 10}
    marks = [element("rect", class_=f"tile {style}", **area)]
    if reference is not None:
        at = place(min(1.0, reference))
        marks.append(element("line", x1=at, x2=at, y1=0, y2=16, class_="reference solid"))
    return element("svg", *marks, class_="chart", width="100%", height=16, aria_hidden="true")
