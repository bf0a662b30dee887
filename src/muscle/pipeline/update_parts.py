"""What an update's stages share: its data, its bases, its methods, and where each run's files stand."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from muscle.config.alignment import AlignmentSettings
from muscle.config.update_file import UpdateConfig
from muscle.models.base_files import base_fingerprint, chat_template_fingerprint, resolve_base
from muscle.pipeline.load_data import load_data
from muscle.pipeline.loaded_bases import LoadedBases, Side, sides_of
from muscle.pipeline.whole_answers.candidates import CandidateFiles
from muscle.pipeline.whole_answers.old_record import OldRecord
from muscle.tasks import TaskData
from muscle.training.teachers.kept_stores import KeptStores


class UpdateParts:
    """What the stages of one update share.

    Args:
        config: the update.
        split_seed: of the split into training and validation data; that of the training without.
        teachers: where what the teachers leave stays, a folder for each task; without, each training drops its own.
    """

    def __init__(
        self, config: UpdateConfig, *, split_seed: int | None = None, teachers: KeptStores | None = None
    ) -> None:
        self.config = config
        self.split_seed = config.training.seed if split_seed is None else split_seed
        self.teachers = teachers
        self.folder = Path(config.output)
        self.bases = LoadedBases(config, self._scored_adapters)
        self.sides = sides_of(config)
        self.record = OldRecord(config.old.record) if config.old.record else None

    @cached_property
    def data(self) -> dict[str, TaskData]:
        """Each task's examples by its name."""
        return load_data(self.config, split_seed=self.split_seed)

    @cached_property
    def fingerprints(self) -> dict[Side, str]:
        """A fingerprint of each base's files."""
        return {side: base_fingerprint(resolve_base(self.bases.settings(side))) for side in self.sides}

    def templates(self, *sides: Side) -> dict[str, object]:
        """Return what of bases' chat templates is no part of their fingerprints, where they are in use."""
        if not self.config.prompt.in_chat:
            return {}
        found = {side: chat_template_fingerprint(resolve_base(self.bases.settings(side))) for side in sides}
        return {"chat_templates": found}

    @cached_property
    def scored(self) -> dict[str, Side]:
        """Which runs are scored, and the base of each."""
        runs: dict[str, Side] = {"old": "old", "new": "new", "compat": "new"}
        if self.config.evaluation.bare_base:
            runs["base"] = "new"
        if self.config.trains_control:
            runs["control"] = "new"
        if self.config.evaluation.floor:
            runs["floor"] = "old"
        return runs | dict.fromkeys(self.config.evaluation.beside, "new")

    @cached_property
    def methods(self) -> dict[str, AlignmentSettings]:
        """How compatibility adapters are trained, by run: the one that is judged, then those beside it."""
        return {"compat": self.config.alignment, **self.config.evaluation.beside}

    def given(self, run: str) -> dict[str, Path]:
        """Return the adapters, by task, that exist already and are not trained."""
        settings = {"old": self.config.old, "new": self.config.new}.get(run)
        return {name: Path(path) for name, path in settings.adapters.items()} if settings else {}

    def adapter(self, run: str, task: str) -> Path:
        """Return an adapter's folder: a given one, or the run's own."""
        return self.given(run).get(task) or self.folder / "adapters" / run / task

    def predictions(self, run: str, task: str) -> Path:
        """Return the file of a run's records on a task."""
        return self.folder / "predictions" / run / f"{task}.jsonl"

    def _scored_adapters(self, side: Side) -> list[Path]:
        runs = [run for run, base in self.scored.items() if base == side and run != "base"]
        return [self.adapter(run, task) for run in runs for task in self.data]

    @cached_property
    def candidates(self) -> CandidateFiles:
        """The candidate answers of the methods that learn them."""
        return CandidateFiles(
            self.config,
            self.methods,
            self.bases,
            self.adapter,
            lambda side: [self.fingerprints[side], self.templates(side)],
            self.record,
        )


def recipe_notes(given: Iterable[str], side: Side, control: str) -> list[str]:
    """Return of given adapters that a control, which is to be their recipe run again, may be another one: a line each.

    Args:
        given: the tasks that have one.
        side: whose adapters they are.
        control: what is trained.
    """
    return [
        f"task {name}: the {side} adapter is given; the {control} is trained with this file's lora and training, and "
        "can be read as one only if that adapter was trained so too"
        for name in given
    ]
