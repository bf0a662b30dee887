"""The source stays a house that a newcomer can walk through: `house.py` measures it, the limits stand here."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import house
from helpers.places import ROOT

LIMITS = {
    "files a folder, median": 7,
    "files a folder, most": 14,
    "Any a 1,000 lines": 2,
    "private helper names that stand twice": 5,
    "functions over 60 lines": 1,
    "functions over 8 parameters": 24,
    "files over 400 lines": 0,
    "lines over 120 characters": 0,
    "import circles": 0,
}
"""The most that each figure may be; a change may lower a limit, never raise it."""


@pytest.fixture(scope="module")
def ours() -> house.House:
    return house.read(ROOT / "src" / "muscle")


@pytest.mark.parametrize("figure", LIMITS)
def test_the_source_keeps_its_limits(ours: house.House, figure: str) -> None:
    value = house.figures(ours)[figure]
    named = "\n".join(house.details(ours).get(figure, [])[:40])
    assert round(value, 1) <= LIMITS[figure], f"{figure}: {value:.1f}, more than {LIMITS[figure]}\n{named}"


FIRST = """\
from __future__ import annotations
import typing
from typing import TYPE_CHECKING, Any
from .second import _shared
if TYPE_CHECKING:
    from small.rooms import third

# A comment.
def _shared(rows: dict[str, Any], other: "Any") -> typing.Any:
    return rows
"""
SECOND = """\
try:
    from small import first
except ImportError:
    first = None

def _shared(): pass

def _alone(): import small.rooms.third
"""
THIRD = "from small import second\n\ndef _alone_too():\n" + "    pass\n" * 60 + "x = '" + "y" * 120 + "'\n"
THIRD += "class Some:\n    def eight(self, a, b, c, /, d, e, *f, g, h, i): pass\n"
THIRD += "    @classmethod\n    def nine(cls, a, b, c, d, e, *, g, h, i, j=0): pass\n"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> house.House:
    root = tmp_path_factory.mktemp("house") / "small"
    files = {"__init__": "", "first": FIRST, "second": SECOND, "rooms/__init__": "", "rooms/third": THIRD}
    for name, text in files.items():
        path = root / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return house.read(root)


def test_a_folder_counts_its_own_modules(small: house.House) -> None:
    assert small.files_a_folder == {"small": 2, "small/rooms": 1}


def test_any_is_counted_in_annotations_and_in_those_written_as_strings(small: house.House) -> None:
    assert small.anys == {"small/first.py": 3}
    assert small.any_objects == {"small/first.py": 1}


def test_a_helper_stands_twice_where_two_modules_define_its_name(small: house.House) -> None:
    assert small.helpers_that_stand_twice == {"_shared": ["small/first.py", "small/second.py"]}


def test_what_is_too_long_is_named(small: house.House) -> None:
    assert small.long_functions == {"small/rooms/third.py:3 _alone_too": 61}
    assert small.long_lines == ["small/rooms/third.py:64"]
    assert small.long_files == {}


def test_a_function_has_many_parameters_where_there_are_more_than_eight_beside_self(small: house.House) -> None:
    assert small.many_parameters == {"small/rooms/third.py:68 nine": 9}


def test_a_circle_is_one_of_imports_at_load_time_alone(small: house.House) -> None:
    assert small.cycles == [["small.first", "small.second"]]


def test_two_packages_stand_side_by_side(small: house.House) -> None:
    heading, *rows = house.table({"before": small, "after": small}).splitlines()
    assert heading.split() == ["before", "after"]
    assert rows[0].split() == ["files", "5", "5"]


def test_a_folder_without_python_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no Python file"):
        house.read(tmp_path)


def test_no_module_imports_another_s_private_names() -> None:
    source = ROOT / "src" / "muscle"
    taken = [
        f"{path.relative_to(source)}: {alias.name} of {node.module}"
        for path in source.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("muscle"))
        for alias in node.names
        if alias.name.startswith("_") or any(part.startswith("_") for part in (node.module or "").split("."))
    ]
    assert taken == []
