"""A run's folder and its manifest: which stage wrote what, from which inputs.

A stage is done when the manifest holds the fingerprint of its inputs and every file that it wrote is still
what was written, by its SHA-256. The manifest is rewritten atomically after every stage, so a killed run goes
on at the stage that it was in.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

from muscle import distributed
from muscle.errors import DataError, OutputError
from muscle.files import clear_leftovers, read_json, write_json
from muscle.locks import take
from muscle.models.adapter_check import ADAPTER_FILES, adapter_content
from muscle.models.adapters import MODEL_CARD
from muscle.provenance import file_hashes, file_sha256, fingerprint, versions

logger = logging.getLogger(__name__)


class StageRecord(TypedDict):
    """What the manifest says of a stage that is done.

    Attributes:
        key: fingerprint of its inputs.
        inputs: everything its outputs depend on; for people, the key is what counts.
        outputs: files and folders that it wrote, by their paths in the run folder.
        seconds: how long it ran.
        finished: when, with the time zone.
    """

    key: str
    inputs: dict[str, object]
    outputs: list[str]
    seconds: float
    finished: str


class RunFolder:
    """Runs stages once.

    Args:
        path: the folder; made if it isn't there.

    Attributes:
        path: the folder.
        num_run: stages that ran in this process; the others were done already.

    Raises:
        DataError: its manifest is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.num_run = 0
        self._manifest = path / "manifest.json"
        self._stages: dict[str, StageRecord] = {}
        self._files: dict[str, str] = {}
        self._checked = False
        self._refusal: OutputError | None = None
        self._read()

    def _read(self) -> None:
        self._stages, self._files, self._checked = {}, {}, False
        if not self._manifest.is_file():
            return
        mend = "delete it to run every stage again"
        manifest = read_json(self._manifest, mend=mend)
        stages: object = manifest.get("stages")
        files: object = manifest.get("files", {})
        if not (isinstance(stages, dict) and isinstance(files, dict) and all(map(_is_record, stages.values()))):
            raise DataError(f"{self._manifest}: damaged, expected the stages of a run and their files; {mend}")
        self._stages, self._files = stages, files

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this command: two runs in one folder would undo each other.

        A folder with a run in it that cannot be written to is only refused when a stage is still to run.

        Raises:
            OutputError: another process holds it, or it cannot be made.
        """
        if not distributed.is_main():
            yield
            return
        busy = f"{self.path}: another muscle process is working in this folder"
        try:
            held = take(self.path / ".lock", busy=busy)
        except OSError as error:
            self._refusal = OutputError(f"{self.path}: cannot be written: {error.strerror}")
            if not self._stages:
                raise self._refusal from error
            yield
            return
        with held:
            for folder in (self.path, *self.path.glob("adapters/*"), *self.path.glob("predictions/*")):
                clear_leftovers(folder)
            self._read()  # what another process wrote until it let go of the lock
            yield

    def is_done(self, name: str, inputs: dict[str, object]) -> bool:
        """Tell whether a stage ran with these very inputs and every file that it wrote is untouched."""
        if not self._checked:
            self._forget_changed()
        return name in self._stages and self._stages[name]["key"] == fingerprint(inputs)

    def seconds(self, name: str) -> float:
        """Return how long a stage ran that is done; 0 where none of that name is."""
        return self._stages[name]["seconds"] if name in self._stages else 0.0

    def _forget_changed(self) -> None:
        """Forget the stages whose outputs are no longer what they wrote; what others put beside them doesn't matter."""
        self._checked = True
        found: dict[str, bool] = {}
        for name, stage in list(self._stages.items()):
            kept = [file for output in stage.get("outputs", []) for file in self._of(output)]
            for file in kept:
                if file not in found:
                    path = self.path / file
                    found[file] = path.is_file() and file_sha256(path) == self._files[file]
            changed = [file for file in kept if not found[file]]
            if changed or not kept:
                logger.warning(
                    "%s: %s; it runs again",
                    name,
                    f"{self.path / changed[0]} is missing or was changed" if changed else "its outputs are not known",
                )
                del self._stages[name]

    def _of(self, output: str) -> list[str]:
        """The known files of an output, a file or a folder."""
        return [file for file in self._files if file == output or file.startswith(f"{output}/")]

    def _name(self, output: Path) -> str:
        return output.relative_to(self.path).as_posix()

    def _hashes(self, output: Path) -> dict[str, str]:
        # A model card is for people, who may write on.
        found = {file: sha256 for file, sha256 in file_hashes(output).items() if Path(file).name != MODEL_CARD}
        return {self._name(output.parent / file): sha256 for file, sha256 in found.items()}

    def stage(self, name: str, inputs: dict[str, object], outputs: Sequence[Path], work: Callable[[], object]) -> None:
        """Run `work`, which writes `outputs`, unless it is done already.

        The main of several processes decides, and keeps the manifest.

        Args:
            name: unique in the run, such as "finetune old/piqa".
            inputs: everything the outputs depend on, as plain data.
            outputs: the files or folders that `work` writes. Stages may write to one file, one after the other.
            work: does it.

        Raises:
            OutputError: the folder cannot be written to.
        """
        if distributed.from_main(lambda: self._is_to_skip(name, inputs)):
            logger.info("%s: done before", name)
            return
        start = time.monotonic()
        work()
        self.num_run += 1
        distributed.from_main(lambda: self._keep(name, inputs, outputs, time.monotonic() - start))

    def _is_to_skip(self, name: str, inputs: dict[str, object]) -> bool:
        if self.is_done(name, inputs):
            return True
        if self._refusal is not None:
            raise OutputError(f"{self._refusal}; {name} is still to run")
        return False

    def _keep(self, name: str, inputs: dict[str, object], outputs: Sequence[Path], seconds: float) -> None:
        self._stages[name] = {
            "key": fingerprint(inputs),
            "inputs": inputs,
            "outputs": [self._name(output) for output in outputs],
            "seconds": round(seconds, 1),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        }
        # Stages share `run.json`: the hash of what this one made of it replaces the one before.
        for output in outputs:
            for file in self._of(self._name(output)):
                del self._files[file]
            self._files |= self._hashes(output)
        write_json(self._manifest, {"versions": versions(), "stages": self._stages, "files": self._files})
        logger.info("%s: %.1f s", name, self._stages[name]["seconds"])


def _is_record(value: object) -> bool:
    """Tell whether a value of the manifest is a stage's, as far as it is read."""
    return isinstance(value, dict) and isinstance(value.get("key"), str) and isinstance(value.get("outputs", []), list)


def content_of(output: Path) -> str | None:
    """Return a fingerprint of what later stages take from an output: a file's, or that of an adapter.

    Returns:
        None where it isn't there.
    """
    if output.is_dir():
        whole = all((output / name).is_file() for name in ADAPTER_FILES)
        return adapter_content(output)[:16] if whole else None
    return file_sha256(output)[:16] if output.is_file() else None
