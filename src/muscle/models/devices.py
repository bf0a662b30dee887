"""Which device computes and in which dtype, and how its memory is given back."""

from __future__ import annotations

import gc
import logging
import os
import platform
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

    Precision = Literal["auto", "bf16", "float32"]

logger = logging.getLogger(__name__)

SLOW = __name__
"""The logger that tells of a slow precision, each time that a base is loaded."""


def choose_dtype(precision: Precision) -> torch.dtype:
    """Return the dtype for a precision; `auto` is bf16 where the hardware computes in it, else float32."""
    import torch

    if precision == "auto":
        return torch.bfloat16 if _has_bf16() else torch.float32
    return torch.bfloat16 if precision == "bf16" else torch.float32


def _has_bf16() -> bool:
    """Tell whether the hardware computes in bf16 by itself: NVIDIA's from Ampere on, Intel's and AMD's by AVX-512."""
    import torch

    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported())


def slow_precision(precision: Precision) -> str | None:
    """Say that a precision which was asked for is slow on this hardware; None where it is not, or nobody knows.

    What has no instructions for bf16 still computes it, by a detour that takes tens of times as long (docs/update.md).
    """
    if precision != "bf16" or _has_bf16():
        return None
    device = choose_device()
    if device == "mps" or (device == "cpu" and platform.machine() not in ("x86_64", "AMD64")):
        return None
    lacks = (
        "this processor has no instructions for it, which can make it tens of times slower than float32"
        if device == "cpu"
        else "this GPU is older than Ampere and only emulates it, which is slow"
    )
    return f"precision bf16: {lacks}; precision auto takes float32 here"


def warn_if_slow(precision: Precision) -> None:
    """Log what `slow_precision` says; commands that load several bases let it be told once."""
    if note := slow_precision(precision):
        logger.warning("%s", note)


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
