"""A dry run looks at what is on this machine alone, and lists the stages whatever is missing."""

import json
import socket

import huggingface_hub.constants
import pytest

from helpers.command_line import muscle
from helpers.hub_cache import put_into_hub_cache
from helpers.places import ROOT
from muscle.config.update_file import load_config
from muscle.errors import DataError, ModelError
from muscle.pipeline.dry_run import plan_update
from muscle.pipeline.memory.cards import card_of
from tiny.bases import TASK_YAML, save_base, write_choice_rows

PAPER = sorted((ROOT / "examples" / "paper").glob("*.yaml"))
PUBLISHED = {"hellaswag": (39_905, 10_042), "piqa": (16_113, 1_838), "gsm8k": (7_473, 1_319), "samsum": (14_732, 819)}


@pytest.fixture(autouse=True)
def nothing_here(tmp_path, monkeypatch):
    """No network, and an empty cache."""

    def refuse(*_, **__):
        raise AssertionError("a dry run must not use the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")


def test_there_is_a_configuration_for_each_update_of_the_paper():
    assert [path.name for path in PAPER] == ["llama.yaml", "phi-1.5.yaml", "phi-1.yaml", "vicuna.yaml"]


@pytest.mark.parametrize("path", PAPER, ids=lambda path: path.stem)
def test_the_paper_s_updates_are_planned_with_nothing_downloaded(path):
    done = muscle("update", path, "--dry-run", "--json")
    assert done.code == 0, done.err
    plan = json.loads(done.out)
    found = {stage["name"]: stage for stage in plan["stages"]}
    assert len(found) == 4 * (4 + 5)
    for task, (trained, tested) in PUBLISHED.items():
        for name, examples in ((f"align {task}", trained), (f"evaluate compat/{task}", tested)):
            assert found[name] == {
                "name": name,
                "state": "to run",
                "num_examples": examples,
                "num_tokens": None,
                "teacher_tokens": None if name.startswith("align") else 0,
                "is_published": True,
            }
    assert plan["resources"] is None
    assert sum("no config.json here" in note for note in plan["notes"]) == 1
    assert any("the data of hellaswag, piqa, gsm8k, samsum" in note for note in plan["notes"])


@pytest.mark.parametrize("path", PAPER, ids=lambda path: path.stem)
def test_the_paper_s_settings_are_those_of_its_table_8(path):
    config = load_config(path)
    training, lora, alignment = config.align_training(), config.lora, config.alignment
    assert (training.epochs, training.learning_rate, training.warmup_steps) == (10, 1e-4, 500)
    assert (training.gradient_accumulation, training.weight_decay, training.validation_fraction) == (8, 0.0, 0.2)
    assert (lora.r, lora.alpha, lora.dropout, lora.target_modules) == (128, 256.0, 0.0, "all-linear")
    assert (alignment.method, alignment.temperature, alignment.mask, alignment.ce_weight) == (
        *("paper", 2.0, "student_wrong", 0.0),
    )
    assert [entry.task for entry in config.tasks] == list(PUBLISHED)
    assert all(entry.train is None and entry.train_limit is None for entry in config.tasks)


def test_people_read_what_is_missing_and_which_sizes_are_published():
    done = muscle("update", PAPER[0], "--dry-run")
    assert done.code == 0 and "39,905 (published)" in done.out and "unknown" in done.out
    assert "no config.json here, so memory and time are not estimated" in " ".join(done.out.split())
    assert "What it would take" not in done.out


def test_memory_is_estimated_from_a_config_json_alone(tmp_path):
    sizes = {
        "model_type": "llama",
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "vocab_size": 32000,
    }
    put_into_hub_cache(tmp_path / "hub", "meta-llama/Llama-2-7b-hf", {"config.json": json.dumps(sizes)})
    plan = json.loads(muscle("update", ROOT / "examples/paper/llama.yaml", "--dry-run", "--json").out)
    assert plan["resources"]["parameters"] == pytest.approx(6.74e9, rel=0.001)  # of Llama 2 7B
    assert plan["resources"]["seconds"] is None and plan["resources"]["store_bytes"] is None
    assert plan["resources"]["total_bytes"] > plan["resources"]["weights_bytes"] > 13e9
    shown = muscle("update", ROOT / "examples/paper/llama.yaml", "--dry-run").out
    assert "memory in all" in shown and "time on an A100" not in shown


@pytest.fixture
def local(tmp_path):
    (tmp_path / "tools.yaml").write_text(TASK_YAML)
    write_choice_rows(tmp_path / "train.jsonl", 40)
    write_choice_rows(tmp_path / "test.jsonl", 16, start=1000)
    for seed, side in enumerate(("old", "new")):
        save_base(tmp_path / side, seed=seed)
    text = "old: old\nnew: new\ntasks: [{task: tools.yaml, train: train.jsonl, test: test.jsonl}]\n"
    (tmp_path / "update.yaml").write_text(text)
    return tmp_path / "update.yaml"


def test_what_is_here_is_counted_as_ever(local):
    plan = plan_update(load_config(local))
    assert plan.notes == () and plan.knows_tokens and plan.resources is not None
    assert all(stage.num_tokens and not stage.is_published for stage in plan.stages)


def test_a_base_that_is_not_here_leaves_the_tokens_of_data_that_is(local):
    plan = plan_update(load_config(local, overrides={"old": "org/elsewhere"}))
    assert plan.notes == ("not on this machine: org/elsewhere; `muscle update` downloads them",)
    assert {stage.state for stage in plan.stages} == {"to run"}
    assert all(stage.num_tokens for stage in plan.stages) and plan.knows_tokens


def test_a_limit_cuts_a_published_size(local):
    tasks = [{"task": "piqa", "train_limit": 500, "test_limit": 10_000}]
    plan = plan_update(load_config(local, overrides={"tasks": tasks}))
    assert {
        stage.name: stage.num_examples for stage in plan.stages if stage.name in ("align piqa", "evaluate new/piqa")
    } == {
        "align piqa": 500,
        "evaluate new/piqa": 1_838,
    }


@pytest.mark.parametrize(
    ("changes", "error", "why"),
    [
        ({"new": "./nowhere"}, ModelError, "there is no such folder"),
        ({"tasks": [{"task": "tools.yaml", "train": "no.jsonl", "test": "test.jsonl"}]}, DataError, "expected a file"),
        ({"tasks": [{"task": "piqa", "train": "hub:org/own:train"}]}, DataError, "its size is not known"),
    ],
)
def test_what_is_wrong_is_refused_as_ever(local, changes, error, why):
    with pytest.raises(error, match=why):
        plan_update(load_config(local, overrides=changes))


def test_the_hub_s_client_is_left_as_it_was(local):
    import datasets.config

    before = huggingface_hub.constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    plan_update(load_config(local))
    with pytest.raises(ModelError):
        plan_update(load_config(local, overrides={"new": "./nowhere"}))
    assert before == (huggingface_hub.constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE)


def test_a_precision_that_is_slow_on_this_machine_is_told_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.setattr("muscle.pipeline.dry_run.slow_precision", lambda precision: f"{precision} is slow")
    config = load_config(PAPER[0], overrides={"training.precision": "bf16", "output": str(tmp_path / "run")})
    assert "bf16 is slow" in plan_update(config).notes
    assert "bf16 is slow" not in plan_update(config, card=card_of("l4")).notes
