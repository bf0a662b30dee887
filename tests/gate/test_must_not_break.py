"""A prompt that breaks what was right is refused: by hand, and inside GEPA where it is installed."""

from types import SimpleNamespace

import pytest

from muscle.errors import DataError
from muscle.gate.must_not_break import MustNotBreak, Pinned, broken_items


def proposal(before, after, ids=None, candidate="new"):
    return SimpleNamespace(
        candidate={"prompt": candidate},
        subsample_indices=ids,
        subsample_scores_before=before,
        subsample_scores_after=after,
    )


def test_an_item_breaks_that_was_right_and_is_not_any_more():
    assert broken_items([1, 1, 0, 0], [1, 0, 0, 1]) == [1]
    assert broken_items([True, False], [False, True], ids=["a", "b"]) == ["a"]


def test_only_the_items_of_the_list_count():
    assert broken_items([1, 1], [0, 0], ids=["a", "b"], must_not_break={"b", "elsewhere"}) == ["b"]
    assert broken_items([1, 1], [0, 0], ids=["a", "b"], must_not_break=[]) == []


def test_a_score_is_right_from_a_bound_on_and_may_fall_below_it_by_the_tolerance():
    scores = ([0.9, 0.8, 0.4], [0.75, 0.7, 0.1])
    assert broken_items(*scores, right_from=0.8) == [0, 1]
    assert broken_items(*scores, right_from=0.8, tolerance=0.0625) == [1]
    assert broken_items(*scores, right_from=0.8, tolerance=0.125) == []


@pytest.mark.parametrize(
    ("before", "after", "ids"),
    [
        ([1], [1, 0], None),
        ([1], [0], ["a", "b"]),
        ([1.0], [float("nan")], None),
        ([1.0], [float("inf")], None),
        ([float("-inf")], [1.0], None),
        ([None], [1.0], None),
        ([1.0], ["1"], None),
    ],
)
def test_scores_of_other_items_and_what_is_no_score_are_refused(before, after, ids):
    with pytest.raises(DataError, match="must not break"):
        broken_items(before, after, ids=ids)


def test_a_fall_by_just_what_is_tolerated_breaks_nothing():
    assert 0.7 + 0.1 < 0.8
    assert broken_items([0.9], [0.7], right_from=0.8, tolerance=0.1) == []
    assert broken_items([0.9], [0.69], right_from=0.8, tolerance=0.1) == [0]


@pytest.mark.parametrize("need", ["improvement", "no_loss", "nothing"])
def test_a_candidate_without_scores_is_not_accepted(need):
    for before, after in ((None, [1.0]), ([1.0], None), (None, None)):
        with pytest.raises(DataError, match="expected scores of the drawn items under both prompts, found none"):
            MustNotBreak(need=need).should_accept(proposal(before, after), None)


def test_the_same_scores_in_another_order_are_neither_better_nor_worse():
    given = [0.1, 0.2, 0.3]
    assert sum(given) > sum(given[::-1])
    for before, after in ((given, given[::-1]), (given[::-1], given)):
        assert MustNotBreak(need="no_loss").should_accept(proposal(before, after), None)
        assert not MustNotBreak(need="improvement").should_accept(proposal(before, after), None)


def test_an_item_that_is_drawn_twice_breaks_once():
    given = proposal([1, 1, 0, 0, 0], [0, 0, 1, 1, 1], ids=[5, 5, 6, 7, 8])
    assert MustNotBreak(allowed=1).should_accept(given, None)
    assert not MustNotBreak().should_accept(given, None)


def test_a_better_sum_does_not_make_up_for_a_lost_item():
    rule = MustNotBreak()
    given = proposal([1, 0, 0, 0], [0, 1, 1, 1], ids=[5, 6, 7, 8])
    assert not rule.should_accept(given, None)
    assert rule.reject_reason(given, None) == "breaks what was right: 5"
    assert rule.should_accept(proposal([1, 0, 0, 0], [1, 1, 0, 0], ids=[5, 6, 7, 8]), None)


