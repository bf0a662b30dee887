"""Our own records and the plain tables that users bring: one file, or a folder with a file for each task."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import polars as pl

from muscle.errors import DataError, UnclearColumns
from muscle.foreign_text import kind_word, listing, shorten
from muscle.predictions.formats import SUFFIXES, TABLE_SUFFIXES, TEXT_TABLE_SUFFIXES
from muscle.predictions.messages import reason
from muscle.predictions.packed import plain_name, readable
from muscle.predictions.plain.columns import with_whole_numbers, without_written_nulls
from muscle.predictions.plain.json_lines import SAMPLE_LINES, first_rows, json_list, line_of, read_jsonl
from muscle.predictions.plain.proposals import decision_flags, item_flags, refuse_doubtful_score, version_words
from muscle.predictions.plain.row_objects import Table, table_from_rows
from muscle.predictions.plain.table_files import csv_line, holds_predictions, is_text_table, read_table
from muscle.predictions.plain.to_records import name_task, to_records
from muscle.predictions.plain.usual_names import sampled_rows, usual_columns
from muscle.predictions.plain.verdicts import check_score
from muscle.predictions.plain.what_decides import WhatDecides, over_files, what_decides
from muscle.predictions.records import concat_records, unknown_fields, with_repeats_from_0
from muscle.predictions.run import METADATA_FILE, UNREAD, Unread, unread_from_json

_HEAD_BYTES = 65_536
# What people keep beside predictions, and what programs leave there.
_BESIDE = (
    "",
    ".md",
    ".txt",
    ".log",
    ".yaml",
    ".yml",
    ".toml",
    ".html",
    ".pdf",
    ".png",
    ".svg",
    ".py",
    ".sh",
    ".sha256",
)
_LEFT_OVER = ".part"


@dataclass(frozen=True)
class Plain:
    """What a plain file or folder holds.

    Attributes:
        frame: records; every row has a task.
        metadata: what is known of the run, with `notes` and `readings`.
        unread: what a folder holds that was not read.
    """

    frame: pl.DataFrame
    metadata: Mapping[str, object] = field(default_factory=dict)
    unread: tuple[Unread, ...] = ()


def renamed(table: pl.DataFrame, columns: Mapping[str, str] | None, place: str) -> pl.DataFrame:
    """Give the columns our names, as the map says.

    Raises:
        DataError: a column of the map is not there.
    """
    if not columns:
        return table
    absent = [ours for ours, theirs in columns.items() if theirs not in table.columns]
    _refuse_absent(absent, columns, table.columns, place)
    mapped = [table[theirs].alias(ours) for ours, theirs in columns.items()]
    others = [name for name in table.columns if name not in columns and name not in columns.values()]
    return table.select(*others, *mapped)


def _refuse_absent(absent: Sequence[str], columns: Mapping[str, str], found: Iterable[str], place: str) -> None:
    """Refuse a column that was named and is not there; in the place of one that is needed, others are proposed."""
    for ours in absent:
        message = f"{place}: expected the column {columns[ours]!r}, found {listing(found)}"
        if ours in ("correct", "score", "output", "reference", "choice"):
            raise UnclearColumns(message)
        raise DataError(f"{message} (of one run alone: RUN::column={ours}=NAME)")


def records_of(
    table: Table, columns: Mapping[str, str], where: Callable[[int], str], *, given: Mapping[str, str] | None
) -> tuple[pl.DataFrame, WhatDecides]:
    """Turn a file's table into records, with what decides in them.

    Args:
        table: the fields, in our names.
        columns: the map that gave them.
        where: turns a row's number into the words that open a message.
        given: what the user said of that map; a score that is named so is one.

    Raises:
        DataError: a field holds what it should not, or a score contradicts the answers.
    """
    said = given or {}
    named_score = "score" in said
    has = {*table.frame.columns, *(name.partition(".")[0] for name in table.frame.columns)}
    names = [*(columns.get(name, name) for name in table.frame.columns), *table.unread]
    _refuse_absent([ours for ours in said if ours not in has], said, names, where(0).rpartition(", ")[0])
    try:
        frame = to_records(table.frame, where=where, unread=table.unread, columns=columns, score_decides=named_score)
    except UnclearColumns:
        raise
    except DataError as error:
        raise DataError(_in_their_words(str(error), columns)) from None
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{where(0)} and on: cannot be read as predictions: {reason(error)}") from None
    if "correct" not in table.frame.columns and not named_score:
        check_score(frame, where)
    fields = table.frame.columns
    told = what_decides(frame, fields=fields, columns=columns, unread=table.unread, is_asked=named_score)
    # The user's own choice of a column passes none over by mistake.
    return frame, replace(told, column=None, unused=()) if "correct" in said else told


def _in_their_words(message: str, columns: Mapping[str, str]) -> str:
    """Add to a message's field what the file calls it."""

    def added(found: re.Match[str]) -> str:
        theirs = columns.get(found[1], found[1])
        return found[0] if theirs == found[1] else f"{found[0]} (column '{listing([theirs])}')"

    return re.sub(r"field '([\w.]+)'", added, message, count=1)


