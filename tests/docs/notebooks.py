"""Runs the notebooks in `examples/` cell by cell, without Jupyter, and writes or compares what they show.

PYTHONPATH=src:tests python tests/docs/notebooks.py      writes the outputs that the notebooks keep
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
from pathlib import Path

from helpers.places import ROOT

NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


def run_cell(source: str, scope: dict[str, object]) -> list[dict[str, object]]:
    """Run a cell, and return its outputs as a notebook keeps them: what it printed, and its last value.

    Args:
        source: Python.
        scope: the notebook's names; changed.
    """
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, "<cell>", "exec"), scope)
        value = None if last is None else eval(compile(ast.Expression(last.value), "<cell>", "eval"), scope)
    outputs: list[dict[str, object]] = []
    if printed.getvalue():
        outputs.append({"name": "stdout", "output_type": "stream", "text": _lines(printed.getvalue())})
    if value is not None:
        data = {"text/plain": _lines(repr(value))}
        html = getattr(value, "_repr_html_", None)
        if html is not None:
            data = {"text/html": _lines(html()), **data}
        outputs.append({"data": data, "metadata": {}, "output_type": "execute_result"})
    return outputs


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def rerun(notebook: dict[str, object]) -> dict[str, object]:
    """Return a notebook with the outputs that its cells have now."""
    scope: dict[str, object] = {"__name__": "__main__"}
    cells, number = [], 0
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            number += 1
            outputs = run_cell("".join(cell["source"]), scope)
            for output in outputs:
                if output["output_type"] == "execute_result":
                    output["execution_count"] = number
            cell = {**cell, "execution_count": number, "outputs": outputs}
        cells.append(cell)
    return {**notebook, "cells": cells}


def read(path: Path) -> dict[str, object]:
    """Read a notebook's JSON."""
    return json.loads(path.read_text(encoding="utf-8"))


def write(path: Path, notebook: dict[str, object]) -> None:
    """Write a notebook as Jupyter does: one blank an indent, a line's end at the end."""
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    for each in NOTEBOOKS:
        write(each, rerun(read(each)))
