"""TRL: an `SFTTrainer` that trains a compatibility adapter.

Data, collator, prompt, packing and which tokens count are those of `SFTTrainer` and its `SFTConfig`; only the loss
differs. TRL's own `compute_loss_func` is deprecated and costs a second forward pass, so the loss is overridden.
"""

from __future__ import annotations

from typing import Any

from trl import SFTTrainer

from muscle.integrations.loss import CompatibilityLoss
from muscle.integrations.settings import Teaching


class CompatibilityTrainer(CompatibilityLoss, SFTTrainer):  # type: ignore[misc]
    """`trl.SFTTrainer` with the loss of Eq. 1 and 5.

    Args:
        teaching: the two task models and the formula.
        **kwargs: as for `SFTTrainer`; `model` is the new base with A_v2 as its trainable adapter.
    """

    def __init__(self, *args: object, teaching: Teaching, **kwargs: Any) -> None:
        self._teaching = teaching
        super().__init__(*args, **kwargs)

    def teaching(self) -> Teaching:
        """Return what the trainer was given."""
        return self._teaching
