"""What a gate says, as a report holds it: the policy, what became of each rule, the exit code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Word = Literal["pass", "warn", "block", "cannot_tell"]
"""A verdict."""

EXIT_CODES: dict[Word, int] = {"pass": 0, "warn": 0, "block": 1, "cannot_tell": 2}
"""What a verdict ends a command with."""

VERDICT_WORDS: Mapping[Word, str] = {
    "pass": "Pass",
    "warn": "Warning",
    "block": "Blocked",
    "cannot_tell": "Cannot tell",
}
"""What a verdict is called where it opens a sentence or stands in a badge."""

Tier = Literal["block", "warn", "inform"]
"""What the breach of a rule leads to."""


@dataclass(frozen=True)
class Finding:
    """What became of one rule.

    Attributes:
        task: the task; None where the whole comparison is meant.
        slice: the slice; None for the whole task.
        metric: what is limited, "coverage" where something was not judged at all, or "against_plain" where a candidate
            gives nothing beside the plain update.
        tier: what a breach leads to.
        test: "interval", "point", "significance" (of harm) or "presence" (of what should be there).
        limit: the limit; None for harm.
        n: items that it was judged on.
        value: the estimate.
        low: one-sided lower bound.
        high: one-sided upper bound.
        p: of "the limit is kept", adjusted by Holm over the tests of its tier.
        outcome: whether the rule is kept.
        verdict: what it adds to the gate's verdict; "inform" adds nothing and is told.
        reason: a sentence.
        unit: of value, low and high: "share", or "score" where they are in the score's own unit.
    """

    task: str | None
    slice: str | None
    metric: str
    tier: Tier
    test: str
    limit: float | None
    n: int
    value: float | None
    low: float | None
    high: float | None
    p: float | None
    outcome: Literal["holds", "broken", "undecided"]
    verdict: Literal["pass", "warn", "block", "cannot_tell", "inform"]
    reason: str
    unit: Literal["share", "score"] = "share"

    @property
    def where(self) -> str:
        """The task and slice, as people read it."""
        return ", ".join(part for part in (self.task, self.slice) if part) or "all tasks"


@dataclass(frozen=True)
class GateSection:
    """A gate's part of a report.

    Attributes:
        policy: the policy, as its YAML would write it.
        strict: whether a warning ends in exit code 2.
        verdict: the gate's.
        exit_code: of the command.
        findings: what became of every rule, the worst first.
    """

    policy: Mapping[str, object]
    strict: bool
    verdict: Word
    exit_code: int
    findings: Sequence[Finding]
