"""The dry run says of every stage what it takes of a GPU, whether that fits a named card, and what to change."""

import json

import huggingface_hub.constants
import pytest

from helpers.command_line import muscle
from helpers.hub_cache import put_into_hub_cache
from helpers.places import ROOT
from muscle.config.settings import TrainingSettings
from muscle.config.update_file import load_config
from muscle.errors import ConfigError
from muscle.pipeline.dry_run import plan_update
from muscle.pipeline.memory.cards import card_of
from muscle.pipeline.memory.changes import changed
from muscle.pipeline.resources import ModelSizes

EXAMPLE = ROOT / "examples" / "llama-8b-classifier" / "update.yaml"
LLAMA_8B = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
}
PLAIN = {"training.quantization": None, "training.gradient_checkpointing": False}


@pytest.fixture(autouse=True)
def configs_alone(tmp_path, monkeypatch):
    """Of both bases nothing but the config.json is here."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    for name in ("Meta-Llama-3-8B-Instruct", "Llama-3.1-8B-Instruct"):
        put_into_hub_cache(tmp_path / "hub", f"meta-llama/{name}", {"config.json": json.dumps(LLAMA_8B)})


def memory_of(card=None, **overrides):
    return plan_update(load_config(EXAMPLE, overrides=overrides), card=card and card_of(card)).memory


def test_the_example_fits_a_card_of_24_gb_by_its_configs_alone():
    done = muscle("update", EXAMPLE, "--dry-run", "--gpu", "rtx4090", "--json")
    assert done.code == 0, done.err
    memory = json.loads(done.out)["memory"]
    assert memory["fits"] and memory["changes"] == {} and memory["gpu"]["name"] == "rtx4090"
    totals = [stage["total_bytes"] for stage in memory["stages"]]
    assert totals == sorted(totals, reverse=True) and memory["largest"] == memory["stages"][0]["name"]
    assert {stage["name"] for stage in memory["stages"]} >= {"finetune old/tickets", "align tickets"}
    assert all(
        stage["total_bytes"] == sum(v for k, v in stage.items() if k.endswith("_bytes")) / 2
        for stage in memory["stages"]
    )


def test_four_bits_leave_embeddings_head_and_norms_in_sixteen():
    sizes = ModelSizes(layers=2, width=64, kv_width=32, feed_forward=128, vocabulary=1000, tied=False)
    linear = 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128)
    rest = 2 * 64_000 + 2 * 2 * 64 + 64
    constants = linear / 64 + 4 * linear / 64 / 256
    expected = linear / 2 + constants + 2 * rest
    assert sizes.weight_bytes(TrainingSettings(quantization="4bit")) == pytest.approx(expected, abs=1)
    assert sizes.weight_bytes(TrainingSettings()) == 2 * (linear + rest)


def test_both_bases_are_counted_where_both_are_in_memory():
    stages = {each.name: each for each in memory_of(**PLAIN).stages}
    assert stages["finetune new/tickets"].weights == pytest.approx(2 * 2 * 8.03e9, rel=0.001)


def test_where_it_does_not_fit_the_proposed_changes_make_it_fit():
    found = memory_of("24GB", **PLAIN)
    assert not found.fits(found.stages[0])
    assert found.changes["training.quantization"] == "4bit"
    again = memory_of("24GB", **(PLAIN | found.changes))
    assert all(map(again.fits, again.stages)) and again.changes == {}


@pytest.mark.parametrize("left_out", ["training.quantization", "training.batch_size"])
def test_no_change_is_proposed_that_is_not_needed(left_out):
    changes = memory_of("24GB", **PLAIN).changes
    again = memory_of("24GB", **(PLAIN | {key: value for key, value in changes.items() if key != left_out}))
    assert not again.fits(again.stages[0])


def test_a_smaller_batch_comes_with_as_many_more_of_them_a_step():
    changes = memory_of("24GB", **PLAIN).changes
    assert changes["training.batch_size"] * changes["training.gradient_accumulation"] == 4 * 4


def test_a_setting_of_the_compatibility_adapter_s_own_is_changed_where_it_stands():
    own = {**PLAIN, "alignment.training": {"batch_size": 16}, "training.batch_size": 1}
    changes = memory_of("a100-40gb", **own).changes
    assert "training.batch_size" not in changes and "training.gradient_checkpointing" not in changes
    batch, steps = (changes[f"alignment.training.{key}"] for key in ("batch_size", "gradient_accumulation"))
    assert batch < 16 and batch * steps == 16 * 4
    config = changed(load_config(EXAMPLE, overrides=own), changes)
    assert config.align_training().batch_size == changes["alignment.training.batch_size"]


def test_a_card_on_which_nothing_helps_is_said_to_be_too_small():
    done = muscle("update", EXAMPLE, "--dry-run", "--gpu", "8GB")
    told = " ".join(done.out.split())
    assert done.code == 0 and "No batch size, checkpointing, 4-bit form or length makes it fit" in told
    assert "the bases' weights" in told and "As it stands it fits: a10." in told


def test_people_read_the_settings_as_they_are_typed():
    done = muscle(
        *("update", EXAMPLE, "--dry-run", "--gpu", "24GB"),
        *("--set", "training.quantization=null", "--set", "training.gradient_checkpointing=false"),
    )
    told = " ".join(done.out.split())
    assert "It does not fit." in told and "--set training.quantization=4bit" in told


def test_a_base_without_a_config_here_is_taken_to_be_as_large_as_the_other():
    found = memory_of(old="meta-llama/elsewhere")
    assert "the old base is taken to be as large as the new one: its config.json is not here" in found.assumes
    assert found.stages == memory_of().stages


def test_without_a_config_no_memory_is_told_and_the_note_says_how_to_get_one():
    new = {"base": "org/two", "revision": "v1"}
    plan = plan_update(load_config(EXAMPLE, overrides={"old": "org/one", "new": new}), card=card_of("l4"))
    assert plan.memory is None
    assert plan.notes[-3:] == (
        "org/one, org/two: no config.json here, so memory and time are not estimated, nor whether l4 holds it; the "
        "file alone comes with:",
        "hf download org/one config.json",
        "hf download org/two config.json --revision v1",
    )


def test_where_one_config_is_here_only_the_other_is_asked_for():
    plan = plan_update(load_config(EXAMPLE, overrides={"new": "org/two"}), card=card_of("l4"))
    assert plan.memory.fits(plan.memory.stages[0])
    assert plan.notes[-2:] == (
        "org/two: no config.json here, so time is not estimated; the file alone comes with:",
        "hf download org/two config.json",
    )


@pytest.mark.parametrize(
    ("text", "size"), [("24GB", 24 * 10**9), ("24 gib", 24 * 2**30), ("L4", 23_034 * 2**20), ("a100", 80 * 2**30)]
)
def test_cards_are_named_or_given_by_size(text, size):
    card = card_of(text)
    assert card.bytes == size and 0 < card.usable < 0.95 * size


@pytest.mark.parametrize("text", ["rtx", "24", "0GB", ""])
def test_an_unknown_card_is_refused_with_those_that_are_known(text):
    with pytest.raises(ConfigError, match=r"--gpu: expected rtx3090, rtx4090.* or a size such as 24GB"):
        card_of(text)


def test_a_card_is_only_named_for_a_dry_run():
    done = muscle("update", EXAMPLE, "--gpu", "l4")
    assert done.code == 3 and "--gpu: only read with --dry-run" in done.err
