"""Axolotl: a plugin. `plugins: [muscle.integrations.for_axolotl.MusclePlugin]`, and a section `muscle:` beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from axolotl.core.trainers.base import AxolotlTrainer
from axolotl.integrations.base import BasePlugin
from pydantic import BaseModel

from muscle.errors import ConfigError
from muscle.integrations.loss import CompatibilityLoss
from muscle.integrations.settings import Teaching, teaching

_SECTION = "the Axolotl configuration's section muscle"


class MuscleArgs(BaseModel):
    """What Axolotl's own validation lets through; the keys are checked by `Teaching`.

    Attributes:
        muscle: who teaches, and the formula.
    """

    muscle: dict[str, Any] | None = None


class CompatibilityTrainer(CompatibilityLoss, AxolotlTrainer):  # type: ignore[misc]
    """Axolotl's trainer with the loss of Eq. 1 and 5."""

    def teaching(self) -> Teaching:
        """Return what the configuration says."""
        return _teaching(self.axolotl_cfg)


class MusclePlugin(BasePlugin):  # type: ignore[misc]
    """Trains the adapter of `lora_model_dir` by the compatibility loss."""

    def register(self, cfg: Mapping[str, object]) -> None:
        """Refuse a wrong section before anything is loaded."""
        _teaching(cfg)

    def get_input_args(self) -> str:
        """Return where the section's type stands."""
        return "muscle.integrations.for_axolotl.MuscleArgs"

    def get_trainer_cls(self, cfg: Mapping[str, object]) -> type[CompatibilityTrainer]:
        """Return the trainer."""
        return CompatibilityTrainer


def _teaching(cfg: Mapping[str, object]) -> Teaching:
    found = cfg.get("muscle")
    if not isinstance(found, Mapping):
        raise ConfigError(f"{_SECTION}: expected old, new and what differs from the defaults, found {found!r}")
    # Keys that its schema knows and the file leaves out may be there as None.
    return teaching({key: value for key, value in found.items() if value is not None}, source=_SECTION)