def table_records(
    table: pl.DataFrame,
    given: Mapping[str, str] | None,
    where: Callable[[int], str],
    place: str,
    *,
    is_csv: bool = False,
) -> tuple[pl.DataFrame, WhatDecides]:
    """Turn a table with a user's own columns into records, with what decides in them.

    Args:
        table: the table.
        given: our field names to the table's, as the user says.
        where: turns a row's number into the words that open a message.
        place: what opens a message on the whole table.
        is_csv: whether it comes from CSV, where an answer that is not there may be a word.

    Raises:
        DataError: a field holds what it should not.
    """
    rows = sampled_rows(table)
    columns = usual_columns(rows, given, is_table=True)
    with asking(rows, columns, place):
        named = renamed(table, columns, place)
        if is_csv:
            named = with_whole_numbers(without_written_nulls(named))
        unread = unknown_fields(named.columns)
        return records_of(Table(named, unread), columns, where, given=given)


def row_records(
    rows: Sequence[object], given: Mapping[str, str] | None, where: Callable[[int], str]
) -> tuple[pl.DataFrame, WhatDecides]:
    """Turn rows as JSON has them into records, with what decides in them.

    Args:
        rows: the objects.
        given: our field names to the rows', as the user says.
        where: turns a row's number into the words that open a message.

    Raises:
        DataError: a row is no object, or a field holds what it should not.
    """
    first = [row for row in rows[:SAMPLE_LINES] if isinstance(row, Mapping)]
    columns = usual_columns(first, given)
    table = table_from_rows(enumerate(rows), where=where, columns=columns)
    with asking(first, columns, where(0).rpartition(", ")[0]):
        return records_of(table, columns, where, given=given)


@contextmanager
def asking(rows: Sequence[Mapping[str, object]], columns: Mapping[str, str], place: str) -> Iterator[None]:
    """Let a question about columns propose options out of the file's own.

    Args:
        rows: a file's first rows.
        columns: our field names to the file's, as they were given or recognised.
        place: what opens a message on the whole file.

    Raises:
        UnclearColumns: nothing tells what decides, or only a number that may be a confidence does.
    """
    try:
        yield
        refuse_doubtful_score(rows, columns)
    except UnclearColumns as error:
        propose = item_flags if error.lacks == "item" else decision_flags
        versions = None if error.lacks == "item" else version_words(rows)
        message = str(error) if place in str(error) else f"{place}, {error}"
        raise UnclearColumns(message, flags=error.flags or propose(rows), versions=versions) from None


def read_plain(path: Path, columns: Mapping[str, str] | None) -> Plain:
    """Read a file of records, or a folder of such files.

    Args:
        path: the file or folder.
        columns: our field names to the files'.

    Raises:
        DataError: a file is damaged, or a field holds what it should not: file, line, field.
    """
    if path.is_dir():
        return _read_folder(path, columns)
    frame, told = _read_file(path, columns)
    unnamed = frame["task"].null_count() == frame.height
    facts = told.facts()
    if unnamed:
        facts["default_task"] = path.stem
    return Plain(with_repeats_from_0(name_task(frame, path.stem)), facts)


def _read_file(path: Path, columns: Mapping[str, str] | None) -> tuple[pl.DataFrame, WhatDecides]:
    suffix = path.suffix.lower()
    if suffix in TABLE_SUFFIXES or is_text_table(path):
        is_csv = suffix in TEXT_TABLE_SUFFIXES
        where = partial(csv_line, path) if is_csv else lambda row: f"{path}, row {row + 1}"
        return table_records(read_table(path), columns, where, str(path), is_csv=is_csv)
    with path.open("rb") as handle:
        head = handle.read(_HEAD_BYTES)
    is_list = head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")
    if is_list:
        return row_records(json_list(path), columns, partial(_record, path))
    first = first_rows(path)
    found = usual_columns(first, columns)
    table = read_jsonl(path, columns=found)
    with asking(first, found, str(path)):
        return records_of(table, found, partial(line_of, path), given=columns)


