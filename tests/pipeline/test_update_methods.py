"""Every method the whole way through `muscle update` on the tiny pair."""

import json
import shutil

import pytest
from transformers import AutoTokenizer

from helpers.command_line import muscle
from muscle.config.update_file import load_stage_settings
from muscle.errors import ConfigError, DataError, ModelError
from muscle.pipeline.dry_run import plan_update
from muscle.pipeline.stages import UpdateStages
from muscle.pipeline.update import update
from muscle.report.sentences.trained import method_words
from tiny.update_inputs import (
    TRAINING,
    align_alone,
    configured,
    run_align,
    with_adapters,
    write_update_inputs,
)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return write_update_inputs(tmp_path_factory.mktemp("methods"))


@pytest.fixture(scope="module")
def plain(inputs, tmp_path_factory):
    """A run by the paper's method, whose task adapters the others take over."""
    out = tmp_path_factory.mktemp("plain") / "paper"
    update(configured(inputs, out))
    return out


METHODS = {
    "preset": {"method": "options", "unlabelled": "more.jsonl", "unlabelled_epochs": 2},
    "labels": {"method": "options", "target": "labels"},
    "margin": {"unit": "options", "target": "margin", "labels_first": True},
    "reliability": {"method": "options", "target": "reliability", "start": "old"},
    "stack": {"method": "options", "target": "stack", "kappa": 3.0, "labels_first": False},
    "lifted": {"unit": "options", "target": "lifted", "temperature": 1.0, "unlabelled": {"tools": "more.jsonl"}},
    "mask": {"method": "options", "target": "mask", "ce_weight": 0.2},
    "focal": {"method": "pct"},
    "twins": {"method": "twins"},
    "large": {"method": "options", "lora": {"r": 8}, "kl": "reverse", "selection": "cross_entropy"},
}


@pytest.mark.parametrize("name", METHODS)
def test_every_method_goes_the_whole_way(inputs, plain, tmp_path, name):
    config = with_adapters(configured(inputs, tmp_path / name, **METHODS[name]), plain)
    result = update(config)
    assert {"old", "new", "compat", "control"} <= {path.name for path in (result.folder / "predictions").iterdir()}
    written = json.loads((result.folder / "adapters/compat/tools/training.json").read_text())
    assert written["target"] == config.alignment.target
    assert written["num_unlabelled"] == (30 if config.alignment.unlabelled else 0)
    control = json.loads((result.folder / "adapters/control/tools/training.json").read_text())
    assert (control["unit"], control["target"]) == ("options", "labels")
    assert control["num_epochs"] == written["control_epochs"]
    assert update(config).num_stages_run == 0


def test_tokens_of_every_option_go_the_whole_way(inputs, plain, tmp_path):
    choices = {"method": "every_option", "unlabelled": "more.jsonl", "unlabelled_epochs": 1}
    config = with_adapters(configured(inputs, tmp_path / "every", **choices), plain)
    (planned,) = (stage for stage in plan_update(config).stages if stage.name == "align tools")
    result = update(config)
    written = json.loads((result.folder / "adapters/compat/tools/training.json").read_text())
    assert (written["num_epochs"], written["num_unlabelled"]) == (1, 30)
    read = tokens_of_every_option(config)
    # An epoch of all texts, and the validation data before it.
    assert planned.num_tokens == sum(read.values()) + read["validation"]
    assert planned.teacher_tokens == sum(read.values())  # of the old model alone
    control = json.loads((result.folder / "adapters/control/tools/training.json").read_text())
    assert control["num_epochs"] == written["control_epochs"] > 2
    (candidate,) = (each for each in result.report.training["tools"] if each.run == "compat")
    assert method_words(candidate).startswith("Eq. 1 on tokens of every option, mask old_always")
    assert candidate.outcome.num_unlabelled == 30
    assert update(config).num_stages_run == 0


