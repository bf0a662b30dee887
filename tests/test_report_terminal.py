from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from muscle.report.terminal import print_report
from report_examples import make_report


def printed(report: dict[str, Any], *, width: int = 120, colour: bool = False) -> str:
    stream = io.StringIO()
    print_report(
        report,
        Console(
            file=stream, width=width, force_terminal=colour, color_system="truecolor" if colour else None
        ),
    )
    return stream.getvalue()


def test_the_story_takes_about_thirty_lines() -> None:
    text = printed(make_report(tasks=("house", "samsum", "hellaswag")))
    assert 10 < len(text.splitlines()) <= 34
    assert text.startswith("The compatibility adapter gives back")
    for part in ("196: 9.8%", "86: 4.3%", "bare base v2", "What broke", "predictions paired"):
        assert part in text


def test_many_tasks_show_the_ones_that_broke_most() -> None:
    report = make_report(candidate=False, others=False)
    house = report["tasks"]["house"]
    report["tasks"] = {f"t{i}": house for i in range(60)}
    text = printed(report)
    assert "and 52 more tasks" in text and len(text.splitlines()) <= 34


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


def test_a_narrow_terminal_cuts_and_does_not_wrap_the_flips() -> None:
    text = printed(make_report(), width=60)
    flips = text[text.index("What broke") :].splitlines()[1:6]
    assert len(flips) == 5 and all(len(line) <= 60 for line in flips)


def test_a_report_without_flips_has_no_list() -> None:
    assert "What broke" not in printed(make_report(candidate=False, others=False, flips=False))
