from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muscle import Run, read_run
from muscle.errors import JoinError
from muscle.flips.pairing.comparability import find_differences
from muscle.flips.pairing.join import Joined, join_runs
from muscle.predictions import write_records


def run_of(rows: Sequence[dict[str, Any]], name: str = "run", **metadata: Any) -> Run:
    from muscle.predictions.plain.row_objects import table_from_rows
    from muscle.predictions.plain.to_records import name_task, to_records

    def where(row: int) -> str:
        return f"row {row}"

    frame = to_records(table_from_rows(enumerate(rows), where=where).frame, where=where)
    return Run(name, name_task(frame, "t"), metadata)


def join(old: Sequence[dict[str, Any]], new: Sequence[dict[str, Any]], **options: Any) -> Joined:
    return join_runs(run_of(old, "old"), run_of(new, "new"), **{"max_unpaired": 1.0, **options})


def item(number: int, *, correct: bool = True, **more: Any) -> dict[str, Any]:
    return {"id": str(number), "correct": correct, **more}


def test_items_pair_by_id_where_there_is_no_text_whatever_their_order() -> None:
    joined = join([item(1), item(2, correct=False)], [item(2), item(1, correct=False)])
    assert joined.old["id"].to_list() == joined.new["id"].to_list() == ["1", "2"]
    assert joined.new["correct"].to_list() == [False, True]
    assert joined.report.key == "id" and joined.report.paired == 2


def test_items_pair_by_content_where_ids_differ() -> None:
    joined = join([item(1, input="a"), item(2, input="b")], [item(7, input="b"), item(8, input="a")])
    assert joined.new["id"].to_list() == ["8", "7"] and joined.report.key == "input"


def test_the_options_belong_to_the_content() -> None:
    old = [item(1, input="dresser", choices=["a", "b"]), item(2, input="dresser", choices=["c", "d"])]
    new = [item(5, input="dresser", choices=["c", "d"]), item(6, input="dresser", choices=["a", "b"])]
    assert join(old, new).new["id"].to_list() == ["6", "5"]


def test_a_hash_stands_for_a_text_that_a_side_does_not_have() -> None:
    from muscle.predictions.records import input_hash

    joined = join([item(1, input="a")], [item(9, input_hash=input_hash("a"))])
    assert joined.report.paired == 1 and joined.report.key == "input"


def test_items_with_text_on_one_side_only_pair_by_id() -> None:
    joined = join([item(1, input="a"), item(2)], [item(1), item(2, input="b")])
    assert joined.report.paired == 2 and joined.report.key == "id"


def test_ids_that_repeat_between_parts_are_told_apart_by_their_text() -> None:
    old = [item(i, input=f"{part}{i}") for part in "ab" for i in range(3)]
    joined = join(old, list(reversed(old)))
    assert joined.report.paired == 6 and joined.report.duplicates == 0
    assert joined.old["input"].to_list() == joined.new["input"].to_list()


def test_tasks_filters_and_repeats_are_kept_apart() -> None:
    rows = [
        item(1, task=task, filter=name, repeat=repeat)
        for task in ("a", "b")
        for name in ("none", "strict")
        for repeat in (0, 1)
    ]
    joined = join(rows, rows[::-1])
    keys = ["task", "filter", "repeat"]
    assert joined.report.paired == 8 and joined.old.select(keys).equals(joined.new.select(keys))


def test_the_same_item_listed_twice_is_kept_once_and_counted() -> None:
    old = [item(1, input="a"), item(1, input="a"), item(2, input="b")]
    joined = join(old, [item(1, input="a"), item(2, input="b")])
    assert (joined.report.paired, joined.report.duplicates, joined.report.conflicting) == (2, 1, 0)
    assert joined.report.unpaired_share == 0
    without_text = join([item(1), item(1), item(2)], [item(1), item(2)])
    assert (without_text.report.paired, without_text.report.duplicates) == (2, 1)


def test_the_same_item_under_two_ids_pairs_by_both() -> None:
    old = [item(1, input="a"), item(2, input="a", correct=False)]
    joined = join(old, old[::-1])
    assert joined.report.paired == 2 and joined.old["id"].equals(joined.new["id"])


