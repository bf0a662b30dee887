"""Two made-up models that answer the same questions with likelihoods: records as a harness writes them."""

from __future__ import annotations

import numpy as np
import polars as pl

OPTIONS = ["tea", "milk", "soup", "rice"]


def two_runs(
    num: int, *, seed: int = 0, start: int = 0, old_signal: float = 2.0, new_signal: float = 2.0
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the records of an old and a new model, each right where its own noise does not drown the truth.

    Args:
        num: questions.
        seed: of the truth and the noise.
        start: number of the first question.
        old_signal: how much likelier the right option is to the old model than noise of spread 1.
        new_signal: the same of the new one.
    """
    generator = np.random.default_rng(seed)
    gold = generator.integers(0, len(OPTIONS), num)
    runs = []
    for signal in (old_signal, new_signal):
        values = signal * (np.arange(len(OPTIONS)) == gold[:, None]) + generator.normal(size=(num, len(OPTIONS)))
        choice = values.argmax(-1)
        runs.append(
            pl.DataFrame(
                {
                    "task": "meals",
                    "id": [f"m{start + row}" for row in range(num)],
                    "input": [f"What is in bowl {start + row}?" for row in range(num)],
                    "choices": [OPTIONS] * num,
                    "reference": [[OPTIONS[each]] for each in gold],
                    "output": [OPTIONS[each] for each in choice],
                    "choice": choice,
                    "correct": choice == gold,
                    "logprobs": values.tolist(),
                }
            )
        )
    return runs[0], runs[1]


def two_answers(
    num: int, *, seed: int = 0, start: int = 0, old_signal: float = 2.0, new_signal: float = 2.0
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return what an API gives of the same two models: answers and how sure each says it is, no likelihoods."""
    runs = []
    for frame in two_runs(num, seed=seed, start=start, old_signal=old_signal, new_signal=new_signal):
        values = np.array(frame["logprobs"].to_list())
        shares = np.exp(values) / np.exp(values).sum(axis=1, keepdims=True)
        runs.append(
            frame.drop("choices", "choice", "logprobs", "reference").with_columns(
                pl.Series("score.confidence", shares.max(axis=1)),
                pl.Series("slice.course", np.where(np.arange(num) % 3, "main", "sweet")),
            )
        )
    return runs[0], runs[1]
