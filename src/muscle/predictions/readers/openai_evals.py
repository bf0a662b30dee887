"""OpenAI's hosted Evals: the output items of a run, as pages of the API, as a list, or one a line.

The fields are those of the API's reference; not tried on an export of the service. Several graders judge an
item: it is right when all pass (`status`); each grader's score is kept. An item that a grader of the run left
out has no verdict. The item's content is the row of the data source, which is the same for every model, while
the prompt may differ. Pages can overlap: an output item that stands there again counts once. Pages that are missing
(`has_more`, an error in place of a page) are counted: by the run's own `result_counts` where they are there.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from muscle.errors import DataError
from muscle.foreign_text import kind_word, listing, shorten
from muscle.predictions.readers.shared.fields import (
    count_at,
    identity_at,
    json_at,
    list_at,
    message_at,
    number_at,
    object_at,
    objects_at,
    required,
    truth_at,
)
from muscle.predictions.readers.shared.first_record import first_byte, first_line, first_member, is_whole
from muscle.predictions.readers.shared.json_members import line_objects, members
from muscle.predictions.readers.shared.row_table import RowTable, SliceFields
from muscle.predictions.readers.shared.values import known, refuse, text_of
from muscle.predictions.records import complete
from muscle.predictions.run import SCORE_PREFIX, Run, RunFacts, Unread

_ID = "datasource_item_id"
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
    if first_byte(head) not in (b"{", b"[") or is_whole(path, head):
        return False
    first = first_line(path)
    if not first or "data" in first:
        first = first_member(path, [("data", 0), (0, "data", 0), (0,)])
    return "datasource_item" in first and "results" in first


def read(path: Path) -> Run:
    """Read the output items of one run.

    Returns:
        One record an item; the same row of the data source again is a repeat. Scores are named after the
        graders, without the number that the service appends.

    Raises:
        DataError: the file is damaged or holds items of several runs: file, line or member, field.
    """
    table, slices = RowTable(extra={"num_graders": pl.Int64()}), SliceFields()
    seen: Counter[str] = Counter()
    facts, pages = _Facts(), _Pages(path)
    for item, where in pages.items():
        identity = identity_at(item, _ID if item.get(_ID) is not None else "id", where)
        row = {"id": identity, "repeat": seen[identity]} | _record_of_item(item, where)
        seen[identity] += 1
        table.add(row | slices.of(item.get("datasource_item")))
        facts.note(item, where)
    frame = table.frame()
    if frame.is_empty():
        reasons = "; ".join(loss.what for loss in pages.unread())
        raise DataError(f"{path}: expected output items, found none{f' ({reasons})' if reasons else ''}")
    if "num_graders" in frame.columns:
        by_all = pl.when(pl.col("num_graders") == len(facts.graders)).then(pl.col("correct"))
        frame = frame.with_columns(by_all.alias("correct")).drop("num_graders")
    frame = slices.prune(frame).with_columns(pl.lit(facts.task).alias("task"))
    readings = [f"{pages.num_doubled} output items stand there again (overlapping pages)"] if pages.num_doubled else []
    frame, metadata = complete(frame), facts.metadata()
    metadata["notes"] = [*metadata["notes"], *pages.notes(int(frame["correct"].sum()))]
    return Run(facts.model or path.stem, frame, {**metadata, "readings": readings}, pages.unread())


class _Pages:
    """The items of a file, and what the file says of items that are not in it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._losses: list[Unread] = []
        self._read: dict[str, int] = {}
        """Items by their id, with a hash of what they say: pages can overlap."""
        self.num_doubled = 0
        """Items that stand there again, and were passed over."""
        self._total: int | None = None
        self._passed: int | None = None
        """Items that passed, by the run's own count."""
        self._open_page: str | None = None
        """Where the last page stands, if it says that more follow."""

    def items(self) -> Iterator[tuple[Mapping[str, object], str]]:
        """Yield object and place of each item: from lines, a list, a page, or a list of pages."""
        for entry, where in self._entries():
            for item, place in self._items_in(entry, where):
                identity, said = json_at(item, "id", place) or place, hash(text_of(item))
                if identity not in self._read:
                    self._read[identity] = said
                    yield item, place
                elif self._read[identity] == said:
                    self.num_doubled += 1
                else:
                    refuse(place, "id", "that of no item before, or the same item again", identity)

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

    def notes(self, num_passed: int) -> list[str]:
        """Say where the run's own count of what passed is another than what was read of all its items."""
        if self._passed in (None, num_passed) or self._total != len(self._read):
            return []
        return [f"its own result_counts speak of {self._passed} items that passed, its items of {num_passed}"]

    def _entries(self) -> Iterator[tuple[object, str]]:
        """Yield what stands on each line, in the list, or in the one page, which can be long."""
        path = self._path
        with path.open("rb") as handle:
            is_list = first_byte(handle.read(4096)) == b"["
        if not is_list and (path.suffix == ".jsonl" or first_line(path)):
            yield from line_objects(path)
            return
        names = ("has_more", "error", "result_counts")
        patterns = [("#",)] if is_list else [("data", "#"), *((name,) for name in names)]
        with path.open("rb") as handle:
            for member in members(handle, str(path), patterns):
                if member.keys[-1] not in names:
                    yield member.value, member.where
                elif member.value is not None:
                    yield {str(member.keys[-1]): member.value}, member.where

    def _items_in(self, entry: object, where: str) -> Iterator[tuple[Mapping[str, object], str]]:
        if entry is None:
            self._losses.append(Unread("an output item that is null", where, 1))
        elif not isinstance(entry, dict):
            raise DataError(f"{where}: expected {_KIND}, found {kind_word(entry)}")
        elif "datasource_item" in entry or ("data" not in entry and not self._noted(entry, where)):
            yield entry, where
        elif "data" in entry:
            self._noted(entry, where)
            self._open_page = where if truth_at(entry, "has_more", where) else None
            if entry["data"] is None:
                self._losses.append(Unread("a page without items (its data is null)", where))
            for place, item in enumerate(list_at(entry, "data", where)):
                yield from self._items_in(item, f"{where}, data[{place}]")

    def _noted(self, entry: Mapping[str, object], where: str) -> bool:
        """Note what an object says that is no item; whether it says anything."""
        counts = object_at(entry, "result_counts", where)
        if counts:
            self._total, self._passed = (count_at(counts, name, where) for name in ("total", "passed"))
        if entry.get("error") is not None:
            said = entry["error"]
            message = said.get("message") if isinstance(said, dict) else said
            self._losses.append(Unread(f"an error in place of a page ({shorten(message)})", where))
        if "data" not in entry and truth_at(entry, "has_more", where):
            self._open_page = where
        return any(entry.get(name) is not None for name in ("result_counts", "error", "has_more"))


