"""The two bases of an update in memory: loaded when a stage first needs them, and let go of together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from muscle.config.settings import BaseConfig
from muscle.config.update_file import UpdateConfig
from muscle.models.bases import LoadedBase, load_for_training
from muscle.models.devices import free_memory

if TYPE_CHECKING:
    from muscle.evaluation.vllm_base import VllmBase

logger = logging.getLogger(__name__)

Side = Literal["old", "new"]
SIDES: tuple[Side, ...] = ("old", "new")


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
