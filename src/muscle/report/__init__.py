"""From one typed report to what people read. Every form is a pure function of that report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from muscle.errors import DataError, MuscleError
from muscle.files import write_json, write_text
from muscle.flips.result.report import FORMAT, Report


@contextmanager
def whole_report(path: Path) -> Iterator[None]:
    """Let a renderer's block fail as bad input: a kept report may have the right types and still be impossible.

    Raises:
        DataError: the report holds numbers or texts that no comparison gives, as a rate of 1e308.
    """
    try:
        yield
    except MuscleError:
        raise
    except Exception as error:  # what a renderer raises depends on what was changed
        raise DataError(
            f"{path}: cannot be rendered ({type(error).__name__}: {error}): expected a report as this version of "
            "muscle writes it, found it changed, cut or of another version; compare the runs again"
        ) from error


def write_reports(report: Report, folder: Path) -> None:
    """Write `report.json`, `report.md` and `report.html` into a folder.

    Raises:
        OutputError: a file cannot be written.
    """
    write_json(folder / "report.json", report.to_json())
    write_markdown(report, folder / "report.md")
    write_html(report, folder / "report.html")


def write_html(report: Report, path: Path) -> None:
    """Write the self-contained HTML page."""
    from muscle.report.page.html import render_html

    write_text(path, render_html(report))


def write_markdown(report: Report, path: Path) -> None:
    """Write the Markdown form, made for a pull request."""
    from muscle.report.text.markdown import render_markdown

    write_text(path, render_markdown(report))


def read_report(source: Path) -> tuple[Report, Path]:
    """Read a report.json, or the one in a run folder.

    Returns:
        The report and the folder it stands in.

    Raises:
        DataError: there is none, or it is damaged, changed or of another kind.
    """
    path = source / "report.json" if source.is_dir() else source
    try:
        found = json.loads(path.read_bytes(), parse_constant=_no_number)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such report") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: expected a report in JSON, found damaged JSON ({error})") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise DataError(f"{path}: expected a report of muscle ({FORMAT})")
    return Report.from_json(found, where=str(path)), path.parent


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")
