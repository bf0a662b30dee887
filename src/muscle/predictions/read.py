"""Reading a run: the format is found by content, then one module reads it.

A reader of a foreign format is a module with `recognises(path, head) -> bool` and `read(path) -> Run`. It is
imported only when a run is read. Our own records, and the plain tables that users bring, are read here.
"""

from __future__ import annotations

import importlib
import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from muscle.errors import DataError
from muscle.predictions.choose import with_filter, with_metric
from muscle.predictions.jsonl import check_text, read_jsonl, rename_fields
from muscle.predictions.normalise import name_task, to_records
from muscle.predictions.records import concat_records, with_input_hash
from muscle.predictions.rows import table_from_rows
from muscle.predictions.run import Run

logger = logging.getLogger(__name__)

HEAD_BYTES = 65_536
METADATA_FILE = "run.json"
PLAIN = "records"
"""The format name of our own records and of plain JSONL, JSON, CSV, Parquet and Arrow files."""

DEFAULT_TASK = "default_task"
"""Metadata key: the task's name where the rows named none and it was taken from the file."""

UNNAMED_TASK = "all"

FOREIGN: tuple[str, ...] = (
    "lm_eval",
    "inspect",
    "promptfoo",
    "every_eval_ever",
    "helm",
    "lighteval",
    "nemo",
    "openai_evals",
    "bfcl",
    "prompt_scores",
)
"""Modules in `muscle.predictions.readers`, in the order in which they are asked; also the format names."""

_TABLE_SUFFIXES = (".parquet", ".csv", ".arrow", ".feather")
_SUFFIXES = (".jsonl", ".ndjson", ".json", *_TABLE_SUFFIXES)


def _reader(name: str) -> Any:
    return importlib.import_module(f"muscle.predictions.readers.{name}")


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error).strip() or type(error).__name__).splitlines()[0][:160]


def _read_table(path: Path) -> pl.DataFrame:
    """Read a table file as it is."""
    try:
        if path.suffix == ".parquet":
            return pl.read_parquet(path)
        if path.suffix == ".csv":
            # As text: the fields' own checks know better than a guess what a column should hold.
            return pl.read_csv(path, infer_schema=False)
        return pl.read_ipc(path)
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        raise DataError(
            f"{path}: expected a whole {path.suffix} file, found a damaged one ({_reason(error)})"
        ) from None


def _renamed(table: pl.DataFrame, columns: Mapping[str, str] | None, place: str) -> pl.DataFrame:
    """Give the columns our names, as the map says."""
    if not columns:
        return table
    absent = [theirs for theirs in columns.values() if theirs not in table.columns]
    if absent:
        raise DataError(f"{place}: expected the column {absent[0]!r}, found {', '.join(table.columns)}")
    mapped = [table[theirs].alias(ours) for ours, theirs in columns.items()]
    others = [name for name in table.columns if name not in columns and name not in columns.values()]
    return table.select(*others, *mapped)


def _read_json_array(path: Path, columns: Mapping[str, str] | None) -> pl.DataFrame:
    """Read a JSON file that holds a list of objects."""
    try:
        rows = json.loads(path.read_bytes())
    except RecursionError:
        raise DataError(
            f"{path}: expected a JSON list of flat objects, found one nested too deeply"
        ) from None
    except ValueError as error:
        raise DataError(
            f"{path}: expected a JSON list of objects, found damaged JSON ({_reason(error)})"
        ) from None

    def where(row: int) -> str:
        return f"{path}, record {row + 1}"

    objects = enumerate(rename_fields(row, columns or {}) for row in rows)
    return to_records(table_from_rows(objects, where=where), where=where)


def _read_file(path: Path, columns: Mapping[str, str] | None) -> pl.DataFrame:
    """Read one file of our own or plain records."""
    with path.open("rb") as handle:
        head = handle.read(HEAD_BYTES)
    if path.suffix in _TABLE_SUFFIXES:
        if not head:
            raise DataError(f"{path}: expected a {path.suffix} file with predictions, found an empty file")
        table = _renamed(_read_table(path), columns, str(path))
        first = 2 if path.suffix == ".csv" else 1
        unit = "line" if path.suffix == ".csv" else "row"
        return to_records(table, where=lambda row: f"{path}, {unit} {row + first}")
    if head.lstrip().startswith(b"["):
        check_text(path, head)
        return _read_json_array(path, columns)
    return read_jsonl(path, columns=columns)