def tokens_of_every_option(config):
    """Return the tokens of all options with their questions, by part."""
    (data,) = UpdateStages(config).data.values()
    parts = {"train": data.train, "validation": data.validation, "unlabelled": data.unlabelled}
    texts = {
        part: [example.context + example.delimiter + choice for example in examples for choice in example.choices]
        for part, examples in parts.items()
    }
    tokenizer = AutoTokenizer.from_pretrained(config.new.base)
    return {part: sum(len(ids) for ids in tokenizer(each)["input_ids"]) for part, each in texts.items()}


def test_a_method_beside_is_trained_scored_and_shown_and_the_report_says_what_was_trained(inputs, plain, tmp_path):
    beside = {"options": {"method": "options"}, "labels": {"method": "options", "target": "labels"}}
    config = configured(inputs, plain, ce_weight=0.5)
    evaluation = config.evaluation.model_validate({"control": True, "bare_base": False, "beside": beside})
    config = config.model_copy(update={"evaluation": evaluation})
    states = {stage.name: stage.state for stage in plan_update(config).stages}
    assert states["align options/tools"] == states["evaluate labels/tools"] == "to run"
    report = update(config).report
    assert [other.name for other in report.others][-2:] == ["options", "labels"]
    told = {adapter.run: adapter for adapter in report.training["tools"]}
    assert list(told) == ["old", "new", "compat", "control", "options", "labels"]
    assert (told["compat"].stage, told["compat"].method.ce_weight) == ("align", 0.5)
    assert len(told["compat"].curve("masked_share").values) == told["compat"].outcome.num_steps
    assert told["options"].method.target == "mixture" and set(told["options"].method.calibration) == {"old", "new"}
    assert told["options"].curve("agreement").epochs == [*range(told["options"].outcome.num_epochs + 1)]
    assert told["labels"].method.unit == "options" and told["control"].method.unit == "tokens"
    assert told["old"].outcome.num_labelled + told["old"].outcome.num_validation == 40
    assert update(config).num_stages_run == 0


def test_weights_are_interpolated_without_training_and_without_a_control(inputs, plain, tmp_path):
    config = with_adapters(configured(inputs, tmp_path / "w", method="bcwi", old_share=1.0), plain)
    planned = {stage.name: stage for stage in plan_update(config).stages}
    assert planned["align tools"].num_tokens == 0
    assert not any(name.startswith("control") for name in planned)
    result = update(config)
    assert {path.name for path in (result.folder / "predictions").iterdir()} == {"old", "new", "compat"}
    copied = (result.folder / "adapters/compat/tools/adapter_model.safetensors").read_bytes()
    assert copied == (plain / "adapters/old/tools/adapter_model.safetensors").read_bytes()
    assert update(config).num_stages_run == 0


def test_further_teachers_are_part_of_what_an_alignment_depends_on(inputs, plain, tmp_path):
    twin = tmp_path / "twin"
    shutil.copytree(plain / "adapters/control/tools", twin)
    config = with_adapters(configured(inputs, tmp_path / "e", method="elodi", teachers=[str(twin)]), plain)
    result = update(config)
    written = json.loads((result.folder / "adapters/compat/tools/training.json").read_text())
    assert written["num_teachers"] == 1
    assert update(config).num_stages_run == 0
    shutil.rmtree(twin)
    shutil.copytree(plain / "adapters/new/tools", twin)
    states = {stage.name: stage.state for stage in plan_update(config).stages}
    assert states["align tools"] == states["evaluate compat/tools"] == "to run"


def test_a_teacher_that_is_not_there_is_named_before_anything_is_trained(inputs, tmp_path):
    config = configured(inputs, tmp_path / "n", method="elodi", teachers=["nowhere"])
    with pytest.raises(ModelError, match=r"nowhere: expected a PEFT folder"):
        update(config)
    assert not (tmp_path / "n" / "adapters").exists()


