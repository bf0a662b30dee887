import json
import shutil

import pytest
import torch

from muscle.config.settings import BaseConfig, LoraSettings, TrainingSettings
from muscle.errors import ConfigError, ModelError
from muscle.models.adapters import load_adapter, new_adapter, save_adapter
from muscle.models.base_files import Address, address_of, resolve_base
from muscle.models.bases import load_base, load_for_training, share_weights
from muscle.models.tokenizers import same_vocabulary
from tiny.bases import save_base

LORA = LoraSettings(r=4, alpha=8)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("bases")
    save_base(root / "one", seed=1)
    save_base(root / "two", seed=2)
    save_base(root / "wide", seed=3, hidden_size=64)
    save_base(root / "words", seed=4, extra_words=3)
    return root


def load(folder):
    return load_base(BaseConfig(base=str(folder)), precision="float32")


@pytest.fixture
def adapter(folders, tmp_path):
    base = load(folders / "one")
    model = new_adapter(base, LORA)
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.1)
    folder = tmp_path / "adapter"
    folder.mkdir()
    save_adapter(model, folder, base=base, note={"task": "tools"})
    return folder


def test_lora_is_on_every_linear_layer_but_the_head(folders):
    model = new_adapter(load(folders / "one"), LORA)
    adapted = {name.split(".lora_A")[0].rsplit(".", 1)[1] for name, _ in model.named_parameters() if "lora_A" in name}
    assert adapted == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def test_a_base_attends_as_the_settings_say(folders):
    def attends_by(**settings):
        loaded = load_for_training(BaseConfig(base=str(folders / "one")), TrainingSettings(**settings))
        return loaded.model.config._attn_implementation

    assert attends_by() == "sdpa"
    assert attends_by(attention="eager") == "eager"


def test_flash_attention_that_is_not_installed_is_refused_in_one_line(folders):
    settings = TrainingSettings(attention="flash_attention_2")
    with pytest.raises(ModelError, match=r"one: cannot be loaded .*FlashAttention2.*installed") as error:
        load_for_training(BaseConfig(base=str(folders / "one")), settings)
    assert "\n" not in str(error.value)


def test_flex_attention_is_refused_on_a_cpu_which_has_no_backward_pass_for_it(folders, monkeypatch):
    monkeypatch.setattr("muscle.models.bases.choose_device", lambda: "cpu")
    settings = TrainingSettings(attention="flex_attention")
    with pytest.raises(ConfigError, match=r"training\.attention: flex_attention has no backward pass on a CPU"):
        load_for_training(BaseConfig(base=str(folders / "one")), settings)


def test_an_adapter_comes_back_as_it_was_saved(folders, adapter):
    base = load(folders / "one")
    ids = torch.tensor([[3, 4, 5, 6]])
    loaded = load_adapter(base, adapter)
    assert not torch.allclose(loaded(input_ids=ids).logits, base.model(input_ids=ids).logits)
    again = load_adapter(base, adapter, trainable=True)
    assert torch.equal(loaded(input_ids=ids).logits, again(input_ids=ids).logits)
    assert json.loads((adapter / "muscle.json").read_text())["base_fingerprint"] == base.fingerprint


def test_adapters_on_one_base_share_its_weights_and_not_each_other(folders, adapter):
    base = load(folders / "one")
    first, second = load_adapter(base, adapter), new_adapter(base, LORA)
    weight = base.model.model.layers[0].mlp.up_proj.weight
    for model in (first, second):
        assert model.base_model.model.model.layers[0].mlp.up_proj.base_layer.weight is weight
    ids = torch.tensor([[3, 4, 5]])
    assert torch.equal(second(input_ids=ids).logits, base.model(input_ids=ids).logits)


def test_a_copy_that_shares_weights_answers_the_same(folders):
    base = load(folders / "one")
    copied = share_weights(base.model)
    assert copied is not base.model
    assert all(a is b for a, b in zip(copied.parameters(), base.model.parameters(), strict=True))


def test_an_adapter_of_another_base_is_refused_by_its_fingerprint(folders, adapter):
    with pytest.raises(ModelError, match="made for another base"):
        load_adapter(load(folders / "two"), adapter)


def test_an_adapter_of_other_shapes_is_refused_without_a_fingerprint(folders, adapter):
    (adapter / "muscle.json").unlink()
    with pytest.raises(ModelError, match=r"made for another base or .* is \[4, 32\] in it, \[4, 64\] on base"):
        load_adapter(load(folders / "wide"), adapter)


def test_an_adapter_cut_short_is_refused(folders, adapter):
    weights = adapter / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match="damaged or cut short"):
        load_adapter(load(folders / "one"), adapter)


