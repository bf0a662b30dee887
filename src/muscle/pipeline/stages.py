"""The stages of an update: `update` runs them, the dry run prints them.

They are: fine-tune both task adapters, align, train the control where it is wanted, evaluate, report.

A stage is keyed by everything that its outputs depend on (settings, data, the content of the stages before),
so a second run does nothing and a changed setting redoes only what hangs on it. A run folder holds
`adapters/{old,new,compat,control}/TASK/`, `predictions/{old,new,compat,base,control}/TASK.jsonl`,
`report.{json,md,html}` and `manifest.json`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from muscle import distributed
from muscle.config.settings import TaskConfig, TrainingSettings
from muscle.config.update_file import UpdateConfig
from muscle.errors import ConfigError, DataError
from muscle.evaluation.save import evaluate_to_file
from muscle.files import read_json
from muscle.models.bases import base_fingerprint, resolve_base
from muscle.pipeline.loaded_bases import SIDES, LoadedBases, Side
from muscle.pipeline.run_folder import content_of
from muscle.pipeline.write_report import write_update_report
from muscle.predictions.run import METADATA_FILE
from muscle.provenance import versions
from muscle.tasks import TaskData, get_task, load_task_data
from muscle.tasks.task import Example, check_options


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        name: unique in the update, such as "align piqa".
        inputs: returns everything that the outputs depend on, once the stages that it needs are done.
        outputs: the files and folders that the work writes.
        work: does it; None where the output is a given adapter.
        needs: names of the stages whose outputs it reads.
        data: whose examples it reads; None for the report.
        epochs: of a training, at most; None for scoring.
        on_options: it reads every option of its examples.
        unlabelled: examples without labels that it reads beside them.
        epochs_before: of the labelled examples alone, in a training that it begins with.
    """

    name: str
    inputs: Callable[[], dict[str, object]]
    outputs: tuple[Path, ...]
    work: Callable[[], object] | None
    needs: tuple[str, ...] = ()
    data: TaskData | None = None
    epochs: int | None = None
    on_options: bool = False
    unlabelled: tuple[Example, ...] = ()
    epochs_before: int = 0


