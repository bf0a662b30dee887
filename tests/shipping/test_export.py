"""What `muscle export` writes: loads elsewhere, answers alike, names its base, leaks no path."""

import json
import shlex
import shutil
import subprocess
import sys

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from muscle.config.settings import BaseConfig, LoraSettings
from muscle.errors import ModelError, OutputError
from muscle.models.adapters import new_adapter, save_adapter
from muscle.models.bases import load_base
from muscle.shipping.card import write_card
from muscle.shipping.export import export_adapter
from muscle.shipping.lines import lines_of, read_shipped
from tiny.bases import save_base

TOKENS = torch.randint(3, 50, (100, 12), generator=torch.Generator().manual_seed(1))


def make_adapter(folder, base, *, note, modules="all-linear"):
    loaded = load_base(BaseConfig(base=str(base)), precision="float32")
    model = new_adapter(loaded, LoraSettings(r=12, alpha=24, target_modules=modules))
    torch.manual_seed(5)
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.1)
    folder.mkdir()
    save_adapter(model, folder, base=loaded, note=note)
    write_card(folder)
    return model.eval()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("ship")
    save_base(root / "base", seed=1)
    model = make_adapter(root / "adapter", root / "base", note={"task": "tools", "stage": "align"})
    with torch.no_grad():
        return root, model(TOKENS).logits


def changed_config(source, folder, **changes):
    export_adapter(source, folder)
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


def test_a_merged_model_answers_as_the_adapter_on_its_base(world, tmp_path):
    root, expected = world
    result = export_adapter(root / "adapter", tmp_path / "merged", merged=True)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    base = AutoModelForCausalLM.from_pretrained(root / "base")
    with torch.no_grad():
        torch.testing.assert_close(model(TOKENS).logits, expected, atol=1e-4, rtol=1e-4)
        assert (base(TOKENS).logits - expected).abs().max() > 0.1
    assert 0 <= result.kl < 1e-5
    assert len(AutoTokenizer.from_pretrained(tmp_path / "merged")) == len(AutoTokenizer.from_pretrained(root / "base"))


def test_a_merged_model_keeps_the_precision_of_its_base(world, tmp_path):
    root, _ = world
    half = AutoModelForCausalLM.from_pretrained(root / "base", dtype=torch.bfloat16)
    half.save_pretrained(tmp_path / "half")
    AutoTokenizer.from_pretrained(root / "base").save_pretrained(tmp_path / "half")
    make_adapter(tmp_path / "adapter", tmp_path / "half", note={})
    result = export_adapter(tmp_path / "adapter", tmp_path / "merged", merged=True)
    assert json.loads((tmp_path / "merged" / "config.json").read_text())["dtype"] == "bfloat16"
    assert result.kl < 0.01


def test_a_merge_that_changes_the_answers_is_refused(world, tmp_path, monkeypatch):
    root, _ = world
    from peft.tuners.lora import Linear

    monkeypatch.setattr(Linear, "get_delta_weight", lambda self, name: torch.zeros_like(self.weight))
    with pytest.raises(ModelError, match="answers differently"):
        export_adapter(root / "adapter", tmp_path / "merged", merged=True)
    assert list(tmp_path.iterdir()) == []


def test_an_exported_adapter_is_a_whole_one_that_every_new_file_s_readers_may_read(world, tmp_path):
    root, _ = world
    export_adapter(root / "adapter", tmp_path / "out")
    (tmp_path / "plain").touch()
    assert {path.stat().st_mode for path in (tmp_path / "out").iterdir()} == {(tmp_path / "plain").stat().st_mode}
    assert (tmp_path / "out" / "README.md").read_text() == (root / "adapter" / "README.md").read_text()


def test_an_older_adapter_is_exported_with_the_hub_name_in_its_cache_path(world, tmp_path):
    path = f"/home/me/.cache/huggingface/hub/models--org--tiny/snapshots/{'0a' * 20}"
    older = changed_config(world[0] / "adapter", tmp_path / "older", base_model_name_or_path=path, revision=None)
    (older / "README.md").unlink()
    export_adapter(older, tmp_path / "out")
    found = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert (found["base_model_name_or_path"], found["revision"]) == ("org/tiny", "0a" * 20)
    assert "/home/me" not in "".join(each.read_text() for each in (tmp_path / "out").glob("*[nd]"))


def test_the_base_can_be_named_anew(world, tmp_path):
    export_adapter(world[0] / "adapter", tmp_path / "out", base="org/tiny")
    assert json.loads((tmp_path / "out" / "adapter_config.json").read_text())["base_model_name_or_path"] == "org/tiny"
    assert "base_model: org/tiny" in (tmp_path / "out" / "README.md").read_text()


