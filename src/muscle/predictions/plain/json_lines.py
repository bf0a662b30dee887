"""Reading JSON lines: with polars where the file is as it should be, row by row where something is odd.

The columns' forms are taken from the file's first lines. Polars refuses whatever does not fit them, but it
writes a list, an object or half a surrogate pair in a text's place in its own way, and takes the first of a
doubled field without a word. So one search through the bytes comes before it; what it finds sends the file
down the slow way, which either reads it (a reference that is text here and a list there) or names line and
field.
"""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import NoReturn

import polars as pl

from muscle.errors import DataError, UnfinishedError
from muscle.foreign_text import shorten
from muscle.predictions.formats import READABLE
from muscle.predictions.plain.row_objects import Table, rename_fields, table_from_rows, unique_fields
from muscle.predictions.records import COLUMNS, unknown_fields
from muscle.predictions.run import SCORE_PREFIX, SLICE_PREFIX

MAX_LINE_BYTES = 32 << 20
"""No prediction is longer; a longer line is a file of another kind, and would cost memory many times its size."""

SAMPLE_LINES = 100
SAMPLE_BYTES = 1 << 20
BLOCK_BYTES = 1 << 22
MAX_NAME_CHARACTERS = 10_000
"""Of all names together; a pattern of longer ones cannot be compiled."""
_MAX_NAMES = 40
"""Names searched for at a time: a pattern of many more is slow."""

_COLON = r"[ \t]*:[ \t]*"
_FLAT = rf'"(?:score|slice)\.(?:[^"\\\n]|\\.)*"{_COLON}'
_WORDS = ("true", "false", "null", "NaN", "Infinity", "-Infinity")
_NUMBER_SO_FAR = re.compile(r"[-+.eE\d]*")
_MAGIC = {
    b"\x1f\x8b": "gzip: unpack it first (gunzip)",
    b"\x28\xb5\x2f\xfd": "zstd: unpack it first (zstd -d)",
    b"PK\x03\x04": "a zip archive: unpack it first; an Excel workbook: save it as CSV",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook: save it as CSV",
    b"PAR1": "Parquet: name it .parquet",
}


def check_text(path: Path, head: bytes) -> None:
    """Refuse bytes that cannot be JSON lines.

    Raises:
        DataError: the file is empty, compressed, or of another binary format.
    """
    if not head.strip():
        raise UnfinishedError(f"{path}: expected one JSON object a line, found an empty file")
    for magic, advice in _MAGIC.items():
        if head.startswith(magic):
            raise DataError(f"{path}: expected one JSON object a line, found {advice}")


