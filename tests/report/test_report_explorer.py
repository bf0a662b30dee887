"""The explorer's text: each figure is that of report.json, each part is left out where it is not known."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlencode

import polars as pl
import pytest

from helpers.explorer_examples import difference, gate_report, not_known, rich_report
from helpers.page_text import HOSTILE, Page, assert_reads_as, entry
from helpers.report_examples import make_report, typed
from muscle import CompareOptions, compare
from muscle.report.page.html import render_html
from muscle.report.page.slices import slice_cards
from muscle.report.page.trade_offs import flips_against_gap
from muscle.report.sentences.resolution import resolution_lines
from muscle.report.sentences.why import why_lines


def many_tasks() -> dict[str, Any]:
    report = rich_report()
    for task in report["tasks"].values():
        for sliced in task["slices"].values():
            sliced["rows"] = sliced["rows"][:4]
    report["tasks"] |= {f"task {i}": report["tasks"]["house"] for i in range(26)}
    return report


SHAPES = {
    "rich": rich_report,
    "gate": gate_report,
    "no candidate": lambda: rich_report(candidate=False),
    "many tasks": many_tasks,
    "nothing known": lambda: not_known(rich_report()),
}


def shown_paths(html: str) -> set[str]:
    return {a["data-path"] or "" for a, _ in Page(html).figures if "data-path" in a}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_figure_equals_its_entry_in_the_json_and_none_is_empty(shape: str) -> None:
    report = json.loads(json.dumps(SHAPES[shape]()))
    page = Page(render_html(typed(report)))
    assert not re.search(r"\b(None|null|nan|NaN|inf)\b", page.text)
    for attributes, text in page.figures:
        value = float(attributes["value"] or "")
        assert_reads_as(text, value)
        if (path := attributes.get("data-path")) and "data-minus" not in attributes:
            assert value == entry(report, path), path


def test_verdicts_of_items_floor_and_excess_are_shown_for_both_updates() -> None:
    paths = shown_paths(render_html(typed(rich_report())))
    for side in ("old_vs_new", "old_vs_candidate"):
        for verdict in ("regressed", "improved", "equivalent", "cannot_tell"):
            assert {f"#/tasks/house/{side}/items/{verdict}/{end}" for end in ("value", "low", "high")} <= paths
        assert f"#/tasks/house/{side}/items/null95/value" in paths
        assert f"#/tasks/house/{side}/noise_floor/high" in paths
        assert f"#/tasks/house/{side}/excess_negative_flip_rate/low" in paths
        assert f"#/tasks/house/variance/{side}/answers" in paths


def test_causes_changes_and_closeness_are_shown() -> None:
    html = render_html(typed(rich_report()))
    paths = shown_paths(html)
    assert "#/tasks/house/causes/old_vs_new/negative_flip/format" in paths
    assert "#/tasks/house/causes/strict_loose/new/gap" in paths
    assert "#/tasks/house/what_changed/1/p_adjusted" in paths
    assert "#/tasks/house/closeness/old_vs_new/kl/p99" in paths
    page = Page(html)
    assert "4.9 points lost, 3.9 of them by format" in page.text
    assert "mentions <b>price</b>" in page.text


def test_every_slice_its_corrected_p_and_the_simpson_case_are_shown() -> None:
    report = rich_report()
    page = Page(render_html(typed(report)))
    paths = {a.get("data-path") for a, _ in page.figures}
    rows = report["tasks"]["house"]["slices"]["old_vs_new"]["rows"]
    assert {f"#/tasks/house/slices/old_vs_new/rows/{i}/bh_p" for i in range(len(rows))} <= paths
    assert "#/tasks/house/slices/old_vs_new/concentrated/0/excess/bh_p" in paths
    assert "slices go against the whole (better)" in page.text
    assert "3 slices with fewer than 30 items are not tested" in page.text


def test_slices_causes_and_tasks_lead_to_their_examples_where_the_page_holds_them() -> None:
    report = rich_report()
    hrefs = {a["href"] for tag, a in Page(render_html(typed(report))).elements if tag == "a"}
    assert "#examples?task=house&slice=place%3Dkitchen" in hrefs
    assert "#examples?task=house&cause=format" in hrefs
    assert "#examples?task=samsum" in hrefs
    held = {a["href"] for tag, a in Page(render_html(typed(report), max_flips=0)).elements if tag == "a"}
    assert not [href for href in held if href and "?" in href]


def test_the_gate_s_rules_stand_with_outcome_limit_and_reason() -> None:
    report = gate_report()
    page = Page(render_html(typed(report)))
    text = " ".join(page.text.split())
    assert "4 rules: 1 holds, 1 broken, 2 undecided, strict: a warning fails. Exit code 1." in text
    for finding in report["gate"]["findings"]:
        assert finding["reason"] in text
    paths = {a.get("data-path") for a, _ in page.figures}
    assert {"#/gate/findings/0/limit", "#/gate/findings/0/low", "#/gate/findings/0/p"} <= paths
    assert text.index("Rules of the policy") < text.index("Where the answers moved")
    assert "Rules of the policy" not in Page(render_html(typed(rich_report()))).text


def test_how_the_files_were_read_is_no_alarm() -> None:
    report = rich_report()
    read = "old, new: 'prediction' compared with 'expected' decides what is right; not used: score"
    report["readings"] = [read]
    text = " ".join(Page(render_html(typed(report))).text.split())
    assert f"How the files were read {read}" in text and "Look before you trust the figures" not in text
    report["warnings"].append("new: the run did not finish")
    text = " ".join(Page(render_html(typed(report))).text.split())
    assert f"How the files were read {read} Look before you trust the figures new: the run did not finish" in text


def test_an_update_without_a_candidate_is_not_called_plain() -> None:
    assert "The update broke" in Page(render_html(typed(rich_report(candidate=False)))).text


def test_what_differs_beside_the_model_stands_before_the_figures_and_once() -> None:
    report = rich_report()
    report["comparability"]["old_vs_new"][0]["allowed"] = True
    page = Page(render_html(typed(report)))
    text = " ".join(page.text.split())
    assert text.count("lm-eval 0.4.9 and 0.4.13") == 1
    assert "temperature 0.7 in the old run, 0.8 in the new one (allowed by hand)" in text
    assert text.index("The runs differ in more than the model") < text.index("The plain update broke")
    assert report["noise"]["sentence"] in text


def test_a_difference_says_between_which_runs_it_is() -> None:
    """Every pair that `compare` names has words of its own on the page."""
    old = pl.DataFrame([{"task": "qa", "id": str(i), "correct": i % 5 > 0} for i in range(100)])
    # A run each of another length, so that each pair has a difference of its own.
    report = compare(old, old[:99], candidate=old[:98], rerun=old[:97]).to_json()
    text = " ".join(Page(render_html(typed(report))).text.split())
    words = ("old against new", "old against candidate", "old against its rerun")
    assert all(report["comparability"].values()) and len(report["comparability"]) == len(words)
    assert all(each in text for each in words)


def test_the_page_says_what_the_test_set_can_show_as_terminal_and_markdown_do() -> None:
    old = pl.DataFrame([{"task": "qa", "id": str(i), "correct": i % 5 > 0} for i in range(100)])
    new = old.with_columns(correct=pl.col("correct") & (pl.col("id") != "7"))
    report = compare(old, new).to_json()
    lines = resolution_lines(typed(report), max_tasks=1)
    text = " ".join(Page(render_html(typed(report))).text.split())
    assert lines and all(line in text for line in lines)
    assert "would show a change of" in text and "to show the 1.0 points seen it takes" in text
    assert "the chance that it breaks more than it gains" in text


def test_closeness_alone_is_not_called_a_cause() -> None:
    report = rich_report(tasks=("house",))
    assert "Why answers flipped" in Page(render_html(typed(report))).text
    report["tasks"]["house"] |= {"causes": None, "what_changed": []}
    text = Page(render_html(typed(report))).text
    assert "How close the probabilities stayed" in text and "Closeness" in text
    assert "Why answers flipped" not in text and "Causes" not in text


def test_every_kind_of_slice_leads_to_its_examples() -> None:
    def row(i: int) -> dict[str, Any]:
        long = i % 4 == 3
        return {
            "task": "qa",
            "id": str(i),
            "input": f"question {i} " + "with a long text " * long,
            "choices": ["yes", "no"],
            "reference": ["yes" if i % 2 else "no"],
            "correct": True,
            "slices": {"topic": "law" if long else "art"},
        }

    old = pl.DataFrame([row(i) for i in range(200)])
    new = old.with_columns(correct=pl.int_range(200) % 4 != 3)
    slices = ["topic", "reference", "length", "digits=/[0-9]{2}/"]
    report = compare(old, new, options=CompareOptions(slices=slices)).to_json()
    names = {"topic", "reference", "input length in characters", "digits"}
    assert all(set(flip["slices"]) == names for flip in report["flips"])
    assert all(flip["slices"]["reference"] == flip["reference"][0] for flip in report["flips"])
    hrefs = {a["href"] for tag, a in Page(render_html(typed(report))).elements if tag == "a"}
    sliced = report["tasks"]["qa"]["slices"]["old_vs_new"]["rows"]
    broken = [row for row in sliced if row["negative_flips"]]
    assert {row["by"] for row in broken} == names
    for each in broken:
        query = urlencode({"task": "qa", "slice": f"{each['by']}={each['value']}"})
        assert f"#examples?{query}" in hrefs


def test_answers_are_not_called_items_where_items_were_asked_several_times() -> None:
    rows = [{"task": "qa", "id": str(i), "repeat": k, "correct": (i + k) % 5 > 0} for i in range(40) for k in range(3)]
    old = pl.DataFrame(rows)
    report = compare(old, old.with_columns(correct=pl.col("correct") & (pl.col("id") != "7"))).to_json()
    text = " ".join(Page(render_html(typed(report))).text.split())
    assert "3 of 120 answers" in text and "120 items" not in text


def test_what_is_not_known_has_no_section_and_its_sentence_stays() -> None:
    text = " ".join(Page(render_html(typed(not_known(rich_report())))).text.split())
    for heading in ("Real or noise", "Why answers flipped", "Slices", "The runs differ"):
        assert heading not in text
    assert "Floor unknown; run the old model once more" in text


def test_items_asked_once_have_no_section_on_noise() -> None:
    assert "Real or noise" not in Page(render_html(typed(make_report()))).text


def test_many_tasks_are_folded_away_and_none_is_lost() -> None:
    html = render_html(typed(many_tasks()))
    assert "3 more tasks" in html
    paths = shown_paths(html)
    assert {f"#/tasks/task%20{i}/old_vs_new/mcnemar_exact_p" for i in range(26)} <= paths


def test_a_page_holds_no_more_flips_than_asked_for_and_says_so() -> None:
    report = rich_report()
    page = Page(render_html(typed(report), max_flips=100))
    assert json.loads(page.scripts[0])["flips"] == report["flips"][:100]
    text = " ".join(page.text.split())
    total = f"{sum(report['flips_total'].values()):,}"
    assert f"100 of {total} examples whose answer changed: negative flips first" in text


def test_a_page_of_very_long_answers_holds_fewer_and_says_so() -> None:
    report = make_report(tasks=("samsum",))
    for flip in report["flips"]:
        flip["new"]["output"] = "a" * 1_000_000
    page = Page(render_html(typed(report)))
    assert len(json.loads(page.scripts[0])["flips"]) == 31
    assert "31 of 40 examples whose answer changed: negative flips first" in " ".join(page.text.split())


def test_hostile_text_stays_text_in_every_new_part() -> None:
    report: dict[str, Any] = gate_report()
    report["noise"]["sentence"] = HOSTILE
    report["comparability"] = {HOSTILE: [difference(HOSTILE)]}
    task = report["tasks"]["house"]
    task["causes"]["sentence"] = HOSTILE
    task["causes"]["old_vs_new"]["negative_flip"][HOSTILE] = 7
    task["what_changed"][0]["what"] = HOSTILE
    sliced = task["slices"]["old_vs_new"]
    sliced["rows"][0] |= {"by": HOSTILE, "value": HOSTILE}
    sliced["concentrated"][0] |= {"by": HOSTILE, "value": HOSTILE}
    sliced["simpson"][0] |= {"by": HOSTILE, "worse": [HOSTILE]}
    for finding in report["gate"]["findings"]:
        finding |= {"task": HOSTILE, "reason": HOSTILE, "metric": HOSTILE}
    report["gate"]["policy"] = {HOSTILE: HOSTILE}
    html = render_html(typed(report))
    page = Page(html)
    assert "<img" not in html and [tag for tag, _ in page.elements].count("script") == 2
    assert "\x1b" not in html and "\u202e" not in page.text
    assert page.text.count("{{7*7}}") > 12


def gap_places(report: dict[str, Any]) -> list[tuple[str, float]]:
    """Which runs the plot of flips against the gap shows, and the gap that each mark's words tell."""
    plot = flips_against_gap(typed(report))
    if plot is None:
        return []
    told = re.findall(r"<title>([^<]*): gap ([^ ]+) points", str(plot.picture))
    return [(name, float(gap.replace("\N{MINUS SIGN}", "-"))) for name, gap in told]


