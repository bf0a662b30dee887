"""Given adapters: their files, their configuration and what is loaded agree, and the base stays as it is."""

import json

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from muscle.config.settings import BaseConfig, LoraSettings
from muscle.errors import ModelError
from muscle.models.adapter_check import check_adapter
from muscle.models.adapters import load_adapter, new_adapter, save_adapter
from muscle.models.bases import load_base, load_outline, share_weights
from tiny.bases import save_base

IDS = torch.tensor([[3, 4, 5, 6]])
LORA = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "up_proj"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_base(tmp_path_factory.mktemp("base") / "one", seed=1)


@pytest.fixture(scope="module")
def base(folder):
    return load_base(BaseConfig(base=str(folder)), precision="float32", device="cpu")


@pytest.fixture
def unchanged(base):
    """The base's weights are the very bits that they were before the test."""
    before = {name: value.clone() for name, value in base.model.state_dict().items()}
    yield
    after = base.model.state_dict()
    assert [name for name, value in before.items() if not torch.equal(value, after[name])] == []


def write_adapter(base, path, **settings):
    """Make an adapter with PEFT alone, on a base of its own; return its answers' logits there."""
    torch.manual_seed(0)
    own = load_base(BaseConfig(base=base.model.config._name_or_path), precision="float32", device="cpu")
    model = get_peft_model(own.model, LoraConfig(task_type="CAUSAL_LM", **{**LORA, **settings}))
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.1)
    with torch.no_grad():
        logits = model.eval()(input_ids=IDS).logits
    model.save_pretrained(path)
    return logits


@pytest.fixture
def adapter(base, tmp_path):
    write_adapter(base, tmp_path / "adapter")
    return tmp_path / "adapter"


def change_config(adapter, **values):
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def change_weights(adapter, change):
    path = adapter / "adapter_model.safetensors"
    save_file(change(load_file(path)), path)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": "all-linear"},
        {"target_modules": r".*\.(q_proj|v_proj)"},
        {"layers_to_transform": [1], "layers_pattern": "layers"},
        {"exclude_modules": ["layers.0.mlp.up_proj"]},
        {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"up_proj": 3}},
        {"use_rslora": True},
        {"use_dora": True},
        {"lora_bias": True},
        {"lora_dropout": 0.1},
        {"modules_to_save": ["lm_head"]},
        {"modules_to_save": ["embed_tokens"]},
        {"target_modules": ["q_proj", "lm_head"]},
        {"target_modules": ["q_proj", "embed_tokens"]},
        {"trainable_token_indices": [3, 4]},
        {"target_parameters": ["mlp.down_proj.weight"]},
        {"init_lora_weights": "gaussian"},
        {"init_lora_weights": "orthogonal"},
        {"init_lora_weights": "eva"},
        {"init_lora_weights": "mica"},
    ],
    ids=str,
)
def test_an_adapter_of_any_shape_that_is_taken_answers_as_in_peft(base, unchanged, tmp_path, settings):
    expected = write_adapter(base, tmp_path, **settings)
    found = load_adapter(base, tmp_path)(input_ids=IDS).logits
    assert torch.allclose(found, expected, atol=1e-5)
    assert not torch.allclose(found, base.model(input_ids=IDS).logits, atol=1e-3)


