"""From runs to the report: paired, measured, told from noise, cut, explained, judged, listed."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from muscle.errors import JoinError
from muscle.files import plain_json
from muscle.flips.explaining.causes import Causes
from muscle.flips.explaining.explain import Explanation, causes_of, explain, rules_of
from muscle.flips.measuring.candidate_effect import CandidateEffect, candidate_effect, shared_items
from muscle.flips.measuring.measure_task import histogram
from muscle.flips.measuring.over_tasks import PooledNumbers, pool
from muscle.flips.noise.real_or_noise import median_answers, noise_sentence
from muscle.flips.options import CompareOptions
from muscle.flips.pairing.comparability import Difference
from muscle.flips.pairing.items import TaskItems
from muscle.flips.pairing.pair import Pair, Side, WithOld, pair_runs
from muscle.flips.result.deciding.beside import against_floor, against_plain
from muscle.flips.result.deciding.decide import decide
from muscle.flips.result.deciding.grounds import grounds_of, verdict_of
from muscle.flips.result.flip_list import list_flips
from muscle.flips.result.headline import headline
from muscle.flips.result.listed_repeats import ListedTask
from muscle.flips.result.measured import MeasuredPair
from muscle.flips.result.report import (
    FLOOR_NAME,
    FORMAT,
    NoiseSummary,
    OtherRun,
    RepeatsPerItem,
    Report,
    Settings,
    TaskResult,
)
from muscle.flips.result.warnings import Remarks, remarks_on
from muscle.flips.slices.cuts import Cut, cut_tasks, measure_cuts
from muscle.flips.slices.slice_numbers import TaskSlices
from muscle.predictions.run import Run


@dataclass(frozen=True)
class Assembled:
    """A report, and what it was made from.

    Attributes:
        report: the report.
        sides: the versions that were held against each other, measured.
        cuts: how each side was cut into slices.
        listed: the tasks' items with what is known of each.
    """

    report: Report
    sides: Mapping[Side, MeasuredPair]
    cuts: Mapping[WithOld, Sequence[Cut]]
    listed: Sequence[ListedTask]


def assemble(
    main: Mapping[str, Run],
    others: Mapping[str, Run],
    options: CompareOptions,
    comparability: Mapping[str, Sequence[Difference]],
) -> Assembled:
    """Pair the runs, measure and judge them, and put the report together.

    Args:
        main: old, new, and perhaps candidate, rerun and floor.
        others: further runs by name, each held against the old one.
        options: how runs are compared.
        comparability: what differs between the runs beside the model.

    Raises:
        DataError: the cluster column or a slice's is not there, or the labels cannot be read.
        ConfigError: a slice or the rules for causes cannot be read.
        JoinError: the runs do not belong together.
    """
    sides = _sides(main, options)
    with_old = _with_old(sides)
    pairs = {side: measured.pair for side, measured in with_old.items()}
    cuts, causes = _cuts(with_old, options), causes_of(pairs, rules_of(options))
    judged = with_old["old_vs_candidate" if "candidate" in main else "old_vs_new"]
    effects = _effects(pairs["old_vs_new"], judged.pair, options) if "candidate" in main else {}
    tasks = _task_results(sides, effects, cuts, explain(pairs, sides["old_vs_new"].rerun, causes, options))
    tasks = _with_standings(tasks, main, judged, effects, options)
    listed = _listed(with_old, causes, cuts["old_vs_new"])
    flips = list_flips(listed, limit=options.max_flips, seed=options.seed)
    verdict = verdict_of(judged, tasks, options)
    remarks = _remarks([*main.values(), *others.values()], sides)
    old, new, candidate = main["old"].name, main["new"].name, main["candidate"].name if "candidate" in main else None
    report = Report(
        format=FORMAT,
        muscle_version=importlib.metadata.version("muscle-llm"),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        old=old,
        new=new,
        candidate=candidate,
        sources={role: plain_json({**run.metadata, "n": run.frame.height}) for role, run in main.items()},
        verdict=verdict.word,
        headline=headline(verdict.word, tasks, old=old, new=new, candidate=candidate),
        reasons=list(verdict.reasons),
        warnings=remarks.warnings,
        readings=remarks.readings,
        join=sides["old_vs_new"].pair.joined.report,
        missing={side: measured.pair.missing for side, measured in sides.items()},
        unread={name: list(run.unread) for name, run in (*main.items(), *others.items())},
        tasks=tasks,
        pooled={side: _pooled(measured, options.seed) for side, measured in sides.items()},
        others=_others(main, others, options, sides["old_vs_new"].rerun),
        flips=flips.flips,
        flips_total=flips.totals,
        flips_shown=len(flips.flips),
        settings=_settings(options),
        noise=_noise_summary(old, candidate or new, judged),
        comparability=comparability,
    )
    report = replace(report, decision=decide(report, grounds_of(judged, verdict, tasks, options)))
    return Assembled(report, sides, cuts, listed)


def _sides(main: Mapping[str, Run], options: CompareOptions) -> dict[Side, MeasuredPair]:
    """Pair and measure the versions that are held against each other."""
    rerun = pair_runs(main["old"], main["rerun"], options) if "rerun" in main else None
    pairs: dict[Side, Pair] = {"old_vs_new": pair_runs(main["old"], main["new"], options)}
    if "candidate" in main:
        pairs["old_vs_candidate"] = pair_runs(main["old"], main["candidate"], options)
        pairs["new_vs_candidate"] = pair_runs(main["new"], main["candidate"], options)
    return {
        side: MeasuredPair(pair, options, None if side == "new_vs_candidate" else rerun, side)
        for side, pair in pairs.items()
    }


def _with_old(sides: Mapping[Side, MeasuredPair]) -> dict[WithOld, MeasuredPair]:
    """Return the sides that the old version is one of."""
    names: tuple[WithOld, ...] = ("old_vs_new", "old_vs_candidate")
    return {side: sides[side] for side in names if side in sides}


def _remarks(runs: Sequence[Run], sides: Mapping[Side, MeasuredPair]) -> Remarks:
    said = {side.replace("_", " "): measured for side, measured in sides.items()}
    pairs = {side: measured.pair for side, measured in said.items()}
    return remarks_on(runs, pairs, {side: measured.binary_quadrants() for side, measured in said.items()})


def _noise_summary(old: str, other: str, measured: MeasuredPair) -> NoiseSummary:
    sources = {name: each.source for name, each in measured.realities.items()}
    return NoiseSummary(*noise_sentence(old, other, measured.numbers, sources))


def _cuts(with_old: Mapping[WithOld, MeasuredPair], options: CompareOptions) -> dict[WithOld, list[Cut]]:
    """Cut every task of each side into slices."""
    return {
        side: cut_tasks(measured.pair.joined, measured.pair.tasks, measured.tallies, by=options.slices)
        for side, measured in with_old.items()
    }


def _settings(options: CompareOptions) -> Settings:
    return Settings(
        on=options.on,
        max_unpaired=options.max_unpaired,
        allow_changed=options.allow_changed,
        epsilon=options.epsilon,
        cluster=options.cluster,
        lower_is_better=list(options.lower_is_better),
        tolerance=options.tolerance,
        max_flips=options.max_flips,
        seed=options.seed,
        epsilon_item=options.epsilon_item,
        item_test=options.item_test,
        item_family=options.item_family,
        slices=None if options.slices is None else [str(by) for by in options.slices],
    )


def _check_same_measure(plain: TaskItems, candidate: TaskItems) -> None:
    """Refuse a candidate that was scored in another way than the plain update."""
    measures = [(items.kind, items.score if items.kind == "continuous" else None) for items in (plain, candidate)]
    if measures[0] != measures[1]:
        told = [f"{kind} ({score})" if score else kind for kind, score in measures]
        raise JoinError(
            f"task {plain.name!r}: the new run is {told[0]}, the candidate {told[1]}; expected the same scoring "
            "on both: give `correct` or the same score in every run"
        )


def _effects(reference: Pair, other: Pair, options: CompareOptions) -> dict[str, CandidateEffect]:
    """Return what a version changes against another, both held against the old one, by task that both have."""
    found = {}
    for name, items in reference.tasks.items():
        others = other.tasks.get(name)
        if others is None:
            continue
        _check_same_measure(items, others)
        shared = shared_items(items, reference.joined, others, other.joined)
        binary = items.kind == "binary"
        found[name] = candidate_effect(shared, binary=binary, epsilon=options.epsilon, seed=options.seed)
    return found


def _with_standings(
    tasks: Mapping[str, TaskResult],
    main: Mapping[str, Run],
    measured: MeasuredPair,
    effects: Mapping[str, CandidateEffect],
    options: CompareOptions,
) -> dict[str, TaskResult]:
    """Return the tasks with how the judged version stands against the plain update and the floor."""
    floors = _effects(pair_runs(main["old"], main["floor"], options), measured.pair, options) if "floor" in main else {}
    judged = measured.judged(effects, floors)
    plain = against_plain(judged, tolerance=options.tolerance)
    floor = against_floor(judged, tolerance=options.tolerance)
    return {
        name: replace(
            task,
            against_plain=plain.get(name),
            floor_effect=floors.get(name),
            against_floor=floor.get(name),
        )
        for name, task in tasks.items()
    }


def _repeats_of(name: str, with_old: Mapping[WithOld, MeasuredPair]) -> RepeatsPerItem:
    """Return how many answers an item has in each version."""
    old: int | None = 1
    new: int | None = 1
    candidate: int | None = None
    if "old_vs_candidate" in with_old and name in with_old["old_vs_candidate"].realities:
        other = with_old["old_vs_candidate"].realities[name].repeats
        old, candidate = (1, 1) if other is None else (median_answers(other.old), median_answers(other.new))
    if "old_vs_new" in with_old:
        plain = with_old["old_vs_new"].realities[name].repeats
        old, new = (1, 1) if plain is None else (median_answers(plain.old), median_answers(plain.new))
    return RepeatsPerItem(old, new, candidate)


def _task_results(
    sides: Mapping[Side, MeasuredPair],
    effects: Mapping[str, CandidateEffect],
    cuts: Mapping[WithOld, Sequence[Cut]],
    explained: Mapping[str, Explanation],
) -> dict[str, TaskResult]:
    """Return each task's part of the report: of the tasks that the plain update has, then of a candidate's others."""
    slices: dict[WithOld, dict[str, TaskSlices]] = {
        side: measure_cuts(own, sides[side].pair.tasks) for side, own in cuts.items()
    }
    found = {}
    for name in dict.fromkeys(name for measured in _with_old(sides).values() for name in measured.pair.tasks):
        has = {side: measured for side, measured in sides.items() if name in measured.pair.tasks}
        with_old = _with_old(has)
        numbers = {side: measured.numbers[name] for side, measured in has.items()}
        variance = {side: each.realities[name].variance for side, each in has.items()}
        known = {side: each for side, each in variance.items() if each is not None}
        items = {side: measured.pair.tasks[name] for side, measured in with_old.items()}
        why, first = explained[name], next(iter(items.values()))
        found[name] = TaskResult(
            n=first.frame.height,
            kind=first.kind,
            score=first.score_label,
            scores_not_compared=list(first.other_scores),
            unscored=first.num_unscored,
            repeats=_repeats_of(name, with_old),
            variance=known or None,
            old_vs_new=numbers.get("old_vs_new"),
            old_vs_candidate=numbers.get("old_vs_candidate"),
            new_vs_candidate=numbers.get("new_vs_candidate"),
            quadrants={side: measured.counts(name) for side, measured in with_old.items()},
            candidate_effect=effects.get(name),
            difference_histogram=histogram(items) if first.kind == "continuous" else None,
            slices={side: each.get(name) for side, each in slices.items()},
            causes=why.causes,
            what_changed=why.what_changed,
            closeness=why.closeness,
            judge=why.judge,
        )
    return found


def _pooled(measured: MeasuredPair, seed: int) -> PooledNumbers | None:
    """Return the numbers pooled over the tasks that are right or wrong."""
    return pool(measured.binary_quadrants(), seed=seed)


def _listed(
    with_old: Mapping[WithOld, MeasuredPair],
    causes: Mapping[str, Mapping[WithOld, Causes | None]],
    cuts: Sequence[Cut],
) -> list[ListedTask]:
    plain, other = with_old["old_vs_new"], with_old.get("old_vs_candidate")
    listed = []
    for name, items in plain.pair.tasks.items():
        joined, reality, why = plain.pair.joined, plain.realities[name], causes[name].get("old_vs_new")
        own = [cut for cut in cuts if cut.task == name]
        if other is None or name not in other.pair.tasks:
            listed.append(ListedTask(items, items.frame, joined, None, reality, causes=why, cuts=own))
            continue
        rows = shared_items(items, joined, other.pair.tasks[name], other.pair.joined, how="left")
        candidate = other.realities[name]
        listed.append(ListedTask(items, rows, joined, other.pair.joined, reality, candidate, why, own))
    return listed


def _others(
    main: Mapping[str, Run], others: Mapping[str, Run], options: CompareOptions, rerun: Pair | None
) -> list[OtherRun]:
    """Compare the further runs, and the floor's, with the old one."""
    runs = {**others, **({FLOOR_NAME: main["floor"]} if "floor" in main else {})}
    return [
        OtherRun(name, MeasuredPair(pair_runs(main["old"], run, options), options, rerun).numbers)
        for name, run in runs.items()
    ]
