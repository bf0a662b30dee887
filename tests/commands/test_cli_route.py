"""`muscle route`: the whole way of a new user on files, with the exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers.command_line import muscle, refused
from helpers.json_lines import write_lines
from helpers.two_models import two_answers, two_runs
from muscle.predictions.writers.records import write_records


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    for name, frame in zip(("old", "new"), two_answers(500), strict=True):
        write_records(tmp_path / f"{name}.jsonl", frame)
    for name, frame in zip(("old2", "new2"), two_answers(400, seed=8, start=3000), strict=True):
        write_records(tmp_path / f"{name}.jsonl", frame)
    return tmp_path


def test_fit_apply_compare_and_check(answers: Path) -> None:
    done = muscle(
        "route", "fit", "old.jsonl", "new.jsonl", "--old-price", 0, "--html", "r.html", "--slice", "course", cwd=answers
    )
    assert done.code == 0, done.err
    assert "gate, kappa" in done.out and "Rule: rule.yaml" in done.out
    assert "<title>Route old and new" in (answers / "r.html").read_text()
    done = muscle("route", "apply", "rule.yaml", "old2.jsonl", "new2.jsonl", cwd=answers)
    assert done.code == 0 and "400 answers" in done.out and "cost of 1,000: 1,000" in done.out
    assert "of 400" in muscle("compare", "old2.jsonl", "served.jsonl", cwd=answers).out
    done = muscle("route", "check", "rule.yaml", "old2.jsonl", "new2.jsonl", "--json", "-", cwd=answers)
    found = json.loads(done.out)
    assert done.code == {"pass": 0, "block": 1, "cannot_tell": 2}[found["bound"]["verdict"]]
    assert found["bound"]["counts"]["num"] == 400 and found["ways"][2]["cost"] == 1000


def test_the_exit_codes_are_those_of_the_verdict(answers: Path) -> None:
    codes = []
    for limit in (0.4, 0.005, 0.0001):
        muscle("route", "fit", "old.jsonl", "new.jsonl", "--flip-limit", 0.4, "-q", cwd=answers)
        rule = (answers / "rule.yaml").read_text().replace("flip_limit: 0.4", f"flip_limit: {limit}")
        (answers / "rule.yaml").write_text(rule)
        codes.append(muscle("route", "check", "rule.yaml", "old2.jsonl", "new2.jsonl", "-q", cwd=answers).code)
    assert codes == [0, 1, 1]


def test_answers_that_nobody_judged_are_applied_where_they_say_so(answers: Path) -> None:
    muscle("route", "fit", "old.jsonl", "new.jsonl", "-q", cwd=answers)
    rows = ["input,output\n", *(f"{n}?,yes\n" for n in range(9))]
    (answers / "june.csv").write_text("".join(rows))
    apply = ("route", "apply", "rule.yaml", "june.csv", "june.csv")
    done = muscle(*apply, cwd=answers)
    assert done.code == 3 and "add an empty column 'correct'" in done.err and "For example" not in done.err
    (answers / "june.csv").write_text(
        "".join([rows[0].replace("\n", ",correct\n"), *(f"{n}?,yes,\n" for n in range(9))])
    )
    assert "9 answers: both agree 9" in muscle(*apply, cwd=answers).out


def test_label_and_back(answers: Path) -> None:
    done = muscle("route", "label", "old.jsonl", "new.jsonl", cwd=answers)
    assert done.code == 0 and "0 items to label" in done.out and "0 stay unknown" in done.out
    assert "fill in" not in done.out
    for name, frame in zip(("o", "n"), two_answers(300, seed=2), strict=True):
        rows = [{**row, "correct": None} for row in frame.select("id", "input", "output").iter_rows(named=True)]
        write_lines(answers / f"{name}.jsonl", *rows)
    done = muscle("route", "label", "o.jsonl", "n.jsonl", "--num", 20, "-o", "list.jsonl", cwd=answers)
    assert done.code == 0 and "20 items to label (10 at random for the fit, 10 at random" in done.out
    rows = [json.loads(line) for line in (answers / "list.jsonl").read_text().splitlines()]
    (answers / "list.jsonl").write_text("".join(json.dumps({**row, "label": "both"}) + "\n" for row in rows))
    line = refused("route", "fit", answers / "o.jsonl", answers / "n.jsonl", "--labels", answers / "list.jsonl")
    assert "expected at least 20 judged items to fit on, found 10" in line


def test_bad_input_ends_in_one_line(answers: Path) -> None:
    muscle("route", "fit", "old.jsonl", "new.jsonl", "-q", cwd=answers)
    rule = answers / "rule.yaml"
    assert "the rule was fitted on" in refused("route", "check", rule, answers / "old.jsonl", answers / "new.jsonl")
    assert "there is no such file" in refused(
        "route", "check", answers / "no.yaml", answers / "old2.jsonl", answers / "new2.jsonl"
    )
    line = refused("route", "apply", rule, answers / "old2.jsonl", answers / "new2.jsonl", "--out", answers / "x.txt")
    assert "expected a .jsonl or .parquet file" in line


def test_likelihoods_give_a_stack_and_the_help_has_examples(tmp_path: Path) -> None:
    for name, frame in zip(("old", "new"), two_runs(400), strict=True):
        write_records(tmp_path / f"{name}.jsonl", frame)
    done = muscle("route", "fit", "old.jsonl", "new.jsonl", "--ask-share", 0.25, "-q", "-o", "r.yaml", cwd=tmp_path)
    assert done.code == 0 and done.out == ""
    assert (tmp_path / "r.yaml").read_text().startswith("version: 1\nkind: stack\n")
    for name in ("fit", "check", "apply", "label"):
        assert f"  muscle route {name} " in muscle("route", name, "--help").out


def test_new_traffic_without_a_record_gets_the_new_answers(answers: Path) -> None:
    muscle("route", "fit", "old.jsonl", "new.jsonl", "-q", cwd=answers)
    old, new = two_answers(100, seed=8, start=3000)
    write_records(answers / "half.jsonl", old[:40])
    write_records(answers / "all.jsonl", new)
    done = muscle("route", "apply", "rule.yaml", "half.jsonl", "all.jsonl", cwd=answers)
    assert done.code == 0, done.err
    assert "100 answers" in done.out and "new, nothing recorded 60" in done.out
    assert "60 items have no pair of answers" in done.out
