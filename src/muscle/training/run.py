"""One training from data to adapter: its callbacks, its best weights, and the folder it ends in."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from torch import Tensor
from transformers import (
    EarlyStoppingCallback,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerState,
)

from muscle import distributed
from muscle.config.settings import TrainingSettings
from muscle.files import atomic_folder, clear_leftovers, write_json
from muscle.limits import memory_for
from muscle.models.adapters import check_place, save_adapter
from muscle.models.bases import LoadedBase
from muscle.progress import progress_bar
from muscle.provenance import fingerprint
from muscle.shipping.card import write_card
from muscle.tasks.task import Example, Task
from muscle.training.arguments import fit_warmup, num_steps_of, training_arguments
from muscle.training.callbacks import FreeOnceSharded, Progress, StopWithoutLoss
from muscle.training.checkpoints import last_checkpoint
from muscle.training.data.batches import Collator
from muscle.training.data.examples import TokenizedExamples, tokenize
from muscle.training.data.packing import choose_collator
from muscle.training.one_training import Data, Student, Training, TrainingData
from muscle.training.reporting import Reporting
from muscle.training.trainer import AdapterTrainer

logger = logging.getLogger(__name__)

_LESS_MEMORY = (
    "set a smaller training.batch_size (and a larger gradient_accumulation), max_length or chunk_memory_mb, or "
    "gradient_checkpointing: true; what was finished is kept"
)


@dataclass(frozen=True)
class TrainingResult:
    """How a training went.

    Attributes:
        best_epoch: the epoch (from 1) whose weights were kept.
        num_epochs: epochs that ran.
        loss_before: of the validation data before the first step; None where nothing was trained.
        validation_losses: one per epoch, what the epoch was picked by: nats per token, or per item at option level.
        converged: False where the loss was still falling when training ended.
        improved: False where no epoch's validation loss was below the one before training.
        num_steps: optimizer steps.
        log: the Trainer's log, a dict a line.
        before: its line before the first step, on the validation data; empty where nothing was trained.
    """

    best_epoch: int
    num_epochs: int
    loss_before: float | None
    validation_losses: list[float]
    converged: bool
    improved: bool
    num_steps: int
    log: list[dict[str, float]]
    before: dict[str, float] = field(default_factory=dict)


def train(
    build: Callable[..., AdapterTrainer],
    student: Student,
    data: TrainingData,
    training: Training,
    *,
    workspace: Path,
    picked_by: str = "loss",
    reporting: Reporting,
) -> tuple[TrainingResult, dict[str, Tensor]]:
    """Run one training, going on at the last whole checkpoint in `workspace` if there is one.

    Args:
        build: makes the trainer from the keyword arguments that every training shares.
        student: who learns.
        data: what it reads.
        training: how it goes.
        workspace: folder of the checkpoints; it may be removed once the adapter is saved.
        picked_by: the logged validation value that picks the epoch.
        reporting: trackers that get the log.

    Returns:
        How it went, and the best epoch's weights by the model's own names.
    """
    settings, description = training.settings, training.description
    checkpoint = distributed.from_main(lambda: last_checkpoint(workspace))
    arguments = training_arguments(settings, workspace, picked_by=picked_by, run_name=reporting.run)
    arguments.eval_on_start = checkpoint is None  # a training that goes on has it in its log
    collator = data.collator or _chosen_collator(student, data.train, settings)
    progress = Progress(description)
    callbacks: list[TrainerCallback] = [progress, StopWithoutLoss(description)]
    if student.base_is_free:
        callbacks.append(FreeOnceSharded(student.base.model))
    if settings.early_stopping_patience is not None:
        callbacks.append(EarlyStoppingCallback(settings.early_stopping_patience))
    trainer = build(
        args=arguments,
        train_dataset=data.train,
        eval_dataset=data.validation,
        data_collator=collator,
        callbacks=callbacks,
    )
    trainer.remove_callback(PrinterCallback)
    num_steps = num_steps_of(settings, len(data.train))
    with (
        progress_bar(description, num_steps) as progress.show,
        memory_for(description, advice=_LESS_MEMORY),
        reporting.callbacks() as trackers,
    ):
        for each in trackers:
            trainer.add_callback(each)
        trainer.train(resume_from_checkpoint=checkpoint)
    weights = trained_weights(trainer)
    if trainer.is_deepspeed_enabled:
        from transformers.integrations.deepspeed import unset_hf_deepspeed_config

        unset_hf_deepspeed_config()  # or transformers would load the next base in shards
    return _result_of(trainer.state, description, f"eval_{picked_by}"), weights


def trained_weights(trainer: Trainer) -> dict[str, Tensor]:
    """Return an adapter's trained weights, whole where the processes hold a shard each; called by every process."""
    named = {name: value for name, value in trainer.model.named_parameters() if value.requires_grad}
    if trainer.is_deepspeed_enabled:
        from deepspeed.utils import safe_get_full_fp32_param

        # The optimizer's own: in 16-bit training the model's are rounded ones.
        return {name: safe_get_full_fp32_param(value).detach().cpu() for name, value in named.items()}
    return {
        name: (value.full_tensor() if hasattr(value, "full_tensor") else value).detach().cpu()
        for name, value in named.items()
    }


