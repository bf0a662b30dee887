"""What an answer is worth: by the likelihoods of an item's options, or by the task's own scoring of a text.

Whatever gave them: a model in memory, vLLM, or an endpoint. An item without a label has an answer and no score.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from muscle.errors import ConfigError
from muscle.evaluation.rows import Answer
from muscle.tasks.task import Example, Task


def choice_answer(task: Task, example: Example, logprobs: Sequence[float]) -> Answer:
    """Return the answer of a model that has such likelihoods of an item's options.

    Args:
        task: a choice task.
        example: the item, with a label or without.
        logprobs: of each option, finite, in nats.
    """
    by_name = {
        "acc": list(logprobs),
        "acc_norm": [lp / len(text) for lp, text in zip(logprobs, example.choices, strict=True)],
    }
    picked = {name: values.index(max(values)) for name, values in by_name.items()}
    deciding, choice = by_name[task.choice_score], picked[task.choice_score]
    answer = Answer(
        output=example.choices[choice],
        choice=choice,
        logprobs=list(logprobs),
        tied=deciding.count(max(deciding)) > 1,
    )
    if example.gold is None:
        return answer
    scores = likelihood_scores(logprobs, example.gold)
    scores |= {name: float(place == example.gold) for name, place in picked.items()}
    return Answer(**{**vars(answer), "correct": choice == example.gold, "scores": scores})


def likelihood_scores(logprobs: Sequence[float], gold: int) -> dict[str, float]:
    """Return the right option's share of the options' probability, and its log-likelihood.

    Args:
        logprobs: of each option, finite, in nats.
        gold: the right option.
    """
    # The highest is taken off before `exp`, which is 0 for every option of a long text otherwise.
    total = sum(math.exp(value - max(logprobs)) for value in logprobs)
    return {
        "gold_probability": math.exp(logprobs[gold] - max(logprobs)) / total,
        "gold_logprob": logprobs[gold],
    }


def generation_answer(task: Task, example: Example, output: str) -> Answer:
    """Return a generated text as an answer, scored where its item has references.

    Args:
        task: one whose answers are generated.
        example: the item, with a label or without.
        output: the text.

    Raises:
        ConfigError: the scoring needs a package that is not there.
    """
    assert task.score is not None, "a generation task has a scoring function"
    try:
        scores = {key: float(value) for key, value in task.score(output, example.reference).items()}
    except ConfigError:
        raise  # a missing package is the user's to mend, not this item's error
    except Exception as error:  # the scoring function may be the user's own: whatever it raises is this item's error
        return Answer(output=output, error=f"scoring: {type(error).__name__}: {error}")
    bad = [key for key, value in scores.items() if not math.isfinite(value)]
    if bad:
        return Answer(output=output, error=f"scoring: {bad[0]} is {scores[bad[0]]}, expected a finite number")
    correct = None if task.correct is None else bool(scores[task.correct])
    extracted = None if task.extract is None else task.extract(output)
    return Answer(output=output, extracted=extracted, correct=correct, scores=scores)
