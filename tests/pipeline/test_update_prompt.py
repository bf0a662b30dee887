"""An update in chat templates and with solved examples, the whole way on the tiny pair."""

import json
from pathlib import Path

import polars as pl
import pytest

from helpers.command_line import muscle
from muscle.config.update_file import load_config
from muscle.errors import ConfigError
from muscle.pipeline.dry_run import plan_update
from muscle.pipeline.stages import UpdateStages
from muscle.pipeline.update import update
from muscle.yaml_files import yaml_text
from tiny.bases import GENERATION_YAML, TASK_YAML, save_base, write_choice_rows
from tiny.update_inputs import TRAINING

OLD_TEMPLATE = "{% for m in messages %}w1 {{ m.content }} {% if m.role == 'assistant' %}<eos> {% endif %}{% endfor %}"
NEW_TEMPLATE = "{% for m in messages %}{{ 'w2' if m.role == 'user' else 'w3' }} {{ m.content }} <eos> {% endfor %}"
NEW_TEMPLATE += "{% if add_generation_prompt %}w3 {% endif %}"
TURNS = [{"role": "system", "content": "w9"}, {"role": "user", "content": "w1 {{ prompt }} w3"}]
CHAT = {"prompt.chat_template": True, "prompt.num_fewshot": 1}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    root = tmp_path_factory.mktemp("prompt")
    (root / "tools.yaml").write_text(TASK_YAML)
    write_choice_rows(root / "train.jsonl", 40)
    write_choice_rows(root / "test.jsonl", 16, start=1000)
    save_base(root / "old", seed=1, chat_template=OLD_TEMPLATE)
    save_base(root / "new", seed=2, chat_template=NEW_TEMPLATE)
    config = {
        "old": {"base": "old"},
        "new": {"base": "new"},
        "tasks": [{"task": "tools.yaml", "train": "train.jsonl", "test": "test.jsonl"}],
        "lora": {"r": 4, "alpha": 8},
        "training": TRAINING,
        "evaluation": {"control": True},
    }
    (root / "update.yaml").write_text(yaml_text(config))
    return root


def configured(root: Path, out: Path, **overrides):
    return load_config(root / "update.yaml", overrides={"output": str(out), **overrides})