def _check_lines(path: Path) -> None:
    """Refuse a file with a line of more than `MAX_LINE_BYTES`.

    Such a line covers a whole block of half that length, so that one look for a line's end in each block is
    enough: next to nothing is read of a file of ordinary lines.
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


def is_cut_off(error: json.JSONDecodeError) -> bool:
    """Whether a text that is no JSON would be the beginning of one: it ends in the middle of a value."""
    rest = error.doc[error.pos :].strip()
    return (
        error.msg.startswith("Unterminated string")
        or any(word.startswith(rest) for word in _WORDS)
        or (error.msg.startswith("Invalid \\") and len(rest) < 6)
        or _NUMBER_SO_FAR.fullmatch(rest) is not None
    )


def no_utf8(place: str, error: UnicodeDecodeError) -> DataError:
    """Return the error for bytes that are no text: where they go wrong."""
    byte = error.object[error.start]  # what the error counts in: without the byte order mark
    return DataError(f"{place}: expected UTF-8, found byte 0x{byte:02x} at column {error.start + 1}; save it as UTF-8")


def no_json(place: str, error: json.JSONDecodeError, expected: str, *, is_last: bool = True) -> DataError:
    """Return the error for a text that is no JSON: where it goes wrong, and what is read.

    Args:
        place: the words that open a message: file and line.
        error: what the parser says.
        expected: what should be there.
        is_last: whether the text is the file's end; what ends in the middle there was cut off.
    """
    is_object = error.doc.lstrip()[:1] in ("{", "[")
    if is_object and is_cut_off(error):
        if is_last:
            return UnfinishedError(f"{place}: the file is cut off in the middle of this line; write it again")
        return DataError(f"{place}: expected {expected}, found the beginning of one; write it on one line")
    around = shorten(error.doc[max(0, error.pos - 20) : error.pos + 40])
    return DataError(
        f"{place}, column {error.colno}: expected {expected}, found {around}, which is no JSON; muscle reads {READABLE}"
    )


def _bad_json(path: Path, number: int, line: bytes, error: Exception) -> NoReturn:
    place = f"{path}, line {number}"
    if isinstance(error, RecursionError):
        raise DataError(f"{place}: expected a flat JSON object, found one nested too deeply")
    if isinstance(error, UnicodeDecodeError):
        raise no_utf8(place, error)
    if not isinstance(error, json.JSONDecodeError):  # a number of thousands of digits
        raise DataError(f"{place}: expected one JSON object a line, found {shorten(line)} ({error})")
    raise no_json(place, error, "one JSON object a line", is_last=not line.endswith(b"\n"))


def _numbered_objects(path: Path, *, max_bytes: int | None = None) -> Iterator[tuple[int, object]]:
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
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                yield number, json.loads(text.rstrip("\r\n"), object_pairs_hook=unique_fields)
            except (ValueError, RecursionError) as error:
                _bad_json(path, number, line, error)
            except DataError as error:
                raise DataError(f"{path}, line {number}: {error}") from None


def line_of(path: Path, row: int) -> str:
    """Name the line that a row (from 0) of the table came from."""
    with path.open("rb") as handle:
        lines = (number for number, line in enumerate(handle, 1) if not line.isspace())
        number = next(islice(lines, row, None), row + 1)
    return f"{path}, line {number}"


def _schema(sample: list[dict[str, object]], columns: Mapping[str, str]) -> dict[str, pl.DataType]:
    """Choose the form of each field that has several, by what the first lines hold."""
    kinds = {
        name: {type(row[name]) for row in sample if row.get(name) is not None}
        for name in ("reference", "score", "correct")
    }
    # As text, a score's object keeps names that the first lines do not have.
    schema: dict[str, pl.DataType] = {name: dtype for name, dtype in COLUMNS.items() if name not in columns}
    schema |= {"score": pl.String(), "slices": pl.String()}
    for name in ("score", "correct"):
        if kinds[name] and kinds[name] <= {int, float}:
            schema[name] = pl.Float64()
    if str in kinds["correct"]:
        schema["correct"] = pl.String()
    if kinds["reference"] == {int}:
        schema["reference"] = pl.Int64()
    elif kinds["reference"] and list not in kinds["reference"]:
        schema["reference"] = pl.String()
    for ours in columns:
        schema[ours] = schema.get(ours) or (pl.Float64() if ours.startswith(SCORE_PREFIX) else pl.String())
    return {columns.get(name, name): dtype for name, dtype in schema.items()}


def _any_of(names: Iterable[str]) -> str:
    return "|".join(re.escape(json.dumps(name, ensure_ascii=False)[1:-1]) for name in names)


def _odd_values(schema: Mapping[str, pl.DataType], reference: str, objects: Collection[str]) -> str:
    """Return a pattern of what polars would read as text in another way than the slow way does."""
    structure = r"(?:[\[{NI]|-I)"
    texts = [n for n, dtype in schema.items() if dtype == pl.String and n not in (*objects, reference)]
    lists = [n for n, dtype in schema.items() if dtype == pl.List(pl.String)]
    parts = [
        rf'"(?:{_any_of(texts)})"{_COLON}{structure}',
        # A name with an escape in it, and an object of scores or slices with one anywhere: polars writes
        # neither back as JSON.
        rf'\\.[^"\\\n]*"{_COLON}',
        rf'"(?:{_any_of(objects)})"{_COLON}\{{(?:"[^"\\\n]*"|[^"{{}}\\\n])*"[^"\\\n]*\\',
    ]
    if schema.get(reference) == pl.String:
        parts.append(rf'"{_any_of([reference])}"{_COLON}[^"n \t]')
    if lists:
        entry = r'(?:"(?:[^"\\\n]|\\.)*"|[a-z0-9.eE+-]+)[ \t]*,[ \t]*'
        parts.append(rf'"(?:{_any_of(lists)})"{_COLON}\[[ \t]*(?:{entry})*{structure}')
    return "|".join(parts)


def _doubled_names(names: list[str]) -> list[str]:
    """Return patterns of a field that stands twice in a line."""
    each = [rf'"{name}"{_COLON}.*"{name}"{_COLON}' for name in map(_any_of, ([name] for name in names))]
    return ["|".join(each[start : start + _MAX_NAMES]) for start in range(0, len(each), _MAX_NAMES)]


def _blocks(path: Path) -> Iterator[str]:
    """Yield a file's text, whole lines at a time."""
    with path.open("rb") as handle:
        rest = b""
        while block := handle.read(BLOCK_BYTES):
            block = rest + block
            end = block.rfind(b"\n") + 1
            yield block[:end].decode()
            rest = block[end:]
        yield rest.decode()