def test_what_is_there_is_replaced_only_when_asked(world, tmp_path):
    export_adapter(world[0] / "adapter", tmp_path / "out")
    with pytest.raises(OutputError, match="exists already; --force"):
        export_adapter(world[0] / "adapter", tmp_path / "out")
    export_adapter(world[0] / "adapter", tmp_path / "out", force=True)
    with pytest.raises(OutputError, match="is the adapter itself"):
        export_adapter(tmp_path / "out", tmp_path / "out", force=True)


def test_no_folder_but_a_model_s_or_an_adapter_s_is_replaced(world, tmp_path):
    shutil.copytree(world[0] / "adapter", tmp_path / "mine" / "adapter")
    with pytest.raises(OutputError, match="mine: the adapter lies in it"):
        export_adapter(tmp_path / "mine" / "adapter", tmp_path / "mine", force=True)
    with pytest.raises(OutputError, match="--force replaces a model or an adapter, found another folder"):
        export_adapter(world[0] / "adapter", tmp_path / "mine", force=True)
    assert (tmp_path / "mine" / "adapter" / "adapter_config.json").is_file()


def test_the_vllm_line_has_the_base_its_revision_and_the_next_rank_that_vllm_takes(world, tmp_path):
    changes = {"base_model_name_or_path": "org/tiny", "revision": "v1"}
    folder = changed_config(world[0] / "adapter", tmp_path / "my adapter", **changes)
    note = json.loads((folder / "muscle.json").read_text())
    (folder / "muscle.json").write_text(json.dumps(note | {"base_on_hub": True}))
    line = next(lines_of(read_shipped(folder), str(folder)))
    words = shlex.split(line.text.replace("\\\n", ""))
    assert words == [
        *("vllm", "serve", "org/tiny", "--revision", "v1", "--enable-lora"),
        *("--lora-modules", f"tools-compat={folder}", "--max-lora-rank", "16"),
    ]


def test_an_adapter_that_vllm_does_not_serve_is_told_to_be_merged(world, tmp_path):
    folder = changed_config(world[0] / "adapter", tmp_path / "dora", use_dora=True)
    assert "use_dora: merge this one" in next(lines_of(read_shipped(folder), None)).remark


@pytest.mark.parametrize("changes", [{"use_rslora": True}, {"use_dora": True}, {"rank_pattern": {"q_proj": 4}}])
def test_an_adapter_that_llama_cpp_would_scale_otherwise_is_converted_merged_alone(world, tmp_path, changes):
    folder = changed_config(world[0] / "adapter", tmp_path / "a", **changes)
    *_, plain = lines_of(read_shipped(world[0] / "adapter"), None)
    *_, gguf = lines_of(read_shipped(folder), None)
    assert "convert_lora_to_gguf.py" in plain.text
    assert "convert_lora_to_gguf.py" not in gguf.text


def test_the_python_lines_run_and_load_the_adapter(world, tmp_path):
    root, expected = world
    lines = next(each for each in lines_of(read_shipped(root / "adapter"), None) if each.language == "python")
    check = f"\nimport torch\ntorch.save(model(torch.tensor({TOKENS.tolist()})).logits, {str(tmp_path / 'x')!r})"
    subprocess.run([sys.executable, "-c", lines.text + check], cwd=root / "adapter", check=True, timeout=300)
    torch.testing.assert_close(torch.load(tmp_path / "x").float(), expected, atol=1e-4, rtol=1e-4)


def test_the_merge_line_runs(world, tmp_path):
    root, _ = world
    line = next(
        each for each in lines_of(read_shipped(root / "adapter"), str(root / "adapter")) if "Merge" in each.title
    )
    command = [sys.executable, "-m", *shlex.split(line.text)]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=300, capture_output=True)
    assert (tmp_path / "tools-compat-merged" / "model.safetensors").is_file()


@pytest.mark.parametrize("name", ["a b; rm -rf x", "x$(id)", "'\n\"`y`"])
def test_a_hostile_name_of_a_base_is_one_word_for_a_shell_and_a_text_for_python(world, tmp_path, name):
    folder = changed_config(world[0] / "adapter", tmp_path / "a", base_model_name_or_path=name)
    note = json.loads((folder / "muscle.json").read_text())
    (folder / "muscle.json").write_text(json.dumps(note | {"base": name}))
    for lines in lines_of(read_shipped(folder), str(folder)):
        if lines.language == "python":
            compile(lines.text, "lines", "exec")
        elif "--enable-lora" in lines.text:
            assert shlex.split(lines.text)[2] == name
