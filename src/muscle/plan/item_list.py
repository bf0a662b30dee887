"""The list of items to ask again: chosen after a first pass, written for a harness, and read back with its answers."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import orjson
import polars as pl

from muscle.errors import ConfigError, DataError
from muscle.files import write_text
from muscle.flips.options import DEFAULTS, CompareOptions
from muscle.flips.pairing.pair import Pair, pair_runs
from muscle.plan.resolution import minimum_repeats
from muscle.predictions.read import read_run
from muscle.predictions.records import with_input_hash
from muscle.predictions.run import Run, Source

SHARE = 0.1
"""Share of the unflipped items that are asked again."""

MAX_REPEATS = 1_000_000

Why = Literal["negative_flip", "positive_flip", "unflipped"]
"""What became of an item in the first pass, for which it is on the list."""

STRATA: tuple[Why, ...] = get_args(Why)

_LISTED = {
    "task": pl.String,
    "id": pl.String,
    "filter": pl.String,
    "input_hash": pl.String,
    "why": pl.String,
    "of": pl.Int64,
}
"""What judging fresh answers takes of the list; the rest is for the harness that asks."""

_NUMBER = re.compile(r"[0-9]{1,12}")
"""A count of items; more digits would not fit into the column `of`."""

_FIELDS = ("task", "id", "filter", "input_hash", "input", "choices", "reference")


def choose(
    old: Source,
    new: Source,
    *,
    share: float = SHARE,
    repeats: int | None = None,
    seed: int = 0,
    format: str | None = None,
    options: CompareOptions = DEFAULTS,
) -> pl.DataFrame:
    """Choose the items to ask again: all that flipped, and a seeded random share of the others.

    Args:
        old: the old version's first pass.
        new: the new version's.
        share: of the unflipped items, in (0, 1].
        repeats: fresh answers an item and side; None takes what lets one full flip be seen among as many items.
        seed: of the choice; it does not hang on the order of the files.
        format: of the files; None finds it by content.
        options: how runs are compared.

    Returns:
        One row an item: its fields, `repeats`, `why` (one of `STRATA`), and `of` (items of that kind in its task).

    Raises:
        ConfigError: the share, the repeats or the seed are impossible.
        DataError: a run cannot be read.
        JoinError: the runs do not belong together.
    """
    if not 0 < share <= 1 or not (repeats is None or 2 <= repeats <= MAX_REPEATS) or seed < 0:
        raise ConfigError(
            f"confirm: expected a share above 0 and up to 1, 2 to {MAX_REPEATS:,} repeats and a seed from 0, found "
            f"{share}, {repeats} and {seed}"
        )
    pair = pair_runs(read_run(old, format=format), read_run(new, format=format), options)
    parts = []
    for name in pair.tasks:
        rows = _strata(pair, name).sort("task", "filter", "input_hash", "id", nulls_last=True)
        flipped = rows.filter(pl.col("why") != "unflipped")
        rest = rows.filter(pl.col("why") == "unflipped")
        wanted = min(rest.height, int(np.ceil(share * rest.height)))
        # A task's own random numbers: what is chosen of it does not hang on which other tasks there are.
        digest = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
        picked = np.random.default_rng([seed, digest]).choice(rest.height, wanted, replace=False)
        parts.append(pl.concat([flipped, rest[np.sort(picked).tolist()]]))
    found = pl.concat(parts)
    enough = max(10, minimum_repeats(max(found.height, 1)))
    chosen: pl.DataFrame = found.with_columns(repeats=pl.lit(repeats or enough, pl.Int64))
    return chosen


def _strata(pair: Pair, name: str) -> pl.DataFrame:
    """Return a task's items with what became of them in the first pass."""
    items = pair.tasks[name]
    moved = items.frame["flip"].cast(pl.Int64)
    pairs = items.frame["pair"]
    number = pair.joined.answers.item.gather(pairs) if pair.joined.answers is not None else pairs
    rows = with_input_hash(pair.joined.old[pairs]).select(*_FIELDS).with_columns(item=number, moved=moved)
    rows = rows.group_by("item", maintain_order=True).agg(pl.col(*_FIELDS).first(), pl.col("moved").mean())
    why = pl.when(pl.col("moved") < 0).then(pl.lit(STRATA[0])).when(pl.col("moved") > 0).then(pl.lit(STRATA[1]))
    rows = rows.with_columns(why=why.otherwise(pl.lit(STRATA[2]))).with_columns(of=pl.len().over("why").cast(pl.Int64))
    return rows.select(*_FIELDS, "why", "of")


