"""What a sweep trains and scores, as jobs: each has a folder with a manifest of its own, and knows what it needs.

Variants that share everything outside `alignment` share a group. A group's task adapters are trained once a seed, and
so are its controls.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from muscle.config.alignment import AlignmentSettings
from muscle.config.settings import BaseConfig
from muscle.config.update_file import UpdateConfig
from muscle.errors import ConfigError
from muscle.pipeline.stages import FLOOR_SEED
from muscle.provenance import fingerprint
from muscle.tasks import get_task
from muscle.training.teachers.kept_stores import KeptStores

JobKind = Literal["tasks", "again", "third", "longer", "served", "variant"]
"""Task adapters of both bases; both trained again with another seed (floor and twin); a task adapter of the third base;
the new adapter trained on with cross-entropy; both models served; a variant's compatibility adapter."""

_NOT_THE_GROUPS = {"alignment", "output", "report", "sweep"}


@dataclass(frozen=True)
class Job:
    """One piece of a sweep that runs by itself, once those that it needs are done.

    Attributes:
        name: its folder below the sweep's.
        kind: which stages it has.
        config: the update that they are stages of.
        seed: of the sweep, which splits the data; a recipe that runs again has another one for its training.
        folder: where its files stand.
        needs: names of other jobs.
        teachers: where what its teachers leave stays; None where it has none.
    """

    name: str
    kind: JobKind
    config: UpdateConfig
    seed: int
    folder: Path
    needs: tuple[str, ...] = ()
    teachers: KeptStores | None = None


def group_name(config: UpdateConfig) -> str:
    """Return a name for all that variants of one group share."""
    shared = config.model_dump(exclude=_NOT_THE_GROUPS)
    for key in ("seed", "report_to"):
        shared["training"].pop(key)
    for key in ("bare_base", "control", "floor", "beside"):
        shared["evaluation"].pop(key)
    for side in ("old", "new"):
        if not shared[side]["record"]:  # a key of a later version: folders from before it keep their names
            del shared[side]["record"]
    return fingerprint(shared)[:8]


@dataclass(frozen=True)
class GroupJobs:
    """The jobs of a group for one seed.

    Args:
        config: of any of the group's variants, with the sweep's seed.
        root: the sweep's folder.
    """

    config: UpdateConfig
    root: Path

    @property
    def seed(self) -> int:
        """The sweep's seed."""
        return self.config.training.seed

    @property
    def place(self) -> str:
        """The group's folder below the sweep's."""
        return f"groups/{group_name(self.config)}/seed-{self.seed}"

    @property
    def task_names(self) -> list[str]:
        """The names of the tasks."""
        return [get_task(entry.task).name for entry in self.config.tasks]

    def tasks(self) -> Job:
        """Fine-tune and score both task adapters, and score the bare new base."""
        return self._job("tasks", self.config.model_copy(update=self._scored(bare_base=True)))

    def again(self) -> Job:
        """Train both task adapters again with another seed: the old one is the floor, the new one the twin."""
        training = self.config.training.model_copy(update={"seed": self.seed + FLOOR_SEED})
        # Given adapters are used as they are; what is wanted here is the recipe once more.
        sides = {side: _without_adapters(getattr(self.config, side)) for side in ("old", "new")}
        changes = {"training": training, **sides, **self._scored()}
        return self._job("again", self.config.model_copy(update=changes))

    def third(self, base: BaseConfig) -> Job:
        """Fine-tune a third base by the same recipe."""
        changes = {"old": _without_adapters(base), **self._scored()}
        return self._job("third", self.config.model_copy(update=changes))

    def longer(self, epochs: int) -> Job:
        """Train the new task adapter on with cross-entropy."""
        changes = {"new": self._given("tasks", "new"), **self._scored(control=True), **self._for(epochs)}
        return self._job("longer", self.config.model_copy(update=changes), needs=("tasks",))

    def served(self) -> Job:
        """Serve both models, by rules fitted on the validation data."""
        changes = {"old": self._given("tasks", "old"), "new": self._given("tasks", "new"), **self._scored()}
        return self._job("served", self.config.model_copy(update=changes), needs=("tasks",))

    @property
    def can_serve_both(self) -> bool:
        """Whether every task has options, by whose likelihoods two models can be served, and both models are there."""
        return not self.config.old.record and all(get_task(entry.task).kind == "choice" for entry in self.config.tasks)

    def _for(self, epochs: int) -> dict[str, object]:
        """Return an alignment that trains for so many epochs to the end."""
        training = {**self.config.alignment.training, "epochs": epochs, "early_stopping_patience": None}
        return {"alignment": self.config.alignment.model_copy(update={"training": training})}

    def variant(
        self,
        folder_name: str,
        config: UpdateConfig,
        *,
        old: Literal["old", "twin", "third"] = "old",
        third: BaseConfig | None = None,
    ) -> Job:
        """Train a variant's compatibility adapter and score it.

        Args:
            folder_name: of the variant.
            config: of the variant.
            old: which model stands in the old one's place.
            third: the third base, where it does.
        """
        needs, changes = ["tasks"], {"new": self._given("tasks", "new"), **self._scored()}
        if old == "twin":
            needs.append("again")
            adapters = {name: str(self._folder("again") / "adapters/new" / name) for name in self.task_names}
            changes["old"] = self.config.new.located(self.config.new.base, adapters)
        elif old == "third":
            assert third is not None
            needs.append("third")
            adapters = {name: str(self._folder("third") / "adapters/old" / name) for name in self.task_names}
            changes["old"] = third.located(third.base, adapters)
        else:
            changes["old"] = self._given("tasks", "old")
        suffix = "" if old == "old" else f"+{old}-as-old"
        name = f"variants/{folder_name}{suffix}/{group_name(self.config)}/seed-{self.seed}"
        chosen = config.model_copy(update={**changes, "output": str(self.root / name)})
        key, folder = teachers_key(chosen), self.root / self.place / "teachers"
        alone = bool(self.config.old.record) or not shares_new_side(chosen.alignment)
        stores = KeptStores(folder / f"{old}-{key}", folder / f"{old if alone else 'old'}-{key}", folder / "labels")
        reads_teachers = chosen.alignment.target not in ("labels", "interpolation")
        return Job(
            name,
            "variant",
            chosen,
            self.seed,
            self.root / name,
            tuple(f"{self.place}/{each}" for each in needs),
            stores if reads_teachers else None,
        )

    def _job(self, kind: JobKind, config: UpdateConfig, needs: Sequence[str] = ()) -> Job:
        folder = self._folder(kind)
        config = config.model_copy(update={"output": str(folder)})
        whole = tuple(f"{self.place}/{each}" for each in needs)
        return Job(f"{self.place}/{kind}", kind, config, self.seed, folder, whole)

    def _folder(self, kind: str) -> Path:
        return self.root / self.place / kind

    def _scored(self, *, bare_base: bool = False, control: bool = False) -> dict[str, object]:
        changes = {"bare_base": bare_base, "control": control, "floor": False, "beside": {}}
        return {"evaluation": self.config.evaluation.model_copy(update=changes)}

    def _given(self, kind: str, side: Literal["old", "new"]) -> BaseConfig:
        """Return a side whose adapters are those that a job of this group trains, or that the user gave."""
        base = self.config.old if side == "old" else self.config.new
        if base.record:
            return base
        made = {name: str(self._folder(kind) / "adapters" / side / name) for name in self.task_names}
        return base.located(base.base, {**made, **base.adapters})


