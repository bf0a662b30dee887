"""Where the prompt of an adapter from elsewhere and ours differ is said with both texts, from the first such place."""

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from muscle import get_task, load_config
from muscle.config.settings import BaseConfig, LoraSettings
from muscle.errors import ConfigError
from muscle.models.adapters import new_adapter, save_adapter
from muscle.models.base_files import ADAPTER_NOTE
from muscle.models.bases import load_base, load_tokenizer
from muscle.pipeline.dry_run import plan_update
from muscle.pipeline.given.prompt_check import prompt_differences
from muscle.pipeline.update import update
from muscle.tasks import load_examples
from muscle.tasks.prompt import Prompt
from muscle.yaml_files import yaml_text
from tiny.bases import CHAT_TEMPLATES, GENERATION_YAML, TASK_YAML, save_base, write_choice_rows

TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}> {{ m.content }} <eos>{% endfor %}"
    "{% if add_generation_prompt %}<assistant> {% endif %}"
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("given")
    (root / "tools.yaml").write_text(TASK_YAML)
    (root / "written.yaml").write_text(GENERATION_YAML)
    write_choice_rows(root / "train.jsonl", 20)
    write_choice_rows(root / "test.jsonl", 8, start=1000)
    for seed, side in enumerate(("old", "new")):
        save_base(root / side, seed=seed, chat_template=TEMPLATE)
    return root


def left_by_a_trainer(place: Path, folder: Path, **changes) -> Path:
    """Write what a trainer leaves of a tokenizer in an adapter's folder."""
    tokenizer = load_tokenizer(BaseConfig(base=str(place / "old")))
    for name, value in changes.items():
        setattr(tokenizer, name, value)
    tokenizer.save_pretrained(folder)
    return folder


def told(place: Path, folder: Path, *, yaml: str = "tools.yaml", **prompt) -> list[str]:
    task = get_task(place / yaml)
    examples = load_examples(task, place / "train.jsonl")
    tokenizer = load_tokenizer(BaseConfig(base=str(place / "old")))
    return prompt_differences(folder, replace(task, prompt=Prompt(**prompt)), examples, tokenizer)


def test_nothing_is_said_where_both_are_alike(place, tmp_path):
    assert told(place, left_by_a_trainer(place, tmp_path), chat_template=True) == []
    assert told(place, left_by_a_trainer(place, tmp_path), yaml="written.yaml", chat_template=True) == []


def test_the_first_character_that_differs_is_shown_in_both_texts(place, tmp_path):
    other = TEMPLATE.replace("<assistant> ", "<assistant>\n")
    other = other.replace("> {{ m.content }}", ">{{ '\n' if m.role == 'assistant' else ' ' }}{{ m.content }}")
    (line,) = told(place, left_by_a_trainer(place, tmp_path, chat_template=other), chat_template=True)
    # <user> for soup w0 w0 Use the <eos><assistant>, 44 characters, then a blank or a new line.
    ours = "<user> for soup w0 w0 Use the <eos><assistant> bowl <eos>"
    place_of_it = ours.index("<assistant>") + len("<assistant>") + 1
    assert f"differ from character {place_of_it} on" in line
    assert r'its "…w0 w0 Use the <eos><assist' not in line  # 24 characters before it, no more
    assert r"<assistant>▸\n" in line and "<assistant>▸ bowl" in line
    assert line.startswith(f"adapter {tmp_path}: its prompt and ours differ")


def test_a_template_that_is_not_in_use_is_said_with_the_key_that_uses_it(place, tmp_path):
    (line,) = told(place, left_by_a_trainer(place, tmp_path))
    assert 'its "▸<user> for soup' in line and 'ours "▸for soup' in line
    assert line.endswith("prompt.chat_template: true")


def test_a_template_in_use_that_the_adapter_has_not_is_said(place, tmp_path):
    (line,) = told(place, left_by_a_trainer(place, tmp_path, chat_template=None), chat_template=True)
    assert "its tokenizer has no chat template" in line and "leave the key out" in line


def test_another_end_of_answers_is_said_of_tasks_that_write(place, tmp_path):
    folder = left_by_a_trainer(place, tmp_path, eos_token="<pad>")
    (line,) = told(place, folder, yaml="written.yaml", chat_template=True)
    assert "its answers end in '<pad>', ours in ' <eos>'" in line
    assert told(place, folder, chat_template=True) == []  # options are not generated


def test_other_tokens_of_the_same_text_are_said_with_the_first(place, tmp_path):
    bare = save_base(tmp_path / "other", seed=3, chat_template=TEMPLATE)
    text = (bare / "tokenizer.json").read_text()
    (bare / "tokenizer.json").write_text(text.replace('"soup": 10', '"soup": 11').replace('"hay": 11', '"hay": 10'))
    assert text != (bare / "tokenizer.json").read_text()
    (line,) = told(place, bare, chat_template=True)
    assert "the same text becomes other tokens, from token 3 on: its 11 ('soup'), ours 10 ('soup')" in line


def test_a_template_that_refuses_the_conversation_is_said_in_a_line(place, tmp_path):
    folder = left_by_a_trainer(place, tmp_path, chat_template=CHAT_TEMPLATES["no system"])
    (line,) = told(place, folder, chat_template=True, system="Be brief.")
    assert "its chat template cannot be compared" in line and "\n" not in line


def test_adapters_of_ours_and_folders_without_a_tokenizer_are_left_alone(place, tmp_path):
    assert told(place, tmp_path, chat_template=True) == []
    folder = left_by_a_trainer(place, tmp_path, chat_template="other")
    (folder / ADAPTER_NOTE).write_text("{}")
    assert told(place, folder, chat_template=True) == []


def test_a_damaged_tokenizer_is_said_and_stops_nothing(place, tmp_path):
    folder = left_by_a_trainer(place, tmp_path)
    (folder / "tokenizer.json").write_text("{")
    (line,) = told(place, folder)
    assert line.startswith(f"adapter {folder}: the tokenizer beside it cannot be read") and "\n" not in line


def test_the_dry_run_and_the_update_say_it_before_any_work(place, tmp_path, caplog, monkeypatch):
    base = load_base(BaseConfig(base=str(place / "old")), precision="float32", device="cpu")
    adapter = tmp_path / "theirs"
    save_adapter(new_adapter(base, LoraSettings(r=2, alpha=4)), adapter, base=base, note={})
    (adapter / ADAPTER_NOTE).unlink()
    left_by_a_trainer(place, adapter)
    keys = {
        "old": {"base": str(place / "old"), "adapters": {"tools": str(adapter)}},
        "new": str(place / "new"),
        "tasks": [{name: str(place / file) for name, file in
                   (("task", "tools.yaml"), ("train", "train.jsonl"), ("test", "test.jsonl"))}],
        "output": str(tmp_path / "run"),
    }  # fmt: skip
    (tmp_path / "update.yaml").write_text(yaml_text(keys))
    config = load_config(tmp_path / "update.yaml")
    (note,) = (note for note in plan_update(config).notes if "differ from character 1 on" in note)
    assert note.endswith("with prompt.chat_template: true")
    quiet = load_config(tmp_path / "update.yaml", overrides={"prompt.chat_template": True})
    assert not any("differ" in note for note in plan_update(quiet).notes)

    def stop(*args: object, **kwargs: object) -> None:
        raise ConfigError("work begins")

    monkeypatch.setattr("muscle.pipeline.run_folder.RunFolder.stage", stop)
    with caplog.at_level(logging.WARNING, logger="muscle"), pytest.raises(ConfigError, match="work begins"):
        update(config)
    assert note in caplog.messages
    shutil.rmtree(tmp_path / "run")
