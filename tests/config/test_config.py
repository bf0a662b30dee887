import math
import re
from pathlib import Path
from typing import get_args

import pytest

from muscle import UpdateConfig, load_config
from muscle.config.alignment import AlignmentSettings
from muscle.config.methods import MethodName
from muscle.config.template import SHORT_UPDATE_YAML, UPDATE_YAML
from muscle.config.update_file import load_stage_settings
from muscle.errors import ConfigError
from muscle.yaml_files import yaml_text

MINIMAL = {
    "old": "org/old",
    "new": "org/new",
    "tasks": [{"task": "piqa", "train": "train.jsonl", "test": "test.jsonl"}],
}


def write(folder: Path, change: dict | None = None, **sections) -> Path:
    path = folder / "update.yaml"
    path.write_text(yaml_text({**MINIMAL, **(change or {}), **sections}))
    return path


def test_defaults_are_the_papers_table_8(tmp_path):
    config = load_config(write(tmp_path))
    training = config.training
    assert (config.lora.r, config.lora.alpha, config.lora.dropout) == (128, 256, 0)
    assert config.lora.target_modules == "all-linear"
    assert (training.epochs, training.learning_rate, training.warmup_steps) == (10, 1e-4, 500)
    assert (training.gradient_accumulation, training.weight_decay, training.validation_fraction) == (
        8,
        0,
        0.2,
    )
    assert (config.alignment.temperature, config.alignment.mask, config.alignment.ce_weight) == (
        2,
        "student_wrong",
        0,
    )


@pytest.mark.parametrize("template", [SHORT_UPDATE_YAML, UPDATE_YAML], ids=["short", "full"])
def test_template_is_valid_and_says_only_defaults(tmp_path, template):
    path = tmp_path / "update.yaml"
    path.write_text(template)
    config = load_config(path)
    bare = UpdateConfig.model_validate({**MINIMAL})
    for section in ("lora", "training", "alignment", "evaluation", "report"):
        assert getattr(config, section) == getattr(bare, section), section


def test_what_the_short_template_proposes_for_choices_is_a_method_that_loads(tmp_path):
    path = tmp_path / "update.yaml"
    before, section, after = SHORT_UPDATE_YAML.partition("alignment:")
    (tmp_path / "traffic.jsonl").touch()
    in_its_place = re.sub(r"^  method: paper.*\n", "", section + after, flags=re.MULTILINE)
    path.write_text(before + re.sub(r"^  # ", "  ", in_its_place, flags=re.MULTILINE))
    found = load_config(path).alignment
    assert (found.method, found.labels_first, found.unlabelled_epochs) == ("options", True, 2)
    assert found.unlabelled == str(tmp_path / "traffic.jsonl")
    assert found.training == {"learning_rate": 6e-4, "epochs": 3}


def test_what_the_template_leaves_to_the_method_is_what_the_paper_has(tmp_path):
    path = tmp_path / "update.yaml"
    before, section, after = UPDATE_YAML.partition("alignment:")
    shown = re.sub(r"^  # ( *\w+:)", r"  \1", section + after, flags=re.MULTILINE)
    path.write_text(before + shown)
    assert load_config(path).alignment == AlignmentSettings()
    written = re.findall(r"^  (\w+):", shown.partition("evaluation:")[0], flags=re.MULTILINE)
    assert set(written) == set(AlignmentSettings.model_fields)


@pytest.mark.parametrize("method", [name for name in get_args(MethodName) if name != "elodi"])
def test_a_method_set_over_the_template_is_that_method(tmp_path, method):
    path = tmp_path / "update.yaml"
    path.write_text(UPDATE_YAML)
    found = load_config(path, overrides={"alignment.method": method}).alignment
    assert found == AlignmentSettings.model_validate({"method": method})


def test_paths_are_relative_to_the_file(tmp_path):
    (tmp_path / "bases" / "old").mkdir(parents=True)
    config = load_config(write(tmp_path, old="bases/old", new="./missing"))
    assert config.old.base == str(tmp_path / "bases" / "old")
    assert config.new.base == str(tmp_path / "missing")
    assert config.tasks[0].train == str(tmp_path / "train.jsonl")
    assert config.output == str(tmp_path / "runs" / "update")


