"""Whole columns of choice records: the right option's likelihood, `correct`, the order of the scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from muscle.predictions.run import SCORE_PREFIX

_FIRST = ("gold_probability", "gold_logprob", "logprob_per_word", "logprob_per_byte")
_CONTINUOUS = ("rouge", "bleu", "chrf", "ter", "f1", "bert", "meteor", "wer", "cer", "perplexity")
"""Beginnings of metrics that stay a number even where all their values happen to be 0 or 1."""


def with_gold_scores(frame: pl.DataFrame) -> pl.DataFrame:
    """Turn the column `gold` into scores.

    `gold_probability` is the right options' share, in [0, 1]: the sum of softmax(logprobs) over them;
    `gold_logprob` is the logarithm of their summed likelihood, in nats.

    Args:
        frame: records of one task; `gold` holds the right options' indices, a list a row, null where not known.
    """
    if "gold" not in frame.columns:
        return frame
    scored = frame["gold"].is_not_null() & frame["logprobs"].is_not_null()
    rows = frame.filter(scored)
    frame = frame.drop("gold")
    if rows.is_empty():
        return frame
    counts = rows["gold"].list.len().cast(pl.Int64).to_numpy()
    lengths = rows["logprobs"].list.len().cast(pl.Int64).to_numpy()
    logprobs = rows["logprobs"].list.explode().to_numpy()
    starts = np.cumsum(lengths) - lengths
    highest = np.maximum.reduceat(logprobs, starts)
    with np.errstate(invalid="ignore", divide="ignore"):
        weights = np.exp(logprobs - np.repeat(highest, lengths))
        right = np.repeat(starts, counts) + rows["gold"].list.explode().to_numpy()
        share = np.add.reduceat(weights[right], np.cumsum(counts) - counts)
        scores = {
            "gold_probability": share / np.add.reduceat(weights, starts),
            "gold_logprob": highest + np.log(share),
        }
    for name, values in scores.items():
        column = np.full(frame.height, np.nan)
        column[scored.to_numpy()] = values
        series = pl.Series(SCORE_PREFIX + name, column)
        frame = frame.with_columns(pl.when(series.is_finite()).then(series).alias(series.name))
    return frame


def judged(frame: pl.DataFrame, deciding: str | None) -> pl.DataFrame:
    """Set `correct` from the deciding metric where all its values are 0 and 1."""
    column = f"{SCORE_PREFIX}{deciding}"
    if column not in frame.columns or str(deciding).startswith(_CONTINUOUS):
        return frame
    return right_at_one(frame, column) if is_binary(frame, column) else frame


def is_binary(frame: pl.DataFrame, column: str) -> bool:
    """Tell whether all values of a column are 0 and 1."""
    return bool(frame[column].drop_nulls().is_in([0.0, 1.0]).all())


def right_at_one(frame: pl.DataFrame, column: str) -> pl.DataFrame:
    """Set `correct`: right where the column is 1."""
    return frame.with_columns((pl.col(column) == 1.0).alias("correct"))


def logprob_step(frame: pl.DataFrame) -> float | None:
    """Return 0.5, 0.25 or 0.125 where all log-likelihoods are multiples of it, as a bf16 model's are."""
    if "logprobs" not in frame.columns:
        return None
    values = frame["logprobs"].drop_nulls().list.explode()
    values = values.filter(values.is_finite())
    steps = (step for step in (0.5, 0.25, 0.125) if ((values / step).floor() == values / step).all())
    return next(steps, None) if values.len() else None


def ordered(frame: pl.DataFrame) -> pl.DataFrame:
    """Put each task's main score first: those that show the size of a change before those that are 0 or 1."""
    return scores_first(frame, _FIRST)


def scores_first(frame: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """Put the scores behind the other columns, those named before the rest."""
    first = [SCORE_PREFIX + name for name in names]
    scores = [name for name in frame.columns if name.startswith(SCORE_PREFIX)]
    scores.sort(key=lambda name: first.index(name) if name in first else len(first))
    others = [name for name in frame.columns if not name.startswith(SCORE_PREFIX)]
    return frame.select(*others, *scores)
