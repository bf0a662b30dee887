"""What a gate's findings say to whoever decides: how sure they are, and how many items more would tell."""

from __future__ import annotations

from collections.abc import Sequence

from muscle.flips.result.deciding.decide import Grounds
from muscle.flips.result.deciding.judgement import About, Judgement, more_than, more_to_separate
from muscle.flips.result.finding import Finding, Word
from muscle.flips.statistics.intervals import Estimate
from muscle.flips.statistics.power import items_to_tell
from muscle.report.metric_names import RULES

_RATES = ("negative_flip_rate", "inconsistency_rate")
_WORDS: dict[str, Word] = {"block": "block", "warn": "warn", "cannot_tell": "cannot_tell"}


def grounds_of_findings(findings: Sequence[Finding], missing: str, *, alpha: float, min_items: int) -> Grounds:
    """Return what a recommendation by a policy rests on.

    Args:
        findings: what became of its rules, the worst first.
        missing: what is missing of the runs, in words; empty where nothing is.
        alpha: level of each one-sided bound.
        min_items: items that a task needs before a rule can be proven.
    """
    told = [_judgement(each, missing, alpha, min_items) for each in findings if each.verdict in _WORDS]
    if findings and not told:
        holds = f"every blocking rule of the policy is proven to hold, each {1 - alpha:.0%} sure"
        told = [Judgement(None, "rule", "pass", holds, holds)]
    return Grounds(told, better_than_plain=False, gains=False, by_policy=True)


def _judgement(finding: Finding, missing: str, alpha: float, min_items: int) -> Judgement:
    word, about = _WORDS[finding.verdict], _about(finding, missing)
    if word != "cannot_tell":
        return Judgement(finding.task, about, word, finding.reason, finding.reason)
    if about == "missing":
        return Judgement(finding.task, about, word, finding.reason, missing or finding.reason, question="it broke")
    more = _more_items(finding, alpha, min_items)
    question = f"the rule on {RULES[finding.metric].name} holds"
    return Judgement(finding.task, about, word, finding.reason, finding.reason, more, question)


def _about(finding: Finding, missing: str) -> About:
    if finding.metric == "coverage" or (missing and finding.reason.startswith(missing)):
        return "missing"
    return "plain" if finding.metric in ("flips_above_plain", "accuracy_below_plain", "against_plain") else "rule"


def _more_items(finding: Finding, alpha: float, min_items: int) -> int | None:
    """Return how many further items would tell whether a rule holds; None where none would, or they do not lack."""
    few = more_than(min_items, finding.n) if finding.n < min_items else 0
    if finding.limit is None or finding.test == "point":
        return few or None
    found = Estimate(finding.value, finding.low, finding.high)
    if finding.metric in _RATES and finding.value is not None and 0 < finding.limit < 1:
        more = more_than(items_to_tell(finding.value, finding.limit, alpha=alpha), finding.n)
    else:
        more = more_to_separate(found, finding.limit, finding.n, confidence=1 - 2 * alpha)
    return None if more is None else max(few, more)
