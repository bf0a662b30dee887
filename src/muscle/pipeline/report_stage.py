"""The last stage of an update: its scored runs compared, and the report written in its three forms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from muscle import distributed
from muscle.config.settings import ReportSettings
from muscle.flips.trained import TrainedAdapter
from muscle.pipeline.run_folder import content_of
from muscle.pipeline.stage import Stage
from muscle.pipeline.write_report import write_update_report
from muscle.predictions.run import METADATA_FILE
from muscle.provenance import fingerprint, versions
from muscle.typed_json import to_json


def report_stage(
    folder: Path,
    scored: Sequence[str],
    tasks: Sequence[str],
    settings: ReportSettings,
    trained: Callable[[], Mapping[str, Sequence[TrainedAdapter]]],
    free: Callable[[], None],
) -> Stage:
    """Return the stage.

    Args:
        folder: the run folder.
        scored: the runs with predictions.
        tasks: by name.
        settings: what the report holds.
        trained: reads how the adapters of each task were trained, once they are.
        free: lets go of what comparing does not need.
    """
    runs = {run: folder / "predictions" / run for run in scored}

    def inputs() -> dict[str, object]:
        files = {f"{run}/{task}": path / f"{task}.jsonl" for run, path in runs.items() for task in tasks}
        return {
            "predictions": {name: content_of(path) for name, path in files.items()},
            "facts": {run: content_of(path / METADATA_FILE) for run, path in runs.items()},
            # Its time apart: an adapter that is trained again, the same as before, changes nothing.
            "training": fingerprint(to_json(trained())),
            "report": settings.identity(),
            # Another version may say more of the same predictions.
            "muscle": versions()["muscle-llm"],
        }

    def work() -> None:
        free()
        distributed.from_main(partial(write_update_report, runs, settings, folder, trained()))

    needs = tuple(f"evaluate {run}/{task}" for run in runs for task in tasks)
    outputs = tuple(folder / f"report.{form}" for form in ("json", "md", "html"))
    return Stage("report", inputs, outputs, work, needs)
