"""Slices as people read them: rows for terminal and Markdown, pure functions of a task's `slices` section."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from muscle.report.numbers import Form, count, format_number
from muscle.report.rows import estimate, one_line, value_alone
from muscle.report.text.escaping import escape

MAX_ROWS = 20
MAX_CONCENTRATED = 5
MAX_NAMES = 5
WIDE = 120
"""Columns of a terminal from which on intervals are shown."""

HEAD = ("slice", "items", "difference", "broke", "gained", "p (BH)")

Sliced = Mapping[str, Any]


def _label(row: Mapping[str, Any]) -> str:
    return f"{row['by']} = {row['value']}"


def slice_rows(
    sliced: Sliced, *, binary: bool = True, limit: int = MAX_ROWS, intervals: bool = True
) -> list[list[str]]:
    """Write a row a slice, cells as in `HEAD`; of too many, the surest changes.

    Args:
        sliced: one task's section, as `muscle.flips.slices.cuts.measure_slices` makes it.
        binary: whether differences are of accuracy, in points, else of a score.
        limit: rows to write.
        intervals: whether the 95 % intervals are written, too.
    """
    written = estimate if intervals else value_alone
    form: Form = "points" if binary else "signed"
    rows = list(sliced["rows"])
    if len(rows) > limit:
        rows = sorted(rows, key=lambda row: (row["bh_p"], row["by"], row["value"]))[:limit]
    return [
        [
            _label(row),
            count(row["n"]),
            written(row["accuracy_difference"], form),
            f"{count(row['negative_flips'])}: {written(row['negative_flip_rate'], 'rate')}",
            f"{count(row['positive_flips'])}: {written(row['positive_flip_rate'], 'rate')}",
            format_number(row["bh_p"], "probability"),
        ]
        for row in rows
    ]


def concentration_lines(sliced: Sliced, *, limit: int = MAX_CONCENTRATED) -> list[str]:
    """Say where negative flips are more frequent than in the rest, beyond chance; the surest first."""
    found = [entry for entry in sliced["concentrated"] if entry["significant"]]
    return [
        f"{_label(entry)}: {format_number(entry['negative_flip_rate']['value'], 'rate')} of {count(entry['n'])} items broke, "
        f"{format_number(entry['excess']['rest'], 'rate')} of the rest "
        f"(p = {format_number(entry['excess']['bh_p'], 'probability')}, corrected)"
        for entry in found[:limit]
    ]


def _names(values: Sequence[str]) -> str:
    shown = ", ".join(values[:MAX_NAMES])
    return shown if len(values) <= MAX_NAMES else f"{shown} and {len(values) - MAX_NAMES} more"


def simpson_lines(sliced: Sliced, *, binary: bool = True) -> list[str]:
    """Name the cuts in which slices go against the whole, or cancel out in it."""
    form: Form = "points" if binary else "signed"
    lines = []
    for case in sliced["simpson"]:
        overall = estimate(case["overall"]["accuracy_difference"], form)
        parts = [f"{way}: {_names(case[way])}" for way in ("worse", "better") if case[way]]
        said = (
            "the whole hides changes that cancel out"
            if case["kind"] == "cancels_out"
            else f"slices go against the whole ({case['overall']['direction']})"
        )
        lines.append(f"{case['by']}: {said}; overall {overall}; {'; '.join(parts)}")
    return lines


def small_lines(sliced: Sliced) -> list[str]:
    """Say what was cut and not tested."""
    lines = []
    for cut in sliced["by"]:
        if cut["skipped"]:
            lines.append(f"{cut['by']}: {cut['skipped']}")
        elif cut["small"]["slices"]:
            small = cut["small"]
            lines.append(
                f"{cut['by']}: {count(small['slices'])} slices with fewer than {sliced['min_items']} items are not tested "
                f"({count(small['items'])} items, {count(small['negative_flips'])} broke)"
            )
    return lines


def slices_markdown(sliced: Sliced, *, binary: bool = True) -> str:
    """Write one task's slices as Markdown: where flips concentrate, Simpson cases, the table. Empty without slices."""
    rows = slice_rows(sliced, binary=binary)
    told = [*concentration_lines(sliced), *simpson_lines(sliced, binary=binary), *small_lines(sliced)]
    lines = "\n".join(f"- {escape(one_line(line, 400))}" for line in told)
    if not rows:
        return lines
    rule = ["---", *["---:"] * (len(HEAD) - 1)]
    cells = [[escape(one_line(row[0], 100)), *row[1:]] for row in rows]
    table = "\n".join("| " + " | ".join(line) + " |" for line in (HEAD, rule, *cells))
    hidden = len(sliced["rows"]) - len(rows)
    more = f"\n\n{hidden} more slices, with larger p, are in the JSON report." if hidden > 0 else ""
    return "\n\n".join(part for part in (lines, table + more) if part)


def print_slices(
    name: str, sliced: Sliced, console: Console, *, binary: bool = True, limit: int = 12
) -> None:
    """Print one task's slices: where flips concentrate, Simpson cases, the table.

    Args:
        name: the task's name.
        sliced: its section.
        console: where to print.
        binary: whether differences are of accuracy, else of a score.
        limit: rows of the table.
    """
    rows = slice_rows(sliced, binary=binary, limit=limit, intervals=console.width >= WIDE)
    told = [*concentration_lines(sliced), *simpson_lines(sliced, binary=binary), *small_lines(sliced)]
    if not rows and not told:
        return
    console.print(Text(f"{one_line(name, 60)}, by slice", style="bold"))
    for line in told:
        console.print(Text(f"  {one_line(line, 300)}"))
    if rows:
        table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 2))
        for number, title in enumerate(HEAD):
            table.add_column(
                title, justify="left" if number == 0 else "right", no_wrap=True, overflow="ellipsis"
            )
        for row in rows:
            table.add_row(*(Text(one_line(cell, 60)) for cell in row))
        console.print(table)
    hidden = len(sliced["rows"]) - len(rows)
    if hidden > 0:
        console.print(Text(f"  and {hidden} more slices, with larger p", style="dim"))
