"""What SECURITY.md says of code that comes with a model: it does not run unless it is asked for."""

import json

import pytest

from muscle import UpdateConfig
from muscle.config.settings import BaseConfig
from muscle.errors import ModelError
from muscle.models.bases import load_base
from tiny.bases import save_base

CODE = """
from pathlib import Path
from transformers import LlamaConfig, LlamaForCausalLM

Path({mark!r}).touch()

class OwnConfig(LlamaConfig):
    model_type = {kind!r}

class OwnModel(LlamaForCausalLM):
    config_class = OwnConfig
"""


@pytest.mark.parametrize("kind", ["llama", "own_kind"])
def test_code_beside_a_model_does_not_run(tmp_path, kind):
    folder, mark = save_base(tmp_path / "base", seed=1), tmp_path / "ran"
    (folder / "own.py").write_text(CODE.format(mark=str(mark), kind=kind))
    path = folder / "config.json"
    own = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_type": kind, "auto_map": own}))
    config = BaseConfig(base=str(folder))
    if kind == "llama":  # transformers knows it without the code
        load_base(config, precision="float32", device="cpu")
    else:
        with pytest.raises(ModelError):
            load_base(config, precision="float32", device="cpu")
    assert not mark.exists()


def test_no_base_of_an_update_runs_code_unless_it_says_so():
    config = UpdateConfig.model_validate({"old": "a", "new": "b", "tasks": [{"task": "piqa"}]})
    assert not config.old.trust_remote_code and not config.new.trust_remote_code
