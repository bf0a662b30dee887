"""The HTML report's text: figures, escaping, nothing from outside, every shape of comparison."""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl
import pytest

from helpers.json_lines import write_lines
from helpers.page_text import HOSTILE, Page, assert_reads_as, entry
from helpers.report_examples import WORLD, binary_task, make_report, quadrants, typed, undefined
from muscle import compare
from muscle.report.page.html import embed_json, render_html

SHAPES: dict[str, dict[str, Any]] = {
    "one task": {},
    "no candidate": {"candidate": False},
    "many tasks": {"tasks": ("house", "hellaswag", "piqa", "samsum")},
    "nine tasks": {"tasks": ("house", "hellaswag", *(f"task {i}" for i in range(7)))},
    "continuous": {"tasks": ("samsum",)},
    "continuous, no candidate": {"tasks": ("samsum",), "candidate": False},
    "no other run": {"others": False},
    "no flip": {"flips": False, "others": False, "verdict": "cannot_tell"},
    "no flip, no candidate": {"flips": False, "candidate": False},
}


def shown_metrics(report: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every metric's value and ends that the page owes its reader."""
    for task, data in report["tasks"].items():
        for side in ("old_vs_new", "old_vs_candidate", "candidate_effect"):
            for metric, ends in (data[side] or {}).items():
                if isinstance(ends, dict):
                    for end in ("value", "low", "high"):
                        if ends[end] is not None:
                            yield f"#/tasks/{quote(task)}/{side}/{metric}/{end}", ends[end]
                elif ends is not None and metric != "n":
                    yield f"#/tasks/{quote(task)}/{side}/{metric}", ends


@pytest.mark.parametrize("shape", SHAPES)
def test_every_figure_equals_its_entry_in_the_json(shape: str) -> None:
    report = json.loads(json.dumps(make_report(**SHAPES[shape])))
    page = Page(render_html(typed(report)))
    assert len(page.figures) > 20
    for attributes, text in page.figures:
        value = float(attributes["value"] or "")
        assert_reads_as(text, value)
        if path := attributes.get("data-path"):
            expected = entry(report, path)
            if minus := attributes.get("data-minus"):
                expected -= entry(report, minus)
            assert value == expected, path


@pytest.mark.parametrize("shape", SHAPES)
def test_every_metric_and_interval_is_on_the_page(shape: str) -> None:
    report = make_report(**SHAPES[shape])
    paths = {attributes.get("data-path") for attributes, _ in Page(render_html(typed(report))).figures}
    missing = [path for path, _ in shown_metrics(report) if path not in paths]
    assert not missing


@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_is_loaded_from_outside(shape: str) -> None:
    html = render_html(typed(make_report(**SHAPES[shape])))
    for tag, attributes in Page(html).elements:
        assert tag not in {"link", "img", "iframe", "object", "embed", "base", "form"}
        assert "src" not in attributes
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        assert (attributes.get("href") or "#").startswith("#")
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)
    assert style and "@import" not in style[1]
    assert set(re.findall(r"url\((.*?)\)", style[1])) == {"#hatch"}


