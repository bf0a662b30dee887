"""Real or noise: what repeats, or a second run of the old version, add to a comparison's numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import polars as pl

from muscle.flips.measuring.side_numbers import (
    AllAnswers,
    CountOf,
    FlipsWithinNoise,
    ItemShares,
    NumAnswers,
    SideNumbers,
)
from muscle.flips.noise import item_verdicts as verdicts
from muscle.flips.noise import margins
from muscle.flips.noise.floor import NO_NOISE, UNKNOWN, Noise, excess_items, noise_of_repeats, noise_of_rerun
from muscle.flips.noise.item_null import permutation_null
from muscle.flips.noise.item_verdicts import VERDICTS, ItemVerdicts, Moments
from muscle.flips.noise.repeats import (
    Repeats,
    Side,
    VarianceSplit,
    expected_flips,
    item_repeats,
    mean_of_items,
    variance_split,
)
from muscle.flips.options import CompareOptions
from muscle.flips.pairing.flip_sign import NEGATIVE_FLIP, POSITIVE_FLIP
from muscle.flips.pairing.items import TaskItems
from muscle.flips.pairing.pair import Pair
from muscle.flips.slices.slice_by import parse_slice, slice_values
from muscle.flips.statistics.arrays import Floats, Ints
from muscle.flips.statistics.clusters import grouped_rate
from muscle.flips.statistics.intervals import Estimate, rate
from muscle.flips.wording import percent

NoiseSource = Literal["repeats", "rerun", "unknown"]
"""Where the noise floor comes from."""

_NO_NULL = "relabelling needs answers that are right or wrong"
_ASKED_ONCE = "floor of the new version unknown; it was asked once"


@dataclass(frozen=True)
class Reality:
    """What is known beyond single answers of a task between two versions.

    Attributes:
        noise: the floor, and what is beyond it.
        all_answers: rates over all answers; None where every item was asked once.
        items: shares of items with each verdict; None where not both sides have repeats.
        flips_within: flips within run-to-run differences; None where not known.
        repeats: all answers; None where every item was asked once.
        verdicts: the items' verdicts; None where not both sides have repeats.
        variance: Wang's split; None without repeats.
        within: (items,) whether each flip sits within run-to-run differences; None where not known.
        source: where the floor comes from: "repeats", "rerun" or "unknown".
    """

    noise: Noise
    all_answers: AllAnswers | None
    items: ItemShares | None
    flips_within: FlipsWithinNoise | None
    repeats: Repeats | None
    verdicts: ItemVerdicts | None
    variance: VarianceSplit | None
    within: pl.Series | None
    source: NoiseSource

    def added_to(self, numbers: SideNumbers) -> SideNumbers:
        """Return a task's numbers with what is known beyond single answers."""
        return replace(
            numbers,
            noise_floor=self.noise.floor,
            excess_negative_flip_rate=self.noise.excess,
            all_answers=self.all_answers,
            items=self.items,
            flips_within_noise=self.flips_within,
        )


def real_or_noise(
    pair: Pair, name: str, options: CompareOptions, *, rerun: Pair | None = None, side: str = "old_vs_new"
) -> Reality:
    """Tell what of a task's flips is real.

    Args:
        pair: the two versions.
        name: the task.
        options: how runs are compared.
        rerun: the old run joined with a second run of the old version.
        side: "new_vs_candidate" has no floor but that of repeats.
    """
    items = pair.tasks[name]
    repeats = item_repeats(pair.joined, items, grouped=options.cluster is not None)
    noise, source = _noise(pair, name, options, repeats, rerun)
    if source == "unknown" and side.startswith("new"):
        noise = Noise(Estimate.undefined(_ASKED_ONCE), Estimate.undefined(_ASKED_ONCE))
    judged = shares = variance = None
    if repeats is not None and repeats.both_repeated:
        families = _families(pair, items, repeats, options.item_family)
        judged = judge_items(repeats, options, families)
        shares = _shares(repeats, judged, options, families)
        variance = variance_split(repeats)
    within = _within(pair, items, rerun)
    return Reality(
        noise=noise,
        all_answers=None if repeats is None else _all_answers(repeats, options),
        items=shares,
        flips_within=None if within is None else _flips_within(items, within),
        repeats=repeats,
        verdicts=judged,
        variance=variance,
        within=within,
        source=source,
    )


def _noise(
    pair: Pair, name: str, options: CompareOptions, repeats: Repeats | None, rerun: Pair | None
) -> tuple[Noise, NoiseSource]:
    """Return floor and excess: of the second run where one is given, else of the old version's repeats."""
    if rerun is not None:
        items = excess_items(rerun, pair, name)
        if items is not None:
            return noise_of_rerun(items), "rerun"
    if repeats is not None:
        noise = noise_of_repeats(repeats, epsilon=options.epsilon, seed=options.seed)
        if noise.floor.value is not None:
            return noise, "repeats"
    return NO_NOISE, "unknown"


def _all_answers(repeats: Repeats, options: CompareOptions) -> AllAnswers:
    """Return the rates over all answers, each item alike; they too hold difference = PFR - NFR for right and wrong."""

    def mean(values: Floats) -> Estimate:
        return mean_of_items(values, repeats.clusters, seed=options.seed)

    lost, gained = expected_flips(repeats, epsilon=options.epsilon)
    return AllAnswers(
        n=repeats.total,
        answers=NumAnswers(int(repeats.old.num.sum()), int(repeats.new.num.sum())),
        pass_rate_old=mean(repeats.old.mean),
        pass_rate_new=mean(repeats.new.mean),
        pass_rate_difference=mean(repeats.new.mean - repeats.old.mean),
        negative_flip_rate=mean(lost),
        positive_flip_rate=mean(gained),
    )


