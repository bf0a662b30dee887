"""See, stop and fix the negative flips of an LLM update.

The public names are imported on first use, so that `import muscle` is instant and comparing runs never loads torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from muscle.comparison import Comparison, compare, history
    from muscle.config.update_file import UpdateConfig, load_config
    from muscle.errors import MuscleError
    from muscle.flips.options import CompareOptions, JudgeErrors
    from muscle.flips.result.report import Report
    from muscle.pipeline.update import update
    from muscle.predictions.read import read_run
    from muscle.predictions.run import Run
    from muscle.report.collection.rows import Collection, collect
    from muscle.tasks import get_task
    from muscle.training.align import align
    from muscle.training.data.batches import IGNORE_INDEX
    from muscle.training.finetune import finetune
    from muscle.training.losses.loss import compatibility_loss
    from muscle.training.teachers.online import OnlineTeachers
    from muscle.training.trainer import CompatibilityTrainer

__all__ = [
    "IGNORE_INDEX",
    "Collection",
    "CompareOptions",
    "Comparison",
    "CompatibilityTrainer",
    "JudgeErrors",
    "MuscleError",
    "OnlineTeachers",
    "Report",
    "Run",
    "UpdateConfig",
    "align",
    "collect",
    "compare",
    "compatibility_loss",
    "finetune",
    "get_task",
    "history",
    "load_config",
    "read_run",
    "update",
]

_HOMES = {
    "IGNORE_INDEX": "muscle.training.data.batches",
    "Collection": "muscle.report.collection.rows",
    "CompareOptions": "muscle.flips.options",
    "Comparison": "muscle.comparison",
    "CompatibilityTrainer": "muscle.training.trainer",
    "JudgeErrors": "muscle.flips.options",
    "MuscleError": "muscle.errors",
    "OnlineTeachers": "muscle.training.teachers.online",
    "Report": "muscle.flips.result.report",
    "Run": "muscle.predictions.run",
    "UpdateConfig": "muscle.config.update_file",
    "align": "muscle.training.align",
    "collect": "muscle.report.collection.rows",
    "compare": "muscle.comparison",
    "compatibility_loss": "muscle.training.losses.loss",
    "finetune": "muscle.training.finetune",
    "get_task": "muscle.tasks",
    "history": "muscle.comparison",
    "load_config": "muscle.config.update_file",
    "read_run": "muscle.predictions.read",
    "update": "muscle.pipeline.update",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'muscle' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
