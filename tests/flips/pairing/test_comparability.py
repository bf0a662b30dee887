from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from helpers.places import DATA
from muscle import CompareOptions, Run, compare, history, read_run
from muscle.errors import ConfigError, DataError, JoinError
from muscle.flips.pairing.comparability import Difference, check_comparable, find_differences
from muscle.predictions.writers.convert import convert

FILES = DATA / "readers"


def run(name: str = "old", metadata: dict[str, Any] | None = None, size: int = 40, **columns: list[Any]) -> Run:
    """A run of made-up questions; columns replace the usual ones."""
    usual: dict[str, list[Any]] = {
        "id": [str(i) for i in range(size)],
        "input": [f"What is {i} plus 1?" for i in range(size)],
        "reference": [str(i + 1) for i in range(size)],
        "output": [str(i + 1) for i in range(size)],
    }
    made = read_run(pl.DataFrame(usual | columns), name=name)
    return Run(name, made.frame, metadata or {})


def of_kind(found: list[Difference], what: str) -> list[Difference]:
    return [difference for difference in found if difference.what == what]


def task(**facts: Any) -> dict[str, Any]:
    return {"tasks": {"all": facts}}


def test_two_runs_of_the_same_items_differ_in_nothing() -> None:
    assert find_differences(run(), run("new")) == []


def test_the_order_of_the_rows_makes_no_difference() -> None:
    new = run("new")
    assert find_differences(run(), Run("new", new.frame.reverse(), {})) == []


def test_other_prompts_are_refused_with_the_flag_that_allows_them() -> None:
    new = run("new", input=[f"What is {i} plus one?" for i in range(40)])
    with pytest.raises(JoinError, match=r"40 of 40 shared items have another prompt.*id '0'.*--allow prompts"):
        check_comparable(run(), new)
    (found,) = check_comparable(run(), new, allow={"prompts"})
    assert (found.what, found.severity, found.allowed) == ("prompts", "refuse", True)


def test_the_message_shows_where_two_prompts_part() -> None:
    new = run("new", input=[f"What is {i} plus one?" for i in range(40)])
    (found,) = find_differences(run(), new)
    assert "0 plus 1?" in found.message and "0 plus one?" in found.message


def test_a_prompt_that_differs_in_white_space_only_is_called_so() -> None:
    new = run("new", input=[f"What is  {i} plus 1? " for i in range(40)])
    assert "only white space differs" in find_differences(run(), new)[0].message


def test_options_in_another_order_are_other_prompts() -> None:
    old = run(choices=[["a", "b"]] * 40, choice=[0] * 40, reference=["a"] * 40)
    new = run("new", choices=[["b", "a"]] * 40, choice=[0] * 40, reference=["a"] * 40)
    (found,) = find_differences(old, new)
    assert found.what == "prompts" and "other options or in another order" in found.message


def test_a_few_changed_prompts_are_noted_not_refused() -> None:
    texts = [f"What is {i} plus 1?" for i in range(40)]
    (found,) = check_comparable(run(), run("new", input=["Something else?", *texts[1:]]))
    assert (found.severity, found.what) == ("note", "prompts") and "1 of 40" in found.message


def test_ids_that_count_anew_in_another_order_are_no_changed_prompts() -> None:
    new = run("new")
    shuffled = new.frame.with_columns(pl.Series("id", [str(39 - i) for i in range(40)]))
    assert find_differences(run(), Run("new", shuffled, {})) == []


def test_another_answer_key_is_refused() -> None:
    new = run("new", reference=[str(i + 2) for i in range(40)])
    with pytest.raises(JoinError, match=r"40 of 40 shared items have another reference.*--allow references"):
        check_comparable(run(), new)


