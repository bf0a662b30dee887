"""Rows from a local JSONL, JSON, CSV, TSV or Parquet file, or from the Hugging Face hub.

Every row knows its place, so that a message about a bad field can name file and line. JSONL is read line by line with
Python's own parser: a broken line is found where it stands, and no type is guessed from other lines. CSV columns stay
text for the same reason; separator and encoding are found out, as in a file of predictions. Code that comes with a hub
data set is never run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from muscle.errors import DataError
from muscle.foreign_text import kind_word
from muscle.tasks.task import Row

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")

_HALF_A_PAIR = re.compile(r"\\u[dD][89a-fA-F]")
"""Half of an escaped character beyond U+FFFF, as it is in whole pairs too."""

_HUB = re.compile(r"hub:(?P<name>[\w.-]+(?:/[\w.-]+)?)(?:/(?P<config>[\w.-]+))?:(?P<split>[\w.-]+)")


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A row and where it stands, as in "train.jsonl, line 7"."""

    row: Row
    place: str


Source = str | Path | Sequence[str | Path]
"""A file, `hub:name[/config]:split`, or several of them, one after the other."""


def load_rows(source: Source, *, limit: int | None = None) -> list[SourceRow]:
    """Read the rows of one or several sources, in their order.

    Args:
        source: local file(s) with one of the known suffixes, or `hub:name[/config]:split`.
        limit: take only the first so many rows (of all sources together).

    Returns:
        At least one row.

    Raises:
        DataError: a file is missing, empty, cut off, not of its kind or not UTF-8, the hub does not answer, or a row
            is no object.
    """
    sources = [source] if isinstance(source, (str, Path)) else list(source)
    rows: list[SourceRow] = []
    for item in sources:
        rest = None if limit is None else limit - len(rows)
        if rest == 0:
            break
        text = str(item)
        found = list(islice(_hub_rows(text, rest) if text.startswith("hub:") else _file_rows(Path(item)), rest))
        if not found:
            raise DataError(f"{text}: expected at least one row, found an empty file")
        rows += found
    if not rows:
        raise DataError(f"expected at least one row, found none in {len(sources)} sources (limit {limit})")
    return rows


def _file_rows(path: Path) -> Iterator[SourceRow]:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(
            f"{path}: expected a file that ends in {', '.join(SUFFIXES)}, or hub:name[/config]:split for hub data"
        )
    if not path.is_file():
        raise DataError(f"{path}: expected a file, found {'a folder' if path.is_dir() else 'nothing there'}")
    try:
        if suffix == ".parquet" or suffix in (".csv", ".tsv"):
            yield from _table_rows(path, suffix)
        elif suffix == ".json" and path.read_bytes().lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
            yield from _array_rows(path)
        else:
            yield from _line_rows(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def _line_rows(path: Path) -> Iterator[SourceRow]:
    # Bytes are split at "\n" alone: text mode would also break lines at U+2028 and the like inside strings.
    with path.open("rb") as handle:
        for number, line in enumerate(handle, start=1):
            place = f"{path}, line {number}"
            text = _decode(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line, place)
            if text.strip():
                cut = "" if line.endswith(b"\n") else "; it is the last line: is the file cut off?"
                yield SourceRow(_as_row(_parse_json(text, place, cut), place), place)


def _array_rows(path: Path) -> Iterator[SourceRow]:
    values = _parse_json(_decode(path.read_bytes().removeprefix(b"\xef\xbb\xbf"), str(path)), str(path), "")
    assert isinstance(values, list), "the file begins with a bracket"
    for number, value in enumerate(values, start=1):
        place = f"{path}, item {number}"
        yield SourceRow(_as_row(value, place), place)


def _table_rows(path: Path, suffix: str) -> Iterator[SourceRow]:
    import polars as pl
    from polars.exceptions import PolarsError

    from muscle.predictions.plain.table_files import csv_lines, read_csv

    if not path.stat().st_size:
        raise DataError(f"{path}: expected at least one row, found an empty file")
    try:
        # As runs are read: spreadsheets write semicolons, tabs and other encodings too. Every value of CSV is text:
        # guessed types would make "007" a 7.
        frame = pl.read_parquet(path) if suffix == ".parquet" else read_csv(path)
    except PolarsError as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: expected a Parquet file, cannot be read: {reason}; is it cut off?") from error
    word, numbers = ("row", range(1, frame.height + 1)) if suffix == ".parquet" else ("line", csv_lines(path))
    for number, row in zip(numbers, frame.iter_rows(named=True), strict=True):
        yield SourceRow(row, f"{path}, {word} {number}")


def _hub_rows(source: str, limit: int | None) -> Iterator[SourceRow]:
    match = _HUB.fullmatch(source)
    if match is None:
        raise DataError(f"{source}: expected hub:name[/config]:split, for example hub:openai/gsm8k/main:train")
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            f"{source}: hub data needs the package datasets; install it with: pip install 'muscle-llm[train]'"
        ) from error
    split = match["split"] if limit is None else f"{match['split']}[:{limit}]"
    try:
        data = datasets.load_dataset(match["name"], match["config"], split=split)
    except Exception as error:  # the hub's client raises errors of many libraries; each means "no data"
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"{source}: cannot be loaded from the hub: {reason}; give a local file instead") from error
    for number, row in enumerate(data, start=1):
        yield SourceRow(row, f"{source}, row {number}")


def _decode(data: bytes, place: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{place}: expected UTF-8, found byte {data[error.start]:#04x}") from error


def _parse_json(text: str, place: str, hint: str) -> object:
    try:
        found = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deep"
        raise DataError(f"{place}: expected JSON, found {text.strip()[:30]!r}... ({reason}){hint}") from error
    if _HALF_A_PAIR.search(text):
        try:
            json.dumps(found, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            half = f"U+{ord(error.object[error.start]):04X}"
            raise DataError(
                f"{place}: expected whole characters, found {half}, half of a pair of escapes that make one; was the "
                "text cut in the middle of an emoji?"
            ) from None
    return found


def _as_row(value: object, place: str) -> Row:
    if not isinstance(value, dict):
        raise DataError(f"{place}: expected an object with named fields, found {kind_word(value)}")
    return value
