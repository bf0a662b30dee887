"""Which way a score counts, where its name says that less of it is better and nothing else says anything."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from muscle.errors import JoinError
from muscle.predictions.plain.known_names import plain_name
from muscle.predictions.run import Run

_LESS = frozenset(
    [
        *("loss", "nll", "cross_entropy", "perplexity", "ppl", "bits_per_byte", "bits_per_character", "bpb", "bpc"),
        *("wer", "cer", "ter", "error", "errors", "error_rate", "err", "mse", "rmse", "mae", "mape", "brier"),
        *("brier_score", "ece", "calibration_error", "distance", "levenshtein", "regret", "latency"),
        *("hallucination", "hallucination_rate", "toxicity", "toxicity_score"),
    ]
)
"""Ends of names of which less is better, as `plain_name` writes them."""

_SAYS_NOTHING = frozenset(["mean", "avg", "average", "score", "value", "rate", "ms", "s", "seconds", "normalized"])
"""Words behind such a name: `loss_mean`, `latency_ms`."""

_TURNED = frozenset(["no", "not", "non", "neg", "negative", "minus", "inv", "inverse", "inverted", "one"])
"""Words that turn such a name: `negative_loss`, `one_minus_wer`."""


def reads_as_less_is_better(name: str) -> bool:
    """Whether a score's name says that less of it is better.

    >>> [reads_as_less_is_better(n) for n in ("val.loss", "WER", "latencyMs", "neg_loss", "f1", "lossless")]
    [True, True, True, False, False, False]
    """
    words = plain_name(name).split("_")
    if _TURNED & set(words):
        return False
    while True:
        if {"_".join(words[place:]) for place in range(len(words))} & _LESS:
            return True
        if not words or words.pop() not in _SAYS_NOTHING:
            return False


def refuse_unsaid_directions(scores: Mapping[str, str], runs: Sequence[Run], lower_is_better: Collection[str]) -> None:
    """Refuse a deciding score whose direction only its name tells: a rising loss would pass for a gain.

    Args:
        scores: the score that decides, by task, of tasks without right and wrong.
        runs: the runs, whose metadata may say which way their scores count.
        lower_is_better: what the user says.

    Raises:
        JoinError: the name of one says that less is better, and neither the user nor a run says anything.
    """
    said = {name for run in runs for name in run.metadata.get("higher_is_better") or {}} | set(lower_is_better)
    for task, score in scores.items():
        if score not in said and reads_as_less_is_better(score):
            raise JoinError(
                f"task {task!r}: of its main score {score!r} less is better by its name, and nothing says so; "
                f"expected --lower-is-better {score}, or, if more is better, another name (of a plain table: --column "
                f'score.quality=score.{score}), or a folder whose run.json has "higher_is_better": {{"{score}": true}}'
            )