@pytest.mark.parametrize("in_order", [True, False])
def test_answer_keys_that_differ_in_capitals_alone_are_called_so_and_white_space_is_no_difference(
    in_order: bool,
) -> None:
    def keyed(name: str, *keys: str) -> Run:
        made = run(name, reference=[keys[i % 2] for i in range(40)])
        return made if in_order or name == "old" else Run(name, made.frame.reverse(), {})

    old = keyed("old", "billing", "refund")
    assert find_differences(old, keyed("new", " billing", "refund\n")) == []
    for key, told in (("Refund", True), ("returns", False)):
        (found,) = find_differences(old, keyed("new", "Billing", key))
        assert found.message.startswith("40 of 40 shared items have another reference")
        assert ("in capitals alone" in found.message) is told


def test_another_answer_key_is_found_in_another_order_and_without_texts() -> None:
    columns = {"input": [None] * 40, "correct": [True] * 40}
    old = run(**columns)
    new = run("new", reference=[str(i + 2) for i in range(40)], **columns)
    (found,) = find_differences(old, Run("new", new.frame.reverse(), {}))
    assert (found.what, found.severity) == ("references", "refuse")


def test_the_order_of_several_accepted_answers_makes_no_difference() -> None:
    old = run(reference=[["1", "one"]] * 40)
    assert find_differences(old, run("new", reference=[["one", "1"]] * 40)) == []


def test_another_judge_is_refused() -> None:
    judged = run(metadata=task(judge="gpt-a")), run("new", task(judge="gpt-b"))
    with pytest.raises(JoinError, match=r"judge gpt-a against gpt-b.*--allow judge"):
        check_comparable(*judged)


def test_another_metric_is_refused() -> None:
    with pytest.raises(JoinError, match=r"metric acc against acc_norm.*--allow metric"):
        check_comparable(run(metadata=task(metric="acc")), run("new", task(metric="acc_norm")))


def test_scores_of_another_name_are_refused_where_nothing_else_decides() -> None:
    old = read_run(pl.DataFrame({"id": ["1"], "score.rouge1": [0.5]}), name="old")
    new = read_run(pl.DataFrame({"id": ["1"], "score.bleu": [0.5]}), name="new")
    with pytest.raises(JoinError, match=r"main score rouge1 against bleu.*--allow metric"):
        check_comparable(old, new)


def scored(**scores: list[float | None]) -> pl.DataFrame:
    columns = {f"score.{score}": values for score, values in scores.items()}
    return pl.DataFrame({"task": ["qa"] * 4, "id": list("abcd"), **columns})


def test_allowed_scores_of_other_names_are_held_against_each_other_and_the_report_says_so() -> None:
    old = scored(rouge1=[0.5, 0.5, 0.5, 0.5], length=[3.0, 3.0, 3.0, 3.0])
    new = scored(bleu=[0.25, 0.5, 0.75, 1.0])
    report = compare(old, new, candidate=old, options=CompareOptions(allow=["metric"])).to_json()
    task = report["tasks"]["qa"]
    assert task["kind"] == "continuous" and task["score"] == "rouge1"
    assert task["quadrants"]["old_vs_new"] == {"better": 2, "worse": 1, "equal": 1}
    assert task["quadrants"]["old_vs_candidate"] == {"better": 0, "worse": 0, "equal": 4}
    assert any("its main score bleu is held against the old run's rouge1" in w for w in report["warnings"])
    steps = history([old, new], options=CompareOptions(allow=["metric"])).to_json()["tasks"]["qa"]["steps"]
    assert len(steps) == 1


def shares(*values: float) -> Run:
    table = pl.DataFrame({"task": "qa", "id": [str(i) for i in range(len(values))], "score.f1": list(values)})
    return Run("shares" if max(values) <= 1 else "percent", read_run(table).frame, {})


def test_a_score_in_percent_is_another_metric_than_the_same_score_as_a_share() -> None:
    share, percent = shares(*[0.8] * 40), shares(*[80.0] * 30, *[0.5] * 10)
    for sides in ((share, percent), (percent, share)):
        with pytest.raises(JoinError, match=r"f1 lies between 0 and 1 in shares, and is 80 as the median in percent"):
            check_comparable(*sides)
        assert check_comparable(*sides, allow={"metric"})


