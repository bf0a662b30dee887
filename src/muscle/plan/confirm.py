"""Confirming flips cheaply: after a first pass, ask again what flipped and a random share of the rest, and judge the fresh answers.

One draw a side misses more than half of the true regressions (Xu and Wu 2026, table B.4: 57 %), and half of the flips that it
shows are none. So unflipped items are asked again too, and the first pass's answers, which chose the items, play no part in
the test: they would count twice.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl

from muscle.errors import ConfigError, DataError
from muscle.files import write_text
from muscle.flips.noise.item_verdicts import VERDICTS
from muscle.flips.noise.real_or_noise import judge_items
from muscle.flips.noise.repeats import item_repeats
from muscle.flips.options import DEFAULTS, CompareOptions
from muscle.flips.pairing.pair import Pair, pair_runs
from muscle.flips.statistics.intervals import Estimate, rate
from muscle.plan.resolution import minimum_repeats
from muscle.predictions.read import read_run
from muscle.predictions.records import with_input_hash
from muscle.typed_json import json_object

SHARE = 0.1
"""Share of the unflipped items that are asked again."""
MAX_REPEATS = 1_000_000
STRATA = ("negative_flip", "positive_flip", "unflipped")
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
_FIELDS = ("task", "id", "filter", "input_hash", "input", "choices", "reference")


def choose(
    old: Any,
    new: Any,
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
            f"confirm: expected a share above 0 and up to 1, 2 to {MAX_REPEATS:,} repeats and a seed from 0, found {share}, "
            f"{repeats} and {seed}"
        )
    pair = pair_runs(read_run(old, format=format), read_run(new, format=format), options)
    parts = []
    for name in pair.tasks:
        rows = _strata(pair, name).sort("task", "filter", "input_hash", "id", nulls_last=True)
        flipped = rows.filter(pl.col("why") != "unflipped")
        rest = rows.filter(pl.col("why") == "unflipped")
        wanted = min(rest.height, int(np.ceil(share * rest.height)))
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
    why = (
        pl.when(pl.col("moved") < 0).then(pl.lit(STRATA[0])).when(pl.col("moved") > 0).then(pl.lit(STRATA[1]))
    )
    rows = rows.with_columns(why=why.otherwise(pl.lit(STRATA[2]))).with_columns(
        of=pl.len().over("why").cast(pl.Int64)
    )
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
            f"{path}: expected a list written by muscle confirm, found {_first_line(error)}"
        ) from None
    if not rows:
        raise DataError(f"{path}: expected a list written by muscle confirm, found no items")
    read = [_item(row, f"{path}, item {number}") for number, row in enumerate(rows, 1)]
    return pl.DataFrame(read, schema=_LISTED)


def _first_line(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return (str(error).strip() or type(error).__name__).split("\n")[0][:120]


def _item(row: Any, where: str) -> dict[str, Any]:
    """Check an item of the list."""
    if not isinstance(row, Mapping):
        raise DataError(f"{where}: expected the fields of an item, found {str(row)[:60]}")
    missing = [name for name in ("task", "id", "filter", "why", "of") if row.get(name) is None]
    if missing:
        raise DataError(f"{where}: expected a list written by muscle confirm, found no {', '.join(missing)}")
    found: dict[str, Any] = {name: row.get(name) for name in _LISTED}
    if (
        not all(isinstance(found[name], str) for name in ("task", "id", "filter"))
        or found["why"] not in STRATA
    ):
        raise DataError(
            f"{where}: expected texts as task, id and filter and one of {', '.join(STRATA)} as why, found "
            f"{str({name: found[name] for name in ('task', 'id', 'filter', 'why')})[:200]}"
        )
    if not isinstance(found["input_hash"], str | None):
        raise DataError(f"{where}: expected a text as input_hash, found {str(found['input_hash'])[:60]}")
    if not _NUMBER.fullmatch(str(found["of"])):
        raise DataError(f"{where}: expected a count as of, found {str(found['of'])[:60]}")
    return {**found, "of": int(found["of"])}


def confirm(
    asked: pl.DataFrame,
    fresh_old: Any,
    fresh_new: Any,
    *,
    format: str | None = None,
    options: CompareOptions = DEFAULTS,
) -> dict[str, Any]:
    """Judge the chosen items by fresh answers alone.

    Args:
        asked: what `choose` chose.
        fresh_old: the old version's fresh answers, several an item.
        fresh_new: the new version's.
        format: of the files; None finds it by content.
        options: how runs are compared.

    Returns:
        By task: `strata` (of the negative flips, positive flips and unflipped items of the first pass: how many there are, were
        answered, and got each verdict, with intervals); `all_items`, the share of all items of the task that regressed and
        improved, each stratum weighed by its size; `flips`, the confirmed items.

    Raises:
        DataError: a run cannot be read, has one answer an item only, or none of the chosen items.
    """
    pair = pair_runs(read_run(fresh_old, format=format), read_run(fresh_new, format=format), options)
    found = {}
    for name in pair.tasks:
        task = _confirmed(pair, name, asked, options)
        if task is not None:
            found[name] = task
    if not found:
        raise DataError(
            "confirm: expected fresh answers to the items of the list, found none of them: same inputs or ids?"
        )
    missing = asked.height - sum(s["answered"] for task in found.values() for s in task["strata"].values())
    return {"format": "muscle-confirm/1", "asked": asked.height, "unanswered": missing, "tasks": found}


def _confirmed(pair: Pair, name: str, asked: pl.DataFrame, options: CompareOptions) -> dict[str, Any] | None:
    items = pair.tasks[name]
    repeats = item_repeats(pair.joined, items)
    if repeats is None or not repeats.both_repeated:
        raise DataError(
            f"task {name!r}: expected several fresh answers an item on both sides, found one; number them with `repeat`"
        )
    judged = judge_items(repeats, options)
    rows = with_input_hash(pair.joined.old[repeats.pairs.tolist()]).select(
        "task", "filter", "input_hash", "id"
    )
    rows = rows.with_columns(
        place=pl.int_range(pl.len()),
        verdict=pl.Series([VERDICTS[c] for c in judged.codes]),
        p_value=judged.p_values,
    )
    key = pl.coalesce("input_hash", "id").alias("key")
    wanted = asked.select(key, "task", "filter", "id", "why", "of")
    matched = rows.with_columns(key).join(wanted, on=["task", "filter", "key", "id"], how="inner")
    if matched.is_empty():
        return None
    ours = asked.filter((pl.col("task") == rows["task"][0]) & (pl.col("filter") == rows["filter"][0]))
    sizes = dict(ours.group_by("why").agg(pl.col("of").first()).iter_rows())
    strata = {why: _stratum(matched.filter(pl.col("why") == why), int(sizes.get(why, 0))) for why in STRATA}
    places = matched["place"].to_list()
    flips = [
        {
            "id": row["id"],
            "why": row["why"],
            "verdict": row["verdict"],
            "p_value": row["p_value"],
            "pass_rate": {"old": float(repeats.old.mean[place]), "new": float(repeats.new.mean[place])},
        }
        for place, row in zip(places, matched.iter_rows(named=True), strict=True)
        if row["verdict"] in ("regressed", "improved")
    ]
    flips.sort(key=lambda flip: (flip["verdict"] != "regressed", flip["p_value"], flip["id"]))
    shares = {word: json_object(_all_items(strata, word)) for word in ("regressed", "improved")}
    return {"strata": strata, "all_items": shares, "flips": flips}


def _stratum(rows: pl.DataFrame, size: int) -> dict[str, Any]:
    found: dict[str, Any] = {"of": size, "answered": rows.height}
    for word in VERDICTS:
        count = int((rows["verdict"] == word).sum())
        share = Estimate.undefined("none of these items was answered again")
        if rows.height:
            share = Estimate.of(count / rows.height, rate(count, rows.height))
        found[word] = {"count": count, **json_object(share)}
    return found


def _all_items(strata: Mapping[str, Mapping[str, Any]], word: str) -> Estimate:
    """Return the share of all items with a verdict; only strata that were sampled add to the width of its interval."""
    total = sum(stratum["of"] for stratum in strata.values())
    ends = [0.0, 0.0, 0.0]
    for stratum in strata.values():
        if stratum["of"] == 0:
            continue
        entry = stratum[word]
        if entry["value"] is None:
            return Estimate.undefined("of one kind of items none was asked again")
        whole = stratum["answered"] == stratum["of"]
        for place, key in enumerate(("value", "low", "high")):
            ends[place] += stratum["of"] / total * (entry["value"] if whole else entry[key])
    return Estimate(ends[0], ends[1], ends[2])
