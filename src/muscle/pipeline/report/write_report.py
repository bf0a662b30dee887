"""The last stage of an update: its runs' predictions compared, and `report.json`, `.md` and `.html` written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from muscle import distributed
from muscle.comparison import compare
from muscle.config.settings import ReportSettings
from muscle.flips.options import CompareOptions
from muscle.flips.result.report import Report
from muscle.flips.trained import TrainedAdapter
from muscle.models.adapters import MODEL_CARD
from muscle.pipeline.run_folder import content_of
from muscle.pipeline.stage import Stage
from muscle.predictions.run import METADATA_FILE
from muscle.provenance import fingerprint, versions
from muscle.report import write_reports
from muscle.report.without_texts import without_texts
from muscle.shipping.card import add_flips
from muscle.typed_json import to_json

_OTHER_RUNS = {
    "base": "new base without adapter",
    "control": "new adapter trained on (no old model)",
}
"""Further runs beside old, new and compat: folder name to the name in the report."""


_MAIN_RUNS = ("old", "new", "compat", "floor")


def write_update_report(
    runs: Mapping[str, Path],
    settings: ReportSettings,
    out: Path,
    training: Mapping[str, Sequence[TrainedAdapter]],
    notes: Sequence[str] = (),
) -> None:
    """Compare old with new and with the compatibility adapter, and write the report.

    Args:
        runs: folders of predictions by run: old, new, compat, and further ones.
        settings: what the report holds.
        out: the run folder.
        training: how the adapters of each task were trained.
        notes: what a reader must know of data and controls; they stand first among the warnings.

    Raises:
        MuscleError: the runs cannot be compared, or the report cannot be written.
    """
    comparison = compare(
        runs["old"],
        runs["new"],
        candidate=runs["compat"],
        floor=runs.get("floor"),
        others={_OTHER_RUNS.get(run, run): path for run, path in runs.items() if run not in _MAIN_RUNS},
        options=CompareOptions(max_flips=settings.max_flips),
    )
    # Where the runs stand in the run folder, for no absolute path is passed on.
    places = {"old": "old", "new": "new", "candidate": "compat", "floor": "floor"}
    sources = {
        role: {**facts, "source": f"predictions/{places[role]}"} for role, facts in comparison.report.sources.items()
    }
    warnings = [*notes, *comparison.report.warnings]
    report = replace(comparison.report, sources=sources, title=settings.title, training=training, warnings=warnings)
    write_reports(report if settings.texts else without_texts(report), out)


def write_cards(report: Report, out: Path) -> None:
    """Put the flip tables of an update's report into its compatibility adapters' model cards, where they lack them.

    Not a stage's: an adapter that was trained again, the same as before, has a new card and the old report.

    Raises:
        OutputError: a card cannot be written.
    """
    for task in report.tasks:
        adapter = out / "adapters" / "compat" / task
        if (adapter / MODEL_CARD).is_file():
            add_flips(adapter, report, task)


def report_stage(
    folder: Path,
    scored: Sequence[str],
    tasks: Sequence[str],
    settings: ReportSettings,
    trained: Callable[[], Mapping[str, Sequence[TrainedAdapter]]],
    free: Callable[[], None],
    notes: Sequence[str],
) -> Stage:
    """Return the stage.

    Args:
        folder: the run folder.
        scored: the runs with predictions.
        tasks: by name.
        settings: what the report holds.
        trained: reads how the adapters of each task were trained, once they are.
        free: lets go of what comparing does not need.
        notes: what a reader must know of data and controls, a sentence each.
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
            # Left out where there is none. Only the training data may have changed, under adapters that are given.
            **({"notes": list(notes)} if notes else {}),
            # Another version may say more of the same predictions.
            "muscle": versions()["muscle-llm"],
        }

    def work() -> None:
        free()
        distributed.from_main(partial(write_update_report, runs, settings, folder, trained(), notes))

    needs = tuple(f"evaluate {run}/{task}" for run in runs for task in tasks)
    outputs = tuple(folder / f"report.{form}" for form in ("json", "md", "html"))
    return Stage("report", inputs, outputs, work, needs)
