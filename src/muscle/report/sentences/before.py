"""What a reader must know before the first number: what differs beside the model, and what did not fit together."""

from __future__ import annotations

from muscle.flips.result.report import Report


def allowed_lines(report: Report) -> list[str]:
    """Return a line for each difference that would be refused and was allowed: it comes before what to do.

    Args:
        report: of a comparison or of the gate.
    """
    return [f"{text} (allowed)" for text, grave in _differences(report) if grave]


def before_lines(report: Report, *, limit: int) -> list[str]:
    """Return a line for each other difference between the runs, then the warnings.

    Args:
        report: of a comparison or of the gate.
        limit: lines; of more it is said how many there are.
    """
    lines = [text for text, grave in _differences(report) if not grave]
    lines += [f"note: {warning}" for warning in report.warnings]
    hidden = len(lines) - limit
    return lines[:limit] + ([f"and {hidden} more in the JSON report"] if hidden > 0 else [])


def _differences(report: Report) -> list[tuple[str, bool]]:
    """Return each difference once, and whether it was only allowed."""
    found: dict[str, tuple[str, bool]] = {}
    for side, differences in report.comparability.items():
        who = "" if side == "old_vs_new" else f"{side.removeprefix('old_vs_')}: "
        for each in differences:
            told = f"differs beside the model: {who}{each.what}: {each.message}"
            found.setdefault(each.message, (told, each.severity == "refuse"))
    return list(found.values())