def _record_of_item(item: Mapping[str, object], where: str) -> dict[str, object]:
    required(item, "datasource_item", where, _KIND)
    source, sample = object_at(item, "datasource_item", where), object_at(item, "sample", where)
    error = object_at(sample, "error", where)
    # The row itself may hold the answer of a run (`sample.output_text`); it is no part of what was asked.
    asked = {name: value for name, value in source.items() if not name.startswith("sample.")}
    content = json_at({"datasource_item": asked}, "datasource_item", where) or ""
    answers = [entry.get("content") for entry in objects_at(sample, "output", where)]
    row: dict[str, object] = {
        "input_hash": hashlib.sha256(content.encode("utf-8", "replace")).hexdigest(),
        "input": message_at(sample, "input", where) or content,
        "reference": next(
            ([json_at(asked, name, where) or ""] for name in _REFERENCES if asked.get(name) is not None), None
        ),
        "output": message_at({"output": answers}, "output", where) or json_at(source, "sample.output_text", where),
        "finish_reason": json_at(sample, "finish_reason", where),
        "error": None,
    }
    if any(error.values()):
        said = json_at(error, "message", where) or json_at(error, "code", where)
        return row | {"error": said or "the service failed"}
    return row | _verdict_of_graders(item, where)


def _verdict_of_graders(item: Mapping[str, object], where: str) -> dict[str, object]:
    """Return `correct`, which all graders must grant, null where none gave a verdict, and each grader's score."""
    required(item, "results", where, _KIND)
    fields: dict[str, object] = {}
    passed = []
    names = set()
    for place, result in enumerate(objects_at(item, "results", where)):
        names.add(_grader_name(result, place))
        verdict = truth_at(result, "passed", where)
        if verdict is not None:
            passed.append(verdict)
        score = number_at(result, "score", where, f"results[{place}].score")
        if score is not None:
            fields[SCORE_PREFIX + _grader_name(result, place)] = score
    status = json_at(item, "status", where)
    by_status = _PASSED.get(str(status).lower())
    verdict = by_status if status is not None else all(passed) if passed else None
    return fields | {"correct": verdict, "num_graders": len(names)}


