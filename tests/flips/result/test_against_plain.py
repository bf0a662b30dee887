"""The verdict on a candidate holds it against the plain update, and says where it stands to the floor."""

import polars as pl
import pytest

from muscle import compare
from muscle.gate import gate
from muscle.gate.policy import Limit, Policy, Rules


def side(size, *, wrong=(), old_wrong=0, gained=0, tasks=("all",)):
    """Of each task, items of which the first `old_wrong` are hard: `gained` of those are right, `wrong` are not."""
    right = [number >= old_wrong or number < gained for number in range(size)]
    for number in wrong:
        right[number] = False
    rows = [
        {"task": task, "id": f"{task}{n}", "input": f"{task} {n}", "correct": right[n]}
        for task in tasks
        for n in range(size)
    ]
    return pl.DataFrame(rows)


SIZE, HARD = 4000, 1000
OLD = side(SIZE, old_wrong=HARD)
PLAIN = side(SIZE, old_wrong=HARD, gained=60, wrong=range(2000, 2002))


def first_reason(comparison):
    return next(reason for reason in comparison.report.reasons if "plain update" in reason)


def test_a_candidate_that_breaks_more_than_the_plain_update_beyond_chance_is_blocked():
    candidate = side(SIZE, old_wrong=HARD, gained=80, wrong=range(3000, 3014))
    assert compare(OLD, candidate).verdict == "pass"
    found = compare(OLD, PLAIN, candidate=candidate)
    assert found.verdict == "block"
    standing = found.report.tasks["all"].against_plain
    # One-sided exact McNemar of 14 flips that the candidate alone makes against 2 of the plain update alone.
    assert standing.more_flips_p == pytest.approx((1 + 16 + 120) / 2**16)
    assert (standing.flips, standing.accuracy) == ("more", "kept")
    assert "breaks more than the plain update: 14 negative flips, the plain update 2 (p = 0.0021)" in first_reason(
        found
    )


def test_more_flips_within_chance_pass_where_the_accuracy_is_kept():
    candidate = side(SIZE, old_wrong=HARD, gained=61, wrong=range(3000, 3003))
    found = compare(OLD, PLAIN, candidate=candidate)
    assert (found.verdict, found.report.tasks["all"].against_plain.flips) == ("pass", "cannot_tell")


def test_fewer_flips_are_said_with_their_p_value():
    plain = side(SIZE, old_wrong=HARD, gained=60, wrong=range(2000, 2012))
    found = compare(OLD, plain, candidate=side(SIZE, old_wrong=HARD, gained=60, wrong=range(2000, 2002)))
    standing = found.report.tasks["all"].against_plain
    assert (found.verdict, standing.flips) == ("pass", "fewer")
    assert standing.flips_p == pytest.approx(2 * 0.5**10)
    assert "against the plain update: 2 negative flips, the plain update 12 (p = 0.002)" in first_reason(found)


def test_a_loss_of_accuracy_to_the_plain_update_beyond_the_tolerance_is_blocked():
    plain = side(SIZE, old_wrong=HARD, gained=200)
    found = compare(OLD, plain, candidate=OLD)
    assert found.verdict == "block"
    assert "loses more than 1.0% to the plain update: accuracy -5.0 points" in first_reason(found)
    assert compare(OLD, OLD, candidate=OLD).verdict == "pass"


def test_a_loss_to_the_plain_update_that_cannot_be_excluded_is_not_let_pass():
    plain = side(SIZE, old_wrong=HARD, gained=40)
    found = compare(OLD, plain, candidate=OLD)
    assert (found.verdict, found.report.tasks["all"].against_plain.accuracy) == ("cannot_tell", "cannot_tell")
    assert "a loss of more than 1.0% to the plain update cannot be excluded" in first_reason(found)


def test_the_tests_of_several_tasks_are_taken_together():
    # 5 flips against none: p = 1/32 in one task, twice that after Holm in two.
    for tasks, word in ((("a",), "block"), (("a", "b"), "pass")):
        old = side(2000, tasks=tasks)
        found = compare(old, old, candidate=side(2000, wrong=range(5), tasks=tasks))
        against = found.report.tasks["a"].against_plain
        assert against.more_flips_p == pytest.approx(len(tasks) / 32)
        assert against.flips == ("more" if word == "block" else "cannot_tell")