def test_the_same_item_with_different_answers_is_left_out_and_counted() -> None:
    old = [item(1, input="a"), item(1, input="a", correct=False), item(2, input="b")]
    joined = join(old, [item(1, input="a"), item(2, input="b")])
    report = joined.report
    assert (report.paired, report.duplicates, report.conflicting, report.only_new) == (1, 2, 2, 1)
    assert joined.old["id"].to_list() == ["2"]


def test_a_doubled_id_with_different_answers_and_no_text_is_refused() -> None:
    old = [item(1), item(2), item(1, correct=False)]
    with pytest.raises(JoinError, match=r"old: id '1' of task 't' stands in records 1 and 3 with different answers"):
        join(old, [item(1), item(2)])
    with pytest.raises(JoinError, match=r"new: id '1'.*number the answers to one item with `repeat`"):
        join([item(1), item(2)], old)


def test_what_has_no_partner_is_counted_on_its_side() -> None:
    joined = join([item(i) for i in range(5)], [item(i) for i in range(3, 10)])
    report = joined.report
    assert (report.paired, report.only_old, report.only_new) == (2, 3, 5)
    assert report.unpaired_share == pytest.approx(5 / 7)


def test_a_changed_reference_is_left_out_unless_allowed() -> None:
    old = [item(1, input="a", reference=["x", "y"]), item(2, input="b", reference="x")]
    new = [item(1, input="a", reference=["y", "x"]), item(2, input="b", reference="z")]
    report = join(old, new).report
    assert (report.paired, report.reference_changed, report.changed) == (1, 1, 1)
    assert join(old, new, allow_changed=True).report.paired == 2


def test_a_changed_prompt_under_the_same_id_is_counted_and_paired_only_if_allowed() -> None:
    old, new = [item(1, input="a"), item(2, input="b")], [item(1, input="a"), item(2, input="B")]
    report = join(old, new).report
    assert (report.paired, report.only_old, report.only_new, report.prompt_changed) == (1, 1, 1, 1)
    assert join(old, new, allow_changed=True).report.paired == 2
    assert join(old, new, on="id").report.paired == 2


def test_errors_are_counted_on_their_side() -> None:
    report = join(
        [item(1), {"id": "2", "error": "timeout"}], [{"id": "1", "error": "x"}, {"id": "2", "error": "y"}]
    ).report
    assert (report.paired, report.errors_old, report.errors_new) == (2, 1, 2)


