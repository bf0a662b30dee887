"""What the page says of the gate's rules, and of what differs between the runs beside the model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from muscle.outgoing import visible
from muscle.report.metric_names import RULES
from muscle.report.numbers import Form, format_number
from muscle.report.page.data_elements import ABSENT, figure, integer, pointer
from muscle.report.page.figures import Report

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
    data = report.get("gate")
    if not data:
        return None
    rules = [_rule(finding, position) for position, finding in enumerate(data["findings"])]
    counts = {key: sum(f["outcome"] == key for f in data["findings"]) for key in _OUTCOMES}
    told = [f"{counts[key]} {word}" for key, (_, word, _) in _OUTCOMES.items() if counts[key]]
    strict = ", strict: a warning fails" if data.get("strict") else ""
    return Gate(
        tuple(rules[:SHOWN_RULES]),
        tuple(rules[SHOWN_RULES:]),
        f"{len(rules)} rules: {', '.join(told)}{strict}. Exit code {data['exit_code']}.",
        json.dumps(data.get("policy"), ensure_ascii=False, indent=2),
    )


def _rule(finding: Mapping[str, Any], position: int) -> Rule:
    named = RULES.get(finding["metric"])
    what, form = (named.title, "rate") if named else (visible(finding["metric"]), "score")
    sign, word, tone = _OUTCOMES.get(finding["outcome"], ("·", visible(finding["outcome"]), "wrong"))
    path = pointer("gate", "findings", position)
    value = ABSENT
    if finding.get("unit") == "score":
        form = "score"
    if finding["value"] is not None:
        value = figure(finding["value"], format_number(finding["value"], form), f"{path}/value")
        value += _bounds(finding, form, path)
    if finding["n"]:
        value += Markup(' <span class="interval">of {}</span>').format(integer(finding["n"], f"{path}/n"))
    where = ", ".join(visible(part) for part in (finding["task"], finding["slice"]) if part)
    return Rule(
        where or "all tasks", what, sign, word, tone, visible(finding["tier"]),
        _figure(finding["limit"], form, f"{path}/limit"),
        value,
        _figure(finding["p"], "probability", f"{path}/p"),
        finding["reason"],
    )  # fmt: skip


def _bounds(finding: Mapping[str, Any], form: Form, path: str) -> Markup:
    """Write the one-sided bounds that are known."""
    low, high = (_figure(finding[end], form, f"{path}/{end}") for end in ("low", "high"))
    if finding["low"] is not None and finding["high"] is not None:
        return Markup(' <span class="interval">{} to {}</span>').format(low, high)
    if finding["low"] is not None:
        return Markup(' <span class="interval">at least {}</span>').format(low)
    if finding["high"] is not None:
        return Markup(' <span class="interval">at most {}</span>').format(high)
    return Markup()


def _figure(value: float | None, form: Form, path: str) -> Markup:
    return ABSENT if value is None else figure(value, format_number(value, form), path)


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
    for pair, entries in (report.get("comparability") or {}).items():
        for entry in entries or []:
            key = (str(entry["message"]), bool(entry.get("allowed")))
            found.setdefault(key, []).append(_PAIRS.get(pair, visible(pair)))
    return [(", ".join(pairs), message, allowed) for (message, allowed), pairs in found.items()]
