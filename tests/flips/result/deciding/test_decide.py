"""What to do: the recommendation never says more than the verdict proves, and what is missing never betters it."""

import polars as pl
import pytest

from muscle import CompareOptions, compare
from muscle.flips.result.finding import EXIT_CODES
from muscle.flips.statistics.intervals import lower_bound, upper_bound
from muscle.flips.statistics.power import items_to_prove, items_to_tell
from muscle.gate import gate
from muscle.gate.policy import Policy, Rules


def run(right, *, name=None, task="all"):
    rows = [
        {"task": task, "id": f"{task}{n}", "input": f"{task} question {n}", "correct": each}
        for n, each in enumerate(right)
    ]
    return pl.DataFrame(rows, schema={"task": pl.String, "id": pl.String, "input": pl.String, "correct": pl.Boolean})


def answers(size, *, old_wrong=0, gained=0, broken=0, at=0):
    """Right answers but for the first `old_wrong`, of which `gained` are right now; from `old_wrong + at` on broken."""
    right = [n >= old_wrong or n < gained for n in range(size)]
    for n in range(old_wrong + at, old_wrong + at + broken):
        right[n] = False
    return right


OLD = run(answers(3000, old_wrong=450))
PLAIN = run(answers(3000, old_wrong=450, gained=153, broken=180))
CANDIDATE = run(answers(3000, old_wrong=450, gained=153, broken=47))


def decided(*runs, **options):
    return compare(*runs, **options).report.decision


def test_a_clean_update_is_to_be_shipped():
    found = decided(OLD, run(answers(3000, old_wrong=450, gained=60, broken=6)))
    assert (found.advice, found.more_items) == ("ship", None)
    assert found.sentence == (
        "Ship the update: it breaks 6 of 3,000 answers (0.2%) and mends 60, accuracy 86.8% against the old model's "
        "85.0%."
    )
    bound = 100 * upper_bound(6, 3000)
    assert found.sure == f"95% sure that at most {bound:.2g}% of such answers break; 1.0% is let pass."


def test_a_harmful_update_is_not_to_be_shipped():
    found = decided(OLD, run(answers(3000, old_wrong=450, broken=60)))
    assert found.advice == "dont_ship"
    assert found.sentence.startswith("Don't ship the update: it breaks 60 of 3,000 answers (2.0%) and mends 0")
    assert "less than once in 1,000 cases" in found.sure and "Keep the old model" in found.next


def test_an_update_that_breaks_more_than_is_let_pass_without_a_proven_gain_is_not_to_be_shipped_yet():
    found = decided(OLD, run(answers(3000, old_wrong=450, gained=180, broken=180)))
    assert found.advice == "dont_ship" and found.sentence.startswith("Don't ship the update yet: it breaks 180")
    assert f"at least {100 * lower_bound(180, 3000):.1f}%" in found.sure and "--rerun" in found.next


def test_an_update_whose_gain_is_proven_is_to_be_looked_at_first():
    found = decided(OLD, run(answers(3000, old_wrong=450, gained=400, broken=100)))
    assert found.advice == "look_first"
    assert found.sentence.startswith("Look before you ship the update: it breaks 100 of 3,000 answers (3.3%)")


def test_the_demos_candidate_is_to_be_shipped_although_it_breaks_more_than_is_let_pass():
    found = compare(OLD, PLAIN, candidate=CANDIDATE)
    decision = found.report.decision
    assert (found.verdict, decision.advice) == ("warn", "ship")
    assert decision.sentence == (
        "Ship the candidate: it breaks 47 of 3,000 answers instead of 180, accuracy 88.5% against the old model's "
        "85.0%."
    )
    assert "less than once in 1,000 cases" in decision.sure and "but 95% sure that more than 1.0%" in decision.sure


def test_a_control_that_does_no_worse_than_the_candidate_is_named():
    as_good = run(answers(3000, old_wrong=450, gained=200, broken=40))
    others = {"bare": run(answers(3000, old_wrong=450, broken=900)), "control": as_good, "worse": PLAIN}
    decision = compare(OLD, PLAIN, candidate=CANDIDATE, others=others).report.decision
    assert decision.advice == "ship"
    assert decision.next.endswith(
        "No worse than the candidate is control: it breaks 1.3% at accuracy 90.3%, the candidate 1.6% at accuracy "
        "88.5%."
    )
    for better in (
        {"fewer right": run(answers(3000, old_wrong=450, gained=100, broken=40))},
        {"more broken": run(answers(3000, old_wrong=450, gained=200, broken=48))},
    ):
        told = compare(OLD, PLAIN, candidate=CANDIDATE, others=better).report.decision.next
        assert "No worse" not in told
    assert "No worse" not in compare(OLD, PLAIN, others={"control": as_good}).report.decision.next


