"""From rules and items to findings, and from findings to a verdict.

A blocking breach must be proven with all blocking tests of the gate taken together (Holm), so that an update which
changes nothing is blocked in at most `alpha` of all cases however many tasks and slices are judged. A pass needs
every blocking rule proven at the level `alpha` each, which as a test of them all has that level too (Berger 1982,
intersection-union).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from muscle.flips.measuring.candidate_effect import CandidateEffect
from muscle.flips.measuring.tally import Tally
from muscle.flips.noise.floor import UNKNOWN
from muscle.flips.result.finding import Finding, Tier, Word
from muscle.flips.statistics.multiplicity import holm
from muscle.flips.wording import p_value, percent_in_full, percent_in_three_digits, true_to_limit
from muscle.gate.evidence import Evidence, flips_above, gather
from muscle.gate.policy import AGAINST_PLAIN, METRICS, Metric, Rules
from muscle.report.metric_names import RULES

Outcome = Literal["holds", "broken", "undecided"]

SIGNIFICANCE: tuple[Metric, ...] = ("harm", "flips_above_plain")
"""Rules that ask for no limit, but whether it is more than chance."""


@dataclass(frozen=True)
class Subject:
    """A task, or a slice of one, with the rules that it must keep.

    Attributes:
        task: the task's name.
        slice: which slice, as "topic = law"; None for the whole task.
        tally: its items; None where there are none.
        excess: its flips against those that the old version shows against itself; None where these are not known.
        rules: the limits.
        min_items: items that it takes to prove a rule.
        plain: a candidate's items against the plain update's; None where none is judged, and of slices.
        effect: what the candidate changes against the plain update; None likewise.
    """

    task: str
    slice: str | None
    tally: Tally | None
    excess: Tally | None
    rules: Rules
    min_items: int
    plain: Tally | None = None
    effect: CandidateEffect | None = None

    def tally_of(self, metric: Metric) -> Tally | None:
        """Return the items that a rule is judged on; None where there are none."""
        if metric == "excess_negative_flip_rate":
            return self.excess
        return self.plain if metric in AGAINST_PLAIN else self.tally


def coverage_finding(
    reason: str, *, task: str | None = None, slice: str | None = None, n: int = 0, tier: Tier = "block"
) -> Finding:
    """Return the finding that something which should be judged could not be."""
    verdict: Literal["cannot_tell", "inform"] = "cannot_tell" if tier == "block" else "inform"
    return Finding(
        task,
        slice,
        "coverage",
        tier,
        "presence",
        None,
        n,
        None,
        None,
        None,
        None,
        "undecided",
        verdict,
        reason,
    )


def against_plain_finding(task: str, reason: str, n: int) -> Finding:
    """Return the warning that a candidate is no better than the plain update."""
    return Finding(
        task,
        None,
        "against_plain",
        "warn",
        "point",
        None,
        n,
        None,
        None,
        None,
        None,
        "broken",
        "warn",
        reason,
    )


def careful(seen: Sequence[Finding], worst: Sequence[Finding], missing: str) -> list[Finding]:
    """Return the findings with those made worse that the missing answers could change.

    A blocking rule that holds for what was judged, and would not hold if the missing answers had all broken, is
    undecided; a warning that they would bring is given. What is broken stays so.

    Args:
        seen: findings of what was judged.
        worst: findings with the missing answers at their worst.
        missing: what is missing, in words.
    """
    found = {_rule(finding): finding for finding in seen}
    for finding in worst:
        key = _rule(finding)
        own = found.get(key)
        if finding.metric == "coverage" or finding.outcome == "holds":
            continue
        if own is not None and own.verdict in ("block", "cannot_tell", "warn"):
            continue
        if finding.tier == "warn" and finding.outcome != "broken":
            continue
        found[key] = _doubted(own, finding, missing)
    return list(found.values())


def _rule(finding: Finding) -> tuple[object, ...]:
    """Return what tells a finding from the others."""
    told = finding.reason if finding.metric == "coverage" else None
    return (finding.task, finding.slice, finding.metric, finding.tier, finding.test, finding.limit, told)


def _doubted(own: Finding | None, worst: Finding, missing: str) -> Finding:
    """Return what a rule comes to by the answers that are missing."""
    verdict: Literal["warn", "inform", "cannot_tell"] = "cannot_tell" if worst.tier == "block" else worst.tier
    reason = f"{missing}; if they had broken: {worst.reason}"
    return replace(own or worst, outcome="undecided", verdict=verdict, reason=reason)


def judge(subjects: Sequence[Subject], *, alpha: float) -> list[Finding]:
    """Judge every rule of every subject.

    Args:
        subjects: what is judged.
        alpha: level of each bound, and of all tests of a tier together.

    Returns:
        The findings, the worst first.
    """
    tests = [test for subject in subjects for test in _tests(subject, alpha)]
    adjusted = _held_by_holm(tests)
    found = [_finding(test, p, alpha) for test, p in zip(tests, adjusted, strict=True)]
    return worst_first(found)


_WORST = ("block", "cannot_tell", "warn", "inform", "pass")


def worst_first(findings: Sequence[Finding]) -> list[Finding]:
    """Sort findings by how much they weigh; otherwise they keep their order."""
    return sorted(findings, key=lambda finding: _WORST.index(finding.verdict))


def overall(findings: Sequence[Finding]) -> Word:
    """Return the verdict of all findings: the first of block, cannot_tell, warn, pass that one of them adds.

    What cannot be told weighs more than a warning: it stops a pipeline, and a warning doesn't. Where no rule was judged
    at all nothing can be told.
    """
    verdicts = {finding.verdict for finding in findings}
    if "block" in verdicts:
        return "block"
    if "cannot_tell" in verdicts or all(finding.test == "presence" for finding in findings):
        return "cannot_tell"
    return "warn" if "warn" in verdicts else "pass"


@dataclass(frozen=True)
class _Test:
    """One rule of one subject and what its items prove."""

    subject: Subject
    metric: Metric
    tier: Tier
    test: str
    limit: float | None
    n: int
    evidence: Evidence

    @property
    def group(self) -> tuple[str, str, str | None, str]:
        """What is corrected for as one test: harm and a drop beyond a limit are the same question, nested."""
        nested = "drop" if self.metric in ("harm", "accuracy_drop") else self.metric
        return (self.tier, self.subject.task, self.subject.slice, nested)


def _tests(subject: Subject, alpha: float) -> Iterator[_Test]:
    for metric in METRICS:
        rule = getattr(subject.rules, metric)
        if rule is None or (metric in AGAINST_PLAIN and subject.effect is None):
            continue
        tally = subject.tally_of(metric)
        limit = None if metric in SIGNIFICANCE else rule.limit
        assert limit is not None or metric in SIGNIFICANCE, "a policy's `rules_for` gives every rule its limit"
        if tally is None:
            lacks_noise = metric == "excess_negative_flip_rate" and subject.tally is not None
            why = UNKNOWN if lacks_noise else "no item is scored on both sides"
            evidence = Evidence(None, why=why)
        elif metric == "flips_above_plain" and subject.effect is not None:
            evidence = flips_above(subject.effect)
        else:
            evidence = gather(metric, tally, limit=limit or 0.0, alpha=alpha)
        test = "significance" if metric in SIGNIFICANCE else rule.test
        yield _Test(subject, metric, rule.tier, test, limit, tally.total if tally else 0, evidence)


def _held_by_holm(tests: Sequence[_Test]) -> list[float | None]:
    """Adjust the p-values of each tier by Holm over its groups of tests; a point test has none."""
    found: list[float | None] = [None] * len(tests)
    for tier in ("block", "warn", "inform"):
        least: dict[tuple[str, str, str | None, str], float] = {}
        for test in tests:
            p_value = test.evidence.p_value
            if test.tier == tier and test.test != "point" and p_value is not None:
                least[test.group] = min(p_value, least.get(test.group, 1.0))
        group_p = dict(zip(least, holm(list(least.values())), strict=True))
        ordered = sorted(least.values())
        for number, test in enumerate(tests):
            p_value = test.evidence.p_value
            if test.tier == tier and test.test != "point" and p_value is not None:
                factor = len(ordered) - ordered.index(least[test.group])
                found[number] = max(group_p[test.group], min(1.0, factor * p_value))
    return found


def _outcome(test: _Test, p: float | None, alpha: float) -> Outcome:
    evidence, enough = test.evidence, test.n >= test.subject.min_items
    if test.test == "point":
        if evidence.value is None or not enough:
            return "undecided"
        return "broken" if evidence.value > (test.limit or 0.0) else "holds"
    if p is not None and p < alpha:
        return "broken"
    if not enough or p is None:
        return "undecided"
    if test.test == "significance":
        return "holds"
    return "holds" if evidence.high is not None and evidence.high <= (test.limit or 0.0) else "undecided"


def _finding(test: _Test, p: float | None, alpha: float) -> Finding:
    outcome = _outcome(test, p, alpha)
    verdict: Literal["pass", "warn", "block", "cannot_tell", "inform"] = "pass"
    if outcome == "broken":
        verdict = test.tier
    elif outcome == "undecided":
        verdict = "cannot_tell" if test.tier == "block" else "inform"
    evidence, subject = test.evidence, test.subject
    finding = Finding(
        subject.task,
        subject.slice,
        test.metric,
        test.tier,
        test.test,
        test.limit,
        test.n,
        evidence.value,
        evidence.low,
        evidence.high,
        p,
        outcome,
        verdict,
        "",
    )
    return replace(finding, reason=_reason(finding, test, alpha), unit=evidence.unit)


def _reason(finding: Finding, test: _Test, alpha: float) -> str:
    """Say in a sentence what the items prove."""
    name = RULES[finding.metric].name
    if finding.value is None:
        return f"{name}: {test.evidence.why}"
    few = (
        f"; {finding.n:,} items are fewer than the {test.subject.min_items:,} that it takes"
        if (finding.outcome == "undecided" and finding.n < test.subject.min_items)
        else ""
    )
    if test.metric == "flips_above_plain":
        return _above_plain_reason(finding, test) + few
    if test.test == "significance":
        return _harm_reason(finding, test) + few
    limit = percent_in_full(finding.limit or 0.0)

    def told(value: float) -> str:
        return true_to_limit(percent_in_three_digits(value), value, finding.limit or 0.0)

    if test.test == "point":
        relation = {"broken": "is above", "holds": "is within", "undecided": "against"}[finding.outcome]
        return f"{name} {told(finding.value)} {relation} the limit {limit} (point){few}"
    if finding.low is None or finding.high is None:
        return f"{name} {percent_in_three_digits(finding.value)} against the limit {limit}: {test.evidence.why}"
    sure = percent_in_three_digits(1 - alpha)
    if finding.outcome == "broken":
        seen = percent_in_three_digits(finding.value)
        return f"{name} {seen}, at least {told(finding.low)} ({sure} sure), is above the limit {limit}"
    if finding.outcome == "holds":
        seen = percent_in_three_digits(finding.value)
        return f"{name} {seen}, at most {told(finding.high)} ({sure} sure), is within the limit {limit}"
    span = f"anything from {told(finding.low)} to {told(finding.high)} fits"
    return f"{name} {percent_in_three_digits(finding.value)} against the limit {limit}: {span}{few}"


def _harm_reason(finding: Finding, test: _Test) -> str:
    quadrants = test.subject.tally.quadrants if test.subject.tally else None
    lost, gained = (quadrants.negative_flips, quadrants.positive_flips) if quadrants else (0, 0)
    words = (
        ("broke", "was gained" if gained == 1 else "were gained")
        if test.subject.tally and test.subject.tally.kind == "binary"
        else (
            "got worse",
            "got better",
        )
    )
    story = f"{lost:,} of {finding.n:,} items {words[0]}, {gained:,} {words[1]}"
    told = "" if finding.p is None else f" ({p_value(finding.p)})"
    if test.evidence.unit == "score" and finding.value is not None:
        story = f"the mean score moved by {-finding.value:+.4g}, {story}"
    if finding.outcome == "broken":
        return f"harm beyond chance: {story}{told}"
    return f"no harm beyond chance: {story}{told}"


def _above_plain_reason(finding: Finding, test: _Test) -> str:
    effect = test.subject.effect
    assert effect is not None, "a candidate is judged"
    told = "" if finding.p is None else f" ({p_value(finding.p)})"
    story = (
        f"the candidate breaks {effect.negative_flips_candidate:,} of {effect.n:,} items, the plain update "
        f"{effect.negative_flips_plain:,}{told}"
    )
    return f"more than the plain update, beyond chance: {story}" if finding.outcome == "broken" else story
