"""A diagnosis as lines for a terminal of 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from muscle.doctor.diagnosis import Diagnosis, Finding
from muscle.doctor.hardware import Gpu, Hardware

_STATES = {"ready": "ready", "missing": "missing", "no_gpu": "no GPU here"}
_GB = 1e9


def lines(found: Diagnosis) -> Iterator[str]:
    """Write a diagnosis: the machine, what can be done on it, what is missing, and the command that mends it."""
    yield f"muscle {found.muscle_version}, Python {found.hardware.python}, {found.hardware.system}"
    yield from _machine(found.hardware)
    yield ""
    for use in found.uses:
        yield from _use(use)
    for line in found.advice:
        yield ""
        yield line


def _machine(hardware: Hardware) -> Iterator[str]:
    yield f"processor  {hardware.cores} core{'s' * (hardware.cores != 1)}{_bf16(hardware.cpu_bf16)}"
    if hardware.memory_bytes is not None:
        yield f"memory     {_gigabytes(hardware.memory_bytes)}{_free(hardware.free_memory_bytes)}"
    if hardware.free_disk_bytes is not None:
        yield f"disk       {_gigabytes(hardware.free_disk_bytes)} free for models in {hardware.models_folder}"
    for gpu in hardware.gpus:
        yield f"GPU        {_gpu_words(gpu)}"
    if not hardware.gpus:
        yield "GPU        none seen"


def _gpu_words(gpu: Gpu) -> str:
    memory = "" if gpu.total_bytes is None else f", {_gigabytes(gpu.total_bytes)}{_free(gpu.free_bytes)}"
    return f"{gpu.name}{memory}{_bf16(gpu.bf16)}"


def _gigabytes(number: int) -> str:
    return f"{number / _GB:,.1f} GB"


def _free(number: int | None) -> str:
    return "" if number is None else f", {_gigabytes(number)} free"


def _bf16(has: bool | None) -> str:
    return {True: ", computes in bf16", False: ", no bf16: computes in float32 (precision auto)", None: ""}[has]


def _use(use: Finding) -> Iterator[str]:
    what = ", ".join(use.commands) or use.setting
    yield f"{_STATES[use.state]:<12} {use.name}"
    yield textwrap.fill(what, 80, initial_indent=" " * 13, subsequent_indent=" " * 13)
    if use.missing and use.state == "missing":
        listed = ", ".join(use.missing)
        yield textwrap.fill(f"missing: {listed}", 80, initial_indent=" " * 13, subsequent_indent=" " * 13)
    if use.mend:
        yield f"{' ' * 13}{use.mend}"
