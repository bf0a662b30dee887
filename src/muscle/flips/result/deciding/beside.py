"""How a candidate stands beside what could be had in its place: the plain update, and the old recipe trained again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from muscle.flips.explaining.judges import JudgeCorrections
from muscle.flips.measuring.candidate_effect import CandidateEffect
from muscle.flips.measuring.counting import Counts
from muscle.flips.measuring.side_numbers import SideNumbers
from muscle.flips.measuring.standing import Standing, standings
from muscle.flips.pairing.flip_sign import Kind
from muscle.flips.result.deciding.judgement import Judgement, chance, more_to_separate
from muscle.flips.statistics.intervals import Estimate
from muscle.flips.wording import p_value, percent, percent_of_limit


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


def plain_judgement(name: str, task: JudgedTask, standing: Standing, tolerance: float) -> Judgement:
    """Judge what a candidate gives in place of the plain update.

    More flips beyond chance, or a loss of accuracy that is proven to be beyond the tolerance, block: the plain update
    is the better one. A loss that cannot be excluded is not proven to be let pass.

    Args:
        name: the task's name.
        task: with the candidate's effect.
        standing: how it stands to the plain update.
        tolerance: loss that is let pass, a share.
    """
    effect, kind = task.effect, task.kind
    assert effect is not None, "a candidate is judged"
    pair = f"{effect.negative_flips_candidate:,} negative flips, the plain update {effect.negative_flips_plain:,}"
    change = effect.accuracy_change
    of_what = "mean score" if kind == "continuous" else "accuracy"
    level = f"{of_what} {change_words(change, kind)}"
    if standing.flips == "more":
        reason = f"the candidate breaks more than the plain update: {pair} ({p_value(standing.more_flips_p)})"
        sure = f"chance alone makes a candidate break so many more {chance(standing.more_flips_p)}"
        return Judgement(name, "plain", "block", f"{name}: {reason}", sure)
    beyond = f"more than {percent_of_limit(tolerance)}{' of the score' if kind == 'continuous' else ''}"
    against = f"{of_what} against the plain update {change_words(change, kind)}"
    if standing.accuracy == "lost":
        reason = f"the candidate loses {beyond} to the plain update: {level}; {pair}"
        return Judgement(name, "plain", "block", f"{name}: {reason}", f"95% sure: {against}")
    worse = worse_than_plain(kind, effect)
    if worse is not None:
        return Judgement(name, "plain", "warn", f"{name}: {worse}", against)
    if standing.accuracy == "cannot_tell":
        reason = f"a loss of {beyond} to the plain update cannot be excluded: {level}; {pair}"
        limit = _limits({name: task}, tolerance)[name]
        more = more_to_separate(change, -limit, min(effect.n, task.numbers.num_items))
        question = f"it loses {beyond} to the plain update"
        return Judgement(name, "plain", "cannot_tell", f"{name}: {reason}", against, more, question)
    reason = f"against the plain update: {pair} ({p_value(standing.flips_p)}), {level}"
    sure = against
    if standing.flips == "fewer":
        fewer = f"by chance alone it would break so many fewer than the plain update {chance(standing.flips_p)}"
        sure = f"{fewer}; {against}"
    return Judgement(name, "plain", "pass", f"{name}: {reason}", sure)


def floor_judgement(name: str, task: JudgedTask, standing: Standing) -> Judgement:
    """Say how the flips stand to those of the old recipe trained again, which no update has any part in."""
    effect = task.floor
    assert effect is not None, "there is a floor"
    place = {"fewer": "below that floor", "more": "above that floor", "cannot_tell": "not told from that floor"}
    p = standing.more_flips_p if standing.flips == "more" else standing.flips_p
    told = (
        f"the old recipe trained again breaks {effect.negative_flips_plain:,}, this "
        f"{effect.negative_flips_candidate:,}: {place[standing.flips]} ({p_value(p)})"
    )
    sure = f"the old recipe trained again breaks {effect.negative_flips_plain:,}"
    return Judgement(name, "floor", "pass", f"{name}: {told}", sure)


def change_words(change: Estimate, kind: Kind) -> str:
    """Write a change of accuracy in points, or of a score, with its interval."""
    if change.value is None:
        return f"unknown ({change.why})"

    def told(value: float) -> str:
        return f"{value:+.4g}" if kind == "continuous" else f"{100 * value:+.1f}"

    unit = "" if kind == "continuous" else " points"
    if change.low is None or change.high is None:
        return f"{told(change.value)}{unit}"
    return f"{told(change.value)}{unit} ({told(change.low)} to {told(change.high)})"


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
    return standings(known, _limits({name: tasks[name] for name in known}, tolerance))


def _limits(tasks: Mapping[str, JudgedTask], tolerance: float) -> dict[str, float]:
    """Return the loss that is let pass, by task: of accuracy, or of the mean score in its unit."""
    return {
        name: tolerance * abs(task.numbers.accuracy_old.value or 0.0) if task.kind == "continuous" else tolerance
        for name, task in tasks.items()
    }
