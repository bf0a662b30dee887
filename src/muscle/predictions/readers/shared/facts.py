"""What is known of several runs of one model, brought together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from muscle.predictions.run import Run


def merged_facts(runs: Sequence[Run], common: Mapping[str, Any]) -> dict[str, Any]:
    """Return one run's metadata with the tasks, results and directions of all runs, their remarks and files.

    Args:
        runs: of different tasks.
        common: the metadata that holds for all of them; what it lacks is not brought together.
    """
    merged = dict(common)
    for name in {"tasks", "results", "higher_is_better"} & common.keys():
        merged[name] = {key: value for run in runs for key, value in run.metadata[name].items()}
    for name in {"notes", "readings", "files"} & common.keys():
        merged[name] = [entry for run in runs for entry in run.metadata[name]]
    return merged
