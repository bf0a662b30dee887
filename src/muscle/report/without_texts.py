"""A report without its items' texts, for results that are kept or passed on where the texts must not be.

Numbers, names, ids, prompts' templates and settings stay. Words that set apart what broke go, they are quoted from answers; so
do the values of slices by a column of texts, which get their hash as a name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from muscle.predictions.records import input_hash

NOTE = "inputs, options, references and answers are left out of this report; an item is named by its id and its input's hash"

_TEXTS = ("input", "choices", "reference")
_TEXT_COLUMNS = (*_TEXTS, "output")
_SIDES = ("old", "new", "candidate")

Json = dict[str, Any]


def without_texts(report: Mapping[str, Any]) -> Json:
    """Return a comparison's report without its items' texts.

    Args:
        report: what `Comparison.to_json()` gives and report.json holds; it is left as it is.

    Returns:
        A report in which each listed flip has `input_hash` in place of its texts: that of the records (SHA-256 of the input and
        its options), taken of what the report shows of them; None where it shows no input.
    """
    if NOTE in report["warnings"]:
        return dict(report)
    tasks = {name: _task(task) for name, task in report["tasks"].items()}
    hidden = {name: _hidden_slices(task) for name, task in report["tasks"].items()}
    flips = [_flip(flip, hidden.get(flip["task"], set())) for flip in report["flips"]]
    return {**report, "tasks": tasks, "flips": flips, "warnings": [*report["warnings"], NOTE]}


def _flip(flip: Mapping[str, Any], hidden: set[str]) -> Json:
    slices = {by: _name(value) if by in hidden else value for by, value in (flip["slices"] or {}).items()}
    repeats = flip.get("repeats") and {
        side: answers and [_answer(each) for each in answers] for side, answers in flip["repeats"].items()
    }
    return {
        **flip,
        **dict.fromkeys(_TEXTS),
        **{side: _answer(flip[side]) for side in _SIDES},
        "slices": slices,
        **({"repeats": repeats} if "repeats" in flip else {}),
        "input_hash": None if flip["input"] is None else input_hash(flip["input"], flip["choices"] or ()),
    }


def _answer(answer: Mapping[str, Any] | None) -> Json | None:
    return None if answer is None else {**answer, "output": None}


def _task(task: Mapping[str, Any]) -> Json:
    changed: Json = {}
    if task.get("what_changed"):
        changed["what_changed"] = [row for row in task["what_changed"] if row["kind"] != "ngram"]
    if task.get("slices"):
        changed["slices"] = {side: _sliced(found) for side, found in task["slices"].items()}
    return {**task, **changed}


def _hidden_slices(task: Mapping[str, Any]) -> set[str]:
    """Return the names of a task's slices whose values are texts of the items."""
    return {name for found in (task.get("slices") or {}).values() for name in _of_texts(found)}


def _of_texts(found: Mapping[str, Any]) -> set[str]:
    return {cut["by"] for cut in found["by"] if cut["kind"] == "column" and cut["of"] in _TEXT_COLUMNS}


def _sliced(found: Mapping[str, Any]) -> Json:
    """Return a task's slices of one comparison, those of texts named by their hash."""
    hidden = _of_texts(found)

    def renamed(rows: Sequence[Mapping[str, Any]]) -> list[Json]:
        return [{**row, "value": _name(row["value"])} if row["by"] in hidden else dict(row) for row in rows]

    def opposed(row: Mapping[str, Any]) -> Json:
        ways = {way: [_name(value) for value in row[way]] for way in ("worse", "better")}
        return {**row, **ways} if row["by"] in hidden else dict(row)

    return {
        **found,
        "rows": renamed(found["rows"]),
        "concentrated": renamed(found["concentrated"]),
        "simpson": [opposed(row) for row in found["simpson"]],
    }


def _name(text: str) -> str:
    return f"sha256 {input_hash(text)[:16]}"