def _grader_name(result: Mapping[str, object], place: int) -> str:
    return _without_identifier(str(result.get("name") or f"grader-{place}"))


def _without_identifier(name: str) -> str:
    """Drop the identifier that the service appends: `exact match-1a2b3c4d-...`.

    >>> _without_identifier("exact match-0f1e2d3c-1111-2222-3333-444455556666"), _without_identifier("rouge-l")
    ('exact match', 'rouge-l')
    """
    parts = name.rsplit("-", 5)
    lengths = [len(part) for part in parts[1:]]
    return parts[0] if lengths == [8, 4, 4, 4, 12] else name


@dataclass(frozen=True)
class _OfRun:
    """What a run's first item says, and every other item too."""

    run: str | None
    evaluation: str | None
    model: str | None
    generation: Mapping[str, object]
    created: float | None = None


def _of_run(item: Mapping[str, object], where: str) -> _OfRun:
    sample = object_at(item, "sample", where)
    names = ("temperature", "top_p", "seed", "max_completion_tokens")
    return _OfRun(
        json_at(item, "run_id", where),
        json_at(item, "eval_id", where),
        json_at(sample, "model", where),
        known({name: number_at(sample, name, where) for name in names}),
        number_at(item, "created_at", where),
    )


class _Facts:
    """What is the same for all items of a run."""

    def __init__(self) -> None:
        self.graders: dict[str, object] = {}
        """Names to types."""
        self._judges: set[str] = set()
        self._models: dict[str, None] = {}
        self._settings: set[str | None] = set()
        self._num_contradicted = 0
        """Items whose status is not what their graders say."""
        self._first = _OfRun(None, None, None, {})
        self._is_begun = False

    def note(self, item: Mapping[str, object], where: str) -> None:
        """Remember what an item tells of its run, and refuse items of another run."""
        own = _of_run(item, where)
        if not self._is_begun:
            self._first, self._is_begun = own, True
        if own.model is not None:
            self._models.setdefault(own.model)
            self._settings.add(text_of(own.generation))
        run = json_at(item, "run_id", where)
        if self._first.run != run:
            expected = f"that of one run ({self._first.run}); split the file by run"
            raise DataError(f"{where}, field 'run_id': expected {expected}, found {shorten(run)}")
        results = objects_at(item, "results", where)
        passed = [verdict for result in results if (verdict := truth_at(result, "passed", where)) is not None]
        by_status = _PASSED.get(str(json_at(item, "status", where)).lower())
        self._num_contradicted += bool(passed) and by_status is not None and by_status != all(passed)
        for place, result in enumerate(results):
            self.graders.setdefault(_grader_name(result, place), result.get("type"))
            judge = object_at(result, "sample", where).get("model")
            if judge:
                self._judges.add(str(judge))

    @property
    def model(self) -> str | None:
        """The model that answered."""
        return self._first.model

    @property
    def task(self) -> str:
        """The evaluation's id."""
        return self._first.evaluation or "openai-evals"

    def _doubts(self) -> Iterator[str]:
        """Say what should make a reader look twice."""
        if len(self._models) > 1:
            yield f"its items were answered by {len(self._models)} models: {listing(self._models)}"
        if len(self._settings) > 1:
            yield f"its items were asked with {len(self._settings)} settings of the generation"
        if self._num_contradicted:
            yield f"{self._num_contradicted} items have another status than their graders say; the status decides"

    def metadata(self) -> RunFacts:
        """Return the run's metadata."""
        graders = [name if not kind else f"{name} ({kind})" for name, kind in sorted(self.graders.items())]
        task = {"generation": self._first.generation, "graders": graders, "judge": sorted(self._judges)}
        return {
            "model": known({"name": self.model}),
            "versions": {},
            "settings": known({"run": self._first.run}),
            "harness": "openai-evals",
            "tasks": {self.task: known(task)},
            "results": {},
            "created": self._first.created,
            "notes": list(self._doubts()),
        }
