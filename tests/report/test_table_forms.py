"""One table as CSV, LaTeX and Markdown: figures rounded or in full, hostile names shown and never acting."""

from __future__ import annotations

import csv
import io
import math
import shutil
import subprocess
from pathlib import Path

import pytest

from muscle.report.numbers import DASH, MINUS
from muscle.report.text.table_forms import Column, Table, escape_latex, to_csv, to_latex, to_markdown

HOSTILE = [
    '=HYPERLINK("x")',
    "a|b\n**c** <b>@d",
    r"\input{/etc/passwd} & 5% $x$ #1 ~^{}",
    "[0.5ex] \x1b[2J\u202e",
    "a,b",
]
COLUMNS = (Column("name"), Column("items", digits=0), Column("gain", digits=2, signed=True))


def table(*rows: tuple[str | float | None, ...]) -> Table:
    return Table("What was gained", COLUMNS, rows, notes=("One seed.",))


def test_csv_holds_figures_in_full_and_nothing_as_an_empty_cell() -> None:
    text = to_csv(table(("a", 1200, 0.123456789), ("b", 7, None)))
    assert list(csv.reader(io.StringIO(text))) == [
        ["name", "items", "gain"],
        ["a", "1200", "0.123456789"],
        ["b", "7", ""],
    ]


def test_markdown_aligns_figures_right_and_rounds_them() -> None:
    assert to_markdown(table(("a_b", 1200, 0.126), ("b", 7, -0.126), ("c", 7, None)), level=2).splitlines() == [
        "## What was gained",
        "",
        "| name | items | gain |",
        "| --- | ---: | ---: |",
        r"| a\_b | 1,200 | +0.13 |",
        f"| b | 7 | {MINUS}0.13 |",
        f"| c | 7 | {DASH} |",
        "",
        r"One seed\.",
    ]


def test_latex_is_a_booktabs_table_with_its_caption_and_label() -> None:
    assert to_latex(table(("a_b", 1200, -0.126), ("c", 7, None)), label="tab:gain").splitlines() == [
        r"\begin{table}[htbp]",
        r"\centering",
        r"\caption{What was gained. One seed.}",
        r"\label{tab:gain}",
        r"\begin{tabular}{@{}lrr@{}}",
        r"\toprule",
        r"name & items & gain \\",
        r"\midrule",
        r"a\_b & 1,200 & $-$0.13 \\",
        r"c & 7 & -- \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_stays_one_cell_of_every_form(name: str) -> None:
    rows = table((name, 1, 1.0))
    assert len(to_markdown(rows).splitlines()) == 5
    cells = to_markdown(rows).splitlines()[2].replace("\\|", "").split("|")
    assert len(cells) == 5
    assert "<b>" not in to_markdown(rows)
    (line,) = [line for line in to_latex(rows).splitlines() if line.endswith(r"& 1 & +1.00 \\")]
    assert line.replace(r"\&", "").count("&") == 2
    assert "\x1b" not in line + to_markdown(rows)
    (_, row) = csv.reader(io.StringIO(to_csv(rows)))
    assert row[0] == (f"'{name}" if name.startswith("=") else name)


def test_no_character_of_latex_acts() -> None:
    plain = escape_latex("".join(map(chr, range(32, 127))))
    for written in ("textbackslash", "textasciitilde", "textasciicircum", "textless", "textgreater", "textbar"):
        assert plain.count(rf"\{written}{{}}") == 1
    assert all(rf"\{character}" in plain for character in "&%$#_{}")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not here")
def test_latex_takes_hostile_names(tmp_path: Path) -> None:
    body = to_latex(table(*((name, 1, -1.0) for name in HOSTILE)))
    head = r"\documentclass{article}\usepackage{booktabs,textcomp}\usepackage[T1]{fontenc}\begin{document}"
    (tmp_path / "a.tex").write_text(head + body + r"\end{document}", encoding="utf-8")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "a.tex"], cwd=tmp_path, capture_output=True
    )
    assert done.returncode == 0, done.stdout[-2000:].decode(errors="replace")


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (("a", 1), "a row of 2 cells for 3 columns"),
        (("a", "1", 1.0), "items: '1' is of the wrong kind"),
        ((1.0, 1, 1.0), "name: 1.0 is of the wrong kind"),
        (("a", 1, math.nan), "gain: expected a finite figure"),
    ],
)
def test_a_row_that_does_not_fit_is_refused(row: tuple[str | float | None, ...], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        table(row)


def test_a_label_that_latex_would_act_on_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a label"):
        to_latex(table(), label="a}b")
