"""A task that the candidate answered and the plain update did not is judged, counted and shown like any other."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest

from muscle import Report, compare
from muscle.flips.options import CompareOptions
from muscle.gate import gate
from muscle.report import write_html
from muscle.report.sentences.flips import worst_flips
from muscle.report.text.markdown import render_markdown

ALLOWED = CompareOptions(max_unpaired=0.6)


def version(lost: dict[str, int], tasks: str = "ab") -> pl.DataFrame:
    """A version that lost the first items of some tasks of 500."""
    parts = [
        pl.DataFrame(
            {
                "id": [f"{task}{n}" for n in range(500)],
                "task": task,
                "input": [f"{task} {n}?" for n in range(500)],
                "correct": [n >= lost.get(task, 0) for n in range(500)],
            }
        )
        for task in tasks
    ]
    return pl.concat(parts)


OLD, PLAIN = version({}), version({"a": 60}, tasks="a")
FAILED = version({"a": 60}).with_columns(error=pl.when(pl.col("task") == "b").then(pl.lit("timeout")))


@pytest.mark.parametrize("plain", [PLAIN, FAILED], ids=["not there", "failed"])
def test_what_the_candidate_breaks_on_a_task_that_the_plain_update_lacks_is_a_block(plain: pl.DataFrame) -> None:
    candidate = version({"b": 80})
    for result in (
        compare(OLD, plain, candidate=candidate, options=ALLOWED),
        gate(OLD, plain, candidate=candidate, options=ALLOWED),
    ):
        assert result.verdict == "block"
        assert result.decision is not None
        assert result.decision.sentence.startswith("Don't ship the candidate: on b it breaks 80 of 500 answers")
        assert "-80 broken (8.0%)" in result.headline and "of 1,000 items" in result.headline


def test_such_a_task_has_its_numbers_in_the_report_and_none_of_the_plain_update() -> None:
    report = compare(OLD, PLAIN, candidate=version({"b": 80}), options=ALLOWED).report
    task = report.tasks["b"]
    assert list(report.tasks) == ["a", "b"]
    assert (task.n, task.old_vs_new, task.candidate_effect) == (500, None, None)
    assert task.old_vs_candidate is not None and task.old_vs_candidate.negative_flip_rate.value == 0.16
    assert Report.from_json(report.to_json()) == report


def test_what_the_list_of_flips_lacks_is_told(tmp_path: Path) -> None:
    candidate = version({"a": 2, "b": 80})
    report = compare(OLD, PLAIN, candidate=candidate, options=ALLOWED).report
    told = "What the candidate broke: 2 of 82 items, the worst first; 80 more that the plain update did not answer"
    assert worst_flips(report, 2).startswith(told)
    write_html(report, tmp_path / "report.html")
    page = " ".join(re.sub(r"<[^>]+>", "", (tmp_path / "report.html").read_text()).split())
    assert "96.7% against the plain update on the tasks of both" in page
    assert "| b |" in render_markdown(report)


def test_a_candidate_that_keeps_such_a_task_passes() -> None:
    assert compare(OLD, PLAIN, candidate=version({}), options=ALLOWED).verdict == "pass"
