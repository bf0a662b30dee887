"""The verdict on an update without a policy, and the sentence that opens every report.

The sentence never gives the net alone: a gain can hide what broke.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from muscle.flips.options import TOLERANCE
from muscle.flips.result.judge_verdict import heed_judge
from muscle.flips.statistics.multiplicity import holm
from muscle.flips.wording import p_value, percent, percent_in_full, true_to_limit

Word = Literal["pass", "warn", "block", "cannot_tell"]


ALPHA = 0.05

FEW = 5
"""With fewer items that moved an interval over items knows too little of the others."""

_WORST_FIRST: tuple[Word, ...] = ("block", "warn", "cannot_tell", "pass")


@dataclass(frozen=True)
class Verdict:
    """What the comparison says.

    Attributes:
        word: the worst of the tasks' verdicts.
        reasons: one sentence for each task, worst first.
    """

    word: Word
    reasons: tuple[str, ...]


def lost_and_gained(quadrants: Mapping[str, Any]) -> tuple[int, int]:
    """Return the negative and the positive flips of a task's counts."""
    if "worse" in quadrants:
        return quadrants["worse"], quadrants["better"]
    return quadrants["negative_flips"], quadrants["positive_flips"]


def harm_p_of(metrics: Mapping[str, Any]) -> float:
    """Return the p-value of harm: over the groups where items are grouped, else McNemar's exact one."""
    clustered = metrics.get("clustered_harm_p")
    return float(metrics["mcnemar_harm_p"] if clustered is None else clustered)


def counted_unit(tasks: Iterable[Mapping[str, Any]]) -> str:
    """Return what is counted: answers where items were asked several times, their pairs where one run asked more often."""
    asked = [metrics["all_answers"].get("answers") for metrics in tasks if "all_answers" in metrics]
    if any(each and each["old"] != each["new"] for each in asked):
        return "pairs of answers"
    return "answers" if asked else "items"


def _limit(value: float) -> str:
    """Write a limit that the user gave, not rounded."""
    rounded, exact = percent(value), percent_in_full(value)
    return rounded if float(rounded[:-1]) == float(exact[:-1]) else exact


def _num_without_flip(rate: float) -> int | None:
    """Return how many items without a negative flip prove that the rate is no higher (one-sided, exact); None: no number does."""
    if rate == 0:
        return None
    return 1 if rate == 1 else math.ceil(math.log(ALPHA) / math.log1p(-rate))


def _items_without_flip(rate: float) -> str:
    needed = _num_without_flip(rate)
    return "infinitely many" if needed is None else f"{needed:,}"


def _binary_task(
    name: str, metrics: Mapping[str, Any], quadrants: Mapping[str, Any], harm_p: float, tolerance: float
) -> tuple[Word, str]:
    lost, gained = lost_and_gained(quadrants)
    total = metrics["n"]
    rate = metrics["negative_flip_rate"]
    if rate["value"] is None:
        return "cannot_tell", f"{name}: no item is scored in both versions"
    flips = f"+{gained:,} / -{lost:,} of {total:,} {counted_unit([metrics])}"
    if harm_p < ALPHA:
        test = (
            "one-sided McNemar"
            if metrics.get("clustered_harm_p") is None
            else "one-sided, signs of the groups flipped,"
        )
        return "block", f"{name}: more broke than was gained ({flips}, {test} {p_value(harm_p)})"
    limit = _limit(tolerance)
    span = f"{name}: {percent(rate['value'])} negative flips ({flips})"
    excess = metrics.get("excess_negative_flip_rate") or {}
    if excess.get("low") is not None:
        num_items = (metrics.get("items") or {}).get("n", total)
        return _beyond_noise(span, excess, num_items, tolerance)
    low, high = metrics["negative_flip_rate_lower_bound"], metrics["negative_flip_rate_upper_bound"]
    told_low, told_high = (true_to_limit(percent(bound), bound, tolerance) for bound in (low, high))
    if low > tolerance:
        return "warn", f"{span}, more than {limit} even at the lower bound {told_low}"
    if high <= tolerance:
        return "pass", f"{span}, proven to be at most {told_high} (let pass: {limit})"
    proof = f"{span}, anything from {told_low} to {told_high} fits; at most {limit} is not proven"
    return "cannot_tell", proof + (
        f", which takes {_items_without_flip(tolerance)} items without a flip" if lost == 0 else ""
    )


