"""The page's figures as `<data>` elements, each with the exact number and where it stands in report.json.

An element's `value` is the exact number, its `data-path` the JSON pointer (RFC 6901, section 6) of its place in the file,
its text the rounded form. So a reader can copy the exact value, and a test can hold each figure on the page against the
file. A figure that is the difference of two entries names the second in `data-minus`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from markupsafe import Markup, escape

from muscle.outgoing import visible
from muscle.report.numbers import Form, count, format_number

Metric = Mapping[str, Any]

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


def number(metric: Metric, path: str, form: Form) -> Markup:
    """Return a metric's value as a figure, or the word "undefined"."""
    if metric.get("value") is None:
        return Markup('<span class="undefined">undefined</span>')
    return figure(metric["value"], format_number(metric["value"], form), f"{path}/value")


def interval(metric: Metric, path: str, form: Form) -> Markup:
    """Return a metric's 95 % interval, or nothing where it has none."""
    low, high = metric.get("low"), metric.get("high")
    if low is None or high is None:
        return Markup()
    return Markup('<span class="interval">{} to {}</span>').format(
        figure(low, format_number(low, form), f"{path}/low"),
        figure(high, format_number(high, form), f"{path}/high"),
    )


def cell(metric: Metric | None, path: str, form: Form) -> Markup:
    """Return a table cell's content: value and interval, or "undefined" and why; a dash where nothing was computed."""
    if metric is None:
        return ABSENT
    value = number(metric, path, form)
    if metric.get("value") is None:
        why = visible(metric["why"]) if metric.get("why") else "no reason given"
        return value + Markup(' <span class="why">{}</span>').format(why)
    return value + Markup(" ") + interval(metric, path, form)


def change(before: Metric | None, after: Metric | None, paths: tuple[str, str], form: Form) -> Markup:
    """Return after minus before, without an interval; a dash where one of them is missing or undefined."""
    if not before or not after or before.get("value") is None or after.get("value") is None:
        return ABSENT
    difference = after["value"] - before["value"]
    text = format_number(difference, "points" if form in ("rate", "points") else "signed")
    return figure(difference, text, f"{paths[1]}/value", f"{paths[0]}/value")
