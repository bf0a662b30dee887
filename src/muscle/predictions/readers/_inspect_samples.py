"""Inspect AI's samples as records, and its header as facts of the run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import polars as pl

from muscle.errors import DataError
from muscle.predictions.readers._table import RowTable, SliceFields
from muscle.predictions.readers._values import known, message_text, object_in, refuse
from muscle.predictions.records import complete
from muscle.predictions.rows import shorten
from muscle.predictions.run import SCORE_PREFIX

_LETTERS = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
_WORDS = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}


class LogTable:
    """Collects the samples of one log."""

    def __init__(self, header: Mapping[str, Any]) -> None:
        """Begin a log whose header (`header.json`, or `_journal/start.json`) says this."""
        facts = object_in(header, "eval")
        self.task = str(facts.get("task") or "task")
        self.main = _main_score(header)
        self.num_rows = 0
        self.unread: set[str] = set()
        self._table = RowTable()
        self._slices = SliceFields()
        self._graded = True
        """Whether all main scores seen are letters, words or truth values, not numbers."""

    def add(self, sample: Mapping[str, Any], where: str) -> None:
        """Take one sample.

        Raises:
            DataError: a field is missing or holds what it should not.
        """
        for name in ("id", "epoch"):
            if not isinstance(sample.get(name), int | str):
                raise DataError(
                    f"{where}, field '{name}': expected it in a sample, found {shorten(sample.get(name))}"
                )
        scores, main_value = self._scores(sample)
        error = self._error(sample, main_value)
        choices = sample.get("choices") or None
        answer = _answer(sample, self.main)
        choice = _letter_index(answer, choices)
        row: dict[str, Any] = {
            "id": str(sample["id"]),
            "repeat": _repeat(sample["epoch"], where),
            "input": message_text(sample.get("input")),
            "choices": choices,
            "reference": _references(sample.get("target"), choices),
            "output": answer if choice is None or choices is None else choices[choice],
            "choice": choice,
            "error": error,
            "finish_reason": _stop_reason(sample),
        }
        if error is None and main_value is not None:
            self._graded &= not _is_plain_number(main_value)
            row["correct"] = _number(main_value) == 1.0
        row |= scores if error is None else {}
        row |= self._slices.of(sample.get("metadata"))
        self._table.add(row, len(row["input"] or "") + len(row["output"] or ""))
        self.num_rows += 1

    def frame(self) -> pl.DataFrame:
        """Return the records."""
        frame = self._slices.prune(self._table.frame()).with_columns(pl.lit(self.task).alias("task"))
        main = f"{SCORE_PREFIX}{self.main}"
        if (
            main in frame.columns
            and not self._graded
            and not frame[main].drop_nulls().is_in([0.0, 1.0]).all()
        ):
            frame = frame.with_columns(pl.lit(None, pl.Boolean).alias("correct"))
        scores = sorted(
            (name for name in frame.columns if name.startswith(SCORE_PREFIX)), key=lambda name: name != main
        )
        others = [name for name in frame.columns if not name.startswith(SCORE_PREFIX)]
        return complete(frame.select(*others, *scores))

    def _scores(self, sample: Mapping[str, Any]) -> tuple[dict[str, float], Any]:
        """Return the scores that are numbers, as `score.<name>`, and the main one as it stands."""
        scores: dict[str, float] = {}
        values: dict[str, Any] = {}
        for scorer, score in object_in(sample, "scores").items():
            value = score.get("value") if isinstance(score, dict) else score
            if isinstance(value, dict):
                values |= {f"{scorer}.{name}": entry for name, entry in value.items()}
            elif isinstance(value, list):
                values |= {f"{scorer}.{place}": entry for place, entry in enumerate(value)}
            else:
                values[scorer] = value
        for name, value in values.items():
            number = _number(value)
            if number is not None:
                scores[SCORE_PREFIX + name] = number
            elif not _is_nan(value) and value is not None:
                self.unread.add(name)
        if values and self.main not in values:
            self.main = (
                self.main if any(name.startswith(f"{self.main}.") for name in values) else next(iter(values))
            )
            self.main = next((name for name in values if name.startswith(f"{self.main}.")), self.main)
        return scores, values.get(self.main)

    def _error(self, sample: Mapping[str, Any], main_value: Any) -> str | None:
        """Say why a sample is missing; None where it counts."""
        error = sample.get("error")
        if error:
            return str(error.get("message") or "error") if isinstance(error, dict) else str(error)
        if sample.get("invalidation"):
            return "invalidated"
        if not sample.get("scores"):
            return "no score"
        if _is_nan(main_value):
            return f"unscored: {self.main} is NaN"
        return None


def _repeat(epoch: Any, where: str) -> int:
    if not isinstance(epoch, int) or epoch < 1:
        refuse(where, "epoch", "a number from 1", epoch)
    return epoch - 1


def _main_score(header: Mapping[str, Any]) -> str:
    """The score that counts: the headline's, else the first scorer's."""
    headline = object_in(object_in(header, "results"), "headline")
    if headline:
        scorer, score = str(headline.get("scorer")), str(headline.get("score"))
        return scorer if scorer == score else f"{scorer}.{score}"
    own = object_in(header, "results").get("scores") or object_in(header, "eval").get("scorers") or [{}]
    first = own[0] if isinstance(own, list) and isinstance(own[0], dict) else {}
    return str(first.get("scorer") or first.get("name") or "score")


def _is_plain_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _number(value: Any) -> float | None:
    """Return a score's value as Inspect's `value_to_float` does; None where it is none or NaN.

    >>> [_number(value) for value in ("C", "P", True, "yes", "0.25", float("nan"), "good")]
    [1.0, 0.5, 1.0, 1.0, 0.25, None, None]
    """
    if isinstance(value, str):
        known = _LETTERS.get(value, _WORDS.get(value.lower()))
        if known is not None:
            return known
        try:
            value = float(value)
        except ValueError:
            return None
    if not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _answer(sample: Mapping[str, Any], main: str) -> str | None:
    scores = object_in(sample, "scores")
    score = scores.get(main, scores.get(main.partition(".")[0]))
    answer = score.get("answer") if isinstance(score, dict) else None
    if isinstance(answer, str) and answer:
        return answer
    output = object_in(sample, "output")
    if output.get("completion"):
        return str(output["completion"])
    choices = output.get("choices") or []
    message = choices[0].get("message") if choices and isinstance(choices[0], dict) else None
    return message_text(message.get("content")) if isinstance(message, dict) else None


def _stop_reason(sample: Mapping[str, Any]) -> str | None:
    """Return why the model's last message ended; "unknown" is not known."""
    choices = object_in(sample, "output").get("choices") or []
    reason = choices[0].get("stop_reason") if choices and isinstance(choices[0], dict) else None
    return None if reason in (None, "unknown") else str(reason)