def _beyond_noise(span: str, excess: Mapping[str, Any], num_items: int, tolerance: float) -> tuple[Word, str]:
    """Judge what breaks beyond the flips that the old model makes against itself, where those are known.

    An interval over items that hardly moved is too narrow: no fewer items prove the tolerance than without any flip.
    """
    low, high = excess["low"], excess["high"]
    told = [true_to_limit(percent(bound), bound, tolerance) for bound in (low, high)]
    span += f", {percent(excess['value'])} beyond the old model's own noise"
    if low > tolerance:
        return "warn", f"{span}, more than {_limit(tolerance)} even at the lower bound {told[0]}"
    proof = f"at most {told[1]} (let pass: {_limit(tolerance)})"
    if high <= tolerance:
        needed = _num_without_flip(tolerance)
        if needed is not None and num_items >= needed:
            return "pass", f"{span}, {proof}"
        return (
            "cannot_tell",
            f"{span}, {proof}, but {num_items:,} items are fewer than the {_items_without_flip(tolerance)} that prove it",
        )
    return (
        "cannot_tell",
        f"{span}, anything from {told[0]} to {told[1]} fits; at most {_limit(tolerance)} is not proven",
    )


def _continuous_task(
    name: str, metrics: Mapping[str, Any], quadrants: Mapping[str, Any], harm_p: float, tolerance: float
) -> tuple[Word, str]:
    lost, gained = lost_and_gained(quadrants)
    difference = metrics["accuracy_difference"]
    flips = f"{gained:,} items better, {lost:,} worse of {metrics['n']:,}"
    if difference["value"] is None or difference["low"] is None:
        return "cannot_tell", f"{name}: too few items are scored in both versions ({flips})"
    low, high = difference["low"], difference["high"]
    change = f"mean score {difference['value']:+.4g} ({low:+.4g} to {high:+.4g}; {flips})"
    if high < 0:
        return "block", f"{name}: {change}, a loss beyond chance"
    if harm_p < ALPHA:
        return "warn", f"{name}: {change}, but more items lost than gained ({p_value(harm_p)})"
    if low >= -tolerance * abs(metrics["accuracy_old"]["value"]):
        needed = _num_without_flip(tolerance)
        if lost + gained < FEW and (needed is None or metrics["n"] < needed):
            few = f"so few moved that {metrics['n']:,} items say nothing of others; it takes {_items_without_flip(tolerance)}"
            return "cannot_tell", f"{name}: {change}, but {few}"
        return "pass", f"{name}: {change}"
    return (
        "cannot_tell",
        f"{name}: {change}, a loss of more than {_limit(tolerance)} of the score cannot be excluded",
    )


def worse_than_plain(task: Mapping[str, Any]) -> str | None:
    """Say that a candidate breaks more than the plain update and scores less, so that it gives nothing; None where it isn't so.

    Args:
        task: the report's entry of a task.
    """
    effect = task["candidate_effect"]
    if effect is None:
        return None
    flips, level = effect["negative_flip_rate_change"]["value"], effect["accuracy_change"]["value"]
    if flips is None or level is None or flips <= 0 or level >= 0:
        return None
    score = f"{-level:.4g} less" if task["kind"] == "continuous" else f"{percent(-level)} less accurate"
    return (
        f"the candidate breaks more than the plain update ({percent(flips)} more negative flips, "
        f"{p_value(effect['negative_flips_mcnemar_exact_p'])}) and is {score}: it gives nothing beside it"
    )


def careful(seen: Verdict, worst: Verdict, missing: str) -> Verdict:
    """Return the verdict with what is missing taken into account: a pass must hold even if all of it had broken.

    Args:
        seen: the verdict on what was judged.
        worst: the verdict with the missing answers at their worst (`muscle.flips.pairing.missing`).
        missing: what is missing, in words.
    """
    if seen.word != "pass" or worst.word == "pass":
        return seen
    return Verdict("cannot_tell", (f"{missing}; if they had broken: {worst.reasons[0]}", *seen.reasons))


