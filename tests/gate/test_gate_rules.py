from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import optimize, stats

from helpers.places import EXAMPLES
from muscle import CompareOptions
from muscle.errors import ConfigError
from muscle.flips.measuring.metrics import Quadrants
from muscle.flips.measuring.tally import Spread, Tally, spread_of_groups, tally_of_counts
from muscle.flips.statistics.intervals import mcnemar
from muscle.gate.evidence import at_least, gather, score_bounds, score_statistic
from muscle.gate.judge import Finding, Subject, judge, overall
from muscle.gate.output import figures
from muscle.gate.policy import DEFAULT_POLICY, Policy, Rules, load_policy

POLICIES = EXAMPLES / "policies"


def counts(both: int, lost: int, gained: int, neither: int, *, other_wrong: int | None = None) -> Tally:
    """A tally from the four quadrants; of the items wrong in both, some may have gone from one answer to another."""
    moved = other_wrong or 0
    cells = np.array([neither - moved, moved, gained, 0, lost, 0, both, 0])
    return tally_of_counts(Quadrants(cells, answers_known=other_wrong is not None))


def judged(tally: Tally | None, *, alpha: float = 0.05, min_items: int = 100, **rules: Any) -> list[Finding]:
    return judge([Subject("t", None, tally, None, Rules.model_validate(rules), min_items)], alpha=alpha)


def only(tally: Tally | None, **rules: Any) -> Finding:
    (finding,) = judged(tally, **rules)
    return finding


def write(folder: Path, text: str) -> Path:
    path = folder / "policy.yaml"
    path.write_text(text)
    return path


# Limits


def test_no_flip_in_300_items_proves_one_percent_and_in_298_does_not() -> None:
    assert only(counts(200, 0, 0, 100), negative_flip_rate=0.01).verdict == "pass"
    short = only(counts(198, 0, 0, 100), negative_flip_rate=0.01)
    assert (short.outcome, short.verdict) == ("undecided", "cannot_tell")


def test_a_limit_is_broken_only_where_the_items_prove_it() -> None:
    assert only(counts(700, 40, 40, 220), negative_flip_rate=0.02).verdict == "block"
    assert only(counts(715, 25, 40, 220), negative_flip_rate=0.02).verdict == "cannot_tell"


def test_a_value_just_above_its_limit_is_written_with_the_digits_that_show_it() -> None:
    finding = only(counts(7148, 252, 400, 2200), negative_flip_rate={"limit": 0.025199, "test": "point"})
    assert "2.52% is above the limit 2.5199%" in finding.reason
    finding = only(counts(714796, 25204, 40000, 220000), negative_flip_rate={"limit": 0.0252, "test": "point"})
    assert "2.5204% is above the limit 2.52%" in finding.reason


def test_a_point_limit_looks_at_the_bare_number() -> None:
    rule = {"limit": 0.02, "test": "point"}
    assert only(counts(715, 25, 40, 220), negative_flip_rate=rule).verdict == "block"
    assert only(counts(720, 20, 40, 220), negative_flip_rate=rule).verdict == "pass"


def test_a_point_limit_says_nothing_of_few_items() -> None:
    finding = only(counts(30, 10, 0, 10), negative_flip_rate={"limit": 0.02, "test": "point"})
    assert finding.verdict == "cannot_tell" and "50 items are fewer than the 100" in finding.reason


def test_few_items_can_prove_a_breach_but_not_that_a_rule_holds() -> None:
    assert only(counts(30, 20, 0, 10), harm="block").verdict == "block"
    assert only(counts(50, 0, 0, 10), harm="block").verdict == "cannot_tell"


def test_a_tier_decides_what_a_breach_leads_to() -> None:
    broken = counts(700, 40, 40, 220)
    for tier in ("block", "warn", "inform"):
        finding = only(broken, negative_flip_rate={"limit": 0.01, "tier": tier})
        assert (finding.outcome, finding.verdict) == ("broken", tier)


def test_what_cannot_be_told_stops_only_a_blocking_rule() -> None:
    unclear = counts(715, 25, 40, 220)
    assert only(unclear, negative_flip_rate={"limit": 0.02, "tier": "warn"}).verdict == "inform"


def test_harm_is_mcnemars_one_sided_test() -> None:
    finding = only(counts(700, 40, 20, 240), harm="block")
    assert finding.p == mcnemar(40, 20).harm and finding.verdict == "block"
    assert only(counts(700, 40, 38, 222), harm="block").verdict == "pass"