def _metadata(folder: Path) -> dict[str, Any]:
    """Read what the folder's `run.json` says of the run."""
    path = folder / METADATA_FILE
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: expected a JSON object, found damaged JSON ({_reason(error)})") from None
    if not isinstance(value, dict):
        raise DataError(f"{path}: expected a JSON object, found a {type(value).__name__}")
    return value


def _read_plain(path: Path, columns: Mapping[str, str] | None) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Read a file, or a folder with a file for each task."""
    if not path.is_dir():
        frame = _read_file(path, columns)
        unnamed = frame["task"].null_count() == frame.height
        return name_task(frame, path.stem), {DEFAULT_TASK: path.stem} if unnamed else {}
    files = sorted(f for f in path.iterdir() if f.suffix in _SUFFIXES and f.name != METADATA_FILE)
    if not files:
        found = ", ".join(sorted(f.name for f in path.iterdir())[:5]) or "nothing"
        raise DataError(f"{path}: expected TASK.jsonl or TASK.parquet files, found {found}")
    frames = [name_task(_read_file(file, columns), file.stem) for file in files]
    return concat_records(frames), _metadata(path)


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
    run: Run = _reader(format).read(path, **options)
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
        raise DataError(f"{path}: expected a file or folder of predictions, found nothing there")
    if format not in (None, PLAIN, *FOREIGN):
        raise DataError(f"format {format!r} is not known; expected one of {', '.join((PLAIN, *FOREIGN))}")
    try:
        format = format or _recognised(path)
        if format != PLAIN:
            if columns:
                logger.warning(
                    "%s: read as %s, whose columns are known; the column map says nothing of it", path, format
                )
            return _read_foreign(path, format, metric, provider)
        frame, metadata = _read_plain(path, columns)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {_reason(error)}") from None
    if provider is not None:
        raise DataError(f"{path}: expected results of promptfoo, which have providers, found plain records")
    run = Run(
        path.stem if path.is_file() else path.name, frame, {"source": str(path), "format": PLAIN, **metadata}
    )
    return run if metric is None else with_metric(run, metric)


def _from_table(source: Any) -> pl.DataFrame:
    """Take over a polars, pandas or pyarrow table without importing what is not there."""
    if isinstance(source, pl.DataFrame):
        return source
    if isinstance(source, pl.LazyFrame):
        return source.collect()
    kind = type(source).__module__.partition(".")[0]
    if kind == "pandas":
        return pl.from_pandas(source)
    if kind == "pyarrow":
        table = pl.from_arrow(source)
        return table if isinstance(table, pl.DataFrame) else table.to_frame()
    raise DataError(
        f"predictions: expected a path, a Run, or a polars, pandas or pyarrow table, found {type(source).__name__}"
    )


def read_run(
    source: Any,
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
        source: a file or folder in any format that is known, a polars, pandas or pyarrow table, or a `Run`.
        format: "records" or a reader's name; None finds it by content.
        name: what reports call the version; None takes the file's or folder's name.
        columns: our field names to the table's (`{"id": "question_id", "slice.topic": "topic"}`).
        metric: the metric that decides, in tasks that have it; None takes the format's own headline.
        filter: of several readings of one answer (`strict-match`, `flexible-extract`) the one to keep; None keeps all.
        provider: id or label of the model to read from a results file of promptfoo that holds several.
        hash_inputs: whether to fill `input_hash`; a comparison that has the texts can save the second a
            million rows that it takes.

    Raises:
        DataError: the source is missing, of an unknown format, or holds what it should not; the message
            names file, line and field.
    """
    if isinstance(source, Run):
        run = source if metric is None else with_metric(source, metric)
    elif isinstance(source, str | Path):
        run = _read_path(Path(source), format, columns, metric, provider)
    else:
        table = _renamed(_from_table(source), columns, name or "table")
        label = name or "table"
        frame = to_records(table, where=lambda row: f"{label}, row {row + 1}")
        unnamed = {DEFAULT_TASK: UNNAMED_TASK} if frame["task"].null_count() == frame.height else {}
        kind = type(source).__module__.partition(".")[0]
        metadata = {"source": f"{kind} table", "format": "table", **unnamed}
        run = Run(label, name_task(frame, UNNAMED_TASK), metadata)
        run = run if metric is None else with_metric(run, metric)
    if filter is not None:
        run = with_filter(run, filter)
    frame = with_input_hash(run.frame) if hash_inputs else run.frame
    return replace(run, name=name or run.name, frame=frame)
