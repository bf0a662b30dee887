"""Faults that were found in use, typed as their users typed them: what comes out is what should have come out.

The inputs lie in ../shared/faults beside this project; where they are not there, these tests are skipped. Each kind of
fault has tests with rows of the project's own as well.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from helpers.command_line import Done, muscle
from helpers.places import SHARED

FAULTS = SHARED / "faults"
HOSTILE = FAULTS / "robust"

pytestmark = pytest.mark.skipif(not FAULTS.is_dir(), reason="the inputs of ../shared/faults are not here")


def folder_of(number: int) -> Path:
    """Return the folder of a fault."""
    return next(FAULTS.glob(f"{number}-*"), FAULTS / str(number))


@pytest.fixture
def fault(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Any], Any]:
    """Copy a fault's folder, go there, and return its commands and what should come of them."""
    source = folder_of(request.param)
    if not source.is_dir():
        pytest.skip(f"the inputs of fault {request.param} are not here")
    here = Path(shutil.copytree(source, tmp_path / "fault"))
    monkeypatch.chdir(here)
    text = (here / "cmd.txt").read_text()
    words = [shlex.split(part, comments=True) for line in text.splitlines() for part in line.split(";")]
    commands = [each[1:] for each in words if each[:1] == ["muscle"]]
    assert commands
    return commands, json.loads((here / "expected.json").read_text())


def told(done: Done) -> str:
    """Return what a command printed, in one line."""
    return " ".join((done.out + done.err).split())


def reported(command: list[str]) -> dict[str, Any]:
    """Run a command that compares, and return its report."""
    muscle(*command, "--json", "report.json")
    report: dict[str, Any] = json.loads(Path("report.json").read_text())
    return report


def flips(report: dict[str, Any]) -> dict[str, int]:
    """Count a report's items, those that broke and those that were gained."""
    pairs = [task["old_vs_new"] for task in report["tasks"].values()]
    moved = {"broke": "negative_flip_rate", "gained": "positive_flip_rate"}
    counts = {name: sum(round(pair[rate]["value"] * pair["n"]) for pair in pairs) for name, rate in moved.items()}
    return {"items": sum(pair["n"] for pair in pairs), **counts}


@pytest.mark.parametrize("fault", [1, 3, 4, 5, 6, 8], indirect=True)
def test_every_command_ends_as_it_should(fault: tuple[list[Any], Any]) -> None:
    commands, expected = fault
    codes = {int(code) for code in re.findall(r"\b[0-3]\b", re.sub(r"\(.*?\)", "", str(expected["exit_should"])))}
    for command in commands:
        done = muscle(*command)
        assert done.code in codes, (command, told(done))


@pytest.mark.parametrize("fault", [3, 4, 7], indirect=True)
def test_every_item_that_broke_is_counted(fault: tuple[list[Any], Any]) -> None:
    commands, expected = fault
    for command in commands:
        if muscle(*command).code == 3:
            continue  # refused, which the expectation allows
        report = reported(command)
        found = flips(report)
        assert found == {name: expected[name] for name in found}
        assert set(expected.get("tasks", report["tasks"])) == set(report["tasks"])


@pytest.mark.parametrize("fault", [1], indirect=True)
def test_what_has_no_score_is_counted_and_named(fault: tuple[list[Any], Any]) -> None:
    commands, expected = fault
    for command in commands:
        said = told(muscle(*command))
        assert re.search(rf"\b{expected['unscored']} of {expected['of']}\b", said), said


@pytest.mark.parametrize("fault", [2], indirect=True)
def test_convert_changes_no_verdict(fault: tuple[list[Any], Any]) -> None:
    commands, _ = fault
    codes = [(command[0], muscle(*command).code) for command in commands]
    assert codes == [("gate", 2), ("convert", 0), ("convert", 0), ("gate", 2)]


@pytest.mark.parametrize("fault", [5], indirect=True)
def test_other_assertions_are_another_metric_that_can_be_allowed(fault: tuple[list[Any], Any]) -> None:
    commands, _ = fault
    for command in commands:
        assert "--allow metric" in told(muscle(*command))
        assert muscle(*command, "--allow", "metric").code in (0, 1, 2)


@pytest.mark.parametrize("fault", [6], indirect=True)
def test_another_judge_is_named(fault: tuple[list[Any], Any]) -> None:
    commands, _ = fault
    for command in commands:
        said = told(muscle(*command))
        assert "x:judge-a" in said and "x:judge-b" in said