def test_inconsistency_counts_wrong_answers_that_became_other_wrong_ones() -> None:
    finding = only(counts(700, 10, 10, 280, other_wrong=60), inconsistency_rate=0.05)
    assert finding.value == 0.07 and finding.verdict == "block"


def test_inconsistency_without_answers_cannot_be_told() -> None:
    finding = only(counts(700, 10, 10, 280), inconsistency_rate=0.05)
    assert finding.verdict == "cannot_tell" and "no answers to compare" in finding.reason


def test_a_task_without_items_cannot_be_told() -> None:
    assert only(None, harm="block").verdict == "cannot_tell"


def test_noise_without_a_second_run_cannot_be_told_and_says_what_is_missing() -> None:
    finding = only(counts(700, 10, 10, 280), excess_negative_flip_rate=0.05)
    assert finding.verdict == "cannot_tell" and "run the old model once more (--rerun FILE)" in finding.reason


def test_the_worst_finding_decides() -> None:
    block, unclear = counts(700, 40, 10, 250), counts(715, 25, 40, 220)
    rules = {"harm": "warn", "negative_flip_rate": 0.02}
    assert overall(judged(block, **rules)) == "block"
    assert overall(judged(unclear, **rules)) == "cannot_tell"
    assert overall(judged(block, harm="warn")) == "warn"
    assert overall(judged(unclear, harm="block")) == "pass"
    assert overall([]) == "cannot_tell"


def test_many_tasks_that_change_nothing_are_corrected_for() -> None:
    near = counts(700, 32, 18, 250)
    alone = judge([Subject("t", None, near, None, Rules.model_validate({"harm": "block"}), 100)], alpha=0.05)
    assert alone[0].verdict == "block"
    quiet = counts(740, 10, 10, 240)
    rules = Rules.model_validate({"harm": "block"})
    tasks = [Subject(f"t{n}", None, near if n == 0 else quiet, None, rules, 100) for n in range(20)]
    first = next(f for f in judge(tasks, alpha=0.05) if f.task == "t0")
    assert first.verdict == "pass" and first.p == pytest.approx(20 * mcnemar(32, 18).harm)


def test_harm_and_a_drop_beyond_a_limit_are_corrected_for_once() -> None:
    near = counts(700, 30, 18, 252)
    findings = judged(near, harm="block", accuracy_drop=0.02)
    assert next(f for f in findings if f.metric == "harm").p == mcnemar(30, 18).harm


def test_the_default_policy_blocks_one_in_twenty_updates_that_change_nothing() -> None:
    generator = np.random.default_rng(0)
    flips = generator.multinomial(2_000, [0.72, 0.03, 0.03, 0.22], 400)
    policy = DEFAULT_POLICY
    blocked = 0
    for both, lost, gained, neither in flips:
        subject = Subject(
            "t", None, counts(both, lost, gained, neither), None, policy.rules_for("t", "binary"), policy.min_items
        )
        blocked += overall(judge([subject], alpha=policy.alpha)) == "block"
    assert blocked <= 30  # 5 % of 400 is 20; above 30 has probability 0.01


# The statistics beneath


def test_the_score_statistic_is_mcnemars_without_a_fall() -> None:
    assert score_statistic(20, 5, 1_000, 0.0) == pytest.approx(15 / math.sqrt(25))


@pytest.mark.parametrize(("lost", "gained", "fall"), [(12, 3, 0.02), (5, 9, 0.01), (7, 0, 0.005), (0, 4, -0.01)])
def test_the_score_statistic_takes_the_likeliest_flips_under_the_fall(lost: int, gained: int, fall: float) -> None:
    total = 200

    def loss(q: float) -> float:
        cells = [(lost, q + fall), (gained, q), (total - lost - gained, 1 - 2 * q - fall)]
        return -sum(n * math.log(max(p, 1e-300)) for n, p in cells if n)

    found = optimize.minimize_scalar(
        loss, bounds=(max(0.0, -fall), (1 - fall) / 2), method="bounded", options={"xatol": 1e-12}
    )
    q = float(found.x)
    expected = (lost - gained - total * fall) / math.sqrt(total * (2 * q + fall * (1 - fall)))
    assert score_statistic(lost, gained, total, fall) == pytest.approx(expected, rel=1e-4)


