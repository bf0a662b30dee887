"""Table files as they are: CSV as text, Parquet and Arrow with their types.

CSV is read twice: by Python's strict reader, which counts each row's fields and knows its line, and by
polars. Polars alone fills short rows with nulls and reads on over a quote that nobody closes. A Parquet or
Arrow file says how large it is unpacked; that is looked at before anything is unpacked.
"""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import polars as pl

from muscle.errors import DataError
from muscle.foreign_text import listing
from muscle.predictions.formats import TEXT_SUFFIX, TEXT_TABLE_SUFFIXES
from muscle.predictions.messages import reason
from muscle.predictions.plain.known_names import ANSWERED, ASKED, EXPECTED, JUDGED, NAMED, plain_name
from muscle.predictions.plain.unpacked_size import arrow_bytes, parquet_size
from muscle.predictions.records import is_known

MAX_TABLE_BYTES = 8 << 30
"""Unpacked; ten million predictions with short texts are 3 GB."""

_ALWAYS_BYTES = 1 << 28
_MAX_RATIO = 100
"""Texts pack to a tenth, prompts with a long beginning in common to a fiftieth; what packs better is no such table."""

MAX_TABLE_ROWS = 200_000_000
_MAX_FIELD_CHARACTERS = 32 << 20
_SEPARATORS = (",", ";", "\t", "|")
_QUOTED = re.compile(r'"[^"]*"')
_SAID = re.compile(r"\ufeff?\"?sep=(.)\"?\r?\n?")
"""The line that Excel looks for before the header."""
_JSON_START = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:\[\s*)?\{")
_NOT_IN_1252 = b"\x81\x8d\x8f\x90\x9d"


def is_text_table(path: Path) -> bool:
    """Whether a `.txt` file is a table: Excel's "Unicode text" is one, with tabs."""
    if path.suffix.lower() != TEXT_SUFFIX:
        return False
    with path.open("rb") as handle:
        # What tells stands in the first line, and is written alike in all but UTF-16.
        encoding = "utf-16" if _has_utf16_mark(handle) else "utf-8"
    line = _first_line(path, encoding).lstrip("\ufeff \t")
    return not line.startswith(("{", "[")) and any(separator in line for separator in _SEPARATORS)


def holds_predictions(path: Path) -> bool:
    """Whether a `.txt` file in a folder is JSON lines or a table of predictions, and not somebody's notes.

    A table's header names at least two fields, in our words or the usual ones.
    """
    if path.suffix.lower() != TEXT_SUFFIX or not path.is_file():
        return False
    if not is_text_table(path):
        with path.open("rb") as handle:
            return _JSON_START.match(handle.read(64)) is not None
    encoding = text_encoding(path)
    separator = _separator(path, encoding)
    try:
        with _csv_rows(path, separator, encoding) as rows:
            header = next(rows, (1, []))[1]
    except (csv.Error, UnicodeDecodeError):
        return False
    known = {name for names in (ASKED, NAMED, ANSWERED, EXPECTED, JUDGED) for name in names}
    return sum(is_known(name.strip()) or plain_name(name) in known for name in header) > 1


@dataclass(frozen=True)
class _Layout:
    """How a CSV file is cut into rows."""

    header: list[str]
    separator: str
    encoding: str
    lines_before: int
    """Lines before the header."""
    num_rows: int
    blank_rows: list[int]
    """Rows, counted from 0 behind the header, that are empty lines."""


def read_table(path: Path) -> pl.DataFrame:
    """Read a `.csv`, `.parquet`, `.arrow` or `.feather` file as it is.

    Raises:
        DataError: the file is empty, damaged or far too large: file, and for CSV the line.
    """
    if not path.stat().st_size:
        raise DataError(f"{path}: expected a {path.suffix} file with predictions, found an empty file")
    if path.suffix.lower() in TEXT_TABLE_SUFFIXES:
        return read_csv(path)
    try:
        _refuse_huge_table(path)
        with _panics_held_back():
            return pl.read_parquet(path) if path.suffix.lower() == ".parquet" else pl.read_ipc(path)
    except pl.exceptions.PanicException:  # no Exception: polars' reader gave up on the file
        why = "its parts do not fit each other"
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        why = reason(error)
    raise DataError(f"{path}: expected a whole {path.suffix} file, found a damaged one ({why})")


@contextmanager
def _panics_held_back() -> Iterator[None]:
    """Keep from standard error the pages that polars' Rust prints of a panic; anything else printed comes after."""
    try:
        kept = os.dup(2)
    except OSError:  # there is no standard error
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        panicked = False
        try:
            yield
        except pl.exceptions.PanicException:
            panicked = True
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            held.seek(0)
            if not panicked and (printed := held.read()):
                os.write(2, printed)


def _refuse_huge_table(path: Path) -> None:
    """Refuse what is far larger unpacked than a table of predictions is."""
    if path.suffix.lower() == ".parquet":
        num_rows, num_bytes = parquet_size(path)
    else:
        num_rows, num_bytes = 0, arrow_bytes(path)
    limit = min(MAX_TABLE_BYTES, max(_ALWAYS_BYTES, _MAX_RATIO * path.stat().st_size))
    if num_bytes > limit or num_rows > MAX_TABLE_ROWS:
        raise DataError(
            f"{path}: expected at most {limit / (1 << 30):.1f} GiB and {MAX_TABLE_ROWS:,} rows unpacked, found "
            f"{num_bytes / (1 << 30):.1f} GiB and {num_rows:,} rows; give the table in several files"
        )


def read_csv(path: Path) -> pl.DataFrame:
    """Read a CSV file with a header; every value is text, an empty one null, empty lines are passed over.

    Fields may be separated by commas, semicolons, tabs or bars, as the header has them; the text may be UTF-8, UTF-16
    with its mark, or Windows-1252 (Latin-1). A column without a name, such as pandas' row numbers, is `Unnamed: 0`.

    Raises:
        DataError: a row has more or fewer fields than the header, a quote is not closed, a name stands twice
            in the header: line.
    """
    layout = _csv_layout(path)
    try:
        is_utf8 = layout.encoding == "utf-8-sig"
        # Bytes, so that line breaks inside of a field are the same in each encoding.
        source = path if is_utf8 else io.BytesIO(path.read_bytes().decode(layout.encoding).encode())
        table = pl.read_csv(source, infer_schema=False, separator=layout.separator, skip_rows=layout.lines_before)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise DataError(f"{path}: expected CSV with a header, found a damaged file ({reason(error)})") from None
    if table.height != layout.num_rows or table.width != len(layout.header):
        raise DataError(
            f"{path}: expected lines that end alike and quotes around whole fields, found {layout.num_rows} "
            f"rows one way and {table.height} another"
        )
    table = table.rename(dict(zip(table.columns, layout.header, strict=True)))
    if layout.blank_rows:
        table = table.with_row_index("").filter(~pl.col("").is_in(layout.blank_rows)).drop("")
    return table


@contextmanager
def _csv_rows(path: Path, separator: str, encoding: str) -> Iterator[Iterator[tuple[int, list[str]]]]:
    """Give a CSV file's rows with the lines in which they begin (from 1)."""
    limit = csv.field_size_limit(_MAX_FIELD_CHARACTERS)  # the module's own is 128 KiB, and global
    try:
        with path.open(encoding=encoding, newline="") as handle:
            before = _lines_before(path, encoding)
            yield _numbered(csv.reader(islice(handle, before, None), delimiter=separator, strict=True), before)
    finally:
        csv.field_size_limit(limit)


def _numbered(reader: Iterator[list[str]], before: int) -> Iterator[tuple[int, list[str]]]:
    line = before + 1
    for row in reader:
        yield line, row
        line = before + reader.line_num + 1  # type: ignore[attr-defined]


def _first_line(path: Path, encoding: str) -> str:
    with path.open(encoding=encoding, errors="replace", newline="") as handle:
        return handle.readline(1 << 20)


def _lines_before(path: Path, encoding: str) -> int:
    return 1 if _SAID.fullmatch(_first_line(path, encoding)) else 0


def _has_utf16_mark(handle: BinaryIO) -> bool:
    return handle.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def text_encoding(path: Path) -> str:
    """Find out how a text file is encoded: UTF-8, UTF-16 with its mark, or Windows-1252.

    A file with characters of UTF-8 and bytes that are none is a damaged one of UTF-8: its reader will say so.
    """
    with path.open("rb") as handle:
        if _has_utf16_mark(handle):
            return "utf-16"
        handle.seek(0)
        is_utf8, is_foreign, has_undefined = False, False, False
        for line in handle:
            if line.isascii():
                continue
            text = line.decode("utf-8", "replace")
            is_foreign |= "\ufffd" in text
            is_utf8 |= not text.replace("\ufffd", "").isascii()
            has_undefined |= any(byte in line for byte in _NOT_IN_1252)
    if not is_foreign or is_utf8:
        return "utf-8-sig"
    return "latin-1" if has_undefined else "cp1252"


def _separator(path: Path, encoding: str) -> str:
    """Return the mark that the header has most often outside of quotes; the first of those that are level.

    A line before the header may say it, as Excel has it: `sep=;`.
    """
    line = _first_line(path, encoding)
    if said := _SAID.fullmatch(line):
        return said[1]
    bare = _QUOTED.sub("", line)
    return max(_SEPARATORS, key=bare.count)


def _csv_layout(path: Path) -> _Layout:
    line = 1
    try:
        encoding = text_encoding(path)
        separator = _separator(path, encoding)
        with _csv_rows(path, separator, encoding) as rows:
            header = _csv_header(path, next(rows, (1, []))[1])
            num_rows, blank_rows = 0, []
            for line, row in rows:
                if len(row) != len(header) and row:
                    raise DataError(
                        f"{path}, line {line}: expected {len(header)} fields as in the header, found "
                        f"{len(row)}; separate fields with {separator!r} and put quotes around a text that "
                        "holds one, or a line's end"
                    )
                if any("\0" in field for field in row):
                    raise DataError(f"{path}, line {line}: expected text, found a NUL byte; the file is damaged")
                if not row:
                    blank_rows.append(num_rows)
                num_rows += 1
    except csv.Error as error:
        raise DataError(
            f"{path}, line {line + 1} and on: expected quotes around whole fields, found {error}; a quote is "
            "missing, or the file is cut off"
        ) from None
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise DataError(f"{path}: expected UTF-8, found byte 0x{byte:02x}; save it as UTF-8") from None
    return _Layout(header, separator, encoding, _lines_before(path, encoding), num_rows, blank_rows)


def _csv_header(path: Path, fields: list[str]) -> list[str]:
    names = [field.strip() or f"Unnamed: {number}" for number, field in enumerate(fields)]
    doubled = [name for name in names if names.count(name) > 1]
    if doubled:
        raise DataError(
            f"{path}, line 1: expected a name of its own for each column, found {listing(doubled[:1])} twice"
        )
    return names


def csv_line(path: Path, row: int) -> str:
    """Name the line in which a row (from 0) of a CSV file begins; nothing behind it is read."""
    with _row_lines(path) as lines:
        return f"{path}, line {next(islice(lines, row, None), row + 2)}"


def csv_lines(path: Path) -> list[int]:
    """Return the lines in which the rows of a CSV file begin, (rows,), of a file that `read_csv` takes."""
    with _row_lines(path) as lines:
        return list(lines)


@contextmanager
def _row_lines(path: Path) -> Iterator[Iterator[int]]:
    """Give the lines in which the rows behind the header begin, without empty ones."""
    encoding = text_encoding(path)
    with _csv_rows(path, _separator(path, encoding), encoding) as rows:
        yield islice((line for line, fields in rows if fields), 1, None)
