"""Real or noise: what repeats, or a second run of the old version, add to a comparison's numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl

from muscle.flips.noise import item_verdicts as verdicts
from muscle.flips.noise import margins
from muscle.flips.noise.floor import NO_NOISE, Noise, excess_items, noise_of_repeats, noise_of_rerun
from muscle.flips.noise.item_null import permutation_null
from muscle.flips.noise.item_verdicts import VERDICTS, ItemVerdicts, Moments
from muscle.flips.noise.repeats import (
    Repeats,
    Side,
    expected_flips,
    item_repeats,
    mean_of_items,
    variance_split,
)
from muscle.flips.options import Options
from muscle.flips.pairing.items import TaskItems
from muscle.flips.pairing.pair import Pair
from muscle.flips.slices.slice_by import parse_slice, slice_values
from muscle.flips.statistics.arrays import Floats, Ints
from muscle.flips.statistics.clusters import clustered_rate
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
        metrics: further entries of the report's numbers: `items`, `all_answers`, `noise_floor`, ...
        repeats: all answers; None where every item was asked once.
        verdicts: the items' verdicts; None where not both sides have repeats.
        variance: Wang's split; None without repeats.
        within: (items,) whether each flip sits within run-to-run differences; None where not known.
        source: where the floor comes from: "repeats", "rerun" or "unknown".
    """

    metrics: dict[str, Any]
    repeats: Repeats | None
    verdicts: ItemVerdicts | None
    variance: dict[str, Any] | None
    within: pl.Series | None
    source: str