def test_the_policy_forbids_everything_but_the_page_s_own_style_and_script() -> None:
    page = Page(render_html(typed(make_report())))
    policy = next(a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy and policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy and "http" not in policy


def test_hostile_text_stays_text_wherever_it_stands() -> None:
    report = make_report(tasks=(HOSTILE, "samsum"))
    for key in ("old", "new", "candidate", "headline", "muscle_version", "created"):
        report[key] = HOSTILE
    report["reasons"] = [HOSTILE]
    report["others"][0]["name"] = HOSTILE
    report["sources"] = {"old": {HOSTILE: HOSTILE}, HOSTILE: {"a": [HOSTILE]}}
    report["tasks"]["samsum"]["score"] = HOSTILE
    report["tasks"]["samsum"]["old_vs_new"]["churn"] = undefined(HOSTILE)
    report["flips"][0].update(id=HOSTILE, input=HOSTILE, choices=[HOSTILE, "b"], slices={HOSTILE: HOSTILE})
    html = render_html(typed(report))
    page = Page(html)
    assert [tag for tag, _ in page.elements].count("script") == 2
    assert "<img" not in html
    assert "{{7*7}}" in page.text and "49{% raw" not in page.text
    assert "\u202e" not in page.text and "⟨U+202E⟩gnp␛[31m␀" in page.text
    assert "\x1b" not in html and "\x00" not in html
    assert json.loads(page.scripts[0])["flips"] == report["flips"]


def test_embedded_json_cannot_end_its_script_and_keeps_every_character() -> None:
    value = {"a": "</script><!--&\u2028\u2029\ud800 é 漢"}
    text = embed_json(value)
    assert not re.search("[<>&\u2028\u2029\ud800]", text)
    text.encode("utf-8")
    assert json.loads(text) == value


def test_a_lone_surrogate_anywhere_still_gives_a_file_in_utf_8() -> None:
    report = make_report()
    report["headline"] = report["flips"][0]["input"] = "half \ud83d of a pair"
    assert b" of a pair" in render_html(typed(report)).encode("utf-8")


def test_rendering_is_pure() -> None:
    report = typed(make_report(tasks=("house", "samsum")))
    before = copy.deepcopy(report)
    assert render_html(report) == render_html(report)
    assert report == before


@pytest.mark.parametrize(
    ("verdict", "word"),
    [("pass", "Pass"), ("warn", "Warning"), ("block", "Blocked"), ("cannot_tell", "Cannot tell")],
)
def test_the_verdict_is_told_in_a_word(verdict: str, word: str) -> None:
    page = Page(render_html(typed(make_report(verdict=verdict))))
    assert page.text.count(word) >= 1
    assert page.text.index(word) < page.text.index("Where the answers moved")


def test_an_undefined_metric_is_shown_with_its_reason() -> None:
    report = make_report()
    report["tasks"]["house"]["old_vs_candidate"]["backward_error_compatibility"] = undefined(
        "the candidate has no error"
    )
    html = render_html(typed(report))
    assert "undefined" in html
    assert "the candidate has no error" in html
    assert not re.search(r">\s*(nan|inf|None)\b", html)


def test_a_sample_of_the_flips_is_called_a_sample() -> None:
    report = make_report()
    report["flips"] = report["flips"][:100]
    report.update(flips_shown=100, flips_total={"negative_flip": 9000, "positive_flip": 500, "other_wrong": 0})
    text = " ".join(Page(render_html(typed(report))).text.split())
    assert f"{report['flips_shown']} of 9,500 examples whose answer changed: a sample" in text
    assert "given back by the candidate" not in text


def test_what_the_candidate_gave_back_adds_up() -> None:
    report = make_report()
    page = Page(render_html(typed(report)))
    text = " ".join(page.text.split())
    fixed = sum(flip["fixed"] is True for flip in report["flips"])
    assert f"{fixed} given back by the candidate" in text
    assert f"{196 - fixed} still broken" in text
    assert f"{86 - (196 - fixed)} newly broken by the candidate" in text


def test_items_that_do_not_join_are_shown_at_the_top() -> None:
    report = make_report()
    report["join"]["only_old"] = 17
    text = " ".join(Page(render_html(typed(report))).text.split())
    assert "17 only in the old run" in text[: text.index("Where the answers moved")]
    report["warnings"] = ["old vs new: 17 predictions have no partner"]
    text = " ".join(Page(render_html(typed(report))).text.split())
    assert report["warnings"][0] in text[: text.index("Where the answers moved")]


def test_both_wrong_is_one_row_where_the_answers_are_not_known() -> None:
    report = make_report(candidate=False)
    report["tasks"]["house"]["quadrants"]["old_vs_new"] |= {
        "both_wrong_same": None, "both_wrong_different": None, "both_right_changed": None,
    }  # fmt: skip
    page = Page(render_html(typed(report)))
    shown = {attributes.get("data-path"): text for attributes, text in page.figures}
    assert shown["#/tasks/house/quadrants/old_vs_new/both_wrong"] == "400"
    assert "both wrong, another answer" not in page.text


def test_the_verdict_s_word_is_not_said_twice() -> None:
    report = make_report(verdict="block")
    report["headline"] = "Blocked: new against old: +1 right / -9 broken."
    assert Page(render_html(typed(report))).text.count("Blocked") == 2  # in the window's title and in the badge


def test_shares_are_of_the_items_that_the_candidate_answered() -> None:
    report = make_report()
    task = report["tasks"]["house"]
    task["quadrants"]["old_vs_candidate"] = quadrants(800, 50, 100, 50, 0)
    task["old_vs_candidate"]["n"] = 1000
    text = " ".join(Page(render_html(typed(report))).text.split())
    assert "50 of 1,000 items" in text and "196 of 2,000 items" in text
    assert "given back by the candidate" not in text


def test_a_task_without_an_item_is_rendered() -> None:
    report = make_report(others=False, candidate=False)
    report["tasks"]["empty"] = binary_task(quadrants(0, 0, 0, 0, 0), None)
    assert "no item to divide by" in render_html(typed(report))


def test_rates_of_continuous_tasks_are_not_pooled_with_binary_ones() -> None:
    report = make_report(tasks=("house", "samsum"))
    text = " ".join(Page(render_html(typed(report))).text.split())
    assert "196 of 2,000 items" in text and "401 of 819 items" in text
    assert "of 2,819 items" not in text


def compared(folder: Path) -> dict[str, Any]:
    """What `muscle.compare` says of small runs with both kinds of task, a candidate and a further run."""
    draw = random.Random(3)
    runs: dict[str, list[dict[str, Any]]] = {"old": [], "new": [], "candidate": [], "base": []}
    for name, rows in runs.items():
        skill = {"old": 0.7, "new": 0.75, "candidate": 0.78, "base": 0.5}[name]
        for item in range(120):
            text, good, bad = WORLD[item % len(WORLD)]
            choice = int(draw.random() > skill)
            asked = {"id": f"c{item}", "task": "house", "input": f"{text} ({item})", "reference": good}
            rows.append({**asked, "choices": [good, bad], "choice": choice, "logprobs": [-1.0 - choice, -1.5]})
            summary = {"id": f"s{item}", "task": "samsum", "input": f"Dialogue {item}", "reference": "a b c"}
            rows.append({**summary, "output": "a b", "score": {"rouge1": round(draw.random() * skill, 3)}})
        write_lines(folder / f"{name}.jsonl", *rows)
    old, new, candidate, base = (folder / f"{name}.jsonl" for name in runs)
    return compare(old, new, candidate=candidate, others={"bare base": base}).to_json()


def test_what_compare_makes_is_rendered_whole_and_every_figure_equals_it(tmp_path: Path) -> None:
    report = json.loads(json.dumps(compared(tmp_path)))
    page = Page(render_html(typed(report)))
    paths = {attributes.get("data-path") for attributes, _ in page.figures}
    assert not [path for path, _ in shown_metrics(report) if path not in paths]
    for attributes, text in page.figures:
        assert_reads_as(text, float(attributes["value"] or ""))
        if (path := attributes.get("data-path")) and "data-minus" not in attributes:
            assert float(attributes["value"] or "") == entry(report, path), path
    for reason in report["reasons"]:
        assert reason in page.text
    assert "bare base" in page.text and "given back by the candidate" in page.text


def test_the_smallest_difference_of_a_score_is_written_in_its_unit() -> None:
    draw = random.Random(3)
    seconds = [draw.uniform(1, 9) for _ in range(80)]
    sides = [
        pl.DataFrame({"id": [str(i) for i in range(80)], "score": [s + draw.gauss(0, 2) for s in seconds]})
        for _ in range(2)
    ]
    report = compare(sides[0], sides[1]).to_json()
    smallest = report["tasks"]["all"]["old_vs_new"]["minimum_detectable_difference"]
    text = Page(render_html(typed(report))).text
    told = text.split("smallest detectable difference", 1)[1].split()[0]
    assert float(told) == pytest.approx(smallest, rel=0.01) and "%" not in told