def test_hub_names_stay_as_they_are(tmp_path):
    config = load_config(write(tmp_path, tasks=[{"task": "piqa", "train": "hub:baber/piqa:train", "test": "t.jsonl"}]))
    assert config.old.base == "org/old"
    assert config.tasks[0].train == "hub:baber/piqa:train"


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"trainig": {}}, "trainig: unknown key; did you mean 'training'"),
        ({"learning_rate": 1}, "learning_rate: unknown key; expected one of lora, training, alignment, "),
        (
            {"tasks": [{"task": "piqa", "validation": "x"}]},
            "tasks.0.validation: unknown key; expected one of task, train,",
        ),
        ({"training": {"epoch": 3}}, "training.epoch: unknown key; did you mean 'epochs'"),
        ({"training": {"epochs": "ten"}}, "training.epochs: expected a valid integer, found 'ten'"),
        ({"training": {"epochs": 0}}, "training.epochs: expected greater than or equal to 1, found 0"),
        ({"alignment": {"mask": "x"}}, "alignment.mask: expected 'student_wrong'"),
        ({"alignment": {"ce_weight": 2.0}}, "alignment.ce_weight: expected less than or equal to 1"),
        (
            {"alignment": {"training": {"epoks": 2}}},
            "alignment.training.epoks: unknown key; did you mean 'epochs'",
        ),
        ({"tasks": []}, "tasks: expected at least 1 item after validation, not 0, found []"),
        (
            {"tasks": [{"task": "piqa", "train": "a.jsonl", "test": "a.jsonl"}]},
            "tasks.0: train and test are the same data",
        ),
        ({"tasks": [{"train": "a"}]}, "tasks.0.task: missing"),
        ({"training": {"learning_rate": math.inf}}, "training.learning_rate: expected a finite number, found inf"),
        ({"alignment": {"temperature": math.nan}}, "alignment.temperature: expected a finite number, found nan"),
        ({"training": {"seed": -1}}, "training.seed: expected greater than or equal to 0, found -1"),
        ({"sweep": {"seeds": [0, 2**32]}}, "sweep.seeds.1: expected less than 2147483648, found 4294967296"),
        ({"training": {"max_length": 1}}, "training.max_length: expected greater than or equal to 2, found 1"),
    ],
)
def test_wrong_settings_are_refused_with_key_expectation_and_finding(tmp_path, sections, message):
    path = write(tmp_path, **sections)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    text = str(caught.value)
    assert text.startswith(str(path))
    assert message in text
    assert "\n" not in text


def test_every_wrong_key_is_named_at_once(tmp_path):
    with pytest.raises(ConfigError, match=r"lora.r: .*training.seed: "):
        load_config(write(tmp_path, lora={"r": "big"}, training={"seed": "x"}))


def test_a_missing_file_and_broken_yaml_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="there is no such file; `muscle init`"):
        load_config(tmp_path / "none.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("old: [1,\nnew: 2")
    with pytest.raises(ConfigError, match="line 2: not valid YAML"):
        load_config(broken)
    broken.write_text("- a list")
    with pytest.raises(ConfigError, match="expected a mapping"):
        load_config(broken)


def test_a_key_that_stands_twice_is_refused_instead_of_losing_the_first(tmp_path):
    twice = tmp_path / "twice.yaml"
    twice.write_text("old: a\nnew: b\ntasks: [{task: piqa}]\nlora: {r: 4}\nlora: {r: 8}\n")
    with pytest.raises(ConfigError, match="line 5: not valid YAML: the key 'lora' stands twice"):
        load_config(twice)


def test_overrides_replace_single_keys(tmp_path):
    config = load_config(write(tmp_path), overrides={"training.epochs": 3, "alignment.training": {"epochs": 5}})
    assert config.training.epochs == 3
    assert config.align_training().epochs == 5
    assert config.align_training().learning_rate == config.training.learning_rate


def test_single_steps_read_their_sections_and_leave_the_others(tmp_path):
    settings = load_stage_settings(write(tmp_path, lora={"r": 4}), overrides={"training.epochs": 2})
    assert (settings.lora.r, settings.training.epochs) == (4, 2)
    with pytest.raises(ConfigError, match="expected a key of lora, training, alignment"):
        load_stage_settings(None, overrides={"epochs": 2})


def test_packing_is_switched_by_what_yaml_takes_for_truth_values(tmp_path):
    path = tmp_path / "stage.yaml"
    for written in ("on", "off", "auto", "'on'"):
        path.write_text(f"training: {{packing: {written}}}\n")
        assert load_stage_settings(path).training.packing == written.strip("'")
    path.write_text("training: {packing: 1}\n")
    with pytest.raises(ConfigError, match=r"training\.packing: expected 'auto', 'on' or 'off', found 1"):
        load_stage_settings(path)
