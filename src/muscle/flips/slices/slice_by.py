r"""Which slice each item is in: a column's value, a regular expression on the input, or a range of input lengths.

Written as text (on the command line, in a policy):

- `topic`: a slice of that name, or a column of the records (`reference`, `filter`, `choice`);
- `/\d{3,}/`, or `large numbers=/\d{3,}/`: whether the input matches;
- `length` (characters) or `length:words`: quarters of the task's items, from short to long.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from muscle.errors import ConfigError, DataError
from muscle.flips.pairing.items import TaskItems
from muscle.flips.pairing.join import Joined
from muscle.predictions.records import COLUMNS
from muscle.predictions.run import SLICE_PREFIX

MAX_LABELS = 20
"""References make slices unasked where there are at most so many different ones: then they are classes."""

_PATTERN = re.compile(r"(?:(?P<name>[^=]*)=)?/(?P<pattern>.*)/", re.DOTALL)
_LENGTH = re.compile(r"length(?::(?P<unit>characters|words))?")
_QUARTERS = (0.25, 0.5, 0.75)

_LOOK_AT = 1_000
MATCHES, DIFFERS = "matches", "does not match"


@dataclass(frozen=True)
class SliceBy:
    """What items are sliced by.

    Attributes:
        name: what tables call it.
        kind: "column", "pattern" or "length".
        of: the column's name, the regular expression, or the unit, "characters" or "words".
    """

    name: str
    kind: Literal["column", "pattern", "length"]
    of: str


def parse_slice(text: str) -> SliceBy:
    r"""Read what to slice by from its written form; see the module.

    Raises:
        ConfigError: the regular expression is damaged, or nothing is named.

    >>> parse_slice("topic")
    SliceBy(name='topic', kind='column', of='topic')
    >>> parse_slice(r"digits=/\d/").of
    '\\d'
    """
    if match := _PATTERN.fullmatch(text):
        pattern = match["pattern"]
        try:
            pl.select(pl.lit("").str.contains(pattern))
        except pl.exceptions.PolarsError as error:
            reason = " ".join(str(error).split())[:200]
            raise ConfigError(
                f"slice {text!r}: expected a regular expression as Rust's regex crate reads it, found {reason}"
            ) from None
        return SliceBy(match["name"] or f"/{pattern}/", "pattern", pattern)
    if match := _LENGTH.fullmatch(text):
        unit = match["unit"] or "characters"
        return SliceBy(f"input length in {unit}", "length", unit)
    if not text.strip():
        raise ConfigError("slice: expected a column's name, /a regular expression/ or length, found nothing")
    return SliceBy(text.removeprefix(SLICE_PREFIX), "column", text)


def _column_name(frame: pl.DataFrame, name: str) -> str | None:
    """Return the column that a name stands for: a slice before a field of the records."""
    if SLICE_PREFIX + name in frame.columns:
        return SLICE_PREFIX + name
    is_known = name in frame.columns and (name in COLUMNS or name.startswith(SLICE_PREFIX))
    return name if is_known else None


def _texts(frame: pl.DataFrame, name: str) -> pl.Series:
    """Return a column as text; a list of references as one text."""
    column = frame[name]
    if isinstance(column.dtype, pl.List):
        return column.cast(pl.List(pl.String)).list.join(" | ")
    return column.cast(pl.String)


def _of_pairs(joined: Joined, name: str) -> pl.Series | None:
    """Return a column of the pairs: the old run's, and where that has nothing the new run's; None without it."""
    sides = []
    for frame in (joined.old, joined.new):
        column = _column_name(frame, name)
        if column is not None:
            sides.append(_texts(frame, column))
    if not sides:
        return None
    if len(sides) == 1 or sides[0].null_count() == 0:
        return sides[0]
    return pl.select(pl.coalesce(sides)).to_series()


def slice_values(by: SliceBy, joined: Joined, items: TaskItems) -> pl.Series:
    """Return the slice of each item, (items,) texts; null where an item has none.

    Raises:
        DataError: the column is not there.
    """
    column = _of_pairs(joined, by.of if by.kind == "column" else "input")
    if column is None:
        slices = {n for f in (joined.old, joined.new) for n in f.columns if n.startswith(SLICE_PREFIX)}
        found = ", ".join(sorted(name.removeprefix(SLICE_PREFIX) for name in slices)) or "none"
        raise DataError(f"slice {by.of!r}: expected a slice or a column of the records, found the slices {found}")
    values = column if items.covers(column.len()) else column.gather(items.frame["pair"])
    if by.kind == "column":
        return values
    if by.kind == "pattern":
        matched = values.str.contains(by.of)
        labels = pl.when(matched).then(pl.lit(MATCHES)).when(~matched).then(pl.lit(DIFFERS))
        return pl.select(labels.alias("value")).to_series()
    return _length_bins(values, by.of)


def _length_bins(texts: pl.Series, unit: str) -> pl.Series:
    """Cut the items into quarters by length; the ends are whole numbers, and equal ones fall together."""
    lengths = texts.str.len_chars() if unit == "characters" else texts.str.count_matches(r"\S+")
    known = lengths.drop_nulls()
    if known.is_empty():
        return texts
    ends = sorted({int(known.quantile(q, "lower") or 0) for q in _QUARTERS} - {int(str(known.max()))})
    labels = _bin_labels(ends, unit)
    numbers = pl.select(pl.sum_horizontal([(lengths > end).cast(pl.UInt8) for end in ends] or [lengths * 0]))
    known_only = numbers.to_series().set(lengths.is_null(), None)
    return known_only.replace_strict(dict(enumerate(labels)), default=None, return_dtype=pl.String)


def _bin_labels(ends: Sequence[int], unit: str) -> list[str]:
    """Name the ranges between ends.

    >>> _bin_labels([10, 20], "words")
    ['up to 10 words', '11 to 20 words', 'over 20 words']
    >>> _bin_labels([10, 11], "words")
    ['up to 10 words', '11 words', 'over 11 words']
    """
    if not ends:
        return [f"any number of {unit}"]
    middle = [
        f"{low + 1} to {high} {unit}" if low + 1 < high else f"{high} {unit}" for low, high in itertools.pairwise(ends)
    ]
    return [f"up to {ends[0]} {unit}", *middle, f"over {ends[-1]} {unit}"]


def default_slices(joined: Joined, items: TaskItems) -> list[SliceBy]:
    """Return what a task's items can be sliced by without asking: its slices, its classes, the length of its inputs."""
    names = dict.fromkeys(
        name for frame in (joined.old, joined.new) for name in frame.columns if name.startswith(SLICE_PREFIX)
    )
    found = [SliceBy(name.removeprefix(SLICE_PREFIX), "column", name) for name in names]
    if _has_classes(joined, items):
        found.append(parse_slice("reference"))
    if any(frame["input"].null_count() < frame.height for frame in (joined.old, joined.new)):
        found.append(parse_slice("length"))
    return found


def _has_classes(joined: Joined, items: TaskItems) -> bool:
    """Whether the task's references are a few different ones; the first items mostly tell."""
    pairs = items.frame["pair"]
    side = joined.old if joined.old["reference"].null_count() < joined.old.height else joined.new
    num_labels = 0
    for part in (pairs.head(_LOOK_AT), pairs):
        texts = _texts(side.select(pl.col("reference").gather(part)), "reference").drop_nulls()
        num_labels = texts.n_unique()
        if num_labels > MAX_LABELS:
            return False
    return num_labels > 1
