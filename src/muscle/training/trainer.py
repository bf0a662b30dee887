"""The one training loop: `transformers.Trainer` with the loss as a function.

Task adapters and compatibility adapters are trained by the same class; only the objective differs. Every loss is a
sum over tokens, divided by the number of tokens of the whole accumulated batch over all processes, so that one batch
equals its micro-batches. The validation loss is the mean over all validation tokens, not a mean of batch means.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from peft.helpers import disable_input_dtype_casting
from torch import Tensor
from torch.utils.data import Sampler
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_pt_utils import LengthGroupedSampler

from muscle import distributed
from muscle.config.settings import MaskName, TrainingSettings
from muscle.errors import DataError, OutputError
from muscle.files import read_json, write_json
from muscle.limits import memory_for, write_failure
from muscle.models.bases import choose_device, choose_dtype
from muscle.progress import progress_bar
from muscle.provenance import file_hashes
from muscle.training.data.examples import Collator, Filled, TokenizedExamples, filled, model_inputs
from muscle.training.layers.fast_layers import fast_layers
from muscle.training.losses.loss import compatibility_terms, next_token_loss
from muscle.training.teachers.online import OnlineTeachers, Teachers

logger = logging.getLogger(__name__)
_COMPLETE = "complete"
_LESS_MEMORY = (
    "set a smaller training.batch_size (and a larger gradient_accumulation), max_length or chunk_memory_mb, or "
    "gradient_checkpointing: true; what was finished is kept"
)


@dataclass(frozen=True)
class TokenSums:
    """A batch's loss as sums over its counted tokens.

    Attributes:
        loss: scalar with gradient.
        num_tokens: what `loss` and `terms` are divided by.
        terms: further sums over the same tokens, for the log.
    """

    loss: Tensor
    num_tokens: int
    terms: Mapping[str, float] = field(default_factory=dict)


Objective = Callable[[Tensor, Tensor, Mapping[str, Tensor]], TokenSums]
"""Student logits (batch, seq, vocab), shifted labels (batch, seq) and the batch in, sums over tokens out."""


def next_token_objective(logits: Tensor, labels: Tensor, batch: Mapping[str, Tensor]) -> TokenSums:
    """Return the task adapters' loss over context and answer (Sec. 4.1, step 1)."""
    del batch
    return TokenSums(next_token_loss(logits, labels), int((labels != -100).sum()))


