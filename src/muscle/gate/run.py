"""The gate: two runs and a policy in, a verdict and an exit code out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl

from muscle.comparison import Comparison, Shown, compare
from muscle.errors import DataError, JoinError
from muscle.flips.measuring.candidate_effect import CandidateEffect
from muscle.flips.measuring.tally import Tally, tally_by
from muscle.flips.noise.floor import excess_items, tally_of_repeats
from muscle.flips.options import DEFAULTS, CompareOptions
from muscle.flips.pairing.items import TaskItems
from muscle.flips.pairing.one_file_twice import EXPECTED
from muscle.flips.result.deciding.beside import worse_than_plain
from muscle.flips.result.deciding.decide import decide
from muscle.flips.result.deciding.grounds import if_better_than_plain
from muscle.flips.result.finding import EXIT_CODES, Finding, GateSection, Word
from muscle.flips.result.headline import headline
from muscle.flips.result.measured import MeasuredPair
from muscle.flips.result.report import Report
from muscle.flips.slices.cuts import MAX_VALUES, Cut
from muscle.flips.slices.slice_by import SliceBy, parse_slice, slice_values
from muscle.foreign_text import listing
from muscle.gate.grounds import NAMES_NO_SLICE, NAMES_NO_TASK, NO_RULE, NO_RULES, TOO_SMALL, grounds_of_findings
from muscle.gate.judge import (
    Subject,
    against_plain_finding,
    careful,
    coverage_finding,
    judge,
    overall,
    worst_first,
)
from muscle.gate.policy import DEFAULT_POLICY, SLICE_MIN_ITEMS, Policy, SliceRules, load_policy, matches
from muscle.predictions.run import Source

STRICT_WARN = 2
MAX_UNREAD = 3
"""Sources that a finding names; the report's `unread` has all."""


@dataclass(frozen=True, repr=False)
class GateResult(Shown):
    """What the gate says of an update.

    Attributes:
        verdict: pass, warn, block or cannot_tell.
        exit_code: 0 pass (and warn), 1 block, 2 cannot tell (and warn, if strict).
        findings: what became of every rule, the worst first.
        report: the comparison's report with the gate's verdict, reasons and `gate` section in it.
    """

    verdict: Word
    exit_code: int
    findings: tuple[Finding, ...]
    report: Report = field(repr=False)


