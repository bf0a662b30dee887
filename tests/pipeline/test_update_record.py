"""An update whose old model is a record: the whole way on the tiny pair, and what is refused."""

import json

import pytest

from helpers.command_line import muscle
from helpers.json_lines import write_lines
from muscle.config.update_file import load_config
from muscle.pipeline.dry_run import plan_update
from muscle.yaml_files import yaml_text
from tiny.bases import GENERATION_YAML, TASK_YAML, save_base, write_choice_rows

TRAINING = {"epochs": 1, "learning_rate": 5e-3, "warmup_steps": 1, "batch_size": 8, "precision": "float32"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An old base, a new one, data, and a record of the old one's answers to all of it but two test items."""
    root = tmp_path_factory.mktemp("update")
    for name, seed in (("old", 1), ("new", 2)):
        save_base(root / name, seed=seed)
    (root / "tools.yaml").write_text(TASK_YAML)
    (root / "words.yaml").write_text(GENERATION_YAML)
    files = [write_choice_rows(root / f"{name}.jsonl", number, start=start) for name, number, start in PARTS]
    for task, more in (("tools", ()), ("words", ("--repeats", 3, "--temperature", 1.0))):
        out = root / f"{task}-record.jsonl"
        given = ("record", "--model", root / "old", "--task", root / f"{task}.yaml", "--precision", "float32", *more)
        done = muscle(*given, *(word for file in files for word in ("--data", file)), "--out", out)
        assert done.code == 0, done.err
    lines = (root / "tools-record.jsonl").read_text().splitlines(keepends=True)
    (root / "tools-record.jsonl").write_text("".join(line for line in lines if json.loads(line)["id"] not in LOST))
    return root


PARTS = (("train", 40, 0), ("test", 20, 100), ("more", 12, 300))
LOST = ("test:row-103", "test:row-107", "train:row-5")


def write_config(folder, out, *, task="tools", **more):
    settings = {
        "old": {"record": f"{task}-record.jsonl"},
        "new": "new",
        "tasks": [{"task": f"{task}.yaml", "train": "train.jsonl", "test": "test.jsonl"}],
        "output": str(out),
        "lora": {"r": 4, "alpha": 8.0},
        "training": TRAINING,
        **more,
    }
    path = folder / f"{out.name}.yaml"
    path.write_text(yaml_text(settings))
    return path


@pytest.fixture(scope="module")
def done(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "options"
    config = write_config(
        folder, out, alignment={"method": "options", "unlabelled": "more.jsonl", "unlabelled_epochs": 1}
    )
    return muscle("update", config), out, config


def test_no_old_model_is_trained_or_run(done):
    ran, out, _ = done
    assert ran.code == 0, ran.err
    stages = json.loads((out / "manifest.json").read_text())["stages"]
    assert "finetune old/tools" not in stages and "evaluate old/tools" in stages
    assert not (out / "adapters" / "old").exists()
    assert "answers to 39 of 40 training, 12 of 12 unlabelled, 18 of 20 test items of tools" in ran.err


def test_items_without_an_answer_are_left_out_and_named(done):
    ran, out, _ = done
    told = json.loads((out / "adapters" / "compat" / "tools" / "training.json").read_text())
    assert told["old_record"] == {"items_with_likelihoods": 39 + 12}
    assert told["num_labelled"] + told["num_validation"] == 39
    assert "have no answer in it and are left out: row-5" in ran.err.replace("'", "")


def test_the_old_run_is_the_record_scored_as_the_other_runs(done):
    _, out, _ = done
    rows = [json.loads(line) for line in (out / "predictions" / "old" / "tools.jsonl").read_text().splitlines()]
    missing = {row["id"] for row in rows if row.get("error")}
    assert len(rows) == 20 and missing == {"row-103", "row-107"}
    assert {row["error"] for row in rows if row.get("error")} == {"not in the record"}
    whole = next(row for row in rows if not row.get("error"))
    assert set(whole["score"]) == {"gold_probability", "gold_logprob", "acc"} and len(whole["logprobs"]) == 2


def test_the_report_says_that_the_old_side_is_a_record(done):
    _, out, _ = done
    for name in ("report.md", "report.html"):
        text = (out / name).read_text()
        assert "is a record of" in text and "no old model ran" in text, name
    report = json.loads((out / "report.json").read_text())
    assert report["tasks"]["tools"]["training"] if "training" in report["tasks"]["tools"] else report["training"]


def test_a_second_run_does_nothing_and_another_record_redoes_what_reads_it(done, folder):
    _, _, config = done
    assert "nothing to do" in muscle("update", config).out
    path = folder / "tools-record.jsonl"
    before = path.read_text()
    try:
        path.write_text("".join(before.splitlines(keepends=True)[:-1]))
        states = {stage.name: stage.state for stage in plan_update(load_config(config)).stages}
    finally:
        path.write_text(before)
    assert states["finetune new/tools"] == "done" and states["evaluate base/tools"] == "done"
    assert states["align tools"] == states["evaluate old/tools"] == "to run"


def test_a_dry_run_knows_it(folder, tmp_path):
    config = write_config(folder, tmp_path / "dry")
    plan = plan_update(load_config(config))
    names = [stage.name for stage in plan.stages]
    assert "finetune old/tools" not in names and "align tools" in names
    assert any(note.startswith("old.record: ") and "answers to 39 of 40 training" in note for note in plan.notes)
    by_name = {stage.name: stage for stage in plan.stages}
    assert by_name["evaluate old/tools"].num_tokens == 0
    # The new teacher's alone; two trainings of an epoch, each with a fifth of the items before it.
    assert by_name["align tools"].num_tokens == 2 * 1.2 * by_name["align tools"].teacher_tokens
    assert by_name["control tools"].teacher_tokens == 0
    assert plan.memory is not None and "evaluate old/tools" not in [stage.name for stage in plan.memory.stages]
    shown = muscle("update", config, "--dry-run", "--gpu", "l4")
    assert shown.code == 0 and "old.record" in shown.out
    assert "the old model is a record: the method is options" in shown.err


def test_recorded_answers_are_candidates_where_answers_are_generated(folder, tmp_path):
    file, out = folder / "words-record.jsonl", tmp_path / "generated"
    # Random models seldom end an answer.
    file.write_text(file.read_text().replace('"finish_reason": "length"', '"finish_reason": "stop"'))
    ran = muscle("update", write_config(folder, out, task="words"))
    assert ran.code == 0, ran.err
    drawn = [json.loads(line) for line in (out / "candidates" / "tools.jsonl").read_text().splitlines()]
    sources = {source for line in drawn for each in line["candidates"] for source in each["sources"]}
    assert {"reference", "old recorded"} <= sources <= {"reference", "old recorded", "new greedy", "new sample"}
    told = json.loads((out / "adapters" / "compat" / "tools" / "training.json").read_text())
    assert told["old_record"]["items_with_answers_alone"] == told["num_labelled"] + told["num_validation"] == 40
    rows = (out / "predictions" / "old" / "tools.jsonl").read_text().splitlines()
    said = [line["output"] for line in map(json.loads, file.read_text().splitlines()) if line["id"].startswith("test:")]
    assert len(said) == 60 and len(rows) == sum(bool(text.strip()) for text in said) > 50  # a blank one is missing
    report = (out / "report.md").read_text()
    assert "old breaks 0% of its answers against itself" in report  # the floor, of its three answers an item


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"evaluation": {"floor": True}}, "evaluation.floor: trains the old recipe again"),
        ({"alignment": {"method": "paper"}}, "alignment.method: paper needs the old model's weights"),
        ({"alignment": {"method": "options", "start": "old"}}, "alignment.start: old needs the old model's weights"),
        ({"evaluation": {"beside": {"x": {"method": "bcwi"}}}}, "evaluation.beside.x.method: bcwi needs"),
        ({"old": {"record": "r.jsonl", "base": "old"}}, "base: expected no such key beside record"),
        ({"old": {}}, "base: missing"),
        ({"new": {"record": "r.jsonl"}}, "new.record: only the old model can be a record"),
        ({"old": {"record": "nowhere.jsonl"}}, "nowhere.jsonl: expected a file"),
    ],
)
def test_what_takes_the_old_model_is_refused(folder, tmp_path, more, message):
    ended = muscle("update", write_config(folder, tmp_path / "refused", **more))
    assert ended.code == 3 and message in ended.last


