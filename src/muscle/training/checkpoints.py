"""Checkpoints that are known to be whole: marked once all is written, checked before they are used."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from muscle import distributed
from muscle.errors import DataError
from muscle.files import read_json, write_json
from muscle.provenance import file_hashes

logger = logging.getLogger(__name__)

_COMPLETE = "complete"


def checkpoint_damage(folder: Path) -> str | None:
    """Return what is wrong with a checkpoint by the list of files that it was finished with; None where nothing is."""
    try:
        files = read_json(folder / _COMPLETE).get("files")
    except DataError:
        return "it was not written to its end"
    if not isinstance(files, dict):
        return "it was not written to its end"
    found = _checkpoint_files(folder)
    for name, sha256 in files.items():
        if found.get(name) != sha256:
            return f"{name} is missing or damaged (its SHA-256 has changed)"
    return None


def last_checkpoint(workspace: Path) -> str | None:
    """Return the newest checkpoint that is as it was written, as is the best one that it names; delete all others.

    One that was not written to its end is what a kill leaves; a damaged one is told.
    """
    whole: dict[str, Path] = {}
    for folder in workspace.glob("checkpoint-*"):
        damage = checkpoint_damage(folder)
        if damage is None:
            whole[folder.name] = folder
            continue
        if (folder / _COMPLETE).is_file():
            logger.warning("checkpoint %s: %s; it is deleted", folder, damage)
        shutil.rmtree(folder)
    for folder in sorted(whole.values(), key=lambda each: int(each.name.rsplit("-", 1)[1]), reverse=True):
        best = read_json(folder / "trainer_state.json", mend=f"delete {workspace}").get("best_model_checkpoint")
        if best is None or Path(best).name in whole:
            return str(folder)
        logger.warning("checkpoint %s: the best one, %s, is gone; it is deleted", folder, best)
        shutil.rmtree(folder)
    return None


def _checkpoint_files(folder: Path) -> dict[str, str]:
    return {name: sha256 for name, sha256 in file_hashes(folder).items() if name != f"{folder.name}/{_COMPLETE}"}


class CompletionMarks(TrainerCallback):  # type: ignore[misc]
    """Marks a checkpoint as whole once its files are written, with their fingerprints; a kill before leaves no mark."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """Find the best checkpoint where the run folder is now."""
        if state.best_model_checkpoint is not None:
            state.best_model_checkpoint = str(Path(args.output_dir) / Path(state.best_model_checkpoint).name)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object) -> None:
        """Mark the checkpoint that was just written."""
        # Every process writes a part of it.
        distributed.wait()
        if state.is_world_process_zero:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            write_json(folder / _COMPLETE, {"files": _checkpoint_files(folder)})
