import subprocess

import pytest
import torch
from transformers import LlamaConfig, Qwen2Config

from helpers.places import EXAMPLES
from muscle import load_config
from muscle.config.alignment import AlignmentSettings
from muscle.config.settings import BaseConfig, LoraSettings, TrainingSettings
from muscle.config.template import UPDATE_YAML
from muscle.config.update_file import StageSettings
from muscle.errors import ConfigError
from muscle.models.adapters import new_adapter
from muscle.models.bases import load_base
from muscle.pipeline.resources import ModelSizes, estimate
from muscle.training.data.batches import PackingCollator, PaddingCollator, sequence_numbers
from muscle.training.data.examples import Filled, filled
from muscle.training.data.packing import choose_collator, keeps_examples_apart
from muscle.training.head.output_head import head_input
from muscle.yaml_files import yaml_value
from tiny.bases import save_base

SEQUENCES = [[3, 4, 5, 6, 7], [8, 9], [10, 11, 12]]


@pytest.mark.parametrize("path", sorted((EXAMPLES / "accelerate").glob("*.yaml")), ids=lambda path: path.stem)
def test_accelerate_reads_the_example_configurations(path):
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(path))
    assert config.num_processes == 8
    kinds = {
        "ddp": "MULTI_GPU",
        "fsdp2": "FSDP",
        "zero2": "DEEPSPEED",
        "zero3": "DEEPSPEED",
    }
    assert str(config.distributed_type).removeprefix("DistributedType.") == kinds[path.stem]


def test_the_fsdp_example_asks_for_the_second_version_and_deepspeed_for_its_stages():
    fsdp = yaml_value((EXAMPLES / "accelerate" / "fsdp2.yaml").read_text())["fsdp_config"]
    assert fsdp["fsdp_version"] == 2
    for stage in (2, 3):
        config = yaml_value((EXAMPLES / "accelerate" / f"zero{stage}.yaml").read_text())
        assert config["deepspeed_config"]["zero_stage"] == stage


def test_the_job_files_name_configurations_that_are_there():
    subprocess.run(["bash", "-n", str(EXAMPLES / "slurm.sbatch")], check=True)
    job = yaml_value((EXAMPLES / "skypilot.yaml").read_text())
    for text in (job["run"], (EXAMPLES / "slurm.sbatch").read_text()):
        assert "examples/accelerate/ddp.yaml" in text
        assert "-m muscle update" in text


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = save_base(tmp_path_factory.mktemp("base") / "base", seed=0)
    base = load_base(BaseConfig(base=str(folder)), precision="float32", device="cpu")
    torch.manual_seed(0)
    return new_adapter(base, LoraSettings(r=4, alpha=8)).eval()


def test_packed_examples_have_the_states_that_they_have_alone(model):
    features = [{"input_ids": ids} for ids in SEQUENCES]
    packed = PackingCollator()(features)
    assert packed["input_ids"].shape == (1, 10)  # no token of padding
    states = head_input(model, packed)[0]
    alone = torch.cat([head_input(model, PaddingCollator(0)([feature]))[0] for feature in features])
    assert torch.allclose(states, alone, atol=1e-5)


def test_packed_and_padded_batches_predict_the_same_tokens():
    features = [{"input_ids": ids} for ids in SEQUENCES]
    packed, padded = PackingCollator()(features), PaddingCollator(0)(features)
    found, expected = (batch["labels"][:, 1:] for batch in (packed, padded))
    assert found[found != -100].tolist() == expected[expected != -100].tolist() == [4, 5, 6, 7, 9, 11, 12]
    assert sequence_numbers(packed)[found != -100].tolist() == [0, 0, 0, 0, 1, 2, 2]
    assert sequence_numbers(padded) is None


@pytest.mark.parametrize("attention", ["flash_attention_2", "flex_attention"])
def test_auto_packs_with_flash_and_flex_attention_alone(model, monkeypatch, attention):
    def chosen(packing):
        return type(choose_collator(model, SEQUENCES, packing=packing, pad_token_id=0))

    assert (chosen("auto"), chosen("on"), chosen("off")) == (
        PaddingCollator,
        PackingCollator,
        PaddingCollator,
    )
    monkeypatch.setattr("muscle.training.data.packing.keeps_examples_apart", lambda *_: True)
    monkeypatch.setattr(model.config, "_attn_implementation_internal", attention)
    assert (chosen("auto"), chosen("off")) == (PackingCollator, PaddingCollator)


def test_packing_is_refused_where_the_attention_mixes_examples(model, monkeypatch):
    assert keeps_examples_apart(model, SEQUENCES)
    monkeypatch.setattr("muscle.training.data.packing.keeps_examples_apart", lambda *_: False)
    with pytest.raises(ConfigError, match=r"training\.packing: on, but the model takes packed examples for one text"):
        choose_collator(model, SEQUENCES, packing="on", pad_token_id=0)


