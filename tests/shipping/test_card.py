"""The model card: metadata that the hub reads, facts from the folder, hostile names that stay text."""

import json
from dataclasses import replace

import pytest
from ruamel.yaml import YAML

from helpers.json_lines import write_lines
from muscle import compare
from muscle.shipping.card import add_flips, write_card

CONFIG = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "base_model_name_or_path": "org/tiny", "revision": "v1"}
NOTE = {
    "base": "org/tiny",
    "base_on_hub": True,
    "stage": "align",
    "task": "tools",
    "best_epoch": 2,
    "settings": {"seed": 7, "learning_rate": 0.001},
    "alignment": {"method": "tokens", "temperature": 2.0},
    "versions": {"peft": "0.1"},
}
TRAINING = {"num_examples": 48, "num_validation": 12, "num_epochs": 3, "converged": True}


@pytest.fixture
def folder(tmp_path):
    return write_adapter(tmp_path)


def write_adapter(folder, *, config=None, note=None):
    (folder / "adapter_config.json").write_text(json.dumps(CONFIG | (config or {})))
    (folder / "muscle.json").write_text(json.dumps(NOTE | (note or {})))
    (folder / "training.json").write_text(json.dumps(TRAINING))
    return folder


def card_of(folder):
    return (folder / "README.md").read_text()


def front_matter(card):
    return YAML(typ="safe").load(card.split("---\n")[1])


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    for name, wrong in (("old", 2), ("new", 5)):
        rows = [{"id": str(k), "input": "q", "output": "a", "correct": k >= wrong} for k in range(20)]
        write_lines(root / f"{name}.jsonl", *rows)
    return compare(root / "old.jsonl", root / "new.jsonl").report


def test_the_hub_reads_base_library_and_tags(folder):
    write_card(folder)
    found = front_matter(card_of(folder))
    assert (found["base_model"], found["library_name"]) == ("org/tiny", "peft")
    assert {"muscle", "lora", "compatibility"} == set(found["tags"])


def test_a_base_that_is_a_folder_is_no_base_of_the_hub(folder):
    write_adapter(folder, config={"base_model_name_or_path": "./base", "revision": None}, note={"base_on_hub": False})
    write_card(folder)
    assert "base_model" not in front_matter(card_of(folder))


def test_a_card_says_how_the_adapter_was_made_and_how_to_serve_it(folder):
    write_card(folder)
    card = card_of(folder)
    for told in ("Examples: 48", "Validation examples: 12", "Seed: 7", "method tokens", "Epoch kept: 2 of 3", "peft 0"):
        assert told.replace(".", r"\.") in card
    assert "vllm serve org/tiny --revision v1 --enable-lora" in card
    assert '--lora-modules tools-compat="$PWD" --max-lora-rank 8' in card


@pytest.mark.parametrize(
    ("alignment", "told"),
    [
        (
            {"temperature": 2.0, "mask": "student_wrong"},
            r"Method: Eq\. 1 of MUSCLE \(arXiv:2407\.09435\), temperature 2\.0, mask",
        ),
        ({"unit": "options", "target": "mixture"}, "Method: unit options, target mixture"),
        # What the method does not read is no part of it.
        (
            {"target": "mixture", "temperature": 1.0, "mask": "student_wrong", "texts": "every_answer"},
            r"Method: target mixture, temperature 1\.0, texts every\_answer",
        ),
        (
            {"unit": "options", "target": "labels", "temperature": 2.0, "mask": "student_wrong", "start": "old"},
            "Method: unit options, target labels, start old\n",
        ),
    ],
)
def test_a_card_names_the_equation_that_the_adapter_was_trained_by(folder, alignment, told):
    write_adapter(folder, note={"alignment": alignment})
    write_card(folder)
    assert told in card_of(folder)


def test_an_adapter_that_muscle_did_not_make_has_a_card_that_says_so(folder):
    (folder / "muscle.json").unlink()
    (folder / "training.json").unlink()
    write_card(folder)
    assert "Not made by muscle" in card_of(folder)


def test_the_flip_table_takes_the_place_of_an_older_one_and_leaves_the_rest(folder, report):
    write_card(folder)
    path = folder / "README.md"
    path.write_text(card_of(folder) + "\nMy own words.\n")
    (task,) = report.tasks
    add_flips(folder, report, task)
    once = card_of(folder)
    assert "3: 15.0%" in once
    assert once.endswith("My own words.\n")
    add_flips(folder, report, task)
    assert card_of(folder) == once
    write_card(folder)
    assert "3: 15.0%" in card_of(folder)


def test_a_card_without_the_marks_is_somebody_s_own(folder, report):
    (folder / "README.md").write_text("mine")
    add_flips(folder, report, next(iter(report.tasks)))
    assert card_of(folder) == "mine"


@pytest.mark.parametrize(
    "name", ["x\nlibrary_name: evil", "<script>alert(1)</script>", "```\n# Title", "a: [b, *c", "\x1b[2J\u202e", "--- "]
)
def test_a_hostile_name_stays_text(folder, report, name):
    write_adapter(folder, config={"base_model_name_or_path": name}, note={"task": name, "base": name, "old_base": name})
    write_card(folder)
    add_flips(folder, replace(report, headline=name), next(iter(report.tasks)))
    card = card_of(folder)
    found = front_matter(card)
    assert found["library_name"] == "peft"
    assert found["base_model"] == name
    prose = "".join(card.split("\n---\n", 1)[1].split("```")[::2])
    assert "<script>" not in prose
    assert "\x1b" not in prose and "\u202e" not in prose
    headings = [line for line in card.splitlines() if line.startswith("# ")]
    assert len(headings) == 1 or name.startswith("```")
