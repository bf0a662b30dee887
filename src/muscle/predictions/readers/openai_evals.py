"""OpenAI's hosted Evals: the output items of a run, as pages of the API, as a list, or one a line.

The fields are those of the API's reference; not tried on an export of the service. Several graders judge an
item: it is right when all pass (`status`); each grader's score is kept. An item that a grader of the run left out has no verdict.
The item's content is the row of the data source, which is the same for every model, while the prompt may differ.
Pages that are missing (`has_more`, an error in place of a page) are counted: by the run's own `result_counts` where they are there.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import polars as pl

from muscle.errors import DataError
from muscle.predictions.readers.shared.fields import (
    count_at,
    identity_at,
    json_at,
    list_at,
    message_at,
    number_at,
    object_at,
    objects_at,
    truth_at,
)
from muscle.predictions.readers.shared.first_record import first_line, first_member, is_whole
from muscle.predictions.readers.shared.json_members import line_objects, members
from muscle.predictions.readers.shared.row_table import RowTable, SliceFields
from muscle.predictions.readers.shared.values import known, required
from muscle.predictions.records import complete
from muscle.predictions.rows import shorten
from muscle.predictions.run import SCORE_PREFIX, Run, Unread

_KIND = "an output item of OpenAI's Evals"
_REFERENCES = (
    "reference",
    "expected",
    "expected_output",
    "ideal",
    "answer",
    "correct_label",
    "label",
    "ground_truth",
)
_PASSED = {"pass": True, "passed": True, "fail": False, "failed": False}


def recognises(path: Path, head: bytes) -> bool:
    """Tell whether this is a file of output items."""
    if path.is_dir():
        return False
    if b'"eval.run.output_item"' in head or (b'"datasource_item"' in head and b'"results"' in head):
        return True
    if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] not in (b"{", b"[") or is_whole(path, head):
        return False
    first = first_line(path)
    if not first or "data" in first:
        first = first_member(path, [("data", 0), (0, "data", 0), (0,)])
    return "datasource_item" in first and "results" in first


def read(path: Path) -> Run:
    """Read the output items of one run.

    Returns:
        One record an item; the same row of the data source again is a repeat. Scores are named after the graders, without the
        number that the service appends.

    Raises:
        DataError: the file is damaged or holds items of several runs: file, line or member, field.
    """
    table, slices = RowTable(extra={"num_graders": pl.Int64()}), SliceFields()
    seen: Counter[str] = Counter()
    facts, pages = _Facts(), _Pages(path)
    for where, item in pages.items():
        row = _row(item, where)
        row["repeat"] = seen[row["id"]]
        seen[row["id"]] += 1
        table.add(row | slices.of(item.get("datasource_item")), len(str(row["input"])))
        facts.note(item, where)
    frame = table.frame()
    if frame.is_empty():
        reasons = "; ".join(loss.what for loss in pages.unread())
        raise DataError(f"{path}: expected output items, found none{f' ({reasons})' if reasons else ''}")
    if "num_graders" in frame.columns:
        by_all = pl.when(pl.col("num_graders") == len(facts.graders)).then(pl.col("correct"))
        frame = frame.with_columns(by_all.alias("correct")).drop("num_graders")
    frame = slices.prune(frame).with_columns(pl.lit(facts.task).alias("task"))
    return Run(facts.model or path.stem, complete(frame), facts.metadata(), pages.unread())


class _Pages:
    """The items of a file, and what the file says of items that are not in it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._losses: list[Unread] = []
        self._read: Counter[Any] = Counter()
        """Items by their id: pages can overlap."""
        self._total: int | None = None
        self._open_page: str | None = None
        """Where the last page stands, if it says that more follow."""

    def items(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield place and object of each item: from lines, a list, a page, or a list of pages."""
        for where, entry in self._entries():
            for place, item in self._items_in(entry, where):
                self._read[json_at(item, "id", place) or place] += 1
                yield place, item

    def unread(self) -> tuple[Unread, ...]:
        """Return what is missing; one count of it where the run's own total is known."""
        losses = list(self._losses)
        if self._open_page is not None:
            losses.append(Unread("further pages (has_more is true on the last one)", self._open_page))
        if self._total is None:
            return tuple(losses)
        lost = self._total - len(self._read)
        reasons = "".join(f"; {loss}" for loss in losses)
        what = f"{lost} of the {self._total} items that the run's result_counts speak of{reasons}"
        return (Unread(what, str(self._path), lost),) if lost > 0 else ()

    def _entries(self) -> Iterator[tuple[str, Any]]:
        """Yield what stands on each line, in the list, or in the one page, which can be long."""
        path = self._path
        with path.open("rb") as handle:
            is_list = handle.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")
        if not is_list and (path.suffix == ".jsonl" or first_line(path)):
            for number, entry in line_objects(path):
                yield f"{path}, line {number}", entry
            return
        names = ("has_more", "error", "result_counts")
        patterns = [("#",)] if is_list else [("data", "#"), *((name,) for name in names)]
        with path.open("rb") as handle:
            for member in members(handle, str(path), patterns):
                if member.keys[-1] not in names:
                    yield member.where, member.value
                elif member.value is not None:
                    yield member.where, {member.keys[-1]: member.value}

    def _items_in(self, entry: Any, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        if entry is None:
            self._losses.append(Unread("an output item that is null", where, 1))
        elif not isinstance(entry, dict):
            raise DataError(f"{where}: expected {_KIND}, found {type(entry).__name__}")
        elif "datasource_item" in entry or ("data" not in entry and not self._noted(entry, where)):
            yield where, entry
        elif "data" in entry:
            self._noted(entry, where)
            self._open_page = where if truth_at(entry, "has_more", where) else None
            if entry["data"] is None:
                self._losses.append(Unread("a page without items (its data is null)", where))
            for place, item in enumerate(list_at(entry, "data", where)):
                yield from self._items_in(item, f"{where}, data[{place}]")

    def _noted(self, entry: Mapping[str, Any], where: str) -> bool:
        """Note what an object says that is no item; whether it says anything."""
        counts = object_at(entry, "result_counts", where)
        if counts:
            self._total = count_at(counts, "total", where)
        if entry.get("error") is not None:
            said = entry["error"]
            message = said.get("message") if isinstance(said, dict) else said
            self._losses.append(Unread(f"an error in place of a page ({shorten(message)})", where))
        if "data" not in entry and truth_at(entry, "has_more", where):
            self._open_page = where
        return any(entry.get(name) is not None for name in ("result_counts", "error", "has_more"))


def _row(item: Mapping[str, Any], where: str) -> dict[str, Any]:
    required(item, "datasource_item", where, _KIND)
    source, sample = object_at(item, "datasource_item", where), object_at(item, "sample", where)
    error = object_at(sample, "error", where)
    # The row itself may hold the answer of a run (`sample.output_text`); it is no part of what was asked.
    asked = {name: value for name, value in source.items() if not name.startswith("sample.")}
    content = json_at({"datasource_item": asked}, "datasource_item", where) or ""
    identity = "id" if item.get("datasource_item_id") is None else "datasource_item_id"
    answers = [entry.get("content") for entry in objects_at(sample, "output", where)]
    row: dict[str, Any] = {
        "id": identity_at(item, identity, where),
        "input_hash": hashlib.sha256(content.encode("utf-8", "replace")).hexdigest(),
        "input": message_at(sample, "input", where) or content,
        "reference": next(
            ([json_at(asked, name, where) or ""] for name in _REFERENCES if asked.get(name) is not None), None
        ),
        "output": message_at({"output": answers}, "output", where)
        or json_at(source, "sample.output_text", where),
        "finish_reason": json_at(sample, "finish_reason", where),
        "error": None,
    }
    if any(error.values()):
        said = json_at(error, "message", where) or json_at(error, "code", where)
        return row | {"error": said or "the service failed"}
    return row | _verdict(item, where)


def _verdict(item: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return `correct`, which all graders must grant, and each grader's score; nothing where no grader gave a verdict."""
    required(item, "results", where, _KIND)
    fields: dict[str, Any] = {}
    passed = []
    results = objects_at(item, "results", where)
    for place, result in enumerate(results):
        verdict = truth_at(result, "passed", where)
        if verdict is not None:
            passed.append(verdict)
        score = number_at(result, "score", where, f"results[{place}].score")
        if score is not None:
            fields[SCORE_PREFIX + _name(result, place)] = score
    status = json_at(item, "status", where)
    by_status = _PASSED.get(str(status).lower())
    verdict = by_status if status is not None else all(passed) if passed else None
    return fields | {"correct": verdict, "num_graders": len({_name(r, n) for n, r in enumerate(results)})}


def _name(result: Mapping[str, Any], place: int) -> str:
    return _grader(str(result.get("name") or f"grader-{place}"))


def _grader(name: str) -> str:
    """Drop the identifier that the service appends: `exact match-1a2b3c4d-...`.

    >>> _grader("exact match-0f1e2d3c-1111-2222-3333-444455556666"), _grader("rouge-l")
    ('exact match', 'rouge-l')
    """
    parts = name.rsplit("-", 5)
    lengths = [len(part) for part in parts[1:]]
    return parts[0] if lengths == [8, 4, 4, 4, 12] else name


class _Facts:
    """What is the same for all items of a run."""

    def __init__(self) -> None:
        self.graders: dict[str, Any] = {}
        """Names to types."""
        self._judges: set[str] = set()
        self._first: dict[str, Any] | None = None

    def note(self, item: Mapping[str, Any], where: str) -> None:
        """Remember what an item tells of its run, and refuse items of another run."""
        sample = object_at(item, "sample", where)
        if self._first is None:
            names = ("temperature", "top_p", "seed", "max_completion_tokens")
            self._first = {name: json_at(item, name, where) for name in ("run_id", "eval_id")}
            self._first |= {"model": json_at(sample, "model", where)}
            self._first |= {"generation": known({name: number_at(sample, name, where) for name in names})}
        run = json_at(item, "run_id", where)
        if self._first["run_id"] != run:
            expected = f"that of one run ({self._first['run_id']}); split the file by run"
            raise DataError(f"{where}, field 'run_id': expected {expected}, found {shorten(run)}")
        for place, result in enumerate(objects_at(item, "results", where)):
            self.graders.setdefault(_name(result, place), result.get("type"))
            judge = object_at(result, "sample", where).get("model")
            if judge:
                self._judges.add(str(judge))

    @property
    def model(self) -> str | None:
        """The model that answered."""
        return cast("str | None", (self._first or {}).get("model"))

    @property
    def task(self) -> str:
        """The evaluation's id."""
        return str((self._first or {}).get("eval_id") or "openai-evals")

    def metadata(self) -> dict[str, Any]:
        """Return the run's metadata."""
        first = self._first or {}
        graders = [name if not kind else f"{name} ({kind})" for name, kind in sorted(self.graders.items())]
        task = {"generation": first.get("generation"), "graders": graders, "judge": sorted(self._judges)}
        return {
            "model": known({"name": self.model}),
            "versions": {},
            "settings": known({"run": first.get("run_id")}),
            "harness": "openai-evals",
            "tasks": {self.task: known(task)},
            "results": {},
            "notes": [],
        }