def test_scores_that_are_mostly_on_one_scale_are_one_metric() -> None:
    for values in ([1.2, *[0.4] * 39], [0.0] * 40, [-3.0] * 40):
        assert find_differences(shares(*[0.8] * 40), shares(*values)) == []


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ([0.0, 0.0, 0.0, 0.9], [0.0, 0.0, 0.0, 60.0], "lies between 0 and 1 in old, and is 60 as the median in new (z"),
        ([2.0, 4.0, 5.0, 5.0], [4.0, 8.0, 9.0, 10.0], "is at most 5 in old, and is 8.5 as the median in new, perhaps"),
    ],
)
def test_a_score_on_another_scale_is_found_among_zeros_and_above_1(
    old: list[float], new: list[float], told: str
) -> None:
    def scored(values: list[float], name: str = "old") -> Run:
        table = pl.DataFrame({"id": [str(place) for place in range(len(values))], "score.quality": values})
        return Run(name, read_run(table).frame)

    (found,) = of_kind(find_differences(scored(old * 5), scored(new * 5, "new")), "metric")
    assert found.severity == "refuse" and told in found.message
    assert find_differences(scored([2.0, 4.0]), scored([5.0, 8.0])) == []  # too few to say
    assert find_differences(scored([1.0, 2.0, 3.0, 5.0] * 5), scored([4.0, 5.0, 5.0, 5.0] * 5)) == []
    seconds = [1.25, 2.5, 1.5, 3.0]  # no grades: they may double by themselves
    assert find_differences(scored(seconds * 5), scored([4 * second for second in seconds] * 5)) == []


def test_allowed_scores_of_other_names_keep_the_other_tasks_scores() -> None:
    old = pl.concat([scored(rouge1=[0.5] * 4), scored(rouge1=[0.5] * 4).with_columns(task=pl.lit("b"))])
    new = pl.concat(
        [scored(bleu=[0.25] * 4), scored(rouge1=[0.75] * 4).with_columns(task=pl.lit("b"))],
        how="diagonal",
    )
    tasks = compare(old, new, options=CompareOptions(allow=["metric"])).to_json()["tasks"]
    assert tasks["qa"]["quadrants"]["old_vs_new"]["worse"] == 4
    assert tasks["b"]["quadrants"]["old_vs_new"]["better"] == 4


def test_scores_that_count_in_other_directions_are_refused_also_where_allowed() -> None:
    old, new = scored(rouge1=[0.5] * 4), scored(perplexity=[9.0] * 4)
    with pytest.raises(JoinError, match=r"of rouge1 in .* more is better, of perplexity in .* less; .*--metric"):
        compare(old, new, options=CompareOptions(allow=["metric"], lower_is_better=["perplexity"]))


def test_another_template_is_only_noted_where_the_prompts_themselves_were_compared() -> None:
    old, new = run(metadata=task(num_fewshot=0)), run("new", task(num_fewshot=5))
    (found,) = check_comparable(old, new)
    assert (found.what, found.severity) == ("prompts", "note") and "num_fewshot 0 against 5" in found.message
    nothing = {"input": [None] * 40, "correct": [True] * 40}
    with pytest.raises(JoinError, match="num_fewshot"):
        check_comparable(run(metadata=task(num_fewshot=0), **nothing), run("new", task(num_fewshot=5), **nothing))


def test_other_documents_are_refused_where_no_text_tells() -> None:
    facts = [task(data_fingerprint=mark) for mark in ("aa", "bb")]
    assert check_comparable(run(metadata=facts[0]), run("new", facts[1]))[0].severity == "note"
    nothing = {"input": [None] * 40, "correct": [True] * 40}
    with pytest.raises(JoinError, match="--allow documents"):
        check_comparable(run(metadata=facts[0], **nothing), run("new", facts[1], **nothing))


