"""Reading NeMo Evaluator's bundles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from harness_files import refusal, write

from helpers.json_lines import write_lines
from muscle import compare, read_run
from muscle.errors import JoinError


def nemo_bundle(folder: Path, rewards: list[Any], name: str = "gsm8k") -> Path:
    config = {"model": "toy/model-1", "temperature": 0.0, "benchmark": name}
    body = {"run_id": "eval-1", "config_hash": "sha256:0", "sdk_version": "0.4.0", "config": config}
    scores = {"mean_reward": {"value": 0.5}}
    write(folder / f"eval-1-{name}.json", body | {"benchmark": {"name": name, "repeats": 2, "scores": scores}})
    rows = [
        {
            "problem_idx": place // 2,
            "repeat": place % 2,
            "reward": reward,
            "prompt": f"{place // 2}?",
            "expected_answer": "7",
            "model_response": "It is 7.",
            "extracted_answer": "7",
            "metadata": {"category": "sums" if place < 4 else "products"},
        }
        for place, reward in enumerate(rewards)
    ]
    write_lines(folder / "results.jsonl", *rows)
    return folder


def test_a_bundle_of_nemo_evaluator_is_read_with_its_repeats(tmp_path: Path) -> None:
    run = read_run(nemo_bundle(tmp_path, [1.0, 0.0, 1, 1, 0, 0, 1, 0]))
    assert (run.metadata["format"], run.name, run.tasks) == ("nemo", "toy/model-1", ["gsm8k"])
    assert run.frame["repeat"].to_list() == [0, 1] * 4
    assert run.frame["correct"].sum() == 4
    assert run.frame["output"][0] == "7"
    assert run.frame["slice.category"].to_list() == ["sums"] * 4 + ["products"] * 4
    assert run.metadata["results"] == {"gsm8k": {"mean_reward": 0.5}}


def test_rewards_between_zero_and_one_are_no_verdicts(tmp_path: Path) -> None:
    frame = read_run(nemo_bundle(tmp_path, [1.0, 0.25])).frame
    assert frame["correct"].null_count() == 2
    assert frame["score.reward"].to_list() == [1.0, 0.25]


def test_a_folder_of_bundles_gives_a_task_each(tmp_path: Path) -> None:
    for name in ("gsm8k", "mmlu"):
        nemo_bundle(tmp_path / name, [1.0, 0.0], name)
    assert read_run(tmp_path).tasks == ["gsm8k", "mmlu"]


def test_a_reward_that_is_missing_or_no_number_is_named(tmp_path: Path) -> None:
    folder = nemo_bundle(tmp_path, [1.0, float("nan")])
    assert f"{folder / 'results.jsonl'}, line 2, field 'reward': expected a finite number, found nan" in refusal(folder)


def rewritten(folder: Path, **changes: Any) -> Path:
    """Change fields of a bundle's `eval-*.json`."""
    (file,) = folder.glob("eval-*.json")
    write(file, json.loads(file.read_text()) | changes)
    return folder


def test_results_that_the_bundle_tells_of_and_the_file_lacks_are_counted(tmp_path: Path) -> None:
    for name, changes in (
        ("a", {"n_results": 6}),
        ("b", {"benchmark": {"name": "b", "samples": 3, "repeats": 2}}),
    ):
        (unread,) = read_run(rewritten(nemo_bundle(tmp_path / name, [1.0, 0.0, 1, 1], name), **changes)).unread
        assert unread.num_items == 2
        assert unread.what.startswith("2 of 6 results that eval-1-")


def test_rewards_of_further_scorers_are_kept(tmp_path: Path) -> None:
    folder = nemo_bundle(tmp_path, [1.0, 0.0])
    rows = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    write_lines(folder / "results.jsonl", *(row | {"scorer_rewards": {"scorer:f1": 0.25}} for row in rows))
    assert read_run(folder).frame["score.scorer:f1"].to_list() == [0.25, 0.25]


def test_bundles_of_several_models_or_of_one_benchmark_are_refused(tmp_path: Path) -> None:
    for name in ("gsm8k", "mmlu"):
        nemo_bundle(tmp_path / name, [1.0, 0.0], name)
    rewritten(tmp_path / "mmlu", config={"model": "toy/model-2"})
    assert "expected the results of one model, found toy/model-1, toy/model-2" in refusal(tmp_path)
    rewritten(tmp_path / "mmlu", config={"model": "toy/model-1"}, benchmark={"name": "gsm8k"})
    assert "expected one bundle a benchmark, found several of gsm8k" in refusal(tmp_path)


