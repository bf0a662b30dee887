"""A warm-up that nobody set fits the data; one that is set is obeyed."""

import json
import logging

import pytest

from muscle import finetune
from muscle.config.settings import LoraSettings, TrainingSettings
from muscle.config.update_file import StageSettings, load_stage_settings
from tiny.pair import tiny_base, tiny_task

QUICK = {"epochs": 2, "learning_rate": 5e-3, "batch_size": 2, "gradient_accumulation": 1, "precision": "float32"}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    return *tiny_task(root, 40), tiny_base(root, "base", seed=1)


def learning_rates(world, out, settings):
    task, split, base = world
    result = finetune(
        base,
        task,
        train_examples=split.train,
        validation_examples=split.validation,
        lora=LoraSettings(r=4, alpha=8),
        settings=settings,
        out=out,
    )
    return [line["learning_rate"] for line in result.log if "learning_rate" in line]


def test_a_tenth_of_the_steps_is_taken_where_five_hundred_would_be_more(world, tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="muscle"):
        rates = learning_rates(world, tmp_path / "a", TrainingSettings(**QUICK))
    # 32 examples in batches of 2, twice: 32 steps, of which 4 are more than a tenth by less than one.
    assert len(rates) == 32 and rates.index(max(rates)) == 4 and max(rates) == pytest.approx(5e-3)
    told = [line for line in caplog.messages if "warm-up" in line]
    assert len(told) == 1 and "4 warm-up steps, a tenth of the 32 in all, in place of the paper's 500" in told[0]
    assert json.loads((tmp_path / "a" / "muscle.json").read_text())["settings"]["warmup_steps"] == 4


def test_a_number_that_is_set_is_obeyed_with_a_warning(world, tmp_path, caplog):
    rates = learning_rates(world, tmp_path / "a", TrainingSettings(**QUICK, warmup_steps=500))
    assert rates == sorted(rates) and max(rates) == pytest.approx(31 * 5e-3 / 500)
    assert "500 warm-up steps of at most 32 steps in all" in caplog.text


@pytest.mark.parametrize(("steps", "warmup"), [(1, 1), (9, 1), (11, 2), (4_990, 499), (5_000, 500), (90_000, 500)])
def test_the_share_is_a_tenth_and_never_more_than_the_paper_s(steps, warmup):
    assert TrainingSettings().with_warmup_for(steps).warmup_steps == warmup


@pytest.mark.parametrize("warmup", [0, 3, 500])
def test_what_is_set_in_a_file_stays_set_for_the_compatibility_adapter(tmp_path, warmup):
    (tmp_path / "a.yaml").write_text(f"training: {{warmup_steps: {warmup}}}\nalignment: {{training: {{epochs: 3}}}}\n")
    found = load_stage_settings(tmp_path / "a.yaml", overrides={}).align_training()
    assert found.epochs == 3 and found.with_warmup_for(20).warmup_steps == warmup


def test_what_is_not_set_is_fitted_for_the_compatibility_adapter_too():
    settings = StageSettings.model_validate({"training": {"epochs": 4}, "alignment": {"training": {"batch_size": 2}}})
    assert settings.align_training().with_warmup_for(20).warmup_steps == 2


def test_run_folders_stay_done_whichever_way_the_paper_s_number_came_about():
    assert TrainingSettings().identity() == TrainingSettings(warmup_steps=500).identity()
    assert TrainingSettings().identity()["warmup_steps"] == 500
