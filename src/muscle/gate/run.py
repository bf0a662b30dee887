"""The gate: two runs and a policy in, a verdict and an exit code out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from muscle.errors import DataError
from muscle.flips.compare import compare
from muscle.flips.comparison import Comparison, Shown
from muscle.flips.measuring.tally import Tally, tally, tally_by
from muscle.flips.noise.floor import excess_items, tally_of_repeats
from muscle.flips.noise.repeats import item_repeats
from muscle.flips.pairing.items import TaskItems
from muscle.flips.pairing.match import with_one_task_name
from muscle.flips.pairing.pair import Pair
from muscle.flips.result.verdict import headline, worse_than_plain
from muscle.flips.slices.cuts import MAX_VALUES
from muscle.flips.slices.slice_by import SliceBy, parse_slice, slice_values
from muscle.gate.judge import (
    Finding,
    Subject,
    Verdict,
    against_plain_finding,
    careful,
    coverage_finding,
    judge,
    overall,
    worst_first,
)
from muscle.gate.policy import DEFAULT_POLICY, SLICE_MIN_ITEMS, Policy, SliceRules, load_policy, matches
from muscle.predictions.read import read_run

EXIT_CODES: dict[str, int] = {"pass": 0, "warn": 0, "block": 1, "cannot_tell": 2}
STRICT_WARN = 2
MAX_UNREAD = 3
"""Sources that a finding names; the report's `unread` has all."""


@dataclass(frozen=True)
class GateResult(Shown):
    """What the gate says of an update.

    Attributes:
        verdict: pass, warn, block or cannot_tell.
        exit_code: 0 pass (and warn), 1 block, 2 cannot tell (and warn, if strict).
        findings: what became of every rule, the worst first.
        report: the comparison's result object with the gate's verdict, reasons and `gate` section in it.
    """

    verdict: Verdict
    exit_code: int
    findings: tuple[Finding, ...]
    report: dict[str, Any] = field(repr=False)


def gate(
    old: Any,
    new: Any,
    policy: Policy | Path | str | None = None,
    *,
    candidate: Any = None,
    noise: Any = None,
    strict: bool = False,
    allow: Collection[str] = (),
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
    **options: Any,
) -> GateResult:
    """Judge an update by a policy.

    The candidate is judged where there is one, else the new version.

    Args:
        old: the old version's predictions, or a kept baseline: a path, a table or a `Run`.
        new: the plain update's predictions.
        policy: a policy, or the path of its YAML; None takes the default one.
        candidate: those of the model under test beside the plain update.
        noise: a second run of the old version, for limits on flips beyond noise; without it the old version's repeats
            say how much that is, where it has some.
        strict: whether a warning ends in exit code 2.
        allow: what may differ between the runs beside the model (`muscle.flips.pairing.comparability.ALLOWANCES`).
        format: of all files; None finds it by content.
        columns: our field names to the tables'.
        **options: of `muscle.compare`: on, max_unpaired, epsilon, cluster, lower_is_better, epsilon_item, max_flips, seed.

    Returns:
        The verdict, the exit code, and the report with the gate's section.

    Raises:
        ConfigError: the policy or `allow` is impossible.
        DataError: a run cannot be read, or a slice's column is not there.
        JoinError: the runs do not belong together, or differ in more than the model.
    """
    if not isinstance(policy, Policy):
        policy = DEFAULT_POLICY if policy is None else load_policy(Path(policy))
    sources = {"old": old, "new": new, "candidate": candidate, "noise": noise}
    given = {role: source for role, source in sources.items() if source is not None}
    runs = [read_run(source, format=format, columns=columns, hash_inputs=False) for source in given.values()]
    named = dict(zip(given, with_one_task_name(runs), strict=True))
    comparison = compare(
        named["old"],
        named["new"],
        candidate=named.get("candidate"),
        rerun=named.get("noise"),
        allow=allow,
        **options,
    )
    findings = findings_of(comparison, policy)
    return _result(comparison, policy, findings, strict=strict)