def judge(tasks: Mapping[str, Mapping[str, Any]], *, side: str, tolerance: float = TOLERANCE) -> Verdict:
    """Judge an update by the report's tasks.

    - block: on some task more is lost than gained, beyond chance (one-sided exact McNemar over the flips, or the
      sign-flip test over groups where items are grouped, adjusted by Holm over the tasks, p < 0.05); of a continuous score, the interval of the mean difference is
      below 0.
    - warn: not so, but a candidate breaks more than the plain update and scores less (`worse_than_plain`), or
      negative flips are provably above the tolerance (one-sided exact lower bound): the net hides
      them. Where the noise floor is known, those beyond it (by the 95 % interval of the excess). Of a continuous score, significantly more items got worse than better.
    - pass: negative flips, or those beyond a known floor, are provably within the tolerance (one-sided exact upper bound); of a continuous score,
      the mean provably did not fall by more than the tolerance times the old mean.
    - cannot_tell: there are too few items to say either.

    Where people's labels or a judge's errors were given, they can make any of it more careful: see `judge_verdict`.

    Args:
        tasks: the report's `tasks`.
        side: "old_vs_new" or "old_vs_candidate".
        tolerance: negative flip rate that is let pass, in [0, 1].
    """
    present = {name: task for name, task in tasks.items() if task.get(side)}
    harms = [harm_p_of(task[side]) for task in present.values()]
    found: list[tuple[Word, str]] = []
    for (name, task), harm_p in zip(present.items(), holm(harms), strict=True):
        judge_task = _binary_task if task["kind"] == "binary" else _continuous_task
        word, reason = judge_task(name, task[side], task["quadrants"][side], harm_p, tolerance)
        found.append(heed_judge(word, reason, (task.get("judge") or {}).get(side), tolerance=tolerance))
        against = worse_than_plain(task) if side == "old_vs_candidate" else None
        if against is not None:
            found.append(("warn", f"{name}: {against}"))
    if not found:
        return Verdict("cannot_tell", ("no task is scored in both versions",))
    found.sort(key=lambda entry: _WORST_FIRST.index(entry[0]))
    return Verdict(found[0][0], tuple(reason for _, reason in found))


_OPENING: dict[Word, str] = {
    "pass": "Pass",
    "warn": "Warning",
    "block": "Blocked",
    "cannot_tell": "Cannot tell",
}


def _balance(tasks: Mapping[str, Mapping[str, Any]], side: str) -> tuple[int, int, int]:
    """Return negative flips, positive flips and items over all tasks."""
    present = [task for task in tasks.values() if task.get(side)]
    pairs = [lost_and_gained(task["quadrants"][side]) for task in present]
    return (
        sum(lost for lost, _ in pairs),
        sum(gained for _, gained in pairs),
        sum(t[side]["n"] for t in present),
    )


def headline(report: Mapping[str, Any]) -> str:
    """Return the sentence that opens a report: what broke, what was gained, and the net of both."""
    tasks, new, candidate = report["tasks"], report["new"], report["candidate"]
    lost, gained, total = _balance(tasks, "old_vs_new")
    kinds = {task["kind"] for task in tasks.values()}
    words = ("gained", "broken") if kinds == {"binary"} else ("better", "worse")
    opening = _OPENING[report["verdict"]]
    unit = counted_unit(task["old_vs_new"] for task in tasks.values())

    def story(lost: int, gained: int, total: int) -> str:
        share = f" ({percent(lost / total)})" if total else ""
        return f"+{gained:,} {words[0]} / -{lost:,} {words[1]}{share} / net {gained - lost:+,d} of {total:,} {unit}"

    if candidate is None:
        return f"{opening}: {new} against {report['old']}: {story(lost, gained, total)}."
    after = story(*_balance(tasks, "old_vs_candidate"))
    return f"{opening}: {candidate} against {report['old']}: {after}; the plain update {new}: {story(lost, gained, total)}."
