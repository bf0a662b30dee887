"""Confirming the flips of a first pass by fresh answers to the items that flipped and to a random share of the rest.

One draw a side misses more than half of the true regressions (Xu and Wu 2026, table B.4: 57 %), and half of the flips
that it shows are none. So unflipped items are asked again too, and the first pass's answers, which chose the items,
play no part in the test: they would count twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import polars as pl

from muscle.errors import DataError
from muscle.flips.noise.item_verdicts import VERDICTS
from muscle.flips.noise.real_or_noise import judge_items
from muscle.flips.noise.repeats import item_repeats
from muscle.flips.options import DEFAULTS, CompareOptions
from muscle.flips.pairing.one_file_twice import refuse_one_file
from muscle.flips.pairing.pair import Pair, pair_runs
from muscle.flips.statistics.intervals import Estimate, rate
from muscle.plan.item_list import STRATA, Why
from muscle.predictions.read import read_run
from muscle.predictions.records import with_input_hash
from muscle.predictions.run import Source
from muscle.typed_json import OPTIONAL_KEY

FORMAT = "muscle-confirm/1"


@dataclass(frozen=True)
class VerdictShare:
    """How many of a stratum's answered items have one verdict.

    Attributes:
        count: how many.
        value: their share; None where no item was answered.
        low: lower end of its interval (95 %).
        high: upper end.
        why: why there is no share; no key where there is one.
    """

    count: int
    value: float | None
    low: float | None
    high: float | None
    why: str | None = field(default=None, metadata=OPTIONAL_KEY)


@dataclass(frozen=True)
class Stratum:
    """The items that became the same in the first pass: what fresh answers say of them.

    Attributes:
        of: how many there are.
        answered: how many of them have fresh answers.
        regressed: those that are right less often.
        improved: those that are right more often.
        equivalent: those whose pass rate is proven to be unchanged.
        cannot_tell: the rest.
    """

    of: int
    answered: int
    regressed: VerdictShare
    improved: VerdictShare
    equivalent: VerdictShare
    cannot_tell: VerdictShare


@dataclass(frozen=True)
class AllItems:
    """Shares of all items of a task, each stratum weighed by its size."""

    regressed: Estimate
    improved: Estimate


@dataclass(frozen=True)
class PassRates:
    """How often an item was right, in [0, 1]."""

    old: float
    new: float


@dataclass(frozen=True)
class ConfirmedFlip:
    """An item whose fresh answers show a change.

    Attributes:
        id: the item's.
        why: what became of it in the first pass.
        verdict: what the fresh answers say.
        p_value: of the test on its fresh answers, not adjusted.
        pass_rate: of its fresh answers.
    """

    id: str
    why: Why
    verdict: Literal["regressed", "improved"]
    p_value: float
    pass_rate: PassRates


@dataclass(frozen=True)
class ConfirmedTask:
    """What fresh answers say of a task.

    Attributes:
        strata: by what became of the items in the first pass.
        all_items: the shares of all items that regressed and improved.
        flips: the items that did, regressions first, the surest first.
    """

    strata: Mapping[Why, Stratum]
    all_items: AllItems
    flips: Sequence[ConfirmedFlip]


@dataclass(frozen=True)
class Confirmation:
    """What fresh answers say of the flips of a first pass.

    Attributes:
        format: of the JSON.
        asked: items of the list.
        unanswered: of them, those without fresh answers.
        tasks: by name.
    """

    format: str
    asked: int
    unanswered: int
    tasks: Mapping[str, ConfirmedTask]


def confirm(
    listed: pl.DataFrame,
    fresh_old: Source,
    fresh_new: Source,
    *,
    format: str | None = None,
    options: CompareOptions = DEFAULTS,
) -> Confirmation:
    """Judge the chosen items by fresh answers alone.

    Args:
        listed: what `choose` chose.
        fresh_old: the old version's fresh answers, several an item.
        fresh_new: the new version's.
        format: of the files; None finds it by content.
        options: how runs are compared.

    Raises:
        DataError: a run cannot be read, has one answer an item only, or none of the chosen items.
    """
    runs = [read_run(fresh, format=format) for fresh in (fresh_old, fresh_new)]
    refuse_one_file({"fresh old": runs[0], "fresh new": runs[1]})
    pair = pair_runs(runs[0], runs[1], options)
    found = {}
    for name in pair.tasks:
        task = _confirmed_task(pair, name, listed, options)
        if task is not None:
            found[name] = task
    if not found:
        raise DataError(
            "confirm: expected fresh answers to the items of the list, found none of them: same inputs or ids?"
        )
    answered = sum(stratum.answered for task in found.values() for stratum in task.strata.values())
    return Confirmation(FORMAT, listed.height, listed.height - answered, found)


def _confirmed_task(pair: Pair, name: str, listed: pl.DataFrame, options: CompareOptions) -> ConfirmedTask | None:
    """Return what a task's fresh answers say; None where none of them is to an item of the list."""
    items = pair.tasks[name]
    repeats = item_repeats(pair.joined, items)
    if repeats is None or not repeats.both_repeated:
        raise DataError(
            f"task {name!r}: expected several fresh answers an item on both sides, found one; number them with `repeat`"
        )
    judged = judge_items(repeats, options)
    rows = with_input_hash(pair.joined.old[repeats.pairs.tolist()]).select("task", "filter", "input_hash", "id")
    rows = rows.with_columns(
        place=pl.int_range(pl.len()),
        verdict=pl.Series([VERDICTS[c] for c in judged.codes]),
        p_value=judged.p_values,
    )
    key = pl.coalesce("input_hash", "id").alias("key")
    wanted = listed.select(key, "task", "filter", "id", "why", "of")
    matched = rows.with_columns(key).join(wanted, on=["task", "filter", "key", "id"], how="inner")
    if matched.is_empty():
        return None
    ours = listed.filter((pl.col("task") == rows["task"][0]) & (pl.col("filter") == rows["filter"][0]))
    sizes = dict(ours.group_by("why").agg(pl.col("of").first()).iter_rows())
    strata = {why: _stratum(matched.filter(pl.col("why") == why), int(sizes.get(why, 0))) for why in STRATA}
    flips = [
        ConfirmedFlip(
            id=row["id"],
            why=row["why"],
            verdict=row["verdict"],
            p_value=row["p_value"],
            pass_rate=PassRates(old=float(repeats.old.mean[row["place"]]), new=float(repeats.new.mean[row["place"]])),
        )
        for row in matched.iter_rows(named=True)
        if row["verdict"] in ("regressed", "improved")
    ]
    flips.sort(key=lambda flip: (flip.verdict != "regressed", flip.p_value, flip.id))
    all_items = AllItems(
        regressed=_share_of_all([(each, each.regressed) for each in strata.values()]),
        improved=_share_of_all([(each, each.improved) for each in strata.values()]),
    )
    return ConfirmedTask(strata, all_items, flips)


def _stratum(rows: pl.DataFrame, size: int) -> Stratum:
    counts = [int((rows["verdict"] == word).sum()) for word in VERDICTS]
    return Stratum(size, rows.height, *(_verdict_share(count, rows.height) for count in counts))


def _verdict_share(count: int, answered: int) -> VerdictShare:
    if answered == 0:
        return VerdictShare(count, None, None, None, "none of these items was answered again")
    interval = rate(count, answered)
    return VerdictShare(count, count / answered, interval.low, interval.high)


def _share_of_all(strata: Sequence[tuple[Stratum, VerdictShare]]) -> Estimate:
    """Return the share of all items with a verdict; only strata that were sampled add to the width of its interval."""
    total = sum(stratum.of for stratum, _ in strata)
    value = low = high = 0.0
    for stratum, share in strata:
        if stratum.of == 0:
            continue
        if share.value is None or share.low is None or share.high is None:
            return Estimate.undefined("of one kind of items none was asked again")
        weight, is_whole = stratum.of / total, stratum.answered == stratum.of
        value += weight * share.value
        low += weight * (share.value if is_whole else share.low)
        high += weight * (share.value if is_whole else share.high)
    return Estimate(value, low, high)
