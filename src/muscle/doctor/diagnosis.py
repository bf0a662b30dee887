"""What can be done here, what is missing for the rest, and the command that mends it."""

from __future__ import annotations

import importlib.util
import json
import shlex
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, version
from typing import Literal
from urllib.parse import unquote, urlsplit

from muscle.doctor.hardware import CPU_BUILD, Hardware, look
from muscle.doctor.requirements import PACKAGE, Installed, Requirement, requirements, state
from muscle.errors import ConfigError
from muscle.foreign_text import listing
from muscle.typed_json import json_object

State = Literal["ready", "missing", "no_gpu"]
"""`no_gpu`: the packages are for a GPU, and none is here."""


@dataclass(frozen=True)
class Use:
    """Something that muscle is used for.

    Attributes:
        name: in words.
        extra: what of pyproject.toml it needs beside the light installation; None of what that does.
        commands: that do it.
        setting: that asks for it, where no command of its own does.
        on_gpu: whether it needs an NVIDIA GPU.
    """

    name: str
    extra: str | None
    commands: tuple[str, ...] = ()
    setting: str = ""
    on_gpu: bool = False


_LIGHT = (
    *("compare", "report", "history", "convert", "collect", "closeness", "gate", "baseline", "route"),
    *("plan", "confirm", "watch", "init", "doctor"),
)
USES = (
    Use("see and stop flips", None, _LIGHT),
    Use("record the answers of endpoints", "record", ("record",)),
    Use("score and ship models", "eval", ("evaluate", "export")),
    Use("train adapters", "train", ("update", "sweep", "finetune", "align", "demo")),
    Use("bases in 4 bits", "gpu", setting="training.quantization: 4bit", on_gpu=True),
    Use("sharded by ZeRO", "deepspeed", setting="accelerate launch --config_file zero3.yaml", on_gpu=True),
    Use("scoring by vLLM", "vllm", setting="evaluation.backend: vllm", on_gpu=True),
)


@dataclass(frozen=True)
class Finding:
    """One use, whether it is possible here, and what is missing.

    Attributes:
        name: of the use.
        extra: what it needs beside the light installation.
        commands: that do it.
        setting: that asks for it, where no command of its own does.
        state: whether it is possible here.
        packages: all that it needs, and what is installed of them.
        mend: the command that installs what is missing; None where nothing is.
    """

    name: str
    extra: str | None
    commands: tuple[str, ...]
    setting: str
    state: State
    packages: tuple[Installed, ...]
    mend: str | None

    @property
    def missing(self) -> list[str]:
        """What is missing, and what is there in a version that does not fit."""
        return [
            each.name if each.version is None else f"{each.name} {each.version} (needs {each.ranges})"
            for each in self.packages
            if not each.fits
        ]


@dataclass(frozen=True)
class Diagnosis:
    """What is installed and what the machine has.

    Attributes:
        muscle_version: that looked.
        hardware: what the machine has.
        uses: what can be done here.
        advice: what else stands in the way, and what to do.
    """

    muscle_version: str
    hardware: Hardware
    uses: tuple[Finding, ...]
    advice: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """Return it as a JSON object."""
        return json_object(self)


def diagnose(command: str | None = None) -> Diagnosis:
    """Look what is installed and what the machine has.

    Args:
        command: a command's name; then the uses are that command's alone.

    Raises:
        ConfigError: there is no such command, or muscle is not installed.
    """
    chosen = [use for use in USES if command is None or command in use.commands]
    if not chosen:
        known = listing((name for use in USES for name in use.commands), 40)
        raise ConfigError(f"doctor {command}: expected a command of muscle ({known}), found none of that name")
    try:
        own = version(PACKAGE)
    except PackageNotFoundError:
        raise ConfigError(
            f"doctor: expected the package {PACKAGE} to be installed in this Python, found its source alone; in its "
            f"folder: {_pip()} install --editable ."
        ) from None
    hardware, asked = look(), requirements()
    uses = tuple(_here(use, asked, hardware) for use in chosen)
    return Diagnosis(own, hardware, uses, tuple(_in_the_way(hardware)))


def _here(use: Use, asked: list[Requirement], hardware: Hardware) -> Finding:
    names: dict[str, Requirement] = {}
    for requirement in asked:
        if requirement.extra in (None, use.extra):
            names.setdefault(requirement.name, requirement)
    packages = tuple(state(requirement) for requirement in names.values())
    is_whole = all(each.fits for each in packages)
    found: State = "ready" if is_whole else "missing"
    if use.on_gpu and not hardware.has_nvidia:
        found = "no_gpu"
    mend = _install(use.extra) if found == "missing" else None
    return Finding(use.name, use.extra, use.commands, use.setting, found, packages, mend)


def _in_the_way(hardware: Hardware) -> list[str]:
    """Return what stands in the way beside packages."""
    if hardware.torch_build is None or not hardware.has_nvidia or hardware.torch_sees_gpu:
        return []
    if CPU_BUILD in hardware.torch_build:
        return [
            f"the GPU is not used: torch {hardware.torch_build} is a build for processors alone; "
            f"{_pip()} install --force-reinstall torch"
        ]
    return [
        f"the GPU is not used: torch {hardware.torch_build} cannot reach it; look whether nvidia-smi shows a driver "
        f"for its CUDA version, and whether CUDA_VISIBLE_DEVICES hides the GPU"
    ]


def _install(extra: str | None) -> str:
    """Return the command that installs an extra into this Python, from where muscle itself came."""
    name = PACKAGE if extra is None else f"{PACKAGE}[{extra}]"
    url, is_editable = _came_from()
    if is_editable and url.startswith("file://"):
        folder = unquote(urlsplit(url).path)
        return f"{_pip()} install --editable {shlex.quote(folder if extra is None else f'{folder}[{extra}]')}"
    return f"{_pip()} install {shlex.quote(f'{name} @ {url}' if url else name)}"


def _came_from() -> tuple[str, bool]:
    """Return the address that muscle was installed from, and whether as a link to a checkout; none of an index."""
    try:
        told = distribution(PACKAGE).read_text("direct_url.json")
        found = json.loads(told) if told else {}
    except (PackageNotFoundError, OSError, ValueError):
        found = {}
    return str(found.get("url", "")), bool(found.get("dir_info", {}).get("editable"))


def _pip() -> str:
    """Return the command of the installer that this Python has: its pip, or uv where it has none."""
    python = shlex.quote(sys.executable)
    if importlib.util.find_spec("pip") is None and shutil.which("uv"):
        return f"uv pip --python {python}"
    return f"{python} -m pip"
