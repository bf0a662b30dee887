"""The two bases of an update in memory: loaded when a stage first needs them, and let go of together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from muscle.config.settings import BaseConfig
from muscle.config.update_file import StageSettings, UpdateConfig
from muscle.errors import ConfigError
from muscle.models.bases import LoadedBase, load_for_training
from muscle.models.devices import free_memory
from muscle.models.tokenizers import share_tokenizer
from muscle.tasks import get_task

Settings = TypeVar("Settings", bound=StageSettings)

if TYPE_CHECKING:
    from muscle.evaluation.vllm_base import VllmBase

logger = logging.getLogger(__name__)

Side = Literal["old", "new"]
SIDES: tuple[Side, ...] = ("old", "new")


def sides_of(config: UpdateConfig) -> tuple[Side, ...]:
    """Return the sides that have a base: not the old one where it is a record of answers."""
    return ("new",) if config.old.record else SIDES


def with_fitting_method(config: UpdateConfig) -> UpdateConfig:
    """Return an update whose method fits its bases: see `fitting_method`.

    Beside a record of the old model it is one of whole answers.
    """
    if config.old.record:
        if config.alignment.names_a_method:
            return config
        kinds = {get_task(entry.task).kind for entry in config.tasks}
        if len(kinds) > 1:
            raise ConfigError(
                "alignment.method: with old.record expected options or answers; some tasks have options, and of others "
                "the answers are generated: give each kind an update of its own"
            )
        method: Literal["options", "answers"] = "options" if kinds == {"choice"} else "answers"
        logger.info("the old model is a record: the method is %s (alignment.method: another)", method)
        return config.model_copy(update={"alignment": config.alignment.as_method(method)})
    return fitting_method(config, config.old, config.new, [entry.task for entry in config.tasks])


def fitting_method(settings: Settings, old: BaseConfig, new: BaseConfig, tasks: Sequence[str]) -> Settings:
    """Return settings with the method at option level, where none is written and the bases' tokenizers differ.

    An option's likelihood as a text is comparable whatever the tokens, so nothing has to be aligned. Only choice tasks
    have options; of others the method stays.

    Args:
        settings: whose `alignment` it is.
        old: the old base.
        new: the new base.
        tasks: names, or paths of task files.

    Raises:
        MuscleError: a base or a task is not there.
    """
    if settings.alignment.names_a_method or any(get_task(task).kind != "choice" for task in tasks):
        return settings
    if share_tokenizer(old, new) is not False:
        return settings
    logger.info("the bases' tokenizers differ: the method is options (whole answer options; alignment.method: another)")
    return settings.model_copy(update={"alignment": settings.alignment.as_method("options")})


class LoadedBases:
    """The old and the new base.

    Args:
        config: the update.
        adapters: the adapters that are scored on a side, for vLLM, which is told of them when it starts.
    """

    def __init__(self, config: UpdateConfig, adapters: Callable[[Side], Sequence[Path]]) -> None:
        self._config = config
        self._adapters = adapters
        self._bases: dict[Side, LoadedBase] = {}
        self._engines: dict[Side, VllmBase] = {}

    def settings(self, side: Side) -> BaseConfig:
        """Return what the configuration says of a side."""
        return self._config.old if side == "old" else self._config.new

    def base(self, side: Side) -> LoadedBase:
        """Load a base on first use, and again where a training has sharded it."""
        if side not in self._bases or not self._bases[side].is_whole:
            self._bases.pop(side, None)
            logger.info("loading the %s base %s", side, self.settings(side).base)
            self._bases[side] = load_for_training(self.settings(side), self._config.training)
        return self._bases[side]

    def scorer(self, side: Side) -> LoadedBase | VllmBase:
        """Return what scores a side's adapters: the loaded base, or vLLM's engine, of which there is one at a time."""
        if self._config.evaluation.backend == "hf":
            return self.base(side)
        if side not in self._engines:
            from muscle.evaluation.vllm_base import VllmBase

            self.free()
            free_memory()
            self._engines[side] = VllmBase(
                self.settings(side),
                self._adapters(side),
                precision=self._config.training.precision,
                arguments=self._config.evaluation.vllm,
            )
        return self._engines[side]

    def free(self) -> None:
        """Let go of the loaded bases, and of vLLM's engine."""
        self._bases.clear()
        for engine in self._engines.values():
            engine.close()
        self._engines.clear()
