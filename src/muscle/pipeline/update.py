"""The pipeline of one update, top to bottom: fine-tune, align, evaluate, compare, report.

Every stage is keyed by a fingerprint of what it depends on (settings, data, the content of the stages before), so a second
run does nothing and a changed setting redoes only what hangs on it. A run folder holds
`adapters/{old,new,compat,control}/TASK/`, `predictions/{old,new,compat,base,control}/TASK.jsonl`, `report.{json,md,html}` and `manifest.json`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from muscle import distributed
from muscle.config.settings import BaseConfig, TaskConfig, TrainingSettings, UpdateConfig
from muscle.errors import ConfigError, DataError
from muscle.evaluation.save import RUN_FILE, save_run
from muscle.files import read_json
from muscle.flips.result.report import Report
from muscle.limits import memory_for
from muscle.models.adapter_check import check_adapter
from muscle.models.adapters import load_adapter
from muscle.models.bases import (
    LoadedBase,
    base_fingerprint,
    check_same_vocabulary,
    free_memory,
    load_for_training,
    resolve_base,
)
from muscle.pipeline.run_folder import RunFolder, content_of
from muscle.provenance import versions
from muscle.report import read_report, write_reports
from muscle.report.without_texts import without_texts
from muscle.tasks import Example, Task, TaskData, get_task, load_task_data

if TYPE_CHECKING:
    from muscle.evaluation.sampling import Sampling
    from muscle.evaluation.vllm_base import VllmBase

logger = logging.getLogger(__name__)

Side = Literal["old", "new"]
SIDES: tuple[Side, ...] = ("old", "new")
OTHERS = {"base": "new base without adapter", "control": "new adapter trained on (no old model)"}
"""Further runs beside old, new and compat: folder name to the name in the report."""


@dataclass(frozen=True)
class UpdateResult:
    """What an update left behind.

    Attributes:
        folder: the run folder.
        report: old against new and against the compatibility adapter, as in `report.json`.
        num_stages_run: stages that ran this time; 0 when everything was done before.
    """

    folder: Path
    report: Report
    num_stages_run: int


def update(config: UpdateConfig) -> UpdateResult:
    """Run all stages of an update that are not done yet.

    Args:
        config: from `load_config`, or built in Python.

    Returns:
        The run folder and the report.

    Raises:
        MuscleError: an input is wrong; what is done so far is kept, and the next call goes on there.
    """
    pipeline = Pipeline(config)
    with pipeline.run.locked():
        pipeline.check()
        for data in pipeline.data.values():
            pipeline.finetune("old", data)
            pipeline.finetune("new", data)
            pipeline.align(data)
            if config.evaluation.control:
                pipeline.train_control(data)
        try:
            for side in SIDES:
                for data in pipeline.data.values():
                    pipeline.evaluate(data, side)
        finally:
            pipeline.free_bases()
        report = pipeline.report()
    return UpdateResult(pipeline.run.path, report, pipeline.run.num_run)


class Pipeline:
    """The stages of an update, each a method; they share the run folder, the data and the loaded bases.

    Args:
        config: the update.
    """

    def __init__(self, config: UpdateConfig) -> None:
        self.config = config
        self.run = RunFolder(Path(config.output))
        self._bases: dict[Side, LoadedBase] = {}
        self._engines: dict[Side, VllmBase] = {}

    # What the stages share

    @cached_property
    def data(self) -> dict[str, TaskData]:
        """Each task's examples by its name."""
        names = [get_task(entry.task).name for entry in self.config.tasks]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise ConfigError(f"tasks.{index}: a second task named {name!r}; expected each name once")
        for side in SIDES:
            for name in self.base_config(side).adapters:
                if name not in names:
                    raise ConfigError(f"{side}.adapters.{name}: expected one of the tasks {sorted(names)}")
        loaded = (load_update_task(entry, self.config.training) for entry in self.config.tasks)
        return dict(zip(names, loaded, strict=True))

    @cached_property
    def fingerprints(self) -> dict[Side, str]:
        """A fingerprint of each base's files."""
        return {side: base_fingerprint(resolve_base(self.base_config(side))) for side in SIDES}

    def base_config(self, side: Side) -> BaseConfig:
        """Return what the configuration says of a side."""
        return self.config.old if side == "old" else self.config.new

    def base(self, side: Side) -> LoadedBase:
        """Load a base on first use, and again where a training has sharded it."""
        if side not in self._bases or not self._bases[side].is_whole:
            self._bases.pop(side, None)
            logger.info("loading the %s base %s", side, self.base_config(side).base)
            self._bases[side] = load_for_training(self.base_config(side), self.config.training)
        return self._bases[side]

    def free_bases(self) -> None:
        """Let go of the loaded bases, and of vLLM's engine."""
        self._bases.clear()
        for engine in self._engines.values():
            engine.close()
        self._engines.clear()

    def scorer(self, side: Side) -> LoadedBase | VllmBase:
        """Return what scores a side's adapters: the loaded base, or an engine of vLLM, of which there is one at a time."""
        if self.config.evaluation.backend == "hf":
            return self.base(side)
        if side not in self._engines:
            from muscle.evaluation.vllm_base import VllmBase

            self.free_bases()
            free_memory()
            self._engines[side] = VllmBase(
                self.base_config(side),
                [self.adapter(run, task) for run, task in self.scored_runs(side) if run != "base"],
                precision=self.config.training.precision,
                arguments=self.config.evaluation.vllm,
            )
        return self._engines[side]

    def scored_runs(self, side: Side) -> list[tuple[str, str]]:
        """Return runs and tasks that are scored on a side's base."""
        return [(run, task) for run, base in self.evaluated().items() if base == side for task in self.data]

    def adapter(self, side: str, task: str) -> Path:
        """Return an adapter's folder: a given one, or the run's own."""
        given = {"old": self.config.old, "new": self.config.new}.get(side, BaseConfig(base="")).adapters.get(
            task
        )
        return Path(given) if given else self.run.path / "adapters" / side / task

    def predictions(self, name: str, task: str) -> Path:
        """Return the file of a run's records on a task."""
        return self.run.path / "predictions" / name / f"{task}.jsonl"

    # The stages

    def check(self) -> None:
        """Find what is wrong with the inputs before hours of training are spent."""
        _ = self.data, self.fingerprints
        if self.config.evaluation.backend == "vllm":
            self._check_vllm()
        if all(content_of(self.adapter("compat", name)) for name in self.data):
            return  # was checked when it was trained; a run that has nothing to do loads no model
        for side in SIDES:
            for path in self.base_config(side).adapters.values():
                check_adapter(self.base(side), Path(path))
        check_same_vocabulary(self.base("old"), self.base("new"))

    def _check_vllm(self) -> None:
        from muscle.evaluation.vllm_base import check_vllm

        done = [
            self.run.is_done(
                f"evaluate {run}/{task}",
                self.evaluate_inputs(run, side, self.data[task]),
            )
            for side in SIDES
            for run, task in self.scored_runs(side)
        ]
        if all(done):
            return
        check_vllm(map(self.base_config, SIDES), (data.task for data in self.data.values()))
        if distributed.num_processes() > 1:
            logger.warning(
                "evaluation.backend vllm scores in one process: these %d train, then this command stops; run it again "
                "without the launcher to score",
                distributed.num_processes(),
            )

    def finetune_inputs(self, side: Side, data: TaskData) -> dict[str, Any]:
        """Return what a task adapter depends on."""
        return {
            "base": self.fingerprints[side],
            "task": dict(data.task.definition),
            "train": data.fingerprints["train"],
            "validation": data.fingerprints["validation"],
            "lora": self.config.lora.model_dump(),
            "training": self.config.training.identity(),
        }

    def finetune(self, side: Side, data: TaskData) -> None:
        """Step 1 of the method on one base; nothing to do where an adapter is given."""
        from muscle.training.finetune import finetune

        name = data.task.name
        out = self.adapter(side, name)
        if name in self.base_config(side).adapters:
            return
        self.run.stage(
            f"finetune {side}/{name}",
            self.finetune_inputs(side, data),
            [out],
            lambda: finetune(
                self.base(side),
                data.task,
                train_examples=data.train,
                validation_examples=data.validation,
                lora=self.config.lora,
                settings=self.config.training,
                out=out,
                description=f"fine-tune {side} on {name}",
            ),
        )

    def align_inputs(self, data: TaskData) -> dict[str, Any]:
        """Return what a compatibility adapter depends on."""
        name = data.task.name
        return {
            "old_base": self.fingerprints["old"],
            "new_base": self.fingerprints["new"],
            "old_adapter": content_of(self.adapter("old", name)),
            "new_adapter": content_of(self.adapter("new", name)),
            "train": data.fingerprints["train"],
            "validation": data.fingerprints["validation"],
            "alignment": self.config.alignment.identity(),
            "training": self.config.align_training().identity(),
        }

    def align(self, data: TaskData) -> None:
        """Step 2 of the method: the compatibility adapter."""
        from muscle.training.align import align

        name = data.task.name
        out = self.adapter("compat", name)
        self.run.stage(
            f"align {name}",
            self.align_inputs(data),
            [out],
            lambda: align(
                self.base("old"),
                self.adapter("old", name),
                self.base("new"),
                self.adapter("new", name),
                data.task,
                train_examples=data.train,
                validation_examples=data.validation,
                alignment=self.config.alignment,
                settings=self.config.align_training(),
                out=out,
                description=f"align on {name}",
            ),
        )

    def control_training(self, task: str) -> TrainingSettings:
        """Return the control's settings: as many epochs to the end as the compatibility adapter ran.

        Stopping early would make it a shorter training than the one it is held against.

        Raises:
            DataError: what the compatibility adapter's training left is damaged.
        """
        path = self.adapter("compat", task) / "training.json"
        mend = f"delete {path.parent} to train it again"
        epochs = read_json(path, mend=mend).get("num_epochs")
        if not isinstance(epochs, int) or epochs < 1:
            raise DataError(f"{path}: damaged, expected a positive num_epochs, found {epochs!r}; {mend}")
        return self.config.align_training().model_copy(
            update={"epochs": epochs, "early_stopping_patience": None}
        )

    def control_inputs(self, data: TaskData) -> dict[str, Any]:
        """Return what the control depends on."""
        name = data.task.name
        return {
            "base": self.fingerprints["new"],
            "start_from": content_of(self.adapter("new", name)),
            "train": data.fingerprints["train"],
            "validation": data.fingerprints["validation"],
            "training": self.control_training(name).identity(),
        }

    def train_control(self, data: TaskData) -> None:
        """The plain update's adapter trained on with cross-entropy for as many epochs as the compatibility adapter ran."""
        from muscle.training.finetune import finetune

        name = data.task.name
        out = self.adapter("control", name)
        settings = self.control_training(name)
        self.run.stage(
            f"control {name}",
            self.control_inputs(data),
            [out],
            lambda: finetune(
                self.base("new"),
                data.task,
                train_examples=data.train,
                validation_examples=data.validation,
                lora=self.config.lora,
                settings=settings,
                out=out,
                start_from=self.adapter("new", name),
                description=f"train on (control) on {name}",
            ),
        )

    def evaluated(self) -> dict[str, Side]:
        """Which runs are scored, and the base of each."""
        runs: dict[str, Side] = {"old": "old", "new": "new", "compat": "new"}
        if self.config.evaluation.bare_base:
            runs["base"] = "new"
        if self.config.evaluation.control:
            runs["control"] = "new"
        return runs

    def evaluate(self, data: TaskData, side: Side) -> None:
        """Score every run of a side on the task's test examples; each base is loaded once for all its adapters."""
        for run in (run for run, base in self.evaluated().items() if base == side):
            out = self.predictions(run, data.task.name)
            self.run.stage(
                f"evaluate {run}/{data.task.name}",
                self.evaluate_inputs(run, side, data),
                [out, out.parent / RUN_FILE],
                self._evaluation(run, side, data, out),
            )

    def evaluate_inputs(self, run: str, side: Side, data: TaskData) -> dict[str, Any]:
        """Return what a run's predictions depend on."""
        adapter = None if run == "base" else content_of(self.adapter(run, data.task.name))
        quantization = self.config.training.quantization
        vllm = {"vllm_version": versions().get("vllm")} if self.config.evaluation.backend == "vllm" else {}
        return {
            **({"quantization": quantization} if quantization else {}),
            "base": self.fingerprints[side],
            "adapter": adapter,
            "task": dict(data.task.definition),
            "test": data.fingerprints["test"],
            "precision": self.config.training.precision,
            "harness": versions().get("lm_eval"),
            **self.config.evaluation.scoring(),
            **vllm,
        }

    def _evaluation(self, run: str, side: Side, data: TaskData, out: Path) -> Callable[[], None]:
        def work() -> None:
            base = self.scorer(side)
            adapter = None if run == "base" else self.adapter(run, data.task.name)
            size = self.config.evaluation.batch_size
            evaluate_to_file(base, adapter, data.task, data.test, out, name=run, batch_size=size)

        return work

    def report(self) -> Report:
        """Compare the scored runs, write the report in its three forms, and return it."""
        out = self.run.path / "report.json"
        runs = {run: self.run.path / "predictions" / run for run in self.evaluated()}
        inputs = {
            "predictions": {
                f"{run}/{task}": content_of(self.predictions(run, task)) for run in runs for task in self.data
            },
            "facts": {run: content_of(folder / RUN_FILE) for run, folder in runs.items()},
            "report": self.config.report.identity(),
            "muscle": versions()["muscle-llm"],
        }
        self.run.stage(
            "report",
            inputs,
            [out.with_suffix(suffix) for suffix in (".json", ".md", ".html")],
            lambda: distributed.from_main(lambda: self._write_report(runs)),
        )
        return read_report(out)[0]

    def _write_report(self, runs: dict[str, Path]) -> None:
        from muscle.comparison import compare
        from muscle.flips.options import CompareOptions

        comparison = compare(
            runs["old"],
            runs["new"],
            candidate=runs["compat"],
            others={OTHERS[run]: path for run, path in runs.items() if run in OTHERS},
            options=CompareOptions(max_flips=self.config.report.max_flips),
        )
        # Where the runs stand within the folder: results are passed on.
        places = {"old": "old", "new": "new", "candidate": "compat"}
        sources = {
            role: {**facts, "source": f"predictions/{places[role]}"}
            for role, facts in comparison.report.sources.items()
        }
        report = replace(comparison.report, sources=sources, title=self.config.report.title)
        write_reports(report if self.config.report.texts else without_texts(report), self.run.path)