def _letter_index(answer: str | None, choices: list[str] | None) -> int | None:
    """Return the option that a letter names."""
    if not choices or not answer or len(answer) != 1:
        return None
    index = ord(answer.upper()) - ord("A")
    return index if 0 <= index < len(choices) else None


def _references(target: Any, choices: list[str] | None) -> list[str] | None:
    entries = target if isinstance(target, list) else [target]
    texts = [entry if isinstance(entry, str) else json.dumps(entry) for entry in entries if entry is not None]
    indices = [_letter_index(text, choices) for text in texts]
    named = [
        text if index is None or choices is None else choices[index]
        for text, index in zip(texts, indices, strict=True)
    ]
    return [text for text in named if text] or None


def run_facts(header: Mapping[str, Any], table: LogTable) -> dict[str, Any]:
    """Return what the header says of the run, in the metadata's common words."""
    facts = object_in(header, "eval")
    dataset, config = object_in(facts, "dataset"), object_in(facts, "config")
    task = {
        "version": facts.get("task_version"),
        "args": facts.get("task_args"),
        "dataset": {name: dataset.get(name) for name in ("name", "location", "samples", "shuffled")},
        "epochs": config.get("epochs"),
        "epochs_reducer": config.get("epochs_reducer"),
        "limit": config.get("limit"),
        "metric": table.main,
        "scorers": [entry.get("name") for entry in facts.get("scorers") or [] if isinstance(entry, dict)],
        "solver": object_in(header, "plan").get("steps"),
        "generation": object_in(object_in(header, "plan"), "config") or facts.get("model_generate_config"),
    }
    notes = [f"{table.task}: score {name} holds values that are no numbers" for name in sorted(table.unread)]
    return {
        "model": known(
            {"name": facts.get("model"), "args": facts.get("model_args"), "roles": facts.get("model_roles")}
        ),
        "versions": object_in(facts, "packages"),
        "settings": known({"revision": facts.get("revision"), "status": header.get("status")}),
        "created": facts.get("created"),
        "harness": "inspect_ai",
        "results": {table.task: _own_results(header)},
        "tasks": {table.task: known(task)},
        "notes": notes,
    }


def _own_results(header: Mapping[str, Any]) -> dict[str, float]:
    """Inspect's aggregates: `score,metric` (and the reducer, where there is one) to value."""
    results: dict[str, float] = {}
    for entry in object_in(header, "results").get("scores") or []:
        reducer = f",{entry['reducer']}" if entry.get("reducer") else ""
        scorer = str(entry.get("scorer"))
        name = scorer if entry.get("name") in (scorer, None) else f"{scorer}.{entry['name']}"
        for metric, body in object_in(entry, "metrics").items():
            value = body.get("value") if isinstance(body, dict) else None
            if isinstance(value, int | float) and metric not in ("stderr", "std", "var"):
                results[f"{name},{metric}{reducer}"] = value
    return results
