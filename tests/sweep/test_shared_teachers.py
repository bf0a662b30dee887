"""What a sweep makes once for all models that stand in the old one's place: the new side of an alignment."""

import json
import shutil

import pytest

from muscle.config.alignment import AlignmentSettings
from muscle.pipeline.run_folder import content_of
from muscle.pipeline.stages import UpdateStages
from muscle.sweep.jobs import shares_new_side
from muscle.sweep.plan import make_plan
from muscle.sweep.sweep import sweep
from muscle.sweep.variants import UpdateFile
from muscle.training.teachers import option_rows
from tiny.update_inputs import write_sweep_inputs

UNLABELLED = {"method": "options", "temperature": 2, "unlabelled": "more.jsonl"}
METHODS = {
    "Eq. 1": {"alignment.mask": "old_right"},
    "mixture": {"alignment": {"method": "options"}},
    "unlabelled": {"alignment": UNLABELLED},
}
PLACES = ("", ", twin as old", ", third as old")
ROWS = [*(f"{name}{place}" for name in ("Eq. 1", "mixture") for place in PLACES), "unlabelled"]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    root = tmp_path_factory.mktemp("inputs")
    return write_sweep_inputs(
        root, sweep={"variants": METHODS, "third": "third"}, train=32, test=12, lora={"dropout": 0.1}
    )


def swept(inputs, out, rows=ROWS):
    """Train some rows; as others are not trained, what the teachers left stays."""
    return sweep(inputs / "update.yaml", out=out, only=rows)


def adapters(inputs, out) -> dict[str, str | None]:
    """Return the content of each row's adapter."""
    plan = make_plan(UpdateFile(inputs / "update.yaml"), folder=out)
    jobs = {row.name: row.jobs[0] for row in plan.rows}
    return {name: content_of(jobs[name].folder / "adapters/compat/tools") for name in ROWS}


@pytest.fixture(scope="module")
def finished(inputs, tmp_path_factory):
    out = tmp_path_factory.mktemp("sweeps") / "whole"
    assert not swept(inputs, out).failed
    return out


def test_the_new_teachers_run_once_whoever_stands_in_the_old_ones_place(finished):
    made = sorted(path.parent for path in finished.glob("groups/*/seed-0/teachers/*/tools/*/manifest.json"))
    assert sorted(path.name for path in made) == ["new", *["old"] * 3, *["options-new"] * 2, *["options-old"] * 4]
    stores = {path.name: path.parents[1].name for path in made if path.name.endswith("new")}
    assert all(name.startswith("old-") for name in stores.values()), "beside the stores of the old one itself"


def test_an_adapter_is_trained_on_labels_first_once_for_variants_with_and_without_unlabelled_inputs(finished):
    assert len(list(finished.glob("groups/*/seed-0/teachers/labels/tools/labels-*"))) == 1
    written = list(finished.glob("variants/[mu]*/*/seed-0/adapters/compat/tools/training.json"))
    assert [json.loads(path.read_text())["labels_first"]["num_epochs"] for path in written] == [1] * 4


def test_adapters_are_bit_for_bit_those_whose_teachers_ran_for_them_alone(inputs, finished, tmp_path):
    plan = make_plan(UpdateFile(inputs / "update.yaml"), folder=finished)
    alone = {}
    for row in plan.rows:
        if row.name in ROWS:
            job = row.jobs[0]
            config = job.config.model_copy(update={"output": str(tmp_path / job.name)})
            update = UpdateStages(config, split_seed=job.seed)
            update.align(update.data["tools"]).work()
            alone[row.name] = content_of(tmp_path / job.name / "adapters/compat/tools")
    assert None not in alone.values() and len(set(alone.values())) == len(ROWS)
    assert adapters(inputs, finished) == alone


def test_what_a_failed_job_left_half_made_the_next_one_finishes(inputs, finished, tmp_path, monkeypatch):
    out, calls = tmp_path / "again", []
    shutil.copytree(finished, out)
    for folder in (*out.glob("variants/mixture*"), *out.glob("groups/*/seed-0/teachers")):
        shutil.rmtree(folder)
    whole = option_rows.score_items

    def breaks(*arguments, **keywords):
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("no power")
        return whole(*arguments, **keywords)

    monkeypatch.setattr(option_rows, "score_items", breaks)
    rows = [row for row in ROWS if row.startswith("mixture")]
    result = swept(inputs, out, rows)
    assert [each.failure for each in result.failed] == ["RuntimeError: no power"]
    assert not swept(inputs, out, rows).failed
    assert {row: adapters(inputs, out)[row] for row in rows} == {row: adapters(inputs, finished)[row] for row in rows}


def test_a_new_side_that_the_old_model_has_a_part_in_is_not_shared():
    def shared(**choices):
        return shares_new_side(AlignmentSettings.model_validate(choices))

    assert shared() and shared(method="options") and shared(start="old") and shared(method="options", start="fresh")
    assert not shared(method="options", start="old"), "the adapter trained on labels first starts from the old one"
    assert not shared(method="answers"), "candidate answers are the old model's too"
    assert shared(method="answers", answers={"models": ["new"]})
