"""The documentation hangs together: links lead somewhere, what it names is there, each page says what it is for."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import muscle
from helpers.places import ROOT

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
SOURCE = ROOT / "src" / "muscle"
RESULTS = ROOT / "benchmarks" / "results"
IMAGES = ROOT / "docs" / "images"

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


def test_every_page_stands_in_the_menu_of_the_site() -> None:
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    assert [page.name for page in PAGES if page.parent != ROOT and f": {page.name}\n" not in menu] == []


def test_the_readme_keeps_to_a_screen_before_the_map() -> None:
    before = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Where things are")[0]
    shown = re.sub(r"(?<=\])\([^)]*\)|<!--.*?-->|[`*]", "", before)
    # As they wrap on a page: 1,050 pixels.
    assert sum(max(1, -(-len(line) // 100)) for line in shown.splitlines()) <= 48
    assert "![" not in before


def test_every_picture_is_shown_and_none_is_large() -> None:
    shown = {name for page in PAGES for name in re.findall(r"images/([\w/-]+\.\w+)", page.read_text(encoding="utf-8"))}
    kept = {path.relative_to(IMAGES).as_posix(): path.stat().st_size for path in IMAGES.rglob("*.*")}
    assert kept.keys() == shown and max(kept.values()) < 150 * 1024


@pages
def test_results_that_are_named_are_kept(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"benchmarks/results/([\w./-]*\w)", text):
        assert (RESULTS / name).exists() or list(RESULTS.glob(f"{name}*")), f"{page.name}: {name}"


def test_the_table_of_published_routes_is_what_was_kept() -> None:
    script = ROOT / "benchmarks" / "route_published.py"
    printed = subprocess.run([sys.executable, script], check=True, capture_output=True, text=True).stdout
    page = (ROOT / "docs" / "route.md").read_text(encoding="utf-8")
    assert len(printed.splitlines()) >= 4 and printed in page


@pages
def test_scripts_that_are_named_are_there(page: Path) -> None:
    for name in re.findall(r"(?:benchmarks|examples)/[\w/-]+\.(?:py|ya?ml|sbatch)\b", page.read_text(encoding="utf-8")):
        assert "results" in name or (ROOT / name).exists(), f"{page.name}: {name}"


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: page.name)
def test_a_page_says_first_what_it_is_for(page: Path) -> None:
    title, blank, first = page.read_text(encoding="utf-8").splitlines()[:3]
    assert title.startswith("# ")
    assert not blank
    assert first[:1].isalpha() or first.startswith("`"), f"{page.name}: {first}"


@pages
def test_paths_that_are_named_are_there(page: Path) -> None:
    """In the docs only Python files: published results name the files of their own repositories."""
    ending = "/?" if page.parent == ROOT else r"\.py\b"
    named = re.findall(rf"(?<![\w/.-])(?:src|tests|docs)/[\w./-]*\w{ending}", page.read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []


@cache
def python_files() -> frozenset[str]:
    folders = ("src", "tests", "benchmarks", "examples", "docs")
    return frozenset(path.name for folder in folders for path in (ROOT / folder).rglob("*.py"))


@pages
def test_python_files_and_modules_that_are_named_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert set(re.findall(r"\b\w+\.py\b", text)) - python_files() == set()
    for name in re.findall(r"`muscle\.((?:[a-z_]+\.)*[a-z_]+)", text):
        *parents, last = name.split(".")
        home = SOURCE.joinpath(*parents)
        is_module = (home / last).is_dir() or (home / f"{last}.py").exists()
        is_in_module = last in muscle.__all__ if not parents else home.is_dir() or home.with_suffix(".py").exists()
        assert is_module or is_in_module, f"{page.name}: muscle.{name}"


def test_the_walkthroughs_name_what_stands_in_the_files_that_they_name() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    pairs = re.findall(r"`(\w+)` in\s+`(src/[\w/]+\.py)`", text)
    assert len(pairs) >= 8
    for name, path in pairs:
        source = (ROOT / path).read_text(encoding="utf-8")
        assert re.search(rf"(?m)^\s*(?:def {name}\(|class {name}\b|{name}\b.* = |\"{name}\":)", source), (
            f"{path}: {name}"
        )


def map_of_the_source() -> list[tuple[str, str]]:
    """Return the lines of README's map of `src/muscle`: what stands in front, and the phrase behind it."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (drawn,) = re.findall(r"(?ms)^src/muscle/\n(.*?)^tests/", text)
    lines = [re.fullmatch(r"  (\S+(?:, \S+)*)  +(.*)", line) for line in drawn.splitlines()]
    assert all(lines), drawn
    return [(line[1], line[2]) for line in lines if line]


def test_the_map_has_every_folder_and_the_rooms_in_it() -> None:
    told = dict.fromkeys(re.findall(r"[\w/]+(?=/)", " ".join(word for line in map_of_the_source() for word in line)))
    folders = {path.parent for path in SOURCE.rglob("__init__.py")} - {SOURCE}
    rooms = [path.relative_to(SOURCE) for path in folders if len(path.relative_to(SOURCE).parts) <= 2]
    assert sorted(str(room) for room in rooms if room.name not in told) == []


def test_the_map_names_nothing_that_is_not_there() -> None:
    for heads, phrase in map_of_the_source():
        places = [SOURCE, *(SOURCE / head.strip("/") for head in heads.split(", "))]
        for name in re.findall(r"[\w/]+(?:\.py\b|/)", f"{heads} {phrase}"):
            assert any((place / name).exists() for place in places), f"{heads}: {name}"
