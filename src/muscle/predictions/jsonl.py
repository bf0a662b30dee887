"""Reading JSON lines: with polars where the file is as it should be, row by row where something is wrong.

The columns' forms are taken from the file's first lines. Polars refuses whatever does not fit them, and the
slow way then either reads it (a reference that is text here and a list there) or names line and field.
"""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

import polars as pl

from muscle.errors import DataError
from muscle.predictions.normalise import expand_objects, to_records
from muscle.predictions.records import COLUMNS
from muscle.predictions.rows import shorten, table_from_rows
from muscle.predictions.run import SCORE_PREFIX, SLICE_PREFIX

MAX_LINE_BYTES = 32 << 20
"""No prediction is longer; a longer line is a file of another kind, and would cost memory many times its size."""

SAMPLE_LINES = 100
SAMPLE_BYTES = 1 << 20
BLOCK_BYTES = 1 << 24
_TEXTS = ("id", "input", "output", "task", "error")
_MAGIC = {
    b"\x1f\x8b": "gzip: unpack it first (gunzip)",
    b"\x28\xb5\x2f\xfd": "zstd: unpack it first (zstd -d)",
    b"PK\x03\x04": "a zip archive: unpack it first",
    b"PAR1": "Parquet: name it .parquet",
    b"\xff\xfe": "UTF-16 text: save it as UTF-8",
    b"\xfe\xff": "UTF-16 text: save it as UTF-8",
}


def check_text(path: Path, head: bytes) -> None:
    """Refuse bytes that cannot be JSON lines.

    Raises:
        DataError: the file is empty, compressed, or of another binary format.
    """
    if not head.strip():
        raise DataError(f"{path}: expected one JSON object a line, found an empty file")
    for magic, advice in _MAGIC.items():
        if head.startswith(magic):
            raise DataError(f"{path}: expected one JSON object a line, found {advice}")


def _check_lines(path: Path) -> None:
    """Refuse a file with a line of more than `MAX_LINE_BYTES`.

    Such a line covers a whole block of half that length, so that one look for a line's end in each block is enough: next to
    nothing is read of a file of ordinary lines.
    """
    if path.stat().st_size <= MAX_LINE_BYTES:
        return
    half = MAX_LINE_BYTES // 2
    with path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for start in range(0, len(data), half):
            if data.find(b"\n", start, start + half) >= 0:
                continue
            begin, end = data.rfind(b"\n", 0, start) + 1, data.find(b"\n", start)
            length = (end if end >= 0 else len(data)) - begin
            if length > MAX_LINE_BYTES:
                blocks = (data[at : min(at + half, begin)] for at in range(0, begin, half))
                number = sum(block.count(b"\n") for block in blocks) + 1
                raise DataError(
                    f"{path}, line {number}: expected lines of at most {MAX_LINE_BYTES >> 20} MiB, found one of "
                    f"{length / (1 << 20):.1f} MiB"
                )


def _bad_json(path: Path, number: int, line: bytes, error: Exception) -> NoReturn:
    place = f"{path}, line {number}"
    if isinstance(error, RecursionError):
        raise DataError(f"{place}: expected a flat JSON object, found one nested too deeply")
    if isinstance(error, UnicodeDecodeError):
        raise DataError(
            f"{place}: expected UTF-8, found byte 0x{line[error.start]:02x} at column {error.start + 1}; save it as UTF-8"
        )
    if not line.endswith(b"\n"):
        raise DataError(f"{place}: the file is cut off in the middle of this line; write it again")
    column = getattr(error, "pos", 0) + 1
    raise DataError(f"{place}, column {column}: expected one JSON object a line, found {shorten(line[:60])}")


def _numbered_objects(path: Path, *, max_bytes: int | None = None) -> Iterator[tuple[int, Any]]:
    """Yield line number (from 1) and object of every line that is not blank, up to about `max_bytes`."""
    num_bytes = 0
    with path.open("rb") as handle:
        for number, line in enumerate(handle, 1):
            num_bytes += len(line)
            if line.isspace():
                continue
            if max_bytes is not None and num_bytes > max_bytes and number > 1:
                return
            try:
                yield number, json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except (ValueError, RecursionError) as error:
                _bad_json(path, number, line, error)


def rename_fields(row: Any, columns: Mapping[str, str]) -> Any:
    """Give an object's fields our names: those that `columns` maps, and the others as they are."""
    if not columns or not isinstance(row, dict):
        return row
    taken = {ours: row[theirs] for ours, theirs in columns.items() if theirs in row}
    return {name: value for name, value in row.items() if name not in columns} | taken


def _line_of(path: Path, row: int) -> str:
    """Name the line that a row (from 0) of the table came from."""
    with path.open("rb") as handle:
        lines = (number for number, line in enumerate(handle, 1) if not line.isspace())
        number = next(islice(lines, row, None), row + 1)
    return f"{path}, line {number}"


