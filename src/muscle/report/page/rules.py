"""What the page says of the gate's rules, and of what differs between the runs beside the model."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass

from markupsafe import Markup

from muscle.flips.result.finding import Finding
from muscle.flips.result.report import Report
from muscle.foreign_text import visible
from muscle.report.metric_names import RULES
from muscle.report.numbers import Form
from muscle.report.page.data_elements import integer, lone_number, pointer

SHOWN_RULES = 24
"""Rules that stand open, the worst first; the rest is folded away."""

_OUTCOMES = {
    "holds": ("✓", "holds", "gain"),
    "broken": ("✗", "broken", "loss"),
    "undecided": ("?", "undecided", "wrong"),
}


@dataclass(frozen=True)
class Rule:
    """What became of a rule of the policy, written out."""

    where: str
    what: str
    sign: str
    outcome: str
    tone: str
    tier: str
    limit: Markup
    value: Markup
    p_value: Markup
    reason: str


@dataclass(frozen=True)
class Gate:
    """The policy's rules, and the policy itself as text."""

    shown: tuple[Rule, ...]
    more: tuple[Rule, ...]
    summary: str
    policy: str


def gate(report: Report) -> Gate | None:
    """Return the rules of the gate; None where the report is a plain comparison."""
    section = report.gate
    if section is None:
        return None
    rules = [_written_rule(finding, position) for position, finding in enumerate(section.findings)]
    counts = Counter[str](finding.outcome for finding in section.findings)
    told = [f"{counts[key]} {word}" for key, (_, word, _) in _OUTCOMES.items() if counts[key]]
    strict = ", strict: a warning fails" if section.strict else ""
    return Gate(
        tuple(rules[:SHOWN_RULES]),
        tuple(rules[SHOWN_RULES:]),
        f"{len(rules)} rules: {', '.join(told)}{strict}. Exit code {section.exit_code}.",
        json.dumps(section.policy, ensure_ascii=False, indent=2),
    )


def _written_rule(finding: Finding, position: int) -> Rule:
    named = RULES.get(finding.metric)
    form: Form = "rate" if named and finding.unit != "score" else "score"
    sign, word, tone = _OUTCOMES[finding.outcome]
    path = pointer("gate", "findings", position)
    value = lone_number(finding.value, f"{path}/value", form)
    if finding.value is not None:
        value += _bounds(finding, form, path)
    if finding.n:
        value += Markup(' <span class="interval">of {}</span>').format(integer(finding.n, f"{path}/n"))
    where = ", ".join(visible(part) for part in (finding.task, finding.slice) if part)
    return Rule(
        where or "all tasks",
        named.title if named else visible(finding.metric),
        sign,
        word,
        tone,
        finding.tier,
        lone_number(finding.limit, f"{path}/limit", form),
        value,
        lone_number(finding.p, f"{path}/p", "probability"),
        finding.reason,
    )


def _bounds(finding: Finding, form: Form, path: str) -> Markup:
    """Write the one-sided bounds that are known."""
    low = lone_number(finding.low, f"{path}/low", form)
    high = lone_number(finding.high, f"{path}/high", form)
    if finding.low is not None and finding.high is not None:
        return Markup(' <span class="interval">{} to {}</span>').format(low, high)
    if finding.low is not None:
        return Markup(' <span class="interval">at least {}</span>').format(low)
    if finding.high is not None:
        return Markup(' <span class="interval">at most {}</span>').format(high)
    return Markup()


_PAIRS = {
    "old_vs_new": "old against new",
    "old_vs_candidate": "old against candidate",
    "old_vs_rerun": "old against its rerun",
}


def differences(report: Report) -> list[tuple[str, str, bool]]:
    """Return what differs between the runs beside the model: whose, what, and whether it had to be allowed.

    A difference that several pairs of runs share is told once.
    """
    found: dict[tuple[str, bool], list[str]] = {}
    for pair, differing in report.comparability.items():
        for each in differing:
            found.setdefault((each.message, each.allowed), []).append(_PAIRS.get(pair, visible(pair)))
    return [(", ".join(pairs), message, allowed) for (message, allowed), pairs in found.items()]
