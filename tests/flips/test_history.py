from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from helpers.two_versions import table
from muscle import CompareOptions, history
from muscle.errors import ConfigError, JoinError
from muscle.flips.history import KIND_WORDS
from muscle.flips.statistics.intervals import mcnemar
from muscle.report.text.history import history_markdown, print_history


def chain(*ways: str, times: int = 1, **columns: list[Any]) -> list[pl.DataFrame]:
    """A run a version from items' ways, such as "RWR"."""
    ways = ways * times
    return [table([way[n] == "R" for way in ways], **columns) for n in range(len(ways[0]))]


def only_task(report: dict[str, Any]) -> dict[str, Any]:
    (task,) = report["tasks"].values()
    return task


def followed(*ways: str, **options: Any) -> dict[str, Any]:
    report = history(chain(*ways), options=CompareOptions(**options)).to_json()
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    return only_task(report)


def test_every_items_way_is_counted() -> None:
    task = followed("RWR", "RWR", "RRR", "WRW", "RWW")
    assert task["patterns"][0] == {"pattern": "RWR", "count": 2, "share": 0.4}
    assert {entry["pattern"]: entry["count"] for entry in task["patterns"]} == {
        "RWR": 2,
        "RRR": 1,
        "WRW": 1,
        "RWW": 1,
    }


@pytest.mark.parametrize("times", [(3, 3, 3), (1, 1, 3), (1, 3, 1), (3, 1, 1)])
def test_answers_that_only_repeat_make_a_step_no_surer(times: tuple[int, int, int]) -> None:
    runs = chain(*["RWR"] * 9, *["WRR"] * 2, *["RRW"] * 6, *["RRR"] * 40)
    many = [
        pl.concat([run.with_columns(repeat=pl.lit(r)) for r in range(k)]) for run, k in zip(runs, times, strict=True)
    ]
    once, again = (only_task(history(each).to_json())["steps"] for each in (runs, many))
    for plain, step in zip(once, again, strict=True):
        assert step["p"] == pytest.approx(plain["p"])
        assert step["negative_flip_rate"]["value"] == pytest.approx(plain["negative_flip_rate"]["value"])


def test_what_became_of_the_items_is_named() -> None:
    task = followed("RRRR", "WWWW", "RRWW", "WRRR", "RWWR", "WRRW", "RWRW", "WRWR")
    assert task["kinds"] == {
        "always_right": 1,
        "always_wrong": 1,
        "lost": 1,
        "gained": 1,
        "recovered": 1,
        "relapsed": 1,
        "to_and_fro": 2,
    }
    assert set(task["kinds"]) == set(KIND_WORDS)
    assert task["broke_somewhere"] == 5


def test_steps_and_the_whole_way_have_their_flips_and_tests() -> None:
    task = followed(*["RWW"] * 8, *["WRR"] * 2, *["RRW"] * 3, *["RRR"] * 20)
    first, second = task["steps"]
    assert (first["negative_flips"], first["positive_flips"]) == (8, 2) and first["p"] == mcnemar(8, 2).exact
    assert (second["negative_flips"], second["positive_flips"]) == (3, 0)
    assert (task["first_to_last"]["negative_flips"], task["first_to_last"]["positive_flips"]) == (11, 2)
    assert first["holm_p"] == pytest.approx(2 * mcnemar(8, 2).exact)


def test_items_that_came_back_are_no_flips_from_first_to_last() -> None:
    task = followed(*["RWR"] * 5, "RRR")
    assert task["first_to_last"]["negative_flips"] == 0 and task["broke_somewhere"] == 5


def test_items_that_a_run_lacks_are_left_out_everywhere() -> None:
    runs = chain("RWR", "RRR", "WRW", times=20)
    runs[1] = runs[1].with_columns(error=pl.when(pl.col("id") == "4").then(pl.lit("timeout")))
    runs[2] = runs[2].filter(pl.col("id") != "7")
    task = only_task(history(runs).to_json())
    assert (task["n"], task["left_out"]) == (58, 1)
    assert sum(entry["count"] for entry in task["patterns"]) == 58


def test_rows_in_another_order_make_the_same_history() -> None:
    runs = chain("RWR", "RRR", "WRW", "RWW", input=["a", "b", "c", "d"])
    shuffled = [runs[0], runs[1].reverse(), runs[2].sample(fraction=1, shuffle=True, seed=1)]
    assert only_task(history(runs).to_json()) == only_task(history(shuffled).to_json())


def test_the_most_restless_items_are_listed_first() -> None:
    task = followed("RRRR", "RWRW", "RWWW")
    assert [(item["id"], item["pattern"], item["changes"]) for item in task["items"]] == [
        ("1", "RWRW", 3),
        ("2", "RWWW", 1),
    ]