def test_the_bounds_of_a_fall_hold_the_truth_as_often_as_they_say() -> None:
    generator = np.random.default_rng(1)
    for total, lost, gained in ((300, 0.03, 0.02), (2_000, 0.04, 0.01)):
        draws = generator.multinomial(total, [lost, gained, 1 - lost - gained], 1_500)
        above = below = 0
        for b, c, _ in draws:
            low, high = score_bounds(int(b), int(c), total, alpha=0.05)
            above, below = above + (high < lost - gained), below + (low > lost - gained)
        assert 0.03 < above / 1_500 < 0.07 and 0.03 < below / 1_500 < 0.07


def test_with_no_flip_at_all_a_fall_still_has_bounds() -> None:
    low, high = score_bounds(0, 0, 100, alpha=0.05)
    assert -0.03 < low < 0 < high < 0.03


def test_the_test_of_a_rate_is_the_exact_binomial() -> None:
    assert at_least(7, 100, 0.03) == pytest.approx(stats.binom.sf(6, 100, 0.03))
    assert at_least(0, 100, 0.03) == 1.0


def test_the_bounds_of_a_rate_agree_with_its_test() -> None:
    evidence = gather("negative_flip_rate", counts(500, 30, 10, 60), limit=0.03, alpha=0.05)
    assert evidence.low is not None and at_least(30, 600, evidence.low) == pytest.approx(0.05)


# Policies


def test_the_default_policy_is_the_one_in_the_examples() -> None:
    assert load_policy(POLICIES / "default.yaml") == DEFAULT_POLICY


@pytest.mark.parametrize("path", sorted(POLICIES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_example_is_valid(path: Path) -> None:
    assert load_policy(path).name == path.stem


def test_a_tasks_rules_replace_the_defaults_one_by_one(tmp_path: Path) -> None:
    policy = load_policy(POLICIES / "tasks-and-slices.yaml")
    piqa, mmlu, other = (policy.rules_for(name, "binary") for name in ("piqa", "mmlu_law", "gsm8k"))
    assert piqa.negative_flip_rate is not None and piqa.negative_flip_rate.limit == 0.02
    assert piqa.harm is not None and piqa.harm.tier == "warn"
    assert mmlu.negative_flip_rate is None and mmlu.harm is not None and mmlu.harm.tier == "block"
    assert other == policy.default.with_limits(policy.tolerance)


def test_a_rule_without_a_limit_takes_the_tolerance_which_is_that_of_compare(tmp_path: Path) -> None:
    policy = load_policy(write(tmp_path, "tolerance: 0.03\ndefault: {accuracy_drop: block, negative_flip_rate: 0.1}"))
    rules = policy.rules_for("any", "binary")
    assert rules.accuracy_drop is not None and rules.negative_flip_rate is not None
    assert (rules.accuracy_drop.limit, rules.negative_flip_rate.limit) == (0.03, 0.1)
    assert DEFAULT_POLICY.tolerance == CompareOptions().tolerance
    for kind in ("binary", "continuous"):
        drop = DEFAULT_POLICY.rules_for("any", kind).accuracy_drop
        assert drop is not None and drop.limit == CompareOptions().tolerance


def test_a_slices_rule_without_a_limit_takes_the_tolerance_too(tmp_path: Path) -> None:
    policy = load_policy(write(tmp_path, "tolerance: 0.03\nslices:\n  - {slice: topic, negative_flip_rate: warn}"))
    (rules,) = policy.rules_for_slices()
    assert rules.slice == "topic" and rules.negative_flip_rate is not None and rules.negative_flip_rate.limit == 0.03


def test_tasks_with_a_score_have_rules_of_their_own() -> None:
    assert DEFAULT_POLICY.rules_for("samsum", "continuous").negative_flip_rate is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("defualt: {}", r"line 1: defualt: unknown key; did you mean 'default'\?"),
        (
            "version: 1\ndefault:\n  negative_flip_rate:\n    limt: 0.1\n    limit: 0.1",
            r"line 4: default.negative_flip_rate.limt: unknown key; did you mean 'limit'\?",
        ),
        (
            "tasks:\n  piqa:\n    nfr: 0.1",
            r"line 3: tasks.piqa.nfr: unknown key; expected one of harm, .*negative_flip_rate",
        ),
        ("default: {accuracy_drop: {tier: stop}}", r"accuracy_drop.tier: expected 'block', 'warn' or 'inform'"),
        ("tolerance: 2", r"tolerance: expected less than or equal to 1, found 2"),
        ("default: {accuracy_drop: 5}", r"accuracy_drop.limit: expected less than or equal to 1, found 5"),
        ("default: {accuracy_drop: .nan}", r"accuracy_drop.limit: expected a finite number, found nan"),
        (
            "default: {accuracy_drop: '2%'}",
            r"default.accuracy_drop: expected a limit such as 0.02, found '2%'",
        ),
        ("default: {harm: stop}", r"default.harm.tier: expected 'block', 'warn' or 'inform', found 'stop'"),
        ("slices:\n  - {harm: block}", r"line 2: slices.0.slice: missing"),
        ("slices:\n  - {slice: '/(/', harm: block}", r"slices.0.slice: .*expected a regular expression"),
        ("slices: [{slice: a, value: yes, harm: block}]", r"slices.0.value: .*put the value in quotes"),
        ("alpha: 0.9", r"alpha: expected less than or equal to 0.5, found 0.9"),
        ("version: 2", r"version: expected 1, found 2"),
        ("- a", r"expected a policy with keys such as `default`, found a list"),
        ("", r"expected a policy with keys such as `default`, found nothing"),
        ("a: [", r"line 1: not valid YAML:"),
        (
            "default: {}\ndefault: {harm: block}",
            r"line 2: not valid YAML: the key 'default' stands twice",
        ),
    ],
)
def test_a_policy_that_is_wrong_is_refused_with_its_line_and_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_policy(write(tmp_path, text))
    assert "policy.yaml" in str(caught.value) and "\n" not in str(caught.value)


