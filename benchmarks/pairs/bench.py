"""One run of the bench: a pair of bases, a task, a seed, and the folder where all that is made of them stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from intents import prepare
from items import BUILT_IN, prepare_items
from make import Side, make_base
from slots import prepare_slots

from muscle.config.settings import BaseConfig
from muscle.config.update_file import StageSettings, load_stage_settings
from muscle.files import atomic_folder
from muscle.models.bases import LoadedBase, load_for_training
from muscle.tasks import get_task, load_examples, load_unlabelled
from muscle.tasks.task import Example, Task

HERE = Path(__file__).resolve().parent
SLOTS = "snips"
GENERATED = (SLOTS, "samsum")
"""Tasks whose answers are written."""


@dataclass(frozen=True)
class Bench:
    """A pair, a task and a seed.

    Attributes:
        pair: a key of `make.PAIRS`.
        task_name: a key of `intents.TASKS` or `items.BUILT_IN`, or `snips`.
        seed: draws the training texts, and is that of every training.
        root: of all runs; bases stand in `root/bases`.
        data: folder of the data sets.
        gguf: the weights, where the package isn't installed.
        last_epoch: whether token adapters keep their last epoch, in place of the one with the lowest validation loss
            over context and answer.
        precision: in place of that of the settings, where the processor has no bf16 instructions.
    """

    pair: str
    task_name: str
    seed: int
    root: Path
    data: Path
    gguf: Path | None = None
    last_epoch: bool = False
    precision: str | None = None

    @property
    def folder(self) -> Path:
        """Where this run's files stand."""
        return self.root / self.pair / self.task_name / f"seed-{self.seed}{self._epoch}"

    @property
    def name(self) -> str:
        """What its results are kept under."""
        return f"{self.pair}-{self.task_name}-{self.seed}{self._epoch}"

    @property
    def _epoch(self) -> str:
        return "-last-epoch" if self.last_epoch else ""

    def adapter(self, name: str) -> Path:
        """Return the folder of a step's adapter."""
        return self.folder / "adapters" / name

    @cached_property
    def settings(self) -> StageSettings:
        """The sections of `settings.yaml`, or of the task's own file."""
        own = HERE / f"settings_{self.task_name}.yaml"
        given = {"training.precision": self.precision} if self.precision else {}
        return load_stage_settings(own if own.is_file() else HERE / "settings.yaml", overrides=given)

    @property
    def generates(self) -> bool:
        """Whether answers are generated."""
        return self.task_name in GENERATED

    @property
    def built_in(self) -> bool:
        """Whether muscle has the task built in; an item's options are its own then, and told apart as wholes alone."""
        return self.task_name in BUILT_IN

    def base_folder(self, side: Side) -> Path:
        """Return a base's folder, which is made first where it isn't there."""
        return make_base(self.pair, side, self.root / "bases", data=self.data, gguf=self.gguf)

    def base(self, side: Side) -> LoadedBase:
        """Return a base in memory."""
        return _loaded(self, side)

    @cached_property
    def task(self) -> Task:
        """The task, whose files are written first where they aren't there."""
        if self.built_in:
            folder = self.folder / "data"
            if not folder.is_dir():
                with atomic_folder(folder) as made:
                    prepare_items(self.task_name, data=self.data, seed=self.seed, out=made)
            return get_task(self.task_name)
        path = self.folder / "data" / f"{self.task_name}.yaml"
        if not path.is_file() and self.generates:
            prepare_slots(data=self.data, seed=self.seed, out=path.parent)
        elif not path.is_file():
            new = self.base_folder("new")
            prepare(self.task_name, data=self.data, base=new, seed=self.seed, out=path.parent)
        return get_task(str(path))

    def examples(self, part: str) -> Sequence[Example]:
        """Return the examples of train, validation or test."""
        task = self.task
        return load_examples(task, str(self.folder / "data" / f"{part}.jsonl"))

    def unlabelled(self) -> Sequence[Example]:
        """Return the texts without labels."""
        known = [example for part in ("train", "validation", "test") for example in self.examples(part)]
        return load_unlabelled(self.task, str(self.folder / "data" / "unlabelled.jsonl"), known=known)


@cache
def _loaded(bench: Bench, side: Side) -> LoadedBase:
    config = BaseConfig(base=str(bench.base_folder(side)))
    return load_for_training(config, bench.settings.training)
