from __future__ import annotations

import io
from typing import Any

import polars as pl
import pytest
from rich.console import Console

from helpers.report_examples import make_report, typed
from muscle import compare
from muscle.report.text.markdown import render_markdown
from muscle.report.text.terminal import print_report


def printed(report: dict[str, Any], *, width: int = 120, colour: bool = False) -> str:
    stream = io.StringIO()
    print_report(
        typed(report),
        Console(file=stream, width=width, force_terminal=colour, color_system="truecolor" if colour else None),
    )
    return stream.getvalue()


def test_the_story_takes_about_thirty_lines() -> None:
    text = printed(make_report(tasks=("house", "samsum", "hellaswag")))
    assert 10 < len(text.splitlines()) <= 40
    assert text.startswith("The compatibility adapter gives back")
    for part in ("196: 9.8%", "86: 4.3%", "bare base v2", "What the candidate broke", "predictions paired"):
        assert part in text


def test_warnings_are_told_from_how_files_were_read_and_come_first() -> None:
    report = make_report(candidate=False, others=False)
    report |= {"readings": ["old: column 'passed' decides what is right"], "warnings": ["new: 3 items have no answer"]}
    text = printed(report)
    assert "warning: new: 3 items have no answer\nnote: old: column 'passed' decides what is right\n" in text
    coloured = printed(report, colour=True)
    assert "\x1b[33mwarning: new" in coloured and "\x1b[2mnote: old" in coloured


def test_many_tasks_show_the_ones_that_broke_most() -> None:
    report = make_report(candidate=False, others=False)
    house = report["tasks"]["house"]
    report["tasks"] = {f"t{i}": house for i in range(60)}
    text = printed(report)
    assert "and 52 more tasks" in text and len(text.splitlines()) <= 40


@pytest.mark.parametrize(
    "hostile", ["[bold red]x[/] [link=http://x]y[/link]", "\x1b[31mred\x1b]0;title\x07", "a\u202eb\r\nc"]
)
def test_text_from_data_does_not_act(hostile: str) -> None:
    report = make_report()
    report["headline"] = report["new"] = hostile
    report["reasons"] = report["warnings"] = [hostile]
    report["tasks"] = {hostile: report["tasks"]["house"]}
    for flip in report["flips"]:
        flip |= {"task": hostile, "id": hostile, "input": hostile, "choices": [hostile, hostile]}
    text = printed(report, width=400)
    assert "\x1b" not in text and "\u202e" not in text and "\r" not in text and "\x07" not in text
    if hostile.startswith("["):
        assert "[bold red]x[/]" in text
    assert "]0;title" not in printed(report, width=400, colour=True).replace("␛]0;title", "")


def test_several_tasks_are_also_told_as_one() -> None:
    rows = [{"task": t, "id": str(i), "correct": i < 80} for t in "ab" for i in range(100)]
    old = pl.DataFrame(rows)
    new = old.with_columns(correct=pl.col("correct") & (pl.col("id").cast(pl.Int64) > 9))
    report = compare(old, new).to_json()
    for text in (printed(report, width=200), render_markdown(typed(report)).replace("\\", "")):
        assert "over 2 tasks: broke 10.0%, gained 0.0% of 200 items" in text and "each task alike" in text


def test_eighty_columns_show_every_figure_whole() -> None:
    text = printed(make_report(), width=80)
    for part in ("67.9% → 70.2%", "196: 9.8%", "242: 12.1%", "0.031"):
        assert part in text
    assert "(8.6% to 11.2%)" not in text and "(8.6% to 11.2%)" in printed(make_report(), width=120)


@pytest.mark.parametrize("width", [80, 60])
def test_both_answers_of_a_flip_are_visible_in_a_narrow_terminal(width: int) -> None:
    text = printed(make_report(), width=width)
    told = text[text.index("What the candidate broke") :].split("\n\n")[0].splitlines()[1:]
    assert len(told) >= 10 and all(len(line) <= width for line in told)
    answers = [line for line in told if line.startswith("    ")]
    assert "old: [" in "".join(answers) and "candidate: [" in "".join(answers)
    assert not any(line.endswith("…") for line in answers)


def test_long_answers_are_cut_where_they_differ() -> None:
    story = "The committee met in the old town hall and after a long debate it decided to "
    old = pl.DataFrame({"id": ["1", "2"], "output": [story + "build the bridge.", "a"], "correct": True})
    new = pl.DataFrame({"id": ["1", "2"], "output": [story + "tear it down.", "a"], "correct": [False, True]})
    text = printed(compare(old, new).to_json(), width=80)
    lines = [line for line in text.splitlines() if line.startswith("    ")]
    assert any("old: …" in line and "build the bridge." in line for line in lines)
    assert any("new: …" in line and "tear it down." in line for line in lines)
    assert all(len(line) <= 80 for line in lines)


def test_long_names_wrap_and_none_is_cut() -> None:
    name = "gpt-4o-2026-11-20-finetuned-on-the-support-tickets-of-spring"
    report = make_report(others=False)
    report["candidate"] = name
    text = printed(report, width=80)
    lines = text[text.index("against old") :].splitlines()
    first = next(place for place, line in enumerate(lines) if "gpt-4o" in line)
    start = lines[first].index("gpt-4o")
    shown = lines[first][start:].split()[0]
    for line in lines[first + 1 : first + 4]:
        shown += "" if shown == name else line[start:].split()[0]
    assert shown == name


def test_a_candidate_that_broke_nothing_has_no_list_of_the_plain_updates_flips() -> None:
    old = pl.DataFrame([{"id": str(i), "correct": i % 4 > 0} for i in range(400)])
    broken = old.with_columns(correct=pl.col("correct") & ~pl.col("id").is_in(["1", "2"]))
    text = printed(compare(old, broken, candidate=old).to_json())
    assert text.startswith("Ship the candidate: it breaks 0 of 400 answers instead of 2") and "broke:" not in text


def test_a_report_without_flips_has_no_list() -> None:
    assert "What broke" not in printed(make_report(candidate=False, others=False, flips=False))


def test_the_worst_flips_are_named_by_how_many_there_are() -> None:
    old = pl.DataFrame([{"id": str(i), "correct": i % 4 > 0} for i in range(100)])

    def without(*ids: int) -> pl.DataFrame:
        return old.with_columns(correct=pl.col("correct") & ~pl.col("id").is_in([str(i) for i in ids]))

    words = {
        "What broke: 5 of 7 items, the worst first": compare(old, without(*range(1, 10))),
        "What broke: all 2 items": compare(old, without(1, 2)),
        "What broke: the one item": compare(old, without(1)),
        "What the candidate broke: the one item": compare(old, without(1, 3), candidate=without(2)),
        "What the candidate broke: all 2 items": compare(old, without(1), candidate=without(1, 2)),
    }
    for named, found in words.items():
        assert f"\n{named}\n" in printed(found.to_json())
        if "5 of" not in named:  # Markdown has room for all of them
            assert f"<summary>{named}</summary>" in render_markdown(typed(found.to_json()))


def test_scores_that_nothing_is_measured_in_are_named() -> None:
    frame = pl.DataFrame(
        {
            "id": ["1", "2"],
            "correct": [True, False],
            "score.acc": [1.0, 0.0],
            "score.f1": 0.5,
            "score.length": 3.0,
        }
    )
    report = compare(frame, frame).to_json()
    assert report["tasks"]["all"]["scores_not_compared"] == ["length"]
    text = printed(report)
    assert "Scores that are not compared: length." in " ".join(text.split())