def test_generation_settings_batch_size_and_versions_are_noted() -> None:
    old = task(generation={"temperature": 0, "max_tokens": 64}, batch_size=1) | {"versions": {"lm_eval": "0.4.2"}}
    new = task(generation={"temperature": 0.7, "max_tokens": 64}, batch_size=16) | {
        "versions": {"lm_eval": "0.4.13", "vllm": "1"}
    }
    found = check_comparable(run(metadata=old), run("new", new))
    assert {(d.what, d.severity) for d in found} == {
        ("generation", "note"),
        ("scoring", "note"),
        ("versions", "note"),
    }
    assert "generation.temperature 0 against 0.7" in of_kind(found, "generation")[0].message
    assert "max_tokens" not in of_kind(found, "generation")[0].message
    assert "lm_eval 0.4.2 against 0.4.13" in of_kind(found, "versions")[0].message


def test_a_fact_that_one_side_does_not_state_is_no_difference() -> None:
    assert find_differences(run(metadata=task(judge="gpt-a")), run("new", task(num_fewshot=5))) == []


def test_within_a_fact_that_both_state_what_only_one_names_is_a_difference() -> None:
    rules = [task(metric_config={"f1": {"metric_parameters": values}}) for values in ({"threshold": 0.8}, {})]
    (found,) = find_differences(run(metadata=rules[0]), run("new", rules[1]))
    assert (found.what, found.severity) == ("metric", "refuse")
    assert found.message.endswith("metric_config.f1.metric_parameters.threshold 0.8 against none")


def judged(name: str, **columns: list[Any]) -> Run:
    """A run as it is read from a table, which says what its verdicts were made from."""
    usual: dict[str, list[Any]] = {
        "id": list(range(40)),
        "input": [f"{i}?" for i in range(40)],
        "reference": ["a"] * 40,
    }
    return read_run(pl.DataFrame(usual | columns), name=name)


def test_given_verdicts_that_are_not_what_the_other_sides_rule_gives_are_another_metric() -> None:
    compared = judged("compared", output=["a"] * 30 + ["b"] * 10)
    loose = judged("loose", output=["a"] * 20 + ["b"] * 20, correct=[True] * 30 + [False] * 10)
    for sides in ((compared, loose), (loose, compared)):
        with pytest.raises(JoinError, match=r"comparing 'output'.* 10 of 40 verdicts of loose.*--allow metric"):
            check_comparable(*sides)
        assert check_comparable(*sides, allow={"metric"})


def test_given_verdicts_that_the_other_sides_rule_gives_too_are_the_same_metric() -> None:
    compared = judged("compared", output=["a"] * 30 + ["b"] * 10)
    given = judged("given", output=["a"] * 20 + ["b"] * 20, correct=[True] * 20 + [False] * 20)
    assert find_differences(compared, given) == find_differences(given, compared) == []


def test_given_verdicts_that_nothing_can_be_held_against_are_noted_beside_compared_ones() -> None:
    compared = judged("compared", output=["a"] * 40)
    (found,) = find_differences(compared, judged("given", correct=[True] * 40))
    assert (found.what, found.severity) == ("metric", "note")
    assert "the verdicts of given are given" in found.message


def test_verdicts_of_columns_that_are_called_by_other_metrics_are_refused() -> None:
    def called(name: str) -> Run:
        return read_run(pl.DataFrame({"id": list(range(40)), name: [1] * 40}), name=name)

    with pytest.raises(JoinError, match=r"judged_by accuracy against exact match.*--allow metric"):
        check_comparable(called("acc"), called("exact_match"))
    for names in (("em", "exact_match"), ("passed", "acc"), ("correct", "passed")):
        assert find_differences(*map(called, names)) == []