def _without_adapters(base: BaseConfig) -> BaseConfig:
    return base.located(base.base, {})


_NOT_THE_TEACHERS = (
    *("mask", "ce_weight", "old_share", "kappa", "kl", "target", "unlabelled_epochs"),
    *("sharpness", "focal", "inhibition", "keep_labels", "margin_of"),
)
"""Keys of `alignment` that change what is learnt from the teachers, and nothing about them."""

_ON_THEIR_OWN = ("twins",)
"""Targets that leave something of their own beside the stores."""

_OF_THE_STUDENT = ("start", "lora", "selection", "training")
_READ_BY_TEACHERS = ("max_length", "precision", "quantization", "attention")


def teachers_key(config: UpdateConfig) -> str:
    """Return what stands for the stores of a variant's teachers: variants of one group with the same key share them.

    A store knows what it was made of, and is built again where that differs; this only keeps two variants from taking
    turns at doing so.
    """
    alignment, training = config.alignment.identity(), config.align_training().identity()
    left_out = list(_NOT_THE_TEACHERS)
    if config.alignment.fixed_target:  # both teachers' in one vector
        left_out = [key for key in left_out if key not in ("mask", "old_share", "target")]
    # A new teacher that is trained on labels first depends on how the student is trained.
    if not config.alignment.labels_first:
        left_out += _OF_THE_STUDENT
        training = {key: value for key, value in training.items() if key in _READ_BY_TEACHERS}
    kept = {key: value for key, value in alignment.items() if key not in left_out}
    further = [config.alignment.teachers] if config.alignment.teachers else []
    own = [config.alignment.target] if config.alignment.target in _ON_THEIR_OWN else []
    return fingerprint([kept, training, config.alignment.unlabelled, *further, *own])[:8]


def shares_new_side(alignment: AlignmentSettings) -> bool:
    """Tell whether the new side of an alignment is the same, whichever model stands in the old one's place.

    It is the new teachers' stores. They are of the new base, its adapters (with `labels_first` the one that was trained
    on labels), the items and the settings; a store of tokens that another tokenizer forces into another kind is kept
    apart by `align` itself.
    """
    from_old_adapter = alignment.labels_first and alignment.start == "old"
    of_old_answers = alignment.learns_candidates and "old" in alignment.answers.models
    return not from_old_adapter and not of_old_answers


def ordered(jobs: Iterable[Job]) -> list[Job]:
    """Return each job once, behind those that it needs.

    Raises:
        ConfigError: two jobs of one name differ.
    """
    by_name: dict[str, Job] = {}
    for job in jobs:
        if by_name.setdefault(job.name, job).config != job.config:
            raise ConfigError(f"{job.name}: two variants of one name; expected each name once")
    rank = {"tasks": 0, "again": 1, "third": 1, "longer": 2, "served": 2, "variant": 2}
    return sorted(by_name.values(), key=lambda job: (rank[job.kind], job.name))


def with_needs(chosen: Iterable[Job], jobs: Mapping[str, Job]) -> set[str]:
    """Return the names of jobs and of all that they need."""
    found: set[str] = set()
    waiting = [job.name for job in chosen]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += jobs[name].needs
    return found