def test_a_policy_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: there is no such file"):
        load_policy(tmp_path / "none.yaml")


def test_a_policy_without_rules_says_so_by_its_verdict() -> None:
    policy = Policy.model_validate({"default": {}})
    assert judge([Subject("t", None, counts(9, 0, 0, 1), None, policy.default, 100)], alpha=0.05) == []


# Groups of items, and scores


def grouped(negative: list[int], positive: list[int], size: int) -> Tally:
    """A tally of groups of so many items each, all others right in both."""
    lost, gained = np.array(negative), np.array(positive)
    cells = np.zeros((lost.size, 8), dtype=np.int64)
    cells[:, 4], cells[:, 2], cells[:, 6] = lost, gained, size - lost - gained
    spread = spread_of_groups((gained - lost).astype(float), np.full(lost.size, size))
    whole = Quadrants(cells.sum(axis=0), answers_known=False, clusters=cells)
    return Tally("binary", whole, 0.9, 0.9, spread, np.arange(lost.size))


def test_four_groups_of_items_cannot_prove_no_harm_and_five_can_prove_harm() -> None:
    few = only(grouped([40, 30, 50, 20], [0, 0, 0, 0], 100), harm="block")
    assert (few.outcome, few.verdict) == ("undecided", "cannot_tell") and "it takes 5" in few.reason
    assert only(grouped([0] * 4, [0] * 4, 100), harm="block").verdict == "cannot_tell"
    assert only(grouped([40, 30, 50, 20, 9], [0] * 5, 100), harm="block").verdict == "block"
    assert only(grouped([0] * 5, [0] * 5, 100), harm="block").verdict == "pass"


def test_groups_that_did_not_move_prove_no_more_than_as_many_items() -> None:
    assert only(grouped([0] * 60, [0] * 60, 10), accuracy_drop=0.01).verdict == "cannot_tell"
    assert only(grouped([0] * 400, [0] * 400, 10), accuracy_drop=0.01).verdict == "pass"
    assert only(grouped([0] * 60, [0] * 60, 10), negative_flip_rate=0.01).verdict == "cannot_tell"


def test_a_score_that_hardly_moved_proves_a_drop_by_as_many_items_as_it_takes() -> None:
    def still(total: int) -> Tally:
        cells = np.zeros(8, dtype=np.int64)
        cells[0] = total
        return Tally("continuous", Quadrants(cells, answers_known=False), 2.5, 2.5, Spread(0.0, 0.0, total - 1))

    assert only(still(150), accuracy_drop=0.01).verdict == "cannot_tell"
    assert only(still(400), accuracy_drop=0.01).verdict == "pass"


def test_the_harm_of_a_score_is_written_in_its_unit() -> None:
    cells = np.zeros(8, dtype=np.int64)
    cells[4], cells[2] = 180, 20
    tally = Tally("continuous", Quadrants(cells, answers_known=False), 3.0, 2.5, Spread(-0.5123, 0.05, 199))
    finding = only(tally, harm="block")
    assert (finding.verdict, finding.unit) == ("block", "score") and "moved by -0.5123" in finding.reason
    assert figures(finding).startswith("0.5123") and "%" not in figures(finding)
    assert only(counts(500, 90, 10, 100), harm="block").unit == "share"
