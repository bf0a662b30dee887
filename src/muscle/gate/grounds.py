"""What a gate's findings say to whoever decides: how sure they are, and how many items more would tell."""

from __future__ import annotations

from collections.abc import Sequence

from muscle.flips.measuring.side_numbers import SideNumbers
from muscle.flips.result.deciding.decide import Grounds
from muscle.flips.result.deciding.judgement import About, Judgement, more_than, more_to_separate
from muscle.flips.result.finding import Finding, Word
from muscle.flips.result.report import Report
from muscle.flips.statistics.intervals import Estimate
from muscle.flips.statistics.power import items_to_tell
from muscle.foreign_text import listing
from muscle.report.metric_names import RULES

NAMES_NO_TASK = "the policy names this task, and no such task was compared"
NAMES_NO_SLICE = "the policy names this slice, and no item is in it"
TOO_SMALL = "no slice has the items that it takes"
OF_THE_POLICY = (NAMES_NO_TASK, NAMES_NO_SLICE, TOO_SMALL)
"""What a coverage finding's reason begins with where the policy does not fit what was compared."""

NO_RULES = "the policy has no rule for what was compared"
NO_RULE = "no rule of the policy judges this task"

_RATES = ("negative_flip_rate", "inconsistency_rate")
_WORDS: dict[str, Word] = {"block": "block", "warn": "warn", "cannot_tell": "cannot_tell"}


def grounds_of_findings(
    findings: Sequence[Finding],
    report: Report,
    missing: str,
    *,
    alpha: float,
    min_items: int,
    better: Sequence[Judgement] = (),
) -> Grounds:
    """Return what a recommendation by a policy rests on.

    Args:
        findings: what became of its rules, the worst first.
        report: of the comparison.
        missing: what is missing of the runs, in words; empty where nothing is.
        alpha: level of each one-sided bound.
        min_items: items that a task needs before a rule can be proven.
        better: how a candidate stands to the plain update where it is proven to be the better one.
    """
    told = [
        _judgement(each, _numbers_behind(each, report), missing, alpha, min_items)
        for each in findings
        if each.verdict in _WORDS
    ]
    rules = [each for each in findings if each.test != "presence"]
    can_stop = any(each.tier == "block" for each in rules)
    if not told and not rules:
        told = [Judgement(None, "policy", "cannot_tell", NO_RULES, NO_RULES)]
    elif not told:
        holds = f"every blocking rule of the policy is proven to hold, each {1 - alpha:.0%} sure"
        holds = holds if can_stop else "the policy has no rule that could stop an update"
        without = [each.task for each in findings if each.reason == NO_RULE and each.task]
        holds += f"; none judges {listing(without, 3)}" if without else ""
        told = [Judgement(None, "rule", "pass", holds, holds)]
    return Grounds([*told, *better], better_than_plain=bool(better), gains=False, by_policy=True, can_stop=can_stop)


def _numbers_behind(finding: Finding, report: Report) -> SideNumbers | None:
    task = None if finding.task is None else report.tasks.get(finding.task)
    return None if task is None else task.numbers(report.judged_side)


def _judgement(finding: Finding, numbers: SideNumbers | None, missing: str, alpha: float, min_items: int) -> Judgement:
    word, about = _WORDS[finding.verdict], _about(finding, missing)
    if word != "cannot_tell":
        return Judgement(finding.task, about, word, finding.reason, finding.reason)
    if about == "policy":
        return Judgement(finding.task, about, word, finding.reason, finding.reason)
    if about == "missing":
        lack = finding.reason if finding.metric == "coverage" else missing
        return Judgement(finding.task, about, word, finding.reason, lack, question="it broke")
    more = _more_items(finding, numbers, alpha, min_items)
    question = f"the rule on {RULES[finding.metric].name} holds"
    return Judgement(finding.task, about, word, finding.reason, finding.reason, more, question)


def _about(finding: Finding, missing: str) -> About:
    if finding.metric == "coverage" and finding.reason.startswith(OF_THE_POLICY):
        return "policy"
    if finding.metric == "coverage" or (missing and finding.reason.startswith(missing)):
        return "missing"
    return "plain" if finding.metric in ("flips_above_plain", "accuracy_below_plain", "against_plain") else "rule"


def _more_items(finding: Finding, numbers: SideNumbers | None, alpha: float, min_items: int) -> int | None:
    """Return how many further items would tell whether a rule holds; None where none would, or they do not lack."""
    few = max(0, min_items - finding.n)
    if finding.limit is None or finding.test == "point":
        return few or None
    found, grouped = Estimate(finding.value, finding.low, finding.high), numbers and numbers.clustered_p is not None
    if finding.metric in _RATES and finding.value is not None and 0 < finding.limit < 1 and not grouped:
        more = more_than(items_to_tell(finding.value, finding.limit, alpha=alpha), finding.n)
    else:
        # A finding counts answers, of which an item may have several.
        share = numbers.num_items / numbers.n if numbers and numbers.n else 1.0
        num_items = max(1, round(share * finding.n))
        more = more_to_separate(found, finding.limit, num_items, confidence=1 - 2 * alpha)
    return None if more is None else max(few, more)