@pytest.mark.parametrize("start", ["pissa", "pissa_niter_4", "olora", "corda", "loftq", "lora_ga", "newer"])
def test_a_start_that_changes_the_base_is_refused(base, unchanged, adapter, start):
    change_config(adapter, init_lora_weights=start)
    with pytest.raises(ModelError, match=f"init_lora_weights is '{start}': .* convert it to plain LoRA"):
        load_adapter(base, adapter)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda held: {key.removeprefix("base_model.model."): value for key, value in held.items()},
            r"8 of 8 tensors .* have no place on base .* expected names such as base_model\.model\.model",
        ),
        (
            lambda held: {key: value for key, value in held.items() if "layers.1" not in key},
            r"lacks 4 of the 8 tensors .* such as base_model\.model\.model\.layers\.1",
        ),
        (lambda held: {}, "lacks 8 of the 8 tensors"),
        (
            lambda held: held | {"base_model.model.model.norm.weight": torch.zeros(32)},
            r"1 of 9 tensors .* no place on base .* such as base_model\.model\.model\.norm\.weight",
        ),
        (lambda held: {key: value[0].clone() for key, value in held.items()}, r"is \[(32|4|64)\] in it, \["),
        (
            lambda held: {key: value[:2].clone() for key, value in held.items()},
            r"with other settings: .* is \[2,",
        ),
        (lambda held: {key: value * torch.nan for key, value in held.items()}, "no finite numbers"),
    ],
    ids=["other-names", "half", "empty", "base-weight", "one-dimension", "other-rank", "nan"],
)
def test_tensors_and_configuration_that_do_not_agree_are_refused(base, unchanged, adapter, change, message):
    change_weights(adapter, change)
    with pytest.raises(ModelError, match=message) as caught:
        load_adapter(base, adapter)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"exclude_modules": ["q_proj"]}, "4 of 8 tensors .* have no place"),
        ({"target_modules": ["q_proj"]}, "4 of 8 tensors .* have no place"),
        ({"target_modules": ["q_proj", "up_proj", "v_proj"]}, "lacks 4 of the 12 tensors"),
        ({"modules_to_save": ["lm_head"]}, "lacks 1 of the 9 tensors"),
        ({"r": 8}, r"with other settings: .* is \[4, 32\] in it, \[8, 32\]"),
        ({"rank_pattern": {"q_proj": 2}}, "with other settings"),
        ({"layers_to_transform": [0]}, "4 of 8 tensors .* have no place"),
        ({"use_dora": True}, "lacks 4 of the 12 tensors"),
        ({"bias": "all"}, "bias is 'all', which muscle does not load"),
        ({"layer_replication": [[0, 2], [0, 2]]}, "layer_replication is .* which muscle does not load"),
        ({"of_a_later_peft": 3}, "of_a_later_peft is '3', which muscle does not load"),
        ({"peft_type": "IA3"}, "expected peft_type LORA, found 'IA3'"),
        ({"peft_type": "PROMPT_TUNING"}, "expected peft_type LORA, found 'PROMPT_TUNING'"),
        ({"peft_type": "VERA"}, "expected peft_type LORA, found 'VERA'"),
        ({"task_type": "SEQ_CLS"}, "expected task_type CAUSAL_LM, found 'SEQ_CLS'"),
        ({"r": "four"}, "does not fit base"),
        ({"lora_alpha": None}, "does not fit base"),
        ({"target_modules": 5}, "does not fit base|no configuration"),
        ({"target_modules": "(q_proj"}, "expected a regular expression, found"),
        ({"alpha_pattern": [["q_proj"]]}, "expected texts that name layers, found a list"),
        ({"alpha_pattern": 5}, "expected texts that name layers, found a number"),
    ],
    ids=str,
)
def test_a_configuration_that_is_not_the_files_is_refused(base, unchanged, adapter, values, message):
    change_config(adapter, **values)
    with pytest.raises(ModelError, match=message) as caught:
        load_adapter(base, adapter)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", '{"peft_type": "LORA"', '{"r": NaN}', "\x00", "[" * 100_000])
def test_a_damaged_configuration_is_refused_in_one_line(base, adapter, text):
    (adapter / "adapter_config.json").write_text(text)
    with pytest.raises(ModelError, match="damaged") as caught:
        load_adapter(base, adapter)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["target_modules", "exclude_modules", "rank_pattern", "modules_to_save"])
def test_a_pattern_that_would_be_matched_for_hours_is_refused(base, adapter, monkeypatch, key):
    monkeypatch.setattr("muscle.models.adapter_check._PATTERN_SECONDS", 1.0)
    endless = "(.*)*x"
    change_config(adapter, **{key: {endless: 2} if key == "rank_pattern" else [endless] if "save" in key else endless})
    with pytest.raises(ModelError, match=r"matching '\(\.\*\)\*x' .* takes longer than 1 seconds"):
        check_adapter(base, adapter)


def test_an_endless_pattern_in_ones_own_settings_is_refused_too(base, monkeypatch):
    monkeypatch.setattr("muscle.models.adapter_check._PATTERN_SECONDS", 1.0)
    with pytest.raises(ModelError, match=r"lora\.target_modules: matching"):
        new_adapter(base, LoraSettings(target_modules="(.*)*x"))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_base_weight_saved_along_is_refused_where_it_is_not_the_bases(base, unchanged, tmp_path):
    write_adapter(base, tmp_path, target_modules=["q_proj", "lm_head"])
    load_adapter(base, tmp_path)
    change_weights(tmp_path, lambda held: {k: v + 1 if "base_layer" in k else v for k, v in held.items()})
    with pytest.raises(ModelError, match=r"no place on base .*\.lm_head\.base_layer\.weight"):
        load_adapter(base, tmp_path)


def test_an_adapter_on_the_head_is_saved_without_the_bases_head(base, tmp_path):
    model = new_adapter(base, LoraSettings(r=4, alpha=8, target_modules=["lm_head"]))
    save_adapter(model, tmp_path, base=base, note={})
    held = load_file(tmp_path / "adapter_model.safetensors")
    assert sorted(key.rpartition(".lora_")[2] for key in held) == ["A.weight", "B.weight"]
    load_adapter(base, tmp_path)


def test_an_outline_of_a_base_refuses_what_the_base_refuses(folder, adapter):
    outline = load_outline(BaseConfig(base=str(folder)))
    check_adapter(outline, adapter)
    change_weights(adapter, lambda held: {key: held[key] for key in held if "layers.1" not in key})
    with pytest.raises(ModelError, match="lacks 4 of the 8 tensors"):
        check_adapter(outline, adapter)


def test_peft_alone_would_have_loaded_half_an_adapter_in_silence(base, adapter):
    change_weights(adapter, lambda held: {key: held[key] for key in held if "layers.1" not in key})
    with pytest.warns(UserWarning, match="missing adapter keys"):
        PeftModel.from_pretrained(share_weights(base.model), adapter)