def test_a_candidate_that_is_not_proven_better_than_the_plain_update_is_not_to_be_shipped_yet():
    plain = run(answers(3000, old_wrong=450, gained=153, broken=60))
    found = decided(OLD, plain, candidate=run(answers(3000, old_wrong=450, gained=153, broken=55, at=5)))
    assert found.advice == "dont_ship" and found.sentence.startswith("Don't ship the candidate yet")


def test_a_candidate_that_breaks_more_than_the_plain_update_leaves_that_one():
    plain = run(answers(3000, old_wrong=450, gained=60, broken=2))
    found = decided(OLD, plain, candidate=run(answers(3000, old_wrong=450, gained=60, broken=20)))
    assert found.advice == "dont_ship" and "it breaks 20 of 3,000 answers, the plain update 2" in found.sentence
    assert "ship the plain update" in found.next


def test_the_old_recipe_trained_again_is_said_beside_a_candidate():
    floor = run(answers(3000, old_wrong=450, gained=100, broken=116, at=1000))
    assert "the old recipe trained again breaks 116" in decided(OLD, PLAIN, candidate=CANDIDATE, floor=floor).sure


def test_what_cannot_be_told_says_how_many_items_would():
    found = decided(run(answers(100, old_wrong=15)), run(answers(100, old_wrong=15)))
    more = items_to_prove(0.01) - 100
    assert (found.advice, found.more_items) == ("cannot_tell", more)
    assert found.sentence.startswith("Can't tell yet, about 200 more items would: the update breaks 0 of 100 answers")
    assert "Ask both models about 200 more items" in found.next


def test_the_items_that_would_tell_are_those_of_the_exact_bound_at_the_share_that_was_seen():
    found = decided(run(answers(1000, old_wrong=150)), run(answers(1000, old_wrong=150, gained=8, broken=5)))
    assert (found.advice, found.more_items) == ("cannot_tell", items_to_tell(0.005, 0.01) - 1000)


def test_a_share_at_the_limit_is_said_to_be_told_by_no_test_set():
    found = decided(run(answers(500, old_wrong=50)), run(answers(500, old_wrong=50, gained=8, broken=5)))
    assert (found.advice, found.more_items) == ("cannot_tell", None)
    assert "No test set of a usual size would tell whether it breaks at most 1.0%" in found.next


def test_where_nothing_can_be_told_of_the_old_model_the_better_of_two_updates_is_still_named():
    candidate = run(answers(3000, old_wrong=450, gained=153, broken=28))
    for found in (compare(OLD, PLAIN, candidate=candidate).report, gate(OLD, PLAIN, candidate=candidate).report):
        if found.gate is None:
            assert found.decision.advice == "cannot_tell"
            assert "Of the two updates the candidate is the better one." in found.decision.next
        else:  # accuracy is what this policy blocks by, and that is kept
            assert found.decision.advice == "ship"


def test_with_a_known_noise_floor_it_is_what_breaks_beyond_it_that_is_told():
    again = run(answers(3000, old_wrong=450, gained=180, broken=180, at=1000))
    found = decided(OLD, run(answers(3000, old_wrong=450, gained=180, broken=180)), rerun=again)
    assert "beyond the old model's own noise" in found.sure and "--rerun" not in found.next


def blanked(frame, ids):
    return frame.with_columns(correct=pl.when(pl.col("id").is_in(ids)).then(None).otherwise(pl.col("correct")))


@pytest.mark.parametrize("number", [1, 30, 300])
@pytest.mark.parametrize("make", ["ship", "candidate", "look_first"])
def test_what_is_missing_never_betters_a_recommendation(make, number):
    rank = ["dont_ship", "cannot_tell", "look_first", "ship"]
    runs = {
        "ship": ((OLD, run(answers(3000, old_wrong=450, gained=60, broken=6))), None),
        "candidate": ((OLD, PLAIN), CANDIDATE),
        "look_first": ((OLD, run(answers(3000, old_wrong=450, gained=400, broken=100))), None),
    }
    (old, new), candidate = runs[make]
    # Answers that broke lose their verdict: what is left looks better than what was there.
    ids = [f"all{450 + n}" for n in range(number)]
    judged = new if candidate is None else candidate
    poorer = blanked(judged, ids)
    whole = decided(old, new, candidate=candidate)
    found = decided(old, poorer) if candidate is None else decided(old, new, candidate=poorer)
    assert rank.index(found.advice) <= rank.index(whole.advice)
    if number == 300:
        assert found.advice in ("cannot_tell", "dont_ship")


def test_missing_answers_are_what_lacks_and_not_items():
    found = decided(OLD, blanked(OLD, [f"all{n}" for n in range(500, 600)]))
    assert (found.advice, found.more_items) == ("cannot_tell", None)
    assert found.sentence.startswith("Can't tell, 100 of 3,000 answers are missing (100 unscored): the update breaks 0")
    assert "Get the missing answers" in found.next


