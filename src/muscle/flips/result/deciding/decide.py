"""The recommendation: ship, look first, don't ship, or can't tell; for somebody who reads one sentence.

It goes by the verdict, so that it never says more than that one proves:

- pass: ship; where a policy judged that could not have stopped the update, look first.
- warn: a candidate that breaks fewer answers than the plain update beyond chance, and provably keeps its accuracy, is
  the version to ship, although it still breaks more than is let pass. An update whose accuracy provably rises is one
  to look at first. Else: don't ship yet. Where a policy judged, it let the update pass with a warning: look first.
- block: don't ship.
- cannot_tell: can't tell, with the number of items that would.

What is missing betters none of it: whatever a warning is turned to must hold with the missing answers at their worst.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from muscle.flips.measuring.side_numbers import counted_unit
from muscle.flips.measuring.standing import Standing
from muscle.flips.result.deciding.beside import JudgedTask
from muscle.flips.result.deciding.decision import Advice, Decision
from muscle.flips.result.deciding.judgement import Judgement, rounded_up
from muscle.flips.result.deciding.no_worse import no_worse
from muscle.flips.result.deciding.story import story_of
from muscle.flips.result.deciding.ways import ways_out
from muscle.flips.result.headline import balance
from muscle.flips.result.report import Report
from muscle.flips.wording import percent_of_limit
from muscle.foreign_text import listing, middle_cut

MAX_NAMED = 3
"""Tasks that a sentence names."""

MAX_LACK = 140
"""Characters of what is missing, in the first sentence; `sure` has all of it."""


@dataclass(frozen=True)
class Grounds:
    """What a recommendation rests on beside the report.

    Attributes:
        judgements: what the verdict was made from, worst first.
        better_than_plain: whether a candidate is proven to be the better of the two updates, whatever is missing.
        gains: whether accuracy, or the mean score, is proven to rise, whatever is missing.
        by_policy: whether a policy judged.
        can_stop: whether anything that was judged could have stopped the update; a pass says something only then.
    """

    judgements: Sequence[Judgement]
    better_than_plain: bool
    gains: bool
    by_policy: bool = False
    can_stop: bool = True


def better_than_plain(standings: Mapping[str, Standing], tasks: Mapping[str, JudgedTask]) -> bool:
    """Whether a candidate makes fewer flips than the plain update and keeps its accuracy, on every task or as good.

    Args:
        standings: how it stands to the plain update, by task, the missing answers at their worst.
        tasks: all tasks that are judged.
    """
    if not standings or set(standings) != set(tasks):
        return False
    flips = {each.flips for each in standings.values()}
    kept = all(each.accuracy == "kept" for each in standings.values())
    return kept and "fewer" in flips and "more" not in flips


def gains(tasks: Mapping[str, JudgedTask]) -> bool:
    """Whether accuracy is proven to rise on a task, and is not seen to fall on another.

    Args:
        tasks: all tasks that are judged, the missing answers at their worst.
    """
    changes = [task.numbers.accuracy_difference for task in tasks.values()]
    known = all(change.value is not None and change.low is not None for change in changes)
    return (
        known
        and all((change.value or 0.0) >= 0 for change in changes)
        and any((change.low or 0.0) > 0 for change in changes)
    )


def decide(report: Report, grounds: Grounds) -> Decision:
    """Return the recommendation on the version that a report judges.

    Args:
        report: of a comparison or of a gate, with its verdict.
        grounds: what that was made from.
    """
    advice = _advice_by(report, grounds)
    worst = [each for each in grounds.judgements if each.word == report.verdict]
    more = _most_items(worst) if advice == "cannot_tell" else None
    told = _of_tasks_that_block(report, worst) if advice == "dont_ship" else None
    subject = what_is_judged(report) if advice == "cannot_tell" else "it"
    return Decision(
        advice=advice,
        sentence=f"{_opening(report, advice, worst, more)}: {story_of(report, told, subject=subject)}.",
        sure=_as_sentence(_sure(report, grounds, advice, worst)),
        next=_what_next(report, advice, worst, more, better=grounds.better_than_plain) + _no_worse(report),
        more_items=None if more is None else more.more_items,
        ways=ways_out(report, None if more is None else more.more_items),
        ways_over=_over(report),
    )


def _advice_by(report: Report, grounds: Grounds) -> Advice:
    if report.verdict == "pass":
        return "ship" if grounds.can_stop else "look_first"
    if report.verdict == "block":
        return "dont_ship"
    if report.verdict == "cannot_tell":
        return "cannot_tell"
    if report.candidate is not None and grounds.better_than_plain:
        return "ship"
    if grounds.by_policy:
        return "look_first"
    if report.candidate is not None:
        return "dont_ship"
    return "look_first" if grounds.gains else "dont_ship"


def what_is_judged(report: Report) -> str:
    """Return what the judged version is called in a sentence."""
    return "the update" if report.candidate is None else "the candidate"


def _most_items(worst: Sequence[Judgement]) -> Judgement | None:
    """Return the question that takes the most further items; None where one is not answered by items at all."""
    if not worst or any(each.more_items is None for each in worst):
        return None
    return max(worst, key=lambda each: each.more_items or 0)


def _opening(report: Report, advice: Advice, worst: Sequence[Judgement], more: Judgement | None) -> str:
    what = what_is_judged(report)
    if advice == "ship":
        return f"Ship {what}"
    if advice == "look_first":
        return f"Look before you ship {what}"
    if advice == "dont_ship":
        return f"Don't ship {what}" + ("" if report.verdict == "block" else " yet")
    if more is not None:
        return f"Can't tell yet, {_items_words(report, more)} would"
    lack = next((each for each in worst if each.about in ("missing", "policy")), None)
    return f"Can't tell, {middle_cut(lack.sure, MAX_LACK)}" if lack is not None and lack.sure else "Can't tell"


def _items_words(report: Report, more: Judgement) -> str:
    """Write about how many further items a question takes."""
    number = rounded_up(more.more_items or 0)
    of = f" of {middle_cut(more.task, 40)}" if len(report.tasks) > 1 and more.task else ""
    return f"about {number:,} more item{'s' if number != 1 else ''}{of}"


def _of_tasks_that_block(report: Report, worst: Sequence[Judgement]) -> list[str] | None:
    """Return the tasks that stand behind a block where there are others too; None for all."""
    named = list(dict.fromkeys(each.task for each in worst if each.task in report.tasks))
    found = [name for name in named if name is not None]
    return found if 0 < len(found) < len(report.tasks) else None


def _sure(report: Report, grounds: Grounds, advice: Advice, worst: Sequence[Judgement]) -> list[str]:
    """Say how sure the recommendation is: what the verdict rests on, and of a candidate how it stands to the others."""
    if advice == "ship" and report.verdict == "warn":
        beside = [each for each in grounds.judgements if each.about in ("plain", "floor")]
        return [*_named(report, beside), *(f"but {told}" for told in _named(report, worst[:1]))]
    if advice == "ship" and not grounds.by_policy and report.candidate is None and len(report.tasks) > 1:
        limit = percent_of_limit(report.settings.tolerance)
        return [f"95% sure on each of the {len(report.tasks)} tasks that no more is lost than is let pass ({limit})"]
    if advice == "ship" and report.candidate is not None:
        worst = sorted(worst, key=lambda each: each.about != "plain")
    return _named(report, worst[: 3 if report.candidate is not None else 1])


def _named(report: Report, judgements: Sequence[Judgement]) -> list[str]:
    """Return how sure each is, with the task's name where there are several."""
    told = []
    for each in judgements:
        if each.sure:
            of = f"on {middle_cut(each.task, 40)}: " if each.task and len(report.tasks) > 1 else ""
            told.append(f"{of}{each.sure}")
    return list(dict.fromkeys(told))


