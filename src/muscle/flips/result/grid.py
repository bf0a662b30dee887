"""Coarse log-likelihoods: a trap in files of models that were scored in bfloat16.

A bf16 model scored by lm-evaluation-harness as it comes gives log-likelihoods in steps of 0.125 to 0.5. Options then
tie, and the tie-break makes flips that no model made.
"""

from __future__ import annotations

import polars as pl

from muscle.predictions.run import Run

STEPS = (0.5, 0.25, 0.125)
GRID_SHARE = 0.95
"""Share of the log-likelihoods that must be multiples of a step to call it their grid."""

MIN_VALUES = 20


def coarse_step(run: Run) -> float | None:
    """Return the widest step that (nearly) all log-likelihoods of a run are multiples of; None where there is none."""
    values = run.frame["logprobs"].drop_nulls().explode(empty_as_null=False).drop_nulls()
    values = values.filter(values.is_finite() & (values != 0))
    if values.len() < MIN_VALUES:
        return None
    for step in STEPS:
        scaled = values / step
        if (scaled == scaled.round()).sum() >= GRID_SHARE * values.len():
            return step
    return None


def num_ties(run: Run) -> int:
    """Count the predictions whose two best options have exactly the same log-likelihood."""
    several = run.frame.select(pl.col("logprobs").filter(pl.col("logprobs").list.len() > 1)).to_series()
    best = several.list.sort(descending=True, nulls_last=True)
    return int((best.list.get(0) == best.list.get(1)).sum())


def grid_warnings(run: Run) -> list[str]:
    """Say where a run's log-likelihoods are coarse, and how many of its options tie."""
    if run.frame["logprobs"].null_count() == run.frame.height:
        return []
    ties, step = num_ties(run), coarse_step(run)
    if step is not None:
        return [
            f"{run.name}: log-likelihoods lie on a grid of {step} (a bfloat16 model scored as it comes), "
            f"and {ties} items "
            "tie between their two best options: some flips may come from the tie-break alone; score with "
            "softmax_dtype=float32"
        ]
    return [f"{run.name}: {ties} items tie between their two best options"] if ties else []
