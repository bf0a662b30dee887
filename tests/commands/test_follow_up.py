"""A command that muscle prints is typed as it stands into a shell, and runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from helpers.command_line import Row
from helpers.json_lines import write_lines
from muscle.commands.follow_up import command

ODD = "it's $HOME `x` (1)"


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    words = f'muscle() {{ {sys.executable} -m muscle "$@"; }}\n{line}'
    return subprocess.run(["bash", "-c", words], capture_output=True, text=True, check=False, cwd=folder)


def lines(num: int, *, lost: int = 0, repeats: int = 1) -> list[Row]:
    return [
        {"qid": f"q{n}", "question": f"Q {n}", "ok": n >= lost, "repeat": r} for n in range(num) for r in range(repeats)
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_lines(tmp_path / f"old {ODD}.jsonl", *lines(60))
    write_lines(tmp_path / f"new {ODD}.jsonl", *lines(60, lost=9))
    return tmp_path


COLUMNS = ["--column", "id=qid", "--column", "input=question", "--column", "correct=ok"]


def test_what_confirm_prints_repeats_what_was_said_and_runs(folder: Path) -> None:
    runs = [f"old {ODD}.jsonl", f"new {ODD}.jsonl::name=v 2"]
    options = [
        "--format",
        "records",
        "--on",
        "id",
        "--items",
        f"ask {ODD}.jsonl",
        "--repeats",
        "12",
        "--epsilon-item=0.3",
    ]
    first = shell(command("muscle", "confirm", arguments=runs, options=[*options, *COLUMNS]), folder)
    assert first.returncode == 0, first.stderr
    printed = first.stdout.strip().split("\n")[-1]
    for words in (
        "--format records",
        "--on id",
        "--column id=qid",
        "--column correct=ok",
        "--epsilon-item 0.3",
    ):
        assert words in printed
    write_lines(folder / f"ask {ODD}-old.jsonl", *lines(60, repeats=12))
    write_lines(folder / f"ask {ODD}-new.jsonl", *lines(60, lost=9, repeats=12))
    second = shell(printed, folder)
    assert second.returncode == 0 and "negative flips      9            9          9" in second.stdout, second


def test_what_watch_prints_repeats_what_was_said_and_runs(folder: Path) -> None:
    order = ["--order", f"order {ODD}.csv", "--seed", "7", "--limit", "0.2"]
    first = shell(command("muscle", "watch", arguments=[f"old {ODD}.jsonl"], options=[*order, *COLUMNS]), folder)
    printed = first.stdout.strip().split("\n")[-1]
    assert "--seed 7" in printed and "--limit 0.2" in printed and "--order" not in printed
    write_lines(folder / f"order {ODD}-new.jsonl", *lines(60))
    second = shell(printed, folder)
    assert second.returncode == 0 and "few enough negative flips" in second.stdout, second


def test_what_init_prints_runs(tmp_path: Path) -> None:
    first = shell(command("muscle", "init", arguments=[f"up {ODD}.yaml"]), tmp_path)
    second = shell(first.stdout.strip().partition("then: ")[2], tmp_path)
    assert f"up {ODD}.yaml" not in second.stderr or "no such file" not in second.stderr
    assert second.returncode != 4 and "Traceback" not in second.stderr and "see muscle" not in second.stderr


def test_words_that_look_like_options_stay_words(tmp_path: Path) -> None:
    first = shell("muscle init -- -x.yaml", tmp_path)
    assert first.stdout.strip().endswith("muscle update --dry-run -- -x.yaml")
