"""`muscle compare --example`, and what the command says of files that do not tell what decides."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from helpers.command_line import muscle, refused
from muscle import read_run
from muscle.samples import capitals, tickets


def test_the_example_shows_flips_and_the_files_that_they_are_of() -> None:
    done = muscle("compare", "--example")
    assert done.code == 0 and "+6 gained / -7 broken (11.7%) / net -1 of 60 items" in " ".join(done.out.split())
    assert all(path in done.out for path in (*capitals(), *tickets()))


def test_the_command_that_the_example_proposes_runs() -> None:
    (line,) = (line for line in muscle("compare", "--example").out.splitlines() if "tickets_old" in line)
    assert "+3 gained / -6 broken" in muscle(*shlex.split(line)[1:]).out


@pytest.mark.parametrize("pair", [capitals, tickets])
def test_the_samples_are_read_as_a_user_s_files_without_any_option(pair: object) -> None:
    runs = [read_run(path) for path in (capitals() if pair is capitals else tickets())]
    assert all(run.frame["correct"].null_count() == 0 for run in runs)
    assert runs[0].frame["input"].equals(runs[1].frame["input"])


def test_the_example_takes_no_runs_and_without_it_two_are_needed() -> None:
    assert "--example: expected no runs" in refused("compare", "a.csv", "b.csv", "--example")
    assert "expected two runs, OLD and NEW, found only a.csv" in refused("compare", "a.csv")


def test_a_question_about_columns_ends_in_a_command_that_runs(tmp_path: Path) -> None:
    old, new = tmp_path / "the old.csv", tmp_path / "new.csv"
    old.write_text("question,col a,col b\nWhat?,Köln,Köln\nWho?,Bonn,Bonn\n")
    new.write_text("question,col a,col b\nWhat?,Köln,Köln\nWho?,Köln,Bonn\n")
    line = refused("compare", old, new)
    assert "the file has the fields col a, col b, question" in line
    command = shlex.split(line.partition("For example: ")[2])
    assert command[:2] == ["muscle", "compare"] and "-1 broken (50.0%)" in muscle(*command[1:]).out


@pytest.mark.parametrize("given", [(), ("--column", "output=Model's answer", "--column", "reference=Gold")])
def test_a_question_about_two_files_ends_in_one_command_for_both(tmp_path: Path, given: tuple[str, ...]) -> None:
    old, new = tmp_path / "the old.csv", tmp_path / "new.csv"
    old.write_text("question,Gold,Model's answer\nWhat?,Köln,Köln\nWho?,Bonn,Bonn\n")
    new.write_text("question,true city,pred city\nWhat?,Köln,Köln\nWho?,Bonn,Köln\n")
    command = shlex.split(refused("compare", old, new, *given).partition("For example: ")[2])
    assert all(word in command for word in given)
    assert command[:2] == ["muscle", "compare"] and "-1 broken (50.0%)" in muscle(*command[1:]).out


def test_one_table_with_both_versions_ends_in_a_command_that_runs(tmp_path: Path) -> None:
    table = tmp_path / "both.csv"
    table.write_text("question,expected,answer_v1,answer_v2\nWhat?,Köln,Köln,Köln\nWho?,Bonn,Bonn,Köln\n")
    alone, twice = refused("compare", table), refused("compare", table, table)
    command = shlex.split(alone.partition("if it holds both: ")[2])
    assert command == shlex.split(twice.partition("For example: ")[2])
    done = muscle(*command[1:])
    assert "answer_v2 against answer_v1: +0 gained / -1 broken (50.0%)" in " ".join(done.out.split())


def test_a_run_that_is_compared_with_itself_is_told(tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    table.write_text("question,expected,prediction\nWhat?,Köln,Köln\n")
    assert "OLD and NEW are one file" in muscle("compare", table, table).err


def test_what_decides_is_said_once_for_two_files_that_are_alike(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / f"{name}.csv").write_text("question,expected,prediction,confidence\nWhat?,a,a,0.3\n")
    done = muscle("compare", tmp_path / "old.csv", tmp_path / "new.csv")
    said = "old, new: 'prediction' compared with 'expected' decides what is right; input from 'question'; not used: "
    assert " ".join(done.out.split()).count(said + "confidence") == 1


def test_where_all_flips_are_is_said_unless_they_are_written(tmp_path: Path) -> None:
    line = "items whose answer changed: --html report.html"
    assert line in muscle("compare", "--example").out
    assert line not in muscle("compare", "--example", "--html", tmp_path / "report.html").out


def test_json_on_standard_output_stays_json_in_the_example() -> None:
    assert muscle("compare", "--example", "--json", "-").out.lstrip().startswith("{")
    assert muscle("compare", "--example", "--quiet").out == ""