def test_a_score_is_followed_by_the_sign_of_its_steps() -> None:
    ids = ["a", "b"]
    scores = ([0.5, 0.2], [0.4, 0.2], [0.6, 0.3])
    runs = [pl.DataFrame({"id": ids, "score": values}) for values in scores]
    task = only_task(history(runs).to_json())
    assert {entry["pattern"] for entry in task["patterns"]} == {"-+", "=+"}
    assert task["kinds"] is None and task["broke_somewhere"] == 1
    assert task["levels"] == pytest.approx([0.35, 0.3, 0.45])
    assert task["first_to_last"]["accuracy_difference"]["value"] == pytest.approx(0.1)


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 4).flatmap(lambda k: st.lists(st.text("RW", min_size=k, max_size=k), min_size=1, max_size=30)))
def test_the_steps_add_up_to_the_whole_way(ways: list[str]) -> None:
    task = followed(*ways)
    net = [step["positive_flips"] - step["negative_flips"] for step in task["steps"]]
    ends = task["first_to_last"]
    assert sum(net) == ends["positive_flips"] - ends["negative_flips"]
    assert task["levels"][-1] - task["levels"][0] == pytest.approx(sum(net) / len(ways))
    assert sum(task["kinds"].values()) == sum(entry["count"] for entry in task["patterns"]) == len(ways)


def test_runs_are_named_apart() -> None:
    assert history(chain("RW", "RR")).to_json()["runs"] == ["1 table", "2 table"]
    assert history(chain("RW", "RR"), names=["v1", "v2"]).to_json()["tasks"]["all"]["steps"][0]["to"] == "v2"


def test_one_run_is_no_history() -> None:
    with pytest.raises(ConfigError, match="expected two runs or more, found 1"):
        history([table([True])])


def test_as_many_names_as_runs_are_needed() -> None:
    with pytest.raises(ConfigError, match="expected 2 names"):
        history(chain("RW"), names=["v1"])


def test_a_step_that_changes_the_prompts_is_refused() -> None:
    runs = chain("RW", "RR", input=["a?", "b?"])
    with pytest.raises(JoinError, match="--allow prompts"):
        history([runs[0], runs[1].with_columns(input=pl.col("input") + "!")])


def test_what_the_version_between_does_not_state_is_held_against_each_other() -> None:
    first, between, last = (
        run.with_columns(input=pl.format("{}?", "id")) for run in chain(*["RRR"] * 40, *["RWR"] * 10)
    )
    keyed = [run.with_columns(reference=pl.lit(answer)) for run, answer in ((first, "a"), (last, "b"))]
    with pytest.raises(JoinError, match="have another reference"):
        history([keyed[0], between, keyed[1]])
    assert history([keyed[0], between, keyed[0].with_columns(correct=last["correct"])]).to_json()["tasks"]


def test_one_file_in_the_place_of_two_versions_is_told_of(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("v1.jsonl", "v2.jsonl")]
    for path, run in zip(paths, chain("RW", "RR", "WR"), strict=True):
        run.write_ndjson(path)
    found = history([*paths, paths[0]])
    assert found.warnings[0] == f"{paths[0]}: 1 v1 and 3 v1 are one file, which cannot differ from itself"
    assert not any("one file" in each for each in history(paths).warnings)


def test_a_task_that_cannot_be_followed_says_why() -> None:
    scored = [
        run.with_columns(score=pl.col("correct").cast(pl.Float64), task=pl.lit("graded")).drop("correct")
        for run in chain(*["RWR"] * 8)
    ]
    graded = [*scored[:2], scored[2].with_columns(score=pl.lit(0.5))]
    why = "some versions are judged right or wrong, others have only a score"
    with pytest.raises(JoinError, match=f"task 'graded': {why}"):
        history(graded)
    both = [
        pl.concat([run, other.with_columns(task=pl.lit("sums"), score=scored[0]["score"])])
        for run, other in zip(graded, scored, strict=True)
    ]
    stream = io.StringIO()
    print_history(history(both), Console(file=stream, width=120))
    assert f"task graded is not followed: {why}" in stream.getvalue()


def test_a_task_that_not_all_runs_have_is_named() -> None:
    runs = chain(*["RWR"] * 40, task=["a"] * 39 + ["b"])
    report = history([runs[0], runs[1], runs[2].head(39)]).to_json()
    assert report["tasks_left_out"] == ["b"] and list(report["tasks"]) == ["a"]


def test_the_terminal_and_markdown_tell_the_same_story() -> None:
    report = history(chain("RWR", "RWR", "RRR", "WRW", "RWW", task=["<b>@x"] * 5), names=["v1", "v2", "v3"])
    console = Console(file=io.StringIO(), width=160)
    print_history(report, console)
    shown, written = console.file.getvalue(), history_markdown(report)  # type: ignore[attr-defined]
    for text in ("v1", "v3", "RWR", "40.0%", "right, wrong, right again: 2"):
        assert text in shown and text.replace(".", "\\.") in written.replace("40.0%", "40\\.0%")
    assert "<b>" not in written and "@x" not in written


def test_repeats_are_told_as_answers() -> None:
    runs = [table([True, False] * 3, repeat=[0, 1] * 3).with_columns(id=pl.Series(list("001122"))) for _ in range(2)]
    report = history(runs)
    assert only_task(report.to_json())["unit"] == "answers" and "of 6 answers" in history_markdown(report)
    assert followed("RW", "WR")["unit"] == "items"
