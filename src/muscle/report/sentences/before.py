"""What a reader must know before the first number: what differs beside the model, and what did not fit together."""

from __future__ import annotations

from muscle.flips.result.report import Report


def before_lines(report: Report, *, limit: int) -> list[str]:
    """Return a line for each difference between the runs, what was only allowed first, then the warnings.

    Args:
        report: of a comparison or of the gate.
        limit: lines; of more it is said how many there are.
    """
    found: dict[str, tuple[bool, str]] = {}
    for side, differences in report.comparability.items():
        who = "" if side == "old_vs_new" else f"{side.removeprefix('old_vs_')}: "
        for each in differences:
            told = f"differs beside the model: {who}{each.what}: {each.message}"
            grave = each.severity == "refuse"
            found.setdefault(each.message, (grave, f"{told} (allowed)" if grave else told))
    lines = [text for _, text in sorted(found.values(), key=lambda entry: not entry[0])]
    lines += [f"note: {warning}" for warning in report.warnings]
    hidden = len(lines) - limit
    return lines[:limit] + ([f"and {hidden} more in the JSON report"] if hidden > 0 else [])
