"""Candidate answers as the unit of training: the whole way through `muscle update` and `align` on the tiny pair."""

import json
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from muscle.config.alignment import AlignmentSettings
from muscle.config.methods import AnswerSettings
from muscle.errors import ConfigError, DataError
from muscle.pipeline.dry_run import plan_update
from muscle.pipeline.stages import UpdateStages
from muscle.pipeline.update import update
from muscle.pipeline.whole_answers.candidates import candidate_parts
from muscle.report.sentences.trained import method_words
from muscle.tasks.candidates import Candidate, read_candidates, write_candidates
from muscle.tasks.task import Example
from tiny.bases import GENERATION_YAML, TASK_YAML
from tiny.update_inputs import align_alone, configured, with_adapters, write_update_inputs


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    root = write_update_inputs(tmp_path_factory.mktemp("answers"), task=GENERATION_YAML, kept=("id", "goal"))
    (root / "choice.yaml").write_text(TASK_YAML)
    return root


@pytest.fixture(scope="module")
def plain(inputs, tmp_path_factory):
    """A run of the preset on unlabelled inputs too, whose task adapters the others take over."""
    out = tmp_path_factory.mktemp("plain") / "preset"
    return update(configured(inputs, out, method="answers", unlabelled="more.jsonl")).folder


def written(folder: Path, run: str) -> dict:
    return json.loads((folder / "adapters" / run / "tools" / "training.json").read_text())


def test_the_preset_goes_the_whole_way_with_its_control(inputs, plain):
    compat, control = written(plain, "compat"), written(plain, "control")
    drawn = read_candidates(plain / "candidates" / "tools.jsonl")
    found = (compat["unit"], compat["target"], compat["num_unlabelled"])
    assert found == ("answers", "mixture", answered(drawn))
    assert 0 < answered(drawn) <= 30
    assert compat["labels_first"]["num_epochs"] == 1
    assert all(0 < share <= 1 for share in compat["mean_candidates_probability"].values())
    assert (control["unit"], control["target"]) == ("answers", "labels")
    assert control["num_epochs"] == compat["control_epochs"]
    again = configured(inputs, plain, method="answers", unlabelled="more.jsonl")
    assert update(again).num_stages_run == 0


def test_candidates_are_kept_with_who_gave_them_and_the_reference_first(plain):
    found = read_candidates(plain / "candidates" / "tools.jsonl")
    assert len(found) == 70
    for key, candidates in found.items():
        texts = [each.text for each in candidates]
        assert len(set(texts)) == len(texts) <= 7
        by_data = ["reference" in each.sources for each in candidates]
        assert by_data == [not key.startswith("unlabelled/"), *[False] * len(by_data)][: len(by_data)]
    sources = {source for candidates in found.values() for each in candidates for source in each.sources}
    assert sources == {"reference", "old greedy", "old sample", "new greedy", "new sample"}
    assert not list((plain / "candidates").glob(".*"))


METHODS = {
    "labels": {"method": "answers", "target": "labels", "answers": {"models": ["new"], "samples": 1}},
    "margin": {"unit": "answers", "target": "margin"},
    "reliability": {"method": "answers", "target": "reliability", "labels_first": False},
    "stack": {"method": "answers", "target": "stack", "kappa": 3.0, "labels_first": False},
    "by tokens": {"method": "answers", "target": "lifted", "answers": {"normalise": "tokens"}, "labels_first": False},
    "focal": {"method": "pct", "unit": "answers", "focal": {"sources": "both"}},
    "inhibition": {"method": "ldi", "unit": "answers", "old_share": 0.5},
    "twins": {"method": "twins", "unit": "answers"},
    "closed": {"method": "answers", "kl": "reverse", "answers": {"rest": False}, "labels_first": False},
}


@pytest.mark.parametrize("name", METHODS)
def test_every_target_goes_the_whole_way(inputs, plain, tmp_path, name):
    config = with_adapters(configured(inputs, tmp_path / "run", **METHODS[name]), plain)
    folder = update(config).folder
    found = written(folder, "compat")
    assert (found["unit"], found["target"]) == ("answers", config.alignment.target)
    assert found["answers"]["normalise"] == config.alignment.answers.normalise
    assert 1 < found["mean_candidates"] <= config.alignment.num_candidates
    taught = config.alignment.target not in ("labels", "twins")
    assert ("mean_candidates_probability" in found) == (config.alignment.answers.counts_rest and taught)


