"""The stages of an update: `update` runs them, the dry run prints them.

They are: fine-tune both task adapters, draw candidate answers where these are learnt, align, train the controls that
are wanted, evaluate, report.

A stage is keyed by everything that its outputs depend on (settings, data, the content of the stages before), so that a
second run does nothing. A run folder holds `adapters/RUN/TASK/`, `predictions/RUN/TASK.jsonl`, `report.*`, a manifest.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Literal

from muscle.config.settings import TrainingSettings
from muscle.errors import DataError
from muscle.evaluation.save import evaluate_to_file
from muscle.files import read_json
from muscle.flips.trained import TrainedAdapter
from muscle.pipeline.loaded_bases import SIDES, Side
from muscle.pipeline.report.read_training import AdapterPlace, read_training
from muscle.pipeline.report.write_report import report_stage
from muscle.pipeline.run_folder import content_of
from muscle.pipeline.stage import Stage
from muscle.pipeline.update_parts import UpdateParts, recipe_notes
from muscle.predictions.run import METADATA_FILE
from muscle.provenance import versions
from muscle.tasks import TaskData
from muscle.tasks.prompt import PLAIN

logger = logging.getLogger(__name__)

FLOOR_SEED = 1000
"""What is added to `training.seed` where the old recipe is trained again."""


class UpdateStages(UpdateParts):
    """The stages of one update, each from what all of them share."""

    def all(self) -> list[Stage]:
        """Return the stages in their order: all training first, then the scoring, for which each base is loaded once.

        Raises:
            MuscleError: a task, its data or a base is missing or wrong.
        """
        for note in self._recipe_notes:
            logger.info("%s", note)
        stages: list[Stage] = []
        for data in self.data.values():
            stages += [self.finetune(side, data) for side in self.sides]
            stages += self.candidates.stages(data)
            stages += [self.align(data, run) for run in self.methods]
            if self.config.trains_control:
                stages.append(self.train_control(data))
            if self.config.evaluation.floor:
                stages.append(self.train_floor(data))
        for side in SIDES:
            for data in self.data.values():
                stages += [self.evaluate(run, data) for run, base in self.scored.items() if base == side]
        return [*stages, self.report()]

    def finetune(self, side: Side, data: TaskData) -> Stage:
        """Step 1 of the method on one base; nothing to do where an adapter is given."""
        stage = self._task_adapter(side, side, data, self.config.training)
        return replace(stage, work=None) if data.task.name in self.given(side) else stage

    def train_floor(self, data: TaskData) -> Stage:
        """The old recipe again with another seed: what it breaks of its own old answers, no update involved."""
        return self._task_adapter("floor", "old", data, self._floor_training)

    @property
    def _recipe_notes(self) -> list[str]:
        return recipe_notes(self.given("old"), "old", "floor") if self.config.evaluation.floor else []

    @property
    def _floor_training(self) -> TrainingSettings:
        return self.config.training.model_copy(update={"seed": self.config.training.seed + FLOOR_SEED})

    def _task_adapter(self, run: str, side: Side, data: TaskData, training: TrainingSettings) -> Stage:
        """Train a run's task adapter on a side's base."""
        name = data.task.name
        out = self.adapter(run, name)

        def inputs() -> dict[str, object]:
            return {
                "base": self.fingerprints[side],
                "task": dict(data.task.definition),
                "train": data.fingerprints["train"],
                "validation": data.fingerprints["validation"],
                "lora": self.config.lora.model_dump(),
                "training": training.identity(),
                **self.templates(side),
            }

        def work() -> None:
            self.fine_tune(side, data, training, out, f"fine-tune {run} on {name}")

        title = f"floor {name}" if run == "floor" else f"finetune {run}/{name}"
        return Stage(title, inputs, (out,), work, data=data, epochs=training.epochs, side=side)

    def fine_tune(
        self,
        side: Side,
        data: TaskData,
        settings: TrainingSettings,
        out: Path,
        description: str,
        *,
        start_from: Path | None = None,
    ) -> None:
        """Train an adapter on a side's base with cross-entropy: a fresh one, or one that is there already."""
        from muscle.training.finetune import finetune

        finetune(
            self.bases.base(side),
            data.task,
            train_examples=data.train,
            validation_examples=data.validation,
            lora=self.config.lora,
            settings=settings,
            out=out,
            start_from=start_from,
            description=description,
        )

    def align(self, data: TaskData, run: str = "compat") -> Stage:
        """Step 2 of the method: the compatibility adapter, by the method of a run."""
        name, alignment = data.task.name, self.methods[run]
        settings, out = self.config.align_training(alignment), self.adapter(run, name)
        unlabelled = data.unlabelled if alignment.unlabelled is not None else ()
        by_prompt, teachers = data.task.prompt != PLAIN, alignment.teachers_of(name)

        def inputs() -> dict[str, object]:
            return {
                **({"old_record": self.record.digest} if self.record else {}),
                **{f"{side}_base": self.fingerprints[side] for side in self.sides},
                **{f"{side}_adapter": content_of(self.adapter(side, name)) for side in self.sides},
                **{part: data.fingerprints[part] for part in ("train", "validation")},
                "alignment": alignment.identity(),
                "training": settings.identity(),
                # Left out where they are not in use: run folders from before these settings stay done.
                **({"unlabelled": data.fingerprints["unlabelled"]} if unlabelled else {}),
                **({"lora": self.config.lora.model_dump()} if alignment.start == "fresh" else {}),
                **({"teachers": [content_of(Path(path)) for path in teachers]} if teachers else {}),
                **({"task": dict(data.task.definition)} if by_prompt or alignment.unit != "tokens" else {}),
                **self.templates(*self.sides),
                **self.candidates.content(run, name),
            }

        def work() -> None:
            from muscle.training.align import align

            parts = self.candidates.learnt(run, data, unlabelled)
            align(
                self.record.of(name) if self.record else self.bases.base("old"),
                None if self.record else self.adapter("old", name),
                self.bases.base("new"),
                self.adapter("new", name),
                data.task,
                train_examples=parts["train"],
                validation_examples=parts["validation"],
                alignment=alignment,
                settings=settings,
                out=out,
                description=f"align on {name}" if run == "compat" else f"align ({run}) on {name}",
                unlabelled_examples=parts["unlabelled"],
                lora=self.config.lora,
                store=self.teachers.of_task(name) if self.teachers else None,
            )

        return Stage(
            _align_name(run, name),
            inputs,
            (out,),
            work,
            (*(f"finetune {side}/{name}" for side in self.sides), *self.candidates.needs(run, name)),
            data,
            epochs=alignment.passes(settings.epochs, unlabelled=bool(unlabelled)),
            on_options=alignment.unit != "tokens",
            every_text=alignment.every_text,
            answers=alignment.num_candidates,
            unlabelled=unlabelled,
            epochs_before=settings.epochs if alignment.labels_first else 0,
            teachers=tuple(side for side in alignment.teacher_sides if side in self.sides),
        )

    def train_control(self, data: TaskData) -> Stage:
        """The plain update's adapter, trained on for as long as aligning took: with labels alone, in the same unit."""
        name, alignment = data.task.name, self.config.alignment
        on_options, out = alignment.unit != "tokens", self.adapter("control", name)

        def inputs() -> dict[str, object]:
            # The epochs are read from what aligning left, so that this is called once that stage is done.
            return {
                "base": self.fingerprints["new"],
                "start_from": content_of(self.adapter("new", name)),
                **{part: data.fingerprints[part] for part in ("train", "validation")},
                "training": self._control_training(name).identity(),
                **({"unit": alignment.unit} if on_options else {}),
                **({"task": dict(data.task.definition)} if on_options or data.task.prompt != PLAIN else {}),
                **self.templates("new"),
                # By their tokens candidates are learnt by the method alone: its control learns the references.
                **(self.candidates.content("compat", name) if on_options else {}),
            }

        def work() -> None:
            from muscle.training.options.data import OptionData
            from muscle.training.options.train import train_on_labels

            start_from = self.adapter("new", name)
            settings, description = self._control_training(name), f"control on {name}"
            if on_options:
                parts = self.candidates.learnt("compat", data, ())
                labelled = OptionData(data.task, parts["train"], parts["validation"], answers=alignment.answers_in_use)
                base = self.bases.base("new")
                train_on_labels(base, start_from, labelled, settings=settings, out=out, description=description)
                return
            self.fine_tune("new", data, settings, out, description, start_from=start_from)

        aligned = self.align(data)
        return replace(
            aligned,
            name=f"control {name}",
            inputs=inputs,
            outputs=(out,),
            work=work,
            needs=(aligned.name,),
            epochs=aligned.labelled_epochs,
            every_text=False,
            answers=aligned.answers if on_options else 0,
            unlabelled=(),
            epochs_before=0,
            teachers=(),
        )

    def _control_training(self, task: str) -> TrainingSettings:
        """Return the control's settings: as many epochs to the end as the compatibility adapter ran.

        Where it read whole options these are epochs of the labelled items, in which as many items are seen. Stopping
        early would make it a shorter training than the one it is held against.

        Raises:
            DataError: what the compatibility adapter's training left is damaged.
        """
        path = self.adapter("compat", task) / "training.json"
        mend = f"delete {path.parent} to train it again"
        alignment = self.config.alignment
        key = "num_epochs" if alignment.unit == "tokens" and not alignment.every_text else "control_epochs"
        epochs = read_json(path, mend=mend).get(key)
        if not isinstance(epochs, int) or epochs < 1:
            raise DataError(f"{path}: damaged, expected a positive {key}, found {epochs!r}; {mend}")
        changes = {"epochs": epochs, "early_stopping_patience": None}
        return self.config.align_training().model_copy(update=changes)

    def evaluate(self, run: str, data: TaskData) -> Stage:
        """Score a run on a task's test examples."""
        name, side = data.task.name, self.scored[run]
        if self.record and run == "old":
            return self.record.evaluate(data, self.predictions(run, name))
        adapter = None if run == "base" else self.adapter(run, name)
        out = self.predictions(run, name)
        evaluation, training = self.config.evaluation, self.config.training

        def inputs() -> dict[str, object]:
            # Left out where they are not in use: run folders from before these settings stay done.
            quantization = {"quantization": training.quantization} if training.quantization else {}
            vllm = {"vllm_version": versions().get("vllm")} if evaluation.backend == "vllm" else {}
            return {
                **quantization,
                "base": self.fingerprints[side],
                "adapter": content_of(adapter) if adapter else None,
                "task": dict(data.task.definition),
                "test": data.fingerprints["test"],
                "precision": training.precision,
                "harness": versions().get("lm_eval"),
                **evaluation.scoring(),
                **vllm,
                **self.templates(side),
            }

        def work() -> None:
            size, base = evaluation.batch_size, self.bases.scorer(side)
            evaluate_to_file(base, adapter, data.task, data.test, out, name=run, batch_size=size)

        trained = {"base": (), "control": (f"control {name}",), "floor": (f"floor {name}",)}
        trained |= {each: (_align_name(each, name),) for each in self.methods}
        needs = trained.get(run, (f"finetune {run}/{name}",))
        return Stage(f"evaluate {run}/{name}", inputs, (out, out.parent / METADATA_FILE), work, needs, data, side=side)

    def report(self) -> Stage:
        """Compare the scored runs and write the report in its three forms."""

        def trained() -> dict[str, list[TrainedAdapter]]:
            runs = [run for run in self.scored if run != "base" and not (run == "old" and self.record)]
            return {task: [read_training(self._place(run, task)) for run in runs] for task in self.data}

        # Every score is there: comparing needs the memory, not the bases.
        scored, tasks = list(self.scored), list(self.data)
        notes = [*(data.leak for data in self.data.values() if data.leak), *self._recipe_notes]
        return report_stage(self.folder, scored, tasks, self.config.report, trained, self.bases.free, notes)

    def _place(self, run: str, task: str) -> AdapterPlace:
        """Return where a run's adapter is and how it was trained, once it is."""
        folder, alignment, config = self.adapter(run, task), self.methods.get(run), self.config
        if alignment is not None:
            return AdapterPlace(run, folder, "align", config.align_training(alignment), alignment)
        if run == "control":
            unit = config.alignment.unit
            stage: Literal["finetune", "labels"] = "finetune" if unit == "tokens" else "labels"
            return AdapterPlace(run, folder, stage, self._control_training(task), unit=unit)
        training = self._floor_training if run == "floor" else config.training
        return AdapterPlace(run, folder, None if task in self.given(run) else "finetune", training)


def _align_name(run: str, task: str) -> str:
    """Return the name of the stage that trains a compatibility adapter."""
    return f"align {task}" if run == "compat" else f"align {run}/{task}"
