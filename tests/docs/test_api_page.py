"""The page of the public Python names: its examples run, and every public name stands in it."""

import doctest
import inspect
import re

import pytest

import muscle
import muscle.gate
from helpers.places import ROOT
from muscle.config.template import UPDATE_YAML

PAGE = ROOT / "docs" / "api.md"


def test_its_examples_run_as_they_stand():
    found = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8", optionflags=doctest.ELLIPSIS)
    assert found.attempted > 10 and found.failed == 0


def test_it_names_every_public_name_and_no_other():
    rows = re.findall(r"(?m)^\| (`.*?) \|", PAGE.read_text(encoding="utf-8"))
    named = {name for row in rows for name in re.findall(r"`(\w+)", row)}
    assert named == {*muscle.__all__, *muscle.gate.__all__}


@pytest.mark.parametrize(
    "public",
    [getattr(module, name) for module in (muscle, muscle.gate) for name in module.__all__ if name != "MuscleError"],
    ids=lambda public: getattr(public, "__name__", "value"),
)
def test_a_name_that_takes_a_path_takes_a_text_too(public):
    for each in inspect.signature(public).parameters.values() if callable(public) else ():
        kinds = re.findall(r"[\w.]+", str(each.annotation))
        assert "Path" not in kinds or "str" in kinds, f"{public.__name__}({each.name}: {each.annotation})"


def test_paths_may_be_written_as_texts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "update.yaml").write_text(UPDATE_YAML)
    assert muscle.load_config("update.yaml").output == str(tmp_path / "runs" / "update")
    (tmp_path / "strict.yaml").write_text("tolerance: 0.02\n")
    assert muscle.gate.load_policy("strict.yaml").name == "strict"
    muscle.gate.save_baseline([{"id": "a", "correct": True}], "main", "kept")
    assert muscle.gate.list_baselines("kept") == ["main"]
    assert muscle.gate.load_baseline("main", "kept").frame.height == 1