class UpdateStages:
    """The stages of one update, and what they share: the data, the bases and the run folder's places.

    Args:
        config: the update.
    """

    def __init__(self, config: UpdateConfig) -> None:
        self.config = config
        self.folder = Path(config.output)
        self.bases = LoadedBases(config, self._scored_adapters)

    def all(self) -> list[Stage]:
        """Return the stages in their order: all training first, then the scoring, for which each base is loaded once.

        Raises:
            MuscleError: a task, its data or a base is missing or wrong.
        """
        stages: list[Stage] = []
        for data in self.data.values():
            stages += [self.finetune("old", data), self.finetune("new", data), self.align(data)]
            if self.config.trains_control:
                stages.append(self.train_control(data))
        for side in SIDES:
            for data in self.data.values():
                stages += [self.evaluate(run, data) for run, base in self.scored.items() if base == side]
        return [*stages, self.report()]

    # What the stages share

    @cached_property
    def data(self) -> dict[str, TaskData]:
        """Each task's examples by its name."""
        names = [get_task(entry.task).name for entry in self.config.tasks]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise ConfigError(f"tasks.{index}: a second task named {name!r}; expected each name once")
        for side in SIDES:
            for name in self.bases.settings(side).adapters:
                if name not in names:
                    raise ConfigError(f"{side}.adapters.{name}: expected one of the tasks {sorted(names)}")
        for key in ("unlabelled", "teachers"):
            by_task = getattr(self.config.alignment, key)
            for name in by_task if isinstance(by_task, Mapping) else ():
                if name not in names:
                    raise ConfigError(f"alignment.{key}.{name}: expected one of the tasks {sorted(names)}")
        loaded = [_load_task(entry, self.config) for entry in self.config.tasks]
        if self.config.alignment.unit == "options":
            for data in loaded:
                check_options(data.task)
        return dict(zip(names, loaded, strict=True))

    @cached_property
    def fingerprints(self) -> dict[Side, str]:
        """A fingerprint of each base's files."""
        return {side: base_fingerprint(resolve_base(self.bases.settings(side))) for side in SIDES}

    @cached_property
    def scored(self) -> dict[str, Side]:
        """Which runs are scored, and the base of each."""
        runs: dict[str, Side] = {"old": "old", "new": "new", "compat": "new"}
        if self.config.evaluation.bare_base:
            runs["base"] = "new"
        if self.config.trains_control:
            runs["control"] = "new"
        return runs

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

    # The stages

    def finetune(self, side: Side, data: TaskData) -> Stage:
        """Step 1 of the method on one base; nothing to do where an adapter is given."""
        name = data.task.name
        out = self.adapter(side, name)

        def inputs() -> dict[str, object]:
            return {
                "base": self.fingerprints[side],
                "task": dict(data.task.definition),
                "train": data.fingerprints["train"],
                "validation": data.fingerprints["validation"],
                "lora": self.config.lora.model_dump(),
                "training": self.config.training.identity(),
            }

        def work() -> None:
            from muscle.training.finetune import finetune

            finetune(
                self.bases.base(side),
                data.task,
                train_examples=data.train,
                validation_examples=data.validation,
                lora=self.config.lora,
                settings=self.config.training,
                out=out,
                description=f"fine-tune {side} on {name}",
            )

        return Stage(
            f"finetune {side}/{name}",
            inputs,
            (out,),
            None if name in self.given(side) else work,
            data=data,
            epochs=self.config.training.epochs,
        )

    def align(self, data: TaskData) -> Stage:
        """Step 2 of the method: the compatibility adapter."""
        name = data.task.name
        settings, alignment = self.config.align_training(), self.config.alignment
        teachers = [Path(path) for path in alignment.teachers_of(name)]
        out = self.adapter("compat", name)

        def inputs() -> dict[str, object]:
            return {
                "old_base": self.fingerprints["old"],
                "new_base": self.fingerprints["new"],
                "old_adapter": content_of(self.adapter("old", name)),
                "new_adapter": content_of(self.adapter("new", name)),
                "train": data.fingerprints["train"],
                "validation": data.fingerprints["validation"],
                "alignment": alignment.identity(),
                "training": settings.identity(),
                # Left out where they are not in use: run folders from before these settings stay done.
                **({"unlabelled": data.fingerprints["unlabelled"]} if data.unlabelled else {}),
                **({"lora": self.config.lora.model_dump()} if alignment.start == "fresh" else {}),
                **({"teachers": [content_of(path) for path in teachers]} if teachers else {}),
                **({"task": dict(data.task.definition)} if alignment.unit == "options" else {}),
            }

        def work() -> None:
            from muscle.training.align import align

            align(
                self.bases.base("old"),
                self.adapter("old", name),
                self.bases.base("new"),
                self.adapter("new", name),
                data.task,
                train_examples=data.train,
                validation_examples=data.validation,
                alignment=alignment,
                settings=settings,
                out=out,
                description=f"align on {name}",
                unlabelled_examples=data.unlabelled,
                lora=self.config.lora,
            )

        needs = (f"finetune old/{name}", f"finetune new/{name}")
        return Stage(
            f"align {name}",
            inputs,
            (out,),
            work,
            needs,
            data,
            epochs=self._align_epochs(data),
            on_options=alignment.unit == "options",
            unlabelled=data.unlabelled,
            epochs_before=settings.epochs if alignment.labels_first else 0,
        )

    def _align_epochs(self, data: TaskData) -> int:
        """Return how often aligning reads its items, at most."""
        alignment, epochs = self.config.alignment, self.config.align_training().epochs
        match alignment.target:
            case "interpolation":
                return 0
            case "twins":
                return 4 * epochs  # two bootstraps, which both twins read
            case _:
                return (alignment.unlabelled_epochs if data.unlabelled else None) or epochs

    def train_control(self, data: TaskData) -> Stage:
        """The plain update's adapter, trained on for as long as aligning took: with labels alone, in the same unit."""
        name, on_options = data.task.name, self.config.alignment.unit == "options"
        out = self.adapter("control", name)

        def inputs() -> dict[str, object]:
            # The epochs are read from what aligning left, so that this is called once that stage is done.
            return {
                "base": self.fingerprints["new"],
                "start_from": content_of(self.adapter("new", name)),
                "train": data.fingerprints["train"],
                "validation": data.fingerprints["validation"],
                "training": self._control_training(name).identity(),
                **({"unit": "options", "task": dict(data.task.definition)} if on_options else {}),
            }

        def work() -> None:
            from muscle.training.finetune import finetune
            from muscle.training.options.teach import OptionData
            from muscle.training.options.train import train_on_labels

            base, start_from = self.bases.base("new"), self.adapter("new", name)
            settings, description = self._control_training(name), f"train on (control) on {name}"
            if on_options:
                labelled = OptionData(data.task, data.train, data.validation)
                train_on_labels(base, start_from, labelled, settings=settings, out=out, description=description)
                return
            finetune(
                base,
                data.task,
                train_examples=data.train,
                validation_examples=data.validation,
                lora=self.config.lora,
                settings=settings,
                out=out,
                start_from=start_from,
                description=description,
            )

        aligned = self.align(data)
        epochs = aligned.epochs or 0
        if on_options:
            epochs = -(-epochs * (len(data.train) + len(data.unlabelled)) // len(data.train)) + aligned.epochs_before
        return Stage(
            f"control {name}", inputs, (out,), work, (aligned.name,), data, epochs=epochs, on_options=on_options
        )

    def _control_training(self, task: str) -> TrainingSettings:
        """Return the control's settings: as many epochs to the end as the compatibility adapter ran.

        At option level these are epochs of the labelled items, in which as many items are seen. Stopping early would
        make it a shorter training than the one it is held against.

        Raises:
            DataError: what the compatibility adapter's training left is damaged.
        """
        path = self.adapter("compat", task) / "training.json"
        mend = f"delete {path.parent} to train it again"
        key = "control_epochs" if self.config.alignment.unit == "options" else "num_epochs"
        epochs = read_json(path, mend=mend).get(key)
        if not isinstance(epochs, int) or epochs < 1:
            raise DataError(f"{path}: damaged, expected a positive {key}, found {epochs!r}; {mend}")
        changes = {"epochs": epochs, "early_stopping_patience": None}
        return self.config.align_training().model_copy(update=changes)

    def evaluate(self, run: str, data: TaskData) -> Stage:
        """Score a run on a task's test examples."""
        name, side = data.task.name, self.scored[run]
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
            }

        def work() -> None:
            size, base = evaluation.batch_size, self.bases.scorer(side)
            evaluate_to_file(base, adapter, data.task, data.test, out, name=run, batch_size=size)

        trained = {"base": (), "compat": (f"align {name}",), "control": (f"control {name}",)}
        needs = trained.get(run, (f"finetune {run}/{name}",))
        return Stage(f"evaluate {run}/{name}", inputs, (out, out.parent / METADATA_FILE), work, needs, data)

    def report(self) -> Stage:
        """Compare the scored runs and write the report in its three forms."""
        runs = {run: self.folder / "predictions" / run for run in self.scored}

        def inputs() -> dict[str, object]:
            files = {f"{run}/{task}": self.predictions(run, task) for run in runs for task in self.data}
            return {
                "predictions": {name: content_of(path) for name, path in files.items()},
                "facts": {run: content_of(folder / METADATA_FILE) for run, folder in runs.items()},
                "report": self.config.report.identity(),
                # Another version may say more of the same predictions.
                "muscle": versions()["muscle-llm"],
            }

        def work() -> None:
            self.bases.free()  # every score is there; comparing needs the memory, not the bases
            distributed.from_main(partial(write_update_report, runs, self.config.report, self.folder))

        needs = tuple(f"evaluate {run}/{task}" for run in runs for task in self.data)
        outputs = tuple(self.folder / f"report.{form}" for form in ("json", "md", "html"))
        return Stage("report", inputs, outputs, work, needs)


def _load_task(entry: TaskConfig, config: UpdateConfig) -> TaskData:
    task, training = get_task(entry.task), config.training
    return load_task_data(
        task,
        train=task.source("train", entry.train),
        test=task.source("test", entry.test),
        train_limit=entry.train_limit,
        test_limit=entry.test_limit,
        validation_fraction=training.validation_fraction,
        seed=training.seed,
        unlabelled=config.alignment.unlabelled_of(task.name),
    )
