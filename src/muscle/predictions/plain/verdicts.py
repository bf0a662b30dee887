"""Verdicts that a file does not give: computed from answer and reference, in a file that has none of its own.

Once a file has its own, by a column `correct` or a score in any row of the task, a row without one is
unscored: an answer that nobody judged is not to be judged by comparing texts. An answer that is null or blank
beside a reference is no answer: the row gets an `error`, it is missing and not wrong.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from muscle.errors import DataError, UnclearColumns
from muscle.foreign_text import listing
from muscle.predictions.messages import Where
from muscle.predictions.run import SCORE_PREFIX

NO_ANSWER = "no answer"
"""The error of a row whose answer is null or blank."""

_BARE = SCORE_PREFIX + "score"


def _given_answer() -> pl.Expr:
    """The option that was picked, else what was read out of the text, else the text, without white space around it."""
    picked = pl.col("choices").list.get(pl.col("choice"), null_on_oob=True)
    return (
        pl.when(pl.col("choice").is_null())
        .then(pl.coalesce("extracted_answer", "output"))
        .when(pl.col("choices").is_null())
        .then(pl.col("choice").cast(pl.String))
        .otherwise(picked)
        .str.strip_chars()
    )


def _is_reference() -> pl.Expr:
    """Whether the answer is one of the references; null where there is no answer or no reference."""
    references = pl.col("reference").list.drop_nulls().list.eval(pl.element().str.strip_chars())
    has_both = _given_answer().is_not_null() & (references.list.len() > 0)
    return pl.when(has_both).then(references.list.contains(_given_answer()))


def compared_with_reference(records: pl.DataFrame, field: str) -> pl.Series:
    """Return whether a field of records that holds answers is one of the references; null where one of them lacks.

    Args:
        records: any records.
        field: `choice`, `extracted_answer` or `output`; the other two play no part.
    """
    others = [name for name in ("choice", "extracted_answer", "output") if name != field]
    alone = records.with_columns(pl.lit(None, records.schema[name]).alias(name) for name in others)
    return alone.select(_is_reference().alias("same")).to_series()


def has_bare_score(table: pl.DataFrame) -> bool:
    """Whether a file has a field `score` that is a number and no object of names and numbers."""
    if "score" not in table.columns or table["score"].dtype.is_nested():
        return False
    values = table["score"].drop_nulls()
    return bool(values.len()) and not (
        values.dtype == pl.String and values.str.strip_chars_start().str.starts_with("{").all()
    )


def _told_by_references(table: pl.DataFrame, where: Where) -> pl.Expr:
    """Mark the rows of tasks whose bare score is not 0 or 1 and whose answers can be compared with references.

    Raises:
        UnclearColumns: in such a task no answer is its reference, so that the score may be what was meant.
    """
    rows = table.select("task", pl.col(_BARE).alias("score"), same=_is_reference()).with_row_index("row")
    tasks = rows.group_by("task", maintain_order=True).agg(
        graded=(~pl.col("score").is_in([0.0, 1.0])).any(),
        compared=pl.col("same").is_not_null().any(),
        matched=pl.col("same").any(),
        row=pl.col("row").first(),
    )
    told = tasks.filter(pl.col("graded") & pl.col("compared"))
    lost = told.filter(~pl.col("matched"))
    if lost.height:
        raise UnclearColumns(
            f"{where(lost['row'][0])} and on, field 'score': found numbers beside outputs of which none is its "
            "reference; say --column score=score if they are scores of the answers (more is better), or, if not (a "
            "confidence, a time), --column slice.sure=score, and references decide",
            flags="--column score=score",
        )
    return pl.col("task").is_in(told["task"].to_list(), nulls_equal=True)


def with_verdicts(
    table: pl.DataFrame, *, fields: Mapping[str, str], where: Where, doubtful_score: bool = False
) -> pl.DataFrame:
    """Compute `correct` in the tasks of a file where nothing else says what is right.

    Args:
        table: records.
        fields: the file's fields and what the file calls them; `correct` among them decides even where it is null.
        where: turns a row's number into the words that open a message.
        doubtful_score: whether the score may be something else, a confidence: then references come first.

    Raises:
        DataError: no row has a verdict, a score or an error, and none can be computed.
    """
    if "correct" in fields:
        return table
    scores = [pl.col(name).is_not_null() for name in table.columns if name.startswith(SCORE_PREFIX)]
    scored = pl.any_horizontal(scores).any().over("task") if scores else pl.lit(False)
    if doubtful_score and _BARE in table.columns:
        scored = scored & ~_told_by_references(table, where)
    open_rows = table.select(pl.col("error").is_null() & ~scored).to_series()
    if not open_rows.any():
        return table
    has_reference = pl.col("reference").list.drop_nulls().list.len() > 0
    has_answers = any(name in fields for name in ("choice", "extracted_answer", "output"))
    blank = pl.lit(has_answers) & (_given_answer().is_null() | (_given_answer() == "")) & has_reference
    found = table.filter(open_rows).select(correct=_is_reference(), blank=blank.fill_null(False))
    found = found.select(
        correct=pl.when(pl.col("correct") | ~pl.col("blank")).then("correct"),
        error=pl.when(pl.col("blank") & ~pl.col("correct").fill_null(False)).then(pl.lit(NO_ANSWER)),
    )
    if open_rows.all() and found["correct"].null_count() == found["error"].null_count() == found.height:
        raise UnclearColumns(
            f"{where(0)}, field 'correct': expected one of 'correct', 'score', or 'choice' or 'output' with "
            "a 'reference' (or an 'error'), found none in this row or any other; the file has the fields "
            f"{listing(fields.values())} (--column correct=NAME maps one; where nobody has judged yet, as muscle route "
            "apply and label take it, add an empty column 'correct')"
        )
    places = open_rows.arg_true()
    return table.with_columns(
        table["correct"].scatter(places, found["correct"]),
        table["error"].scatter(places, found["error"]) if found["error"].null_count() < found.height else "error",
    )


def check_score(frame: pl.DataFrame, where: Where) -> None:
    """Refuse a field `score` that decides beside answers and references and contradicts them.

    A confidence is not a score of the answer: an answer that is the reference has less of it than one that is not.

    Args:
        frame: records of a file that gives no `correct`.
        where: turns a row's number into the words that open a message.

    Raises:
        DataError: the score of an answer that is its reference is below that of one that is not, in one task.
    """
    if next((name for name in frame.columns if name.startswith(SCORE_PREFIX)), None) != _BARE:
        return
    rows = (
        frame.lazy()
        .select("task", "filter", "correct", pl.col(_BARE).alias("score"), same=_is_reference())
        .with_row_index("row")
        .filter(pl.col("score").is_not_null() & pl.col("same").is_not_null() & pl.col("correct").is_null())
        .collect()
    )
    if rows.is_empty():
        return
    groups = rows.group_by("task", "filter", maintain_order=True).agg(
        pl.col("score", "row").filter("same").sort_by(pl.col("score").filter("same")).first().name.prefix("right_"),
        pl.col("score", "row")
        .filter(~pl.col("same"))
        .sort_by(pl.col("score").filter(~pl.col("same")))
        .last()
        .name.prefix("wrong_"),
    )
    against = groups.filter(pl.col("right_score") < pl.col("wrong_score"))
    if against.height:
        row = against.row(0, named=True)
        raise DataError(
            f"{where(row['right_row'])}, field 'score': found {row['right_score']:g} where the output is the "
            f"reference, and {row['wrong_score']:g} where it is not "
            f"({where(row['wrong_row']).rpartition(', ')[2]}); a score of the answer would not. If it is "
            "one, say so with --column score=score; if not (a confidence, a time), give the field another "
            "name, so that output and reference decide"
        )