def test_answers_that_are_numbered_from_1_pair_with_those_from_0(tmp_path: Path) -> None:
    rows = [item(place, repeat=repeat, task="sums") for place in (1, 2) for repeat in (0, 1, 2)]
    later = [row | {"repeat": row["repeat"] + 1} for row in rows]
    folder = tmp_path / "later"
    folder.mkdir()
    for repeat in (1, 2, 3):  # a file for each, of which only the first begins the numbers
        part = [row for row in later if row["repeat"] == repeat]
        (folder / f"{repeat}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in part))
    for new in (read_run(later), read_run(pl.DataFrame(later)), read_run(folder)):
        report = join_runs(read_run(rows), new).report
        assert (report.paired, report.surplus_repeats) == (6, 0)


def test_a_task_that_has_another_name_in_the_new_run_is_told() -> None:
    old = [item(place, input=f"{place}?", task="kept" if place < 3 else "sums") for place in range(6)]
    new = [row | {"task": {"kept": "kept", "sums": "additions"}[row["task"]]} for row in old]
    told = "asks sums and additions hold the same items under two names"
    with pytest.raises(JoinError, match=f"50% of a side's predictions have no partner.*T{told}"):
        join(old, new, max_unpaired=0.05)
    with pytest.raises(JoinError, match=f"share no item.*T{told}"):
        join(old[3:], new[3:])
    notes = [each.message for each in find_differences(run_of(old), run_of(new))]
    assert any(note.startswith(f"t{told}") for note in notes)


def test_other_tasks_with_the_same_ids_or_other_texts_are_not_taken_for_one() -> None:
    for old, new in ((item(1), item(1)), (item(1, input="a"), item(1, input="b"))):
        with pytest.raises(JoinError, match="share no item") as caught:
            join([old | {"task": "sums"}], [new | {"task": "additions"}])
        assert "two names" not in str(caught.value)


def test_repeats_that_the_other_side_lacks_are_counted_apart() -> None:
    old = [item(1, repeat=r) for r in range(5)]
    joined = join(old, [item(1, repeat=r) for r in range(2)], max_unpaired=0.0)
    assert (joined.report.paired, joined.report.surplus_repeats, joined.report.unpaired_share) == (2, 3, 0.0)


@pytest.mark.parametrize("num_old", [1, 4])
def test_an_answer_that_stands_twice_is_one_answer_among_an_items_answers(num_old: int) -> None:
    """Both where the other side has the repeat too, and where it asked less often: else K doubles, and p shrinks."""
    texts: list[dict[str, Any]] = [{"input": "a"}, {}]
    for text in texts:
        old = [item(1, repeat=r, **text) for r in range(num_old)]
        new = [item(1, repeat=r, correct=r % 2 == 0, **text) for r in range(4)]
        once, twice = join(old, new), join(old, [*new, *new])
        assert once.answers is not None and twice.answers is not None
        assert twice.answers.new.height == once.answers.new.height == 4
        assert twice.new["correct"].to_list() == once.new["correct"].to_list()
        assert (twice.report.duplicates, twice.report.surplus_repeats) == (4, once.report.surplus_repeats)


def test_answers_to_one_repeat_that_differ_are_none_of_the_items_answers() -> None:
    old = [item(1, input="a"), item(2, input="b")]
    new = [item(n, input=text, repeat=r) for n, text in ((1, "a"), (2, "b")) for r in range(3)]
    joined = join(old, [*new, item(1, input="a", repeat=2, correct=False)])
    assert joined.answers is not None
    assert joined.answers.new["id"].to_list().count("1") == 2 and joined.report.conflicting == 2
    assert joined.left[1].select("id", "repeat", "correct").rows() == [("1", 2, None)]


def test_runs_whose_items_all_stand_several_times_are_told_what_tells_them_apart() -> None:
    both = [item(1, input="a"), item(1, input="a", correct=False)]
    with pytest.raises(
        JoinError, match=r"id '1'.*stands in records 1 and 2 with different answers: number the answers"
    ):
        join(both, both)


def test_white_space_around_a_reference_makes_no_other_item() -> None:
    assert join([item(1, reference=["a "])], [item(1, reference=["a"])]).report.reference_changed == 0


def test_runs_of_which_one_has_ids_alone_and_the_other_texts_alone_are_told_so(tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text("id,correct\n7,yes\n")
    (tmp_path / "new.csv").write_text("input,correct\nWhat?,yes\n")
    runs = [read_run(tmp_path / name, hash_inputs=False) for name in ("old.csv", "new.csv")]
    told = "id '7' and no input; new .* an input and no id. Name the column in which old has the texts"
    with pytest.raises(JoinError, match=told):
        join_runs(*runs)


def test_runs_that_share_nothing_are_refused_with_an_example_of_each() -> None:
    with pytest.raises(JoinError, match=r"old and new share no item.*id '1'.*id '2'") as caught:
        join([item(1)], [item(2)])
    assert "\n" not in str(caught.value)
    with pytest.raises(JoinError, match="share no item"):
        join([item(1, input="a")], [item(1, input="b")])


def test_too_many_items_without_a_partner_are_refused() -> None:
    old, new = [item(i) for i in range(100)], [item(i) for i in range(93)]
    with pytest.raises(JoinError, match=r"7% of a side's predictions have no partner.*at most 5%"):
        join(old, new, max_unpaired=0.05)
    assert join(old, new, max_unpaired=0.08).report.paired == 93


def test_a_share_that_is_just_what_is_let_pass_is_not_refused() -> None:
    old = [item(i) for i in range(400)]
    assert join(old, old[:380], max_unpaired=0.05).report.paired == 380


def test_a_share_is_not_said_to_be_the_limit_that_it_is_above() -> None:
    old = [item(i) for i in range(10_000)]
    with pytest.raises(JoinError, match=r"5\.01% of a side's predictions have no partner.*at most 5%"):
        join(old, old[:9_499], max_unpaired=0.05)


def test_files_that_name_no_task_are_one_task(tmp_path: Path) -> None:
    for name in ("before", "after"):
        (tmp_path / f"{name}.jsonl").write_text('{"id": 1, "correct": true}\n')
    before, after = read_run(tmp_path / "before.jsonl"), read_run(tmp_path / "after.jsonl")
    assert join_runs(before, after).old["task"].to_list() == ["all"]
    write_records(tmp_path / "x.jsonl", [{"task": "piqa", "id": "1", "correct": True}])
    named = read_run(tmp_path / "x.jsonl")
    assert join_runs(before, named).old["task"].to_list() == ["piqa"]
    write_records(tmp_path / "y.jsonl", [{"task": "hellaswag", "id": "1", "correct": True}])
    with pytest.raises(JoinError, match="share no item"):
        join_runs(named, read_run(tmp_path / "y.jsonl"))


rows = st.lists(
    st.fixed_dictionaries(
        {"id": st.sampled_from("abc"), "correct": st.booleans()},
        optional={
            "input": st.sampled_from("xyz"),
            "task": st.sampled_from(["t", "u"]),
            "reference": st.sampled_from("rs"),
        },
    ),
    min_size=1,
    max_size=8,
)


SAME_UNDER_TWO_IDS = [
    {"id": "a", "correct": False},
    {"id": "a", "correct": False, "input": "x"},
    {"id": "b", "correct": False, "input": "x"},
]


def test_which_of_two_ids_is_kept_does_not_hang_on_the_order() -> None:
    for old in (SAME_UNDER_TWO_IDS, SAME_UNDER_TWO_IDS[::-1]):
        with pytest.raises(JoinError, match=r"id 'a'.*stands in records"):
            join(old, [{"id": "a", "correct": False}])


def test_which_of_two_references_is_kept_does_not_hang_on_the_order() -> None:
    same = {"id": "c", "correct": True, "input": "y"}
    old = [same, {"id": "a", "correct": True, "input": "x", "reference": "r"}]
    new = [
        same,
        {"id": "b", "correct": True, "input": "x"},
        {"id": "b", "correct": True, "input": "x", "reference": "s"},
    ]
    reports = [join(old, side).report for side in (new, new[::-1])]
    assert reports[0] == reports[1] and reports[0].reference_changed == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ([item(1, input="a")], [item(1, input="b")]),
        ([item(1)], [item(2)]),
        ([item(1, input="a")], [item(1, input="b"), item(1, input="c", correct=False)]),
        ([item(1, input="a", reference="r")], [item(1, input="a", reference="s")]),
        ([item(1, input="a", repeat=r, reference="r") for r in (0, 1)], [item(1, input="a", reference="s")]),
        (
            [item(1, input="a"), item(2, input="a", correct=False)],
            [item(3, input="a"), item(4, input="a", correct=False)],
        ),
    ],
)
def test_runs_of_which_nothing_pairs_are_refused_however_much_may_be_unpaired(
    old: list[dict[str, Any]], new: list[dict[str, Any]]
) -> None:
    for first, second in ((old, new), (new, old)):
        with pytest.raises(JoinError, match=r"share no item|at least one pair"):
            join(first, second)


