"""A table with the fields of the record format, as users bring it, into records; every column checked.

The checks look at whole columns. Where one fails, the first bad row is named.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import polars as pl

from muscle.errors import DataError
from muscle.predictions.records import COLUMNS, complete, with_input_hash
from muscle.predictions.rows import INDEX_COLUMN, NO_IDENTITY, shorten
from muscle.predictions.run import SCORE_PREFIX, SLICE_PREFIX

Where = Callable[[int], str]
"""Turns a row's number, from 0, into the words that open a message."""

_NO_ANSWER = "expected one of 'correct', 'score', or 'choice' or 'output' with a 'reference' (or an 'error'), found none"
# Reduces `{"acc": 1.0, "f1": 0.5}` to its names, so that a column has few different texts to parse.
_MEMBER = r'"([^"]*)": ("[^"]*"|[^,}]+)'
_MEMBER_NAME = re.compile(r'"([^"]*)"')
_SKELETON = r'^\{("[^"\pC]*"(, "[^"\pC]*")*)?\}$'


def _refuse(bad: pl.Series, name: str, expected: str, found: pl.Series, where: Where) -> None:
    """Raise for the first row that `bad` marks."""
    rows = bad.fill_null(False).arg_true()
    if rows.len():
        row = int(rows[0])
        value = found[row].to_list() if isinstance(found.dtype, pl.List) else found[row]
        raise DataError(f"{where(row)}, field '{name}': expected {expected}, found {shorten(value)}")


def _cast(table: pl.DataFrame, name: str, dtype: pl.DataType, expected: str, where: Where) -> pl.DataFrame:
    """Cast a column, refusing what the type cannot hold."""
    column = table[name]
    if column.dtype == dtype:
        return table
    try:
        cast = column.cast(dtype, strict=False)
    except pl.exceptions.PolarsError:
        cast = pl.Series(name, [None] * table.height, dtype=dtype)
    _refuse(cast.is_null() & column.is_not_null(), name, expected, column, where)
    if dtype.is_integer() and column.dtype.is_float():
        _refuse(column != column.floor(), name, expected, column, where)
    return table.with_columns(cast.alias(name))


def _truths(table: pl.DataFrame, where: Where) -> pl.DataFrame:
    """Bring `correct` to booleans: from 0 and 1, or from the words true and false."""
    column = table["correct"]
    if column.dtype == pl.Boolean:
        return table
    expected = "true or false"
    if column.dtype == pl.String:
        words = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False, "": None}
        truth = column.str.to_lowercase().replace_strict(words, default=None, return_dtype=pl.Boolean)
        _refuse(truth.is_null() & column.is_not_null() & (column != ""), "correct", expected, column, where)
        return table.with_columns(truth.alias("correct"))
    numbers = _cast(table, "correct", pl.Float64(), expected, where)["correct"]
    _refuse(~numbers.is_in([0.0, 1.0]), "correct", expected, column, where)
    return table.with_columns((numbers == 1.0).alias("correct"))


def _member_names(column: pl.Series) -> list[str]:
    """Return the names in a column of objects as polars writes them: it escapes neither names nor backslashes."""
    skeletons = column.str.replace_all(_MEMBER, '"$1"').unique(maintain_order=True).drop_nulls()
    odd = skeletons.str.contains(_SKELETON).not_().any() or column.str.contains("\\", literal=True).any()
    if odd:
        raise pl.exceptions.InvalidOperationError("expected plain names and values")
    return list(dict.fromkeys(name for text in skeletons for name in _MEMBER_NAME.findall(text)))


