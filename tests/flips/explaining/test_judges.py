import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.json_lines import write_lines
from muscle import CompareOptions, Run, compare
from muscle.errors import DataError, JoinError
from muscle.flips.explaining.judges import (
    JudgeErrors,
    corrected_difference,
    corrected_rate,
    ppi_difference,
    read_labels,
    rogan_gladen,
)
from muscle.flips.statistics.intervals import Estimate, newcombe_paired


def test_rogan_gladen_gives_the_known_answer() -> None:
    assert rogan_gladen(0.75, JudgeErrors(0.90, 0.85)) == pytest.approx(0.80)


@settings(max_examples=100, deadline=None)
@given(st.floats(0, 1), st.floats(0.51, 1), st.floats(0.5, 1))
def test_rogan_gladen_turns_a_judges_errors_back(truth: float, sensitivity: float, specificity: float) -> None:
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


@pytest.mark.parametrize("calibrated", [25, 60])
@pytest.mark.parametrize(("lost", "gained"), [(0.30, 0.02), (0.05, 0.05)])
def test_the_corrected_differences_interval_covers_the_truth(lost: float, gained: float, calibrated: int) -> None:
    draw = np.random.default_rng(4)
    q1, q0, n, rounds, covered = 0.9, 0.85, 10_000, 1_500, 0
    kinds = ((0.65 - lost, q1, q1), (lost, q1, 1 - q0), (gained, 1 - q0, q1), (0.35 - gained, 1 - q0, 1 - q0))
    cells = np.sum([p * np.array([o * w, o * (1 - w), (1 - o) * w, (1 - o) * (1 - w)]) for p, o, w in kinds], axis=0)
    for a, b, c, d in draw.multinomial(n, cells, rounds):
        rates = draw.binomial(calibrated, (q1, q0)) / calibrated
        value = Estimate.of((c - b) / n, newcombe_paired(a, b, c, d))
        found = corrected_difference(value, JudgeErrors(*rates, calibrated, calibrated))
        assert found.low is not None and found.high is not None
        covered += found.low <= gained - lost <= found.high
    # 93 to 97 % and three standard errors of the draws.
    assert 0.913 <= covered / rounds <= 0.985


def test_exact_errors_stretch_the_difference_and_few_answers_leave_it_open() -> None:
    judged = Estimate(-0.06, -0.09, -0.03)
    exact = corrected_difference(judged, JudgeErrors(0.9, 0.85))
    assert (exact.value, exact.low, exact.high) == pytest.approx((-0.08, -0.12, -0.04))
    measured = corrected_difference(judged, JudgeErrors(0.9, 0.85, 20, 20))
    assert measured.low is not None and measured.high is not None
    assert measured.low < -0.12 and -0.04 < measured.high < 0
    unknown = corrected_difference(judged, JudgeErrors(0.6, 0.6, 10, 10))
    assert (unknown.low, unknown.high) == (-1.0, 1.0) and "coin" in str(unknown.why)


def test_swapping_the_versions_turns_the_corrected_difference() -> None:
    judge = JudgeErrors(0.95, 0.8, 30, 40)
    for low, value, high in ((-0.2, -0.1, -0.02), (-0.05, 0.01, 0.08), (0.1, 0.3, 0.4)):
        found = corrected_difference(Estimate(value, low, high), judge)
        turned = corrected_difference(Estimate(-value, -high, -low), judge)
        assert turned.low is not None and turned.high is not None
        assert (found.low, found.high) == pytest.approx((-turned.high, -turned.low))


def test_the_corrected_rate_is_lang_and_reiczigels() -> None:
    # By hand, with z = 1.96: 20 of 80 positive, 38 of 40 and 57 of 60 in the calibration.
    found = corrected_rate(20, 80, JudgeErrors(38 / 40, 57 / 60, 40, 60))
    z, q1, q0 = 1.959963984540054, 39 / 42, 58 / 62
    p = (20 + z * z / 2) / (80 + z * z)
    middle = (p + q0 - 1) / (q0 + q1 - 1)
    right, wrong = q1 * (1 - q1) / 42, q0 * (1 - q0) / 62
    shift = 2 * z * z * (middle * right - (1 - middle) * wrong)
    half = z * math.sqrt(p * (1 - p) / (80 + z * z) + (1 - middle) ** 2 * wrong + middle**2 * right) / (q0 + q1 - 1)
    assert found.value == pytest.approx((0.25 + 0.95 - 1) / 0.9)
    assert (found.low, found.high) == pytest.approx((middle + shift - half, middle + shift + half))


def test_ppi_is_the_formula_by_hand() -> None:
    judged = np.array([1.0, 0, 0, -1, 0, 1, 0, 0, -1, 0])
    label, of_label = np.array([1.0, 0, -1, 0]), np.array([1.0, 0, 0, -1])
    # mean(all) = 0, var(all) = 0.4; rest = (0, 0, -1, 1): mean 0, sum of squares 2; cov(judged, rest) = -1 / 4; t(3) =
    # 3.1824.
    for binary, spread in ((False, 2 / 4), (True, 3 / 5)):
        found = ppi_difference(judged, label, of_label, binary=binary)
        half = 3.182446305284263 * math.sqrt(0.4 / 10 + spread / 3 - 2 * 0.25 / 10)
        assert found.value == pytest.approx(0.0)
        assert found.low == pytest.approx(-half) and found.high == pytest.approx(half)


