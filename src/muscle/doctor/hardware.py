"""What the machine has: cores, memory, disk, GPUs. torch is loaded only where it is installed and a GPU seems there."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

CPU_BUILD = "+cpu"
"""In the version of a torch that uses no GPU."""

_ASK_SECONDS = 10
_SMI = ("--query-gpu=name,memory.total,memory.free,compute_cap", "--format=csv,noheader,nounits")
_MIB = 2**20
_BF16_FROM = 8.0
"""NVIDIA's compute capability from which on the hardware computes in bf16 (Ampere)."""


@dataclass(frozen=True)
class Gpu:
    """A GPU.

    Attributes:
        name: as its driver calls it.
        total_bytes: its memory; None where that is the machine's own.
        free_bytes: of it, now; None where nobody tells.
        bf16: whether it computes in bf16 by itself; None where nobody tells.
    """

    name: str
    total_bytes: int | None
    free_bytes: int | None
    bf16: bool | None


@dataclass(frozen=True)
class Hardware:
    """What the machine has.

    Attributes:
        system: its system and kind of processor.
        python: Python's version.
        cores: that this process may use.
        memory_bytes: in all, or what a container may take; None where nobody tells.
        free_memory_bytes: that could be taken now.
        cpu_bf16: whether the processor computes in bf16; None where nobody tells.
        models_folder: where downloaded models are kept.
        free_disk_bytes: there.
        gpus: those that are seen.
        torch_sees_gpu: whether torch can use them; None where it is not installed or there is none.
        torch_build: torch's version; None where it is not installed.
    """

    system: str
    python: str
    cores: int
    memory_bytes: int | None
    free_memory_bytes: int | None
    cpu_bf16: bool | None
    models_folder: str
    free_disk_bytes: int | None
    gpus: tuple[Gpu, ...]
    torch_sees_gpu: bool | None
    torch_build: str | None

    @property
    def has_nvidia(self) -> bool:
        """Whether a GPU is there that CUDA may use."""
        return bool(self.gpus) and sys.platform != "darwin"


def look() -> Hardware:
    """Look what the machine has; a second where torch need not be loaded."""
    total, free = _memory()
    folder = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    build = _torch_build()
    gpus, sees = _gpus(build)
    return Hardware(
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_bytes=total,
        free_memory_bytes=free,
        cpu_bf16=_cpu_bf16(),
        models_folder=str(folder),
        free_disk_bytes=_free_disk(folder),
        gpus=gpus,
        torch_sees_gpu=sees,
        torch_build=build,
    )


def _torch_build() -> str | None:
    try:
        return version("torch")
    except PackageNotFoundError:
        return None


def _memory() -> tuple[int | None, int | None]:
    """Return the bytes of memory in all and those that are free, within what a container may take."""
    total = free = None
    with suppress(OSError, ValueError, IndexError):
        lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
        told = {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines if len(words) > 1}
        total, free = told.get("MemTotal"), told.get("MemAvailable")
    if total is None and hasattr(os, "sysconf"):
        with suppress(OSError, ValueError):
            total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())  # "max" without a limit
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
        total = limit if total is None else min(total, limit)
        free = max(0, limit - used) if free is None else min(free, max(0, limit - used))
    return total, free


def _cpu_bf16() -> bool | None:
    with suppress(OSError):
        return "avx512_bf16" in Path("/proc/cpuinfo").read_text().split("\n\n")[0].split()
    return None


def _free_disk(folder: Path) -> int | None:
    there = next((each for each in (folder, *folder.parents) if each.exists()), None)
    with suppress(OSError):
        return None if there is None else shutil.disk_usage(there).free
    return None


def _gpus(torch_build: str | None) -> tuple[tuple[Gpu, ...], bool | None]:
    """Return the GPUs, and whether torch can use them; a build for processors alone is not loaded to be asked."""
    told = _told_by_driver()
    seems_there = bool(told) or Path("/dev/kfd").exists() or Path("/dev/nvidiactl").exists() or _is_apple()
    if torch_build is None or not seems_there:
        return told, None
    if CPU_BUILD in torch_build:
        return told, False if told else None
    try:
        seen = _seen_by_torch()
    except Exception:  # a torch that cannot be loaded sees nothing
        return told, False
    return (seen or told), (bool(seen) if seen or told else None)


def _is_apple() -> bool:
    return sys.platform == "darwin" and platform.machine() == "arm64"


def _told_by_driver() -> tuple[Gpu, ...]:
    """Ask NVIDIA's own program; nothing where there is none, or it does not answer."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    try:
        done = subprocess.run([program, *_SMI], capture_output=True, text=True, timeout=_ASK_SECONDS, check=True)
        rows = [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines() if line.strip()]
        return tuple(
            Gpu(name, int(float(total) * _MIB), int(float(free) * _MIB), float(capability) >= _BF16_FROM)
            for name, total, free, capability in rows
        )
    except (OSError, subprocess.SubprocessError, ValueError):
        return ()


def _seen_by_torch() -> tuple[Gpu, ...]:
    import torch

    if torch.backends.mps.is_available():
        return (Gpu("Apple GPU (mps)", None, None, None),)
    if not torch.cuda.is_available():
        return ()
    from muscle.models.devices import choose_dtype

    bf16 = choose_dtype("auto") == torch.bfloat16
    found = []
    for number in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(number)
        found.append(Gpu(torch.cuda.get_device_name(number), total, free, bf16))
    return tuple(found)
