"""A table with the fields of the record format, as users bring it, into records; every column checked.

The checks look at whole columns. Where one fails, the first bad row is named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import polars as pl

from muscle.errors import DataError, UnclearColumns
from muscle.foreign_text import listing
from muscle.predictions.messages import Where, refuse_rows
from muscle.predictions.plain.columns import (
    as_numbers,
    as_text,
    as_texts,
    as_truth,
    as_whole,
    unsaid,
    without_verdict,
)
from muscle.predictions.plain.row_objects import INDEX_COLUMN
from muscle.predictions.plain.scores_and_slices import expand_objects
from muscle.predictions.plain.verdicts import has_bare_score, with_verdicts
from muscle.predictions.records import COLUMNS, complete, with_input_hash
from muscle.predictions.run import SCORE_PREFIX, SLICE_PREFIX

_FORMS: dict[pl.DataType, tuple[Callable[[pl.Series], pl.Series], str]] = {
    pl.String(): (as_text, "a text"),
    pl.Int64(): (as_whole, "a whole number"),
    pl.Boolean(): (as_truth, "true or false"),
    pl.List(pl.String()): (as_texts, "a list of texts"),
    pl.List(pl.Float64()): (as_numbers, "a list of numbers"),
}


_VERDICT_WORDS = (
    "; yes, pass, right, 1 and no, fail, wrong, 0 say so too, blank or n/a that nobody judged; degrees between are "
    "numbers, with --column score=NAME"
)
_LETTER = r"(?i)^\(?([a-z])[).:]?$"
_LETTERS = {letter: place for place, letter in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZ")}


def _formed(column: pl.Series, where: Where) -> pl.Series:
    """Bring a column of the format to its type, refusing what it cannot hold."""
    dtype = COLUMNS[column.name]
    if column.dtype == dtype:
        return column
    if column.name == "correct":
        column = without_verdict(column)
    convert, expected = _FORMS[dtype]
    formed = convert(column)
    hint = _VERDICT_WORDS if column.name == "correct" else ""
    refuse_rows(formed.is_null() & ~unsaid(column), column.name, expected, column, where, hint)
    return formed


def _with_reference_texts(table: pl.DataFrame, where: Where) -> pl.DataFrame:
    """Bring `reference` to lists of texts; an index of an option becomes that option's text."""
    column = table["reference"]
    if column.null_count() == column.len():
        return table.drop("reference", INDEX_COLUMN, strict=False)
    if column.dtype.is_integer() or (column.dtype.is_float() and as_whole(column).null_count() == unsaid(column).sum()):
        table = table.with_columns(as_whole(column).alias(INDEX_COLUMN))
    if isinstance(column.dtype, pl.List | pl.Array):
        table = table.with_columns(as_texts(column))
    else:
        text = as_text(column)
        refuse_rows(text.is_null() & ~unsaid(column), "reference", "a text or a list of texts", column, where)
        table = table.with_columns(text)
        one = pl.when(pl.col("reference").is_not_null()).then(pl.concat_list("reference"))
        table = table.with_columns(one.alias("reference"))
    if INDEX_COLUMN not in table.columns or "choices" not in table.columns:
        return table.drop(INDEX_COLUMN, strict=False)
    options = table["choices"].list.len()
    index = table[INDEX_COLUMN]
    refuse_rows((index < 0) | (index >= options), "reference", "the index of one of the choices", index, where)
    chosen = pl.concat_list(pl.col("choices").list.get(pl.col(INDEX_COLUMN), null_on_oob=True))
    has_index = pl.col(INDEX_COLUMN).is_not_null() & pl.col("choices").is_not_null()
    return table.with_columns(pl.when(has_index).then(chosen).otherwise(pl.col("reference")).alias("reference"))


def _with_picked_options(table: pl.DataFrame) -> pl.DataFrame:
    """Take an answer or a reference that is an option's letter for the option, where no option is itself a letter.

    So is an answer that is an option's number, from 0, where the reference is one and no option is itself a number. A
    file that says what is right, or which option was picked, is left as it is.
    """
    index = table[INDEX_COLUMN] if INDEX_COLUMN in table.columns else pl.Series([None] * table.height, dtype=pl.Int64)
    table = table.drop(INDEX_COLUMN, strict=False)
    if "choices" not in table.columns or {"correct", "choice", "extracted_answer"} & set(table.columns):
        return table
    options = pl.col("choices")

    def place(text: pl.Expr) -> pl.Expr:
        letter = text.str.strip_chars().str.to_uppercase().str.extract(_LETTER).replace_strict(_LETTERS, default=None)
        are_letters = options.list.eval(pl.element().str.strip_chars().str.contains(_LETTER)).list.any()
        return pl.when(~are_letters & (letter < options.list.len())).then(letter)

    if "reference" in table.columns:
        only = pl.col("reference").list.get(0, null_on_oob=True)
        at = pl.when(pl.col("reference").list.len() == 1).then(place(only))
        meant = pl.concat_list(options.list.get(at, null_on_oob=True))
        table = table.with_columns(reference=pl.when(at.is_not_null()).then(meant).otherwise("reference"))
    if "output" in table.columns:
        number = as_whole(table["output"])
        are_numbers = options.list.eval(pl.element().str.strip_chars().str.contains(r"^-?\d+$")).list.any()
        is_number = index.is_not_null() & (number >= 0) & number.is_not_null()
        fits = pl.lit(is_number) & ~are_numbers & (pl.lit(number) < options.list.len())
        table = table.with_columns(choice=pl.coalesce(place(pl.col("output")), pl.when(fits).then(pl.lit(number))))
    return table