def test_an_option_that_is_too_long_to_learn_from_is_named_before_anything_is_trained(inputs, tmp_path):
    row = json.loads((inputs / "more.jsonl").read_text().splitlines()[0])
    (inputs / "long.jsonl").write_text(json.dumps({**row, "b": " ".join([row["b"]] * 40)}) + "\n")
    training = {**TRAINING, "max_length": 32}
    config = configured(inputs, tmp_path / "l", training=training, method="options", unlabelled="long.jsonl")
    with pytest.raises(DataError, match=r"tokens; expected at least one, and fewer than max_length 32, as options"):
        update(config)
    assert not (tmp_path / "l" / "adapters").exists()
    longer = config.alignment.model_copy(update={"training": {"max_length": 64}})
    update(config.model_copy(update={"alignment": longer}))  # the method's own length is what counts


def test_teachers_of_an_unknown_task_are_refused(inputs, tmp_path):
    config = configured(inputs, tmp_path / "n", method="elodi", teachers={"piqa": ["a"]})
    with pytest.raises(ConfigError, match=r"alignment\.teachers\.piqa: expected a task's name \(tools\)"):
        update(config)


def test_align_as_a_single_step_says_that_it_trained_nothing(inputs, plain, tmp_path):
    arguments = ["align", "--task", str(inputs / "tools.yaml"), "--train", str(inputs / "train.jsonl")]
    for side in ("old", "new"):
        arguments += [f"--{side}", f"{inputs / side}+{plain / 'adapters' / side / 'tools'}"]
    done = muscle(*arguments, "--set", "alignment.method=bcwi", "--out", tmp_path / "c")
    assert done.code == 0, done.err
    assert done.out.endswith("c: added up, nothing was trained\n")


def test_only_the_alignment_and_what_hangs_on_it_runs_again_for_another_method(inputs, plain):
    config = configured(inputs, plain, method="options")
    states = {stage.name: stage.state for stage in plan_update(config).stages}
    assert states["finetune old/tools"] == states["evaluate new/tools"] == "done"
    assert states["align tools"] == states["evaluate compat/tools"] == "to run"


def test_a_dry_run_counts_the_unlabelled_inputs(inputs, tmp_path):
    plans = [
        {stage.name: stage for stage in plan_update(configured(inputs, tmp_path / name, **more)).stages}["align tools"]
        for name, more in {"a": {"method": "options"}, "b": METHODS["preset"]}.items()
    ]
    assert plans[1].num_examples == plans[0].num_examples + 30
    assert plans[1].num_tokens > plans[0].num_tokens


def test_unlabelled_inputs_that_are_tested_on_are_left_out(inputs, tmp_path, caplog):
    config = configured(inputs, tmp_path / "x", method="options", unlabelled="test.jsonl")
    with pytest.raises(DataError, match=r"test\.jsonl: expected inputs of its own, found none"):
        update(config)
    assert "16 of 16 unlabelled inputs stand in the other data too, or twice; they are left out" in caplog.text


def test_align_as_a_single_step_takes_a_method(inputs, plain, tmp_path):
    told = align_alone(inputs, plain / "adapters", tmp_path / "c", method="options", unlabelled="more.jsonl")
    assert load_stage_settings(inputs / "settings.yaml").alignment.unlabelled == str(inputs / "more.jsonl")
    assert told["num_unlabelled"] == 30


def test_align_as_a_single_step_is_told_what_is_tested(inputs, plain, tmp_path):
    given = {"method": "options", "unlabelled": "test.jsonl"}
    test = inputs / "test.jsonl"
    done = run_align(inputs, plain / "adapters", tmp_path / "c", "--test", test, **given)
    assert done.code == 3 and "16 of 16 unlabelled inputs stand in the other data too" in done.err
    assert "test.jsonl: expected inputs of its own, found none" in done.last
    untold = run_align(inputs, plain / "adapters", tmp_path / "c", **given)
    assert untold.code == 0 and "--test FILE leaves it out" in untold.err
    leaked = run_align(inputs, plain / "adapters", tmp_path / "d", "--test", inputs / "train.jsonl", method="options")
    assert "test examples stand in the training data too; its scores are too good" in leaked.err
