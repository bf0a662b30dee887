"""A page of the report read as text: elements, figures, entries of the JSON that figures point to, hostile text."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote

HOSTILE = "</script><script>window.hacked=1</script><img src=x onerror=hacked=1>{{7*7}}{% raw %}\u202egnp\x1b[31m\x00"


class Page(HTMLParser):
    """What a test asks of the page: elements with their attributes, figures with their text, all text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.figures: list[tuple[dict[str, str | None], str]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open.append(tag)
        if tag == "data":
            self.figures.append((dict(attrs), ""))
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "script":
            self.scripts[-1] += data
        elif self._open and self._open[-1] != "style":
            self.text += data
            if self._open[-1] == "data":
                attributes, before = self.figures[-1]
                self.figures[-1] = (attributes, before + data)


def entry(report: Any, path: str) -> Any:
    """Follow a JSON pointer."""
    for part in path.removeprefix("#").split("/")[1:]:
        part = unquote(part).replace("~1", "/").replace("~0", "~")
        report = report[int(part)] if isinstance(report, list) else report[part]
    return report


def assert_reads_as(text: str, value: float) -> None:
    """The text is the value, or a hundred times it, rounded to the text's last digit."""
    plain = text.replace(",", "").replace("\N{MINUS SIGN}", "-").rstrip("%")
    decimals = len(plain.partition("e")[0].partition(".")[2])
    scale = 10.0 ** int(plain.partition("e")[2] or 0)
    half = 0.5 * 10.0**-decimals * scale * 1.000001
    shown = float(plain)
    assert abs(shown - value) <= half or abs(shown - 100 * value) <= half, (text, value)
    assert shown != 0 or value == 0, f"{value} reads as zero"
