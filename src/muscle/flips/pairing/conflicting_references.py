"""Whether one run holds an input several times with other references: an answer key that contradicts itself.

An answer that is right by the one is wrong by the other, whatever the model says. It may also be that what tells the
items apart (a passage, an earlier turn) is not in the file. So it is told, and refuses nothing.
"""

from __future__ import annotations

import polars as pl

from muscle.flips.pairing.match import reference_texts
from muscle.foreign_text import listing
from muscle.predictions.records import input_texts


def told_conflicts(frame: pl.DataFrame) -> str | None:
    """Say that inputs stand in a run several times with other references; None where each has one.

    Args:
        frame: the run's records.
    """
    item = frame["task"].hash(1) ^ input_texts(frame).hash(2)
    if item.n_unique() == item.len():
        return None
    has_both = frame["input"].is_not_null() & frame["reference"].is_not_null()
    known, item = frame.filter(has_both), item.filter(has_both)
    answer = item ^ reference_texts(known).hash(3)
    # One hash an item and one an item and its reference: as many of both where each item has one reference.
    if item.n_unique() == answer.n_unique():
        return None
    rows = pl.DataFrame({"item": item, "answer": answer, "id": known["id"]})
    several = rows.group_by("item").agg(pl.col("answer").n_unique()).filter(pl.col("answer") > 1)["item"]
    found = rows.filter(pl.col("item").is_in(several.implode()))
    first = found.filter(pl.col("item") == found["item"][0])["id"].unique(maintain_order=True)
    count = "1 input stands" if several.len() == 1 else f"{several.len():,} inputs stand"
    ids = listing(f"{identity!r}" for identity in first)
    return (
        f"{count} there several times with other references (first id {ids}): what is right by one is wrong by another"
    )