@pytest.mark.parametrize("form", ["file", "folder", "converted"])
def test_a_column_of_verdicts_that_decides_on_one_side_only_is_refused(tmp_path: Path, form: str) -> None:
    def written(name: str, header: str, line: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        file = folder / "t.csv"
        file.write_text("\n".join([header, *(f"{place},{line}" for place in range(20))]))
        if form == "converted":
            convert(read_run(file), tmp_path / f"{name}-converted")
            return tmp_path / f"{name}-converted"
        return file if form == "file" else folder

    old = written("old", "id,passed", "no")
    new = written("new", "id,correct,passed", "yes,no")
    for runs in ((old, new), (new, old)):
        with pytest.raises(JoinError, match=r"column 'passed' decides in .*'correct' does .*--allow metric"):
            compare(*runs)
    same = written("same", "id,correct,passed", "no,yes")
    assert of_kind(find_differences(read_run(new), read_run(same)), "metric") == []


def test_verdicts_of_a_folder_that_are_called_by_other_metrics_are_refused(tmp_path: Path) -> None:
    for name, measure in (("old", "acc"), ("new", "exact_match")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "t.csv").write_text(f"id,{measure}\n1,1\n2,0\n")
    with pytest.raises(JoinError, match="judged_by accuracy against exact match"):
        compare(tmp_path / "old", tmp_path / "new")


def test_what_was_read_out_of_an_answer_is_another_rule_than_the_whole_answer() -> None:
    whole = judged("whole", output=["a"] * 40)
    extracted = judged("extracted", output=["so a"] * 40, extracted_answer=["a"] * 40)
    with pytest.raises(JoinError, match=r"--allow metric"):
        check_comparable(whole, extracted)


def test_a_change_that_many_tasks_share_is_told_once() -> None:
    facts = [{"tasks": {f"task{i}": {"judge": judge} for i in range(9)}} for judge in "ab"]
    (found,) = find_differences(run(metadata=facts[0]), run("new", facts[1]))
    assert found.message == "task task0, task1, task2 and 6 more: judge a against b"


def test_numbers_of_items_and_repeats_and_missing_tasks_are_noted() -> None:
    half = run("new", size=20)
    (found,) = find_differences(run(), half)
    assert found.what == "items" and "40 items against 20 items" in found.message
    more = Run("new", pl.concat([run().frame, run().frame.with_columns(task=pl.lit("second"))]), {})
    found = of_kind(find_differences(run(), more), "items")[0]
    assert found.message == "only in new: second"


def test_an_unknown_word_to_allow_is_refused() -> None:
    with pytest.raises(ConfigError, match="allow 'promts': expected one of prompts"):
        CompareOptions(allow={"promts"})


def test_two_real_runs_of_one_harness_have_no_refused_difference() -> None:
    runs = [read_run(FILES / "lm_eval" / "0.4.13" / name) for name in ("toy__model-1", "toy__model-2")]
    assert not [d for d in find_differences(*runs) if d.severity == "refuse"]


def test_two_releases_of_a_harness_are_told_apart() -> None:
    runs = [read_run(FILES / "lm_eval" / v / "toy__model-1") for v in ("0.4.5", "0.4.13")]
    assert "transformers 4.57.1 against 5.23.0" in of_kind(find_differences(*runs), "versions")[0].message


@pytest.mark.parametrize(
    "name",
    [
        "metric_list",
        "filter_list",
        "metric_specs",
        "metric_config",
        "process_results",
        "assertions",
        "graders",
        "scorers",
        "version",
    ],
)
def test_other_rules_of_scoring_are_another_metric(name: str) -> None:
    facts = [task(**{name: [{"metric": "exact_match", "ignore_case": value}]}) for value in (True, False)]
    with pytest.raises(JoinError, match=f"{name}.*--allow metric"):
        check_comparable(run(metadata=facts[0]), run("new", facts[1]))


def test_items_that_are_graded_in_another_way_are_found_in_another_order() -> None:
    old = run(graded_by=["equals"] * 40)
    new = run("new", graded_by=["contains", *["equals"] * 39])
    for frame in (new.frame, new.frame.reverse()):
        (found,) = find_differences(old, Run("new", frame, {}))
        assert (found.what, found.severity) == ("metric", "refuse")
        assert found.message == "1 of 40 shared items are graded in another way: by 'equals' against 'contains'"


def test_items_whose_first_answer_is_lost_are_compared_too() -> None:
    repeats = [1 + place % 2 for place in range(40)]
    old, new = (run(name, repeat=repeats, graded_by=[way] * 40) for name, way in (("old", "strict"), ("new", "loose")))
    late = Run("new", new.frame.with_columns(pl.col("repeat") + 1))
    for other in (new, late):
        (found,) = of_kind(find_differences(old, other), "metric")
        assert "40 of 40 shared items are graded in another way" in found.message


EARLY, LATE = "2026-01-05T10:00:00Z", "2026-03-01T08:30:00+00:00"


@pytest.mark.parametrize("written", [LATE, 1772353800.0, "1772353800", 1772353800000, "2026-03-01T08-30-00.5"])
def test_an_old_run_that_was_made_after_the_new_one_is_told(written: object) -> None:
    (found,) = find_differences(run(metadata={"created": written}), run("new", {"created": EARLY}))
    assert (found.what, found.severity) == ("order", "note")
    assert "old was run after new (2026-03-01 08:30 against 2026-01-05 10:00)" in found.message
    assert find_differences(run(metadata={"created": EARLY}), run("new", {"created": written})) == []


@pytest.mark.parametrize("written", [None, "", "yesterday", EARLY, True, [LATE], float("inf")])
def test_an_order_that_the_runs_do_not_tell_is_no_difference(written: object) -> None:
    assert find_differences(run(metadata={"created": written}), run("new", {"created": EARLY})) == []


@pytest.mark.parametrize(("written", "is_told"), [("2026-01-06T09:59:59Z", False), ("2026-01-06T10:00:00Z", True)])
def test_two_runs_of_one_session_have_no_order(written: str, is_told: bool) -> None:
    found = find_differences(run(metadata={"created": written}), run("new", {"created": EARLY}))
    assert [difference.what for difference in found] == ["order"] * is_told


def test_how_items_are_graded_is_no_difference_where_one_side_does_not_say_it() -> None:
    assert find_differences(run(graded_by=["equals"] * 40), run("new")) == []


def working(run_number: int) -> Any:
    """Two hundred wrong answers: the same numbers each time, by other words."""
    numbers = [str(3 * i + 1) for i in range(200)]
    return pl.DataFrame(
        {
            "id": [str(i) for i in range(200)],
            "input": [f"How many jars of kind {i}?" for i in range(200)],
            "reference": ["7"] * 200,
            "output": [f"By way {run_number} it is {n}.\n#### {n}" for n in numbers],
            "extracted_answer": numbers,
            "correct": [False] * 200,
        }
    )


def test_the_same_wrong_number_with_other_working_is_no_inconsistency() -> None:
    metrics = compare(working(1), working(2)).to_json()["tasks"]["all"]["old_vs_new"]
    assert metrics["inconsistency_rate"]["value"] == 0.0 and metrics["churn"]["value"] == 0.0
    whole = [working(n).drop("extracted_answer") for n in (1, 2)]
    assert compare(*whole).to_json()["tasks"]["all"]["old_vs_new"]["inconsistency_rate"]["value"] == 1.0


def test_an_extracted_answer_on_one_side_only_leaves_the_whole_texts_to_compare() -> None:
    new = working(1).drop("extracted_answer")
    assert compare(working(1), new).to_json()["tasks"]["all"]["old_vs_new"]["churn"]["value"] == 0.0


def test_metadata_that_are_nested_too_deeply_are_refused() -> None:
    deep: Any = 1
    for _ in range(5000):
        deep = {"a": deep}
    with pytest.raises(DataError, match="nested less than 100 deep"):
        find_differences(run(metadata=task(judge=deep)), run("new", task(judge="x")))
