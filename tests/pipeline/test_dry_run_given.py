"""A dry run refuses the given adapters that the update would refuse, and an output that cannot be written."""

import pytest

from muscle.config.settings import BaseConfig, LoraSettings
from muscle.config.update_file import load_config
from muscle.errors import ModelError, OutputError
from muscle.models.adapters import new_adapter, save_adapter
from muscle.models.bases import load_base
from muscle.pipeline.dry_run import plan_update
from tiny.bases import TASK_YAML, save_base, write_choice_rows


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("given")
    (root / "tools.yaml").write_text(TASK_YAML)
    write_choice_rows(root / "train.jsonl", 20)
    write_choice_rows(root / "test.jsonl", 8, start=1000)
    for seed, side in enumerate(("old", "new")):
        save_base(root / side, seed=seed)
        base = load_base(BaseConfig(base=str(root / side)), precision="float32", device="cpu")
        save_adapter(new_adapter(base, LoraSettings(r=2, alpha=4)), root / f"adapter-{side}", base=base, note={})
    text = "old: old\nnew: new\ntasks: [{task: tools.yaml, train: train.jsonl, test: test.jsonl}]\n"
    (root / "update.yaml").write_text(text)
    return root


def planned(place, **overrides):
    return plan_update(load_config(place / "update.yaml", overrides=overrides))


def given(place, name, base="old"):
    return {"old": {"base": base, "adapters": {"tools": str(place / name)}}}


def test_an_adapter_that_fits_is_given(place):
    states = {stage.name: stage.state for stage in planned(place, **given(place, "adapter-old")).stages}
    assert states["finetune old/tools"] == "given" and states["finetune new/tools"] == "to run"


@pytest.mark.parametrize(
    ("name", "why"), [("nowhere", "found no adapter_config.json in it"), ("adapter-new", "made for another base")]
)
def test_an_adapter_that_the_update_would_refuse_is_refused(place, name, why):
    with pytest.raises(ModelError, match=why):
        planned(place, **given(place, name))


def test_where_the_base_is_not_here_the_adapter_s_own_files_are_looked_at(place, tmp_path):
    planned(place, **given(place, "adapter-new", base="org/elsewhere"))
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (tmp_path / name).write_bytes((place / "adapter-new" / name).read_bytes()[:300])
    (tmp_path / "adapter_config.json").write_bytes((place / "adapter-new" / "adapter_config.json").read_bytes())
    with pytest.raises(ModelError, match="damaged or cut short"):
        planned(place, **given(place, str(tmp_path), base="org/elsewhere"))


def test_an_output_that_cannot_be_written_is_refused(place):
    with pytest.raises(OutputError, match="cannot be written: Not a directory"):
        planned(place, output=str(place / "update.yaml" / "run"))
