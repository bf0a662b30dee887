"""What a training does beside learning: feeds the progress bar, stops without a loss, lets go of a sharded base."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

from muscle.errors import ConfigError

logger = logging.getLogger(__name__)


class StopWithoutLoss(TrainerCallback):  # type: ignore[misc]
    """Ends a training whose loss is no finite number, before a checkpoint of it is written."""

    def __init__(self, description: str) -> None:
        self.description = description

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: object,
    ) -> None:
        """Look at a step's loss, or at the validation data's.

        Raises:
            ConfigError: it is no finite number.
        """
        named = {"loss": "loss", "eval_loss": "validation loss", args.metric_for_best_model: "validation loss"}
        for key, words in named.items():
            value = (logs or {}).get(key, 0.0)
            if not math.isfinite(value):
                advice = (
                    "nothing was learnt yet, so look at the base's weights and the adapter that it starts from"
                    if state.global_step == (1 if key == "loss" else 0)
                    else f"set a smaller training.learning_rate than {args.learning_rate:g}"
                )
                when = f"at step {state.global_step}" if state.global_step else "before training"
                raise ConfigError(
                    f"{self.description}: expected a finite {words}, found {value} {when}; "
                    f"{advice}, or training.precision: float32"
                )


class FreeOnceSharded(TrainerCallback):  # type: ignore[misc]
    """Lets go of a base's weights once shards stand in their place (FSDP2; ZeRO-3 does it by itself)."""

    def __init__(self, base: PreTrainedModel) -> None:
        self.base = base

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        *,
        model: torch.nn.Module,
        **kwargs: object,
    ) -> None:
        """Let go of them."""
        if any(hasattr(parameter, "full_tensor") for parameter in model.parameters()):
            for parameter in self.base.parameters():
                parameter.data = parameter.data.new_empty(0)


class Progress(TrainerCallback):  # type: ignore[misc]
    """Feeds the progress bar with steps and losses."""

    def __init__(self, description: str) -> None:
        self.description = description
        self.show: Callable[[int, str], None] = lambda completed, remark: None
        self._remark = ""

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: object,
    ) -> None:
        """Show a step, log an epoch."""
        logs = logs or {}
        if "loss" in logs:
            self._remark = f"epoch {state.epoch or 0:.1f}, loss {logs['loss']:.3f}"
        if state.is_world_process_zero:
            self.show(state.global_step, self._remark)
        if "eval_loss" in logs:
            when = f"epoch {state.epoch:.0f}" if state.global_step else "before training"
            logger.info("%s: %s, validation loss %.4f", self.description, when, logs["eval_loss"])