def test_folders_beside_a_bundle_that_are_not_read_are_counted(tmp_path: Path) -> None:
    nemo_bundle(tmp_path, [1.0, 0.0])
    nemo_bundle(tmp_path / "mmlu", [1.0, 0.0], "mmlu")
    assert [Path(each.where).name for each in read_run(tmp_path).unread] == ["mmlu"]


@pytest.mark.parametrize("repeat", [2**63, 0.5, "1", -1, True])
def test_a_repeat_that_is_no_whole_number_is_named(tmp_path: Path, repeat: Any) -> None:
    folder = nemo_bundle(tmp_path, [1.0, 0.0])
    rows = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    write_lines(folder / "results.jsonl", rows[0], rows[1] | {"repeat": repeat})
    assert "results.jsonl, line 2, field 'repeat': expected a whole number from 0" in refusal(folder)


def with_results(folder: Path, **changes: Any) -> Path:
    """Change fields of all of a bundle's results."""
    rows = [json.loads(line) | changes for line in (folder / "results.jsonl").read_text().splitlines()]
    write_lines(folder / "results.jsonl", *rows)
    return folder


def judged(folder: Path, model: str) -> Path:
    return with_results(nemo_bundle(folder, [1.0, 0.0] * 20), scoring_details={"judge": {"judge_model": model}})


def configured(folder: Path, **settings: Any) -> Path:
    nemo_bundle(folder, [1.0, 0.0] * 20)
    return rewritten(folder, config={"model": f"toy/{folder.name}", "temperature": 0.0, **settings})


def test_another_judge_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JoinError, match=r"judge.models .*judge-1.* against .*judge-2.*--allow judge"):
        compare(judged(tmp_path / "old", "judge-1"), judged(tmp_path / "new", "judge-2"))


def test_other_settings_of_the_judge_are_refused_and_no_key_is_shown(tmp_path: Path) -> None:
    old, new = (
        configured(tmp_path / name, judge={"model": "judge-1", "temperature": heat, "api_key": f"key-{name}"})
        for name, heat in (("old", 0), ("new", 1))
    )
    with pytest.raises(JoinError, match=r"judge.judge.temperature 0 against 1\. Run both"):
        compare(old, new)
    assert "key-" not in str(read_run(old).metadata)


def test_a_system_prompt_on_one_side_is_refused_and_other_settings_are_noted(tmp_path: Path) -> None:
    old = configured(tmp_path / "old", system_prompt=None, reasoning="off")
    with pytest.raises(JoinError, match=r"prompt none against .*be brief.*--allow prompts"):
        compare(old, configured(tmp_path / "new", system_prompt="be brief", reasoning="off"))
    new = configured(tmp_path / "other", temperature=1.0, reasoning="on")
    found = [each.message for each in compare(old, new).report.comparability["old_vs_new"]]
    assert found == ["task gsm8k: generation.temperature 0.0 against 1.0", "task gsm8k: args.reasoning off against on"]


@pytest.mark.parametrize("judge", [{"error": "Timeout: no answer", "total": None}, {"score": 0, "parse_error": True}])
def test_an_item_whose_judge_failed_is_missing_not_wrong(tmp_path: Path, judge: dict[str, Any]) -> None:
    frame = read_run(with_results(nemo_bundle(tmp_path, [0.0, 0.0]), scoring_details={"judge": judge})).frame
    assert frame["error"].str.starts_with("unscored: the judge").to_list() == [True, True]
    assert frame["correct"].null_count() == 2


def test_a_further_scorer_that_raised_has_no_score(tmp_path: Path) -> None:
    details = {"scorer:f1": {"error": "no module", "reward": 0.0}}
    folder = with_results(nemo_bundle(tmp_path, [1.0, 0.0]), scoring_details=details, scorer_rewards={"scorer:f1": 0.0})
    run = read_run(folder)
    assert run.score_names() == ["reward"]
    assert run.frame["correct"].to_list() == [True, False]
