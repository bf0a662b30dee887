"""The page's figures as `<data>` elements, each with the exact number and where it stands in report.json.

An element's `value` is the exact number, its `data-path` the JSON pointer (RFC 6901, section 6) of its place in the
file, its text the rounded form. So a reader can copy the exact value, and a test can hold each figure on the page
against the file. A figure that is the difference of two entries names the second in `data-minus`.
"""

from __future__ import annotations

from urllib.parse import quote

from markupsafe import Markup, escape

from muscle.flips.statistics.intervals import Estimate
from muscle.foreign_text import visible
from muscle.report.numbers import Form, count, format_number

ABSENT = Markup('<span class="absent">\N{EN DASH}</span>')
"""What stands where nothing was computed."""


def pointer(*parts: object) -> str:
    """Return the JSON pointer to an entry, as a URI fragment: names may hold characters that no attribute can.

    >>> pointer("tasks", "a/b c", "n")
    '#/tasks/a~1b%20c/n'
    """
    names = (str(part).replace("~", "~0").replace("/", "~1") for part in parts)
    return "#" + "".join(f"/{quote(name, safe='~', errors='surrogatepass')}" for name in names)


def figure(value: float, text: str, path: str | None = None, minus: str | None = None) -> Markup:
    """Return a `<data>` element: the exact value, where it stands in report.json, and the text to read."""
    # Put together by hand: a page has up to tens of thousands of these, and Markup.format takes ten times as long.
    where = f' data-path="{escape(path)}"' if path else ""
    less = f' data-minus="{escape(minus)}"' if minus else ""
    return Markup(f'<data value="{value!r}"{where}{less}>{escape(text)}</data>')


def integer(value: int, path: str | None = None) -> Markup:
    """Return a count as a figure."""
    return figure(value, count(value), path)


def number(metric: Estimate, path: str, form: Form) -> Markup:
    """Return a metric's value as a figure, or the word "undefined"."""
    if metric.value is None:
        return Markup('<span class="undefined">undefined</span>')
    return figure(metric.value, format_number(metric.value, form), f"{path}/value")


def lone_number(value: float | None, path: str, form: Form) -> Markup:
    """Return a number that has no interval as a figure; a dash where there is none."""
    return ABSENT if value is None else figure(value, format_number(value, form), path)


def interval(metric: Estimate, path: str, form: Form) -> Markup:
    """Return a metric's 95 % interval, or nothing where it has none."""
    if metric.low is None or metric.high is None:
        return Markup()
    return Markup('<span class="interval">{} to {}</span>').format(
        figure(metric.low, format_number(metric.low, form), f"{path}/low"),
        figure(metric.high, format_number(metric.high, form), f"{path}/high"),
    )


def cell(metric: Estimate | None, path: str, form: Form) -> Markup:
    """Return a table cell's content: value and interval, or "undefined" and why; a dash where nothing was computed."""
    if metric is None:
        return ABSENT
    value = number(metric, path, form)
    if metric.value is None:
        why = visible(metric.why) if metric.why else "no reason given"
        return value + Markup(' <span class="why">{}</span>').format(why)
    return value + Markup(" ") + interval(metric, path, form)


def change(before: Estimate, after: Estimate, paths: tuple[str, str], form: Form) -> Markup:
    """Return after minus before, without an interval; a dash where one of them is undefined."""
    if before.value is None or after.value is None:
        return ABSENT
    difference = after.value - before.value
    text = format_number(difference, "points" if form in ("rate", "points") else "signed")
    return figure(difference, text, f"{paths[1]}/value", f"{paths[0]}/value")
