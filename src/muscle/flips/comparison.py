"""What a comparison gives back: the report, and the paired runs for those who go on with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from muscle.flips.pairing.pair import Pair


def missing_sentence(judged: Pair, rerun: Pair | None) -> str:
    """Say what is missing of the runs that are judged; empty where nothing is."""
    told = [judged.missing.sentence()] if judged.missing.num else []
    told += (
        [f"of the second run {rerun.missing.sentence()}"] if rerun is not None and rerun.missing.num else []
    )
    return ", ".join(told)


class Shown:
    """A result with a report: its sentence, its JSON, and the page for people."""

    report: dict[str, Any]

    @property
    def headline(self) -> str:
        """The verdict in a sentence."""
        return str(self.report["headline"])

    def to_json(self) -> dict[str, Any]:
        """Return the result object: plain dicts, lists, text and finite numbers."""
        return self.report

    def show(self) -> None:
        """Show the report: below the cell in a notebook, else in the browser."""
        # Only here does this half of the project know of its reports: the method is for people, not for the pipeline.
        from muscle.report.notebook import show

        show(self.report)

    def _repr_html_(self) -> str:
        """Return the report for a notebook's output."""
        from muscle.report.notebook import frame

        return frame(self.report)


@dataclass(frozen=True)
class Comparison(Shown):
    """The result of a comparison.

    Attributes:
        report: the result object, as `report.json` holds it.
        old_vs_new: the joined items of old and new, for those who go on with them.
        old_vs_candidate: the same of old and candidate; None without one.
        old_vs_rerun: the same of old and a second run of the old version; None without one.
    """

    report: dict[str, Any]
    old_vs_new: Pair = field(repr=False)
    old_vs_candidate: Pair | None = field(repr=False, default=None)
    old_vs_rerun: Pair | None = field(repr=False, default=None)

    @property
    def missing(self) -> str:
        """Say what is missing of the runs that the verdict is on; empty where nothing is."""
        return missing_sentence(self.old_vs_candidate or self.old_vs_new, self.old_vs_rerun)

    @property
    def verdict(self) -> str:
        """One of pass, warn, block, cannot_tell."""
        return str(self.report["verdict"])