def test_a_task_that_vanished_is_what_lacks(tmp_path):
    old = pl.concat([run(answers(2000), task="tickets"), run(answers(5), task="refunds")])
    new = run(answers(2000), task="tickets")
    found = decided(old, new)
    assert found.advice == "cannot_tell" and found.sentence.startswith("Can't tell, refunds: no item of this task")
    assert found.more_items is None and "Get the missing answers" in found.next


def test_what_a_policy_names_and_is_not_there_is_what_lacks():
    policy = Policy(tasks={"refunds": Rules(harm="block")})
    found = gate(OLD, OLD, policy).report.decision
    assert found.advice == "cannot_tell" and "policy names this task" in found.sure and found.more_items is None


def test_of_several_tasks_those_that_block_are_told():
    old = pl.concat([run(answers(1000), task="tickets"), run(answers(1000), task="refunds")])
    new = pl.concat([run(answers(1000), task="tickets"), run(answers(1000, broken=40), task="refunds")])
    found = decided(old, new)
    assert found.sentence.startswith("Don't ship the update: on refunds it breaks 40 of 1,000 answers (4.0%)")
    assert found.sure.startswith("On refunds: ")


def test_a_score_is_told_by_what_scores_lower():
    rows = [{"id": str(n), "input": f"q{n}", "score.rouge": 0.5 + 0.001 * (n % 7)} for n in range(400)]
    old = pl.DataFrame(rows)
    new = old.with_columns(pl.col("score.rouge") + pl.when(pl.col("id").cast(pl.Int64) < 10).then(-0.1).otherwise(0.02))
    found = decided(old, new)
    assert found.advice == "ship"
    assert found.sentence.startswith("Ship the update: 10 of 400 answers score lower and 390 higher, mean rouge 0.52")


@pytest.mark.parametrize(
    ("gained", "broken"), [(0, 0), (0, 60), (60, 6), (180, 180), (400, 100), (8, 20), (3, 25), (0, 1)]
)
@pytest.mark.parametrize("size", [120, 3000])
def test_nothing_is_shipped_that_ends_in_exit_code_1_or_2(size, gained, broken):
    hard = size * 15 // 100
    new = run(answers(size, old_wrong=hard, gained=min(gained, hard), broken=min(broken, size - hard)))
    old = run(answers(size, old_wrong=hard))
    judged = [compare(old, new).report, compare(old, new, candidate=old).report, gate(old, new).report]
    for report in judged:
        code, advice = EXIT_CODES[report.verdict], report.decision.advice
        assert (code == 2) == (advice == "cannot_tell")
        assert code != 1 or advice == "dont_ship"
        assert report.verdict != "pass" or advice == "ship"


def test_a_policy_that_lets_pass_with_a_warning_says_to_look_first():
    new = run(answers(3000, old_wrong=450, gained=400, broken=100))
    found = gate(OLD, new)
    assert (found.verdict, found.report.decision.advice) == ("warn", "look_first")
    assert "egative flip rate 3.33%, at least 2.81%" in found.report.decision.sure


def test_gate_and_compare_advise_alike_on_a_better_candidate():
    found = gate(OLD, PLAIN, candidate=CANDIDATE)
    plain = compare(OLD, PLAIN, candidate=CANDIDATE).report.decision
    assert found.verdict == "warn" and found.report.decision.sentence == plain.sentence
    assert "less than once in 1,000 cases" in found.report.decision.sure


def test_a_policy_that_cannot_tell_says_how_many_items_would():
    found = gate(run(answers(120, old_wrong=18)), run(answers(120, old_wrong=18))).report
    assert (found.verdict, found.decision.advice) == ("cannot_tell", "cannot_tell")
    assert found.decision.more_items is not None and found.decision.more_items > 50


def test_the_ways_out_have_what_breaks_of_a_hundred_requests():
    found = decided(OLD, PLAIN, candidate=CANDIDATE)
    ways = {each.way: each for each in found.ways}
    assert list(ways) == ["keep_old", "ship_new", "ship_candidate", "serve_both"]
    assert [ways[way].breaks.value for way in ways] == [0.0, 180 / 3000, 47 / 3000, 180 / 3000]
    assert [ways[way].mends.value for way in ways] == [0.0, 153 / 3000, 153 / 3000, 153 / 3000]
    assert [each.breaks_at_most for each in found.ways] == [False, False, False, True]
    assert ways["keep_old"].level.value == pytest.approx(2550 / 3000)
    assert found.ways_over == "3,000 answers"


def test_labelling_more_is_a_way_out_where_it_would_tell():
    found = decided(run(answers(100, old_wrong=15)), run(answers(100, old_wrong=15)))
    assert found.ways[-1].way == "label_more" and found.ways[-1].costs.startswith("About 200 more questions")


def test_the_tolerance_moves_the_recommendation():
    new = run(answers(3000, old_wrong=450, gained=180, broken=120))
    assert decided(OLD, new).advice != "ship"
    assert decided(OLD, new, options=CompareOptions(tolerance=0.06)).advice == "ship"
