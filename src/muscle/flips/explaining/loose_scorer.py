r"""A loose second look at answers that a strict scorer called wrong: is the right answer in the text after all?

What counts as the right answer, whichever applies:
- a reference that is a number (or ends in `#### 42` or `\boxed{42}`): the text's last number has its value;
- a letter, or one of the item's options: the last "answer is (B)", a text that is or begins with the letter, or the
  right option's words in the text while no other option's are there;
- yes, no, true, false: the first or the last word of the text;
- any other text: its words, in order, stand in the answer; case, punctuation and white space do not count.

Loose means loose: "it is not Paris" holds Paris. The look finds answers lost to their form; it does not replace a
scorer. All patterns run in polars' engine, whose time is linear in the text: no text or pattern makes it hang.
"""

from __future__ import annotations

import polars as pl

MAX_CHARACTERS = 4_000
"""Of a longer text the first and the last half as many are read: answers stand at an end."""

_MARKED = r"(?:####|\\boxed\{)\s*([-+]?\$?\d[\d,]*(?:\.\d+)?)"
_NUMBER = r"[-+]?\$?(?:\d[\d,]*(?:\.\d+)?|\.\d+)"
_IS_NUMBER = rf"^\s*{_NUMBER}\s*%?\.?\s*$"
_SAID = r"(?i:answer|option|choice)(?i:\s+is)?[\s:*(\[]{1,8}([A-J])(?:[^\p{L}\p{N}'\x{2019}]|$)"
_LETTER = r"^[\s*(\[]*([A-J])(?:[\s*]*$|[).:\]])"
_TRUTHS = ["yes", "no", "true", "false"]


def clipped(text: pl.Expr, limit: int = MAX_CHARACTERS) -> pl.Expr:
    """Return a text, or both ends of one that is longer than `limit` characters."""
    half = limit // 2
    ends = pl.concat_str([text.str.head(half), text.str.tail(half)], separator="\n")
    return pl.when(text.str.len_chars() > limit).then(ends).otherwise(text)


def words_of(text: pl.Expr) -> pl.Expr:
    """Return a text's words in lower case, one space before, between and after them; a single space for none."""
    plain = text.str.to_lowercase().str.replace_all(r"[^\p{L}\p{N}\p{M}]+", " ").str.strip_chars()
    return pl.concat_str([pl.lit(" "), plain, pl.when(plain != "").then(pl.lit(" ")).otherwise(pl.lit(""))])


def _number_of(text: pl.Expr) -> pl.Expr:
    """Return a text's last number; null where there is none."""
    # A hyphen after a letter or digit is no sign: "3-5" holds 3 and 5.
    found = text.str.replace_all(r"([\p{L}\p{N}])[-+]", "$1 ").str.extract_all(_NUMBER).list.last()
    return found.str.replace_all(r"[$,]", "").cast(pl.Float64, strict=False)


def _letter_of(text: pl.Expr) -> pl.Expr:
    """Return the letter that a text gives for an answer; null where it gives none."""
    said = text.str.extract_all(_SAID).list.last().str.extract(_SAID)
    return pl.coalesce(said, text.str.extract(_LETTER))


def _reference_value(reference: pl.Expr) -> pl.Expr:
    """Return the value of a reference that is a number or marks one; null for other references."""
    marked = reference.str.extract(_MARKED).str.replace_all(r"[$,]", "").cast(pl.Float64, strict=False)
    plain = pl.when(reference.str.contains(_IS_NUMBER)).then(_number_of(reference.str.strip_chars("% .\n\t")))
    return pl.coalesce(marked, plain)


def _by_text() -> pl.Expr:
    """Whether the answer holds the reference as text."""
    words = pl.col("answer_words")
    wanted = words_of(pl.col("reference"))
    ends = pl.concat_str([words.str.extract(r"^ (\S+)"), words.str.extract(r"(\S+) $")], separator="\x1f")
    truth = wanted.str.strip_chars().is_in(_TRUTHS)
    by_end = (pl.lit("\x1f") + ends + "\x1f").str.contains(
        pl.lit("\x1f") + wanted.str.strip_chars() + "\x1f", literal=True
    )
    inside = (wanted != " ") & words.str.contains(wanted, literal=True)
    return pl.when(truth).then(by_end).otherwise(inside)


def loose_match(rows: pl.DataFrame) -> pl.Series:
    r"""Tell which answers hold their reference, read loosely.

    Args:
        rows: `output` (text), `reference` (list of texts), `choices` (list of texts, null where there are none).

    Returns:
        (rows,) truth values; False where there is no text or no reference.

    >>> rows = pl.DataFrame(
    ...     {"output": ["So it's 1,200 in all.", "Rome"], "reference": [["1200"], ["Paris"]], "choices": [None, None]},
    ...     schema_overrides={"choices": pl.List(pl.String)},
    ... )
    >>> loose_match(rows).to_list()
    [True, False]
    """
    table = rows.select("output", "reference", "choices").with_row_index("row")
    table = table.filter(pl.col("output").is_not_null() & pl.col("reference").is_not_null())
    table = table.with_columns(output=clipped(pl.col("output"))).with_columns(answer_words=words_of(pl.col("output")))
    has_options = pl.col("choices").list.len().fill_null(0) > 0
    free = table.filter(~has_options).drop("choices").explode("reference").drop_nulls("reference")
    value = _reference_value(pl.col("reference"))
    is_letter = pl.col("reference").str.contains(r"^\s*\(?[A-J]\)?\.?\s*$")
    letter = _letter_of(pl.col("output")) == pl.col("reference").str.extract("([A-J])")
    matched = free.with_columns(
        hit=pl.when(value.is_not_null())
        .then(_number_of(pl.col("output")) == value)
        .when(is_letter)
        .then(letter)
        .otherwise(_by_text())
    )
    hits = pl.concat([matched.filter("hit")["row"], _option_hits(table.filter(has_options))])
    found = pl.Series(values=[False], dtype=pl.Boolean).new_from_index(0, rows.height)
    return found.scatter(hits.unique(), True) if hits.len() else found


def _option_hits(table: pl.DataFrame) -> pl.Series:
    """Return the rows whose text names the right one of the options, by letter or by its words."""
    options = table.explode("choices").drop_nulls("choices")
    options = options.with_columns(place=pl.int_range(pl.len()).over("row"))
    options = options.with_columns(
        is_right=pl.col("choices").is_in(pl.col("reference")),
        is_named=_letter_of(pl.col("output")) == (pl.col("place") + 65).map_elements(chr, pl.String),
        is_inside=(words_of(pl.col("choices")) != " ")
        & pl.col("answer_words").str.contains(words_of(pl.col("choices")), literal=True),
    )
    by_row = options.group_by("row").agg(
        named=(pl.col("is_named") & pl.col("is_right")).any(),
        inside=(pl.col("is_inside") & pl.col("is_right")).any() & ~(pl.col("is_inside") & ~pl.col("is_right")).any(),
    )
    return by_row.filter(pl.col("named").fill_null(False) | pl.col("inside").fill_null(False))["row"]
