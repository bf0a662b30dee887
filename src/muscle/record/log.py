"""The file of a record while it is written: a line an answer, on the disk before the next call of its thread goes out.

A killed recording leaves whole lines and perhaps the beginning of one, which is cut off when the next answer is
written. Nothing in a file is changed before this process holds it: another one may be writing into it. Lines of calls
that failed go with the same write that brings an answer, whose line takes over what they had cost.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from muscle.errors import DataError, OutputError
from muscle.files import check_can_write, write_text
from muscle.foreign_text import outline
from muscle.predictions.records import CALL
from muscle.record.pace import Usage

Row = dict[str, object]
"""An answer, as it stands in a line."""

FAILED_BEFORE = "failed_before"
"""Of how an answer was asked for: tokens of earlier calls that came to nothing, whose lines are gone."""

ASKED_FOR = "model_asked_for"
"""Of how an answer was asked for: the model's name in the call, where the endpoint answers under another one."""

_OF_AN_ANSWER = {"id": str, "input_hash": str, "repeat": int}

Key = tuple[str, int]
"""What a line answers: the hash of the item's text, and which of its answers it is."""


class RecordLog:
    """A record that grows.

    Args:
        path: a `.jsonl` file; what is there already is read, and left as it is until `open`.
        asked_with: what stands for the way of asking.

    Attributes:
        rows: the answers that were there when it was opened.

    Raises:
        DataError: a line is damaged, or of another way of asking.
        OutputError: the file cannot be written.
    """

    def __init__(self, path: Path, asked_with: str) -> None:
        self.path = path
        self.rows: list[Row] = []
        self._asked_with = asked_with
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        self._failed_before = Usage()
        self._num_bytes, self._is_clean, self._is_open = 0, True, False
        check_can_write(path)
        if path.exists():
            data = path.read_bytes()
            self.rows = [self._checked(number, row) for number, row in enumerate(_whole_lines(path, data), start=1)]
            self._num_bytes, self._is_clean = len(data), data[-1:] in (b"", b"\n")

    @property
    def done(self) -> set[Key]:
        """What has been answered."""
        return {key_of(row) for row in self.rows}

    @property
    def spent(self) -> Usage:
        """The tokens that the record has cost: of its answers, and of calls that failed."""
        return sum(map(usage_of_row, self.rows), self._failed_before)

    def drop_failed(self) -> int:
        """Take out the answers of calls that failed, so that they are made again; return how many there were.

        Their lines go when the next answer is written.
        """
        failed = [row for row in self.rows if has_failed(row)]
        if failed:
            self.rows, self._is_clean = [row for row in self.rows if not has_failed(row)], False
            self._failed_before = sum(map(usage_of_row, failed), self._failed_before)
        return len(failed)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Hold the file for this process while the block adds to it.

        Raises:
            OutputError: another process holds it or has written into it since it was read, or it cannot be written.
        """
        from muscle.locks import beside, take

        busy = f"{self.path}: another muscle process is recording into this file"
        try:
            held = take(beside(self.path), busy=busy)
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written: {error.strerror or error}") from error
        with held:
            self._refuse_changed()
            if self._is_clean:
                self._file = self.path.open("ab")
            self._is_open = True
            try:
                yield
            finally:
                self._is_open = False
                # What could not be written was told then.
                with suppress(OSError):
                    if self._file is not None:
                        self._file.close()
                self._file = None

    def _refuse_changed(self) -> None:
        if (self.path.stat().st_size if self.path.exists() else 0) != self._num_bytes:
            raise OutputError(
                f"{self.path}: another muscle process has written into it in the meantime; the same command goes on "
                "from there"
            )

    def append(self, rows: Sequence[Row]) -> None:
        """Add answers, and see that they are on the disk.

        Raises:
            OutputError: they cannot be written.
        """
        assert self._is_open, "called while it is open"
        try:
            with self._lock:
                self._take_over_cost(rows)
                if self._is_clean:
                    self._add("".join(map(_line, rows)).encode("utf-8", "backslashreplace"))
                else:
                    write_text(self.path, "".join(map(_line, [*self.rows, *rows])))
                    self._is_clean = True
                self._failed_before = Usage()
                self.rows += rows
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written: {error.strerror or error}") from error

    def _take_over_cost(self, rows: Sequence[Row]) -> None:
        """Write into the first answer what calls have cost whose lines are going."""
        call = rows[0].get(CALL) if rows else None
        if self._failed_before != Usage() and isinstance(call, dict):
            before = self._failed_before
            call[FAILED_BEFORE] = {"tokens_read": before.read, "tokens_written": before.written}

    def _add(self, data: bytes) -> None:
        if self._file is None:
            self._file = self.path.open("ab")
        self._file.write(data)
        self._file.flush()
        os.fsync(self._file.fileno())

    def _checked(self, number: int, row: Row) -> Row:
        call = row.get(CALL)
        is_answer = all(isinstance(row.get(name), kind) for name, kind in _OF_AN_ANSWER.items())
        if not isinstance(call, dict) or not is_answer:
            raise DataError(
                f"{self.path}, line {number}: expected an answer that muscle record wrote, found another line; give "
                "another --out"
            )
        if call.get("asked_with") != self._asked_with:
            raise DataError(
                f"{self.path}, line {number}: expected answers asked for in this way, found another model, prompt or "
                f"setting (model {outline(call.get('model'))}, asked {outline(call.get('asked'))}); give another --out"
            )
        return row


def key_of(row: Mapping[str, object]) -> Key:
    """Return what a line answers."""
    number = row["repeat"]
    assert isinstance(number, int), "checked when it was read"
    return str(row["input_hash"]), number


def has_failed(row: Mapping[str, object]) -> bool:
    """Tell whether a line says that its calls came to nothing."""
    call = row.get(CALL)
    return isinstance(call, dict) and bool(call.get("failed"))


def usage_of_row(row: Mapping[str, object]) -> Usage:
    """Return the tokens that a line's calls have cost, and those of failed calls that it took over."""
    call = row.get(CALL)
    if not isinstance(call, dict):
        return Usage()
    return _tokens_told(call) + _tokens_told(call.get(FAILED_BEFORE))


def _tokens_told(found: object) -> Usage:
    read, written = (found.get(key) if isinstance(found, dict) else 0 for key in ("tokens_read", "tokens_written"))
    return Usage.told(read, written) or Usage()


def _line(row: Row) -> str:
    return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"


def _whole_lines(path: Path, data: bytes) -> list[Row]:
    """Read a file's lines, without the beginning of one at its end."""
    rows = []
    for number, line in enumerate(data[: data.rfind(b"\n") + 1].splitlines(), start=1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}, line {number}: damaged, no JSON ({error}); give another --out") from None
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number}: expected a JSON object; give another --out")
        rows.append(row)
    return rows
