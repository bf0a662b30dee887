"""Adapters added up: the weighted sum of the changes that they make, exactly, and the refusals."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from muscle.config.settings import BaseConfig, LoraSettings
from muscle.errors import ModelError
from muscle.models.adapter_sum import Part, summed_adapter
from muscle.models.adapters import load_adapter, new_adapter, save_adapter
from muscle.models.bases import LoadedBase, load_base
from tiny.bases import save_base

IDS = torch.tensor([[3, 4, 5, 6, 7]])


def loaded(root: Path, name: str, seed: int) -> LoadedBase:
    return load_base(BaseConfig(base=str(save_base(root / name, seed=seed))), precision="float32", device="cpu")


def written(base: LoadedBase, folder: Path, seed: int, **lora: object) -> Path:
    """Write an adapter whose B is no zero."""
    torch.manual_seed(seed)
    model = new_adapter(base, LoraSettings(**{"r": 4, "alpha": 8.0, **lora}))
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "lora_" in name:
                value.copy_(0.2 * torch.randn(value.shape))
    folder.mkdir(parents=True)
    save_adapter(model, folder, base=base, note={})
    return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LoadedBase]:
    root = tmp_path_factory.mktemp("sums")
    base, other = loaded(root, "new", 2), loaded(root, "old", 1)
    written(other, root / "old-adapter", 5, r=3, alpha=9.0)
    written(base, root / "new-adapter", 6)
    return root, base


def deltas(base: LoadedBase, folder: Path, *, carried: bool = False) -> dict[str, torch.Tensor]:
    """Return each layer's change of the base in float64, s B A."""
    tensors = {name: value.double() for name, value in load_file(folder / "adapter_model.safetensors").items()}
    config = json.loads((folder / "adapter_config.json").read_text())
    scale = config["lora_alpha"] / config["r"]
    return {
        name: scale * tensors[name.replace("lora_A", "lora_B")] @ value
        for name, value in tensors.items()
        if "lora_A" in name
    }


@pytest.mark.parametrize("share", [0.25, 0.5, 0.9])
def test_the_sum_is_the_weighted_sum_of_both_changes(world, tmp_path, share):
    root, base = world
    parts = [Part(root / "old-adapter", share, carried=True), Part(root / "new-adapter", 1 - share)]
    (tmp_path / "sum").mkdir()
    save_adapter(summed_adapter(base, parts), tmp_path / "sum", base=base, note={})
    old, new = deltas(base, root / "old-adapter"), deltas(base, root / "new-adapter")
    for name, found in deltas(base, tmp_path / "sum").items():
        torch.testing.assert_close(found, share * old[name] + (1 - share) * new[name], rtol=0, atol=1e-6)
    assert json.loads((tmp_path / "sum" / "adapter_config.json").read_text())["r"] == 7
    # It is a plain PEFT folder, and what PEFT computes with it is the model that was saved.
    again = load_adapter(base, tmp_path / "sum")(input_ids=IDS).logits
    torch.testing.assert_close(again, summed_adapter(base, parts).eval()(input_ids=IDS).logits)


@pytest.mark.parametrize(("share", "kept"), [(0.0, "new-adapter"), (1.0, "old-adapter")])
def test_a_share_of_0_or_1_is_one_adapter_tensor_by_tensor(world, tmp_path, share, kept):
    root, base = world
    parts = [Part(root / "old-adapter", share, carried=True), Part(root / "new-adapter", 1 - share)]
    save_adapter(summed_adapter(base, parts), tmp_path, base=base, note={})
    found, expected = (load_file(folder / "adapter_model.safetensors") for folder in (tmp_path, root / kept))
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_two_halves_of_one_adapter_are_that_adapter_and_each_keeps_its_b(world):
    root, base = world
    model = summed_adapter(base, 2 * [Part(root / "new-adapter", 0.5)])
    expected = load_adapter(base, root / "new-adapter")(input_ids=IDS).logits
    torch.testing.assert_close(model(input_ids=IDS).logits, expected, rtol=0, atol=1e-5)
    held = load_file(root / "new-adapter" / "adapter_model.safetensors")
    for name, value in model.named_parameters():
        if "lora_B" in name:
            own = held[name.replace(".default", "")]
            assert torch.equal(value, torch.cat([own, own], dim=1))


def test_what_is_no_plain_lora_with_one_rank_is_refused(world, tmp_path):
    root, base = world
    torch.manual_seed(0)
    from peft import LoraConfig, get_peft_model

    from muscle.models.bases import share_weights

    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], rank_pattern={"v_proj": 2}, task_type="CAUSAL_LM")
    save_adapter(get_peft_model(share_weights(base.model), config), tmp_path, base=base, note={})
    with pytest.raises(ModelError, match=r"expected LoRA with one rank and scale for all layers.*found rank_pattern"):
        summed_adapter(base, [Part(tmp_path, 0.5), Part(root / "new-adapter", 0.5)])


def test_adapters_on_other_layers_are_refused(world, tmp_path):
    root, base = world
    fewer = written(base, tmp_path / "fewer", 1, target_modules=["q_proj"])
    with pytest.raises(ModelError, match=r"expected the layers of .*new-adapter, to add them up; found \d+ tensors"):
        summed_adapter(base, [Part(root / "new-adapter", 0.5), Part(fewer, 0.5)])


def test_an_adapter_of_another_base_must_be_said_to_be_carried(world):
    root, base = world
    with pytest.raises(ModelError, match="made for another base"):
        summed_adapter(base, [Part(root / "old-adapter", 0.5), Part(root / "new-adapter", 0.5)])
