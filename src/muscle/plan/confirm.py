"""Confirming the flips of a first pass by fresh answers to the items that flipped and to a random share of the rest.

One draw a side misses more than half of the true regressions (Xu and Wu 2026, table B.4: 57 %), and half of the flips
that it shows are none. So unflipped items are asked again too, and the first pass's answers, which chose the items,
play no part in the test: they would count twice.

Fresh answers that are missing better nothing: an item is improved or equivalent only where it is so with its missing
answers at their worst, and an interval holds what the items without answers may be (Manski 1990, as
`muscle.flips.pairing.missing`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import polars as pl

from muscle.errors import DataError
from muscle.flips.noise.item_verdicts import CANNOT_TELL, EQUIVALENT, IMPROVED, VERDICTS
from muscle.flips.noise.real_or_noise import judge_items
from muscle.flips.noise.repeats import item_repeats
from muscle.flips.options import DEFAULTS, CompareOptions
from muscle.flips.pairing.items import TaskItems
from muscle.flips.pairing.missing import Missing
from muscle.flips.pairing.one_file_twice import refuse_one_file
from muscle.flips.pairing.pair import Pair, pair_runs
from muscle.flips.statistics.intervals import Estimate, rate
from muscle.plan.item_list import STRATA, Why
from muscle.predictions.read import read_run
from muscle.predictions.records import NO_FILTER, with_input_hash
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
        missing: fresh answers that were not judged.
        tasks: by name.
    """

    format: str
    asked: int
    unanswered: int
    missing: Missing
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
        JoinError: the two runs are one file.
    """
    runs = [read_run(fresh, format=format) for fresh in (fresh_old, fresh_new)]
    refuse_one_file({"fresh old": runs[0], "fresh new": runs[1]})
    pair = pair_runs(runs[0], runs[1], options)
    names = {
        pair.joined.old.select("task", "filter").row(items.frame["pair"][0]): name for name, items in _scored(pair)
    }
    groups = listed.partition_by("task", "filter", as_dict=True, maintain_order=True).items()
    found = {
        names.get(group, group[0] if group[1] == NO_FILTER else "/".join(group)): _confirmed_task(
            pair, names.get(group), ours, options
        )
        for group, ours in groups
    }
    answered = sum(stratum.answered for task in found.values() for stratum in task.strata.values())
    if answered == 0:
        raise DataError(
            "confirm: expected fresh answers to the items of the list, found none of them: same inputs or ids?"
        )
    return Confirmation(FORMAT, listed.height, listed.height - answered, pair.missing, found)


def _scored(pair: Pair) -> list[tuple[str, TaskItems]]:
    return [(name, items) for name, items in pair.tasks.items() if items.frame.height]


def _fresh_verdicts(pair: Pair, name: str, options: CompareOptions) -> pl.DataFrame:
    """Return a row for each item of a task that has fresh answers: what they say of it."""
    repeats = item_repeats(pair.joined, pair.tasks[name])
    if repeats is None or not repeats.both_repeated:
        raise DataError(
            f"task {name!r}: expected several fresh answers an item on both sides, found one; number them with `repeat`"
        )
    judged = judge_items(repeats, options)
    rows = with_input_hash(pair.joined.old[repeats.pairs.tolist()])
    return rows.select(pl.coalesce("input_hash", "id").alias("key"), "id").with_columns(
        verdict=pl.Series([VERDICTS[code] for code in judged.codes], dtype=pl.String),
        p_value=judged.p_values,
        old=repeats.old.mean,
        new=repeats.new.mean,
    )


def _careful(pair: Pair, name: str, options: CompareOptions) -> pl.DataFrame:
    """Return what `_fresh_verdicts` does, where no verdict is the better for answers that are missing."""
    seen = _fresh_verdicts(pair, name, options)
    if pair.missing.num == 0:
        return seen
    worst = _fresh_verdicts(pair.worst, name, options).select("key", "id", at_worst="verdict")
    better = pl.col("verdict").is_in([VERDICTS[IMPROVED], VERDICTS[EQUIVALENT]])
    is_doubtful = better & pl.col("verdict").ne_missing(pl.col("at_worst"))
    rows = seen.join(worst, on=["key", "id"], how="left", maintain_order="left")
    return rows.with_columns(verdict=pl.when(is_doubtful).then(pl.lit(VERDICTS[CANNOT_TELL])).otherwise("verdict"))


def _confirmed_task(pair: Pair, name: str | None, ours: pl.DataFrame, options: CompareOptions) -> ConfirmedTask:
    """Return what a task's fresh answers say.

    Args:
        pair: the fresh runs.
        name: the task's in the pair; None where it has no fresh answers.
        ours: its items of the list.
        options: how runs are compared.
    """
    wanted = ours.select(pl.coalesce("input_hash", "id").alias("key"), "id", "why")
    matched = wanted.clear() if name is None else _careful(pair, name, options).join(wanted, on=["key", "id"])
    strata = {why: _stratum(matched, ours.filter(pl.col("why") == why), why) for why in STRATA}
    flips = [
        ConfirmedFlip(
            id=row["id"],
            why=row["why"],
            verdict=row["verdict"],
            p_value=row["p_value"],
            pass_rate=PassRates(old=row["old"], new=row["new"]),
        )
        for row in (matched.iter_rows(named=True) if name is not None else ())
        if row["verdict"] in ("regressed", "improved")
    ]
    flips.sort(key=lambda flip: (flip.verdict != "regressed", flip.p_value, flip.id))
    all_items = AllItems(
        regressed=_share_of_all([(each, each.regressed) for each in strata.values()]),
        improved=_share_of_all([(each, each.improved) for each in strata.values()]),
    )
    return ConfirmedTask(strata, all_items, flips)


def _stratum(matched: pl.DataFrame, asked: pl.DataFrame, why: Why) -> Stratum:
    rows = matched.filter(pl.col("why") == why)
    size = int(asked["of"][0]) if asked.height else 0
    counts = [int((rows["verdict"] == word).sum()) if rows.height else 0 for word in VERDICTS]
    return Stratum(size, rows.height, *(_verdict_share(count, rows.height, asked.height) for count in counts))


def _verdict_share(count: int, answered: int, asked: int) -> VerdictShare:
    """Return the share of the answered items; its interval holds whatever the others that were asked are."""
    if answered == 0:
        return VerdictShare(count, None, None, None, "none of these items was answered again")
    low, high = rate(count, asked).low, rate(count + asked - answered, asked).high
    return VerdictShare(count, count / answered, low, high)


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
