"""What the pages say that commands print is what they print, and the pictures are those that their script draws."""

from __future__ import annotations

import sys
from pathlib import Path

import console_blocks
import pytest

from helpers.places import ROOT

sys.path.insert(0, str(ROOT / "docs" / "build_site"))


@pytest.mark.parametrize("page", console_blocks.PAGES, ids=lambda page: page.name)
def test_a_page_shows_what_its_commands_print(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert console_blocks.rewritten(text) == text, (
        "PYTHONPATH=src:tests python tests/docs/console_blocks.py writes anew"
    )


def test_a_block_holds_commands_and_what_they_print(tmp_path: Path) -> None:
    block = "$ pip install muscle-llm\n$ muscle gate nothing.jsonl nothing.jsonl\nold text\n$ echo $?\n"
    first, second, printed, third, code = console_blocks.run_block(block, tmp_path).splitlines()
    assert (first, second, third, code) == (*[line for line in block.splitlines() if line.startswith("$")], "3")
    assert printed.startswith("muscle: nothing.jsonl: expected a file or folder of predictions")


def test_the_pictures_of_the_metrics_are_the_script_s() -> None:
    import pictures

    kept = {path.name: path.read_text(encoding="utf-8") for path in pictures.FOLDER.iterdir()}
    assert kept == pictures.drawn(), "PYTHONPATH=src python docs/build_site/pictures.py draws them anew"
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert all(f"(images/metrics/{name})" in page for name in kept)
