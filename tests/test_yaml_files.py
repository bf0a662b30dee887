"""YAML of the user's: plain data within bounds, or one line that says what is wrong."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from command_line import refused, rows, write
from muscle.commands.shell import assignments
from muscle.config.settings import load_config, load_stage_settings
from muscle.errors import ConfigError
from muscle.flips.explaining.cause_rules import read_rules
from muscle.gate.policy import load_policy
from muscle.tasks.own.task_file import load_task
from muscle.yaml_files import read_yaml

READERS: list[Callable[[Path], Any]] = [load_policy, read_rules, load_config, load_stage_settings, load_task]


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "file.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def bomb(levels: int) -> str:
    lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join([*lines, f"default: *l{levels - 1}", f"rules: *l{levels - 1}", f"old: *l{levels - 1}"])


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("levels", [5, 9, 40])
def test_aliases_are_counted_as_often_as_they_stand_there(
    tmp_path: Path, read: Callable[[Path], Any], levels: int
) -> None:
    begun = time.process_time()  # other workers' time does not count
    with pytest.raises(ConfigError, match=r"line .*expected at most 100,000 values") as caught:
        read(written(tmp_path, bomb(levels)))
    assert time.process_time() - begun < 2 and len(str(caught.value)) < 500


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: &a [*a]", "line 1: not valid YAML: an alias stands within what it stands for"),
        ("a: &a {b: *a}", "an alias stands within"),
        ("a: " + "[" * 60 + "]" * 60, "at most 50 levels"),
        ("a: " + "[" * 5_000, "not valid YAML"),
        ("a: 1\na: 2", "line 2: not valid YAML: the key 'a' stands twice"),
        ("? [a]\n: 1", "expected a text as a key"),
        ("a: !!python/object/apply:os.system ['x']", "could not determine a constructor"),
        ("a: !!timestamp x", "timestamp cannot be read"),
        ("a: !!int x", "int cannot be read"),
        ("a: " + "9" * 5_000, "int cannot be read"),
        ("a: !!bool x", "bool cannot be read"),
        ("a: !!omap {b: 1}", "not valid YAML"),
        ('a: "\\ud800"', "str cannot be read"),
        ("a: \x00", "not valid YAML: special characters"),
        (b"a: \xff", "expected YAML in UTF-8"),
        ("a: b".encode("utf-16"), "expected YAML in UTF-8"),
        ("x" * (1 << 20) + "y", "at most 1 MiB"),
        ("- a", "found list"),
        ("", "found NoneType"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(
    tmp_path: Path, read: Callable[[Path], Any], text: str | bytes, told: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(written(tmp_path, text))
    assert told in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_a_date_is_a_text_whether_the_calendar_has_it_or_not(tmp_path: Path) -> None:
    found = read_yaml(
        written(tmp_path, "a: 2026-02-31\nb: 2026-02-28\nc: 2026-02-31T25:00:00Z\n2026-13-01: x")
    )
    assert found == {"a": "2026-02-31", "b": "2026-02-28", "c": "2026-02-31T25:00:00Z", "2026-13-01": "x"}
    assert load_policy(written(tmp_path, "name: 2026-02-31")).name == "2026-02-31"


@pytest.mark.parametrize(
    "value", ["2026-02-31", "!!timestamp x", "{", "*a", "&a [*a]", "\x00", "!!int x", "9" * 5_000]
)
def test_an_option_that_is_no_yaml_value_is_a_text(value: str) -> None:
    assert assignments([f"a={value}"]) == {"a": value}


def test_aliases_within_bounds_and_merged_keys_are_read(tmp_path: Path) -> None:
    found = read_yaml(written(tmp_path, "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: [*a, *a]"))
    assert found["b"] == {"x": 1, "y": 3} and found["c"] == [found["a"], found["a"]]


def test_a_large_value_is_not_written_out_in_a_message(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_policy(written(tmp_path, f"default: [{', '.join(['x' * 50] * 2_000)}]"))
    assert len(str(caught.value)) < 500


def test_a_path_that_can_be_none_is_refused(tmp_path: Path) -> None:
    text = "old: {base: a}\nnew: {base: b}\ntasks: [{task: piqa}]\noutput: %s\n"
    for output in ('"a\\0b"', "~nobody-of-that-name/x"):
        with pytest.raises(ConfigError, match="expected a path"):
            load_config(written(tmp_path, text % output))


def test_the_command_line_says_it_in_one_line(tmp_path: Path) -> None:
    run = write(tmp_path / "run.jsonl", rows())
    assert "100,000" in refused("gate", run, run, "--policy", written(tmp_path, bomb(9)))
    assert "100,000" in refused("compare", run, run, "--causes", written(tmp_path, bomb(9)))