def test_labels_of_all_items_leave_the_judge_no_say() -> None:
    draw = np.random.default_rng(2)
    truth, judged = draw.integers(-1, 2, 400).astype(float), draw.integers(-1, 2, 400).astype(float)
    found = ppi_difference(judged, truth, judged)
    assert found.value == pytest.approx(truth.mean()) and found.high is not None
    assert found.high - truth.mean() == pytest.approx(1.966 * truth.std() / 20, rel=5e-3)


def test_labels_that_never_contradict_the_judge_do_not_prove_it_right() -> None:
    draw = np.random.default_rng(3)
    covered = 0
    for _ in range(400):
        # The judge passes 8 % of the new version's wrong answers and none of the old one's; 40 labels mostly meet none
        # of them.
        truth = draw.random(4_000) < 0.6
        judged = (truth | (draw.random(4_000) < 0.08)).astype(float) - truth
        found = ppi_difference(judged, np.zeros(40), judged[:40], binary=True)
        assert found.low is not None and found.high is not None
        covered += found.low <= 0 <= found.high
    assert covered / 400 >= 0.93


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
    (task,) = compare(old, new, options=CompareOptions(human_labels=path)).to_json()["tasks"].values()
    found = task["judge"]["old_vs_new"]["labels"]
    assert (found["items"], found["labelled"], found["difference_judge"]) == (40, 24, 0.25)
    assert found["difference"]["value"] == pytest.approx(0.0)
    assert found["sensitivity"] == 1.0 and found["specificity"] == pytest.approx(0.75)


def test_labels_as_json_lines_with_words_and_tasks(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    rows = [{"task": "all", "id": str(n), "old": n % 2 == 0, "new": n % 2 == 0} for n in range(10)]
    write_lines(path, *rows)
    old, new = runs()
    (task,) = compare(old, new, options=CompareOptions(human_labels=path)).to_json()["tasks"].values()
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
    (task,) = compare(old, new, options=CompareOptions(judge_errors=JudgeErrors(0.9, 0.85))).to_json()["tasks"].values()
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

    sides = [Run(name, read_run(frame).frame, facts(judge)) for name, judge in (("a", "judge-1"), ("b", "judge-2"))]
    with pytest.raises(JoinError, match="--allow judge"):
        compare(*sides)
    assert compare(*sides, options=CompareOptions(allow=["judge"])).to_json()["tasks"]
    same = Run("b", sides[1].frame, facts("judge-1"))
    assert compare(sides[0], same).to_json()["tasks"]


def judged_runs(lost: int, gained: int, total: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    ids = [str(n) for n in range(total)]
    old = [n < total * 0.7 for n in range(total)]
    new = [n >= lost and right for n, right in enumerate(old)]
    new[total - gained :] = [True] * gained
    return pl.DataFrame({"id": ids, "correct": old}), pl.DataFrame({"id": ids, "correct": new})


def test_harm_by_a_judge_that_may_be_no_better_than_a_coin_cannot_be_told() -> None:
    old, new = judged_runs(40, 10, 400)
    assert compare(old, new).to_json()["verdict"] == "block"
    sure = compare(old, new, options=CompareOptions(judge_errors=JudgeErrors(0.9, 0.85, 200, 200))).to_json()
    assert sure["verdict"] == "block" and "corrected by its known errors" in sure["reasons"][0]
    unsure = compare(old, new, options=CompareOptions(judge_errors=JudgeErrors(0.65, 0.6, 10, 10))).to_json()
    assert unsure["verdict"] == "cannot_tell" and "no better than a coin" in unsure["reasons"][0]


def test_a_pass_by_a_poor_judge_needs_the_corrected_difference_to_exclude_a_loss() -> None:
    old, new = judged_runs(0, 0, 2_000)
    assert compare(old, new).to_json()["verdict"] == "pass"
    old, new = judged_runs(8, 0, 2_000)
    assert compare(old, new, options=CompareOptions(tolerance=0.01)).to_json()["verdict"] == "block"
    old, new = judged_runs(8, 3, 2_000)
    assert compare(old, new, options=CompareOptions(tolerance=0.01)).to_json()["verdict"] == "pass"
    poor = compare(
        old, new, options=CompareOptions(tolerance=0.01, judge_errors=JudgeErrors(0.7, 0.6, 60, 60))
    ).to_json()
    assert poor["verdict"] == "cannot_tell" and "does not exclude a loss" in poor["reasons"][0]


@pytest.mark.parametrize(("seen", "verdict"), [(True, "block"), (False, "cannot_tell")])
def test_labels_decide_over_what_the_judge_counted(tmp_path: Path, seen: bool, verdict: str) -> None:
    old, new = judged_runs(40, 10, 400)
    path = tmp_path / "labels.csv"
    lines = [f"{n},{int(n % 10 < 7)},{int(n % 10 < 7)}" for n in range(0, 400, 2)]
    if seen:  # People see the loss that the judge does not.
        old, new = judged_runs(0, 0, 400)
        lines = [f"{n},1,{int(n % 10 > 2)}" for n in range(0, 400, 2)]
    path.write_text("id,old,new\n" + "\n".join(lines) + "\n")
    report = compare(old, new, options=CompareOptions(human_labels=path)).to_json()
    assert report["verdict"] == verdict and "people's labels" in report["reasons"][0]
