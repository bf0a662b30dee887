"""One logged sample of lm-evaluation-harness (one item under one filter) as the fields of a record.

What a reader would question:

- **Which option was picked is not stored.** It is computed again as the harness does: the first option with
  the highest log-likelihood (`acc`), the same per character (`acc_norm`) or UTF-8 byte (`acc_bytes`) of the
  option without its delimiter, or the highest gain over the option's likelihood without a context
  (`acc_mutual_info`). Where that contradicts the stored metric (a task with its own scoring), no pick is given.
- **Metrics are not all numbers.** `f1`, `mcc`, `brier_score` and `likelihood` hold gold and prediction for a
  later aggregation and are passed over; `word_perplexity` and its kind hold log-likelihood and count and
  become the log-likelihood a word or byte, so that higher is better; `perplexity` is a raw log-likelihood.
- **An answer is what the filter made of it** (`extracted_answer`; `output` is the whole text), so two ways to
  the same number are one answer.
"""

from __future__ import annotations

import ast
import json
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from muscle.foreign_text import shorten
from muscle.predictions.readers.shared.values import Words, float_of, shown
from muscle.predictions.run import SCORE_PREFIX

CHOICE_METRICS = ("acc", "acc_norm", "acc_bytes", "acc_mutual_info")
DECIDING = (*CHOICE_METRICS, "exact_match")
"""Metrics that decide `correct`: the first of them that a task has."""

NEEDED = ("doc_id", "target", "arguments", "filtered_resps")
"""What every sample has."""

_MAX_PRINTED_LIST = 100_000
"""Characters of a list of accepted answers as Python prints it; parsed, one takes a hundred times as much memory."""

_PER_UNIT = {
    "word_perplexity": "logprob_per_word",
    "byte_perplexity": "logprob_per_byte",
    "bits_per_byte": "logprob_per_byte",
}
_NOT_METRICS = frozenset(
    [
        "doc_id",
        "doc",
        "target",
        "arguments",
        "resps",
        "filtered_resps",
        "filter",
        "metrics",
        "doc_hash",
        "prompt_hash",
        "target_hash",
    ]
)
_WORDS = {"True": 1.0, "False": 0.0}


class BadField(Exception):
    """A field is not what it should be: its name, what was expected, what was found."""

    def __init__(self, name: str, expected: str, found: object) -> None:
        super().__init__(f"field '{name}': expected {expected}, found {shorten(shown(found))}")


class Choices(NamedTuple):
    """The options of a choice item; a tuple, as one is made for every sample.

    Attributes:
        input: what all options share.
        texts: the options.
        lengths_known: whether the texts are what the harness divides by the length of.
    """

    input: str
    texts: list[str]
    lengths_known: bool = True


def metric_names(sample: Mapping[str, object]) -> list[str]:
    """The names of a sample's metrics, in the file's order."""
    named = sample.get("metrics")
    if isinstance(named, list) and all(isinstance(name, str) for name in named):
        return named
    return [name for name in sample if name not in _NOT_METRICS]


def deciding_metric(sample: Mapping[str, object], order: Sequence[str]) -> str | None:
    """Choose the metric that decides: the first in an order that the sample has as a number, else its first number."""
    numbers = [name for name in metric_names(sample) if isinstance(sample.get(name), int | float | str)]
    return next((name for name in order if name in numbers), next(iter(numbers), None))


def check(sample: Mapping[str, object]) -> None:
    """Refuse what is no sample: a field is missing, or what identifies it is no text or number."""
    for name in NEEDED:
        if name not in sample:
            raise BadField(name, "a sample of lm-evaluation-harness", Words("no such field"))
    if not isinstance(sample["doc_id"], int | str) or isinstance(sample["doc_id"], bool):
        raise BadField("doc_id", "a number or a text", sample["doc_id"])
    if not isinstance(sample.get("filter"), str | None):
        raise BadField("filter", "a filter's name", sample["filter"])
    if not isinstance(sample["filtered_resps"], list):
        raise BadField("filtered_resps", "a list", sample["filtered_resps"])


