"""Step 2 of the method at option level: teachers run once, then a student is drawn to what they make of each option."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from torch import Tensor

from muscle import distributed
from muscle.config.alignment import AlignmentSettings
from muscle.errors import ConfigError, ModelError
from muscle.files import read_json
from muscle.locks import held
from muscle.models.adapters import load_adapter
from muscle.models.bases import LoadedBase
from muscle.provenance import fingerprint
from muscle.tasks.recorded import Record
from muscle.training.one_training import Student, Training
from muscle.training.options.data import OptionData
from muscle.training.options.lessons import Lesson, distance_of, label_lesson, taught_lesson
from muscle.training.options.recorded import read_recorded
from muscle.training.options.teachers import calibrated, teacher_scores
from muscle.training.options.train import reads_items, train_on_options
from muscle.training.options.trainer import OptionLoss, OptionTrainer
from muscle.training.options.twins import TwinTrainer, bootstrapped
from muscle.training.run import TrainingResult
from muscle.training.start import Start
from muscle.training.teachers.kept_stores import KeptStores
from muscle.training.teachers.make_rows import TaskModel

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class OptionAlignment:
    """One alignment at option level.

    Attributes:
        old: M_base_v1, loaded; or the record that stands for the old model.
        start: of the student, with the new base, both adapters and the method.
        data: the items.
        training: how it goes, and where the compatibility adapter is kept.
        stores: where what is made on the way stands.
    """

    old: LoadedBase | Record
    start: Start
    data: OptionData
    training: Training
    stores: KeptStores

    @property
    def alignment(self) -> AlignmentSettings:
        """The method."""
        return self.start.alignment

    @property
    def teachers(self) -> list[Path]:
        """Further adapters on the new base, which teach beside A_v2."""
        return [Path(folder) for folder in self.alignment.teachers_of(self.data.task.name)]

    @property
    def new_base(self) -> LoadedBase:
        """M_base_v2, loaded."""
        return self.start.base

    def run(self, old_base_away: AbstractContextManager[None]) -> TrainingResult:
        """Train.

        Args:
            old_base_away: keeps the old base off the accelerator while the student trains.

        Returns:
            How the last training went.

        Raises:
            MuscleError: see `muscle.training.align.align`.
        """
        if distributed.sharded():
            # Before the teachers run for hours.
            tokenizer = self.new_base.tokenizer
            items = self.data.items(tokenizer, self.training.settings.max_length)
            reads_items(self.new_base.model, items, tokenizer.pad_token_id)
        if self.alignment.target == "twins":
            with old_base_away:
                return self._twins()
        labelled = self._trained_on_labels() if self.alignment.labels_first else None
        first = labelled if labelled and _improved(labelled) else None
        if labelled and not first:
            logger.warning(
                "%s: the training on labels alone gained nothing on the validation items and is left out: student and "
                "new teacher start as they would without alignment.labels_first",
                self.training.description,
            )
        lesson = self._lesson(first or self.start.adapters["new"])
        student = load_adapter(self.new_base, first, trainable=True) if first else self.start.student()
        with old_base_away:
            return train_on_options(
                Student(student, self.new_base),
                self.data,
                lesson,
                partial(OptionTrainer, loss=self._loss()),
                self._training(),
                note=self._note(),
                record=self._record(labelled),
                selection=self.alignment.selection,
                items_before=_items_seen(labelled) if labelled else 0,
            )

    def _twins(self) -> TrainingResult:
        """Train two adapters on bootstraps of the labelled items, as the halves of one; no teacher runs."""
        if distributed.num_processes() > 1:
            raise ConfigError("alignment.target: twins trains in one process; expected no launcher")
        data = bootstrapped(self.data, self.training.settings.seed)
        return train_on_options(
            Student(self.start.twins(), self.new_base),
            data,
            label_lesson(data),
            partial(TwinTrainer, loss=self._loss(), agreement=self.alignment.twins.agreement),
            self._training(),
            note=self._note(),
            record=self._record(None),
            selection=self.alignment.selection,
        )

    def _trained_on_labels(self) -> Path:
        """Train the start on the labels alone, or find what such a training left; return the adapter's folder."""
        labelled = self.data.labelled
        lesson = label_lesson(labelled)
        tokenized = labelled.items(self.new_base.tokenizer, self.training.settings.max_length)
        made_of = fingerprint(
            [
                self.new_base.fingerprint,
                self.start.content(),
                self.training.settings.identity(),
                self.alignment.selection,
                lesson.target.digest,
                *(part.sequences for part in tokenized),
            ]
        )
        out = self.stores.labels / f"labels-{made_of[:16]}"
        with held(out):
            if distributed.from_main(out.is_dir):
                return out
            train_on_options(
                # The new teacher stands on the base next.
                Student(self.start.student(), self.new_base, base_is_free=False),
                labelled,
                lesson,
                partial(OptionTrainer, loss=OptionLoss()),
                replace(self.training, out=out, description=f"{self.training.description}: labels first"),
                note={"stage": "labels", "unit": self.data.unit, "start": self.start.content()},
                record={"unit": self.data.unit, "target": "labels"},
                selection=self.alignment.selection,
            )
        if not self.new_base.is_whole:
            raise ModelError(
                "alignment.labels_first: ZeRO-3 has left shards of the new base, which the teachers need whole; "
                "what the training on labels made is kept: run the same command again"
            )
        return out

    def _lesson(self, new_adapter: Path) -> Lesson:
        """Run the teachers that the target needs."""
        target = self.alignment.target
        if target == "labels":
            return label_lesson(self.data)
        recorded = read_recorded(self.old, self.data) if isinstance(self.old, Record) else None
        new: list[Tensor] = []
        if self.alignment.reads_new_teacher or (recorded is not None and recorded.needs_new):
            named = {"new": new_adapter, **{f"teacher-{number}": path for number, path in enumerate(self.teachers)}}
            new = [self._teacher(name, self.new_base, path) for name, path in named.items()]
        facts: dict[str, object] = {}
        if recorded is None:
            assert isinstance(self.old, LoadedBase), "there is no record"
            old = self._teacher("old", self.old, self.start.adapters["old"])
        else:
            old, facts = recorded.scores(calibrated(self.data, new[0]) if recorded.needs_new else None)
        lesson = taught_lesson(self.data, old, new if self.alignment.reads_new_teacher else [], self.alignment)
        return replace(lesson, facts={**facts, **lesson.facts})

    def _teacher(self, name: str, base: LoadedBase, adapter: Path) -> Tensor:
        folder = self.stores.old if name == "old" else self.stores.new
        return teacher_scores(
            folder / f"{self.data.unit}-{name}",
            TaskModel.load(base, adapter),
            self.data,
            settings=self.training.settings,
            description=f"{self.training.description}: {name} teacher",
        )

    def _training(self) -> Training:
        return self.training.of_epochs(self.alignment.unlabelled_epochs if self.data.unlabelled else None)

    def _loss(self) -> OptionLoss:
        masked, by_kl = self.alignment.target == "mask", self.alignment.target != "focal"
        return OptionLoss(
            # A focal distance has its temperature in itself.
            temperature=self.alignment.temperature if by_kl and self.alignment.reads("temperature") else 1.0,
            ce_weight=self.alignment.ce_weight,
            kl=self.alignment.kl,
            distance=distance_of(self.alignment),
            mask=self.alignment.mask if masked else None,
        )

    def _note(self) -> dict[str, object]:
        return {
            "stage": "align",
            "alignment": self.alignment.identity(),
            **_noted(self.old),
            "start": self.start.content(),
        }

    def _record(self, labelled: Path | None) -> dict[str, object]:
        chosen = ("method", "unit", "target", "temperature", "ce_weight", "old_share", "kappa", "kl", "start")
        read = [name for name in (*chosen, "selection") if self.alignment.reads(name)]
        record: dict[str, object] = {name: getattr(self.alignment, name) for name in read}
        match self.alignment.target:
            case "focal" | "inhibition" | "twins" as numbers:
                record[numbers] = getattr(self.alignment, numbers).model_dump()
            case "reliability":
                record["sharpness"] = self.alignment.sharpness
            case "margin":
                record["margin_of"] = self.alignment.margin_of
            case "mask":
                record["mask"] = self.alignment.mask
            case "old_answers":
                record["keep_labels"] = self.alignment.keep_labels
            case _:
                pass
        if self.teachers:
            record["num_teachers"] = len(self.teachers)
        if labelled is not None:
            written = read_json(labelled / "training.json")
            kept = ("best_epoch", "num_epochs", "num_steps", "validation_losses", "converged", "validation")
            since = ("loss_before", "improved")
            record["labels_first"] = {name: written.get(name) for name in (*kept, *since)}
        return record


def _noted(old: LoadedBase | Record) -> dict[str, object]:
    """Return what an adapter's file says of the old model."""
    if isinstance(old, Record):
        return {"old_record": old.name, "old_record_digest": old.digest}
    return {"old_base": old.source, "old_base_fingerprint": old.fingerprint}


def _improved(adapter: Path) -> bool:
    """Return whether an adapter is better on the validation items than the one that it started from."""
    return read_json(adapter / "training.json").get("improved") is not False  # trained by 0.2: not told


def _items_seen(adapter: Path) -> int:
    """Return how many items the training of an adapter saw."""
    found = read_json(adapter / "training.json")["items_seen"]
    assert isinstance(found, int), "written by train_on_options"
    return found
