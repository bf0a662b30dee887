"""The notebooks in `examples/` run, and keep what they show."""

from __future__ import annotations

from pathlib import Path

import notebooks
import pytest

each_notebook = pytest.mark.parametrize("path", notebooks.NOTEBOOKS, ids=lambda path: path.name)


@each_notebook
def test_its_cells_show_what_it_keeps(path: Path) -> None:
    kept = notebooks.read(path)
    assert notebooks.rerun(kept) == kept, "PYTHONPATH=src:tests python tests/docs/notebooks.py writes the outputs anew"


@each_notebook
def test_it_has_the_form_that_jupyter_reads(path: Path) -> None:
    kept = notebooks.read(path)
    assert (kept["nbformat"], kept["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in kept["cells"]}) == len(kept["cells"])
    for cell in kept["cells"]:
        own = {"outputs", "execution_count"} if cell["cell_type"] == "code" else set()
        assert set(cell) == {"cell_type", "id", "metadata", "source"} | own
        assert all("/tmp/" not in str(output) and "/home/" not in str(output) for output in cell.get("outputs", []))


def test_a_cell_s_outputs_are_what_it_prints_and_its_last_value() -> None:
    scope: dict[str, object] = {}
    assert notebooks.run_cell("x = 2", scope) == []
    printed, value = notebooks.run_cell("print('a')\nx + 1", scope)
    assert printed["text"] == ["a\n"] and value["data"] == {"text/plain": ["3"]}