def gate(
    old: Source,
    new: Source,
    policy: Policy | Path | str | None = None,
    *,
    candidate: Source | None = None,
    noise: Source | None = None,
    strict: bool = False,
    tolerance: float | None = None,
    options: CompareOptions = DEFAULTS,
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
        tolerance: the limit of every rule of the policy that names none, in [0, 1]; None takes the policy's own.
        options: how the runs are read, paired and measured; their tolerance is the policy's.

    Returns:
        The verdict, the exit code, and the report with the gate's section.

    Raises:
        ConfigError: the policy is impossible.
        DataError: a run cannot be read, or a slice's column is not there.
        JoinError: the runs do not belong together, differ in more than the model, or are one file.
    """
    if not isinstance(policy, Policy):
        policy = DEFAULT_POLICY if policy is None else load_policy(Path(policy))
    if tolerance is not None:
        policy = policy.model_copy(update={"tolerance": tolerance})
    options = replace(options, tolerance=policy.tolerance)
    comparison = compare(old, new, candidate=candidate, rerun=noise, options=options)
    if comparison.one_file_twice is not None:
        raise JoinError(f"{comparison.one_file_twice}; {EXPECTED}")
    findings = findings_of(comparison, policy)
    return _gate_result(comparison, policy, findings, strict=strict)


def findings_of(comparison: Comparison, policy: Policy) -> list[Finding]:
    """Judge a comparison that was made already.

    What is missing is judged at its worst (`muscle.flips.pairing.missing`): a rule holds only where it holds whatever
    the missing answers are.

    Args:
        comparison: what `muscle.compare` gave.
        policy: the policy.

    Returns:
        What became of every rule, the worst first.

    Raises:
        DataError: a slice's column is not there, or has too many values.
    """
    measured, plain = comparison.judged, comparison.made_from.sides.get("new_vs_candidate")
    effects = {
        name: task.candidate_effect
        for name, task in comparison.report.tasks.items()
        if task.candidate_effect is not None
    }
    cuts = comparison.made_from.cuts[comparison.report.judged_side]
    found = _judged(measured, cuts, policy, plain, effects)
    if measured.missing:
        at_worst = {name: effect.with_missing(measured.pair.missing.num) for name, effect in effects.items()}
        worst = _judged(measured.worst, (), policy, plain and plain.worst, at_worst)
        found = careful(found, worst, measured.missing)
    return worst_first([*found, *_uncovered(measured, policy), *_against_plain(comparison.report)])


def _judged(
    measured: MeasuredPair,
    cuts: Sequence[Cut],
    policy: Policy,
    plain: MeasuredPair | None,
    effects: Mapping[str, CandidateEffect],
) -> list[Finding]:
    """Judge every rule of the policy.

    Args:
        measured: the two versions that are judged.
        cuts: how they were cut into slices.
        policy: the policy.
        plain: the plain update and the candidate; None without one.
        effects: what the candidate changes against the plain update, by task.
    """
    subjects = []
    for name, items in measured.pair.tasks.items():
        everything = pl.repeat("all", items.frame.height, dtype=pl.String, eager=True)
        excess = _excess_by(None, measured, name, everything).get("all")
        rules = policy.rules_for(name, items.kind)
        min_items = rules.min_items or policy.min_items
        beside = plain.tallies.get(name) if plain else None
        subjects.append(
            Subject(name, None, measured.tallies[name], excess, rules, min_items, beside, effects.get(name))
        )
    found = []
    for slice_rules in policy.rules_for_slices():
        part, told = _slice_subjects(slice_rules, measured, cuts)
        subjects += part
        found += told
    return [*judge(subjects, alpha=policy.alpha), *found]


def _uncovered(measured: MeasuredPair, policy: Policy) -> Iterator[Finding]:
    """Find what should have been judged and isn't there: a test that vanished must not pass."""
    pair = measured.pair
    for name in policy.tasks:
        if not any(matches(task, name) for task in pair.tasks):
            yield coverage_finding(NAMES_NO_TASK, task=name)
    for name in _without_rules(pair.tasks, policy):
        yield coverage_finding(NO_RULE, task=name, tier="inform")
    for name in pair.unseen_tasks:
        yield coverage_finding("no item of this task is scored in both runs", task=name)
    missing = pair.missing
    if missing.num > policy.max_missing * missing.total:
        yield coverage_finding(f"{missing.sentence()}, more than {policy.max_missing:.1%}", n=missing.total)
    lost = measured.lost_in_reading
    if lost:
        more = f" and {len(lost) - MAX_UNREAD} more" if len(lost) > MAX_UNREAD else ""
        yield coverage_finding(f"not read: {'; '.join(lost[:MAX_UNREAD])}{more}")


def _without_rules(tasks: Mapping[str, TaskItems], policy: Policy) -> Iterator[str]:
    """Name the tasks of which the policy judges nothing, neither the whole nor a slice."""
    for name, items in tasks.items():
        by_slice = any(rules.has_rules for rules in policy.slices if rules.task is None or matches(name, rules.task))
        if not by_slice and not policy.rules_for(name, items.kind).has_rules:
            yield name


def _against_plain(report: Report) -> Iterator[Finding]:
    """Find whether a candidate gives nothing beside the plain update."""
    for name, task in report.tasks.items():
        reason = worse_than_plain(task.kind, task.candidate_effect)
        if reason is not None and task.candidate_effect is not None:
            yield against_plain_finding(name, reason, task.candidate_effect.n)


def _excess_by(by: SliceBy | None, measured: MeasuredPair, name: str, values: pl.Series) -> Mapping[str, Tally]:
    """Return the flips beyond noise by slice: from a second run of the old version, else from its repeats.

    Args:
        by: what is sliced by; None for the whole task, called "all".
        measured: the old run and the run under test, and perhaps a second run of the old version.
        name: the task.
        values: the slice of each of the task's items.
    """
    pair, items = measured.pair, measured.pair.tasks[name]
    if measured.rerun is not None:
        extra = excess_items(measured.rerun, pair, name)
        if extra is None:
            return {}
        everything = pl.repeat("all", extra.frame.height, dtype=pl.String, eager=True)
        return tally_by(extra, everything if by is None else slice_values(by, pair.joined, extra))
    repeats = measured.realities[name].repeats
    if repeats is None:
        return {}
    sliced = dict(zip(items.frame["pair"], values, strict=True))
    of_item = [sliced[place] for place in repeats.pairs.tolist()]
    found = {}
    for value in sorted({each for each in of_item if each is not None}):
        chosen = np.array([each == value for each in of_item])
        summed = tally_of_repeats(repeats, chosen, epsilon=measured.options.epsilon)
        if summed is not None:
            found[str(value)] = summed
    return found


def _slice_subjects(
    rules: SliceRules, measured: MeasuredPair, cuts: Sequence[Cut]
) -> tuple[list[Subject], list[Finding]]:
    """Return the slices that some rules are for, and findings of those that cannot be judged."""
    by = parse_slice(rules.slice)
    subjects: list[Subject] = []
    told: list[Finding] = []
    seen = False
    there: set[str] = set()
    min_items = rules.min_items or SLICE_MIN_ITEMS
    for name, items in measured.pair.tasks.items():
        if rules.task is not None and not matches(name, rules.task):
            continue
        parts = _parts(name, measured, cuts, rules)
        excesses: Mapping[str, Tally] = {}
        if rules.excess_negative_flip_rate is not None:
            values = slice_values(by, measured.pair.joined, items)
            excesses = _excess_by(by, measured, name, values)
        chosen = {v: part for v, part in parts.items() if rules.value in (None, v)}
        seen = seen or bool(chosen)
        if not chosen:
            there |= set(slice_values(by, measured.pair.joined, items).drop_nulls().unique())
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
        why = f"{NAMES_NO_SLICE}; its values are {listing(sorted(there))}" if there else NAMES_NO_SLICE
        told.append(coverage_finding(why, task=rules.task, slice=what))
    elif not subjects and rules.can_stop:
        why = f"{TOO_SMALL} ({min_items}), so that a blocking rule was judged on none"
        told.append(coverage_finding(why, task=rules.task, slice=by.name))
    return subjects, told


def _parts(name: str, measured: MeasuredPair, cuts: Sequence[Cut], rules: SliceRules) -> Mapping[str, Tally]:
    """Return a task's slices summed up: as the comparison cut it, where it was cut so already."""
    by, items = parse_slice(rules.slice), measured.pair.tasks[name]
    for cut in cuts:
        if cut.task == name and cut.by == by and cut.skipped is None:
            return cut.parts
    values = slice_values(by, measured.pair.joined, items)
    if rules.value is not None:
        values = pl.select(pl.when(values == rules.value).then(values)).to_series()
    if values.n_unique() > MAX_VALUES:
        raise DataError(
            f"slice {rules.slice!r} of the policy: expected at most {MAX_VALUES:,} different values in task "
            f"{name}, found {values.n_unique():,}; name a value"
        )
    return tally_by(items, values)


def _small_slices(task: str, by: str, parts: Sequence[Tally], min_items: int) -> Finding:
    count = sum(part.total for part in parts)
    lost = sum(part.quadrants.negative_flips for part in parts)
    return coverage_finding(
        f"{len(parts):,} slices with fewer than {min_items} items were not judged "
        f"({count:,} items, {lost:,} of them broke)",
        task=task,
        slice=by,
        n=count,
        tier="inform",
    )


def _gate_result(comparison: Comparison, policy: Policy, findings: Sequence[Finding], *, strict: bool) -> GateResult:
    verdict, compared = overall(findings), comparison.report
    code = STRICT_WARN if strict and verdict == "warn" else EXIT_CODES[verdict]
    reasons = [f"{f.where}: {f.reason}" for f in findings if f.verdict != "pass"]
    nothing_found = "every rule of the policy holds" if findings else NO_RULES
    judged = replace(
        compared,
        verdict=verdict,
        reasons=reasons or [nothing_found],
        gate=GateSection(policy.model_dump(mode="json"), strict, verdict, code, findings),
        headline=headline(verdict, compared.tasks, old=compared.old, new=compared.new, candidate=compared.candidate),
    )
    measured, better = comparison.judged, []
    if verdict in ("warn", "cannot_tell") and compared.candidate is not None:
        better = if_better_than_plain(measured, compared.tasks, measured.options)
    grounds = grounds_of_findings(
        findings, compared, comparison.missing, alpha=policy.alpha, min_items=policy.min_items, better=better
    )
    report = replace(judged, decision=decide(judged, grounds))
    return GateResult(verdict, code, tuple(findings), report)
