"""Verdicts item by item: tests against scipy and published counts, the permutation null, and the report's entries."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muscle import CompareOptions, compare, read_run
from muscle.errors import ConfigError
from muscle.flips.noise.item_null import permutation_null
from muscle.flips.noise.item_verdicts import VERDICTS, Moments, item_verdicts, welch_verdicts
from muscle.flips.statistics.exact_tests import boschloo_table, fisher_table
from muscle.flips.statistics.intervals import newcombe_of_items
from muscle.flips.statistics.multiplicity import benjamini_hochberg, discoveries


def answers(passed: list[int], num: int, **columns: list[str]) -> pl.DataFrame:
    """A run in which item i is right in its first `passed[i]` of `num` answers."""
    rows = [(i, r) for i in range(len(passed)) for r in range(num)]
    return pl.DataFrame(
        {
            "id": [str(i) for i, _ in rows],
            "task": ["t"] * len(rows),
            "repeat": [r for _, r in rows],
            "correct": [r < passed[i] for i, r in rows],
            "output": [f"answer {r < passed[i]}" for i, r in rows],
            **{name: [values[i] for i, _ in rows] for name, values in columns.items()},
        }
    )


def words(old: list[int], new: list[int], num: int, **options: float) -> list[str]:
    k = np.full(len(old), num)
    found = item_verdicts(np.array(old), k, np.array(new), k, **options)  # type: ignore[arg-type]
    return [VERDICTS[code] for code in found.codes]


@pytest.mark.parametrize(
    ("num", "old", "new", "p"),
    [
        (50, 50, 44, 0.02666),
        (50, 50, 45, 0.05628),
        (50, 25, 35, 0.06558),
        (50, 25, 36, 0.03970),
        (50, 50, 40, 0.001187),
        (3, 3, 0, 0.1),
        (5, 5, 0, 0.00794),
        (10, 10, 0, 1.08e-5),
    ],
)
def test_fishers_p_values_are_the_known_ones(num: int, old: int, new: int, p: float) -> None:
    assert fisher_table(num, num)[old, new] == pytest.approx(p, rel=3e-3)


@given(st.integers(1, 40), st.integers(1, 40), st.data())
@settings(max_examples=60, deadline=None)
def test_fishers_table_is_scipys_for_unequal_numbers_of_answers(a: int, b: int, data: st.DataObject) -> None:
    from scipy.stats import fisher_exact

    x, y = data.draw(st.integers(0, a)), data.draw(st.integers(0, b))
    assert fisher_table(a, b)[x, y] == pytest.approx(fisher_exact([[x, a - x], [y, b - y]]).pvalue, abs=1e-9)


def test_boschloos_test_is_scipys_and_finds_more() -> None:
    assert boschloo_table(10, 10)[10, 5] == pytest.approx(0.0127792, rel=1e-3)
    assert fisher_table(10, 10)[10, 5] == pytest.approx(0.0325, rel=2e-3)
    assert (boschloo_table(9, 9) <= fisher_table(9, 9) + 1e-9).all()


def test_the_interval_is_newcombes() -> None:
    low, high = newcombe_of_items(np.array([56]), np.array([70]), np.array([48]), np.array([80]))
    assert (-high[0], -low[0]) == pytest.approx((0.0524, 0.3339), abs=1e-4)


def test_an_item_is_regressed_improved_equivalent_or_cannot_tell() -> None:
    assert words([50, 2, 50, 25], [20, 40, 50, 30], 50) == [
        "regressed",
        "improved",
        "equivalent",
        "cannot_tell",
    ]


def test_a_significant_change_below_the_threshold_is_no_regression() -> None:
    assert words([50], [43], 50) == ["cannot_tell"]
    assert words([50], [43], 50, epsilon=0.1) == ["regressed"]


def test_a_change_of_exactly_the_threshold_counts() -> None:
    assert words([50], [40], 50) == ["regressed"]


def test_a_single_answer_a_side_can_never_tell() -> None:
    assert set(words([1] * 300, [0] * 300, 1)) == {"cannot_tell"}


def test_a_full_flip_needs_more_answers_among_more_items() -> None:
    def survives(items: int, num: int) -> bool:
        return words([num] * items, [0] + [num] * (items - 1), num)[0] == "regressed"

    assert survives(300, 8) and not survives(300, 7)
    assert survives(1000, 9) and not survives(1000, 8)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_discoveries_are_benjamini_and_hochbergs(p_values: list[float]) -> None:
    expected = [adjusted <= 0.05 * (1 + 1e-12) for adjusted in benjamini_hochberg(p_values)]
    close = [abs(adjusted - 0.05) < 1e-9 for adjusted in benjamini_hochberg(p_values)]
    found = discoveries(np.array(p_values)).tolist()
    assert all(a == b or c for a, b, c in zip(found, expected, close, strict=True))


def test_each_family_holds_its_own_rate() -> None:
    p_values = np.array([0.04, 0.04, 0.9, 0.9, 0.9])
    assert not discoveries(p_values).any()
    assert discoveries(p_values, np.array([0, 0, 1, 1, 1])).tolist() == [True, True, False, False, False]


def test_the_null_agrees_with_relabelling_answer_by_answer() -> None:
    generator = np.random.default_rng(3)
    old = generator.binomial(12, 0.5, 25)
    new = generator.binomial(12, 0.5, 25)
    k = np.full(25, 12)
    fast = permutation_null(old + new, k, k, replicates=4_000, seed=1, rate=0.5)
    slow = []
    for _ in range(4_000):
        drawn = generator.hypergeometric(old + new, 24 - old - new, 12)
        judged = item_verdicts(drawn, k, old + new - drawn, k, rate=0.5)
        slow.append(np.isin(judged.codes, (0, 1)).mean())
    assert fast.shares.mean() == pytest.approx(np.mean(slow), abs=0.004)
    assert (fast.shares > 0).mean() == pytest.approx((np.array(slow) > 0).mean(), abs=0.03)


def test_without_change_the_null_is_zero_at_fifty_answers_as_published() -> None:
    generator = np.random.default_rng(0)
    p = generator.beta(0.6, 0.4, 500)
    k = np.full(500, 50)
    null = permutation_null(generator.binomial(50, p) + generator.binomial(50, p), k, k)
    assert null.null95 == 0.0
    assert null.p_value(0.12) == pytest.approx(1 / 1001)


def test_the_same_seed_gives_the_same_null_and_items_of_unequal_answers_are_taken() -> None:
    right, old, new = np.array([3, 9, 5]), np.array([5, 8, 2]), np.array([4, 6, 5])
    first, second = (permutation_null(right, old, new, seed=4, replicates=50) for _ in range(2))
    assert (first.shares == second.shares).all()


def test_published_counts_add_up_to_the_published_shares() -> None:
    """Xu and Wu 2026, table 1: counts of items behind the shares, and the changes of accuracy behind table E.8."""
    changed = {"SuperGPQA": (500, 66, 60, 78), "Omni": (100, 23, 24, 15), "IFBench": (300, 59, 60, 72)}
    published = {"SuperGPQA": (13.2, 12.0, 15.6), "Omni": (23.0, 24.0, 15.0), "IFBench": (19.7, 20.0, 24.0)}
    for name, (items, *counts) in changed.items():
        assert [round(100 * count / items, 1) for count in counts] == list(published[name])
    assert sum(sum(counts) for _, *counts in changed.values()) == 457 == 255 + 202
    right = {"SuperGPQA": (15841, 16424, 16780), "Omni": (2285, 2648, 2445), "IFBench": (9418, 9696, 9111)}
    answered = {"SuperGPQA": 25_000, "Omni": 5_000, "IFBench": 15_000}
    deltas = {"SuperGPQA": (2.3, 1.4), "Omni": (7.3, -4.1), "IFBench": (1.9, -3.9)}
    for name, (first, second, third) in right.items():
        found = [round(100 * (b - a) / answered[name], 1) for a, b in ((first, second), (second, third))]
        assert found == list(deltas[name])


def test_single_draws_miss_most_true_regressions_as_published() -> None:
    """Xu and Wu 2026, table B.4: rows improved, regressed, equivalent, inconclusive; columns I to C, C to I, same."""
    table = np.array([[120, 8, 127], [10, 87, 105], [25, 26, 1817], [66, 54, 255]])
    assert table.sum() == 2_700
    assert 1 - table[1, 1] / table[1].sum() == pytest.approx(0.57, abs=0.005)
    assert table[1, 1] / table[:, 1].sum() == pytest.approx(0.50, abs=0.005)


def test_scores_are_judged_by_welch_and_never_surer_than_relabelling() -> None:
    generator = np.random.default_rng(0)
    old, new = generator.normal(0.5, 0.1, (3, 20)), generator.normal(0.5, 0.1, (3, 20))
    new[0] -= 0.3
    sides = [Moments(np.full(3, 20), x.mean(axis=1), x.var(axis=1, ddof=1)) for x in (old, new)]
    judged = welch_verdicts(sides[0], sides[1], epsilon=0.2)
    assert [VERDICTS[code] for code in judged.codes] == ["regressed", "equivalent", "equivalent"]
    from scipy.stats import ttest_ind

    assert judged.p_values == pytest.approx(ttest_ind(old, new, axis=1, equal_var=False).pvalue, rel=1e-6, abs=1e-11)
    twice = Moments(np.array([2]), np.array([1.0]), np.array([0.0]))
    zero = Moments(np.array([2]), np.array([0.0]), np.array([0.0]))
    assert welch_verdicts(twice, zero, epsilon=0.0).p_values[0] == pytest.approx(1 / 3)


def test_the_report_has_the_shares_of_items_with_intervals_and_the_null() -> None:
    report = compare(answers([10] * 40, 10), answers([0] * 4 + [10] * 36, 10)).to_json()
    items = report["tasks"]["t"]["old_vs_new"]["items"]
    assert items["regressed"]["value"] == 0.1
    assert items["regressed"]["low"] < 0.1 < items["regressed"]["high"]
    assert sum(items[word]["value"] for word in VERDICTS) == pytest.approx(1)
    assert items["null95"]["value"] == 0.0 and items["null95"]["low"] is None
    assert report["tasks"]["t"]["repeats"] == {"old": 10, "new": 10, "candidate": None}


def test_without_repeats_there_are_no_verdicts_on_items() -> None:
    metrics = compare(answers([1] * 40, 1), answers([0] * 40, 1)).to_json()["tasks"]["t"]["old_vs_new"]
    assert "items" not in metrics


def test_a_regressed_item_stands_once_in_the_list_with_all_its_answers() -> None:
    report = compare(answers([10] * 40, 10), answers([1] + [10] * 39, 10)).to_json()
    (flip,) = report["flips"]
    assert flip["verdict"] == "regressed" and flip["kind"] == "negative_flip"
    assert flip["pass_rate"] == {"old": 1.0, "new": 0.1, "candidate": None}
    assert flip["p_value"] == pytest.approx(fisher_table(10, 10)[10, 1])
    assert [answer["correct"] for answer in flip["repeats"]["new"]] == [True] + [False] * 9
    assert flip["repeats"]["candidate"] is None and flip["size"] == pytest.approx(0.9)


def test_runs_that_asked_unequally_often_are_compared_by_all_their_answers() -> None:
    report = compare(answers([8] * 30, 8), answers([5] * 30, 20)).to_json()
    task = report["tasks"]["t"]
    assert task["repeats"] == {"old": 8, "new": 20, "candidate": None}
    everything = task["old_vs_new"]["all_answers"]
    assert everything["pass_rate_old"]["value"] == 1.0 and everything["pass_rate_new"]["value"] == 0.25
    assert task["old_vs_new"]["items"]["regressed"]["value"] == 1.0
    assert report["join"]["surplus_repeats"] == 30 * 12 and report["join"]["only_new"] == 0


def test_items_of_one_run_may_have_unequal_numbers_of_answers() -> None:
    old = answers([10] * 20, 10)
    ragged = old.filter((pl.col("repeat") < 4) | (pl.col("id") == "0"))
    report = compare(ragged, old).to_json()
    assert report["join"]["only_new"] == report["join"]["only_old"] == 0
    assert report["join"]["surplus_repeats"] == 19 * 6


def test_the_false_discovery_rate_can_be_held_in_each_slice() -> None:
    columns = {"slice.part": ["a"] * 2 + ["b"] * 298}
    old, new = answers([6] * 300, 6, **columns), answers([0] * 2 + [6] * 298, 6, **columns)
    task = compare(old, new).to_json()["tasks"]["t"]["old_vs_new"]
    apart = compare(old, new, options=CompareOptions(item_family="part")).to_json()["tasks"]["t"]["old_vs_new"]
    assert task["items"]["regressed"]["value"] == 0.0
    assert apart["items"]["regressed"]["value"] == pytest.approx(2 / 300)


def test_a_threshold_outside_of_zero_and_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="epsilon_item"):
        compare(answers([1], 2), answers([1], 2), options=CompareOptions(epsilon_item=2.0))


def test_repeats_of_a_score_have_verdicts_and_say_why_there_is_no_null() -> None:
    generator = np.random.default_rng(1)
    rows = answers([8] * 30, 8).drop("correct", "output")
    old = rows.with_columns(score=pl.Series(generator.normal(0.6, 0.01, rows.height)))
    new = rows.with_columns(score=old["score"] - (rows["id"] == "0").cast(pl.Float64) * 0.5)
    items = compare(old, new, options=CompareOptions(epsilon=0.05)).to_json()["tasks"]["t"]["old_vs_new"]["items"]
    assert items["regressed"]["value"] == pytest.approx(1 / 30)
    assert items["equivalent"]["value"] == pytest.approx(29 / 30)
    assert items["null95"]["value"] is None and "relabelling" in items["null95"]["why"]


def test_the_same_prompt_again_in_a_csv_of_scores_is_another_answer(tmp_path: object) -> None:
    path = pytest.importorskip("pathlib").Path(str(tmp_path)) / "run.csv"
    path.write_text("prompt_id,score\na,1\nb,0\na,0\nb,1\n")
    frame = read_run(path).frame.sort("id", "repeat")
    assert frame["repeat"].to_list() == [0, 1, 0, 1]
    assert frame["correct"].to_list() == [True, False, False, True]
