"""What a comparison says beyond counts: causes of flips, what changed in the answers, closeness of likelihoods, judges corrected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from muscle.flips.explaining.cause_rules import Rule, read_rules
from muscle.flips.explaining.causes import Causes, causes_report, find_causes
from muscle.flips.explaining.closeness import closeness_report
from muscle.flips.explaining.judges import JudgeErrors, corrected_by_errors, corrected_by_labels, read_labels
from muscle.flips.explaining.what_changed import what_changed
from muscle.flips.options import Options
from muscle.flips.pairing.pair import Pair


@dataclass(frozen=True)
class Asked:
    """What the user gives to explain flips.

    Attributes:
        rules: causes of the user's own.
        labels: people's labels, as `muscle.flips.explaining.judges.read_labels` gives them; None without.
        judge: what is known of the judge's errors; None without.
    """

    rules: Sequence[Rule] = ()
    labels: pl.DataFrame | None = None
    judge: JudgeErrors | None = None


def asked(
    *,
    causes: str | Path | Sequence[Rule] | None,
    human_labels: str | Path | None,
    judge_errors: JudgeErrors | None,
) -> Asked:
    """Read the files that the user names.

    Raises:
        ConfigError: the rules cannot be used.
        DataError: the labels cannot be used.
    """
    rules = read_rules(Path(causes)) if isinstance(causes, str | Path) else tuple(causes or ())
    labels = read_labels(Path(human_labels)) if human_labels is not None else None
    return Asked(rules, labels, judge_errors)


def causes_of(pairs: Mapping[str, Pair], given: Asked) -> dict[str, dict[str, Causes | None]]:
    """Find the causes of all flips against the old version, by task and side."""
    return {
        name: {
            side: find_causes(pair.joined, pair.tasks[name], given.rules)
            for side, pair in pairs.items()
            if side.startswith("old") and name in pair.tasks
        }
        for name in pairs["old_vs_new"].tasks
    }


def explain(
    pairs: Mapping[str, Pair],
    rerun: Pair | None,
    causes: Mapping[str, Mapping[str, Causes | None]],
    given: Asked,
    options: Options,
) -> dict[str, dict[str, Any]]:
    """Return `causes`, `what_changed`, `closeness` and `judge` of every task, for the report."""
    plain = pairs["old_vs_new"]
    found: dict[str, dict[str, Any]] = {}
    for name, items in plain.tasks.items():
        totals = {
            side: pair.tasks[name].frame.height
            for side, pair in pairs.items()
            if side.startswith("old") and name in pair.tasks
        }
        found[name] = {
            "causes": causes_report(causes[name], totals),
            "what_changed": what_changed(plain.joined, items, epsilon=options.epsilon, seed=options.seed),
            "closeness": closeness_report(pairs, name, rerun),
            "judge": _judge(pairs, name, given),
        }
    return found


def _judge(pairs: Mapping[str, Pair], name: str, given: Asked) -> dict[str, Any] | None:
    """Return the differences corrected, by side; None where nothing is known of the judge."""
    found: dict[str, Any] = {}
    for side, pair in pairs.items():
        items = pair.tasks.get(name)
        if items is None or not side.startswith("old"):
            continue
        # People label old and new; nothing is known of their word on a candidate.
        by_labels = given.labels is not None and side == "old_vs_new"
        each = {
            "labels": corrected_by_labels(pair.joined, items, given.labels)
            if by_labels and given.labels is not None
            else None,
            "errors": corrected_by_errors(items, given.judge) if given.judge else None,
        }
        if any(each.values()):
            found[side] = each
    return found or None
