"""OpenAI's hosted Evals: the output items of a run, as pages of the API, as a list, or one a line.

The fields are those of the API's reference; not tried on an export of the service. Several graders judge an
item: it is right when all pass (`status`); each grader's score is kept. The item's content is the row of the data source,
which is the same for every model, while the prompt may differ.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from muscle.errors import DataError
from muscle.predictions.readers._json import line_objects, members
from muscle.predictions.readers._table import RowTable, SliceFields
from muscle.predictions.readers._values import (
    finite_number,
    known,
    message_text,
    object_in,
    refuse,
    required,
    text_of,
)
from muscle.predictions.records import complete
from muscle.predictions.run import SCORE_PREFIX, Run

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
    return not path.is_dir() and (
        b'"eval.run.output_item"' in head or (b'"datasource_item"' in head and b'"results"' in head)
    )


def read(path: Path) -> Run:
    """Read the output items of one run.

    Returns:
        One record an item; the same row of the data source again is a repeat. Scores are named after the graders, without the
        number that the service appends.

    Raises:
        DataError: the file is damaged or holds items of several runs: file, line or member, field.
    """
    table, slices = RowTable(), SliceFields()
    seen: Counter[str] = Counter()
    facts: dict[str, Any] = {}
    for where, item in _items(path):
        row = _row(item, where)
        row["repeat"] = seen[row["id"]]
        seen[row["id"]] += 1
        table.add(row | slices.of(object_in(item, "datasource_item")), len(str(row["input"])))
        _note(facts, item, where)
    frame = table.frame()
    if frame.is_empty():
        raise DataError(f"{path}: expected output items, found none")
    task = str(facts.get("eval") or "openai-evals")
    frame = slices.prune(frame).with_columns(pl.lit(task).alias("task"))
    model = known({"name": facts.get("model")})
    metadata = {
        "model": model,
        "versions": {},
        "settings": known({"run": facts.get("run")}),
        "harness": "openai-evals",
        "tasks": {
            task: known({"generation": facts.get("generation"), "graders": sorted(facts.get("graders", []))})
        },
        "results": {},
        "notes": [],
    }
    return Run(str(model.get("name") or path.stem), complete(frame), metadata)


def _items(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield place and object of each item: from lines, a list, a page, or a list of pages."""
    with path.open("rb") as handle:
        head = handle.read(65_536).lstrip(b"\xef\xbb\xbf \t\r\n")
    is_page = b'"data"' in head[:200] or head.startswith(b"[")
    if not is_page:
        for number, item in line_objects(path):
            yield f"{path}, line {number}", item
        return
    pages = head.startswith(b"[") and b'"data"' in head[:300]
    pattern = ("#", "data", "#") if pages else ("#",) if head.startswith(b"[") else ("data", "#")
    with path.open("rb") as handle:
        for member in members(handle, str(path), [pattern]):
            if not isinstance(member.value, dict):
                raise DataError(f"{member.where}: expected {_KIND}, found {type(member.value).__name__}")
            yield member.where, member.value


def _row(item: Mapping[str, Any], where: str) -> dict[str, Any]:
    source = required(item, "datasource_item", where, _KIND)
    if not isinstance(source, dict):
        refuse(where, "datasource_item", "an object", source)
    sample = object_in(item, "sample")
    error = object_in(sample, "error")
    # The row itself may hold the answer of a run (`sample.output_text`); it is no part of what was asked.
    asked = {name: value for name, value in source.items() if not name.startswith("sample.")}
    identity = item.get("datasource_item_id")
    row: dict[str, Any] = {
        "id": str(identity if identity is not None else item.get("id")),
        "input_hash": hashlib.sha256((text_of(asked) or "").encode()).hexdigest(),
        "input": message_text(sample.get("input")) or text_of(asked),
        "reference": next(
            ([text_of(asked[name]) or ""] for name in _REFERENCES if asked.get(name) is not None), None
        ),
        "output": message_text([_content(entry) for entry in sample.get("output") or []])
        or text_of(source.get("sample.output_text")),
        "finish_reason": text_of(sample.get("finish_reason")),
        "error": str(error.get("message") or error.get("code")) if any(error.values()) else None,
    }
    return row if row["error"] else row | _verdict(item, where)


def _content(message: Any) -> Any:
    return message.get("content") if isinstance(message, dict) else message


def _verdict(item: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return `correct`, which all graders must grant, and each grader's score."""
    fields: dict[str, Any] = {}
    passed = []
    for place, result in enumerate(required(item, "results", where, _KIND) or []):
        name = _grader(str(result.get("name") or f"grader-{place}"))
        if isinstance(result.get("passed"), bool):
            passed.append(result["passed"])
        if result.get("score") is not None:
            fields[SCORE_PREFIX + name] = finite_number(result["score"], where, f"results[{place}].score")
    status = _PASSED.get(str(item.get("status")).lower())
    verdict = status if status is not None else all(passed) if passed else None
    if verdict is None and not fields:
        return {"error": "no grader gave a verdict"}
    return fields | {"correct": verdict}


def _grader(name: str) -> str:
    """Drop the identifier that the service appends: `exact match-1a2b3c4d-...`.

    >>> _grader("exact match-0f1e2d3c-1111-2222-3333-444455556666"), _grader("rouge-l")
    ('exact match', 'rouge-l')
    """
    parts = name.rsplit("-", 5)
    lengths = [len(part) for part in parts[1:]]
    return parts[0] if lengths == [8, 4, 4, 4, 12] else name


def _note(facts: dict[str, Any], item: Mapping[str, Any], where: str) -> None:
    """Remember what is the same for all items of a run, and refuse items of another run."""
    sample = object_in(item, "sample")
    run = item.get("run_id")
    if facts.setdefault("run", run) != run:
        refuse(where, "run_id", f"that of one run ({facts['run']}); split the file by run", run)
    facts.setdefault("eval", item.get("eval_id"))
    facts.setdefault("model", sample.get("model"))
    names = ("temperature", "top_p", "seed", "max_completion_tokens")
    facts.setdefault("generation", known({name: sample.get(name) for name in names}))
    results = [result for result in item.get("results") or [] if isinstance(result, dict)]
    facts.setdefault("graders", set()).update(_grader(str(result.get("name"))) for result in results)