def test_blank_examples_fill_up_to_a_multiple_and_predict_nothing():
    data = [{"input_ids": ids} for ids in SEQUENCES]
    full = filled(data, 4)
    assert isinstance(full, Filled)
    assert len(list(full)) == len(full) == 4
    batch = PaddingCollator(0)([full[index] for index in range(4)])
    assert (batch["labels"][3] == -100).all()
    assert full[3]["index"] == -1


def test_a_mixed_store_needs_a_mask_that_ignores_the_student():
    assert AlignmentSettings(engine="mixed", mask="old_always").engine == "mixed"
    with pytest.raises(ValueError, match="mask student_wrong follows the student; expected the mask old_right or"):
        AlignmentSettings(engine="mixed")


def test_settings_that_came_later_leave_older_fingerprints_alone():
    old = TrainingSettings().model_dump()
    for name in ("quantization", "packing", "attention", "chunk_memory_mb", "kernels", "report_to"):
        del old[name]
    assert TrainingSettings().identity() == old
    assert TrainingSettings(packing="on").identity() == {**old, "packing": "on"}
    assert AlignmentSettings(engine="hidden").identity()["engine"] == "hidden"
    assert "engine" not in AlignmentSettings().identity()


def test_the_template_names_every_engine_setting_with_its_default(tmp_path):
    path = tmp_path / "update.yaml"
    path.write_text(UPDATE_YAML)
    config = load_config(path)
    assert config.training == TrainingSettings()
    assert config.alignment == AlignmentSettings()
    raw = yaml_value(UPDATE_YAML)
    # A warm-up that is set is obeyed however short the training: it is named in a comment.
    assert set(raw["training"]) == set(TrainingSettings.model_fields) - {"warmup_steps"}
    assert "\n  # warmup_steps: 500 " in UPDATE_YAML
    assert StageSettings().alignment.engine == "projected"


def test_four_bits_without_bitsandbytes_are_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        ConfigError,
        match=r"training\.quantization: 4bit needs the package bitsandbytes; .* 'muscle-llm\[gpu\]'",
    ) as error:
        load_base(BaseConfig(base=str(save_base(tmp_path / "b", seed=0))), quantization="4bit")
    assert "\n" not in str(error.value)


LLAMA_8B = LlamaConfig(
    vocab_size=128256,
    hidden_size=4096,
    intermediate_size=14336,
    num_hidden_layers=32,
    num_attention_heads=32,
    num_key_value_heads=8,
)
QWEN_7B = Qwen2Config(
    vocab_size=152064,
    hidden_size=3584,
    intermediate_size=18944,
    num_hidden_layers=28,
    num_attention_heads=28,
    num_key_value_heads=4,
)
LLAMA_70B = LlamaConfig(
    vocab_size=128256,
    hidden_size=8192,
    intermediate_size=28672,
    num_hidden_layers=80,
    num_attention_heads=64,
    num_key_value_heads=8,
)


@pytest.mark.parametrize(
    ("config", "billions"), [(LLAMA_8B, 8.03), (QWEN_7B, 7.62), (LLAMA_70B, 70.55)], ids=["8b", "7b", "70b"]
)
def test_parameters_are_counted_from_the_configuration(config, billions):
    assert ModelSizes.of(config).parameters / 1e9 == pytest.approx(billions, rel=0.005)


def test_weights_and_adapter_of_a_small_model_are_counted_exactly(model):
    sizes = ModelSizes.of(model.config)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert sizes.adapter_parameters(4) == trained
    assert sizes.parameters == sum(p.numel() for p in model.parameters()) - trained


def test_checkpointing_and_four_bits_take_less_and_the_chunk_stays_in_its_budget():
    sizes = ModelSizes.of(LLAMA_8B)

    def taken(**changes):
        settings = TrainingSettings(precision="bf16", **changes)
        return estimate(sizes, settings, rank=128, tokens_per_epoch=10**6, sequence_tokens=1024)

    plain, checkpointed, quantized = taken(), taken(gradient_checkpointing=True), taken(quantization="4bit")
    assert checkpointed.activations < plain.activations / 8
    # A quarter of it, and a billion embeddings and rows of the head that stay in 16 bits.
    assert plain.weights / 3 < quantized.weights < plain.weights / 2.7
    assert plain.chunk <= 1.3 * 128 * 2**20
    assert plain.total == plain.weights + plain.adapter + plain.activations + plain.chunk
    assert checkpointed.seconds > plain.seconds