def _record(path: Path, row: int) -> str:
    return f"{path}, record {row + 1}"


def _read_folder(folder: Path, columns: Mapping[str, str] | None) -> Plain:
    entries = sorted(folder.iterdir())
    files = [entry for entry in entries if _is_records(entry)]
    if not files:
        found = listing(entry.name for entry in entries) if entries else "nothing"
        raise DataError(f"{folder}: expected TASK.jsonl or TASK.parquet files, found {found}")
    _refuse_copies(folder, files)
    frames: list[pl.DataFrame] = []
    files_of: dict[WhatDecides, list[str]] = {}
    compares: dict[str, str] = {}
    for file in files:
        with readable(file) as plain:
            frame, told = _read_file(plain, columns)
        frames.append(name_task(frame, Path(plain_name(file.name)).stem))
        files_of.setdefault(told, []).append(file.name)
        if told.compares is not None:
            compares |= dict.fromkeys(frames[-1]["task"].unique(), told.compares)
    metadata, unread = _folder_metadata(folder)
    metadata = {key: fact for key, fact in metadata.items() if key != "compares"}  # of the files that were converted
    metadata |= {"compares": compares} if compares else {}
    notes, readings = (_sentences(metadata, name, folder / METADATA_FILE) for name in ("notes", "readings"))
    deciding = [replace(told, line=f"{listing(names, 3)}: {told.line}").facts() for told, names in files_of.items()]
    # What a folder's `run.json` says is of the files that were converted, and tells more.
    metadata = {**over_files(deciding), **metadata}
    for facts in deciding:
        notes += facts["notes"]
        readings += facts["readings"]
    others = [entry for entry in entries if not _is_records(entry) and entry.name != METADATA_FILE]
    beside = [entry.name for entry in others if _is_beside(entry)]
    if beside:
        readings.append(f"files in the folder beside the predictions that are not read: {listing(beside)}")
    lost = [Unread("not read", str(entry)) for entry in others if not _is_beside(entry) and not _is_left_over(entry)]
    return Plain(
        with_repeats_from_0(concat_records(frames)),
        metadata | {"notes": notes, "readings": readings, "decided": "; ".join(facts["decided"] for facts in deciding)},
        (*unread, *lost),
    )


def _refuse_copies(folder: Path, files: Sequence[Path]) -> None:
    """Refuse a file that stands there packed and unpacked: its items would count twice."""
    first: dict[str, str] = {}
    for file in files:
        other = first.setdefault(plain_name(file.name), file.name)
        if other != file.name:
            raise DataError(
                f"{folder}: expected each file once, found {listing([other, file.name])}; take one of them away"
            )


def _is_records(entry: Path) -> bool:
    return (
        (Path(plain_name(entry.name)).suffix.lower() in SUFFIXES or holds_predictions(entry))
        and entry.name != METADATA_FILE
        and not entry.name.startswith(".")
        and entry.is_file()
    )


def _is_left_over(entry: Path) -> bool:
    """Whether it is what muscle left there when it was killed, or a folder of nothing."""
    return (entry.suffix == _LEFT_OVER and entry.name.startswith(".")) or (entry.is_dir() and not any(entry.iterdir()))


def _is_beside(entry: Path) -> bool:
    """Whether it is no predictions by its name: a README, a picture, a hidden file."""
    if entry.suffix == _LEFT_OVER:
        return False  # a download, perhaps, that is not done
    return entry.name.startswith(".") or (entry.suffix.lower() in _BESIDE and entry.is_file())


def _folder_metadata(folder: Path) -> tuple[dict[str, object], tuple[Unread, ...]]:
    """Read what the folder's `run.json` says of the run, and what its source held beside it."""
    path = folder / METADATA_FILE
    if not path.is_file():
        return {}, ()
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: expected a JSON object, found damaged JSON ({reason(error)})") from None
    if not isinstance(value, dict):
        raise DataError(f"{path}: expected a JSON object, found {kind_word(value)}")
    return value, unread_from_json(value.pop(UNREAD, None), str(path))


def _sentences(metadata: Mapping[str, object], name: str, path: Path) -> list[str]:
    """Return a list of sentences out of a folder's `run.json`."""
    found = metadata.get(name) or []
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise DataError(f"{path}, field '{name}': expected a list of sentences, found {shorten(found)}")
    return list(found)
