"""From one result object, report.json's dict, to what people read. Every renderer is a pure function of that dict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from muscle.errors import DataError
from muscle.files import write_json, write_text

REPORT_FORMAT = "muscle-report/1"


def write_reports(report: dict[str, Any], folder: Path) -> None:
    """Write `report.json`, `report.md` and `report.html` into a folder.

    Raises:
        OutputError: a file cannot be written.
    """
    write_json(folder / "report.json", report)
    write_markdown(report, folder / "report.md")
    write_html(report, folder / "report.html")


def write_html(report: dict[str, Any], path: Path) -> None:
    """Write the self-contained HTML page."""
    from muscle.report.html import render_html

    write_text(path, render_html(report))


def write_markdown(report: dict[str, Any], path: Path) -> None:
    """Write the Markdown form, made for a pull request."""
    from muscle.report.markdown import render_markdown

    write_text(path, render_markdown(report))


def read_report(source: Path) -> tuple[dict[str, Any], Path]:
    """Read a report.json, or the one in a run folder.

    Returns:
        The report and the folder it stands in.

    Raises:
        DataError: there is none, or it is damaged or of another kind.
    """
    path = source / "report.json" if source.is_dir() else source
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such report") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: expected a report in JSON, found damaged JSON ({error})") from error
    if not isinstance(report, dict) or report.get("format") != REPORT_FORMAT:
        raise DataError(f"{path}: expected a report of muscle ({REPORT_FORMAT})")
    return report, path.parent
