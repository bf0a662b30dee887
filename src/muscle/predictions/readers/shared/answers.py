"""Answers that a harness read out of a model's text, beside the text itself."""

from __future__ import annotations

import polars as pl

from muscle.predictions.records import NO_FILTER


def without_same_answers(frame: pl.DataFrame) -> pl.DataFrame:
    """Drop the extracted answers of records where nothing was extracted: no filter, and each is its whole text.

    Args:
        frame: records of one run, `filter`, `output` and maybe `extracted_answer` among their columns.
    """
    if "extracted_answer" not in frame.columns:
        return frame
    differs = pl.col("extracted_answer").is_not_null() & pl.col("extracted_answer").ne_missing(pl.col("output"))
    was_filtered = (differs | (pl.col("filter") != NO_FILTER)).any().over("task")
    return frame.with_columns(pl.when(was_filtered).then(pl.col("extracted_answer")).alias("extracted_answer"))