def test_each_run_stands_at_its_own_gap() -> None:
    report = make_report()
    task = report["tasks"]["house"]
    gaps = {
        "house, plain update": task["old_vs_new"]["accuracy_difference"]["value"],
        "house, candidate": task["old_vs_candidate"]["accuracy_difference"]["value"],
    }
    gaps |= {
        f"house, {other['name']}": other["tasks"]["house"]["accuracy_difference"]["value"] for other in report["others"]
    }
    assert len(set(gaps.values())) == 4
    assert dict(gap_places(report)) == {name: round(100 * gap, 1) for name, gap in gaps.items()}


@pytest.mark.parametrize(
    "options", [{"others": False}, {"others": False, "candidate": False}, {"flips": False, "others": False}]
)
def test_the_plot_of_the_gap_is_left_out_where_it_says_nothing(options: dict[str, Any]) -> None:
    assert gap_places(make_report(**options)) == []


def test_the_causes_add_up_to_the_flips_and_errors_stand_apart() -> None:
    report = rich_report(tasks=("house",), candidate=False)
    text = " ".join(Page(render_html(typed(report))).text.split())
    counts = report["tasks"]["house"]["causes"]["old_vs_new"]["negative_flip"]
    flips = sum(number for cause, number in counts.items() if cause != "error")
    assert "the sum of the causes, without errors" in text and f"without errors {flips}149 " in text
    (line,) = [line for line in why_lines(typed(report), max_tasks=1) if line.startswith("why: ")]
    assert f"the {flips} that broke, by cause: 97 format, 61 knowledge, 21 refusal, 14 cut off" in line
    assert "3 more were right and are missing now (error)" in line


def test_the_slices_of_the_side_that_is_judged_stand_first_and_open() -> None:
    cards = slice_cards(typed(rich_report(tasks=("house",))))
    assert [(card.side, card.is_judged) for card in cards] == [("candidate", True), ("plain update", False)]