def findings_of(comparison: Comparison, policy: Policy) -> list[Finding]:
    """Judge a comparison that was made already.

    What is missing is judged at its worst (`muscle.flips.pairing.missing`): a rule holds only where it holds whatever the missing answers are.

    Args:
        comparison: what `muscle.compare` gave.
        policy: the policy.

    Returns:
        What became of every rule, the worst first.

    Raises:
        DataError: a slice's column is not there, or has too many values.
    """
    pair = comparison.old_vs_candidate or comparison.old_vs_new
    found = _judged(pair, comparison, policy)
    missing = comparison.missing
    if missing:
        found = careful(found, _judged(pair.worst, comparison, policy), missing)
    return worst_first([*found, *_uncovered(pair, comparison, policy), *_against_plain(comparison)])


def _judged(pair: Pair, comparison: Comparison, policy: Policy) -> list[Finding]:
    """Judge every rule of the policy by a pair's items."""
    noise, settings = comparison.old_vs_rerun, comparison.report["settings"]
    epsilon, grouped = float(settings["epsilon"]), settings["cluster"] is not None
    subjects = []
    for name, items in pair.tasks.items():
        everything = pl.repeat("all", items.frame.height, dtype=pl.String, eager=True)
        excess = _excess_by(None, pair, noise, name, everything, epsilon=epsilon, grouped=grouped)
        rules = policy.rules_for(name, items.kind)
        subjects.append(
            Subject(
                name,
                None,
                tally(items, epsilon=epsilon),
                excess.get("all"),
                rules,
                rules.min_items or policy.min_items,
            )
        )
    found = []
    for rules in policy.slices:
        part, told = _slice_subjects(rules, pair, noise, epsilon, grouped=grouped)
        subjects += part
        found += told
    return [*judge(subjects, alpha=policy.alpha), *found]


def _uncovered(pair: Pair, comparison: Comparison, policy: Policy) -> Iterator[Finding]:
    """Find what should have been judged and isn't there: a test that vanished must not pass."""
    for name in policy.tasks:
        if not any(matches(task, name) for task in pair.tasks):
            yield coverage_finding("the policy names this task, and no such task was compared", task=name)
    for name in pair.unseen_tasks:
        yield coverage_finding("no item of this task is scored in both runs", task=name)
    missing = pair.missing
    if missing.num > policy.max_missing * missing.total:
        yield coverage_finding(f"{missing.sentence()}, more than {policy.max_missing:.1%}", n=missing.total)
    lost = pair.lost_in_reading + (comparison.old_vs_rerun.lost_in_reading if comparison.old_vs_rerun else ())
    if lost:
        more = f" and {len(lost) - MAX_UNREAD} more" if len(lost) > MAX_UNREAD else ""
        yield coverage_finding(f"not read: {'; '.join(str(each) for each in lost[:MAX_UNREAD])}{more}")


def _against_plain(comparison: Comparison) -> Iterator[Finding]:
    """Find whether a candidate gives nothing beside the plain update."""
    if comparison.old_vs_candidate is None:
        return
    for name, task in comparison.report["tasks"].items():
        reason = worse_than_plain(task)
        if reason is not None:
            yield against_plain_finding(name, reason, task["candidate_effect"]["n"])


def _excess_by(
    by: SliceBy | None,
    pair: Pair,
    noise: Pair | None,
    name: str,
    values: pl.Series,
    *,
    epsilon: float,
    grouped: bool,
) -> Mapping[str, Tally]:
    """Return the flips beyond noise by slice: from a second run of the old version, else from its repeats.

    Args:
        by: what is sliced by; None for the whole task, called "all".
        pair: the old run and the run under test.
        noise: the old run and a second run of the old version.
        name: the task.
        values: the slice of each of the task's items.
        epsilon: dead band of a score.
        grouped: whether the user named a column that groups items.
    """
    items = pair.tasks[name]
    if noise is not None:
        extra = excess_items(noise, pair, name, epsilon=epsilon)
        if extra is None:
            return {}
        everything = pl.repeat("all", extra.frame.height, dtype=pl.String, eager=True)
        return tally_by(extra, everything if by is None else slice_values(by, pair.joined, extra))
    repeats = item_repeats(pair.joined, items, grouped=grouped)
    if repeats is None:
        return {}
    sliced = dict(zip(items.frame["pair"], values, strict=True))
    of_item = [sliced[place] for place in repeats.pairs.tolist()]
    found = {}
    for value in sorted({each for each in of_item if each is not None}):
        chosen = np.array([each == value for each in of_item])
        summed = tally_of_repeats(repeats, chosen, epsilon=epsilon)
        if summed is not None:
            found[str(value)] = summed
    return found


