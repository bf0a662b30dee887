"""What a comparison says beyond counts: causes of flips, what changed in the answers, closeness, judges corrected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from muscle.flips.explaining.cause_report import TaskCauses, causes_report
from muscle.flips.explaining.causes import Causes, find_causes
from muscle.flips.explaining.closeness import TaskCloseness, closeness_report
from muscle.flips.explaining.judges import (
    JudgeCorrections,
    corrected_by_errors,
    corrected_by_labels,
    read_labels,
)
from muscle.flips.explaining.what_changed import ChangedFeature, what_changed
from muscle.flips.options import CauseRule, CompareOptions, JudgeErrors
from muscle.flips.pairing.pair import Pair, WithOld


@dataclass(frozen=True)
class Explanation:
    """What is known of a task's flips beyond counts.

    Attributes:
        causes: why answers flipped; None where nothing can be told.
        what_changed: what sets the answers that broke apart, the surest first.
        closeness: how close the likelihoods are; None without likelihoods.
        judge: differences corrected for a judge's errors, by side; None where nothing is known of a judge.
    """

    causes: TaskCauses | None
    what_changed: list[ChangedFeature]
    closeness: TaskCloseness | None
    judge: dict[WithOld, JudgeCorrections] | None


def rules_of(options: CompareOptions) -> Sequence[CauseRule]:
    """Return the user's own rules for causes.

    Raises:
        ConfigError: the rules cannot be used.
    """
    causes = options.causes
    if not isinstance(causes, str | Path):
        return tuple(causes or ())
    from muscle.flips.explaining.cause_rules import (
        read_rules,  # YAML's reader and pydantic: 0.1 s that few need
    )

    return read_rules(Path(causes))


def causes_of(pairs: Mapping[WithOld, Pair], rules: Sequence[CauseRule]) -> dict[str, dict[WithOld, Causes | None]]:
    """Find the causes of all flips against the old version, by task and side.

    Args:
        pairs: old against new, and perhaps against the candidate.
        rules: the user's own.
    """
    return {
        name: {
            side: find_causes(pair.joined, pair.tasks[name], rules)
            for side, pair in pairs.items()
            if name in pair.tasks
        }
        for name in _task_names(pairs)
    }


def _task_names(pairs: Mapping[WithOld, Pair]) -> list[str]:
    """Return the tasks of all sides, those of the plain update first."""
    return list(dict.fromkeys(name for pair in pairs.values() for name in pair.tasks))


def explain(
    pairs: Mapping[WithOld, Pair],
    rerun: Pair | None,
    causes: Mapping[str, Mapping[WithOld, Causes | None]],
    options: CompareOptions,
) -> dict[str, Explanation]:
    """Explain every task's flips.

    Args:
        pairs: old against new, and perhaps against the candidate.
        rerun: old against a second run of the old version; None without one.
        causes: what `causes_of` gave.
        options: the judge's errors, the labels, the seed.

    Raises:
        DataError: the labels cannot be used.
    """
    labels = read_labels(Path(options.human_labels)) if options.human_labels is not None else None
    found = {}
    for name in _task_names(pairs):
        has = {side: pair for side, pair in pairs.items() if name in pair.tasks}
        plain, totals = has.get("old_vs_new"), {side: pair.tasks[name].frame.height for side, pair in has.items()}
        found[name] = Explanation(
            causes=causes_report(causes[name], totals),
            what_changed=what_changed(plain.joined, plain.tasks[name], seed=options.seed) if plain else [],
            closeness=closeness_report(pairs, name, rerun),
            judge=_corrected(pairs, name, labels, options.judge_errors),
        )
    return found


def _corrected(
    pairs: Mapping[WithOld, Pair], name: str, labels: pl.DataFrame | None, errors: JudgeErrors | None
) -> dict[WithOld, JudgeCorrections] | None:
    """Return the differences corrected, by side; None where nothing is known of the judge."""
    found: dict[WithOld, JudgeCorrections] = {}
    for side, pair in pairs.items():
        items = pair.tasks.get(name)
        if items is None:
            continue
        by_labels = None
        # People label old and new; nothing is known of their word on a candidate.
        if labels is not None and side == "old_vs_new":
            by_labels = corrected_by_labels(pair.joined, items, labels)
        by_errors = corrected_by_errors(items, errors) if errors else None
        if by_labels or by_errors:
            found[side] = JudgeCorrections(by_labels, by_errors)
    return found or None
