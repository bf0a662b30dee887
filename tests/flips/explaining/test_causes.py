import json
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.places import DATA
from muscle import CompareOptions, compare, read_run
from muscle.errors import ConfigError
from muscle.flips.explaining.cause_report import sentence
from muscle.flips.explaining.cause_rules import read_rules
from muscle.flips.explaining.causes import CauseCounts
from muscle.flips.explaining.loose_scorer import loose_match
from muscle.flips.options import CauseRule
from muscle.predictions.readers import inspect, openai_evals
from muscle.report.text.markdown import render_markdown

Row = dict[str, Any]


def run(rows: list[Row]) -> pl.DataFrame:
    filled = [{"id": str(n), "input": f"question {n}", **row} for n, row in enumerate(rows)]
    return pl.DataFrame(filled, infer_schema_length=None)


def causes_of(old: list[Row], new: list[Row], **options: Any) -> dict[str, Any]:
    report = compare(run(old), run(new), options=CompareOptions(**options)).to_json()
    (task,) = report["tasks"].values()
    return task["causes"]  # type: ignore[no-any-return]


def cause_of(answer: Row, *, reference: str = "42", **options: Any) -> str:
    """The cause of one negative flip to this answer, among items that stay right."""
    stays = {"reference": [reference], "output": reference, "correct": True, "finish_reason": "stop"}
    new = {"finish_reason": "stop", **answer, "reference": [reference], "correct": False}
    found = causes_of([stays] * 3, [new, stays, stays], **options)["old_vs_new"]["negative_flip"]
    ((cause, count),) = found.items()
    assert count == 1
    return str(cause)


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        ({"output": "It is 41."}, "knowledge"),
        ({"output": "**Answer:** 42"}, "format"),
        ({"output": "  "}, "format"),
        ({"output": "I'm sorry, but I can't help with that."}, "refusal"),
        ({"output": "I cannot answer this question."}, "refusal"),
        ({"output": "As an AI language model, I don't have opinions"}, "refusal"),
        ({"output": "Let us add the", "finish_reason": "length"}, "cut_off"),
        ({"output": "Let us add the", "finish_reason": "MAX_TOKENS"}, "cut_off"),
        ({"output": "", "finish_reason": "content_filter"}, "refusal"),
    ],
)
def test_each_wrong_answer_has_its_cause(answer: Row, cause: str) -> None:
    assert cause_of(answer) == cause


def test_a_positive_flip_has_the_cause_of_the_old_failure() -> None:
    right = {"reference": ["42"], "output": "42", "correct": True}
    wrong = {"reference": ["42"], "output": "The answer is 42, I think", "correct": False}
    found = causes_of([wrong, right], [right, right])["old_vs_new"]
    assert found == {"negative_flip": {}, "positive_flip": {"format": 1}}


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["42", "so 42 it is", "7", "I'm sorry, no", ""]), st.booleans(), st.booleans()),
        min_size=1,
        max_size=30,
    )
)
def test_causes_sum_to_the_flips_and_to_the_change_of_accuracy(items: list[tuple[str, bool, bool]]) -> None:
    sides = [
        [
            {"reference": ["42"], "output": text, "correct": item[1 + side]}
            for text, *_ in items
            for item in [(text, *_)]
        ]
        for side in (0, 1)
    ]
    report = compare(run(sides[0]), run(sides[1])).to_json()
    (task,) = report["tasks"].values()
    found, counts = task["causes"]["old_vs_new"], task["quadrants"]["old_vs_new"]
    assert sum(found["negative_flip"].values()) == counts["negative_flips"]
    assert sum(found["positive_flip"].values()) == counts["positive_flips"]
    assert {f["cause"] is None for f in report["flips"] if f["kind"] != "other_wrong"} <= {False}


def test_all_lost_by_format_is_said_so() -> None:
    old = [{"reference": [str(n)], "output": f"#### {n}", "correct": True} for n in range(100)]
    new = [dict(row) for row in old]
    for n in range(4):
        new[n] = {"reference": [str(n)], "output": f"That makes {n}", "correct": False}
    found = causes_of(old, new)
    assert found["sentence"] == "4.0 points lost, all of it format"
    assert found["strict_loose"]["new"] == {"strict": 0.96, "loose": 1.0, "gap": pytest.approx(0.04)}
    assert found["strict_loose"]["old"]["gap"] == 0.0


def test_causes_that_cancel_each_other_out_are_told() -> None:
    counts = CauseCounts({"format": 6}, {"knowledge": 6})
    assert sentence(counts, 200) == "3.0 points lost by format and 3.0 gained by knowledge"
    assert sentence(CauseCounts({}, {}), 200) is None
    mixed = CauseCounts({"knowledge": 120, "format": 16}, {"knowledge": 20, "format": 60})
    assert sentence(mixed, 600) == "9.3 points lost: 16.7 lost by knowledge, 7.3 gained by format"