def _families(pair: Pair, items: TaskItems, repeats: Repeats, by: str | None) -> Ints | None:
    """Return each item's family of tests: its slice; items in none are one family."""
    if by is None:
        return None
    values = slice_values(parse_slice(by), pair.joined, items)
    numbered = items.frame.select("pair").with_columns(
        family=values.cast(pl.String).fill_null("\x1f").rank("dense") - 1
    )
    wanted = pl.DataFrame({"pair": repeats.pairs}).with_columns(pl.col("pair").cast(numbered["pair"].dtype))
    return wanted.join(numbered, on="pair", how="left", maintain_order="left")["family"].to_numpy().astype(np.int64)


def judge_items(repeats: Repeats, options: CompareOptions, families: Ints | None = None) -> ItemVerdicts:
    """Judge each item by its answers: by pass rates, or by Welch's test of a score beyond `epsilon`.

    Args:
        repeats: all answers to a task's items.
        options: `epsilon_item` and `item_test` for right and wrong, `epsilon` for a score.
        families: (items,) the family of tests that each item is in.
    """
    old, new = repeats.old, repeats.new
    if repeats.kind == "binary":
        return verdicts.item_verdicts(
            old.right,
            old.num,
            new.right,
            new.num,
            epsilon=options.epsilon_item,
            families=families,
            test=options.item_test,
        )
    moments = [Moments(side.num, side.mean, np.nan_to_num(side.variance)) for side in (old, new)]
    return verdicts.welch_verdicts(moments[0], moments[1], epsilon=options.epsilon, families=families)


def _shares(repeats: Repeats, judged: ItemVerdicts, options: CompareOptions, families: Ints | None) -> ItemShares:
    """Return the share of items with each verdict, with intervals over items, and what no change would give."""
    total = repeats.total
    shares = {}
    for code, word in enumerate(VERDICTS):
        count = judged.count(code)
        interval = rate(count, total)
        if repeats.clusters is not None:
            interval = grouped_rate(judged.codes == code, repeats.clusters)
        shares[word] = Estimate.of(count / total, interval)
    null95, null_p = Estimate.undefined(_NO_NULL), None
    if repeats.kind == "binary":
        null = permutation_null(
            repeats.old.right + repeats.new.right,
            repeats.old.num,
            repeats.new.num,
            epsilon=options.epsilon_item,
            families=families,
            test=options.item_test,
            seed=options.seed,
        )
        changed = (judged.count(verdicts.REGRESSED) + judged.count(verdicts.IMPROVED)) / total
        null95, null_p = Estimate(null.null95), null.p_value(changed)
    return ItemShares(
        n=total,
        regressed=shares["regressed"],
        improved=shares["improved"],
        equivalent=shares["equivalent"],
        cannot_tell=shares["cannot_tell"],
        null95=null95,
        null_p=null_p,
    )


def _within(pair: Pair, items: TaskItems, rerun: Pair | None) -> pl.Series | None:
    if rerun is None or items.name not in rerun.tasks:
        return None
    limit = margins.noise_limit(rerun.joined, rerun.tasks[items.name])
    return None if limit is None else margins.within_noise(pair.joined, items, limit)


def _flips_within(items: TaskItems, within: pl.Series) -> FlipsWithinNoise:
    """Count the flips within run-to-run differences: numerator and denominator of each kind."""
    known, surely = within.is_not_null(), within.fill_null(False)
    lost, gained = (
        CountOf(int((flips & surely).sum()), int((flips & known).sum()))
        for flips in (items.frame["flip"] == NEGATIVE_FLIP, items.frame["flip"] == POSITIVE_FLIP)
    )
    return FlipsWithinNoise(lost, gained)


def median_answers(side: Side | None) -> int | None:
    """Return how many answers an item has, as the median."""
    return None if side is None else int(np.median(side.num))


def noise_sentence(
    old: str, other: str, judged: Mapping[str, SideNumbers], sources: Mapping[str, NoiseSource]
) -> tuple[NoiseSource, str]:
    """Return where the floor comes from, and a sentence on what is beyond it.

    Args:
        old: the old version's name.
        other: the judged version's.
        judged: its numbers, by task.
        sources: where each task's floor comes from.
    """
    floors: list[tuple[int, float, Estimate]] = []
    kinds: set[NoiseSource] = set()
    for name, source in sources.items():
        numbers = judged.get(name)
        if source == "unknown" or numbers is None:
            continue
        floor, excess = numbers.metric("noise_floor").value, numbers.metric("excess_negative_flip_rate")
        if floor is not None and excess.value is not None:
            floors.append((numbers.n, floor, excess))
            kinds.add(source)
    if not floors:
        return "unknown", UNKNOWN
    from_where: NoiseSource = "rerun" if "rerun" in kinds else "repeats"
    weights = np.array([n for n, _, _ in floors], dtype=np.float64)
    floor = float(np.average([value for _, value, _ in floors], weights=weights))
    beyond = float(np.average([float(excess.value or 0.0) for _, _, excess in floors], weights=weights))
    what = "its repeats" if from_where == "repeats" else "its second run"
    spans = _span(floors[0][2]) if len(floors) == 1 else ""
    tasks = "" if len(floors) == 1 else f" over {len(floors)} tasks"
    sentence = (
        f"{old} breaks {percent(floor)} of its answers against itself ({what}{tasks}); "
        f"{other} breaks {percent(beyond)} beyond that{spans}"
    )
    missing = len(sources) - len(floors)
    if missing:
        sentence += f"; {missing} tasks: {UNKNOWN}"
    return from_where, sentence + "."


def _span(excess: Estimate) -> str:
    if excess.low is None or excess.high is None:
        return ""
    return f" ({percent(excess.low)} to {percent(excess.high)})"