@pytest.mark.parametrize("fault", [7], indirect=True)
def test_a_null_and_an_empty_answer_have_the_same_cause(fault: tuple[list[Any], Any]) -> None:
    commands, _ = fault
    said = [told(muscle(*command)) for command in commands]
    whys = [re.search(r"why: (.*?)(?:[0-9,]+ predictions paired|$)", each) for each in said]
    assert [why and why[1].strip() for why in whys] == [whys[0] and whys[0][1].strip()] * len(said)
    for each in said:
        assert "30 format" in each
        assert "knowledge" not in each
        assert "same answer" not in each


@pytest.mark.parametrize("fault", [8], indirect=True)
def test_two_equal_lines_are_read_as_one(fault: tuple[list[Any], Any]) -> None:
    commands, expected = fault
    for command in commands:
        found = json.loads(muscle(*command, "--json").out)
        assert str(expected["same_top"]) in json.dumps(found)


@pytest.mark.parametrize("fault", [9], indirect=True)
def test_what_is_no_json_is_not_called_cut_off(fault: tuple[list[Any], Any]) -> None:
    commands, _ = fault
    for command in commands:
        done = muscle(*command)
        assert done.code == 3
        assert "cut off" not in done.err
        assert "JSON" in done.err
        assert re.search(r"line 1|column|begins with", done.err)


@pytest.mark.parametrize("fault", [10], indirect=True)
def test_the_printed_command_runs_as_it_stands(fault: tuple[list[Any], Any]) -> None:
    commands, _ = fault
    for command in commands:
        printed = next(line for line in muscle(*command).out.splitlines() if line.startswith("muscle confirm"))
        words = shlex.split(printed)
        assert words[2:4] == command[1:3]
        for column in ("id=qid", "correct=ok"):
            assert words[words.index(column) - 1] == "--column"


def hostile_inputs() -> list[Path]:
    """Return the runs and reports that made something other than the project's own error."""
    found = sorted(path for path in HOSTILE.rglob("*") if path.is_file() and path.suffix != ".yaml")
    folders = [path for path in sorted((HOSTILE / "reader_tracebacks").glob("*")) if path.is_dir()]
    return [path for path in found if path.parent.name != "confirm_u2028"] + folders


@pytest.mark.parametrize("path", hostile_inputs(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_hostile_file_is_read_or_refused_in_one_line(path: Path, tmp_path: Path) -> None:
    words: list[str | Path] = ["compare", path, path]
    if path.name == "report.json":
        words = ["report", path, "--html", tmp_path / "x.html", "--markdown", tmp_path / "x.md"]
    done = muscle(*words)
    assert done.code in (0, 1, 2, 3), told(done)
    if done.code == 3:
        is_one_clean_line(done.err)


def is_one_clean_line(text: str) -> None:
    """Refuse a message of several lines, of no end, or with what a terminal would obey."""
    (line,) = text.strip().splitlines()[-1:]
    assert len(line) < 2_000
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", line)


_READ_YAML = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
from muscle.config.update_file import load_config
from muscle.errors import ConfigError
from muscle.flips.explaining.cause_rules import read_rules
from muscle.gate.policy import load_policy
from muscle.tasks.own.task_file import load_task
readers = {"policy": load_policy, "causes": read_rules, "update": load_config, "task": load_task}
path = Path(sys.argv[1])
read = next(read for name, read in readers.items() if path.name.startswith(name))
try:
    read(path)
except ConfigError as error:
    assert len(str(error)) < 2_000, len(str(error))
"""


@pytest.mark.parametrize("path", sorted((HOSTILE / "yaml_bomb").glob("*.yaml")), ids=lambda path: path.name)
def test_a_yaml_bomb_is_read_or_refused_at_once(path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _READ_YAML, str(path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-500:]


@pytest.mark.parametrize("items", ["it.jsonl", "it.csv"])
def test_a_list_with_odd_line_ends_can_be_read_again(items: str) -> None:
    here = HOSTILE / "confirm_u2028"
    if not here.is_dir():
        pytest.skip("the inputs are not here")
    fresh = ["--fresh-old", here / "fo.jsonl", "--fresh-new", here / "fn.jsonl"]
    done = muscle("confirm", here / "old.jsonl", here / "new.jsonl", "--items", here / items, *fresh)
    assert done.code == 0, told(done)
