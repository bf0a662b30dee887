"""`muscle doctor`: what is there, what is missing, and a command that mends it."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from helpers.command_line import muscle
from muscle.cli import app
from muscle.doctor import diagnosis, hardware
from muscle.doctor.diagnosis import USES, diagnose
from muscle.doctor.lines import lines
from muscle.doctor.requirements import Requirement

CORE = Requirement("polars", ">=1.20", None)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let other packages be asked for than those of this project's metadata."""

    def ask(*found: Requirement) -> None:
        monkeypatch.setattr(diagnosis, "requirements", lambda: list(found))

    return ask


@pytest.fixture
def with_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put an `nvidia-smi` into the path that says what is given."""

    def put(text: str) -> None:
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\ncat <<'E'\n{text}\nE\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    return put


def test_every_command_has_one_use() -> None:
    group = typer.main.get_command(app)
    told = [name for use in USES for name in use.commands]
    assert sorted(told) == sorted(group.commands)


def test_what_is_installed_is_ready_and_the_code_is_zero() -> None:
    done = muscle("doctor")
    assert done.code == 0
    assert "ready        see and stop flips" in done.out and f"Python {sys.version.split()[0]}" in done.out
    assert max(len(line) for line in done.out.splitlines() if "install" not in line) <= 80


def test_what_is_missing_is_named_with_the_command_that_mends_it(asked: Callable[..., None]) -> None:
    asked(CORE, Requirement("no-such-package", ">=2.6", "train"), Requirement("rich", ">=999", "train"))
    train = next(use for use in diagnose().uses if use.extra == "train")
    assert train.state == "missing"
    assert train.missing[0] == "no-such-package" and train.missing[1].endswith("(needs >=999)")
    assert train.mend is not None and train.mend.startswith(f"{sys.executable} -m pip install")
    assert "[train]" in train.mend
    assert train.mend in "\n".join(lines(diagnose()))


def test_a_command_that_cannot_run_ends_with_3_and_others_with_0(asked: Callable[..., None]) -> None:
    asked(CORE, Requirement("no-such-package", ">=2.6", "train"))
    assert muscle("doctor", "update").code == 3
    assert muscle("doctor", "compare").code == 0
    assert muscle("doctor").code == 0
    asked(Requirement("no-such-package", ">=2.6", None))
    assert muscle("doctor").code == 3


def test_a_command_that_there_is_not_is_refused() -> None:
    done = muscle("doctor", "nonsense")
    assert done.code == 3 and "expected a command of muscle (compare, " in done.last


def test_the_diagnosis_is_written_as_json(asked: Callable[..., None]) -> None:
    asked(CORE, Requirement("no-such-package", ">=2.6", "train"))
    done = muscle("doctor", "update", "--json", "-")
    found = json.loads(done.out)
    (use,) = found["uses"]
    assert use["state"] == "missing" and use["packages"][1] == {
        "name": "no-such-package",
        "ranges": ">=2.6",
        "version": None,
        "fits": False,
    }
    assert found["hardware"]["cores"] >= 1


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ({}, "install 'muscle-llm[train]'"),
        ({"url": "file:///a%20b/c", "dir_info": {"editable": True}}, "install --editable '/a b/c[train]'"),
        ({"url": "file:///d/muscle.whl", "archive_info": {}}, "install 'muscle-llm[train] @ file:///d/muscle.whl'"),
    ],
)
def test_the_command_installs_from_where_muscle_came(
    url: dict[str, object], expected: str, asked: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = types.SimpleNamespace(read_text=lambda name: json.dumps(url) if url else None)
    monkeypatch.setattr(diagnosis, "distribution", lambda name: told)
    asked(CORE, Requirement("no-such-package", ">=1", "train"))
    (use,) = diagnose("update").uses
    assert use.mend == f"{sys.executable} -m pip {expected}"


@pytest.mark.skipif(sys.platform == "win32", reason="the driver's program is a shell script here")
def test_a_gpu_that_its_driver_shows_is_told_with_memory_and_bf16(
    with_driver: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "_torch_build", lambda: None)
    with_driver("NVIDIA L4, 23034, 22000, 8.9\nTesla T4, 15360, 15000, 7.5")
    first, second = hardware.look().gpus
    assert (first.name, first.total_bytes, first.bf16) == ("NVIDIA L4", 23034 * 2**20, True)
    assert (second.name, second.bf16) == ("Tesla T4", False)


@pytest.mark.skipif(sys.platform == "win32", reason="the driver's program is a shell script here")
def test_a_torch_for_processors_beside_a_gpu_is_told_and_not_loaded(
    with_driver: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "_torch_build", lambda: "2.13.0+cpu")
    monkeypatch.setattr(hardware, "_seen_by_torch", lambda: pytest.fail("torch was loaded"))
    with_driver("NVIDIA L4, 23034, 22000, 8.9")
    found = diagnose()
    assert found.hardware.torch_sees_gpu is False
    assert "build for processors alone" in found.advice[0] and "--force-reinstall torch" in found.advice[0]


@pytest.mark.skipif(sys.platform == "win32", reason="the driver's program is a shell script here")
def test_torch_tells_the_gpus_where_it_can_use_them(
    with_driver: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "_torch_build", lambda: "2.13.0")
    seen = hardware.Gpu("NVIDIA L4", 24 * 10**9, 10**9, True)
    monkeypatch.setattr(hardware, "_seen_by_torch", lambda: (seen,))
    with_driver("NVIDIA L4, 23034, 22000, 8.9")
    found = diagnose()
    assert found.hardware.gpus == (seen,) and found.hardware.torch_sees_gpu and found.advice == ()
    assert "GPU        NVIDIA L4, 24.0 GB, 1.0 GB free, computes in bf16" in list(lines(found))


@pytest.mark.parametrize("answer", ["", "garbage", "a, b, c, d", "NVIDIA L4, [N/A], [N/A], [N/A]"])
def test_a_driver_that_answers_oddly_shows_no_gpu(
    answer: str, with_driver: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "_torch_build", lambda: None)
    with_driver(answer)
    found = diagnose()
    assert found.hardware.gpus == ()
    assert {use.state for use in found.uses if use.extra in ("gpu", "vllm")} == {"no_gpu"}


def test_without_a_gpu_torch_is_not_loaded() -> None:
    code = "import sys; from muscle.doctor.diagnosis import diagnose; diagnose(); print('torch' in sys.modules)"
    if hardware.look().gpus:
        pytest.skip("there is a GPU here")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