def _as_sentence(parts: Sequence[str]) -> str:
    """Put parts together as a sentence."""
    told = "; ".join(part.rstrip(".") for part in parts)
    return f"{told[0].upper()}{told[1:]}." if told else ""


def _what_next(
    report: Report, advice: Advice, worst: Sequence[Judgement], more: Judgement | None, *, better: bool
) -> str:
    lost = balance(report.tasks, report.judged_side).lost
    if advice == "ship":
        return f"Read what broke before you do: {lost:,} in the list." if lost else "Nothing broke that was looked at."
    if advice == "look_first":
        return f"Read what broke, {lost:,} in the list; ship it if your users can live with that.{_rerun(report)}"
    if advice == "cannot_tell":
        of_two = " Of the two updates the candidate is the better one." if better else ""
        return f"{_what_would_tell(report, worst, more)}{of_two}{_rerun(report)}"
    if any(each.about == "plain" for each in worst):
        return "Keep the old model, or ship the plain update: of the two updates it is the better one."
    keep = "Keep the old model and read what broke." if lost else "Keep the old model."
    if report.candidate is not None:
        return f"{keep} Train the candidate with another method or more data (muscle sweep).{_rerun(report)}"
    mend = "A compatibility adapter (muscle update) or both models (muscle route) keep more of what was right."
    return f"{keep} {mend}{_rerun(report)}"


def _no_worse(report: Report) -> str:
    """Name what does no worse than the candidate: without it nobody would know what the method is for."""
    told = no_worse(report)
    return "" if told is None else f" {told}."


def _rerun(report: Report) -> str:
    """Advise a second run of the old version where its own noise is not known and the verdict is no block."""
    if report.verdict == "block" or report.noise.source != "unknown":
        return ""
    return " A second run of the old model (--rerun) tells how much of this is its own noise."


def _what_would_tell(report: Report, worst: Sequence[Judgement], more: Judgement | None) -> str:
    if any(each.about == "missing" for each in worst):
        return "Get the missing answers, or files that are whole, and compare again: until then they count as broken."
    if any(each.about == "judge" for each in worst):
        return "Have people label more answers (--human-labels): the judge model's errors leave it open."
    if more is not None:
        return f"Ask both models {_items_words(report, more)} like these, label them, and compare again."
    if any(each.about == "policy" for each in worst):
        return "Mend the policy: its rules must fit the tasks and slices that are compared. The default one fits any."
    questions = list(dict.fromkeys(each.question for each in worst if each.question))
    asked = f" whether {listing(questions, MAX_NAMED)}" if questions else ""
    return f"No test set of a usual size would tell{asked}: read what broke and decide by that."


def _over(report: Report) -> str:
    """Say what the figures of the ways are shares of: tasks of right and wrong where there are some, else all."""
    chosen = [task for task in report.tasks.values() if task.kind == "binary"] or list(report.tasks.values())
    numbers = [task.old_vs_new for task in chosen if task.old_vs_new is not None]
    unit = counted_unit(numbers).replace("items", "answers")
    mixed = len({task.kind for task in report.tasks.values()}) > 1
    scored = " that are right or wrong" if mixed else "" if chosen and chosen[0].kind == "binary" else " with a score"
    tasks = "" if len(chosen) < 2 else f" over {len(chosen)} tasks"
    return f"{sum(each.n for each in numbers):,} {unit}{scored}{tasks}"