class AdapterTrainer(Trainer):  # type: ignore[misc]
    """A Trainer whose loss is an `Objective`; logs each of its terms per token.

    Args:
        objective: the loss.
        **kwargs: as for `transformers.Trainer`. The collator must give `labels` without the first token
            (`PaddingCollator` does).
    """

    # Our loss is divided by the accumulated batch's tokens already.
    loss_is_scaled_for_ga = True

    def __init__(self, *args: Any, objective: Objective, **kwargs: Any) -> None:
        if distributed.num_processes() > 1:
            # A short last batch is filled by blank examples; by default it would be filled by examples counted twice.
            arguments = kwargs["args"]
            for name, size in (
                ("train_dataset", arguments.per_device_train_batch_size),
                ("eval_dataset", arguments.per_device_eval_batch_size),
            ):
                kwargs[name] = filled(kwargs[name], size * distributed.num_processes())
        callbacks = [_CompletionMarks(), *(kwargs.pop("callbacks", None) or ())]
        super().__init__(*args, callbacks=callbacks, **kwargs)
        self.objective = objective
        # Makes the Trainer count the tokens of the accumulated batch, whatever the model's forward accepts.
        self.model_accepts_loss_kwargs = True
        self._sums: dict[str, dict[str, float]] = {"train": {}, "eval": {}}

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train; under autocast without PEFT's casts of every layer's input to float32, which autocast takes back at once."""
        casting = disable_input_dtype_casting(self.model, active=self.accelerator.native_amp)
        # DeepSpeed gathers a sharded weight when the layer that owns it is called.
        with casting, fast_layers(self.model, lora=not self.is_deepspeed_enabled):
            return super().train(*args, **kwargs)

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        """Group by length, over the batch of an optimizer step: the order is the same however many processes share it."""
        examples = self.train_dataset if train_dataset is None else train_dataset
        real = examples.examples if isinstance(examples, Filled) else examples
        size = self.args.train_batch_size * self.args.gradient_accumulation_steps
        inner = LengthGroupedSampler(
            size * distributed.num_processes(), dataset=real, model_input_name="input_ids"
        )
        return inner if real is examples else _SharedOrder(inner, len(examples))

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Return the objective's sum over tokens divided by the tokens of the accumulated batch."""
        outputs = model(**model_inputs(inputs))
        sums = self.objective(outputs.logits[:, :-1], inputs["labels"][:, 1:], inputs)
        self._remember("train" if model.training else "eval", sums)
        total = sums.num_tokens if num_items_in_batch is None else num_items_in_batch
        loss = sums.loss / torch.as_tensor(total, device=sums.loss.device).clamp(min=1)
        if num_items_in_batch is not None and self.args.average_tokens_across_devices:
            # Data-parallel gradients are averaged over the processes; the divisor above counts all their tokens.
            loss = loss * self.accelerator.num_processes
        return (loss, outputs) if return_outputs else loss

    def _remember(self, split: str, sums: TokenSums) -> None:
        kept = self._sums[split]
        for name, value in {
            "loss": float(sums.loss.detach()),
            "num_tokens": sums.num_tokens,
            **sums.terms,
        }.items():
            kept[name] = kept.get(name, 0.0) + float(value)

    def _means(self, split: str) -> dict[str, float]:
        """Take the sums since the last call, over all processes, as means per token."""
        sums, self._sums[split] = self._sums[split], {}
        if not sums:
            return {}
        values = torch.tensor(
            [sums[name] for name in sorted(sums)], dtype=torch.float64, device=self.args.device
        )
        if self.accelerator.num_processes > 1:
            values = self.accelerator.reduce(values, reduction="sum")
        total = dict(zip(sorted(sums), values.tolist(), strict=True))
        num_tokens = total.pop("num_tokens")
        return {name: value / num_tokens for name, value in total.items()} if num_tokens else {}

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Save a checkpoint, or say in one line why it cannot be written."""
        try:
            super()._save_checkpoint(model, trial)
        except Exception as error:
            reason = write_failure(error)
            if reason is None:
                raise
            raise OutputError(
                f"{self.args.output_dir}: a checkpoint cannot be written: {reason}; make room and run the same command again, which "
                "goes on at the last whole one"
            ) from error

    def _load_best_model(self) -> None:
        """Load the best epoch's weights, if they still are what was saved."""
        best = Path(self.state.best_model_checkpoint)
        damage = distributed.from_main(lambda: checkpoint_damage(best))
        if damage:
            raise DataError(
                f"checkpoint {best}: {damage}; run the same command again, which trains from the last whole checkpoint"
            )
        super()._load_best_model()

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the objective's terms, per token, to a training log line."""
        if "loss" in logs:
            logs.update(self._means("train"))
        super().log(logs, start_time)

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluate, with the loss as the mean over all tokens."""
        self._sums["eval"] = {}
        output = super().evaluation_loop(*args, **kwargs)
        prefix = kwargs.get("metric_key_prefix", "eval")
        output.metrics.update({f"{prefix}_{name}": value for name, value in self._means("eval").items()})
        return output


class _SharedOrder(Sampler[int]):
    """The main process's order for all processes, then the blank examples."""

    def __init__(self, inner: Any, length: int) -> None:
        self.inner, self.length = inner, length

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        own = list(self.inner)
        return iter([*distributed.from_main(lambda: own), *range(len(own), self.length)])