def test_a_record_of_other_items_is_refused_before_training(folder, tmp_path):
    other = {"id": "1", "task": "tools", "input": "something else", "output": "bowl", "correct": True}
    (folder / "other.jsonl").write_text(json.dumps(other) + "\n")
    line = muscle("update", write_config(folder, tmp_path / "other", old={"record": "other.jsonl"}))
    assert line.code == 3 and "expected answers to train items of tools, found none" in line.last
    assert not (tmp_path / "other" / "adapters").exists()


def without_options(folder):
    """The record with answers that name no option."""
    rows = [json.loads(line) for line in (folder / "tools-record.jsonl").read_text().splitlines()]
    silent = [{**row, "output": "well", "choice": None, "correct": False, "logprobs": None} for row in rows]
    return rows, silent


def write_record(path, rows):
    write_lines(path, *rows)


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_a_record_that_names_no_option_is_refused_before_training(folder, tmp_path, more):
    _, silent = without_options(folder)
    write_record(folder / "silent.jsonl", silent)
    line = muscle("update", write_config(folder, tmp_path / "silent", old={"record": "silent.jsonl"}), *more)
    assert line.code == 3
    assert "expected an answer to a train item of tools that names an option, found none among" in line.last
    assert not (tmp_path / "silent" / "adapters").exists()


def test_answers_that_name_no_option_are_counted_apart(folder, tmp_path):
    rows, silent = without_options(folder)
    write_record(folder / "some.jsonl", silent[:5] + rows[5:])
    plan = plan_update(load_config(write_config(folder, tmp_path / "some", old={"record": "some.jsonl"})))
    assert any("; of 5 training or unlabelled items none names an option" in note for note in plan.notes)


def test_generated_answers_that_were_all_cut_off_are_refused_before_training(folder, tmp_path):
    text = (folder / "words-record.jsonl").read_text()
    (folder / "cut.jsonl").write_text(text.replace('"finish_reason": "stop"', '"finish_reason": "length"'))
    line = muscle("update", write_config(folder, tmp_path / "cut", task="words", old={"record": "cut.jsonl"}))
    assert line.code == 3 and "train item of tools that ended, found none among" in line.last