def test_points_within_chance_are_given_no_cause() -> None:
    within = CauseCounts({"format": 48, "knowledge": 36}, {"format": 44, "knowledge": 30})
    assert sentence(within, 600) is None


def test_errors_are_no_lost_points() -> None:
    assert sentence(CauseCounts({"error": 9}, {}), 200) is None


def test_a_lost_answer_is_counted_as_an_error_and_is_no_flip() -> None:
    right = {"reference": ["42"], "output": "42", "correct": True, "error": None}
    lost = {"reference": ["42"], "output": None, "correct": None, "error": "HTTP 500"}
    wrong = {"reference": ["42"], "output": "41", "correct": False, "error": None}
    report = compare(run([right, right, right]), run([lost, wrong, right])).to_json()
    (task,) = report["tasks"].values()
    assert task["causes"]["old_vs_new"]["negative_flip"] == {"knowledge": 1, "error": 1}
    assert task["n"] == 2 and task["quadrants"]["old_vs_new"]["negative_flips"] == 1


def test_the_loose_score_of_the_runs_is_taken_before_our_own_reading() -> None:
    rows = [
        {
            "reference": ["x"],
            "output": "whatever",
            "correct": c,
            "score": {"strict_acc": float(c), "loose_acc": loose},
        }
        for c, loose in ((True, 1.0), (False, 1.0), (False, 0.0))
    ]
    old = [{**row, "correct": True, "score": {"strict_acc": 1.0, "loose_acc": 1.0}} for row in rows]
    frames = []
    for side in (old, rows):
        flat = [
            {
                **{k: v for k, v in r.items() if k != "score"},
                **{f"score.{n}": v for n, v in r["score"].items()},
            }
            for r in side
        ]
        frames.append(run(flat))
    report = compare(*frames).to_json()
    (task,) = report["tasks"].values()
    assert task["causes"]["loose_scorer"] == "score loose_acc"
    assert task["causes"]["old_vs_new"]["negative_flip"] == {"format": 1, "knowledge": 1}
    assert task["causes"]["strict_loose"]["new"]["gap"] == pytest.approx(1 / 3)


def test_a_flexible_filter_is_the_loose_scorer_of_the_strict_one() -> None:
    def side(strict: list[bool], flexible: list[bool]) -> pl.DataFrame:
        rows = [
            {
                "id": str(n),
                "input": f"q{n}",
                "task": "gsm8k",
                "filter": name,
                "output": "x",
                "reference": ["y"],
                "correct": c,
            }
            for name, truths in (("strict-match", strict), ("flexible-extract", flexible))
            for n, c in enumerate(truths)
        ]
        return pl.DataFrame(rows)

    report = compare(side([True] * 3, [True] * 3), side([True, False, False], [True, True, False])).to_json()
    causes = report["tasks"]["gsm8k/strict-match"]["causes"]
    assert causes["loose_scorer"] == "filter flexible-extract"
    assert causes["old_vs_new"]["negative_flip"] == {"format": 1, "knowledge": 1}


def test_options_picked_by_likelihood_have_nothing_to_classify() -> None:
    rows = [{"choices": ["a", "b"], "reference": ["a"], "choice": 0, "output": "a", "correct": True} for _ in range(4)]
    new = [*rows[:3], {**rows[3], "choice": 1, "output": "b", "correct": False}]
    assert causes_of(rows, new) is None


def rules_file(folder: Path, rules: Any) -> Path:
    path = folder / "rules.yaml"
    path.write_text(json.dumps(rules), encoding="utf-8")
    return path


def test_a_rule_of_the_users_own_comes_first(tmp_path: Path) -> None:
    path = rules_file(tmp_path, {"rules": [{"name": "hedging", "pattern": "it depends"}]})
    assert cause_of({"output": "It DEPENDS, perhaps 42"}, causes=path) == "hedging"
    assert cause_of({"output": "41"}, causes=path) == "knowledge"


