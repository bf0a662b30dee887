"""The Trainer's arguments by our settings, and the warm-up that fits the data."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from transformers import TrainingArguments

from muscle import distributed
from muscle.config.settings import TrainingSettings
from muscle.models.devices import choose_device, choose_dtype

logger = logging.getLogger(__name__)


def training_arguments(
    settings: TrainingSettings, workspace: Path, *, picked_by: str = "loss", run_name: str | None = None
) -> TrainingArguments:
    """Translate our settings to the Trainer's.

    Args:
        settings: see `TrainingSettings`.
        workspace: folder of the checkpoints.
        picked_by: the logged validation value that picks the epoch.
        run_name: what trackers call the training.
    """
    on_cpu, deepspeed = choose_device() == "cpu", distributed.sharded_by_deepspeed()
    arguments = TrainingArguments(
        output_dir=str(workspace),
        num_train_epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        warmup_steps=settings.warmup_steps,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.gradient_accumulation,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        activation_checkpointing=settings.gradient_checkpointing,
        bf16=choose_dtype(settings.precision) == torch.bfloat16,
        use_cpu=on_cpu and not deepspeed,  # accelerate makes plain data-parallel of DeepSpeed otherwise
        ddp_backend="gloo" if on_cpu and deepspeed else None,
        # The best epoch is known at the end alone: each is evaluated, and each is saved.
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,  # the best and the last one
        load_best_model_at_end=True,
        metric_for_best_model=f"eval_{picked_by}",
        greater_is_better=False,
        # Early stopping goes on counting where a killed training was.
        restore_callback_states_from_checkpoint=True,
        logging_steps=1,
        logging_nan_inf_filter=False,  # or the log would show the mean of the steps before
        prediction_loss_only=True,
        # The objective reads what the model's forward doesn't know, such as `index`.
        remove_unused_columns=False,
        # Examples of like length share a batch: padding would cost as much as text.
        train_sampling_strategy="group_by_length",
        dataloader_pin_memory=choose_device().startswith("cuda"),
        seed=settings.seed,
        data_seed=settings.seed,
        run_name=run_name,
        # Progress and warnings are muscle's own; `Reporting` has the trackers.
        report_to="none",
        disable_tqdm=True,
        log_level="error",
    )
    # A single process uses one GPU of several: the Trainer would wrap the model in `DataParallel`, whose copies all
    # call one head.
    arguments._n_gpu = min(1, arguments.n_gpu)
    return arguments


def num_steps_of(settings: TrainingSettings, num_examples: int) -> int:
    """Return the optimizer steps of all epochs."""
    examples = settings.gradient_accumulation * settings.batch_size * distributed.num_processes()
    return settings.epochs * -(-num_examples // examples)


def fit_warmup(settings: TrainingSettings, num_examples: int, description: str) -> TrainingSettings:
    """Return the settings with a warm-up that fits the data; warn where one that is set takes most of the steps."""
    num_steps = num_steps_of(settings, num_examples)
    fitted = settings.with_warmup_for(num_steps)
    if fitted.warmup_steps != settings.warmup_steps:
        logger.info(
            "%s: %d warm-up steps, a tenth of the %d in all, in place of the paper's %d; training.warmup_steps sets "
            "another number",
            description,
            fitted.warmup_steps,
            num_steps,
            settings.warmup_steps,
        )
    elif settings.warmup_steps > num_steps // 2:
        logger.warning(
            "%s: %d warm-up steps of at most %d steps in all: the learning rate %g is hardly reached; set "
            "training.warmup_steps",
            description,
            settings.warmup_steps,
            num_steps,
            settings.learning_rate,
        )
    return fitted
