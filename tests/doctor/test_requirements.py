"""Our own requirements are read as `packaging`, which the light installation lacks, reads them."""

from __future__ import annotations

import tomllib

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement as Theirs
from packaging.version import Version

from helpers.places import ROOT
from muscle.doctor.requirements import Requirement, in_ranges, requirements, state

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]


def as_metadata(extra: str | None, line: str) -> str:
    """Write a line of pyproject.toml as the built metadata has it."""
    if extra is None:
        return line
    head, _, marker = line.partition(";")
    return f"{head}; ({marker.strip()}) and extra == '{extra}'" if marker else f"{head}; extra == '{extra}'"


LINES = [as_metadata(None, line) for line in PROJECT["dependencies"]]
LINES += [as_metadata(extra, line) for extra, lines in EXTRAS.items() for line in lines]


@pytest.mark.parametrize("line", LINES)
def test_a_requirement_is_read_as_packaging_reads_it(line: str) -> None:
    theirs = Theirs(line)
    extra = next((name for name in EXTRAS if f"extra == '{name}'" in line), None)
    environment = {**default_environment(), "extra": extra or ""}
    expected = [Requirement(theirs.name, str(theirs.specifier), extra)]
    if theirs.marker is not None and not theirs.marker.evaluate(environment):
        expected = []
    assert requirements([line]) == expected


@pytest.mark.parametrize("ranges", [">=2.6", ">=1.10,<2", "==3.0", "!=2.0.0", "<=2.6", ">2"])
@pytest.mark.parametrize("found", ["2.6", "2.6.0", "2.13.0+cpu", "1.9", "1.10.5", "2", "3.0.0", "2.6.1.post1"])
def test_a_version_lies_in_ranges_as_packaging_says(found: str, ranges: str) -> None:
    public = Version(found).public  # a local build is of its release
    assert in_ranges(found, ranges) == Theirs(f"x{ranges}").specifier.contains(public, prereleases=True)


def test_what_comes_before_a_release_is_less() -> None:
    assert not in_ranges("2.6.0rc1", ">=2.6") and not in_ranges("2.6.dev1", ">=2.6") and in_ranges("2.7.0a1", ">=2.6")


def test_the_state_of_a_package_is_what_is_installed() -> None:
    import polars

    there = state(Requirement("polars", ">=1.20", None))
    assert (there.version, there.fits) == (polars.__version__, True)
    assert not state(Requirement("polars", ">=999", None)).fits
    missing = state(Requirement("no-such-package-of-ours", ">=1", "train"))
    assert (missing.version, missing.fits) == (None, False)
