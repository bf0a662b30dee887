"""The documentation hangs together: links lead somewhere, results that it names are kept, each page says what it is for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from places import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RESULTS = ROOT / "benchmarks" / "results"

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@pages
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        name, _, heading = target.partition("#")
        linked = page.parent / name if name else page
        assert linked.exists(), f"{page.name}: {target}"
        if heading:
            headings = re.findall(r"(?m)^#+ (.*)$", linked.read_text(encoding="utf-8"))
            slugs = [re.sub(r"[^\w\- ]", "", text).lower().replace(" ", "-") for text in headings]
            assert heading in slugs, f"{page.name}: {target}"


@pages
def test_results_that_are_named_are_kept(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"benchmarks/results/([\w./-]*\w)", text):
        assert (RESULTS / name).exists() or list(RESULTS.glob(f"{name}*")), f"{page.name}: {name}"


@pages
def test_scripts_that_are_named_are_there(page: Path) -> None:
    for name in re.findall(
        r"(?:benchmarks|examples)/[\w/-]+\.(?:py|ya?ml|sbatch)\b", page.read_text(encoding="utf-8")
    ):
        assert "results" in name or (ROOT / name).exists(), f"{page.name}: {name}"


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: page.name)
def test_a_page_says_first_what_it_is_for(page: Path) -> None:
    title, blank, first = page.read_text(encoding="utf-8").splitlines()[:3]
    assert title.startswith("# ")
    assert not blank
    assert first[:1].isalpha() or first.startswith("`"), f"{page.name}: {first}"