def expand_objects(table: pl.DataFrame, name: str, prefix: str, dtype: pl.DataType) -> pl.DataFrame:
    """Spread a column of objects (structs, or JSON text) over columns `<prefix><member>`.

    A bare score becomes the member called like the column.

    Raises:
        polars.exceptions.PolarsError: a member cannot be of the type asked for.
    """
    column = table[name]
    table = table.drop(name)
    if column.null_count() == column.len():
        return table
    if column.dtype == pl.String:
        bare = column.str.starts_with("{").not_() & (column != "")
        if bare.any():
            if prefix == SLICE_PREFIX:
                raise pl.exceptions.InvalidOperationError("expected an object of names and values")
            numbers = pl.Series(name, column).set(bare.not_().fill_null(True), None).cast(dtype)
            table = table.with_columns(numbers.alias(prefix + name))
            column = column.set(bare.fill_null(True), None)
        names = _member_names(column)
        if not names:
            return table
        column = column.str.json_decode(pl.Struct(dict.fromkeys(names, dtype)))
    if not isinstance(column.dtype, pl.Struct):
        return table.with_columns(column.cast(dtype).alias(prefix + name))
    for member in column.struct.unnest().iter_columns():
        values = member.cast(dtype).alias(prefix + member.name)
        if values.name in table.columns:
            values = table.select(pl.coalesce(values.name, values)).to_series()
        table = table.with_columns(values)
    return table


def _objects(table: pl.DataFrame, where: Where) -> pl.DataFrame:
    """Spread `score` and `slices`; check that scores are finite."""
    for name, prefix, dtype in (("score", SCORE_PREFIX, pl.Float64()), ("slices", SLICE_PREFIX, pl.String())):
        if name not in table.columns:
            continue
        try:
            table = expand_objects(table, name, prefix, dtype)
        except pl.exceptions.PolarsError as error:
            reason = str(error).splitlines()[0][:120]
            raise DataError(
                f"{where(0)} and on, field '{name}': expected values that fit {dtype}, found others ({reason})"
            ) from None
    for name in [column for column in table.columns if column.startswith(SCORE_PREFIX)]:
        table = _cast(table, name, pl.Float64(), "a number", where)
        expected = "a finite number, or null where there is none"
        _refuse(table[name].is_finite().not_(), name, expected, table[name], where)
    return table


def _references(table: pl.DataFrame, where: Where) -> pl.DataFrame:
    """Bring `reference` to lists of texts; an index of an option becomes that option's text."""
    if "reference" not in table.columns:
        return table
    column = table["reference"]
    if column.null_count() == column.len():
        return table.drop("reference", INDEX_COLUMN, strict=False)
    if column.dtype.is_integer():
        table = table.with_columns(column.cast(pl.Int64).alias(INDEX_COLUMN))
    if not isinstance(column.dtype, pl.List | pl.Array):
        text = column.cast(pl.String)
        one = pl.when(text.is_not_null()).then(pl.concat_list(text))
        table = table.with_columns(one.alias("reference"))
    else:
        table = table.with_columns(column.cast(pl.List(pl.String)))
    if INDEX_COLUMN not in table.columns or "choices" not in table.columns:
        return table.drop(INDEX_COLUMN, strict=False)
    options = table["choices"].list.len()
    index = table[INDEX_COLUMN]
    _refuse((index < 0) | (index >= options), "reference", "the index of one of the choices", index, where)
    chosen = pl.concat_list(pl.col("choices").list.get(pl.col(INDEX_COLUMN), null_on_oob=True))
    has_index = pl.col(INDEX_COLUMN).is_not_null() & pl.col("choices").is_not_null()
    table = table.with_columns(
        pl.when(has_index).then(chosen).otherwise(pl.col("reference")).alias("reference")
    )
    return table.drop(INDEX_COLUMN)


def _check_choices(table: pl.DataFrame, where: Where) -> None:
    choice, options = table["choice"], table["choices"].list.len()
    _refuse(choice < 0, "choice", "the index of an option, from 0", choice, where)
    _refuse(choice >= options, "choice", "an index below the number of choices", choice, where)
    lengths = table["logprobs"].list.len()
    _refuse(
        (lengths != options) & (options > 0),
        "logprobs",
        "one number for each choice",
        table["logprobs"],
        where,
    )
    nan = table["logprobs"].list.eval(pl.element().is_nan()).list.any()
    _refuse(nan, "logprobs", "numbers", table["logprobs"], where)


