"""A whole `update.yaml`: read, checked, and its paths made absolute.

Paths in the YAML are relative to the YAML file, so that a configuration works from any folder.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, ValidationError, field_validator, model_validator

from muscle.config.alignment import AlignmentSettings
from muscle.config.prompt import PromptSettings
from muscle.config.section import Section
from muscle.config.settings import (
    BaseConfig,
    EvaluationSettings,
    LoraSettings,
    ReportSettings,
    TaskConfig,
    TrainingSettings,
)
from muscle.config.sweep_settings import SweepSettings
from muscle.errors import ConfigError
from muscle.foreign_text import outline
from muscle.yaml_files import UserYaml, explain, read_yaml

_MISSING = "there is no such file; `muscle init` writes a commented one"


class StageSettings(Section):
    """Settings of the single steps `muscle finetune`, `align` and `evaluate`; other sections of a file are left alone.

    Attributes:
        lora: rank and scale of the adapters.
        training: how an adapter is trained.
        alignment: the compatibility adapter's loss, and what differs in its training.
        prompt: how examples are put to the models.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    lora: LoraSettings = LoraSettings()
    training: TrainingSettings = TrainingSettings()
    alignment: AlignmentSettings = AlignmentSettings()
    prompt: PromptSettings = PromptSettings()

    @model_validator(mode="after")
    def _possible(self) -> StageSettings:
        self.align_training()
        return self

    def align_training(self, alignment: AlignmentSettings | None = None, *, key: str = "alignment") -> TrainingSettings:
        """Return the training settings of a compatibility adapter: `training` with `alignment.training` over it.

        Args:
            alignment: another than this configuration's own.
            key: where that stands, for messages.

        Raises:
            ValueError: a key that `training` doesn't have, a value of the wrong kind, or one that the method rules out.
        """
        alignment = alignment or self.alignment
        try:
            # What is not set stays so: `warmup_steps` is another by default where the training is short.
            own = self.training.model_dump(exclude_unset=True)
            found = TrainingSettings.model_validate(own | dict(alignment.training))
        except ValidationError as error:
            raise ValueError(explain(error, TrainingSettings, f"{key}.training.")) from error
        if alignment.target == "twins" and found.gradient_checkpointing:
            raise ValueError(
                f"{key}.target: twins shows one half of an adapter at a time, which activations that are computed "
                "again would mix up; expected gradient_checkpointing false"
            )
        return found


