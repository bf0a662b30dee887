"""An answer as a line of a record: a prediction in the project's format, and how it was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from muscle.evaluation.answers import generation_answer, likelihood_scores
from muscle.evaluation.rows import Answer
from muscle.predictions.records import CALL, input_hash
from muscle.record.log import Row
from muscle.record.replies import Reply, Token, option_logprobs, option_of
from muscle.tasks.task import Example, Task

NO_ANSWER = "no answer"
"""The error of an answer that is blank."""


def row_of(task: Task, example: Example, answer: Answer, call: Mapping[str, object]) -> Row:
    """Return an answer as a line.

    Args:
        task: what was asked.
        example: the item.
        answer: to it.
        call: how it was asked for.
    """
    fields: Row = {
        "task": task.name,
        "id": example.id,
        "filter": task.filter,
        "repeat": answer.repeat,
        "input_hash": input_hash(example.context, example.choices),
        "input": example.context,
        "choices": list(example.choices) or None,
        "reference": list(example.reference) or None,
        "output": answer.output,
        "extracted_answer": answer.extracted,
        "choice": answer.choice,
        "logprobs": answer.logprobs,
        "error": answer.error,
        "finish_reason": answer.finish_reason,
        "score": dict(answer.scores) or None,
        "slices": dict(example.slices) or None,
    }
    kept = {name: value for name, value in fields.items() if value is not None}
    # Also where nobody judged: without the field, texts would be compared in its place.
    return {**kept, "correct": answer.correct, CALL: dict(call)}


def now() -> str:
    """Return the time, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def answer_of(task: Task, example: Example, reply: Reply) -> tuple[Answer, dict[str, object]]:
    """Return what an endpoint gave back as an answer, and what more is known of it.

    Args:
        task: what was asked.
        example: the item, with a label or without.
        reply: what came back.
    """
    more: dict[str, object] = {"tokens": [[each.text, round(each.logprob, 6)] for each in reply.tokens]}
    text = _up_to_stop(task, reply.text)
    if not text.strip():
        return Answer(output=reply.text or None, error=NO_ANSWER, finish_reason=reply.finish_reason), _with_values(more)
    if task.kind == "choice":
        answer, seen = _option_answer(example, text, reply.tokens)
        more["options_seen"] = seen
    elif example.target:
        answer = generation_answer(task, example, text)
    else:
        answer = Answer(output=text, extracted=None if task.extract is None else task.extract(text))
    return replace(answer, finish_reason=reply.finish_reason), _with_values(more)


def _option_answer(example: Example, text: str, tokens: tuple[Token, ...]) -> tuple[Answer, int | None]:
    """Return an answer in words to an item with options; how many options its likelihoods come from beside it."""
    choice = option_of(text, example.choices)
    found = option_logprobs(tokens, example.choices) if tokens else None
    answer = Answer(output=text, choice=choice)
    if found is not None:
        answer = replace(answer, logprobs=found[0])
    if example.gold is None:
        return answer, found and found[1]
    scores = {"acc": float(choice == example.gold)}
    if found is not None:
        scores = {**likelihood_scores(found[0], example.gold), **scores}
    return replace(answer, correct=choice == example.gold, scores=scores), found and found[1]


def _up_to_stop(task: Task, text: str) -> str:
    """Return an answer up to the first stop text, as one is cut that is generated here."""
    for stop in () if task.generation is None else task.generation.until:
        text = text.split(stop)[0] if stop else text
    return text


def _with_values(values: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in values.items() if value not in (None, [])}