@pytest.mark.parametrize(
    ("need", "same", "worse"), [("improvement", False, False), ("no_loss", True, False), ("nothing", True, True)]
)
def test_what_else_a_candidate_needs(need, same, worse):
    rule = MustNotBreak(need=need, right_from=2.0)
    assert rule.should_accept(proposal([1.0, 0.5], [1.0, 0.5]), None) is same
    assert rule.should_accept(proposal([1.0, 0.5], [1.0, 0.4]), None) is worse
    assert rule.should_accept(proposal([1.0, 0.5], [1.0, 0.6]), None)


def test_so_many_items_may_break():
    assert MustNotBreak(allowed=1).should_accept(proposal([1, 0, 0], [0, 1, 1]), None)
    assert not MustNotBreak(allowed=1).should_accept(proposal([1, 1, 0, 0, 0], [0, 0, 1, 1, 1]), None)


def test_pinned_items_are_asked_of_candidates_that_would_be_accepted_alone():
    asked = []

    def evaluate(candidate):
        asked.append(candidate["prompt"])
        return [1.0, 0.0] if candidate["prompt"] == "bad" else [1.0, 1.0]

    rule = MustNotBreak(pinned=Pinned(["p", "q"], [1.0, 1.0], evaluate))
    assert not rule.should_accept(proposal([1], [0], candidate="worse"), None)
    assert asked == []
    assert rule.should_accept(proposal([0], [1], candidate="good"), None)
    bad = proposal([0], [1], candidate="bad")
    assert not rule.should_accept(bad, None) and rule.reject_reason(bad, None) == "breaks what was right: q"
    assert asked == ["good", "bad"]


RIGHT_WITH = {"start": {0, 1, 2}, "trade": {2, 3, 4, 5}, "more": {0, 1, 2, 3}}
"""Which items each prompt answers rightly: `trade` is better by its sum, and loses two."""


def optimised(rule, proposals):
    gepa = pytest.importorskip("gepa", reason="gepa is not installed")

    class Adapter:
        propose_new_texts = None

        def evaluate(self, batch, candidate, capture_traces=False):
            scores = [float(item in RIGHT_WITH[candidate["prompt"]]) for item in batch]
            return gepa.EvaluationBatch(outputs=scores, scores=scores, trajectories=scores if capture_traces else None)

        def make_reflective_dataset(self, candidate, eval_batch, components_to_update):
            return {"prompt": [{"Feedback": str(score)} for score in eval_batch.scores]}

    texts = iter(proposals)
    adapter = Adapter()
    adapter.propose_new_texts = lambda candidate, dataset, names: {"prompt": next(texts)}
    items = list(range(6))
    return gepa.optimize(
        seed_candidate={"prompt": "start"},
        trainset=items,
        valset=items,
        adapter=adapter,
        reflection_minibatch_size=6,
        candidate_selection_strategy="current_best",
        max_metric_calls=6 + 3 * 12 + 12,
        acceptance_criterion=rule,
        display_progress_bar=False,
    )


def prompts_of(result):
    return [candidate["prompt"] for candidate in result.candidates]


def test_gepa_takes_the_rule_and_keeps_what_was_right():
    without = optimised("strict_improvement", ["trade", "more", "more", "more"])
    assert prompts_of(without)[:2] == ["start", "trade"]
    kept = optimised(MustNotBreak(), ["trade", "more", "trade", "trade"])
    assert prompts_of(kept) == ["start", "more"]
    assert kept.best_candidate == {"prompt": "more"}


def test_gepa_takes_a_list_of_items():
    loose = optimised(MustNotBreak(must_not_break={2}), ["trade", "start", "start", "start"])
    assert prompts_of(loose) == ["start", "trade"]
    strict = optimised(MustNotBreak(must_not_break={1}), ["trade", "trade", "trade", "trade"])
    assert prompts_of(strict) == ["start"]
