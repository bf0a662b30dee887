"""A run's folder and its manifest: which stage wrote what, from which inputs.

A stage is done when the manifest holds the fingerprint of its inputs and its output is still what the stage wrote. The
manifest is rewritten atomically after every stage, so a killed run goes on at the stage that it was in.
"""

from __future__ import annotations

import fcntl
import json
import logging
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from muscle import distributed
from muscle.errors import DataError, OutputError
from muscle.files import file_sha256, fingerprint, write_json

logger = logging.getLogger(__name__)
_PACKAGES = ("muscle-llm", "torch", "transformers", "peft", "accelerate", "lm_eval", "tokenizers", "vllm")


class RunFolder:
    """Runs stages once.

    Args:
        path: the folder; made if it isn't there.

    Attributes:
        path: the folder.
        num_run: stages that ran in this process; the others were done already.

    Raises:
        OutputError: the folder cannot be made or written to.
        DataError: its manifest is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.num_run = 0
        self._manifest = path / "manifest.json"
        self._stages: dict[str, dict[str, Any]] = {}
        if self._manifest.is_file():
            self._stages = self._read()

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            stages = json.loads(self._manifest.read_text(encoding="utf-8"))["stages"]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{self._manifest}: damaged ({error}); delete it to run every stage again"
            ) from error
        return dict(stages)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this command: two runs in one folder would undo each other.

        Raises:
            OutputError: another process holds it, or the folder cannot be written to.
        """
        if not distributed.is_main():
            yield
            return
        lock = self.path / ".lock"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            handle = lock.open("w")
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written: {error.strerror}") from error
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise OutputError(f"{self.path}: another muscle process is working in this folder") from None
            yield

    def is_done(self, name: str, inputs: dict[str, Any], output: Path) -> bool:
        """Tell whether a stage ran with these very inputs and its output is untouched."""
        known = self._stages.get(name)
        return (
            known is not None
            and known["key"] == fingerprint(inputs)
            and known["content"] == content_of(output)
        )

    def stage(self, name: str, inputs: dict[str, Any], output: Path, work: Callable[[], None]) -> None:
        """Run `work`, which writes `output`, unless it is done already; the main of several processes decides and keeps the manifest.

        Args:
            name: unique in the run, such as "finetune old/piqa".
            inputs: everything the output depends on, as plain data.
            output: the file or folder that `work` writes.
            work: does it.
        """
        if distributed.from_main(lambda: self.is_done(name, inputs, output)):
            logger.info("%s: done before", name)
            return
        start = time.monotonic()
        work()
        self.num_run += 1
        distributed.from_main(lambda: self._keep(name, inputs, output, time.monotonic() - start))

    def _keep(self, name: str, inputs: dict[str, Any], output: Path, seconds: float) -> None:
        self._stages[name] = {
            "key": fingerprint(inputs),
            "inputs": inputs,
            "output": str(output.relative_to(self.path)),
            "content": content_of(output),
            "seconds": round(seconds, 1),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        }
        write_json(self._manifest, {"versions": versions(), "stages": self._stages})
        logger.info("%s: %.1f s", name, self._stages[name]["seconds"])


def content_of(output: Path) -> str | None:
    """Return a fingerprint of a stage's output: a file's hash, or that of an adapter's weights; None if it isn't there."""
    if output.is_dir():
        output = output / "adapter_model.safetensors"
    return file_sha256(output)[:16] if output.is_file() else None


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that a result depends on."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