def _occurring(
    path: Path, schema: dict[str, pl.DataType], sample: list[dict[str, object]], columns: Mapping[str, str]
) -> dict[str, pl.DataType] | None:
    """Drop from a schema what stands nowhere in the file: a column of nulls takes time and memory.

    Args:
        path: the file.
        schema: the file's names and their forms.
        sample: the first rows, as the file has them.
        columns: our field names to the file's.

    Returns:
        The fields that occur; None where polars would not read them as the slow way does.
    """
    seen = {name for row in sample for name in row}
    missing = [name for name in schema if name not in seen]
    objects = [columns.get(name, name) for name in ("score", "slices")]
    values = [value for row in sample for name in objects if isinstance(value := row.get(name), dict)]
    names = list(dict.fromkeys([*schema, *(member for value in values for member in value)]))
    if sum(map(len, names)) > MAX_NAME_CHARACTERS:
        return None
    flat = {name for name in schema if name.startswith((SCORE_PREFIX, SLICE_PREFIX))}
    odd = [_odd_values(schema, columns.get("reference", "reference"), objects), *([] if flat else [_FLAT])]
    first, *more = [f"{'|'.join(odd)}|{doubled}" for doubled in _doubled_names(names)]
    try:
        for text in _blocks(path):
            block = pl.Series([text])
            # One search for everything, as a rule in vain: a second one costs as much again.
            late = rf'|"(?:{_any_of(missing)})"{_COLON}' if missing else ""
            if not block.str.contains(first + late)[0] and not more and not flat:
                continue
            if any(block.str.contains(pattern)[0] for pattern in (first, *more)):
                return None
            if {name[1:].rpartition('"')[0] for name in block.str.extract_all(_FLAT)[0].unique()} - flat:
                return None
            missing = [name for name in missing if f'"{name}"' not in text]
    except UnicodeDecodeError:
        return None
    return {name: dtype for name, dtype in schema.items() if name not in missing}


def _fast_table(path: Path, columns: Mapping[str, str]) -> Table | None:
    """Read with polars; None where the file needs the careful way."""
    objects = islice(_numbered_objects(path, max_bytes=SAMPLE_BYTES), SAMPLE_LINES)
    sampled = [row for _, row in objects]
    theirs = [row for row in sampled if isinstance(row, dict)]
    if len(theirs) < len(sampled) or len(set(columns.values())) < len(columns):
        return None
    if any("." in path and not any(path in row for row in theirs) for path in columns.values()):
        return None  # what stands inside of a field
    sample = [rename_fields(row, columns) for row in theirs]
    all_names = {name: name for row in sample for name in row if name.startswith((SCORE_PREFIX, SLICE_PREFIX))}
    schema = _schema(sample, {**all_names, **columns})
    chosen = _occurring(path, schema, theirs, columns)
    if not chosen:
        return None
    try:
        frame = pl.read_ndjson(path, schema=chosen)
    except pl.exceptions.PolarsError:
        return None
    frame = frame.rename({theirs: ours for ours, theirs in columns.items()}, strict=False)
    seen = {name: None for row in sample for name in row}
    if "correct" in frame.columns and "correct" not in seen and frame["correct"].null_count() == frame.height:
        return None  # only a text that looks like the field, perhaps: a column `correct` has a meaning of its own
    if any(_holds_nul(column) for column in frame.iter_columns()):
        return None  # what polars makes of half a surrogate pair
    frame = frame.select(*(name for name in seen if name in frame.columns), pl.exclude(list(seen)))
    return Table(frame, unknown_fields(seen))


def _holds_nul(column: pl.Series) -> bool:
    if column.dtype == pl.List(pl.String):
        column = column.explode()
    return column.dtype == pl.String and bool(column.str.contains("\0", literal=True).any())


def read_jsonl(path: Path, *, columns: Mapping[str, str] | None = None) -> Table:
    """Read a file of JSON lines.

    Args:
        path: the file.
        columns: our field names to the file's.

    Raises:
        DataError: the file is empty or damaged: file and line.
    """
    columns = columns or {}
    with path.open("rb") as handle:
        check_text(path, handle.read(4096))
    _check_lines(path)
    table = _fast_table(path, columns)
    if table is None:
        objects = _numbered_objects(path)
        table = table_from_rows(objects, where=lambda number: f"{path}, line {number}", columns=columns)
    return table


def first_rows(path: Path) -> list[dict[str, object]]:
    """Return the objects of a file's first lines.

    Raises:
        DataError: the file is empty or damaged: file and line.
    """
    with path.open("rb") as handle:
        check_text(path, handle.read(4096))
    _check_lines(path)
    rows = (row for _, row in islice(_numbered_objects(path, max_bytes=SAMPLE_BYTES), SAMPLE_LINES))
    return [row for row in rows if isinstance(row, dict)]


def json_list(path: Path) -> list[object]:
    """Read a JSON file that holds a list.

    Args:
        path: the file.

    Raises:
        DataError: the file is damaged: file and line.
    """
    data = path.read_bytes()
    check_text(path, data[:4096])
    try:
        rows: list[object] = json.loads(data.decode("utf-8-sig"), object_pairs_hook=unique_fields)
    except RecursionError:
        raise DataError(f"{path}: expected a JSON list of flat objects, found one nested too deeply") from None
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise DataError(f"{path}: expected UTF-8, found byte 0x{byte:02x}; save it as UTF-8") from None
    except json.JSONDecodeError as error:
        raise no_json(f"{path}, line {error.lineno}", error, "a JSON list of objects") from None
    except (ValueError, DataError) as error:
        raise DataError(f"{path}: {error}") from None
    return rows