def test_tokens_of_every_answer_go_the_whole_way(inputs, plain, tmp_path):
    choices = {"method": "every_answer", "unlabelled": "more.jsonl", "unlabelled_epochs": 1}
    config = with_adapters(configured(inputs, tmp_path / "run", **choices), plain)
    counted = {stage.name: stage for stage in plan_update(config).stages}
    result = update(config)
    found, control = written(result.folder, "compat"), written(result.folder, "control")
    drawn = read_candidates(result.folder / "candidates" / "tools.jsonl")
    texts = {
        part: sum(len(each) for key, each in drawn.items() if key.startswith(f"{part}/"))
        for part in ("train", "unlabelled", "validation")
    }
    assert found["num_texts"] == texts["train"] + texts["unlabelled"] > found["num_examples"]
    assert (found["num_epochs"], found["num_unlabelled"]) == (1, answered(drawn))
    assert counted["candidates tools"].num_tokens > 0
    assert counted["align tools"].num_tokens == counted["align tools"].teacher_tokens / 2 + tokens_of(
        config, "validation"
    )
    # The control learns the references alone, as often as texts were read.
    assert control["num_epochs"] == found["control_epochs"] == -(-found["num_texts"] // found["num_labelled"])
    (candidate,) = (each for each in result.report.training["tools"] if each.run == "compat")
    assert method_words(candidate).startswith("tokens of every answer, target mixture, old share 0.5, T = 1")
    assert update(config).num_stages_run == 0


def answered(drawn) -> int:
    return sum(bool(candidates) for key, candidates in drawn.items() if key.startswith("unlabelled/"))


def tokens_of(config, part: str) -> int:
    """Return the tokens of a part's texts at most: seven answers each, as long as the reference."""
    (data,) = UpdateStages(config).data.values()
    tokenizer = AutoTokenizer.from_pretrained(config.new.base)
    read = [len(tokenizer(each.context + each.target)["input_ids"]) for each in getattr(data, part)]
    return 7 * sum(read)


def test_another_way_to_score_candidates_draws_none_again(inputs, plain):
    states = {}
    for name, answers in {"scored": {"normalise": "tokens"}, "drawn": {"samples": 3}}.items():
        config = configured(inputs, plain, method="answers", unlabelled="more.jsonl", answers=answers)
        states[name] = {stage.name: stage.state for stage in plan_update(config).stages}
    assert states["scored"]["candidates tools"] == "done"
    assert states["scored"]["align tools"] == states["drawn"]["candidates tools"] == "to run"


def test_a_dry_run_counts_what_is_drawn_and_read(inputs, tmp_path):
    counted = []
    for samples in (1, 3):
        config = configured(inputs, tmp_path / str(samples), method="answers", answers={"samples": samples})
        counted.append({stage.name: stage.num_tokens for stage in plan_update(config).stages})
    assert counted[1]["candidates tools"] == 2 * counted[0]["candidates tools"] > 0
    assert counted[1]["align tools"] > counted[0]["align tools"]


def test_the_unit_must_be_the_tasks(inputs, tmp_path):
    with pytest.raises(ConfigError, match=r"answers needs a task whose answers are generated, found tools, which has"):
        update(configured(inputs, tmp_path / "a", task="choice.yaml", method="answers"))
    with pytest.raises(ConfigError, match=r"every_answer needs a task whose answers are generated, found tools"):
        update(configured(inputs, tmp_path / "c", task="choice.yaml", method="every_answer"))
    with pytest.raises(ConfigError, match=r"options needs a choice task, found tools, whose answers are generated"):
        update(configured(inputs, tmp_path / "b", method="options"))


def test_align_as_a_single_step_draws_its_candidates(inputs, plain, tmp_path):
    told = align_alone(inputs, plain / "adapters", tmp_path / "c", method="answers", answers={"samples": 1})
    assert told["unit"] == "answers"
    told = align_alone(inputs, plain / "adapters", tmp_path / "c", method="every_answer", answers={"samples": 1})
    assert told["num_texts"] > told["num_examples"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".lock") == ["c"]


def items(*labelled: bool) -> list[Example]:
    return [
        Example(id=str(number), context="a", reference=("b",) if known else (), target=" b" if known else "")
        for number, known in enumerate(labelled)
    ]


def test_items_without_an_alternative_are_left_out_and_counted(tmp_path, caplog):
    open_least, closed_least = (
        AlignmentSettings(method="answers", answers=AnswerSettings(rest=rest)).least_candidates
        for rest in (True, False)
    )
    one, two = (Candidate("b", 0, ("reference",)),), (Candidate("b", 0, ()), Candidate("c", 1, ()))
    write_candidates(tmp_path / "c.jsonl", {"train/0": one, "train/1": two, "train/2": ()})
    parts = {"train": items(True, True, False)}
    open_list, closed_list = (
        candidate_parts(tmp_path / "c.jsonl", parts, least)["train"] for least in (open_least, closed_least)
    )
    assert [example.id for example in open_list] == ["0", "1"]
    assert [example.id for example in closed_list] == ["1"]
    assert closed_list[0].choices == ("b", "c")
    assert "2 of 3 train items have fewer than 2 candidate answers and are left out" in caplog.text
    with pytest.raises(DataError, match=r"expected candidates of train 3, found none; delete the file"):
        candidate_parts(tmp_path / "c.jsonl", {"train": items(True, True, True, True)}, open_least)
    with pytest.raises(DataError, match=r"expected unlabelled items with at least 1 candidate answers, found none"):
        write_candidates(tmp_path / "d.jsonl", {"unlabelled/0": ()})
        candidate_parts(tmp_path / "d.jsonl", {"unlabelled": items(False)}, open_least)
