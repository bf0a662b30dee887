"""The writers of every format that is read: answers in, the files of a run out.

The plain forms are here; `harness_formats.py` and `service_formats.py` hold those of the harnesses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from robust import harness_formats, service_formats
from robust.answers import Answer
from robust.files import Bundle, File
from robust.harness_formats import tasks_of

Writer = Callable[[Sequence[Answer]], Bundle]


def _row(answer: Answer) -> dict[str, Any]:
    return {
        "id": f"q{answer.number}",
        "task": answer.task,
        "input": answer.question,
        "reference": answer.reference,
        "output": None if answer.failed else answer.text,
        "correct": None if answer.failed else answer.right,
        "error": "timeout" if answer.failed else None,
        "slices": {"topic": answer.topic},
    }


def _without(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


def _flat(answer: Answer) -> dict[str, Any]:
    return _without(_row(answer), "slices") | {"slice.topic": answer.topic}


def _scored(answer: Answer) -> dict[str, Any]:
    scores = {"exact": float(answer.right), "f1": 1.0 if answer.right else 0.25}
    return _without(_row(answer), "correct") | {"score": None if answer.failed else scores}


def _derived(answer: Answer) -> dict[str, Any]:
    return _without(_row(answer), "correct")


def _one(kind: str, row: Callable[[Answer], dict[str, Any]]) -> Writer:
    def write(answers: Sequence[Answer]) -> Bundle:
        path = f"run.{kind}"
        return Bundle(path, {path: File(kind, [row(answer) for answer in answers], answers=answers)})

    return write


def _folder(answers: Sequence[Answer]) -> Bundle:
    files = {
        f"{task}.jsonl": File("jsonl", [_without(_row(each), "task") for each in of_task], answers=of_task)
        for task, of_task in tasks_of(answers).items()
    }
    facts = {"name": answers[0].model, "settings": {"temperature": 0.0}, "tasks": {}}
    return Bundle("", {**files, "run.json": File("json", facts)})


def _prompt_scores(answer: Answer) -> dict[str, Any]:
    return {
        "prompt_id": f"q{answer.number}",
        "score": None if answer.failed else int(answer.right),
        "task": answer.task,
        "prompt": answer.question,
        "response": answer.text,
        "slice.topic": answer.topic,
    }


FORMATS: dict[str, Writer] = {
    "jsonl": _one("jsonl", _row),
    "jsonl_scored": _one("jsonl", _scored),
    "jsonl_derived": _one("jsonl", _derived),
    "json": _one("json", _row),
    "csv": _one("csv", _flat),
    "csv_derived": _one("csv", lambda answer: _without(_flat(answer), "correct")),
    "parquet": _one("parquet", _flat),
    "arrow": _one("arrow", _flat),
    "folder": _folder,
    "prompt_scores": _one("csv", _prompt_scores),
    **harness_formats.FORMATS,
    **service_formats.FORMATS,
}
"""Every format, to what writes it."""
