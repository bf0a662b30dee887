"""Answers as records: one row an item, in the format of `muscle.predictions.records`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from muscle.predictions.records import COLUMNS, all_names, complete, input_hash
from muscle.predictions.run import SCORE_PREFIX, SLICE_PREFIX
from muscle.tasks.task import Example, Task


@dataclass(frozen=True)
class Answer:
    """What a model answered to one item, and what it is worth.

    Attributes:
        output: the generated text, or the chosen option's text.
        extracted: the answer that was read out of the text and scored; None where it is the whole text.
        choice: index of the chosen option.
        correct: None where the task's scores are continuous, or the item could not be scored.
        logprobs: log-likelihood of each option, in nats, summed over its tokens.
        scores: the main score first.
        tied: another option has exactly the chosen one's score.
        finish_reason: why the text ends: "stop" (a stop text or the end-of-text token) or "length" (the limit
            of tokens).
        repeat: which of the item's answers this is, from 0.
        error: why there is no score.
    """

    output: str | None = None
    extracted: str | None = None
    choice: int | None = None
    correct: bool | None = None
    logprobs: list[float] | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    tied: bool = False
    error: str | None = None
    finish_reason: str | None = None
    repeat: int = 0


def build_frame(task: Task, examples: Sequence[Example], answers: Sequence[Answer]) -> pl.DataFrame:
    """Return the records of a task, one row an answer, in order.

    Args:
        task: what was asked.
        examples: the item of each answer; an item that was answered several times stands as often.
        answers: as many.
    """
    columns: dict[str, list[object]] = {
        "task": [task.name] * len(examples),
        "id": [example.id for example in examples],
        "filter": [task.filter] * len(examples),
        "repeat": [answer.repeat for answer in answers],
        "input_hash": [input_hash(example.context, example.choices) for example in examples],
        "input": [example.context for example in examples],
        "choices": [list(example.choices) or None for example in examples],
        "reference": [list(example.reference) for example in examples],
        "output": [answer.output for answer in answers],
        "extracted_answer": [answer.extracted for answer in answers],
        "choice": [answer.choice for answer in answers],
        "correct": [answer.correct for answer in answers],
        "logprobs": [answer.logprobs for answer in answers],
        "error": [answer.error for answer in answers],
        "finish_reason": [answer.finish_reason for answer in answers],
    }
    for name in all_names(answer.scores for answer in answers):
        columns[SCORE_PREFIX + name] = [answer.scores.get(name) for answer in answers]
    for name in all_names(example.slices for example in examples):
        columns[SLICE_PREFIX + name] = [example.slices.get(name) for example in examples]
    types = {name: COLUMNS.get(name, _type(name)) for name in columns}
    return complete(pl.DataFrame(columns, schema=types))


def _type(name: str) -> pl.DataType:
    return pl.Float64() if name.startswith(SCORE_PREFIX) else pl.String()
