"""The verdict on an update without a policy, and the sentence that opens every report.

The sentence never gives the net alone: a gain can hide what broke.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from muscle.flips.explaining.judges import JudgeCorrections
from muscle.flips.measuring.candidate_effect import CandidateEffect
from muscle.flips.measuring.counting import Counts
from muscle.flips.measuring.side_numbers import SideNumbers, counted_unit
from muscle.flips.measuring.standing import ALPHA, Standing, standings
from muscle.flips.options import TOLERANCE
from muscle.flips.pairing.flip_sign import Kind
from muscle.flips.pairing.pair import WithOld
from muscle.flips.result.finding import VERDICT_WORDS, Word
from muscle.flips.result.judge_verdict import heed_judge
from muscle.flips.result.report import TaskResult
from muscle.flips.statistics.intervals import Estimate
from muscle.flips.statistics.multiplicity import holm
from muscle.flips.statistics.power import items_to_prove
from muscle.flips.wording import p_value, percent, percent_in_full, true_to_limit

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


def _limit(value: float) -> str:
    """Write a limit that the user gave, not rounded."""
    rounded, exact = percent(value), percent_in_full(value)
    return rounded if float(rounded[:-1]) == float(exact[:-1]) else exact


def _items_without_flip(rate: float) -> str:
    needed = items_to_prove(rate, confidence=1 - ALPHA)
    return "infinitely many" if needed is None else f"{needed:,}"


def _binary_task(name: str, numbers: SideNumbers, counts: Counts, harm_p: float, tolerance: float) -> tuple[Word, str]:
    total, rate = numbers.n, numbers.negative_flip_rate.value
    low, high = numbers.negative_flip_rate_lower_bound, numbers.negative_flip_rate_upper_bound
    if rate is None or low is None or high is None:
        return "cannot_tell", f"{name}: no item is scored in both versions"
    flips = f"+{counts.gained:,} / -{counts.lost:,} of {total:,} {counted_unit([numbers])}"
    if harm_p < ALPHA:
        grouped = numbers.clustered_harm_p is not None
        test = "one-sided, signs of the groups flipped," if grouped else "one-sided McNemar"
        return "block", f"{name}: more broke than was gained ({flips}, {test} {p_value(harm_p)})"
    limit = _limit(tolerance)
    span = f"{name}: {percent(rate)} negative flips ({flips})"
    excess = numbers.metric("excess_negative_flip_rate")
    if excess.low is not None:
        return _beyond_noise(span, excess, numbers.items.n if numbers.items else total, tolerance)
    told_low, told_high = (true_to_limit(percent(bound), bound, tolerance) for bound in (low, high))
    if low > tolerance:
        return "warn", f"{span}, more than {limit} even at the lower bound {told_low}"
    if high <= tolerance:
        return "pass", f"{span}, proven to be at most {told_high} (let pass: {limit})"
    proof = f"{span}, anything from {told_low} to {told_high} fits; at most {limit} is not proven"
    return "cannot_tell", proof + (
        f", which takes {_items_without_flip(tolerance)} items without a flip" if counts.lost == 0 else ""
    )


def _beyond_noise(span: str, excess: Estimate, num_items: int, tolerance: float) -> tuple[Word, str]:
    """Judge what breaks beyond the flips that the old model makes against itself, where those are known.

    An interval over items that hardly moved is too narrow: no fewer items prove the tolerance than without any flip.
    """
    value, low, high = excess.value, excess.low, excess.high
    assert value is not None and low is not None and high is not None, "an interval has both ends"
    told = [true_to_limit(percent(bound), bound, tolerance) for bound in (low, high)]
    span += f", {percent(value)} beyond the old model's own noise"
    if low > tolerance:
        return "warn", f"{span}, more than {_limit(tolerance)} even at the lower bound {told[0]}"
    proof = f"at most {told[1]} (let pass: {_limit(tolerance)})"
    if high <= tolerance:
        needed = items_to_prove(tolerance, confidence=1 - ALPHA)
        if needed is not None and num_items >= needed:
            return "pass", f"{span}, {proof}"
        few = f"but {num_items:,} items are fewer than the {_items_without_flip(tolerance)} that prove it"
        return "cannot_tell", f"{span}, {proof}, {few}"
    return (
        "cannot_tell",
        f"{span}, anything from {told[0]} to {told[1]} fits; at most {_limit(tolerance)} is not proven",
    )


def _continuous_task(
    name: str, numbers: SideNumbers, counts: Counts, harm_p: float, tolerance: float
) -> tuple[Word, str]:
    lost, gained = counts.lost, counts.gained
    difference, level = numbers.accuracy_difference, numbers.accuracy_old.value
    flips = f"{gained:,} items better, {lost:,} worse of {numbers.n:,}"
    value, low, high = difference.value, difference.low, difference.high
    if value is None or low is None or high is None or level is None:
        return "cannot_tell", f"{name}: too few items are scored in both versions ({flips})"
    change = f"mean score {value:+.4g} ({low:+.4g} to {high:+.4g}; {flips})"
    if high < 0:
        return "block", f"{name}: {change}, a loss beyond chance"
    if harm_p < ALPHA:
        return "warn", f"{name}: {change}, but more items lost than gained ({p_value(harm_p)})"
    if low >= -tolerance * abs(level):
        needed = items_to_prove(tolerance, confidence=1 - ALPHA)
        if lost + gained < FEW and (needed is None or numbers.n < needed):
            it_takes = f"it takes {_items_without_flip(tolerance)}"
            few = f"so few moved that {numbers.n:,} items say nothing of others; {it_takes}"
            return "cannot_tell", f"{name}: {change}, but {few}"
        return "pass", f"{name}: {change}"
    return (
        "cannot_tell",
        f"{name}: {change}, a loss of more than {_limit(tolerance)} of the score cannot be excluded",
    )


def worse_than_plain(kind: Kind, effect: CandidateEffect | None) -> str | None:
    """Say that a candidate breaks more than the plain update and scores less; None where it isn't so.

    Args:
        kind: of the task.
        effect: what the candidate changes against the plain update; None without one.
    """
    if effect is None:
        return None
    flips, level = effect.negative_flip_rate_change.value, effect.accuracy_change.value
    if flips is None or level is None or flips <= 0 or level >= 0:
        return None
    score = f"{-level:.4g} less" if kind == "continuous" else f"{percent(-level)} less accurate"
    return (
        f"the candidate breaks more than the plain update ({percent(flips)} more negative flips, "
        f"{p_value(effect.negative_flips_mcnemar_exact_p)}) and is {score}: it gives nothing beside it"
    )


def _plain_reason(task: JudgedTask, standing: Standing, tolerance: float) -> tuple[Word, str]:
    """Judge what a candidate gives in place of the plain update.

    More flips beyond chance, or a loss of accuracy that is proven to be beyond the tolerance, block: the plain update
    is the better one. A loss that cannot be excluded is not proven to be let pass.
    """
    effect, kind = task.effect, task.kind
    assert effect is not None, "a candidate is judged"
    pair = f"{effect.negative_flips_candidate:,} negative flips, the plain update {effect.negative_flips_plain:,}"
    change = effect.accuracy_change
    of_what = "mean score" if kind == "continuous" else "accuracy"
    level = f"{of_what} {_change_words(change, kind)}"
    if standing.flips == "more":
        return "block", f"the candidate breaks more than the plain update: {pair} ({p_value(standing.more_flips_p)})"
    beyond = f"more than {_limit(tolerance)}{' of the score' if kind == 'continuous' else ''}"
    if standing.accuracy == "lost":
        return "block", f"the candidate loses {beyond} to the plain update: {level}; {pair}"
    worse = worse_than_plain(kind, effect)
    if worse is not None:
        return "warn", worse
    if standing.accuracy == "cannot_tell":
        return "cannot_tell", f"a loss of {beyond} to the plain update cannot be excluded: {level}; {pair}"
    return "pass", f"against the plain update: {pair} ({p_value(standing.flips_p)}), {level}"


def _floor_reason(task: JudgedTask, standing: Standing) -> str:
    """Say how the flips stand to those of the old recipe trained again, which no update has any part in."""
    effect = task.floor
    assert effect is not None, "there is a floor"
    place = {"fewer": "below that floor", "more": "above that floor", "cannot_tell": "not told from that floor"}
    p = standing.more_flips_p if standing.flips == "more" else standing.flips_p
    return (
        f"the old recipe trained again breaks {effect.negative_flips_plain:,}, this "
        f"{effect.negative_flips_candidate:,}: {place[standing.flips]} ({p_value(p)})"
    )


def _change_words(change: Estimate, kind: Kind) -> str:
    """Write a change of accuracy in points, or of a score, with its interval."""
    if change.value is None:
        return f"unknown ({change.why})"

    def told(value: float) -> str:
        return f"{value:+.4g}" if kind == "continuous" else f"{100 * value:+.1f}"

    unit = "" if kind == "continuous" else " points"
    if change.low is None or change.high is None:
        return f"{told(change.value)}{unit}"
    return f"{told(change.value)}{unit} ({told(change.low)} to {told(change.high)})"


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


@dataclass(frozen=True)
class JudgedTask:
    """What a verdict on a task is made from.

    Attributes:
        kind: right and wrong, or a score.
        numbers: of the two versions.
        counts: the items by what became of them.
        effect: what a candidate changes against the plain update, where it is a candidate that is judged.
        floor: what the judged version changes against the old recipe trained again; None where that is not known.
        judge: what corrects a judge's word; None where nothing does.
    """

    kind: Kind
    numbers: SideNumbers
    counts: Counts
    effect: CandidateEffect | None = None
    floor: CandidateEffect | None = None
    judge: JudgeCorrections | None = None


def judge(tasks: Mapping[str, JudgedTask], *, tolerance: float = TOLERANCE) -> Verdict:
    """Judge an update by its tasks.

    - block: on some task more is lost than gained, beyond chance (one-sided exact McNemar over the flips, or the
      sign-flip test over groups where items are grouped, adjusted by Holm over the tasks, p < 0.05); of a continuous
      score, the interval of the mean difference is below 0. A candidate that breaks more than the plain update,
      likewise beyond chance, or provably loses more than the tolerance to its accuracy.
    - warn: not so, but a candidate breaks more than the plain update and scores less (`worse_than_plain`), or
      negative flips are provably above the tolerance (one-sided exact lower bound): the net hides
      them. Where the noise floor is known, those beyond it (by the 95 % interval of the excess). Of a continuous score,
      significantly more items got worse than better.
    - pass: negative flips, or those beyond a known floor, are provably within the tolerance (one-sided exact upper
      bound); of a continuous score, the mean provably did not fall by more than the tolerance times the old mean. A
      candidate provably loses no more than that to the plain update either.
    - cannot_tell: there are too few items to say either.

    Where people's labels or a judge's errors were given, they can make any of it more careful: see `judge_verdict`.

    Args:
        tasks: the tasks that are compared, by name.
        tolerance: negative flip rate that is let pass, in [0, 1].
    """
    found: list[tuple[Word, str]] = []
    harms = holm([task.numbers.harm_p for task in tasks.values()])
    for (name, task), harm_p in zip(tasks.items(), harms, strict=True):
        judge_task = _binary_task if task.kind == "binary" else _continuous_task
        word, reason = judge_task(name, task.numbers, task.counts, harm_p, tolerance)
        found.append(heed_judge(word, reason, task.judge, tolerance=tolerance))
    for name, standing in against_plain(tasks, tolerance=tolerance).items():
        word, reason = _plain_reason(tasks[name], standing, tolerance)
        found.append((word, f"{name}: {reason}"))
    for name, standing in against_floor(tasks, tolerance=tolerance).items():
        found.append(("pass", f"{name}: {_floor_reason(tasks[name], standing)}"))
    if not found:
        return Verdict("cannot_tell", ("no task is scored in both versions",))
    found.sort(key=lambda entry: _WORST_FIRST.index(entry[0]))
    return Verdict(found[0][0], tuple(reason for _, reason in found))


def against_plain(tasks: Mapping[str, JudgedTask], *, tolerance: float) -> dict[str, Standing]:
    """Say how a candidate stands against the plain update, on the tasks that have both."""
    return _stand(tasks, {name: task.effect for name, task in tasks.items()}, tolerance)


def against_floor(tasks: Mapping[str, JudgedTask], *, tolerance: float) -> dict[str, Standing]:
    """Say how the judged version stands against the old recipe trained again, on the tasks where that was scored."""
    return _stand(tasks, {name: task.floor for name, task in tasks.items()}, tolerance)


def _stand(
    tasks: Mapping[str, JudgedTask], effects: Mapping[str, CandidateEffect | None], tolerance: float
) -> dict[str, Standing]:
    known = {name: effect for name, effect in effects.items() if effect is not None}

    def limit(task: JudgedTask) -> float:
        level = task.numbers.accuracy_old.value or 0.0
        return tolerance * abs(level) if task.kind == "continuous" else tolerance

    return standings(known, {name: limit(tasks[name]) for name in known})


@dataclass(frozen=True)
class Balance:
    """What an update broke and gained over all tasks.

    Attributes:
        lost: negative flips, or items that got worse.
        gained: positive flips, or items that got better.
        total: items.
    """

    lost: int
    gained: int
    total: int


def balance(tasks: Mapping[str, TaskResult], side: WithOld) -> Balance:
    """Return what a side broke and gained over the tasks that it has."""
    present = [(task.quadrants[side], task.numbers(side)) for task in tasks.values() if task.numbers(side)]
    return Balance(
        sum(counts.lost for counts, _ in present),
        sum(counts.gained for counts, _ in present),
        sum(numbers.n for _, numbers in present if numbers),
    )


def headline(verdict: Word, tasks: Mapping[str, TaskResult], *, old: str, new: str, candidate: str | None) -> str:
    """Return the sentence that opens a report: what broke, what was gained, and the net of both.

    Args:
        verdict: in a word.
        tasks: the report's.
        old: the old version's name.
        new: the plain update's.
        candidate: the candidate's; None without one.
    """
    kinds = {task.kind for task in tasks.values()}
    words = ("gained", "broken") if kinds == {"binary"} else ("better", "worse")
    unit = counted_unit(task.old_vs_new for task in tasks.values() if task.old_vs_new)

    def story(side: WithOld) -> str:
        found = balance(tasks, side)
        share = f" ({percent(found.lost / found.total)})" if found.total else ""
        return (
            f"+{found.gained:,} {words[0]} / -{found.lost:,} {words[1]}{share} / "
            f"net {found.gained - found.lost:+,d} of {found.total:,} {unit}"
        )

    if candidate is None:
        return f"{VERDICT_WORDS[verdict]}: {new} against {old}: {story('old_vs_new')}."
    return (
        f"{VERDICT_WORDS[verdict]}: {candidate} against {old}: {story('old_vs_candidate')}; "
        f"the plain update {new}: {story('old_vs_new')}."
    )
