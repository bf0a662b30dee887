"""From one result object, report.json's dict, to what people read. Every renderer is a pure function of that dict."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from muscle.errors import DataError, MuscleError
from muscle.files import write_json, write_text

REPORT_FORMAT = "muscle-report/1"


@contextmanager
def whole_report(path: Path) -> Iterator[None]:
    """Let a renderer's block fail as bad input: the report was read from a file that anyone may have changed or cut.

    Raises:
        DataError: the report lacks something, or holds something else in its place.
    """
    try:
        yield
    except MuscleError:
        raise
    except Exception as error:  # what a renderer raises depends on what is missing
        raise DataError(
            f"{path}: cannot be rendered ({type(error).__name__}: {error}): expected a report as this version of muscle writes it, "
            "found it changed, cut or of another version; compare the runs again"
        ) from error


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
    from muscle.report.page.html import render_html

    write_text(path, render_html(report))


def write_markdown(report: dict[str, Any], path: Path) -> None:
    """Write the Markdown form, made for a pull request."""
    from muscle.report.text.markdown import render_markdown

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
        report = json.loads(path.read_bytes(), parse_constant=_no_number)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such report") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: expected a report in JSON, found damaged JSON ({error})") from error
    if not isinstance(report, dict) or report.get("format") != REPORT_FORMAT:
        raise DataError(f"{path}: expected a report of muscle ({REPORT_FORMAT})")
    return report, path.parent


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")
