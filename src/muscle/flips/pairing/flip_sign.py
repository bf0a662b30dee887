"""What a flip is: the one place that says so.

Of right and wrong, an item that goes from right to wrong is a negative flip and one that goes from wrong to right a
positive one: MUSCLE (2024), Sec. 3.1. Of a score, D = S(new) - S(old) below -epsilon is a negative flip and D above
epsilon a positive one: Sec. 3.2 (there with epsilon = 0).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from muscle.flips.statistics.arrays import Floats

Kind = Literal["binary", "continuous"]
"""Whether a task's items are right or wrong, or have only a score."""

NEGATIVE_FLIP, POSITIVE_FLIP = -1, 1


def with_flip(frame: pl.DataFrame, kind: Kind, *, epsilon: float) -> pl.DataFrame:
    """Add each item's `flip`: -1 for a negative flip, 1 for a positive one, else 0.

    Args:
        frame: `correct_old` and `correct_new`, or `score_old` and `score_new` where more is better, none of them null.
        kind: which of the two.
        epsilon: dead band of a score; of no effect on right and wrong.
    """
    if kind == "binary":
        flip = pl.col("correct_new").cast(pl.Int8) - pl.col("correct_old").cast(pl.Int8)
    else:
        moved = pl.col("score_new") - pl.col("score_old")
        flip = (moved > epsilon).cast(pl.Int8) - (moved < -epsilon).cast(pl.Int8)
    return frame.with_columns(flip.alias("flip"))


def flips_of_scores(moved: Floats, *, epsilon: float) -> NDArray[np.int8]:
    """Return -1, 0 or 1 for differences of a score, new less old, of any shape; NaN is 0."""
    return (moved > epsilon).astype(np.int8) - (moved < -epsilon).astype(np.int8)