class CompatibilityTrainer(AdapterTrainer):
    """Train a compatibility adapter (MUSCLE, 2024, Eq. 1 and 5), also in a training script of one's own.

    Logs per step: `loss`, `masked_share` (share of tokens that lean on the old model), `kl_old`, `kl_new`,
    `cross_entropy` (nats per token), and the same on validation data.

    Args:
        teachers: gives both task models' logits on a batch, e.g. `OnlineTeachers(old, new)`.
        temperature: T of Eq. 1.
        mask: which tokens lean on the old model.
        ce_weight: 1 - lambda of Eq. 5.
        **kwargs: as for `transformers.Trainer`: `model` (the new base with A_v2 as its trainable adapter), `args`,
            `train_dataset`, `eval_dataset`, `data_collator` (a `PaddingCollator`).
    """

    def __init__(
        self,
        *args: Any,
        teachers: Teachers,
        temperature: float = 2.0,
        mask: MaskName = "student_wrong",
        ce_weight: float = 0.0,
        **kwargs: Any,
    ) -> None:
        def objective(logits: Tensor, labels: Tensor, batch: Mapping[str, Tensor]) -> TokenSums:
            taught = teachers(batch)
            terms = compatibility_terms(
                logits,
                taught.old[:, :-1],
                taught.new[:, :-1],
                labels,
                temperature=temperature,
                mask=mask,
                ce_weight=ce_weight,
            )
            named = {
                "masked_share": terms.num_masked,
                "kl_old": float(terms.kl_old),
                "kl_new": float(terms.kl_new),
                "cross_entropy": float(terms.cross_entropy),
            }
            return TokenSums(terms.loss, terms.num_tokens, named)

        super().__init__(*args, objective=objective, **kwargs)
        self._teachers = teachers

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train; teachers of ours with our layers too."""
        with self._teachers.fast() if isinstance(self._teachers, OnlineTeachers) else nullcontext():
            return super().train(*args, **kwargs)


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


@dataclass(frozen=True)
class TrainingResult:
    """How a training went.

    Attributes:
        best_epoch: the epoch (from 1) whose weights were kept.
        num_epochs: epochs that ran.
        validation_losses: one per epoch, nats per token.
        converged: False where the loss was still falling when training ended.
        num_steps: optimizer steps.
        log: the Trainer's log, a dict a line.
    """

    best_epoch: int
    num_epochs: int
    validation_losses: list[float]
    converged: bool
    num_steps: int
    log: list[dict[str, Any]]


def training_arguments(settings: TrainingSettings, workspace: Path) -> TrainingArguments:
    """Translate our settings to the Trainer's."""
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
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,  # the best and the last one
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        restore_callback_states_from_checkpoint=True,
        logging_steps=1,
        prediction_loss_only=True,
        remove_unused_columns=False,
        # Examples of like length share a batch: padding would cost as much as text.
        train_sampling_strategy="group_by_length",
        dataloader_pin_memory=choose_device().startswith("cuda"),
        seed=settings.seed,
        data_seed=settings.seed,
        report_to="none",
        disable_tqdm=True,
        log_level="error",
    )
    # A single process uses one GPU of several: the Trainer would wrap the model in `DataParallel`, whose copies all call one head.
    arguments._n_gpu = min(1, arguments.n_gpu)
    return arguments