def _slice_subjects(
    rules: SliceRules, pair: Pair, noise: Pair | None, epsilon: float, *, grouped: bool
) -> tuple[list[Subject], list[Finding]]:
    """Return the slices that some rules are for, and findings of those that cannot be judged."""
    by = parse_slice(rules.slice)
    subjects: list[Subject] = []
    told: list[Finding] = []
    seen = False
    min_items = rules.min_items or SLICE_MIN_ITEMS
    for name, items in pair.tasks.items():
        if rules.task is not None and not matches(name, rules.task):
            continue
        parts = _parts(items, pair, rules, epsilon)
        excesses: Mapping[str, Tally] = {}
        if rules.excess_negative_flip_rate is not None:
            values = slice_values(by, pair.joined, items)
            excesses = _excess_by(by, pair, noise, name, values, epsilon=epsilon, grouped=grouped)
        chosen = {v: part for v, part in parts.items() if rules.value in (None, v)}
        seen = seen or bool(chosen)
        small = [v for v, part in chosen.items() if part.total < min_items] if rules.value is None else []
        if small:
            told.append(_small_slices(name, by.name, [chosen[value] for value in small], min_items))
        subjects += [
            Subject(name, f"{by.name} = {value}", part, excesses.get(value), rules, min_items)
            for value, part in chosen.items()
            if value not in small
        ]
    if not seen:
        what = f"{by.name} = {rules.value}" if rules.value is not None else by.name
        told.append(
            coverage_finding("the policy names this slice, and no item is in it", task=rules.task, slice=what)
        )
    return subjects, told


def _parts(items: TaskItems, pair: Pair, rules: SliceRules, epsilon: float) -> dict[str, Tally]:
    values = slice_values(parse_slice(rules.slice), pair.joined, items)
    if rules.value is not None:
        values = pl.select(pl.when(values == rules.value).then(values)).to_series()
    if values.n_unique() > MAX_VALUES:
        raise DataError(
            f"slice {rules.slice!r} of the policy: expected at most {MAX_VALUES:,} different values in task "
            f"{items.name}, found {values.n_unique():,}; name a value"
        )
    return tally_by(items, values, epsilon=epsilon)


def _small_slices(task: str, by: str, parts: Sequence[Tally], min_items: int) -> Finding:
    count = sum(part.total for part in parts)
    lost = sum(part.quadrants.negative_flips for part in parts)
    return coverage_finding(
        f"{len(parts):,} slices with fewer than {min_items} items were not judged ({count:,} items, {lost:,} of them broke)",
        task=task,
        slice=by,
        n=count,
        tier="inform",
    )


def _result(
    comparison: Comparison,
    policy: Policy,
    findings: Sequence[Finding],
    *,
    strict: bool,
) -> GateResult:
    verdict = overall(findings)
    code = STRICT_WARN if strict and verdict == "warn" else EXIT_CODES[verdict]
    report = {
        **comparison.report,
        "verdict": verdict,
        "reasons": [f"{f.where}: {f.reason}" for f in findings if f.verdict != "pass"]
        or ["every rule of the policy holds"],
        "gate": {
            "policy": policy.model_dump(mode="json"),
            "strict": strict,
            "verdict": verdict,
            "exit_code": code,
            "findings": [finding.to_json() for finding in findings],
        },
    }
    if not findings:
        report["reasons"] = ["the policy has no rule for what was compared"]
    report["headline"] = headline(report)
    return GateResult(verdict, code, tuple(findings), report)
