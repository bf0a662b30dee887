"""Reading a run: the format is found by content, then one module reads it.

A reader of a foreign format is a module with `recognises(path, head) -> bool` and `read(path) -> Run`. It is
imported only when a run is read. Our own records, and the plain tables that users bring, are read here.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Protocol, cast

from muscle.errors import DataError, UnfinishedError
from muscle.predictions.choose import with_filter, with_metric
from muscle.predictions.formats import FOREIGN, PLAIN
from muscle.predictions.messages import reason
from muscle.predictions.packed import readable, with_name_of
from muscle.predictions.plain.files import read_plain
from muscle.predictions.records import with_input_hash
from muscle.predictions.run import Run
from muscle.predictions.tables import run_of_table

logger = logging.getLogger(__name__)

HEAD_BYTES = 65_536


class _Reader(Protocol):
    """A module that reads one foreign format."""

    def recognises(self, path: Path, head: bytes) -> bool:
        """Tell by name and beginning whether a file, or by names a folder, is of the format."""

    def read(self, path: Path, **options: str) -> Run:
        """Read it; `metric` and `provider` where the format has a choice of them."""


def _reader(name: str) -> _Reader:
    return cast("_Reader", importlib.import_module(f"muscle.predictions.readers.{name}"))


def _recognised(path: Path) -> str:
    """Find the format by content."""
    head = b""
    if path.is_file():
        with path.open("rb") as handle:
            head = handle.read(HEAD_BYTES)
    return next((name for name in FOREIGN if _reader(name).recognises(path, head)), PLAIN)


def _read_foreign(path: Path, format: str, metric: str | None, provider: str | None) -> Run:
    """Read a file of a foreign format, and choose in it."""
    options: dict[str, str] = {}
    if metric is not None and format in ("lm_eval", "inspect"):
        options["metric"] = metric
    if provider is not None:
        if format != "promptfoo":
            raise DataError(f"{path}: expected results of promptfoo, which have providers, found {format}")
        options["provider"] = provider
    run = _reader(format).read(path, **options)
    run = replace(run, metadata={"source": str(path), "format": format, **run.metadata})
    return run if metric is None else with_metric(run, metric, is_main=format != "lm_eval")


def _read_path(
    path: Path,
    format: str | None,
    columns: Mapping[str, str] | None,
    metric: str | None,
    provider: str | None,
) -> Run:
    if not path.exists():
        raise UnfinishedError(f"{path}: expected a file or folder of predictions, found nothing there")
    if format not in (None, PLAIN, *FOREIGN):
        raise DataError(f"format {format!r} is not known; expected one of {', '.join((PLAIN, *FOREIGN))}")
    try:
        with readable(path) as file:
            return with_name_of(_read_readable(file, format, columns, metric, provider), file, path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {reason(error)}") from None


def _read_readable(
    path: Path,
    format: str | None,
    columns: Mapping[str, str] | None,
    metric: str | None,
    provider: str | None,
) -> Run:
    """Read a file that is neither packed nor in UTF-16, or a folder."""
    format = format or _recognised(path)
    if format != PLAIN:
        if columns:
            logger.warning("%s: read as %s, whose columns are known; the column map says nothing of it", path, format)
        return _read_foreign(path, format, metric, provider)
    plain = read_plain(path, columns)
    if provider is not None:
        raise DataError(f"{path}: expected results of promptfoo, which have providers, found plain records")
    run = Run(
        path.stem if path.is_file() else path.name,
        plain.frame,
        {"source": str(path), "format": PLAIN, **plain.metadata},
        plain.unread,
    )
    return run if metric is None else with_metric(run, metric)


def read_run(
    source: object,
    *,
    format: str | None = None,
    name: str | None = None,
    columns: Mapping[str, str] | None = None,
    metric: str | None = None,
    filter: str | None = None,
    provider: str | None = None,
    hash_inputs: bool = True,
) -> Run:
    """Read the predictions of one version of a model.

    Args:
        source: a file or folder in any format that is known, a polars, pandas, pyarrow or similar table, a list of
            dicts, or a `Run`.
        format: "records" or a reader's name; None finds it by content.
        name: what reports call the version; None takes the file's or folder's name.
        columns: our field names to the table's (`{"id": "question_id", "slice.topic": "topic"}`).
        metric: the metric that decides, in tasks that have it; None takes the format's own headline.
        filter: of several readings of one answer (`strict-match`, `flexible-extract`) the one to keep; None keeps all.
        provider: id or label of the model to read from a results file of promptfoo that holds several.
        hash_inputs: whether to fill `input_hash`; a comparison that has the texts can save the second a
            million rows that it takes.

    Returns:
        The records in one table, and what is known of how the run was made.

    Raises:
        DataError: the source is missing, of an unknown format, or holds what it should not; the message
            names file, line and field.
    """
    if isinstance(source, Run):
        run = source if metric is None else with_metric(source, metric)
    elif isinstance(source, str | PathLike):
        run = _read_path(Path(source), format, columns, metric, provider)
    else:
        run = run_of_table(source, columns, name or "table")
        run = run if metric is None else with_metric(run, metric)
    if filter is not None:
        run = with_filter(run, filter)
    frame = with_input_hash(run.frame) if hash_inputs else run.frame
    return replace(run, name=name or run.name, frame=frame)
