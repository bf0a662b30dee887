"""ms-swift: `--external_plugins` with this file; MUSCLE_CONFIG names the YAML that says who teaches.

A function for `--loss_type` would get the whole logits and nothing of the batch but its labels, so the trainer takes
the place of swift's own for fine-tuning.
"""

from __future__ import annotations

from typing import ClassVar

from swift.trainers import Seq2SeqTrainer
from swift.trainers.trainer_factory import TrainerFactory

from muscle.integrations.loss import CompatibilityLoss
from muscle.integrations.settings import Teaching, teaching_from_file


class CompatibilityTrainer(CompatibilityLoss, Seq2SeqTrainer):  # type: ignore[misc]
    """swift's trainer with the loss of Eq. 1 and 5."""

    not_for_the_model: ClassVar[tuple[str, ...]] = (
        "labels",
        "compute_loss_func",
        "loss_scale",
        "text_position_ids",
        "channel",
        "logits_to_keep",
    )

    def teaching(self) -> Teaching:
        """Return what the file says."""
        return teaching_from_file()

    def get_use_logits_to_keep(self, default_value: bool = True) -> bool:
        """Keep every position: swift would cut labels down to those of the answer."""
        del default_value
        return False


TrainerFactory.TRAINER_MAPPING["causal_lm"] = "muscle.integrations.for_swift.CompatibilityTrainer"