def _result_of(state: TrainerState, description: str, picked_by: str) -> TrainingResult:
    told = json.loads(json.dumps(state.log_history))
    log = [line for line in told if line["step"]]
    first: dict[str, float] = next((line for line in told if not line["step"]), {})
    before = first.get(picked_by)
    losses = [line[picked_by] for line in log if picked_by in line]
    best = losses.index(min(losses)) + 1
    # Ended by the epoch limit while the last epoch was the best: more epochs might have lowered it further. A fall of
    # less than 0.1 % an epoch counts as flat.
    still_falling = best == len(losses) and (len(losses) == 1 or losses[-1] < losses[-2] * 0.999)
    if still_falling:
        logger.warning(
            "%s: validation loss was still falling at its last epoch (%d); an adapter that is not converged makes any "
            "later gain look like the method's. Raise training.epochs (an alignment's own: alignment.training.epochs; "
            "with unlabelled inputs alignment.unlabelled_epochs)",
            description,
            len(losses),
        )
    improved = before is None or min(losses) < before
    if not improved:
        logger.warning(
            "%s: no epoch has a validation loss below that before training (%.4f, then %.4f at best); what was learnt "
            "fits the training examples alone. Give more of them, or lower training.learning_rate",
            description,
            before,
            min(losses),
        )
    return TrainingResult(
        best_epoch=best,
        num_epochs=len(losses),
        loss_before=before,
        validation_losses=losses,
        converged=not still_falling,
        improved=improved,
        num_steps=state.global_step,
        log=log,
        before=first,
    )


def tokenized_parts(
    base: LoadedBase,
    task: Task,
    train_examples: Sequence[Example],
    validation_examples: Sequence[Example],
    settings: TrainingSettings,
) -> tuple[TokenizedExamples, TokenizedExamples]:
    """Return training and validation examples as tokens; answers that are generated learn to end.

    Args:
        base: whose tokenizer is used.
        task: how its examples are put to the model.
        train_examples: what is learnt.
        validation_examples: what the epoch is chosen by.
        settings: `max_length` tokens of an example are kept.

    Raises:
        DataError: there are no examples, or nothing is left of one's answer.
    """
    ends_itself = task.prompt.chat_template and bool(task.prompt.form(base.tokenizer).end)
    parts = (
        tokenize(
            task.prompt.render(part, base.tokenizer),
            base.tokenizer,
            max_length=settings.max_length,
            end_of_text=task.kind == "generation" and not ends_itself,
        )
        for part in (train_examples, validation_examples)
    )
    return next(parts), next(parts)


def train_and_save(
    build: Callable[..., AdapterTrainer],
    student: Student,
    data: TrainingData,
    training: Training,
    *,
    note: Mapping[str, object],
    picked_by: str = "loss",
    record: Callable[[TrainingResult], Mapping[str, object]] | None = None,
) -> TrainingResult:
    """Train, then move the finished adapter into place and delete its checkpoints.

    Args:
        build: as for `train`.
        student: who learns.
        data: what it reads.
        training: how it goes, and where the adapter is kept.
        note: how the adapter was made; what it names differently is another training.
        picked_by: as for `train`.
        record: what `training.json` says beside the result.

    Returns:
        How it went; also written to `training.json` in `out`.
    """
    out, description = training.out, training.description
    check_place(out)
    settings = fit_warmup(training.settings, len(data.train), description)
    sequences = [part.sequences for part in (data.train, data.validation)]
    identity = fingerprint([student.base.fingerprint, data.task.definition, settings.identity(), note, *sequences])
    workspace = out.with_name(f".{out.name}.{identity}.training")  # checkpoints of other settings or data are no start
    distributed.from_main(lambda: clear_leftovers(out.parent, out.name))
    result, weights = train(
        build,
        student,
        data,
        replace(training, settings=settings),
        workspace=workspace,
        picked_by=picked_by,
        reporting=Reporting.of(settings.report_to, out, description, identity),
    )
    outcome = {"best_epoch": result.best_epoch, "converged": result.converged}
    full_note = {"task": data.task.name, "settings": settings.model_dump(exclude={"report_to"}), **outcome, **note}
    sizes = {"num_examples": len(data.train), "num_validation": len(data.validation)}
    told = asdict(result) | sizes | dict(record(result) if record else {})
    distributed.from_main(lambda: _write_trained(out, student, note=full_note, weights=weights, told=told))
    return result


def _chosen_collator(student: Student, data: Data, settings: TrainingSettings) -> Collator:
    pad = student.base.tokenizer.pad_token_id
    return choose_collator(student.model, data.sequences, packing=settings.packing, pad_token_id=pad)


def _write_trained(
    out: Path, student: Student, *, note: Mapping[str, object], weights: dict[str, Tensor], told: Mapping[str, object]
) -> None:
    """Move a finished adapter into place, with its card and `training.json`; delete the checkpoints of it."""
    with atomic_folder(out) as folder:
        save_adapter(student.model, folder, base=student.base, note=note, weights=weights)
        write_json(folder / "training.json", told)
        write_card(folder)
    for stale in out.parent.glob(f".{out.name}.*.training"):
        shutil.rmtree(stale)