@pytest.fixture(scope="module")
def chat(inputs, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "chat"
    return out, update(configured(inputs, out, **CHAT))


def test_an_update_in_two_chat_templates_runs_the_whole_way(inputs, chat):
    out, result = chat
    assert result.report.tasks["tools"].n == 16
    runs = [pl.read_ndjson(out / "predictions" / run / "tools.jsonl") for run in ("old", "new", "compat", "control")]
    asked = [json.loads(line)["goal"] + " Use the" for line in (inputs / "test.jsonl").read_text().splitlines()]
    assert all(run["input"].to_list() == asked for run in runs)
    facts = [json.loads((out / "predictions" / run / "run.json").read_text()) for run in ("old", "new")]
    shots = [each["tasks"]["tools"]["definition"]["prompt"]["shots"] for each in facts]
    assert shots[0] == shots[1] and len(shots[0]) == 2
    tested = {json.loads(line)["goal"] for line in (inputs / "test.jsonl").read_text().splitlines()}
    assert not any(goal in context for goal in tested for context, _ in shots[0])
    assert set(map(tuple, result.report.comparability.values())) == {()}


def test_a_second_run_in_it_does_nothing(inputs, chat):
    out, _ = chat
    assert update(configured(inputs, out, **CHAT)).num_stages_run == 0


@pytest.mark.parametrize(
    "change",
    [{"prompt.chat_template": False}, {"prompt.system": "w9"}, {"prompt.num_fewshot": 2}, {"prompt.messages": TURNS}],
)
def test_a_changed_prompt_does_every_stage_again(inputs, chat, change):
    out, _ = chat
    stages = plan_update(configured(inputs, out, **{**CHAT, **change})).stages
    assert {stage.state for stage in stages} == {"to run"}


def test_an_update_whose_messages_are_given_runs_the_whole_way_in_them(inputs, tmp_path):
    result = update(configured(inputs, tmp_path / "run", **{"prompt.messages": TURNS}))
    assert result.report.tasks["tools"].n == 16
    facts = json.loads((tmp_path / "run" / "predictions" / "compat" / "run.json").read_text())
    prompt = facts["tasks"]["tools"]["definition"]["prompt"]
    assert prompt["chat_template"] and prompt["turns"] == [list(turn.values()) for turn in TURNS]


def test_a_changed_template_file_does_that_side_again(inputs, chat):
    out, _ = chat
    path = inputs / "new" / "chat_template.jinja"
    before = path.read_text()
    try:
        path.write_text(before.replace("w2", "w4"))
        states = {stage.name: stage.state for stage in plan_update(configured(inputs, out, **CHAT)).stages}
    finally:
        path.write_text(before)
    assert {name for name, state in states.items() if state == "done"} == {"finetune old/tools", "evaluate old/tools"}


def test_the_default_prompt_is_no_part_of_a_stage(inputs, tmp_path):
    stages = UpdateStages(configured(inputs, tmp_path / "plain"))
    stage = stages.finetune("new", stages.data["tools"])
    assert set(stage.inputs()) == {"base", "task", "train", "validation", "lora", "training"}
    assert "prompt" not in stages.data["tools"].task.definition


def test_more_tokens_are_planned_in_a_longer_prompt(inputs, tmp_path):
    plain, shown = (
        sum(
            stage.num_tokens
            for stage in plan_update(configured(inputs, tmp_path / "new", **{"prompt.num_fewshot": shots})).stages
        )
        for shots in (0, 2)
    )
    assert shown > 2 * plain


def test_a_number_of_shots_for_an_unknown_task_is_refused(inputs, tmp_path):
    with pytest.raises(ConfigError, match=r"prompt.num_fewshot.nosuch: expected a task's name \(tools\)"):
        plan_update(configured(inputs, tmp_path / "new", **{"prompt.num_fewshot": {"nosuch": 1}}))


def test_a_base_without_a_template_is_refused_before_anything_is_trained(inputs, tmp_path):
    save_base(tmp_path / "bare", seed=3)
    config = configured(inputs, tmp_path / "run", **{**CHAT, "new.base": str(tmp_path / "bare")})
    with pytest.raises(ConfigError, match="expected a tokenizer with a chat template"):
        update(config)
    assert not (tmp_path / "run" / "adapters").exists()


def test_vllm_with_a_chat_template_is_refused_with_its_key(inputs, tmp_path):
    with pytest.raises(ConfigError, match=r"evaluation.backend: vllm does not score in a chat template"):
        configured(inputs, tmp_path / "run", **{**CHAT, "evaluation.backend": "vllm"})


def test_the_single_steps_give_the_update_s_scores(inputs, chat, tmp_path):
    out, _ = chat
    adapter = out / "adapters" / "compat" / "tools"
    arguments = ["evaluate", "--model", f"{inputs / 'new'}+{adapter}", "--task", str(inputs / "tools.yaml")]
    arguments += ["--data", str(inputs / "test.jsonl"), "--train", str(inputs / "train.jsonl"), "--out", str(tmp_path)]
    arguments += ["--precision", "float32", "--set", "prompt.chat_template=true", "--set", "prompt.num_fewshot=1"]
    assert muscle(*arguments).code == 0
    ours, theirs = (pl.read_ndjson(folder / "tools.jsonl") for folder in (tmp_path, out / "predictions" / "compat"))
    for one, other in zip(ours["logprobs"].to_list(), theirs["logprobs"].to_list(), strict=True):
        assert one == pytest.approx(other, abs=1e-4)


def test_option_level_training_reads_each_base_s_own_template(inputs, chat, tmp_path):
    out, _ = chat
    given = {f"{side}.adapters": {"tools": str(out / "adapters" / side / "tools")} for side in ("old", "new")}
    result = update(configured(inputs, tmp_path / "options", **{**CHAT, **given, "alignment.method": "options"}))
    assert result.report.tasks["tools"].n == 16
    written = json.loads((tmp_path / "options" / "adapters" / "compat" / "tools" / "training.json").read_text())
    assert written["unit"] == "options" and written["temperatures"]


def test_generated_answers_end_as_the_template_does_and_methods_learn_from_them(inputs, tmp_path):
    (tmp_path / "tools.yaml").write_text(GENERATION_YAML)
    task = {"task": str(tmp_path / "tools.yaml"), "train": "train.jsonl", "test": "test.jsonl"}
    learnt = {"training.epochs": 20, "training.learning_rate": 0.02, "lora.r": 8, "lora.alpha": 16}
    changes = {
        "prompt.chat_template": True,
        "tasks": [task],
        "alignment.method": "answers",
        "evaluation.control": False,
    }
    out = update(configured(inputs, tmp_path / "run", **changes, **learnt)).folder
    answers, bare = (pl.read_ndjson(out / "predictions" / run / "tools.jsonl") for run in ("new", "base"))
    # Bases go on to the limit of four tokens; an answer takes two and its end one.
    ended = answers.filter(pl.col("finish_reason") == "stop")
    assert ended.height >= 12 and set(bare["finish_reason"]) == {"length"}
    assert all(len(output.split()) == 2 for output in ended["output"])
    written = json.loads((out / "adapters" / "compat" / "tools" / "training.json").read_text())
    assert written["unit"] == "answers"
