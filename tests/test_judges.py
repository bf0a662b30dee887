import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muscle.errors import DataError, JoinError
from muscle.flips.compare import compare
from muscle.flips.judges import JudgeErrors, corrected_rate, ppi_difference, read_labels, rogan_gladen
from muscle.predictions.run import Run


def test_rogan_gladen_gives_the_known_answer() -> None:
    assert rogan_gladen(0.75, JudgeErrors(0.90, 0.85)) == pytest.approx(0.80)


@settings(max_examples=100, deadline=None)
@given(st.floats(0, 1), st.floats(0.51, 1), st.floats(0.5, 1))
def test_rogan_gladen_turns_a_judges_errors_back(
    truth: float, sensitivity: float, specificity: float
) -> None:
    passed = truth * sensitivity + (1 - truth) * (1 - specificity)
    assert rogan_gladen(passed, JudgeErrors(sensitivity, specificity)) == pytest.approx(truth, abs=1e-9)


@pytest.mark.parametrize(("sensitivity", "specificity"), [(0.5, 0.5), (0.2, 0.7), (1.1, 0.9)])
def test_a_judge_that_tells_nothing_is_refused(sensitivity: float, specificity: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        JudgeErrors(sensitivity, specificity)


def test_a_perfect_judge_changes_nothing_and_calibration_widens_the_interval() -> None:
    perfect = corrected_rate(80, 100, JudgeErrors(1.0, 1.0))
    assert perfect.value == pytest.approx(0.8)
    known, measured = (corrected_rate(80, 100, JudgeErrors(0.9, 0.9, *n)) for n in ((), (50, 50)))
    assert known.value == measured.value
    assert measured.low is not None and known.low is not None and measured.low < known.low


def test_the_corrected_rates_interval_covers_the_truth() -> None:
    draw = np.random.default_rng(0)
    truth, q1, q0, n, m = 0.7, 0.9, 0.8, 400, 150
    covered = 0
    for _ in range(600):
        judge = JudgeErrors(draw.binomial(m, q1) / m, draw.binomial(m, q0) / m, m, m)
        found = corrected_rate(draw.binomial(n, truth * q1 + (1 - truth) * (1 - q0)), n, judge)
        assert found.low is not None and found.high is not None
        covered += found.low <= truth <= found.high
    assert 0.93 <= covered / 600 <= 0.985


def test_ppi_is_the_formula_of_ppi_python_by_hand() -> None:
    # ppi_mean with lambda = 1: mean(all) + mean(label - judged); variances with ddof 0 over N and n.
    judged = np.array([1.0, 0, 0, -1, 0, 1, 0, 0, -1, 0])
    label, of_label = np.array([1.0, 0, -1, 0]), np.array([1.0, 0, 0, -1])
    found = ppi_difference(judged, label, of_label)
    # mean(all) = 0, rest = (0, 0, -1, 1): mean 0, var 0.5; var(all) = 0.4.
    half = 1.959963984540054 * math.sqrt(0.4 / 10 + 0.5 / 4)
    assert found.value == pytest.approx(0.0)
    assert found.low == pytest.approx(-half) and found.high == pytest.approx(half)


def test_ppis_interval_covers_where_the_judge_favours_one_version() -> None:
    draw = np.random.default_rng(1)
    covered, judge_covers, rounds = 0, 0, 500
    for _ in range(rounds):
        truth = draw.random((2, 1_000)) < np.array([[0.6], [0.6]])
        # The judge lets 30 % of the new version's wrong answers pass, and 5 % of the old one's.
        judged = truth | (draw.random((2, 1_000)) < np.array([[0.05], [0.30]]))
        d, h = (x[1].astype(float) - x[0] for x in (judged, truth))
        found = ppi_difference(d, h[:150], d[:150])
        assert found.low is not None and found.high is not None
        covered += found.low <= 0 <= found.high
        judge_covers += abs(d.mean()) < 1.96 * d.std() / math.sqrt(1_000)
    assert 0.93 <= covered / rounds <= 0.995
    assert judge_covers / rounds < 0.05


def runs(**columns: Any) -> tuple[pl.DataFrame, pl.DataFrame]:
    ids = [str(n) for n in range(40)]
    old = pl.DataFrame({"id": ids, "correct": [n % 2 == 0 for n in range(40)]})
    return old, pl.DataFrame({"id": ids, "correct": [n % 4 != 1 for n in range(40)]})


def test_a_file_of_labels_corrects_the_difference(tmp_path: Path) -> None:
    old, new = runs()
    path = tmp_path / "labels.csv"
    path.write_text("id,old,new\n" + "".join(f"{n},{int(n % 2 == 0)},{int(n % 2 == 0)}\n" for n in range(24)))
    (task,) = compare(old, new, human_labels=path).to_json()["tasks"].values()
    found = task["judge"]["old_vs_new"]["labels"]
    assert (found["items"], found["labelled"], found["difference_judge"]) == (40, 24, 0.25)
    assert found["difference"]["value"] == pytest.approx(0.0)
    assert found["sensitivity"] == 1.0 and found["specificity"] == pytest.approx(0.75)


def test_labels_as_json_lines_with_words_and_tasks(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    rows = [{"task": "all", "id": str(n), "old": n % 2 == 0, "new": n % 2 == 0} for n in range(10)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    old, new = runs()
    (task,) = compare(old, new, human_labels=path).to_json()["tasks"].values()
    assert task["judge"]["old_vs_new"]["labels"]["labelled"] == 10
    assert "only 10 labelled items" in task["judge"]["old_vs_new"]["labels"]["note"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,old\n1,1\n", "expected the columns id, old and new"),
        ("id,old,new\n1,1,maybe\n", "field 'new'"),
        ("id,old,new\n1,1,\n", "field 'new'"),
        ("id,old,new\n1,1,1\n1,0,0\n", "labelled twice"),
        ("", "expected CSV or JSON lines"),
    ],
)
def test_bad_labels_are_refused_with_their_place(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read_labels(path)
    assert message in str(caught.value) and str(path) in str(caught.value)


def test_known_errors_of_the_judge_widen_the_difference() -> None:
    old, new = runs()
    (task,) = compare(old, new, judge_errors=JudgeErrors(0.9, 0.85)).to_json()["tasks"].values()
    found = task["judge"]["old_vs_new"]["errors"]
    assert found["difference"]["value"] == pytest.approx(0.25 / 0.75)
    assert found["accuracy_new"]["value"] == pytest.approx(0.8)
    assert found["accuracy_old"]["value"] == pytest.approx((0.5 + 0.85 - 1) / 0.75)


@pytest.mark.parametrize(
    "facts",
    [
        lambda judge: {"tasks": {"t": {"judge": [judge]}}},
        lambda judge: {"model": {"name": "m", "roles": {"grader": judge}}},
    ],
)
def test_another_judge_on_the_other_side_is_refused(facts: Any) -> None:
    frame = pl.DataFrame({"task": ["t"] * 30, "id": [str(n) for n in range(30)], "correct": [True] * 30})
    from muscle.predictions import read_run

    sides = [
        Run(name, read_run(frame).frame, facts(judge)) for name, judge in (("a", "judge-1"), ("b", "judge-2"))
    ]
    with pytest.raises(JoinError, match="--allow judge"):
        compare(*sides)
    assert compare(*sides, allow=["judge"]).to_json()["tasks"]
    same = Run("b", sides[1].frame, facts("judge-1"))
    assert compare(sides[0], same).to_json()["tasks"]