def _schema(sample: list[dict[str, Any]], columns: Mapping[str, str]) -> dict[str, pl.DataType]:
    """Choose the form of each field that has several, by what the first lines hold."""
    kinds = {
        name: {type(row[name]) for row in sample if row.get(name) is not None}
        for name in ("reference", "score", "correct")
    }
    # As text, a score's object keeps names that the first lines do not have.
    schema: dict[str, pl.DataType] = {name: dtype for name, dtype in COLUMNS.items() if name not in columns}
    schema |= {"score": pl.String(), "slices": pl.String()}
    if kinds["score"] and kinds["score"] <= {int, float}:
        schema["score"] = pl.Float64()
    if kinds["correct"] and kinds["correct"] <= {int, float}:
        schema["correct"] = pl.Float64()
    if kinds["reference"] == {int}:
        schema["reference"] = pl.Int64()
    elif kinds["reference"] and list not in kinds["reference"]:
        schema["reference"] = pl.String()
    for ours in columns:
        schema[ours] = schema.get(ours) or (pl.Float64() if ours.startswith(SCORE_PREFIX) else pl.String())
    return {columns.get(name, name): dtype for name, dtype in schema.items()}


def _has_structure(row: Mapping[str, Any]) -> bool:
    """Whether a text field holds a list or an object (chat messages), which polars would not write as JSON does."""
    values = [row.get(name) for name in _TEXTS]
    for name in ("choices", "reference"):
        value = row.get(name)
        values += value if isinstance(value, list) else []
    return any(isinstance(value, list | dict) for value in values)


def _fast_table(path: Path, columns: Mapping[str, str]) -> pl.DataFrame | None:
    """Read with polars; None where the file needs the careful way."""
    objects = islice(_numbered_objects(path, max_bytes=SAMPLE_BYTES), SAMPLE_LINES)
    sample = [rename_fields(row, columns) for _, row in objects]
    if not all(isinstance(row, dict) for row in sample) or any(_has_structure(row) for row in sample):
        return None
    theirs = list(columns.values())
    if len(set(theirs)) < len(theirs):
        return None
    schema = _occurring(
        path, _schema(sample, _all_names(sample, columns)), {name for row in sample for name in row}
    )
    try:
        table = pl.read_ndjson(path, schema=schema)
        table = table.rename({theirs: ours for ours, theirs in columns.items()}, strict=False)
        if "score" in table.columns:
            table = expand_objects(table, "score", SCORE_PREFIX, pl.Float64())
        if "slices" in table.columns:
            table = expand_objects(table, "slices", SLICE_PREFIX, pl.String())
    except pl.exceptions.PolarsError:
        return None
    # A list read as text cannot be told from text that looks like one.
    if schema.get("reference") == pl.String and table["reference"].str.starts_with("[").any():
        return None
    return table


def _occurring(path: Path, schema: dict[str, pl.DataType], seen: set[str]) -> dict[str, pl.DataType]:
    """Drop from a schema what stands nowhere in the file: a column of nulls takes time and memory."""
    missing = {json.dumps(name).encode(): name for name in schema if name not in seen}
    if not missing:
        return schema
    found = seen | {missing[name] for name in _mentioned(path, list(missing))}
    return {name: dtype for name, dtype in schema.items() if name in found}


def _mentioned(path: Path, names: list[bytes]) -> set[bytes]:
    """Return which of some names stand anywhere in a file; one pass, a block at a time."""
    pattern, overlap = re.compile(b"|".join(map(re.escape, names))), max(map(len, names))
    found, tail = set[bytes](), b""
    with path.open("rb") as handle:
        while (block := handle.read(BLOCK_BYTES)) and len(found) < len(names):
            found.update(pattern.findall(tail + block))
            tail = block[-overlap:]
    return found


def _all_names(sample: list[dict[str, Any]], columns: Mapping[str, str]) -> dict[str, str]:
    """The column map, with `score.<name>` and `slice.<name>` fields that the sample has at top level."""
    flat = {name for row in sample for name in row if name.startswith((SCORE_PREFIX, SLICE_PREFIX))}
    return {name: name for name in flat} | dict(columns)


def read_jsonl(path: Path, *, columns: Mapping[str, str] | None = None) -> pl.DataFrame:
    """Read a file of JSON lines as records.

    Args:
        path: the file; rows that name no task have a null there.
        columns: our field names to the file's.

    Raises:
        DataError: the file is empty, damaged, or a field is not what it should be: file, line, field.
    """
    columns = columns or {}
    with path.open("rb") as handle:
        check_text(path, handle.read(4096))
    _check_lines(path)

    def where(row: int) -> str:
        return _line_of(path, row)

    table = _fast_table(path, columns)
    if table is None:
        objects = ((number, rename_fields(row, columns)) for number, row in _numbered_objects(path))
        table = table_from_rows(objects, where=lambda number: f"{path}, line {number}")
    return to_records(table, where=where)