def _check_choices(table: pl.DataFrame, where: Where) -> None:
    choice, options = table["choice"], table["choices"].list.len()
    refuse_rows(choice < 0, "choice", "the index of an option, from 0", choice, where)
    refuse_rows(choice >= options, "choice", "an index below the number of choices", choice, where)
    logprobs = table["logprobs"]
    wrong_number = (logprobs.list.len() != options) & (options > 0)
    refuse_rows(wrong_number, "logprobs", "one number for each choice", logprobs, where)
    nan = logprobs.list.eval(pl.element().is_nan()).list.any()
    refuse_rows(nan, "logprobs", "numbers", logprobs, where)


def _identities(table: pl.DataFrame, names: Mapping[str, str], where: Where) -> pl.DataFrame:
    """Give a row without an id the head of its content hash."""
    missing = table["id"].is_null()
    if not missing.any():
        return table
    lost = missing & table["input"].is_null()
    if lost.any():
        raise UnclearColumns(
            f"{where(int(lost.arg_true()[0]))}, field 'id': expected an 'id' or an 'input' by which the item "
            f"is found in the other run, found neither; the file has the fields {listing(names.values())} (--column "
            "id=NAME maps one)",
            lacks="item",
        )
    hashes = with_input_hash(table)["input_hash"].str.slice(0, 16)
    return table.with_columns(pl.coalesce(table["id"], hashes).alias("id"))


def to_records(
    table: pl.DataFrame,
    *,
    where: Where,
    unread: Iterable[str] = (),
    columns: Mapping[str, str] | None = None,
    score_decides: bool = True,
) -> pl.DataFrame:
    """Turn a table of plain fields into records.

    Args:
        table: columns named as in the format, on disk (`score`, `slices`) or in memory (`score.acc`); others
            are passed over. At least `id` or `input`, and one of `correct`, `score`, or `choice` or `output`
            with `reference`.
        where: turns a row's number into the words that open a message.
        unread: names of further fields of the file, for messages.
        columns: our names to the file's, for messages.
        score_decides: whether a bare number `score` decides beside answers and references; else only one of 0 and 1.

    Returns:
        A frame with every column of the format. `input_hash` is as it was given; `task` is null where the
        table names none (see `name_task`). `correct` is computed only where the table has no such column, and no score.

    Raises:
        DataError: a column is missing or holds what it should not.
    """
    if table.height == 0:
        raise DataError(f"{where(0)}: expected at least one prediction, found none")
    names = {name: (columns or {}).get(name, name) for name in (*table.columns, *unread)}
    if "id" not in names:
        table = table.with_columns(id=pl.lit(None, pl.String))
    is_doubtful = not score_decides and has_bare_score(table)
    table = expand_objects(table, where)
    table = table.with_columns(
        _formed(table[name], where) for name in COLUMNS if name in table.columns and name != "reference"
    )
    if "reference" in table.columns:
        table = _with_reference_texts(table, where)
    table = _with_picked_options(table)
    known = [n for n in table.columns if n in COLUMNS or n.startswith((SCORE_PREFIX, SLICE_PREFIX))]
    missing = [] if "task" in known else [pl.lit(None, pl.String).alias("task")]
    table = complete(table.select(known).with_columns(missing))
    if table["error"].null_count() < table.height:
        blank_error = pl.col("error").str.strip_chars() != ""
        table = table.with_columns(pl.when(blank_error).then(pl.col("error")).alias("error"))
    refuse_rows(table["repeat"] < 0, "repeat", "a number from 0", table["repeat"], where)
    _check_choices(table, where)
    return with_verdicts(_identities(table, names, where), fields=names, where=where, doubtful_score=is_doubtful)


def name_task(frame: pl.DataFrame, task: str) -> pl.DataFrame:
    """Give rows that name no task the one given."""
    unnamed = frame["task"].null_count() == frame.height
    return frame.with_columns((pl.lit(task) if unnamed else pl.col("task").fill_null(task)).alias("task"))
