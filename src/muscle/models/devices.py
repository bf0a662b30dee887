"""Which device computes and in which dtype, and how its memory is given back."""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch


def choose_dtype(precision: Literal["auto", "bf16", "float32"]) -> torch.dtype:
    """Return the dtype for a precision; `auto` is bf16 where the hardware computes in it, else float32."""
    import torch

    if precision != "auto":
        return torch.bfloat16 if precision == "bf16" else torch.float32
    if torch.cuda.is_available():
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32


def choose_device() -> str:
    """Return `cuda` (this process's own, where a launcher gave it one), `mps` or `cpu`, the first that is there."""
    import torch

    if torch.cuda.is_available():
        return f"cuda:{os.environ['LOCAL_RANK']}" if "LOCAL_RANK" in os.environ else "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def free_memory() -> None:
    """Give back what models that nobody holds any more have left, on the GPU too."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
