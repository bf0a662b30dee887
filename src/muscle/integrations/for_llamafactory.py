"""LLaMA-Factory: `python -m muscle.integrations.for_llamafactory train.yaml` in place of `llamafactory-cli train`.

It has no place for a loss or a trainer of one's own, so its fine-tuning trainer is replaced before it runs.
MUSCLE_CONFIG names the YAML that says who teaches.
"""

from __future__ import annotations

from llamafactory.train.sft import workflow
from llamafactory.train.tuner import run_exp

from muscle.integrations.loss import CompatibilityLoss
from muscle.integrations.settings import Teaching, teaching_from_file


class CompatibilityTrainer(CompatibilityLoss, workflow.CustomSeq2SeqTrainer):  # type: ignore[misc]
    """LLaMA-Factory's trainer with the loss of Eq. 1 and 5."""

    def teaching(self) -> Teaching:
        """Return what the file says."""
        return teaching_from_file()


workflow.CustomSeq2SeqTrainer = CompatibilityTrainer

if __name__ == "__main__":
    teaching_from_file()  # before anything is loaded
    run_exp()