def write_items(path: Path, rows: pl.DataFrame) -> None:
    """Write items for a harness to ask: a `.jsonl` file, or a `.csv` file with lists as JSON.

    Raises:
        ConfigError: the suffix is neither.
        OutputError: the file cannot be written.
    """
    if path.suffix == ".jsonl":
        lines = (
            json.dumps({k: v for k, v in row.items() if v is not None}, ensure_ascii=False)
            for row in rows.iter_rows(named=True)
        )
        write_text(path, "".join(line + "\n" for line in lines))
    elif path.suffix == ".csv":
        lists = [name for name in ("choices", "reference") if name in rows.columns]
        texts = rows.with_columns(
            pl.Series(
                n,
                [None if v is None else json.dumps(list(v), ensure_ascii=False) for v in rows[n]],
                dtype=pl.String,
            )
            for n in lists
        )
        write_text(path, texts.write_csv())
    else:
        raise ConfigError(f"{path}: expected a .jsonl or .csv file")


def read_items(path: Path) -> pl.DataFrame:
    """Read the items that `choose` chose and `write_items` wrote.

    Raises:
        DataError: the file is not such a list: the line, the field, what was found.
    """
    try:
        # A JSON text may hold what other functions take for an end of line (U+2028, U+0085).
        text = path.read_bytes().decode("utf-8")
        if path.suffix == ".csv":
            rows = list(pl.read_csv(text.encode(), infer_schema=False).iter_rows(named=True))
        else:
            rows = [orjson.loads(line) for line in text.split("\n") if line.strip()]
    except (OSError, ValueError, RecursionError, pl.exceptions.PolarsError) as error:
        raise DataError(
            f"{path}: expected a list written by muscle confirm, found {_first_error_line(error)}"
        ) from None
    if not rows:
        raise DataError(f"{path}: expected a list written by muscle confirm, found no items")
    read = [_listed_item(row, f"{path}, item {number}") for number, row in enumerate(rows, 1)]
    listed = pl.DataFrame(read, schema=_LISTED)
    doubled = listed.select("task", "filter", "input_hash", "id").is_duplicated().arg_true()
    if doubled.len():
        raise DataError(
            f"{path}: expected each item once, found id {listed['id'][doubled[0]]!r} twice; write the list again"
        )
    return listed


def check_list_of(path: Path, listed: pl.DataFrame, old: Run, new: Run, options: CompareOptions) -> None:
    """Refuse a list of items that was written for another first pass: its items became something else there.

    Args:
        path: of the list.
        listed: what `read_items` read.
        old: the old version's first pass.
        new: the new version's.
        options: how runs are compared.

    Raises:
        DataError: an item is not in the first pass, became something else there, or stands for another number.
        JoinError: the runs do not belong together.
    """
    pair = pair_runs(old, new, options)
    key = pl.coalesce("input_hash", "id").alias("key")
    by = ["task", "filter", "id"]
    known = pl.concat([_strata(pair, name) for name in pair.tasks]).select(key, *by, "why", "of")
    both = listed.with_columns(key).join(known, on=["key", *by], how="left", maintain_order="left")
    other = both.filter(pl.col("why").ne_missing(pl.col("why_right")) | pl.col("of").ne_missing(pl.col("of_right")))
    if other.height:
        raise DataError(
            f"{path}: expected the list that was written for {old.name} and {new.name}, found {other.height:,} of "
            f"{listed.height:,} items that are not in them as the list says, the first is id {other['id'][0]!r}; write "
            "the list again, and ask again"
        )


def _first_error_line(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return (str(error).strip() or type(error).__name__).split("\n")[0][:120]


def _listed_item(row: object, where: str) -> dict[str, object]:
    """Return the fields of an item of the list, checked."""
    if not isinstance(row, Mapping):
        raise DataError(f"{where}: expected the fields of an item, found {str(row)[:60]}")
    missing = [name for name in ("task", "id", "filter", "why", "of") if row.get(name) is None]
    if missing:
        raise DataError(f"{where}: expected a list written by muscle confirm, found no {', '.join(missing)}")
    found = {name: row.get(name) for name in _LISTED}
    if not all(isinstance(found[name], str) for name in ("task", "id", "filter")) or found["why"] not in STRATA:
        raise DataError(
            f"{where}: expected texts as task, id and filter and one of {', '.join(STRATA)} as why, found "
            f"{str({name: found[name] for name in ('task', 'id', 'filter', 'why')})[:200]}"
        )
    if not isinstance(found["input_hash"], str | None):
        raise DataError(f"{where}: expected a text as input_hash, found {str(found['input_hash'])[:60]}")
    if not _NUMBER.fullmatch(str(found["of"])):
        raise DataError(f"{where}: expected a count as of, found {str(found['of'])[:60]}")
    return {**found, "of": int(str(found["of"]))}
