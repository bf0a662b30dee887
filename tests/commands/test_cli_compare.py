"""`muscle compare` as a user sees it: what is printed where, what is written, and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.command_line import muscle, refused, rows, write
from helpers.places import DATA
from muscle.files import write_json

FILES = DATA / "readers"
LM_EVAL = [FILES / "lm_eval" / "0.4.13" / f"toy__model-{n}" for n in (1, 2)]


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    return write(tmp_path / "old.jsonl", rows()), write(tmp_path / "new.jsonl", rows(lost=14, gained=9))


def promptfoo_file(path: Path) -> Path:
    """Write one results file that holds both versions, as promptfoo writes it for two providers."""
    documents = [json.loads((FILES / "promptfoo" / f"v{n}.json").read_text()) for n in (1, 2)]
    documents[0]["results"]["results"] += documents[1]["results"]["results"]
    write_json(path, documents[0])
    return path


@pytest.mark.parametrize(
    ("lost", "gained", "num", "code", "word"),
    [
        (0, 0, 400, 0, "Ship the update: "),
        (14, 9, 300, 0, "Don't ship the update yet: "),
        (14, 0, 300, 1, "Don't ship the update: "),
        (0, 0, 100, 2, "Can't tell yet, about 200 more items would: "),
    ],
)
def test_the_exit_code_is_the_verdicts(tmp_path: Path, lost: int, gained: int, num: int, code: int, word: str) -> None:
    old = write(tmp_path / "old.jsonl", rows(num))
    new = write(tmp_path / "new.jsonl", rows(num, lost=lost, gained=gained))
    done = muscle("compare", old, new)
    assert (done.code, done.err) == (code, "")
    assert done.out.startswith(word)


def test_the_headline_never_shows_only_the_net(runs: tuple[Path, Path]) -> None:
    text = muscle("compare", *runs).out
    assert "+9 gained / -14 broken (4.7%) / net -5 of 300 items" in " ".join(text.split())


def test_the_whole_story_takes_about_forty_lines(runs: tuple[Path, Path]) -> None:
    assert 10 < len(muscle("compare", *runs).out.splitlines()) <= 42


def test_it_says_where_it_wrote(runs: tuple[Path, Path], tmp_path: Path) -> None:
    html, markdown = tmp_path / "r.html", tmp_path / "r.md"
    out = muscle("compare", *runs, "--html", html, "--markdown", markdown).out
    assert out.endswith(f"Written: {html}\nWritten: {markdown}\n")
    assert "Written" not in muscle("compare", *runs, "--html", html, "--json", "-").out


def test_quiet_prints_nothing_and_keeps_the_exit_code(runs: tuple[Path, Path]) -> None:
    done = muscle("compare", *runs, "--quiet")
    assert (done.code, done.out, done.err) == (0, "", "")


def test_json_on_standard_output_is_pure_and_nothing_else_is_printed(runs: tuple[Path, Path]) -> None:
    done = muscle("compare", *runs, "--json", "-")
    report = json.loads(done.out)
    assert report["format"] == "muscle-report/1"
    assert report["tasks"]["trivia"]["old_vs_new"]["negative_flip_rate"]["value"] == pytest.approx(14 / 300)
    assert done.err == ""


def test_warnings_go_to_standard_error(tmp_path: Path) -> None:
    old, new = (FILES / "promptfoo" / f"v{n}.json" for n in (1, 2))
    done = muscle("compare", old, new, "--column", "id=nonsense", "--json", "-")
    assert json.loads(done.out)
    assert "the column map says nothing of it" in done.err
    assert muscle("compare", old, new, "--column", "id=nonsense", "--quiet").err == ""


def test_every_output_is_written(runs: tuple[Path, Path], tmp_path: Path) -> None:
    files = [tmp_path / "out" / name for name in ("r.html", "r.md", "r.json")]
    muscle("compare", *runs, "--html", files[0], "--markdown", files[1], "--json", files[2], "--quiet")
    assert files[0].read_text().lstrip().lower().startswith("<!doctype html>")
    assert "+9 gained" in files[1].read_text().replace("\\", "")
    assert json.loads(files[2].read_text())["verdict"] == "warn"


def test_a_candidate_a_second_run_and_further_runs_stand_in_the_table(runs: tuple[Path, Path], tmp_path: Path) -> None:
    compat = write(tmp_path / "compat.jsonl", rows(lost=4, gained=9))
    bare = write(tmp_path / "bare.jsonl", rows(lost=60))
    again = write(tmp_path / "again.jsonl", rows(lost=3, gained=3))
    done = muscle(
        "compare",
        *runs,
        "--candidate",
        compat,
        "--rerun",
        again,
        "--other",
        f"bare base={bare}",
        "--json",
        "-",
    )
    report = json.loads(done.out)
    assert report["candidate"] == "compat"
    assert report["tasks"]["trivia"]["candidate_effect"]["negative_flip_rate_change"]["value"] < 0
    assert report["others"][0]["name"] == "bare base"
    assert report["noise"]["source"] == "rerun"
    shown = muscle("compare", *runs, "--candidate", compat, "--other", f"bare base={bare}").out
    assert "compat" in shown
    assert "bare base" in shown


def test_a_further_run_needs_a_name(runs: tuple[Path, Path]) -> None:
    assert "expected NAME=RUN" in refused("compare", *runs, "--other", "x.jsonl")
    two = [part for _ in range(2) for part in ("--other", f"a={runs[1]}")]
    assert "every name once" in refused("compare", *runs, *two)


def test_slices_that_were_asked_for_are_a_table(runs: tuple[Path, Path], tmp_path: Path) -> None:
    done = muscle("compare", *runs, "--slice", "topic", "--markdown", tmp_path / "r.md")
    assert "trivia, by slice" in done.out
    assert all(f"topic = {topic}" in done.out for topic in ("law", "maths", "medicine"))
    assert "…" not in done.out[done.out.index("trivia, by slice") :]
    markdown = (tmp_path / "r.md").read_text()
    assert markdown.index("by slice") < markdown.index("<details>")


def test_where_flips_concentrate_is_found_unasked(tmp_path: Path) -> None:
    old, new = rows(), rows()
    for row in [row for row in new if row["slices"]["topic"] == "law" and row["correct"]][:30]:
        row |= {"correct": False, "output": "no"}
    files = write(tmp_path / "old.jsonl", old), write(tmp_path / "new.jsonl", new)
    text = " ".join(muscle("compare", *files, "--markdown", tmp_path / "r.md").out.split())
    assert "Where flips concentrate: topic = law: 30.0% of 100 items broke, 0.0% of the rest" in text
    assert "<summary>Where flips concentrate</summary>" in (tmp_path / "r.md").read_text()


def test_a_slice_that_goes_against_the_whole_is_named(tmp_path: Path) -> None:
    old, new = rows(), rows()
    for row in new:
        topic, right = row["slices"]["topic"], row["correct"]
        row["correct"] = (right and not (topic == "law" and int(row["id"][1:]) % 2)) or (topic == "maths")
        row["output"] = "yes" if row["correct"] else "no"
    files = write(tmp_path / "old.jsonl", old), write(tmp_path / "new.jsonl", new)
    for options in ((), ("--slice", "topic")):
        text = " ".join(muscle("compare", *files, *options).out.split())
        assert "topic: slices go against the whole" in text or "the whole hides changes that cancel out" in text


def test_a_slice_that_is_not_there_is_refused_with_what_is(runs: tuple[Path, Path]) -> None:
    line = refused("compare", *runs, "--slice", "nonsense")
    assert "nonsense" in line
    assert "topic" in line


def test_the_smallest_change_that_the_items_show_is_said(runs: tuple[Path, Path]) -> None:
    text = " ".join(muscle("compare", *runs).out.split())
    # (1.960 + 0.842) * sqrt(23 flips / 300 items / 300 items) = 4.5 points; 300 * (4.48 / 1.667)^2 items
    assert "300 items would show a change of 4.5 points or more in 4 cases of 5" in text
    assert "to show the 1.7 points seen it takes 2,167 items" in text


def test_a_tiny_set_gets_the_chance_that_it_breaks_more_than_it_gains(tmp_path: Path) -> None:
    old, new = write(tmp_path / "o.jsonl", rows(40)), write(tmp_path / "n.jsonl", rows(40, lost=3, gained=1))
    # P(q > 1/2) for q ~ Beta(1 + 3, 1 + 1): 1 - (5 + 1) / 32 = 0.8125
    assert "the chance that it breaks more than it gains is 81.2%" in " ".join(muscle("compare", old, new).out.split())


def test_repeats_of_few_items_are_not_taken_for_many_flips(tmp_path: Path) -> None:
    sides = [[row | {"repeat": n} for row in lines for n in range(3)] for lines in (rows(40), rows(40, lost=3))]
    files = write(tmp_path / "o.jsonl", sides[0]), write(tmp_path / "n.jsonl", sides[1])
    assert "the chance that it breaks more" not in " ".join(muscle("compare", *files).out.split())


def test_no_flip_proves_a_tolerance_only_with_enough_items(tmp_path: Path) -> None:
    few, enough = write(tmp_path / "few.jsonl", rows(298)), write(tmp_path / "enough.jsonl", rows(300))
    done = muscle("compare", few, few)
    assert done.code == 2
    told = " ".join(done.out.split())
    assert "at most 1.0% is not proven, which takes 299 items without a flip" in told
    done = muscle("compare", enough, enough)
    assert done.code == 0
    assert "proven to be at most 0.99% (let pass: 1.0%)" in " ".join(done.out.split())
    assert muscle("compare", few, few, "--tolerance", "0.02").code == 0


def test_eighty_columns_cut_no_figure(runs: tuple[Path, Path]) -> None:
    text = muscle("compare", *runs, "--slice", "topic").out
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_one_file_of_promptfoo_can_hold_both_versions(tmp_path: Path) -> None:
    both = promptfoo_file(tmp_path / "results.json")
    line = refused("compare", both, both)
    assert "found 2 (toy-v1, toy-v2)" in line
    assert f"{both}::provider=toy-v1" in line
    sides = [f"{both}::provider=toy-v{n}" for n in (1, 2)]
    found = json.loads(muscle("compare", *sides, "--json", "-").out)
    apart = [FILES / "promptfoo" / f"v{n}.json" for n in (1, 2)]
    expected = json.loads(muscle("compare", *apart, "--json", "-").out)
    assert (found["old"], found["new"]) == ("toy-v1", "toy-v2")
    assert found["tasks"] == expected["tasks"]
    assert "found toy-v1, toy-v2" in refused("compare", sides[0], f"{both}::provider=toy-v3")


def test_a_run_can_be_named_and_unknown_words_behind_it_are_refused(runs: tuple[Path, Path]) -> None:
    report = json.loads(muscle("compare", f"{runs[0]}::name=v1", f"{runs[1]}::name=v2", "--json", "-").out)
    assert (report["old"], report["new"]) == ("v1", "v2")
    assert "expected ::key=value with a key of name, format" in refused("compare", f"{runs[0]}::nam=x", runs[1])
    assert "which have providers" in refused("compare", f"{runs[0]}::provider=x", runs[1])


def test_columns_can_be_named_for_one_run_alone(tmp_path: Path) -> None:
    old, new = tmp_path / "old.csv", tmp_path / "new.csv"
    old.write_text("id,is_right\n1,1\n2,0\n3,1\n")
    new.write_text("question,is_right,graded\n1,0,1\n2,0,1\n3,1,0\n")
    words = [
        f"{old}::name=v1",
        f"{new}::column=id=question::column=correct=graded",
        "--column",
        "correct=is_right",
    ]
    report = json.loads(muscle("compare", *words, "--json", "-").out)
    counted = report["tasks"]["all"]["quadrants"]["old_vs_new"]
    assert (counted["negative_flips"], counted["positive_flips"], counted["both_right"]) == (1, 1, 1)
    assert f"{new}::column=correct: expected OURS=THEIRS" in refused("compare", old, f"{new}::column=correct")


def test_two_columns_of_one_table_can_be_compared(tmp_path: Path) -> None:
    both = tmp_path / "both.csv"
    both.write_text("id,before,after\n1,1,0\n2,0,0\n3,1,1\n4,1,0\n")
    words = [f"{both}::column=correct={column}::name={column}" for column in ("before", "after")]
    report = json.loads(muscle("compare", *words, "--json", "-").out)
    assert (report["old"], report["new"]) == ("before", "after")
    (task,) = report["tasks"].values()
    assert task["quadrants"]["old_vs_new"]["negative_flips"] == 2


@pytest.mark.parametrize(
    ("words", "task", "stated"),
    [
        ((), "pick", ("pick", "acc,none")),
        (("--metric", "acc_norm"), "pick", ("pick", "acc_norm,none")),
        (("--metric", "acc_mutual_info"), "pick", ("pick", "acc_mutual_info,none")),
        (("--metric", "acc_norm"), "letters", ("letters", "acc,none")),
        (("--filter", "strict"), "sums", ("sums", "exact_match,strict")),
        (("--filter", "flexible"), "sums", ("sums", "exact_match,flexible")),
    ],
)
def test_the_metric_and_the_filter_of_the_harness_can_be_chosen(
    words: tuple[str, ...], task: str, stated: tuple[str, str]
) -> None:
    report = json.loads(muscle("compare", *LM_EVAL, *words, "--json", "-").out)
    for side, run in (("accuracy_old", "old"), ("accuracy_new", "new")):
        harness = report["sources"][run]["results"][stated[0]][stated[1]]
        found = [task_ for name, task_ in report["tasks"].items() if name.partition("/")[0] == task]
        assert [entry["old_vs_new"][side]["value"] for entry in found] == [pytest.approx(harness)]


def test_a_metric_or_filter_that_is_not_there_is_refused_with_what_is() -> None:
    line = refused("compare", *LM_EVAL, "--metric", "nonsense")
    assert "expected the metric 'nonsense', found" in line
    assert "acc_norm" in line
    line = refused("compare", *LM_EVAL, "--filter", "nonsense")
    assert "expected the filter 'nonsense', found" in line
    assert "strict" in line


def test_a_metric_can_be_chosen_for_one_run_alone() -> None:
    sides = [f"{LM_EVAL[0]}::metric=acc", f"{LM_EVAL[0]}::metric=acc_norm::name=by length"]
    assert refused("compare", *sides).endswith("--allow metric")
    report = json.loads(muscle("compare", *sides, "--allow", "metric", "--json", "-").out)
    metrics = report["tasks"]["pick"]["old_vs_new"]
    assert metrics["accuracy_old"]["value"] == pytest.approx(3 / 7)
    assert metrics["accuracy_new"]["value"] == pytest.approx(2 / 7)


def test_a_metric_of_zero_and_one_says_what_is_right_and_another_is_compared_as_a_score(
    tmp_path: Path,
) -> None:
    lines = [
        [
            {"id": str(n), "task": "t", "correct": True} | {"score": {"rouge": 0.5, "strict": float(n % 3 > limit)}}
            for n in range(60)
        ]
        for limit in (0, 1)
    ]
    files = write(tmp_path / "old.jsonl", lines[0]), write(tmp_path / "new.jsonl", lines[1])
    strict = json.loads(muscle("compare", *files, "--metric", "strict", "--json", "-").out)["tasks"]["t"]
    assert strict["kind"] == "binary"
    assert strict["old_vs_new"]["negative_flip_rate"]["value"] == pytest.approx(20 / 60)
    rouge = json.loads(muscle("compare", *files, "--metric", "rouge", "--json", "-").out)["tasks"]["t"]
    assert (rouge["kind"], rouge["score"]) == ("continuous", "rouge")


def test_columns_of_other_names_are_mapped(tmp_path: Path) -> None:
    for side in ("old", "new"):
        lines = "".join(f"{n},{'true' if n % 2 else 'false'},t{n % 3}\n" for n in range(40))
        (tmp_path / f"{side}.csv").write_text("key,is_right,kind\n" + lines)
    words = [part for pair in ("id=key", "correct=is_right", "slice.kind=kind") for part in ("--column", pair)]
    files = tmp_path / "old.csv", tmp_path / "new.csv"
    report = json.loads(muscle("compare", *files, *words, "--json", "-").out)
    assert report["join"]["paired"] == 40
    (cut,) = report["tasks"].values()
    assert [by["by"] for by in cut["slices"]["old_vs_new"]["by"]] == ["kind"]
    assert "expected the column 'nope'" in refused("compare", *files, "--column", "id=nope")
    assert "expected OURS=THEIRS" in refused("compare", *files, "--column", "id")


def test_items_can_be_found_by_their_ids_alone(tmp_path: Path) -> None:
    old, new = write(tmp_path / "old.jsonl", rows(60)), tmp_path / "new.jsonl"
    write(new, [row | {"input": row["input"] + " Think."} for row in rows(60)])
    assert "--allow prompts" in refused("compare", old, new)
    done = muscle("compare", old, new, "--on", "id", "--allow", "prompts", "--json", "-")
    assert json.loads(done.out)["join"]["paired"] == 60


def test_help_says_what_a_stranger_needs() -> None:
    for command in ("compare", "gate", "history", "convert", "report"):
        text = muscle(command, "--help").out
        assert text.startswith(f"Usage: muscle {command}")
    assert "Exit code 0" in muscle("compare", "--help").out
    assert "::provider=" in muscle("compare", "--help").out


HEAVY = "{'torch', 'transformers', 'lm_eval', 'pandas', 'plotly', 'scipy.stats', 'pyarrow', 'matplotlib'}"


@pytest.mark.parametrize("options", [("--help",), ("OLD", "NEW"), ("OLD", "NEW", "--html", "OUT")])
def test_comparing_never_imports_what_is_heavy(
    runs: tuple[Path, Path], tmp_path: Path, options: tuple[str, ...]
) -> None:
    paths = {"OLD": runs[0], "NEW": runs[1], "OUT": tmp_path / "r.html"}
    words = ["muscle", "compare", *(str(paths.get(word, word)) for word in options)]
    code = (
        f"import atexit, sys; sys.argv = {words!r}\n"
        f"atexit.register(lambda: print('HEAVY', sorted({HEAVY} & set(sys.modules)), file=sys.stderr))\n"
        "from muscle.cli import main; main()"
    )
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip().splitlines()[-1] == "HEAVY []"