def train(
    build: Callable[..., AdapterTrainer],
    *,
    settings: TrainingSettings,
    train_data: TokenizedExamples,
    validation_data: TokenizedExamples,
    collator: Collator,
    workspace: Path,
    description: str,
    free: Any = None,
) -> tuple[TrainingResult, dict[str, Tensor]]:
    """Run one training, going on at the last whole checkpoint in `workspace` if there is one.

    Args:
        build: makes the trainer from the keyword arguments that every training shares.
        settings: see `TrainingSettings`.
        train_data: what is learnt.
        validation_data: what the epoch is chosen by.
        collator: makes batches, see `choose_collator`.
        workspace: folder of the checkpoints; it may be removed once the adapter is saved.
        description: for the progress bar.
        free: the base, where nothing but the trained model needs its weights: they are let go where that one is sharded
            (`LoadedBase.is_whole`).

    Returns:
        How it went, and the best epoch's weights by the model's own names.
    """
    progress = _Progress(description)
    callbacks: list[TrainerCallback] = [progress]
    if free is not None:
        callbacks.append(_FreeOnceSharded(free))
    if settings.early_stopping_patience is not None:
        callbacks.append(EarlyStoppingCallback(settings.early_stopping_patience))
    trainer = build(
        args=training_arguments(settings, workspace),
        train_dataset=train_data,
        eval_dataset=validation_data,
        data_collator=collator,
        callbacks=callbacks,
    )
    trainer.remove_callback(_printer())
    steps = trainer.args.gradient_accumulation_steps * trainer.args.per_device_train_batch_size
    steps *= distributed.num_processes()
    num_steps = settings.epochs * -(-len(train_data) // steps)
    if settings.warmup_steps > num_steps // 2:
        logger.warning(
            "%s: %d warm-up steps of at most %d steps in all: the learning rate %g is hardly reached; set training.warmup_steps",
            description,
            settings.warmup_steps,
            num_steps,
            settings.learning_rate,
        )
    with (
        progress_bar(description, num_steps) as progress.show,
        memory_for(description, advice=_LESS_MEMORY),
    ):
        trainer.train(resume_from_checkpoint=distributed.from_main(lambda: last_checkpoint(workspace)))
    weights = trained_weights(trainer)
    if trainer.is_deepspeed_enabled:
        from transformers.integrations.deepspeed import unset_hf_deepspeed_config

        unset_hf_deepspeed_config()  # or transformers would load the next base in shards
    return _summary(trainer.state, settings, description), weights


def last_checkpoint(workspace: Path) -> str | None:
    """Return the newest checkpoint that is as it was written, as is the best one that it names; delete all others.

    One that was not written to its end is what a kill leaves; a damaged one is told.
    """
    whole: dict[str, Path] = {}
    for folder in workspace.glob("checkpoint-*"):
        damage = checkpoint_damage(folder)
        if damage is None:
            whole[folder.name] = folder
            continue
        if (folder / _COMPLETE).is_file():
            logger.warning("checkpoint %s: %s; it is deleted", folder, damage)
        shutil.rmtree(folder)
    for folder in sorted(whole.values(), key=lambda each: int(each.name.rsplit("-", 1)[1]), reverse=True):
        best = read_json(folder / "trainer_state.json").get("best_model_checkpoint")
        if best is None or Path(best).name in whole:
            return str(folder)
        logger.warning("checkpoint %s: the best one, %s, is gone; it is deleted", folder, best)
        shutil.rmtree(folder)
    return None


def checkpoint_damage(folder: Path) -> str | None:
    """Return what is wrong with a checkpoint by the list of files that it was finished with; None where nothing is."""
    try:
        files = read_json(folder / _COMPLETE).get("files")
    except DataError:
        return "it was not written to its end"
    if not isinstance(files, dict):
        return "it was not written to its end"
    found = _checkpoint_files(folder)
    for name, sha256 in files.items():
        if found.get(name) != sha256:
            return f"{name} is missing or damaged (its SHA-256 has changed)"
    return None


def _checkpoint_files(folder: Path) -> dict[str, str]:
    return {
        name: sha256 for name, sha256 in file_hashes(folder).items() if name != f"{folder.name}/{_COMPLETE}"
    }


def _printer() -> type[TrainerCallback]:
    from transformers import PrinterCallback

    return PrinterCallback  # type: ignore[no-any-return]


class _CompletionMarks(TrainerCallback):  # type: ignore[misc]
    """Marks a checkpoint as whole once all its files are written, with their fingerprints: a kill in mid-write leaves no mark."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.best_model_checkpoint is not None:  # the run folder may have been moved since
            state.best_model_checkpoint = str(Path(args.output_dir) / Path(state.best_model_checkpoint).name)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        distributed.wait()  # every process writes a part of it
        if state.is_world_process_zero:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            write_json(folder / _COMPLETE, {"files": _checkpoint_files(folder)})


class _FreeOnceSharded(TrainerCallback):  # type: ignore[misc]
    """Lets go of a base's weights once the model that shares them has shards in their place (FSDP2; ZeRO-3 does it by itself)."""

    def __init__(self, base: Any) -> None:
        self.base = base

    def on_train_begin(self, args: Any, state: Any, control: Any, *, model: Any, **kwargs: Any) -> None:
        if any(hasattr(parameter, "full_tensor") for parameter in model.parameters()):
            for parameter in self.base.parameters():
                parameter.data = parameter.data.new_empty(0)


class _Progress(TrainerCallback):  # type: ignore[misc]
    """Feeds the progress bar with steps and losses."""

    def __init__(self, description: str) -> None:
        self.description = description
        self.show: Callable[[int, str], None] = lambda completed, remark: None
        self._remark = ""

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        logs = logs or {}
        if "loss" in logs:
            self._remark = f"epoch {state.epoch or 0:.1f}, loss {logs['loss']:.3f}"
        if state.is_world_process_zero:
            self.show(state.global_step, self._remark)
        if "eval_loss" in logs:
            logger.info(
                "%s: epoch %.0f, validation loss %.4f", self.description, state.epoch or 0, logs["eval_loss"]
            )


def _summary(state: Any, settings: TrainingSettings, description: str) -> TrainingResult:
    log = json.loads(json.dumps(state.log_history))
    losses = [line["eval_loss"] for line in log if "eval_loss" in line]
    best = losses.index(min(losses)) + 1
    # Ended by the epoch limit while the last epoch was the best: more epochs might have lowered it further. A fall of
    # less than 0.1 % an epoch counts as flat.
    still_falling = best == len(losses) and (len(losses) == 1 or losses[-1] < losses[-2] * 0.999)
    if still_falling:
        logger.warning(
            "%s: validation loss was still falling at the last of %d epochs; an adapter that is not converged makes any later "
            "gain look like the method's. Raise training.epochs",
            description,
            len(losses),
        )
    return TrainingResult(
        best_epoch=best,
        num_epochs=len(losses),
        validation_losses=losses,
        converged=not still_falling,
        num_steps=state.global_step,
        log=log,
    )