def test_a_rule_can_look_at_another_field_and_extend_a_built_in_cause(tmp_path: Path) -> None:
    path = rules_file(tmp_path, {"rules": [{"name": "refusal", "pattern": "^blocked$", "field": "finish_reason"}]})
    assert cause_of({"output": "41", "finish_reason": "BLOCKED"}, causes=path) == "refusal"


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ([], "expected one key `rules`"),
        ({"rules": []}, "expected one key `rules`"),
        ({"rules": ["x"]}, "rules.0: expected a name and a pattern"),
        ({"rules": [{"name": "a", "pattern": "x", "where": "y"}]}, "rules.0.where"),
        ({"rules": [{"name": "error", "pattern": "x"}]}, "other than error"),
        ({"rules": [{"name": "a", "pattern": "("}]}, "rules.0.pattern"),
        ({"rules": [{"name": "a", "pattern": "(?=x)y"}]}, "no look-around"),
        (
            {"rules": [{"name": "a", "pattern": "k{100000}"}]},
            "line 1: rules.0.pattern",
        ),  # too large without case
        ({"rules": [{"name": "a", "pattern": "x", "field": "id"}]}, "rules.0.field"),
        ({"rules": [{"name": "a", "pattern": "x"}] * 51}, "at most 50"),
    ],
)
def test_a_bad_rule_is_refused_with_its_place(tmp_path: Path, rules: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_rules(rules_file(tmp_path, rules))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_rules_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        read_rules(tmp_path / "none.yaml")


def test_catastrophic_patterns_and_huge_texts_take_no_time() -> None:
    hostile = "a" * 1_000_000 + "!"
    start = time.perf_counter()
    assert cause_of({"output": hostile}, causes=[CauseRule("evil", "(?i)^(a+)+$")]) == "knowledge"
    assert time.perf_counter() - start < 20


@pytest.mark.parametrize(
    "text", ["\x1b[31m42\x07", "\u202e42\u202c", "<script>alert(42)</script>", "{{7*6}} 42", "42\x00"]
)
def test_hostile_texts_are_read_as_text(text: str) -> None:
    assert cause_of({"output": text}) == "format"


@settings(max_examples=60, deadline=None)
@given(
    st.text(max_size=200),
    st.text(min_size=1, max_size=40),
    st.none() | st.lists(st.text(max_size=20), max_size=4),
)
def test_the_loose_reading_takes_any_text(output: str, reference: str, choices: list[str] | None) -> None:
    rows = pl.DataFrame(
        {"output": [output], "reference": [[reference]], "choices": [choices]},
        schema={"output": pl.String, "reference": pl.List(pl.String), "choices": pl.List(pl.String)},
    )
    assert loose_match(rows).to_list() in ([True], [False])


@pytest.mark.parametrize(
    ("output", "reference", "choices", "found"),
    [
        ("I add 40 and 2. Total: $42.00", "42", None, True),
        ("It is 42 or 43", "42", None, False),
        ("minus five is -5", "-5", None, True),
        ("from 3-5 then", "5", None, True),
        ("so 7", "worked\n#### 7", None, True),
        ("the city is PARIS.", "Paris", None, True),
        ("comparison", "Paris", None, False),
        ("No, I know that yes is wrong.", "yes", None, False),
        ("Yes, it is.", "yes", None, True),
        ("The answer is (B).", "beta", ["alpha", "beta"], True),
        ("B", "beta", ["alpha", "beta"], True),
        ("B) because", "alpha", ["alpha", "beta"], False),
        ("I think beta fits", "beta", ["alpha", "beta"], True),
        ("alpha is not beta", "beta", ["alpha", "beta"], False),
        ("A beta is meant", "alpha", ["alpha", "beta"], False),
        ("Answer: C", "C", None, True),
        ("Answer: Cats", "C", None, False),
        (None, "x", None, False),
    ],
)
def test_the_loose_reading_finds_what_a_person_would(
    output: str | None, reference: str, choices: list[str] | None, found: bool
) -> None:
    rows = pl.DataFrame(
        {"output": [output], "reference": [[reference]], "choices": [choices]},
        schema={"output": pl.String, "reference": pl.List(pl.String), "choices": pl.List(pl.String)},
    )
    assert loose_match(rows).to_list() == [found]


def test_markdown_tells_causes_and_escapes_the_users_names() -> None:
    right = {"reference": ["42"], "output": "42", "correct": True}
    wrong = {"reference": ["42"], "output": "odd", "correct": False}
    report = compare(
        run([right] * 8),
        run([wrong] * 4 + [right] * 4),
        options=CompareOptions(causes=[CauseRule("<b>odd|one</b>", "odd")]),
    ).report
    text = render_markdown(report)
    assert "50\\.0 points lost, all of it" in text
    assert "<b>odd" not in text


def test_finish_reasons_are_read_from_records_and_harnesses(tmp_path: Path) -> None:
    row = {"id": "1", "output": "x", "correct": True, "finish_reason": "length"}
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    assert read_run(tmp_path / "a.jsonl").frame["finish_reason"].to_list() == ["length"]
    data = DATA / "readers" / "inspect" / "garden-1.json"
    assert set(inspect.read(data).frame.filter(pl.col("error").is_null())["finish_reason"]) == {"stop"}
    item = {"object": "eval.run.output_item", "id": "o", "datasource_item": {"q": "1"}, "status": "fail", "results": [],
            "sample": {"output": [{"content": "y"}], "finish_reason": "length"}}  # fmt: skip
    (tmp_path / "o.jsonl").write_text(json.dumps(item))
    assert openai_evals.read(tmp_path / "o.jsonl").frame["finish_reason"].to_list() == ["length"]


def test_a_million_choices_without_text_cost_nothing() -> None:
    n = 200_000
    old = pl.DataFrame({"id": pl.int_range(n, eager=True).cast(pl.String), "correct": [True, False] * (n // 2)})
    report = compare(old, old.with_columns(~pl.col("correct"))).to_json()
    (task,) = report["tasks"].values()
    assert task["causes"] is None and task["what_changed"] == [] and task["closeness"] is None