def real_or_noise(
    pair: Pair, name: str, options: Options, *, rerun: Pair | None = None, side: str = "old_vs_new"
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
    metrics: dict[str, Any] = {
        "noise_floor": noise.floor.to_json(),
        "excess_negative_flip_rate": noise.excess.to_json(),
    }
    judged = variance = None
    if repeats is not None:
        metrics["all_answers"] = _all_answers(repeats, options)
        if repeats.both_repeated:
            families = _families(pair, items, repeats, options.item_family)
            judged = judge_items(repeats, options, families)
            metrics["items"] = _shares(repeats, judged, options, families)
            variance = variance_split(repeats)
    within = _within(pair, items, rerun)
    if within is not None:
        metrics |= _flips_within(items, within, options.epsilon)
    return Reality(metrics, repeats, judged, variance, within, source)


def _noise(
    pair: Pair, name: str, options: Options, repeats: Repeats | None, rerun: Pair | None
) -> tuple[Noise, str]:
    """Return floor and excess: of the second run where one is given, else of the old version's repeats."""
    if rerun is not None:
        items = excess_items(rerun, pair, name, epsilon=options.epsilon)
        if items is not None:
            return noise_of_rerun(items), "rerun"
    if repeats is not None:
        noise = noise_of_repeats(repeats, epsilon=options.epsilon, seed=options.seed)
        if noise.floor.value is not None:
            return noise, "repeats"
    return NO_NOISE, "unknown"


def _all_answers(repeats: Repeats, options: Options) -> dict[str, Any]:
    """Return the rates over all answers, each item alike; they too hold difference = PFR - NFR for right and wrong."""
    lost, gained = expected_flips(repeats, epsilon=options.epsilon)
    values = {
        "pass_rate_old": repeats.old.mean,
        "pass_rate_new": repeats.new.mean,
        "pass_rate_difference": repeats.new.mean - repeats.old.mean,
        "negative_flip_rate": lost,
        "positive_flip_rate": gained,
    }
    asked = {"old": int(repeats.old.num.sum()), "new": int(repeats.new.num.sum())}
    return {"n": repeats.total, "answers": asked} | {
        key: mean_of_items(value, repeats.clusters, seed=options.seed).to_json()
        for key, value in values.items()
    }


def _families(pair: Pair, items: TaskItems, repeats: Repeats, by: str | None) -> Ints | None:
    """Return each item's family of tests: its slice; items in none are one family."""
    if by is None:
        return None
    values = slice_values(parse_slice(by), pair.joined, items)
    numbered = items.frame.select("pair").with_columns(
        family=values.cast(pl.String).fill_null("\x1f").rank("dense") - 1
    )
    wanted = pl.DataFrame({"pair": repeats.pairs}).with_columns(pl.col("pair").cast(numbered["pair"].dtype))
    return (
        wanted.join(numbered, on="pair", how="left", maintain_order="left")["family"]
        .to_numpy()
        .astype(np.int64)
    )


def judge_items(repeats: Repeats, options: Options, families: Ints | None = None) -> ItemVerdicts:
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


def _shares(
    repeats: Repeats, judged: ItemVerdicts, options: Options, families: Ints | None
) -> dict[str, Any]:
    """Return the share of items with each verdict, with intervals over items, and what no change would give."""
    total = repeats.total
    shares: dict[str, Any] = {"n": total}
    for code, word in enumerate(VERDICTS):
        count = judged.count(code)
        interval = rate(count, total)
        if repeats.clusters is not None:
            parts = np.bincount(repeats.clusters, weights=judged.codes == code).astype(np.float64)
            interval = clustered_rate(parts, np.bincount(repeats.clusters).astype(np.float64))
        shares[word] = Estimate.of(count / total, interval).to_json()
    if repeats.kind != "binary":
        return shares | {"null95": Estimate.undefined(_NO_NULL).to_json(), "null_p": None}
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
    return shares | {"null95": Estimate(null.null95).to_json(), "null_p": null.p_value(changed)}


def _within(pair: Pair, items: TaskItems, rerun: Pair | None) -> pl.Series | None:
    if rerun is None or items.name not in rerun.tasks:
        return None
    limit = margins.noise_limit(rerun.joined, rerun.tasks[items.name])
    return None if limit is None else margins.within_noise(pair.joined, items, limit)


def _flips_within(items: TaskItems, within: pl.Series, epsilon: float) -> dict[str, Any]:
    """Count the flips within run-to-run differences: numerator and denominator of each kind."""
    frame = items.frame
    if items.kind == "binary":
        lost, gained = (
            frame["correct_old"] & ~frame["correct_new"],
            ~frame["correct_old"] & frame["correct_new"],
        )
    else:
        moved = frame["score_new"] - frame["score_old"]
        lost, gained = moved < -epsilon, moved > epsilon
    known = within.is_not_null()
    return {
        "flips_within_noise": {
            kind: {"count": int((flips & within.fill_null(False)).sum()), "of": int((flips & known).sum())}
            for kind, flips in (("negative_flip", lost), ("positive_flip", gained))
        }
    }


def median_answers(side: Side | None) -> int | None:
    """Return how many answers an item has, as the median."""
    return None if side is None else int(np.median(side.num))


def noise_summary(report: Mapping[str, Any], sources: Mapping[str, str]) -> dict[str, str]:
    """Return the report's `noise`: where the floor comes from, and a sentence on what is beyond it.

    Args:
        report: the result object, its tasks filled in.
        sources: where each task's floor comes from.
    """
    side = "old_vs_candidate" if report["candidate"] else "old_vs_new"
    known = {
        name: report["tasks"][name][side]
        for name, source in sources.items()
        if source != "unknown" and report["tasks"][name].get(side)
    }
    if not known:
        return {"source": "unknown", "sentence": NO_NOISE.floor.why or ""}
    kinds = {sources[name] for name in known}
    source = "rerun" if "rerun" in kinds else "repeats"
    weights = np.array([metrics["n"] for metrics in known.values()], dtype=np.float64)
    floor, excess = (
        float(np.average(_values(known, key), weights=weights))
        for key in ("noise_floor", "excess_negative_flip_rate")
    )
    what = "its repeats" if source == "repeats" else "its second run"
    spans = ""
    if len(known) == 1:
        (metrics,) = known.values()
        spans = _span(metrics["excess_negative_flip_rate"])
    tasks = "" if len(known) == 1 else f" over {len(known)} tasks"
    missing = len(sources) - len(known)
    sentence = (
        f"{report['old']} breaks {percent(floor)} of its answers against itself ({what}{tasks}); "
        f"{report['candidate'] or report['new']} breaks {percent(excess)} beyond that{spans}"
    )
    if missing:
        sentence += f"; {missing} tasks: {NO_NOISE.floor.why}"
    return {"source": source, "sentence": sentence + "."}


def _values(known: Mapping[str, Any], key: str) -> Floats:
    return np.array([metrics[key]["value"] for metrics in known.values()], dtype=np.float64)


def _span(metric: Mapping[str, Any]) -> str:
    if metric["low"] is None:
        return ""
    return f" ({percent(metric['low'])} to {percent(metric['high'])})"
