"""A table of the page: its rows, its head, and the addresses of the examples that a row leads to."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from markupsafe import Markup


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        name: what it is of.
        meaning: what it means, in small letters below the name.
        cells: a cell a column; one alone stands for all.
        link: the address of its examples; None where there are none.
    """

    name: str
    meaning: str
    cells: tuple[Markup, ...]
    link: str | None = None


@dataclass(frozen=True)
class Table:
    """A table of figures: what its rows are, the columns' names, the rows; the first `pictures` columns are charts."""

    name: str
    head: tuple[str, ...]
    rows: tuple[Row, ...]
    pictures: int = 0


def examples_link(*, listed: bool, **filters: str) -> str | None:
    """Return the address, inside the page, of the examples that filters leave; None where none is listed.

    >>> examples_link(listed=True, task="a b", cause="format")
    '#examples?task=a+b&cause=format'
    """
    return f"#examples?{urlencode(filters, errors='replace')}" if listed else None
