"""The answers of a model in memory as a record: those of `muscle evaluate`, resumable."""

import hashlib
import json

import pytest

from helpers.command_line import muscle, refused
from muscle.predictions.read import read_run
from muscle.record import local
from tiny.bases import GENERATION_YAML, TASK_YAML, save_base, write_choice_rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("local")
    save_base(root / "base", seed=1)
    (root / "tools.yaml").write_text(TASK_YAML)
    (root / "words.yaml").write_text(GENERATION_YAML)
    write_choice_rows(root / "items.jsonl", 10)
    return root


def record(folder, out, *more, task="tools"):
    given = ("record", "--model", folder / "base", "--task", folder / f"{task}.yaml", "--precision", "float32")
    return muscle(*given, "--data", folder / "items.jsonl", "--out", out, *more)


def test_a_record_holds_what_evaluate_writes(folder, tmp_path):
    assert record(folder, tmp_path / "old.jsonl").code == 0
    out = ("--data", folder / "items.jsonl", "--out", tmp_path / "run", "--precision", "float32")
    assert muscle("evaluate", "--model", folder / "base", "--task", folder / "tools.yaml", *out).code == 0
    ours, theirs = (read_run(tmp_path / name).frame for name in ("old.jsonl", "run"))
    assert ours.drop("logprobs").equals(theirs.drop("logprobs"), null_equal=True)
    for one, two in zip(ours["logprobs"], theirs["logprobs"], strict=True):
        assert one.to_list() == pytest.approx(two.to_list(), abs=1e-6)
    calls = [json.loads(line)["muscle_call"] for line in (tmp_path / "old.jsonl").read_text().splitlines()]
    prompts = [hashlib.sha256(text.encode()).hexdigest() for text in ours["input"]]
    assert [call["prompt_sha256"] for call in calls] == prompts


def test_a_recording_goes_on_where_it_was(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(local, "ITEMS_A_PART", 4)
    whole, cut = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    record(folder, whole)
    lines = whole.read_text().splitlines(keepends=True)
    cut.write_text("".join(lines[:6]) + lines[6][:40])
    done = record(folder, cut)
    assert "4 answers recorded, 6 were there" in done.out
    kept = [json.loads(line) for line in cut.read_text().splitlines()]
    assert [row["id"] for row in kept] == [json.loads(line)["id"] for line in lines]
    assert "0 answers recorded, 10 were there" in record(folder, cut).out


def test_unlabelled_items_have_likelihoods_and_no_verdict(folder, tmp_path):
    rows = [json.loads(line) for line in (folder / "items.jsonl").read_text().splitlines()[:3]]
    file = tmp_path / "traffic.jsonl"
    file.write_text("".join(json.dumps({key: row[key] for key in ("id", "goal", "a", "b")}) + "\n" for row in rows))
    given = ("record", "--model", folder / "base", "--task", folder / "tools.yaml", "--unlabelled", file)
    assert muscle(*given, "--out", tmp_path / "old.jsonl").code == 0
    frame = read_run(tmp_path / "old.jsonl").frame
    assert frame["correct"].null_count() == frame["reference"].null_count() == 3
    assert frame["logprobs"].list.len().to_list() == [2, 2, 2] and frame["error"].null_count() == 3


def test_sampled_answers_are_repeats(folder, tmp_path):
    done = record(folder, tmp_path / "old.jsonl", "--repeats", 3, "--temperature", 1.0, task="words")
    assert done.code == 0, done.err
    frame = read_run(tmp_path / "old.jsonl").frame
    assert sorted(frame["repeat"].unique()) == [0, 1, 2] and frame.height == 30
    assert frame["output"].n_unique() > 10


def test_another_model_does_not_record_into_the_same_file(folder, tmp_path):
    save_base(tmp_path / "other", seed=2)
    assert record(folder, tmp_path / "old.jsonl").code == 0
    given = ("record", "--model", tmp_path / "other", "--task", folder / "tools.yaml", "--precision", "float32")
    line = refused(*given, "--data", folder / "items.jsonl", "--out", tmp_path / "old.jsonl")
    assert "found another model, prompt or setting" in line
