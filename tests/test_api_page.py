"""The page of the public Python names: its examples run, and every public name stands in it."""

import doctest
import re

import muscle
import muscle.gate
from places import ROOT

PAGE = ROOT / "docs" / "api.md"


def test_its_examples_run_as_they_stand():
    found = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8", optionflags=doctest.ELLIPSIS)
    assert found.attempted > 10 and found.failed == 0


def test_it_names_every_public_name_and_no_other():
    rows = re.findall(r"(?m)^\| (`.*?) \|", PAGE.read_text(encoding="utf-8"))
    named = {name for row in rows for name in re.findall(r"`(\w+)", row)}
    assert named == {*muscle.__all__, *muscle.gate.__all__}
