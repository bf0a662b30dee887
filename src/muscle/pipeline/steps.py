"""The single steps `muscle finetune | align | evaluate`: from names and paths to one call of the stage."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from muscle import distributed
from muscle.config.settings import BackendName, BaseConfig, EvaluationSettings
from muscle.config.update_file import StageSettings
from muscle.errors import ConfigError, OutputError
from muscle.files import read_json
from muscle.foreign_text import listing, outline
from muscle.locks import beside, take
from muscle.models.adapters import check_place, split_model
from muscle.models.bases import LoadedBase, load_base, load_for_training
from muscle.models.devices import SLOW, warn_if_slow
from muscle.pipeline.loaded_bases import fitting_method
from muscle.pipeline.whole_answers.candidates import Parts, candidate_parts, draw_candidates
from muscle.predictions.run import METADATA_FILE
from muscle.progress import told_once
from muscle.tasks import Example, Task, get_task, load_examples, load_unlabelled
from muscle.tasks.data import Split, tell_leaked
from muscle.tasks.prompted import prompted, training_split, with_shots
from muscle.tasks.task import check_unit
from muscle.training.reporting import check_reporters
from muscle.training.run import TrainingResult
from muscle.yaml_files import UserYaml

if TYPE_CHECKING:
    from muscle.evaluation.sampling import Sampling
    from muscle.evaluation.vllm_base import VllmBase

logger = logging.getLogger(__name__)


def finetune_step(
    base: str, task: str, train: str | None, out: Path, *, settings: StageSettings, limit: int | None = None
) -> TrainingResult:
    """Load base and data and train a task adapter; see `muscle.training.finetune.finetune`."""
    from muscle.training.finetune import finetune

    check_place(out)
    check_reporters(settings.training.report_to)
    chosen = get_task(task)
    split = training_split(chosen, train, settings.training, limit)
    chosen = prompted(chosen, settings, split.train)
    with _alone_at(out):
        return finetune(
            load_for_training(BaseConfig(base=base), settings.training),
            chosen,
            train_examples=split.train,
            validation_examples=split.validation,
            lora=settings.lora,
            settings=settings.training,
            out=out,
            description=f"fine-tune on {chosen.name}",
        )


@told_once(SLOW)
def align_step(
    old: str,
    new: str,
    task: str,
    train: str | None,
    out: Path,
    *,
    settings: StageSettings,
    limit: int | None = None,
    test: str | None = None,
) -> TrainingResult:
    """Load both task models and the data and train a compatibility adapter; see `muscle.training.align.align`.

    What stands in the test data is left out of the unlabelled inputs.
    """
    from muscle.training.align import align

    check_place(out)
    check_reporters(settings.training.report_to)
    chosen = get_task(task)
    (old_base, old_adapter), (new_base, new_adapter) = _with_adapter("--old", old), _with_adapter("--new", new)
    settings = fitting_method(settings, old_base, new_base, [task])
    split = training_split(chosen, train, settings.training, limit)
    chosen = prompted(chosen, settings, split.train)
    training, alignment = settings.align_training(), settings.alignment
    check_unit(chosen, alignment.unit, alignment.texts)
    parts = _learnt(chosen, split, alignment.unlabelled_of(chosen.name), test)
    with _alone_at(out):
        loaded = {name: load_for_training(base, training) for name, base in (("old", old_base), ("new", new_base))}
        if alignment.learns_candidates:
            models = {"old": (loaded["old"], old_adapter), "new": (loaded["new"], new_adapter)}
            parts = _with_drawn_candidates(out, models, chosen, parts, settings)
        result = align(
            loaded["old"],
            old_adapter,
            loaded["new"],
            new_adapter,
            chosen,
            train_examples=parts["train"],
            validation_examples=parts["validation"],
            alignment=alignment,
            settings=training,
            out=out,
            description=f"align on {chosen.name}",
            unlabelled_examples=parts["unlabelled"],
            lora=settings.lora,
        )
        distributed.from_main(partial(shutil.rmtree, _on_the_way(out), ignore_errors=True))
    return result


def _with_adapter(option: str, text: str) -> tuple[BaseConfig, Path]:
    """Read BASE+ADAPTER."""
    base, adapter = split_model(text)
    if adapter is None:
        raise ConfigError(f"{option} {text}: expected BASE+ADAPTER, found no adapter")
    return base, adapter


def _learnt(task: Task, split: Split, further: str | None, test: str | None) -> Parts:
    """Return the items that are learnt from: of a further source those that are not tested, without their labels."""
    return {
        "train": split.train,
        "validation": split.validation,
        "unlabelled": _unlabelled(task, further, split, test),
    }


def _unlabelled(task: Task, source: str | None, split: Split, test: str | None) -> Sequence[Example]:
    """Read unlabelled inputs but for those that are trained, validated or tested on."""
    tested = () if test is None else load_examples(task, test)
    tell_leaked(task, split, tested)
    if source is None:
        return ()
    if test is None:
        logger.warning("task %s: what is tested later may stand in %s; --test FILE leaves it out", task.name, source)
    return load_unlabelled(task, source, known=(*split.train, *split.validation, *tested))


@contextmanager
def _alone_at(out: Path) -> Iterator[None]:
    """Hold an output for this command: two at one place would throw away what the other one is making.

    Raises:
        OutputError: another process holds it, or it cannot be written.
    """
    if not distributed.is_main():
        yield
        return
    try:
        held = take(beside(out), busy=f"{out}: another muscle process is making it; wait, or give another --out")
    except OSError as error:
        raise OutputError(f"{out}: cannot be written: {error.strerror or error}") from error
    with held:
        yield


def _on_the_way(out: Path) -> Path:
    """Return the folder of the candidates that one training reads."""
    return out.with_name(f".{out.name}.candidates")


def _with_drawn_candidates(
    out: Path,
    models: Mapping[str, tuple[LoadedBase, Path]],
    task: Task,
    parts: Parts,
    settings: StageSettings,
) -> dict[str, Sequence[Example]]:
    """Return the items with the candidates that are drawn for this one training."""
    answers = settings.alignment.answers
    file = _on_the_way(out) / f"{task.name}.jsonl"
    draw_candidates(
        file,
        models,
        task,
        parts,
        answers,
        seed=settings.training.seed,
        batch_size=EvaluationSettings().batch_size,
        description=f"candidates of {task.name}",
    )
    return dict(candidate_parts(file, parts, settings.alignment.least_candidates))


@dataclass(frozen=True)
class Backend:
    """What computes a model's scores.

    Attributes:
        name: transformers or vLLM.
        precision: of the weights.
        batch_size: options or prompts a forward pass; vLLM makes its batches itself.
        arguments: of lm-evaluation-harness's vLLM model.

    Raises:
        ConfigError: arguments for vLLM without it.
    """

    name: BackendName
    precision: Literal["auto", "bf16", "float32"]
    batch_size: int
    arguments: Mapping[str, object]

    def __post_init__(self) -> None:
        if self.arguments and self.name != "vllm":
            raise ConfigError(f"--vllm {next(iter(self.arguments))}: only read with --backend vllm")


def evaluate_step(
    model: str,
    task: str,
    data: str | None,
    out: Path,
    *,
    backend: Backend,
    sampling: Sampling,
    limit: int | None = None,
    settings: StageSettings | None = None,
    train: str | None = None,
) -> Path:
    """Load a model and test data, score, and return the file of records that was written.

    Args:
        model: `BASE` or `BASE+ADAPTER`.
        task: a task's name, or the path of its YAML.
        data: where the test data is; a built-in task's own without.
        out: the folder to write to.
        backend: what computes.
        sampling: how often an item is answered, and how.
        limit: score only the first so many rows.
        settings: how the examples are put to the model, and the split and seed of the solved ones.
        train: where solved examples come from (`prompt.num_fewshot`); a built-in task's own training data without.

    Raises:
        ConfigError: repeats of a choice task; or see `check_vllm`.
    """
    from muscle.evaluation.save import evaluate_to_file

    chosen = get_task(task)
    examples = load_examples(chosen, chosen.source("test", data), limit=limit)
    chosen = with_shots(chosen, settings or StageSettings(), train)
    base, adapter = split_model(model)
    written = out / f"{chosen.name}.jsonl"
    with _held_run(out, model, chosen), _loaded_scorer(base, adapter, chosen, backend) as loaded:
        evaluate_to_file(
            loaded,
            adapter,
            chosen,
            examples,
            written,
            name=model,
            batch_size=backend.batch_size,
            sampling=sampling,
        )
    return written


@contextmanager
def _held_run(out: Path, model: str, task: Task) -> Iterator[None]:
    """Hold a run's folder; refuse one with another model's answers to other tasks, which would pass for this one's.

    Raises:
        OutputError: it is one, another process holds it, or it cannot be written.
    """
    from muscle.evaluation.save import tasks_of

    with _alone_at(out):
        others = [name for name in tasks_of(out / METADATA_FILE) if name != task.name]
        if others and (name := read_json(out / METADATA_FILE).get("name")) != model:
            raise OutputError(
                f"{out}: expected a folder for {model} alone, found answers of {outline(name)} to "
                f"{listing(others, 3)}; give another --out"
            )
        yield


@contextmanager
def _loaded_scorer(
    base: BaseConfig, adapter: Path | None, task: Task, backend: Backend
) -> Iterator[LoadedBase | VllmBase]:
    warn_if_slow(backend.precision)
    if backend.name == "hf":
        yield load_base(base, precision=backend.precision)
        return
    from muscle.evaluation.vllm_base import VllmBase, check_vllm

    given = UserYaml("--vllm", {"backend": backend.name, "vllm": dict(backend.arguments)})
    settings = given.validate(EvaluationSettings)
    check_vllm([base], [task])
    engine = VllmBase(base, [adapter] if adapter else [], precision=backend.precision, arguments=settings.vllm)
    try:
        yield engine
    finally:
        engine.close()