def test_a_score_is_held_against_the_plain_updates_too():
    def scores(shift):
        level = [0.3 + 0.4 * (number * 37 % 100) / 100 for number in range(600)]
        moved = [value + shift * (1 + (number % 7) / 10) for number, value in enumerate(level)]
        return pl.DataFrame(
            {"id": [str(n) for n in range(600)], "input": [str(n) for n in range(600)], "score.f1": moved}
        )

    found = compare(scores(0.0), scores(0.05), candidate=scores(0.01))
    assert found.verdict == "block"
    assert "loses more than 1.0% of the score to the plain update: mean score -0.0" in first_reason(found)
    assert compare(scores(0.0), scores(0.01), candidate=scores(0.01)).verdict == "pass"


def test_answers_that_a_candidate_lacks_could_be_more_flips():
    lacking = PLAIN.with_columns(
        correct=pl.when(~pl.col("id").is_in([f"all{n}" for n in range(2000, 2012)])).then("correct")
    )
    found = compare(OLD, PLAIN, candidate=lacking)
    assert compare(OLD, lacking).verdict == "pass"
    assert found.verdict == "cannot_tell"
    assert "if they had broken" in found.report.reasons[0]
    assert compare(OLD, PLAIN, candidate=PLAIN).verdict == "pass"


@pytest.mark.parametrize(
    ("broken", "flips", "told"),
    [
        (40, "fewer", "below that floor"),
        (2, "cannot_tell", "not told from that floor"),
        (0, "cannot_tell", "not told from that floor"),
    ],
)
def test_the_floor_is_said_beside_what_is_judged(broken, flips, told):
    floor = side(SIZE, old_wrong=HARD, gained=40, wrong=range(3000, 3000 + broken))
    for given in ({"candidate": PLAIN}, {}):
        found = compare(OLD, PLAIN, floor=floor, **given)
        assert found.verdict == "pass"
        task = found.report.tasks["all"]
        assert task.against_floor.flips == flips
        assert (task.floor_effect.negative_flips_plain, task.floor_effect.negative_flips_candidate) == (broken, 2)
        assert any(f"breaks {broken}, this 2: {told}" in reason for reason in found.report.reasons)
        assert [other.name for other in found.report.others] == ["old retrained"]


def test_flips_above_the_floor_are_called_so():
    new = side(SIZE, old_wrong=HARD, gained=60, wrong=range(2000, 2020))
    assert compare(OLD, new, floor=OLD).report.tasks["all"].against_floor.flips == "more"


def test_a_gate_blocks_a_candidate_that_breaks_more_than_the_plain_update():
    candidate = side(SIZE, old_wrong=HARD, gained=80, wrong=range(3000, 3014))
    result = gate(OLD, PLAIN, candidate=candidate)
    assert (result.verdict, result.exit_code) == ("block", 1)
    finding = result.findings[0]
    assert finding.metric == "flips_above_plain"
    assert "the candidate breaks 14 of 4,000 items, the plain update 2" in finding.reason
    assert gate(OLD, candidate).verdict == "pass"


@pytest.mark.parametrize(("gained", "word"), [(200, "block"), (40, "cannot_tell"), (8, "pass")])
def test_a_gate_holds_a_candidates_accuracy_against_the_plain_updates(gained, word):
    result = gate(OLD, side(SIZE, old_wrong=HARD, gained=gained), candidate=OLD)
    found = {finding.metric: finding.verdict for finding in result.findings}
    assert (result.verdict, found["accuracy_below_plain"]) == (word, word)


def test_rules_against_the_plain_update_are_judged_of_a_candidate_alone():
    policy = Policy(default=Rules(harm="warn", accuracy_below_plain=Limit(limit=0.0)))
    assert [finding.metric for finding in gate(OLD, PLAIN, policy).findings] == ["harm"]


def test_a_slice_has_no_rule_against_the_plain_update(tmp_path):
    from muscle.errors import ConfigError
    from muscle.gate import load_policy

    path = tmp_path / "policy.yaml"
    path.write_text("version: 1\nslices:\n  - {slice: topic, flips_above_plain: block}\n")
    with pytest.raises(ConfigError, match=r"policy.yaml.*line 3.*flips_above_plain: expected it for tasks alone"):
        load_policy(path)