class UpdateConfig(StageSettings):
    """A whole update: two bases, the tasks, and every setting of the stages.

    Attributes:
        old: the base that is in use, and adapters that exist already.
        new: the base that replaces it.
        tasks: at least one.
        output: the run folder.
        evaluation: what is scored, and by what.
        report: what the report holds.
        sweep: the variants that `muscle sweep` holds against each other.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    old: BaseConfig
    new: BaseConfig
    tasks: Annotated[list[TaskConfig], Field(min_length=1)]
    output: str = "runs/update"
    evaluation: EvaluationSettings = EvaluationSettings()
    report: ReportSettings = ReportSettings()
    sweep: SweepSettings = SweepSettings()

    @property
    def trains_control(self) -> bool:
        """Whether there is a control: where nothing is trained it would be the plain update itself."""
        return self.evaluation.control and self.alignment.unit != "weights"

    @field_validator("old", "new", mode="before")
    @classmethod
    def _short_form(cls, value: object) -> object:
        return {"base": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _consistent(self) -> UpdateConfig:
        if isinstance(self.alignment.unlabelled, str) and len(self.tasks) > 1:
            raise ValueError(
                f"alignment.unlabelled: expected a file for each task, as {{TASK: FILE}}, for {len(self.tasks)} tasks; "
                f"found {outline(self.alignment.unlabelled)}"
            )
        self._refuse_shared_teachers(self.alignment, "alignment")
        self._check_record()
        for index, entry in enumerate(self.tasks):
            if entry.train is not None and entry.train == entry.test:
                raise ValueError(
                    f"tasks.{index}: train and test are the same data, {entry.test!r}; expected test data of its own"
                )
        for name, alignment in self.evaluation.beside.items():
            key = f"evaluation.beside.{name}"
            self.align_training(alignment, key=key)
            self._refuse_shared_teachers(alignment, key)
            if alignment.unlabelled not in (None, self.alignment.unlabelled):
                raise ValueError(f"{key}.unlabelled: expected the files of alignment.unlabelled, or none")
        if self.prompt.in_chat and self.evaluation.backend == "vllm":
            raise ValueError("evaluation.backend: vllm does not score in a chat template here; expected hf")
        if self.evaluation.backend == "vllm" and self.training.quantization is not None:
            raise ValueError(
                "evaluation.backend: vllm would score adapters on other weights than those of training.quantization "
                f"{self.training.quantization}; expected hf"
            )
        return self

    def _check_record(self) -> None:
        """Refuse what takes the weights of an old model that is a record."""
        third = self.sweep.third
        for key, side in (("new", self.new), ("sweep.third", third)):
            if side is not None and side.record:
                raise ValueError(f"{key}.record: only the old model can be a record; expected a base")
        if not self.old.record:
            return
        if self.evaluation.floor:
            raise ValueError(
                "evaluation.floor: trains the old recipe again, of which a record knows nothing; expected false: the "
                "floor of a record comes from its repeats"
            )
        named = {"alignment": self.alignment} if self.alignment.names_a_method else {}
        for key, method in {
            **named,
            **{f"evaluation.beside.{name}": each for name, each in self.evaluation.beside.items()},
        }.items():
            if method.unit not in ("options", "answers") or method.start == "old":
                wrong = "start" if method.start == "old" else "method"
                raise ValueError(
                    f"{key}.{wrong}: {getattr(method, wrong)} needs the old model's weights, of which old.record has "
                    "none; expected method options (tasks with options) or answers, and a start of the new side"
                )

    def _refuse_shared_teachers(self, alignment: AlignmentSettings, key: str) -> None:
        """An adapter is one of a task."""
        if isinstance(alignment.teachers, list) and len(self.tasks) > 1:
            raise ValueError(
                f"{key}.teachers: expected a list for each task, as {{TASK: [FOLDER, ...]}}, for {len(self.tasks)} "
                f"tasks; found {outline(alignment.teachers)}"
            )


def load_config(path: str | Path, *, overrides: Mapping[str, object] | None = None) -> UpdateConfig:
    """Read and validate an update's YAML.

    Args:
        path: the YAML file; relative paths in it are taken from its folder.
        overrides: dotted keys to values that replace those in the file.

    Returns:
        The configuration, with local paths made absolute.

    Raises:
        ConfigError: the file is missing or no YAML, a key is unknown, a value is of the wrong type, or a combination is
            impossible; the message names the key's path, what was expected and what was found.
    """
    written = read_yaml(path, missing=_MISSING)
    for dotted, value in (overrides or {}).items():
        written.assign(dotted, value)
    return _with_whole_paths(written.validate(UpdateConfig), written, Path(path).resolve().parent)


def load_stage_settings(path: Path | None, *, overrides: Mapping[str, object] | None = None) -> StageSettings:
    """Read the sections of `StageSettings` out of a YAML file; the defaults without one.

    Raises:
        ConfigError: see `load_config`.
    """
    written = read_yaml(path, missing=_MISSING) if path else UserYaml("settings", {})
    for dotted, value in (overrides or {}).items():
        section = dotted.partition(".")[0]
        if section not in StageSettings.model_fields:
            raise ConfigError(f"{dotted}: expected a key of {', '.join(StageSettings.model_fields)}")
        written.assign(dotted, value)
    settings = written.validate(StageSettings)
    places = _Places(written, path.resolve().parent if path else Path.cwd())
    return settings.model_copy(update={"alignment": places.alignment(settings.alignment, "alignment")})


class _Places:
    """Makes paths of a YAML absolute.

    Args:
        written: the YAML, for messages.
        folder: what its paths are relative to.
    """

    def __init__(self, written: UserYaml, folder: Path) -> None:
        self._written, self._folder = written, folder

    def path(self, text: str, *keys: str | int) -> str:
        """Return an absolute path."""
        try:
            whole = os.path.normpath(self._folder / Path(text).expanduser())
        except RuntimeError as error:  # the home of a user that is not there
            raise ConfigError(f"{self._written.at(*keys)}: expected a path, found {outline(text)}: {error}") from error
        if "\0" in whole:
            raise ConfigError(f"{self._written.at(*keys)}: expected a path, found {outline(text)}: a null character")
        return whole

    def local(self, text: str, *keys: str | int) -> str:
        """Return an absolute path where something is there; else the text as it is."""
        try:
            return self.path(text, *keys) if (self._folder / text).exists() else text
        except OSError:  # too long for a path
            return text

    def data(self, text: str | None, *keys: str | int) -> str | None:
        """Return a source of rows, with an absolute path where it is a file."""
        return text if text is None or text.startswith("hub:") else self.path(text, *keys)

    def side(self, name: str, section: BaseConfig) -> BaseConfig:
        """Return a base with absolute paths."""
        if section.record:
            return section.with_records([self.path(text, name, "record") for text in section.record])
        adapters = {task: self.path(path, name, "adapters", task) for task, path in section.adapters.items()}
        # What exists here is a path; what starts like one but isn't there stays one too, so that the refusal names it.
        looks_local = section.base.startswith((".", "/", "~")) or section.base.endswith(".gguf")
        find = self.path if looks_local else self.local
        return section.located(find(section.base, name, "base"), adapters)

    def task(self, number: int, entry: TaskConfig) -> TaskConfig:
        """Return a task with absolute paths."""
        keys = ("tasks", number)
        changes = {
            "task": self.local(entry.task, *keys, "task"),
            "train": self.data(entry.train, *keys, "train"),
            "test": self.data(entry.test, *keys, "test"),
        }
        return entry.model_copy(update=changes)

    def alignment(self, section: AlignmentSettings, *keys: str) -> AlignmentSettings:
        """Return an alignment with absolute paths."""
        given, key = section.unlabelled, (*keys, "unlabelled")
        found: object = (
            {task: self.data(text, *key, task) for task, text in given.items()}
            if isinstance(given, Mapping)
            else self.data(given, *key)
        )
        teachers = self._teachers(section.teachers, *keys, "teachers")
        return section.model_copy(update={"unlabelled": found, "teachers": teachers})

    def evaluation(self, section: EvaluationSettings) -> EvaluationSettings:
        """Return the evaluation with absolute paths."""
        beside = {name: self.alignment(each, "evaluation", "beside", name) for name, each in section.beside.items()}
        return section.model_copy(update={"beside": beside})

    def _teachers(self, given: list[str] | Mapping[str, list[str]] | None, *key: str) -> object:
        if isinstance(given, Mapping):
            return {
                task: [self.path(text, *key, task, number) for number, text in enumerate(folders)]
                for task, folders in given.items()
            }
        return given and [self.path(text, *key, number) for number, text in enumerate(given)]

    def sweep(self, section: SweepSettings) -> SweepSettings:
        """Return the sweep with an absolute path of its third base."""
        third = section.third
        return section.model_copy(update={"third": third and self.side("sweep.third", third)})


def _with_whole_paths(config: UpdateConfig, written: UserYaml, folder: Path) -> UpdateConfig:
    places = _Places(written, folder)
    return config.model_copy(
        update={
            "old": places.side("old", config.old),
            "new": places.side("new", config.new),
            "tasks": [places.task(number, entry) for number, entry in enumerate(config.tasks)],
            "output": places.path(config.output, "output"),
            "alignment": places.alignment(config.alignment, "alignment"),
            "evaluation": places.evaluation(config.evaluation),
            "sweep": places.sweep(config.sweep),
        }
    )
