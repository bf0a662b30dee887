"""The verdict on an update without a policy: what breaks against the old version, task by task, the worst word of all.

How a candidate stands to the plain update is in `muscle.flips.result.deciding.beside`, and what to do in
`muscle.flips.result.deciding.decide`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from muscle.flips.measuring.counting import Counts
from muscle.flips.measuring.side_numbers import SideNumbers, counted_unit
from muscle.flips.measuring.standing import ALPHA
from muscle.flips.options import TOLERANCE
from muscle.flips.result.deciding.beside import (
    JudgedTask,
    against_floor,
    against_plain,
    floor_judgement,
    plain_judgement,
)
from muscle.flips.result.deciding.judgement import ONE_SIDED, Judgement, chance, more_than, more_to_separate
from muscle.flips.result.finding import Word
from muscle.flips.result.judge_verdict import heed_judge
from muscle.flips.statistics.intervals import Estimate
from muscle.flips.statistics.multiplicity import holm
from muscle.flips.statistics.power import items_to_prove, items_to_tell
from muscle.flips.wording import p_value, percent, percent_of_limit, true_to_limit

FEW = 5
"""With fewer items that moved an interval over items knows too little of the others."""

_WORST_FIRST: tuple[Word, ...] = ("block", "warn", "cannot_tell", "pass")

_NOTHING = "anything changed"


@dataclass(frozen=True)
class Verdict:
    """What the comparison says.

    Attributes:
        word: the worst of the tasks' verdicts.
        judgements: what it was made from, worst first.
    """

    word: Word
    judgements: tuple[Judgement, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """One sentence for each task, worst first."""
        return tuple(each.reason for each in self.judgements)


def _items_without_flip(rate: float) -> str:
    needed = items_to_prove(rate, confidence=1 - ALPHA)
    return "infinitely many" if needed is None else f"{needed:,}"


def _binary_task(name: str, numbers: SideNumbers, counts: Counts, harm_p: float, tolerance: float) -> Judgement:
    total, rate = numbers.n, numbers.negative_flip_rate.value
    low, high = numbers.negative_flip_rate_lower_bound, numbers.negative_flip_rate_upper_bound
    if rate is None or low is None or high is None:
        reason = f"{name}: no item is scored in both versions"
        return Judgement(name, "old", "cannot_tell", reason, "nothing was scored in both versions", question=_NOTHING)
    flips = f"+{counts.gained:,} / -{counts.lost:,} of {total:,} {counted_unit([numbers])}"
    if harm_p < ALPHA:
        grouped = numbers.clustered_harm_p is not None
        test = "one-sided, signs of the groups flipped," if grouped else "one-sided McNemar"
        reason = f"{name}: more broke than was gained ({flips}, {test} {p_value(harm_p)})"
        return Judgement(name, "old", "block", reason, f"chance alone gives so lopsided a result {chance(harm_p)}")
    limit = percent_of_limit(tolerance)
    span = f"{name}: {percent(rate)} negative flips ({flips})"
    excess = numbers.metric("excess_negative_flip_rate")
    if excess.low is not None:
        return _beyond_noise(name, span, excess, numbers.items.n if numbers.items else total, tolerance)
    told_low, told_high = (true_to_limit(percent(bound), bound, tolerance) for bound in (low, high))
    if low > tolerance:
        reason = f"{span}, more than {limit} even at the lower bound {told_low}"
        sure = f"95% sure that more than {limit} of such answers break: at least {told_low}"
        return Judgement(name, "old", "warn", reason, sure)
    if high <= tolerance:
        reason = f"{span}, proven to be at most {told_high} (let pass: {limit})"
        sure = f"95% sure that at most {told_high} of such answers break; {limit} is let pass"
        return Judgement(name, "old", "pass", reason, sure)
    proof = f"{span}, anything from {told_low} to {told_high} fits; at most {limit} is not proven"
    reason = proof + (
        f", which takes {_items_without_flip(tolerance)} items without a flip" if counts.lost == 0 else ""
    )
    sure = f"anything from {told_low} to {told_high} of such answers may break; {limit} is let pass"
    more = _more_to_tell(rate, numbers, Estimate(rate, low, high), tolerance)
    question = f"it breaks at most {limit} of such answers"
    return Judgement(name, "old", "cannot_tell", reason, sure, more, question)


def _more_to_tell(rate: float, numbers: SideNumbers, bounds: Estimate, tolerance: float) -> int | None:
    """Return how many further items tell on which side of the tolerance a flip rate lies.

    Args:
        rate: the rate that was seen.
        numbers: of the task.
        bounds: the rate's one-sided 95 % bounds, which know of groups of items.
        tolerance: in [0, 1].
    """
    if not 0 < tolerance < 1:
        return None
    if numbers.clustered_p is not None:
        return more_to_separate(bounds, tolerance, numbers.num_items, confidence=ONE_SIDED)
    return more_than(items_to_tell(rate, tolerance), numbers.n)


def _beyond_noise(name: str, span: str, excess: Estimate, num_items: int, tolerance: float) -> Judgement:
    """Judge what breaks beyond the flips that the old model makes against itself, where those are known.

    An interval over items that hardly moved is too narrow: no fewer items prove the tolerance than without any flip.
    """
    value, low, high = excess.value, excess.low, excess.high
    assert value is not None and low is not None and high is not None, "an interval has both ends"
    told = [true_to_limit(percent(bound), bound, tolerance) for bound in (low, high)]
    limit, noise = percent_of_limit(tolerance), "beyond the old model's own noise"
    span += f", {percent(value)} {noise}"
    question = f"it breaks at most {limit} {noise}"
    if low > tolerance:
        reason = f"{span}, more than {limit} even at the lower bound {told[0]}"
        sure = f"95% sure that more than {limit} of such answers break {noise}: at least {told[0]}"
        return Judgement(name, "old", "warn", reason, sure)
    proof = f"at most {told[1]} (let pass: {limit})"
    if high <= tolerance:
        needed = items_to_prove(tolerance, confidence=1 - ALPHA)
        if needed is not None and num_items >= needed:
            sure = f"95% sure that at most {told[1]} of such answers break {noise}; {limit} is let pass"
            return Judgement(name, "old", "pass", f"{span}, {proof}", sure)
        few = f"{num_items:,} items are fewer than the {_items_without_flip(tolerance)} that prove"
        reason, sure = f"{span}, {proof}, but {few} it", f"{few} a share of {limit}"
        return Judgement(name, "old", "cannot_tell", reason, sure, more_than(needed, num_items), question)
    reason = f"{span}, anything from {told[0]} to {told[1]} fits; at most {limit} is not proven"
    sure = f"anything from {told[0]} to {told[1]} of such answers may break {noise}; {limit} is let pass"
    more = more_to_separate(excess, tolerance, num_items)
    return Judgement(name, "old", "cannot_tell", reason, sure, more, question)


def _continuous_task(name: str, numbers: SideNumbers, counts: Counts, harm_p: float, tolerance: float) -> Judgement:
    lost, gained = counts.lost, counts.gained
    difference, level = numbers.accuracy_difference, numbers.accuracy_old.value
    flips = f"{gained:,} items better, {lost:,} worse of {numbers.n:,}"
    value, low, high = difference.value, difference.low, difference.high
    if value is None or low is None or high is None or level is None:
        reason = f"{name}: too few items are scored in both versions ({flips})"
        return Judgement(name, "old", "cannot_tell", reason, "too few items are scored in both", question=_NOTHING)
    change = f"mean score {value:+.4g} ({low:+.4g} to {high:+.4g}; {flips})"
    interval = f"the mean score moves by {low:+.4g} to {high:+.4g}"
    if high < 0:
        return Judgement(name, "old", "block", f"{name}: {change}, a loss beyond chance", f"95% sure that {interval}")
    if harm_p < ALPHA:
        reason = f"{name}: {change}, but more items lost than gained ({p_value(harm_p)})"
        return Judgement(name, "old", "warn", reason, f"chance alone makes so many worse {chance(harm_p)}")
    limit = percent_of_limit(tolerance)
    question = f"the mean score falls by at most {limit} of what it was"
    if low >= -tolerance * abs(level):
        needed = items_to_prove(tolerance, confidence=1 - ALPHA)
        if lost + gained < FEW and (needed is None or numbers.n < needed):
            few = f"so few moved that {numbers.n:,} items say nothing of others"
            reason = f"{name}: {change}, but {few}; it takes {_items_without_flip(tolerance)}"
            return Judgement(name, "old", "cannot_tell", reason, few, more_than(needed, numbers.n), question)
        return Judgement(name, "old", "pass", f"{name}: {change}", f"95% sure that {interval}")
    reason = f"{name}: {change}, a loss of more than {limit} of the score cannot be excluded"
    more = more_to_separate(difference, -tolerance * abs(level), numbers.num_items)
    return Judgement(name, "old", "cannot_tell", reason, f"95% sure only that {interval}", more, question)


def careful(seen: Verdict, worst: Verdict, missing: str) -> Verdict:
    """Return the verdict with what is missing taken into account: a pass must hold even if all of it had broken.

    So must a warning: what would be blocked then cannot be told.

    Args:
        seen: the verdict on what was judged.
        worst: the verdict with the missing answers at their worst (`muscle.flips.pairing.missing`).
        missing: what is missing, in words.
    """
    worse = {"pass": ("warn", "cannot_tell", "block"), "warn": ("block",)}
    if worst.word not in worse.get(seen.word, ()):
        return seen
    return cannot_tell_for({f"{missing}; if they had broken: {worst.reasons[0]}": missing}, seen)


def cannot_tell_for(missing: Mapping[str, str], seen: Verdict | None = None) -> Verdict:
    """Return the verdict that nothing can be told for want of what is missing, above what was seen.

    Args:
        missing: sentences of the verdict, each with what is missing in words.
        seen: the verdict on what was judged; None where nothing was.
    """
    lacks = [
        Judgement(None, "missing", "cannot_tell", reason, what, question="what is missing broke")
        for reason, what in missing.items()
    ]
    return Verdict("cannot_tell", (*lacks, *(seen.judgements if seen else ())))


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
    found: list[Judgement] = []
    harms = holm([task.numbers.harm_p for task in tasks.values()])
    for (name, task), harm_p in zip(tasks.items(), harms, strict=True):
        judge_task = _binary_task if task.kind == "binary" else _continuous_task
        found.append(_heeding_judge(judge_task(name, task.numbers, task.counts, harm_p, tolerance), task, tolerance))
    for name, standing in against_plain(tasks, tolerance=tolerance).items():
        found.append(plain_judgement(name, tasks[name], standing, tolerance))
    for name, standing in against_floor(tasks, tolerance=tolerance).items():
        found.append(floor_judgement(name, tasks[name], standing))
    if not found:
        nothing = "no task is scored in both versions"
        return cannot_tell_for({nothing: nothing})
    found.sort(key=lambda each: _WORST_FIRST.index(each.word))
    return Verdict(found[0].word, tuple(found))


def _heeding_judge(found: Judgement, task: JudgedTask, tolerance: float) -> Judgement:
    """Return the judgement once a judge model's errors are allowed for."""
    word, reason = heed_judge(found.word, found.reason, task.judge, tolerance=tolerance)
    if word == found.word:
        return replace(found, reason=reason)
    # Now the judge decides: more items of its word would tell no more than these, more of people's labels would.
    sure = reason.removeprefix(f"{found.reason}; ")
    question = "the judge model is right about that" if word == "cannot_tell" else ""
    return Judgement(found.task, "judge", word, reason, sure, question=question)