def _identities(table: pl.DataFrame, where: Where) -> pl.DataFrame:
    """Give a row without an id the head of its content hash."""
    missing = table["id"].is_null()
    if not missing.any():
        return table
    _refuse(
        missing & table["input"].is_null(), "id", NO_IDENTITY.removeprefix("expected "), table["id"], where
    )
    hashes = with_input_hash(table)["input_hash"].str.slice(0, 16)
    return table.with_columns(pl.coalesce(table["id"], hashes).alias("id"))


def _judged(table: pl.DataFrame, where: Where) -> pl.DataFrame:
    """Compute `correct` where neither it nor a score is given; refuse a row that nothing can be said of."""
    scores = [name for name in table.columns if name.startswith(SCORE_PREFIX)]
    has_score = (
        pl.any_horizontal([pl.col(name).is_not_null() for name in scores]) if scores else pl.lit(False)
    )
    open_rows = table.select(pl.col("correct").is_null() & pl.col("error").is_null() & ~has_score).to_series()
    if not open_rows.any():
        return table
    references = pl.col("reference").list.eval(pl.element().str.strip_chars())
    by_index = pl.col("choice").cast(pl.String)
    answer = (
        pl.when(pl.col("choice").is_null())
        .then(pl.col("output"))
        .when(pl.col("choices").is_null())
        .then(by_index)
        .otherwise(pl.col("choices").list.get(pl.col("choice"), null_on_oob=True))
        .str.strip_chars()
    )
    can_tell = answer.is_not_null() & (pl.col("reference").list.len() > 0)
    found = (
        table.filter(open_rows).select(pl.when(can_tell).then(references.list.contains(answer))).to_series()
    )
    computed = table["correct"].scatter(open_rows.arg_true(), found)
    _refuse(open_rows & computed.is_null(), "correct", _NO_ANSWER.removeprefix("expected "), computed, where)
    return table.with_columns(computed.alias("correct"))


def to_records(table: pl.DataFrame, *, where: Where) -> pl.DataFrame:
    """Turn a table of plain fields into records.

    Args:
        table: columns named as in the format, on disk (`score`, `slices`) or in memory (`score.acc`); others
            are passed over. At least `id` or `input`, and one of `correct`, `score`, or `choice` or `output`
            with `reference`.
        where: turns a row's number into the words that open a message.

    Returns:
        A frame with every column of the format. `input_hash` is as it was given; `task` is null where the
        table names none (see `name_task`).

    Raises:
        DataError: a column is missing or holds what it should not.
    """
    if table.height == 0:
        raise DataError(f"{where(0)}: expected at least one prediction, found none")
    table = _objects(table, where)
    table = _references(table, where)
    for name in ("repeat", "choice"):
        if name in table.columns:
            table = _cast(table, name, pl.Int64(), "a whole number", where)
    if "correct" in table.columns:
        table = _truths(table, where)
    known = [n for n in table.columns if n in COLUMNS or n.startswith((SCORE_PREFIX, SLICE_PREFIX))]
    missing = [pl.lit(None, pl.String).alias(name) for name in ("task", "id") if name not in known]
    table = complete(table.select(known).with_columns(missing))
    if table["error"].null_count() < table.height:
        blank_error = pl.col("error").str.strip_chars() != ""
        table = table.with_columns(pl.when(blank_error).then(pl.col("error")).alias("error"))
    _refuse(table["repeat"] < 0, "repeat", "a number from 0", table["repeat"], where)
    _check_choices(table, where)
    return _judged(_identities(table, where), where)


def name_task(frame: pl.DataFrame, task: str) -> pl.DataFrame:
    """Give rows that name no task the one given."""
    unnamed = frame["task"].null_count() == frame.height
    return frame.with_columns((pl.lit(task) if unnamed else pl.col("task").fill_null(task)).alias("task"))
