import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from muscle import load_config, update
from muscle.errors import ConfigError, ModelError, OutputError
from muscle.files import write_text
from muscle.pipeline.dry_run import plan_update
from muscle.pipeline.run_folder import RunFolder, content_of
from muscle.predictions.records import input_hash
from tiny.update_inputs import TRAINING, write_update_inputs, write_update_yaml

STAGES = 4 + 5 + 1
"""Two task adapters, the compatibility adapter and the control; those and the bare base scored; the report."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    root = tmp_path_factory.mktemp("update")
    write_update_inputs(root, train=60, test=40)
    write_update_yaml(root / "update.yaml", training={**TRAINING, "epochs": 2})
    return root


def run(inputs: Path, out: Path, **overrides):
    return update(load_config(inputs / "update.yaml", overrides={"output": str(out), **overrides}))


@pytest.fixture(scope="module")
def finished(inputs, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    return out, run(inputs, out)


def snapshot(out: Path) -> dict[str, str | None]:
    found = {str(path.relative_to(out)): content_of(path) for path in out.glob("predictions/*/*.jsonl")}
    return found | {str(path.relative_to(out)): content_of(path) for path in out.glob("adapters/*/*")}


def test_a_run_folder_holds_what_the_documentation_says(finished):
    out, result = finished
    assert result.num_stages_run == STAGES
    for name in ("report.html", "report.md", "report.json", "manifest.json"):
        assert (out / name).stat().st_size > 0
    for side in ("old", "new", "compat"):
        assert (out / "adapters" / side / "tools" / "adapter_model.safetensors").is_file()
        assert len((out / "predictions" / side / "tools.jsonl").read_text().splitlines()) == 40
    assert result.report.tasks["tools"].n == 40
    assert not list(out.rglob("*.part"))
    assert not list(out.rglob("*.training"))


def test_records_hold_likelihoods_choice_and_text(finished):
    out, _ = finished
    row = json.loads((out / "predictions" / "compat" / "tools.jsonl").read_text().splitlines()[0])
    assert row["task"] == "tools"
    assert len(row["logprobs"]) == len(row["choices"]) == 2
    assert row["choice"] == row["logprobs"].index(max(row["logprobs"]))
    assert row["correct"] == (row["choices"][row["choice"]] in row["reference"])


def test_what_is_passed_on_holds_no_path_of_the_machine(inputs, finished):
    out, _ = finished
    passed_on = [
        *out.glob("report.*"),
        *out.glob("predictions/*/run.json"),
        *out.glob("adapters/*/*/muscle.json"),
    ]
    assert len(passed_on) == 3 + 5 + 4
    for path in passed_on:
        text = path.read_text()
        assert str(inputs) not in text, path
        assert str(out) not in text, path


def test_the_dry_run_lists_the_stages_in_the_order_in_which_they_run(inputs, finished, tmp_path):
    out, _ = finished
    ran = list(json.loads((out / "manifest.json").read_text())["stages"])
    for folder, state in ((out, "done"), (tmp_path / "new", "to run")):
        planned = plan_update(load_config(inputs / "update.yaml", overrides={"output": str(folder)})).stages
        assert [*(stage.name for stage in planned), "report"] == ran
        assert {stage.state for stage in planned} == {state}


def test_a_precision_that_is_slow_on_this_machine_is_told_once(inputs, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("muscle.models.devices.slow_precision", lambda precision: f"{precision} is slow")
    run(inputs, tmp_path, **{"training.epochs": 1, "evaluation.control": False})
    assert caplog.text.count("float32 is slow") == 1


def test_a_second_run_does_nothing(inputs, finished):
    out, first = finished
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    again = run(inputs, out)
    assert again.num_stages_run == 0
    assert again.report == first.report
    changed = [path for path, mtime in before.items() if path.stat().st_mtime_ns != mtime and path.name != ".lock"]
    assert changed == []


def test_a_report_without_texts_names_items_by_id_and_hash(inputs, finished):
    out, _ = finished
    with_texts = run(inputs, out).report.to_json()["flips"]
    again = run(inputs, out, **{"report.texts": False})
    assert again.num_stages_run == 1
    assert with_texts, "this test would show nothing"
    for before, flip in zip(with_texts, again.report.to_json()["flips"], strict=True):
        assert (flip["id"], flip["input_hash"]) == (
            before["id"],
            input_hash(before["input"], before["choices"]),
        )
        assert before["input"] not in (out / "report.html").read_text() + (out / "report.md").read_text()


def test_the_report_says_that_test_items_were_learnt_from(inputs, finished, tmp_path):
    out = shutil.copytree(finished[0], tmp_path / "run")
    rows = (inputs / "train.jsonl").read_text().splitlines()[:3] + (inputs / "test.jsonl").read_text().splitlines()
    write_text(tmp_path / "leaked.jsonl", "\n".join(rows))
    source = {"task": str(inputs / "tools.yaml"), "train": str(inputs / "train.jsonl")}
    told = "task tools: 3 of 43 test examples stand in the training data too; its scores are too good"
    leaked = run(inputs, out, tasks=[{**source, "test": str(tmp_path / "leaked.jsonl")}])
    assert leaked.report.warnings[0] == told
    assert told in (out / "report.html").read_text()
    assert not any("training data" in each for each in finished[1].report.warnings)


def test_a_changed_alignment_redoes_only_what_hangs_on_it(inputs, finished):
    out, _ = finished
    before = snapshot(out)
    again = run(inputs, out, **{"alignment.temperature": 1.0})
    after = snapshot(out)
    assert again.num_stages_run == 3  # the compatibility adapter, its scores, the report
    assert {name for name in before if before[name] != after[name]} == {
        "adapters/compat/tools",
        "predictions/compat/tools.jsonl",
    }
    assert run(inputs, out).num_stages_run == 3  # and back


def test_a_damaged_output_is_made_again(inputs, finished):
    out, _ = finished
    before = snapshot(out)
    path = out / "predictions" / "new" / "tools.jsonl"
    path.write_bytes(path.read_bytes()[:200])
    assert run(inputs, out).num_stages_run == 1
    assert snapshot(out) == before


@pytest.mark.parametrize(
    ("file", "again"),
    [
        ("adapters/old/tools/adapter_config.json", 1),
        ("adapters/compat/tools/training.json", 1),
        ("predictions/compat/run.json", 1),
        ("report.html", 1),
        ("report.md", 1),
    ],
)
def test_a_kept_file_that_is_changed_or_gone_is_made_again(inputs, finished, file, again):
    out, _ = finished
    run(inputs, out)
    before, path = snapshot(out), out / file
    if path.suffix == ".json":
        path.write_text(path.read_text().replace('"lora_alpha": 8', '"lora_alpha": 80').rstrip() + " \n")
    else:
        path.unlink()
    assert run(inputs, out).num_stages_run == again
    assert snapshot(out) == before
    assert path.exists()
    assert run(inputs, out).num_stages_run == 0


def test_the_card_of_the_compatibility_adapter_has_the_flip_table_of_the_report(inputs, finished):
    out, result = finished
    run(inputs, out)
    card, task = (out / "adapters" / "compat" / "tools" / "README.md").read_text(), result.report.tasks["tools"]
    rate = task.old_vs_candidate.negative_flip_rate.value
    row = next(line for line in card.splitlines() if line.startswith("| compat"))
    assert f"{round(rate * task.n)}: {rate:.1%}" in row
    assert "Examples: 48" in card
    assert "Seed: 0" in card


def test_an_adapter_that_is_trained_again_gets_its_flip_table_back(inputs, finished):
    out, _ = finished
    run(inputs, out)
    folder = out / "adapters" / "compat" / "tools"
    before = (folder / "README.md").read_text()
    (folder / "adapter_model.safetensors").unlink()
    assert run(inputs, out).num_stages_run == 1
    assert (folder / "README.md").read_text() == before


def test_a_given_adapter_with_another_alpha_is_another_adapter(inputs, finished, tmp_path):
    out, _ = finished
    given = tmp_path / "given"
    shutil.copytree(out / "adapters" / "new" / "tools", given)
    new = {"base": "new", "adapters": {"tools": str(given)}}
    run(inputs, tmp_path / "run", new=new)
    config = given / "adapter_config.json"
    config.write_text(config.read_text().replace('"lora_alpha": 8', '"lora_alpha": 80'))
    # Align and the control, new, compat and the control scored, the report.
    assert run(inputs, tmp_path / "run", new=new).num_stages_run == 6


def test_given_adapters_are_used_as_they_are(inputs, finished, tmp_path):
    out, first = finished
    given = {
        side: {"base": side, "adapters": {"tools": str(out / "adapters" / side / "tools")}} for side in ("old", "new")
    }
    again = run(inputs, tmp_path / "run", **given)
    assert again.num_stages_run == STAGES - 2
    assert again.report.tasks == first.report.tasks


def test_the_control_trains_as_long_as_the_compatibility_adapter(inputs, finished):
    out, _ = finished
    result = run(inputs, out, **{"alignment.training": {"epochs": 3}})
    epochs = [
        json.loads((out / "adapters" / side / "tools" / "training.json").read_text())["num_epochs"]
        for side in ("compat", "control")
    ]
    assert epochs == [3, 3]
    assert len(result.report.others) == 2


def test_the_floor_is_the_old_recipe_with_another_seed(inputs, finished):
    out, _ = finished
    run(inputs, out)
    result = run(inputs, out, **{"evaluation.floor": True})
    assert result.num_stages_run == 3  # trained, scored, the report
    notes = {
        side: json.loads((out / "adapters" / side / "tools" / "muscle.json").read_text()) for side in ("old", "floor")
    }
    assert notes["floor"]["settings"]["seed"] == notes["old"]["settings"]["seed"] + 1000
    assert notes["floor"]["base_fingerprint"] == notes["old"]["base_fingerprint"]
    same = ("lora", "stage", "start_from")
    assert [notes["floor"][name] for name in same] == [notes["old"][name] for name in same]
    assert content_of(out / "adapters" / "floor" / "tools") != content_of(out / "adapters" / "old" / "tools")
    assert "old retrained" in [other.name for other in result.report.others]


def test_the_floor_of_a_given_old_adapter_says_that_its_recipe_is_not_known(inputs, finished, tmp_path, caplog):
    given = {"base": "old", "adapters": {"tools": str(finished[0] / "adapters" / "old" / "tools")}}
    out = shutil.copytree(finished[0], tmp_path / "run")
    shutil.rmtree(out / "adapters" / "floor", ignore_errors=True)
    changes = {"old": given, "evaluation.floor": True}
    told = "task tools: the old adapter is given; the floor is trained with this file's lora and training"
    with caplog.at_level("INFO"):
        plan = plan_update(load_config(inputs / "update.yaml", overrides={"output": str(out), **changes}))
    states = {stage.name: stage.state for stage in plan.stages}
    assert (states["finetune old/tools"], states["floor tools"]) == ("given", "to run")
    assert told in caplog.text
    assert told in run(inputs, out, **changes).report.warnings[0]
    assert told not in " ".join(run(inputs, out, old=given).report.warnings)


def test_an_adapter_of_another_base_is_refused_before_training(inputs, finished, tmp_path):
    out, _ = finished
    wrong = {"base": "old", "adapters": {"tools": str(out / "adapters" / "new" / "tools")}}
    with pytest.raises(ModelError, match="made for another base"):
        run(inputs, tmp_path / "run", old=wrong)


def test_task_names_are_checked_before_anything_is_loaded(inputs, tmp_path):
    config = load_config(inputs / "update.yaml", overrides={"output": str(tmp_path / "run")})
    with pytest.raises(ConfigError, match=r"tasks\.1: a second task named 'tools'"):
        update(config.model_copy(update={"tasks": config.tasks * 2}))
    other = config.new.model_copy(update={"adapters": {"gsm8k": "x"}})
    with pytest.raises(ConfigError, match=r"new.adapters.gsm8k: expected a task's name \(tools\)"):
        update(config.model_copy(update={"new": other}))


def test_two_processes_in_one_folder_are_refused(inputs, finished):
    out, _ = finished
    with RunFolder(out).locked(), pytest.raises(OutputError, match="another muscle process"):
        run(inputs, out)


def test_a_folder_that_cannot_be_made_is_refused(inputs, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        run(inputs, tmp_path / "file" / "run")


@pytest.mark.slow
@pytest.mark.parametrize(
    "stage", ["adapters/old", "adapters/new", "adapters/compat", "predictions/old", "predictions/compat"]
)
def test_a_kill_in_any_stage_changes_nothing_in_the_end(inputs, finished, tmp_path, stage):
    out = tmp_path / "run"
    command = [
        sys.executable,
        "-m",
        "muscle.cli",
        "update",
        str(inputs / "update.yaml"),
        "--set",
        f"output={out}",
    ]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    folder = out / stage
    # A stage's folder appears when it begins to write: checkpoints, or the finished thing.
    while not (folder.is_dir() and any(folder.iterdir())) and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    run(inputs, out)
    undisturbed = tmp_path / "undisturbed"
    run(inputs, undisturbed)
    assert snapshot(out) == snapshot(undisturbed)
