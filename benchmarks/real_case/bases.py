"""The two versions of the real case: SmolLM2-135M-Instruct, and the same weights rounded to fewer bits.

Every matrix of the layers (not the embeddings) is rounded to the nearest of 2^bits - 1 evenly spaced values, symmetric
around zero, one scale for each 32 weights of a row, as llama.cpp's Q4_0 does it; then written back as bfloat16, so that
both versions run by the same code. The package's own file (Q4_1) was read into bfloat16 first, so "old" is not the
model as it was published.
"""

from __future__ import annotations

from pathlib import Path

import torch

from muscle.config.settings import BaseConfig
from muscle.demo.smollm2 import prepare_bases
from muscle.files import atomic_folder
from muscle.models.bases import load_base, quiet_libraries

GROUP = 32


def rounded(weight: torch.Tensor, bits: int) -> torch.Tensor:
    """Return a matrix rounded to `bits` bits a weight in groups of 32, in its own dtype."""
    groups = weight.float().reshape(-1, GROUP)
    highest = 2 ** (bits - 1) - 1
    scale = groups.abs().amax(dim=1, keepdim=True).clamp_min(1e-12) / highest
    return ((groups / scale).round().clamp(-highest, highest) * scale).reshape(weight.shape).to(weight.dtype)


def write_rounded(source: Path, target: Path, bits: int) -> None:
    """Write a copy of a base with the matrices of its layers rounded; what is there already stays."""
    if target.is_dir():
        return
    base = load_base(BaseConfig(base=str(source)), precision="bf16", device="cpu")
    for name, weight in base.model.named_parameters():
        if ".layers." in name and weight.ndim == 2:
            weight.data = rounded(weight.data, bits)
    with quiet_libraries(), atomic_folder(target) as temporary:
        base.model.save_pretrained(temporary)
        base.tokenizer.save_pretrained(temporary)


def prepare(folder: Path, *, bits: int) -> tuple[Path, Path]:
    """Return the folders of both versions, made where they are missing."""
    prepare_bases(folder)
    target = folder / f"new-{bits}bit"
    write_rounded(folder / "new", target, bits)
    return folder / "new", target