def test_a_folder_without_an_adapter_is_refused(folders, tmp_path):
    with pytest.raises(ModelError, match=r"found no adapter_config.json"):
        load_adapter(load(folders / "one"), tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("/nowhere/model", "there is no such folder"),
        ("./nowhere", "there is no such folder"),
        ("/nowhere/model.gguf", "there is no such GGUF file"),
    ],
)
def test_a_base_that_is_not_there_is_refused(name, message):
    with pytest.raises(ModelError, match=message):
        resolve_base(BaseConfig(base=name))


def test_a_base_with_pickled_weights_only_is_refused(folders, tmp_path):
    shutil.copytree(folders / "one", tmp_path / "pickled")
    (tmp_path / "pickled" / "model.safetensors").rename(tmp_path / "pickled" / "pytorch_model.bin")
    with pytest.raises(ModelError, match="pickle files are not read"):
        load(tmp_path / "pickled")


def test_a_base_cut_short_is_refused_in_one_line(folders, tmp_path):
    shutil.copytree(folders / "one", tmp_path / "cut")
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match="cannot be loaded") as caught:
        load(tmp_path / "cut")
    assert "\n" not in str(caught.value)


def test_the_fingerprint_tells_bases_apart_and_copies_not(folders, tmp_path):
    shutil.copytree(folders / "one", tmp_path / "copy")
    assert load(tmp_path / "copy").fingerprint == load(folders / "one").fingerprint
    assert load(folders / "two").fingerprint != load(folders / "one").fingerprint


def test_bases_are_told_apart_by_their_vocabularies(folders):
    assert same_vocabulary(load(folders / "one"), load(folders / "two"))
    assert not same_vocabulary(load(folders / "one"), load(folders / "words"))


def config_of(adapter):
    return json.loads((adapter / "adapter_config.json").read_text())


@pytest.mark.parametrize(("written", "kept"), [("v1", "v1"), (None, "0a" * 20)])
def test_an_adapter_names_a_hub_base_and_its_revision_as_written_or_the_commit_that_was_read(
    folders, tmp_path, monkeypatch, written, kept
):
    snapshot = tmp_path / "models--org--tiny" / "snapshots" / ("0a" * 20)
    shutil.copytree(folders / "one", snapshot)
    monkeypatch.setattr("muscle.models.base_files._download", lambda base: snapshot)
    base = load_base(BaseConfig(base="org/tiny", revision=written), precision="float32")
    (tmp_path / "adapter").mkdir()
    save_adapter(new_adapter(base, LORA), tmp_path / "adapter", base=base, note={})
    found = config_of(tmp_path / "adapter")
    assert (found["base_model_name_or_path"], found["revision"]) == ("org/tiny", kept)
    assert str(tmp_path) not in "".join(path.read_text() for path in (tmp_path / "adapter").glob("*.json"))


def test_a_folder_of_the_hub_s_cache_is_its_hub_name_and_commit(folders, tmp_path):
    snapshot = tmp_path / "models--org--tiny" / "snapshots" / ("0a" * 20)
    shutil.copytree(folders / "one", snapshot)
    assert address_of(BaseConfig(base=str(snapshot))) == Address("org/tiny", "0a" * 20, on_hub=True)


def test_a_relative_folder_stays_relative_to_where_peft_shall_find_it(folders, tmp_path, monkeypatch):
    monkeypatch.chdir(folders)
    assert address_of(BaseConfig(base="./one")) == Address("./one")
    located = BaseConfig(base="../one").located(str(folders / "one"), {})  # as an update.yaml in a folder below says it
    assert address_of(located) == Address("one")
    assert address_of(BaseConfig(base=str(folders / "one"))) == Address(str(folders / "one"))


def test_peft_loads_an_adapter_by_the_name_of_its_base_alone(folders, tmp_path, monkeypatch):
    from peft import AutoPeftModelForCausalLM

    monkeypatch.chdir(folders)
    base = load_base(BaseConfig(base="one"), precision="float32")
    model = new_adapter(base, LORA)
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.1)
    (tmp_path / "adapter").mkdir()
    save_adapter(model, tmp_path / "adapter", base=base, note={})
    tokens = torch.arange(3, 12)[None]
    loaded = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapter")
    with torch.no_grad():
        torch.testing.assert_close(loaded(tokens).logits, model.eval()(tokens).logits)


def test_others_may_read_an_adapter_as_far_as_they_may_read_other_new_files(adapter, tmp_path):
    (tmp_path / "plain").touch()
    modes = {path.stat().st_mode for path in (*adapter.iterdir(), tmp_path / "plain")}
    assert len(modes) == 1


def test_an_adapter_that_names_a_folder_of_another_machine_still_loads(adapter, folders):
    config = config_of(adapter) | {"base_model_name_or_path": "/elsewhere/models--a--b/snapshots/x", "revision": None}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    assert load_adapter(load(folders / "one"), adapter).peft_config["default"].r == 4
