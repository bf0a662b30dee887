"""What training left beside an adapter, as the report tells it."""

import json

import pytest

from muscle.config.alignment import AlignmentSettings
from muscle.config.settings import TrainingSettings
from muscle.errors import DataError
from muscle.pipeline.report.read_training import MAX_POINTS, AdapterPlace, read_training
from muscle.report.sentences.trained import method_words, outcome_words

RESULT = {
    "best_epoch": 2,
    "num_epochs": 3,
    "validation_losses": [0.5, 0.1234567891, 0.25],
    "converged": True,
    "num_steps": 6,
    "num_examples": 16,
    "num_validation": 4,
}


def steps(number, epochs=3):
    return [
        {"loss": 1.0 / (n + 1), "masked_share": n / number, "epoch": epochs * (n + 1) / number, "step": n + 1}
        for n in range(number)
    ]


def save(folder, *, config=None, **told):
    folder.mkdir()
    config = config or {"peft_type": "LORA", "r": 8, "lora_alpha": 16}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "training.json").write_text(json.dumps({**RESULT, "log": steps(6), **told}))
    return folder


def aligned(folder, **alignment):
    return AdapterPlace("compat", folder, "align", TrainingSettings(epochs=5, seed=7), AlignmentSettings(**alignment))


def test_a_training_by_eq_1_is_told_with_its_mask_and_outcome(tmp_path):
    found = read_training(aligned(save(tmp_path / "a"), mask="old_right", temperature=1.5, ce_weight=0.25))
    assert (found.kind, found.rank, found.alpha) == ("LORA", 8, 16.0)
    method, outcome = found.method, found.outcome
    assert (method.unit, method.target, method.mask, method.temperature) == ("tokens", "mask", "old_right", 1.5)
    assert (method.ce_weight, method.old_share, method.kl) == (0.25, None, None)
    assert (outcome.best_epoch, outcome.num_epochs, outcome.max_epochs, outcome.seed) == (2, 3, 5, 7)
    assert (outcome.num_labelled, outcome.num_unlabelled, outcome.num_validation) == (16, 0, 4)


def test_a_method_at_option_level_is_told_with_shares_calibration_and_agreement(tmp_path):
    log = [{"eval_loss": 0.5, "eval_agreement": share, "epoch": float(n)} for n, share in enumerate((0.8, 0.9), 1)]
    folder = save(
        tmp_path / "a",
        log=[*steps(2), *log],
        num_labelled=12,
        num_unlabelled=30,
        temperatures={"old": 1.5, "new": 0.75},
        loss_before=0.75,
        before={"eval_loss": 0.75, "eval_agreement": 0.7, "epoch": 0.0, "step": 0},
    )
    place = aligned(folder, method="options", old_share=0.7, unlabelled="more.jsonl", unlabelled_epochs=9)
    found = read_training(place)
    assert (found.method.target, found.method.old_share, found.method.labels_first) == ("mixture", 0.7, True)
    assert (found.method.calibration, found.method.mask) == ({"old": 1.5, "new": 0.75}, None)
    assert (found.outcome.num_labelled, found.outcome.num_unlabelled, found.outcome.max_epochs) == (12, 30, 9)
    agreement = found.curve("agreement")
    assert (agreement.epochs, agreement.values) == ([0.0, 1.0, 2.0], [0.7, 0.8, 0.9])
    losses = found.curve("validation_loss")
    assert (losses.epochs[0], losses.values[:2]) == (0.0, [0.75, RESULT["validation_losses"][0]])


def test_a_training_that_gained_nothing_is_told_and_one_of_before_is_not_blamed(tmp_path):
    before = read_training(aligned(save(tmp_path / "a"), method="options"))
    assert before.outcome.improved and before.method.labels_improved
    worse = save(tmp_path / "b", loss_before=0.1, improved=False, labels_first={"improved": False})
    found = read_training(aligned(worse, method="options"))
    assert (found.outcome.improved, found.method.labels_improved) == (False, False)
    assert "labels first without gain" in method_words(found)
    assert outcome_words(found.outcome).endswith(", the validation loss was no lower than before training")


def test_validation_losses_keep_six_digits(tmp_path):
    assert read_training(aligned(save(tmp_path / "a"))).curve("validation_loss").values == [0.5, 0.123457, 0.25]


def test_many_steps_are_told_as_means_over_stretches(tmp_path):
    number = 2 * MAX_POINTS
    curve = read_training(aligned(save(tmp_path / "a", log=steps(number)))).curve("masked_share")
    assert len(curve.values) == MAX_POINTS
    assert curve.values[0] == pytest.approx(0.5 / number, rel=1e-5)
    assert curve.epochs[0] == pytest.approx(3 * 1.5 / number, rel=1e-5)


@pytest.mark.parametrize("method", [{"mask": "old_always"}, {"target": "mixture"}, {"method": "every_answer"}])
def test_that_every_token_leans_on_the_old_model_is_no_curve(tmp_path, method):
    log = [*steps(2), {"eval_loss": 0.5, "eval_masked_share": 0.5, "epoch": 1.0}]
    found = read_training(aligned(save(tmp_path / "a", log=log), **method))
    assert {curve.name for curve in found.curves} == {"loss", "validation_loss"}
    by_mask = read_training(aligned(tmp_path / "a"))
    assert {"masked_share", "validation_masked_share"} <= {curve.name for curve in by_mask.curves}


def test_of_a_given_adapter_its_configuration_is_told(tmp_path):
    folder = save(tmp_path / "a", config={"peft_type": "LORA\u001b[31m", "r": "many", "lora_alpha": True})
    found = read_training(AdapterPlace("old", folder, None, TrainingSettings()))
    assert (found.rank, found.alpha, found.method, found.outcome, list(found.curves)) == (None, None, None, None, [])
    assert "\u001b" not in found.kind


@pytest.mark.parametrize(
    ("told", "key"),
    [
        ({"best_epoch": "2"}, "best_epoch: damaged, expected a whole number"),
        ({"num_steps": -1}, "num_steps: damaged"),
        ({"converged": 1}, "converged: damaged, expected true or false"),
        ({"improved": "no"}, "improved: damaged, expected true or false"),
        ({"validation_losses": [0.1, None]}, "validation_losses: damaged, expected a list of numbers"),
        ({"log": [1]}, "log: damaged, expected a list of objects"),
    ],
)
def test_a_damaged_record_is_refused_with_file_key_and_what_to_do(tmp_path, told, key):
    folder = save(tmp_path / "a", **told)
    with pytest.raises(DataError) as caught:
        read_training(aligned(folder))
    assert key in str(caught.value)
    assert str(caught.value).startswith(str(folder / "training.json"))
    assert f"delete {folder} to train it again" in str(caught.value)


def test_values_of_a_log_that_are_no_numbers_are_passed_over(tmp_path):
    log = [{"loss": "much", "epoch": 1.0}, {"loss": 0.5, "epoch": None}, {"loss": 0.25, "epoch": 2.0}]
    curve = read_training(aligned(save(tmp_path / "a", log=log))).curve("loss")
    assert (curve.epochs, curve.values) == ([2.0], [0.25])
