"""4-bit bases on the CPU: the same training as on the weights that they stand for; skipped without bitsandbytes."""

import json

import pytest
import torch
from safetensors.torch import load_file

from muscle import load_config, update
from muscle.config.settings import BaseConfig, LoraSettings
from muscle.errors import ConfigError
from muscle.models.adapters import new_adapter
from muscle.models.bases import load_base
from muscle.yaml_files import yaml_text
from tiny.bases import TASK_YAML, save_base, write_choice_rows

functional = pytest.importorskip("bitsandbytes.functional")


def four_bits(folder):
    return load_base(BaseConfig(base=str(folder)), precision="float32", quantization="4bit")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Two bases, and beside each one whose weights are what the 4 bits stand for."""
    root = tmp_path_factory.mktemp("quantized")
    (root / "tools.yaml").write_text(TASK_YAML)
    write_choice_rows(root / "train.jsonl", 16)
    write_choice_rows(root / "test.jsonl", 5, start=100)
    for seed, name in enumerate(("old", "new")):
        save_base(root / name, seed=seed)
        whole = load_base(BaseConfig(base=str(root / name)), precision="float32", device="cpu")
        weights = dict(whole.model.named_parameters())
        for key, packed in four_bits(root / name).model.named_parameters():
            if hasattr(packed, "quant_state"):
                weights[key].data = functional.dequantize_4bit(packed.data, packed.quant_state).float()
        whole.model.save_pretrained(root / f"{name}-like-4bit")
        whole.tokenizer.save_pretrained(root / f"{name}-like-4bit")
    return root


def run_update(root, suffix, **training):
    settings = {
        "old": f"old{suffix}",
        "new": f"new{suffix}",
        "tasks": [{"task": "tools.yaml", "train": "train.jsonl", "test": "test.jsonl"}],
        "output": str(root / f"run{suffix}"),
        "lora": {"r": 4, "alpha": 8.0},
        "training": {
            "epochs": 2,
            "learning_rate": 5e-3,
            "warmup_steps": 1,
            "precision": "float32",
            "gradient_accumulation": 1,
            **training,
        },
        "evaluation": {"bare_base": False, "control": False},
    }
    path = root / f"update{suffix}.yaml"
    path.write_text(yaml_text(settings))
    return update(load_config(path)).folder


def test_an_update_in_4_bits_is_that_of_the_weights_they_stand_for(world):
    packed, whole = run_update(world, "", quantization="4bit"), run_update(world, "-like-4bit")
    for side in ("old", "new", "compat"):
        folders = [run / "adapters" / side / "tools" for run in (packed, whole)]
        logs = [json.loads((folder / "training.json").read_text())["log"] for folder in folders]
        curves = [[line["loss"] for line in log if "loss" in line] for log in logs]
        assert curves[0] == pytest.approx(curves[1], rel=1e-4)
        one, two = (load_file(folder / "adapter_model.safetensors") for folder in folders)
        assert all(torch.allclose(one[key], two[key], atol=1e-4) for key in two)


def test_a_4_bit_base_that_has_scored_still_gives_every_layer_its_gradient(world):
    base = four_bits(world / "new")
    model = new_adapter(base, LoraSettings(r=4, alpha=8))
    ids = torch.arange(3, 12)[None]
    with torch.no_grad():
        model.eval()(ids)
    model.train()(ids, labels=ids).loss.backward()
    gradients = [value.grad for name, value in model.named_parameters() if "lora_B" in name]
    assert len(gradients) == 14
    assert all(gradient.abs().max() > 0 for gradient in gradients)


def test_a_bitsandbytes_that_computes_wrong_is_refused(world, monkeypatch):
    right = functional.dequantize_4bit
    monkeypatch.setattr(functional, "dequantize_4bit", lambda *words: 2 * right(*words))
    with pytest.raises(ConfigError, match="the installed bitsandbytes computes wrong products or no gradient"):
        four_bits(world / "new")
