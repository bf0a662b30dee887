"""The report of an update, from its runs' predictions: `report.json`, `.md` and `.html`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from muscle.comparison import compare
from muscle.config.settings import ReportSettings
from muscle.flips.options import CompareOptions
from muscle.report import write_reports
from muscle.report.without_texts import without_texts

_OTHER_RUNS = {
    "base": "new base without adapter",
    "control": "new adapter trained on (no old model)",
}
"""Further runs beside old, new and compat: folder name to the name in the report."""


_MAIN_RUNS = ("old", "new", "compat", "floor")


def write_update_report(runs: Mapping[str, Path], settings: ReportSettings, out: Path) -> None:
    """Compare old with new and with the compatibility adapter, and write the report.

    Args:
        runs: folders of predictions by run: old, new, compat, and further ones.
        settings: what the report holds.
        out: the run folder.

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
    report = replace(comparison.report, sources=sources, title=settings.title)
    write_reports(report if settings.texts else without_texts(report), out)
