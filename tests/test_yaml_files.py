"""YAML of the user's: plain data within bounds, or one line that says what is wrong."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.command_line import refused, rows, write
from muscle import load_config
from muscle.commands.shell import assignments
from muscle.config.update_file import load_stage_settings
from muscle.errors import ConfigError
from muscle.flips.explaining.cause_rules import read_rules
from muscle.gate.policy import load_policy
from muscle.tasks.own.task_file import load_task
from muscle.yaml_files import read_yaml, yaml_text

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
        ("a: !!python/object/apply:os.system ['x']", "os.system cannot be read: expected plain data"),
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
        ("- a", "found a list"),
        ("", "found nothing"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(
    tmp_path: Path, read: Callable[[Path], Any], text: str | bytes, told: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(written(tmp_path, text))
    assert told in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_a_date_is_a_text_whether_the_calendar_has_it_or_not(tmp_path: Path) -> None:
    found = read_yaml(written(tmp_path, "a: 2026-02-31\nb: 2026-02-28\nc: 2026-02-31T25:00:00Z\n2026-13-01: x")).values
    assert found == {"a": "2026-02-31", "b": "2026-02-28", "c": "2026-02-31T25:00:00Z", "2026-13-01": "x"}
    assert load_policy(written(tmp_path, "name: 2026-02-31")).name == "2026-02-31"


@pytest.mark.parametrize("value", ["2026-02-31", "!!timestamp x", "{", "*a", "&a [*a]", "\x00", "!!int x", "9" * 5_000])
def test_an_option_that_is_no_yaml_value_is_a_text(value: str) -> None:
    assert assignments([f"a={value}"]) == {"a": value}


def test_aliases_within_bounds_and_merged_keys_are_read(tmp_path: Path) -> None:
    found = read_yaml(written(tmp_path, "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: [*a, *a]")).values
    assert found["b"] == {"x": 1, "y": 3} and found["c"] == [found["a"], found["a"]]


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("yes", True),
        ("Off", False),
        ("y", "y"),
        ("010", 8),
        ("0o17", "0o17"),
        ("1_000", 1_000),
        ("190:20:30", 685_230),
        ("1e-3", "1e-3"),
        ("1.0e-3", 1e-3),
        ("1.e3", "1.e3"),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ("~", None),
        ("", None),
        ("'010'", "010"),
        ("!!float 1e3", 1_000.0),
        ("!!str 1", "1"),
    ],
)
@pytest.mark.parametrize("head", ["", "%YAML 1.2\n---\n"])
def test_plain_words_mean_what_they_mean_in_yaml_1_1(tmp_path: Path, head: str, word: str, value: object) -> None:
    found = read_yaml(written(tmp_path, f"{head}a: {word}\nb: [{word or '~'}]")).values
    assert found == {"a": value, "b": [value]} and type(found["a"]) is type(value)


def test_a_number_with_an_exponent_needs_no_point_where_a_number_is_expected(tmp_path: Path) -> None:
    found = load_stage_settings(written(tmp_path, "training: {learning_rate: 1e-4}\nalignment: {temperature: 2E0}"))
    assert (found.training.learning_rate, found.alignment.temperature) == (1e-4, 2.0)
    overridden = load_stage_settings(None, overrides=assignments(["training.max_grad_norm=1e9", "lora.dropout=5.0e-1"]))
    assert (overridden.training.max_grad_norm, overridden.lora.dropout) == (1e9, 0.5)
    with pytest.raises(ConfigError, match=r"line 1: training.learning_rate: expected greater than 0, found -0.0001"):
        load_stage_settings(written(tmp_path, "training: {learning_rate: -1e-4}"))
    with pytest.raises(ConfigError, match=r"training\.epochs: expected a valid integer, found '1e1'"):
        load_stage_settings(written(tmp_path, "training: {epochs: 1e1, learning_rate: 1e-4}"))


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    values = {
        "z": {"s": "on", "y": "y", "e": "1e-3", "o": "010", "date": "2026-01-01", "ü": "a: b #c\n"},
        "a": [{"x": 1e-5, "n": None, "b": True}, [], {}, "", "x" * 300],
    }
    assert read_yaml(written(tmp_path, yaml_text(values))).values == values
    assert yaml_text(values).startswith("z:\n  s: 'on'\n")


def test_every_wrong_key_is_named_with_its_line_but_for_one_of_the_command_line(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "old: a\nnew: b\ntasks:\n  - {task: piqa}\nlora:\n  r: big\ntraining:\n  epochs: 3\n  seed: x\n",
    )
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides={"training.epochs": "many"})
    first, second, third = str(caught.value).split("; ")
    assert first.startswith(f"{path}, line 6: lora.r: expected ")
    assert second.startswith("training.epochs: ") and third.startswith("line 9: training.seed: ")


def test_a_section_that_does_not_fit_in_itself_is_named_with_its_line(tmp_path: Path) -> None:
    task = "prompt: x\nscorer:\n  name: rouge1\n  regex: a\ntarget: x\ngeneration: {until: y}\n"
    with pytest.raises(ConfigError, match="line 4: scorer: regex: only for exact_match"):
        load_task(written(tmp_path, task))
    with pytest.raises(ConfigError, match="line 2: prompt: not a Jinja template"):
        load_task(written(tmp_path, "name: x\nprompt: '{{ a '\nchoices: [a, b]\nlabel: l\nscorer: choice_likelihood"))


def test_merged_keys_may_be_merged_again_and_replaced(tmp_path: Path) -> None:
    text = "z: &z {x: 1, y: 1}\np: {a: &a {<<: *z, x: 2}}\nb: {<<: *a, y: 3}\n"
    found = read_yaml(written(tmp_path, text))
    assert found.values["b"] == {"x": 2, "y": 3} and found.values["p"] == {"a": {"x": 2, "y": 1}}
    assert found.at("b", "y").endswith("line 3: b.y") and found.at("b", "x").endswith("line 2: b.x")


def test_a_colon_without_a_space_in_a_flow_collection_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="line 1: not valid YAML: expected a space after ':'"):
        read_yaml(written(tmp_path, "a: {b:, c: 1}"))


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


def test_the_parser_is_imported_when_there_is_yaml_to_read() -> None:
    code = "import sys, muscle.cli, muscle.gate.policy, muscle.comparison; print('ruamel.yaml' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"