def load_update_task(entry: TaskConfig, training: TrainingSettings) -> TaskData:
    """Load the data of one task of an update."""
    task = get_task(entry.task)
    return load_task_data(
        task,
        train=task.source("train", entry.train),
        test=task.source("test", entry.test),
        train_limit=entry.train_limit,
        test_limit=entry.test_limit,
        validation_fraction=training.validation_fraction,
        seed=training.seed,
    )


def evaluate_to_file(
    base: LoadedBase | VllmBase,
    adapter: Path | None,
    task: Task,
    examples: Sequence[Example],
    out: Path,
    *,
    name: str,
    batch_size: int,
    sampling: Sampling | None = None,
) -> None:
    """Score a base with an adapter (or bare) on examples; write records and `run.json` beside them.

    Args:
        base: in memory, or in vLLM, which was given the adapter when it started.
        adapter: a PEFT folder; None is the bare base.
        task: what is asked and how it is scored.
        examples: the items.
        out: the file of the records.
        name: the run's name.
        batch_size: options or prompts a forward pass; vLLM makes its batches itself.
        sampling: see `muscle.evaluation.harness.evaluate`.

    Raises:
        ModelError: the adapter doesn't fit.
        OutputError: the records cannot be written.
    """
    from muscle.evaluation.parallel import evaluate_in_shares

    if isinstance(base, LoadedBase):
        model = load_adapter(base, adapter) if adapter else base.model
        with memory_for(
            f"scoring {name} on {task.name}", advice=f"set a smaller batch size than {batch_size}"
        ):
            run = evaluate_in_shares(
                model, base.tokenizer, task, examples, batch_size=batch_size, name=name, sampling=sampling
            )
    else:
        run = base.evaluate(adapter, task, examples, name=name, sampling=sampling)
    # No absolute path: results are passed on.
    facts = {
        "model": {**run.metadata["model"], "name": base.source},
        "base_fingerprint": base.fingerprint,
        "adapter": os.path.relpath(adapter, out.parent) if adapter else None,
    }
    distributed.from_main(lambda: save_run(run, out, facts=facts))