@settings(max_examples=60, deadline=None)
@given(rows, rows, st.randoms(use_true_random=False), st.booleans())
def test_the_order_of_rows_does_not_matter(
    old: list[dict[str, Any]], new: list[dict[str, Any]], chance: random.Random, allow: bool
) -> None:
    def outcome(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> Any:
        try:
            joined = join(first, second, allow_changed=allow)
        except JoinError as error:
            return "stands in records" in str(error)  # which of several is named first may differ
        columns = ["task", "id", "input", "correct"]
        pairs = pl.concat(
            [joined.old.select(columns), joined.new.select(pl.all().name.suffix("_new"))], how="horizontal"
        )
        return joined.report, sorted(map(str, pairs.select(*columns, "id_new", "input_new", "correct_new").rows()))

    shuffled = [chance.sample(side, len(side)) for side in (old, new)]
    assert outcome(old, new) == outcome(*shuffled)


@settings(max_examples=60, deadline=None)
@given(rows, rows)
def test_every_row_is_accounted_for(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> None:
    try:
        joined = join(old, new)
    except JoinError:
        return
    report = joined.report
    counted = 2 * (report.paired + report.reference_changed) + report.only_old + report.only_new + report.duplicates
    assert counted == len(old) + len(new)
    assert joined.old_rows.is_unique().all() and joined.new_rows.is_unique().all()
    assert joined.old["task"].equals(joined.new["task"])