def scores_of(sample: Mapping[str, object], *, likelihood: bool) -> dict[str, float]:
    """Return the numbers that an item's metrics hold, as `score.<name>`.

    Args:
        sample: the object.
        likelihood: the item is the likelihood of one text; `perplexity` is then that.
    """
    scores: dict[str, float] = {}
    for name in metric_names(sample):
        value = sample.get(name)
        if type(value) is float and name != "perplexity" and math.isfinite(value):
            scores[SCORE_PREFIX + name] = value  # nearly all of them; the rest of the loop is for the others
            continue
        if name == "perplexity" and likelihood:
            name = "gold_logprob"
        elif name in _PER_UNIT and isinstance(value, list) and len(value) == 2:
            total, count = map(float_of, value)
            name, value = _PER_UNIT[name], (total / count if total is not None and count else None)
        elif isinstance(value, list) and value and all(isinstance(entry, bool) for entry in value):
            value = sum(value) / len(value)
        number = _WORDS.get(value) if isinstance(value, str) else value
        if not isinstance(number, int | float):
            continue
        finite = float(number) if isinstance(number, bool) else float_of(number)
        if finite is None:
            raise BadField(name, "a finite number", value)
        scores[SCORE_PREFIX + name] = finite
    return scores


def _prompt_text(value: object) -> str:
    """A prompt as text: chat prompts of API models stand in a list of one."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
        return value[0]
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError:
        raise BadField("arguments", "texts that are nested less deep", value) from None


class Requests(NamedTuple):
    """What the model was asked for one item.

    Attributes:
        contexts: a text a request.
        endings: the continuations whose likelihood was asked; None where none was.
        generates: whether the first request is for text, with settings of the generation.
    """

    contexts: list[str]
    endings: list[str] | None
    generates: bool


def requests_of(sample: Mapping[str, object]) -> Requests:
    """Return the requests of an item, which stand in an object or, in older files, in a list."""
    arguments = sample["arguments"]
    if isinstance(arguments, dict) and all(type(entry) is dict for entry in arguments.values()):
        contexts = [entry.get("arg_0", "") for entry in arguments.values()]
        endings = [entry.get("arg_1") for entry in arguments.values()]
    elif isinstance(arguments, list) and all(type(entry) is list and entry for entry in arguments):
        contexts = [entry[0] for entry in arguments]
        endings = [entry[1] if len(entry) > 1 else None for entry in arguments]
    else:
        raise BadField("arguments", "the requests of the item", arguments)
    if not contexts:
        raise BadField("arguments", "the requests of the item", Words("none"))
    is_likelihood = isinstance(endings[0], str)
    if is_likelihood and not all(isinstance(ending, str) for ending in endings):
        raise BadField("arguments", "a text for each option", Words("an option without one"))
    texts = [value if isinstance(value, str) else _prompt_text(value) for value in contexts]
    return Requests(texts, endings if is_likelihood else None, not is_likelihood and endings[0] is not None)


def _loglikelihoods(sample: Mapping[str, Any]) -> list[float]:
    responses = sample["filtered_resps"]
    try:
        numbers = [float(response[0]) for response in responses]
    except (TypeError, ValueError, OverflowError, IndexError, KeyError):
        raise BadField("filtered_resps", "log-likelihoods", responses) from None
    if any(map(math.isnan, numbers)):
        raise BadField("filtered_resps", "log-likelihoods", responses)
    return numbers


def _without_bare(
    contexts: list[str], endings: list[str], values: list[float]
) -> tuple[list[str], list[str], list[float], list[float]]:
    """Take apart the requests with and those without their context (asked for mutual information)."""
    bare = [place for place, context in enumerate(contexts) if not context]
    if len(bare) * 2 != len(contexts):
        return contexts, endings, values, []
    full = [place for place, context in enumerate(contexts) if context]
    picked = ([column[place] for place in full] for column in (contexts, endings))
    return *picked, [values[place] for place in full], [values[place] for place in bare]  # type: ignore[return-value]


def _options(contexts: list[str], endings: list[str], delimiter: str | None) -> Choices:
    num_options = len(contexts)
    if contexts.count(contexts[0]) == num_options:
        cut = " " if delimiter is None else delimiter
        if cut and all(ending.startswith(cut) for ending in endings):
            endings = [ending[len(cut) :] for ending in endings]
        return Choices(contexts[0], endings)
    if endings.count(endings[0]) == num_options:
        return Choices(endings[0].strip(), contexts)
    return Choices("", [context + ending for context, ending in zip(contexts, endings, strict=True)], False)


def _values_to_rank(metric: str, logprobs: list[float], bare: list[float], choices: Choices) -> list[float]:
    """What the harness takes the first highest of; empty where that cannot be told."""
    if metric == "acc_mutual_info":
        return [with_ - without for with_, without in zip(logprobs, bare, strict=True)] if bare else []
    if metric in ("acc_norm", "acc_bytes"):
        lengths = [len(text) if metric == "acc_norm" else len(text.encode()) for text in choices.texts]
        known = choices.lengths_known and all(lengths)
        return [value / length for value, length in zip(logprobs, lengths, strict=True)] if known else []
    return logprobs


def gold_indices(target: object, options: Sequence[str]) -> list[int]:
    """Return the indices of the right options that a `target` names; empty where it names none.

    >>> gold_indices("2", ["a", "b", "c"]), gold_indices("[0, 1]", ["a", "b"]), gold_indices("B", ["A", "B"])
    ([2], [0, 1], [1])
    """
    if isinstance(target, str):
        if len(target) < 10 and target.removeprefix("-").isdecimal():
            target = int(target)
        elif target in options:
            return [options.index(target)]
        else:
            target = _printed_list(target)
    indices: list[int] = []
    for entry in target if isinstance(target, list) else [target]:
        if not isinstance(entry, int) or isinstance(entry, bool):
            return []
        if not 0 <= entry < len(options):
            raise BadField("target", f"the index of one of {len(options)} options, from 0", entry)
        indices.append(entry)
    return indices


def _printed_list(text: str) -> object:
    """A list as Python prints it; the text itself where it is none."""
    if not (text.startswith("[") and text.endswith("]")) or len(text) > _MAX_PRINTED_LIST:
        return text
    try:
        # Python warns of a backslash in a text that begins no escape, as an answer in LaTeX has it.
        with warnings.catch_warnings(action="ignore", category=SyntaxWarning):
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return text


def choice_fields(
    sample: Mapping[str, object],
    contexts: list[str],
    endings: list[str],
    *,
    delimiter: str | None,
    deciding: str | None,
) -> dict[str, object]:
    """Return the fields of an item that is scored by the likelihood of its options.

    Beside fields of a record: `gold`, the right options' indices; `tied`, the best two are equal; `contradicted`,
    the pick disagrees with the metric and is left out.
    """
    values = _loglikelihoods(sample)
    if len(values) != len(contexts):
        raise BadField("filtered_resps", f"{len(contexts)} log-likelihoods, one for each request", len(values))
    bare: list[float] = []
    if "" in contexts:
        contexts, endings, values, bare = _without_bare(contexts, endings, values)
    choices = _options(contexts, endings, delimiter)
    texts = choices.texts
    metric = deciding if deciding in CHOICE_METRICS else "acc"
    ranked = _values_to_rank(metric, values, bare, choices)
    pick = ranked.index(max(ranked)) if ranked else None
    tied = pick is not None and ranked.count(ranked[pick]) > 1
    is_right = sample.get(metric)
    gold = gold_indices(sample["target"], texts)
    if not gold and pick is not None and is_right in (0, 1):
        # With several contexts and one ending, the right one's index is not in the file.
        gold = [pick] if is_right else [1 - pick] if len(values) == 2 else []
    contradicted = bool(gold) and pick is not None and is_right in (0, 1) and (pick in gold) != is_right
    if contradicted:
        pick = None
    return {
        "input": choices.input,
        "choices": texts,
        "reference": [texts[index] for index in gold],
        "output": None if pick is None else texts[pick],
        "choice": pick,
        "logprobs": values,
        "gold": gold,
        "tied": tied,
        "contradicted": contradicted,
    }


def text_fields(sample: Mapping[str, object], requests: Requests) -> dict[str, object]:
    """Return the fields of an item with one request: generated text, or the likelihood of a given text."""
    fields: dict[str, object] = {
        "input": requests.contexts[0],
        "reference": _accepted_answers(sample["target"]),
    }
    responses = sample["filtered_resps"]
    if requests.endings is not None:
        if not responses:
            raise BadField("filtered_resps", "a log-likelihood", responses)
        fields[SCORE_PREFIX + "gold_logprob"] = _loglikelihoods(sample)[0]
    elif requests.generates:
        answer, said = _prompt_text(_only(responses)), _only(sample.get("resps"))
        fields |= {"output": said if isinstance(said, str) else answer, "extracted_answer": answer}
    return fields


def _only(value: object) -> object:
    """Return what stands alone in lists in lists."""
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value


def _accepted_answers(target: object) -> list[str]:
    """Accepted answers: a list of them is written as Python prints it."""
    value = _printed_list(target) if isinstance(target, str) else target
    entries = value if isinstance(value, list) else [value]
    return [_prompt_text(entry) if isinstance(entry, dict | list) else str(entry) for entry in entries]
