"""From runs to the result object: paired, measured, told from noise, cut, explained, judged, listed."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from muscle.errors import JoinError
from muscle.files import plain_json
from muscle.flips.comparison import Comparison, missing_sentence
from muscle.flips.explaining.causes import Causes
from muscle.flips.explaining.explain import Asked, causes_of, explain
from muscle.flips.measuring.candidate_effect import candidate_effect, shared_items
from muscle.flips.measuring.counting import quadrants_of
from muscle.flips.measuring.over_tasks import pool
from muscle.flips.measuring.task_numbers import adjust_for_tasks, counts, histogram, measure
from muscle.flips.noise.real_or_noise import Reality, median_answers, noise_summary, real_or_noise
from muscle.flips.options import Options
from muscle.flips.pairing.items import TaskItems
from muscle.flips.pairing.pair import Pair, pair_runs
from muscle.flips.result.flip_list import ListedTask, list_flips
from muscle.flips.result.verdict import Verdict, careful, headline, judge
from muscle.flips.result.warnings import warnings_of
from muscle.flips.slices.cuts import Cut, cut_tasks, measure_cuts
from muscle.predictions.run import Run

FORMAT = "muscle-report/1"


def assemble(
    main: Mapping[str, Run],
    others: Mapping[str, Run],
    options: Options,
    slices: Sequence[str] | None,
    wanted: Asked,
) -> Comparison:
    """Pair the runs, measure and judge them, and put the result object together.

    Args:
        main: old, new, and perhaps candidate and rerun.
        others: further runs by name, each held against the old one.
        options: how runs are compared.
        slices: what the items are cut by; None takes what the records offer.
        wanted: what the user gave for causes and judges.

    Raises:
        DataError: the cluster column or a slice's is not there.
        ConfigError: a slice cannot be read.
        JoinError: the runs do not belong together.
    """
    sides = [("old", "new")] + ([("old", "candidate"), ("new", "candidate")] if "candidate" in main else [])
    pairs = {f"{first}_vs_{second}": pair_runs(main[first], main[second], options) for first, second in sides}
    rerun = pair_runs(main["old"], main["rerun"], options) if "rerun" in main else None
    judged = "old_vs_candidate" if "candidate" in main else "old_vs_new"
    realities = _realities(pairs, options, rerun)
    measured = _measured(pairs, options, realities)
    tasks = {
        name: _task_report(name, pairs, measured, realities, options) for name in pairs["old_vs_new"].tasks
    }
    cuts = _add_slices(tasks, pairs, slices, options.epsilon)
    causes = causes_of(pairs, wanted)
    for name, found in explain(pairs, rerun, causes, wanted, options).items():
        tasks[name] |= found
    verdict = _verdict(tasks, pairs[judged], judged, options, rerun)
    listed = list_flips(
        _listed(pairs, realities, causes, cuts),
        limit=options.max_flips,
        epsilon=options.epsilon,
        seed=options.seed,
    )
    report: dict[str, Any] = {
        **_origin(main),
        "verdict": verdict.word,
        "headline": "",
        "reasons": list(verdict.reasons),
        "warnings": warnings_of(
            [*main.values(), *others.values()],
            {side.replace("_", " "): pair for side, pair in pairs.items()},
        ),
        "join": pairs["old_vs_new"].joined.report.to_json(),
        "missing": {side: pair.missing.to_json() for side, pair in pairs.items()},
        "unread": {
            name: [asdict(each) for each in run.unread] for name, run in (*main.items(), *others.items())
        },
        "tasks": tasks,
        "pooled": _pooled(pairs, options.seed),
        "others": [_other(name, main["old"], run, options, rerun) for name, run in others.items()],
        "flips": listed.flips,
        "flips_total": listed.totals,
        "flips_shown": len(listed.flips),
        "settings": _settings(options, slices),
    }
    report["headline"] = headline(report)
    report["noise"] = noise_summary(report, {name: each.source for name, each in realities[judged].items()})
    return Comparison(report, pairs["old_vs_new"], pairs.get("old_vs_candidate"), rerun)


def _verdict(
    tasks: Mapping[str, Mapping[str, Any]], pair: Pair, side: str, options: Options, rerun: Pair | None
) -> Verdict:
    """Judge what was measured, and hold the verdict against the worst that is missing."""
    verdict = judge(tasks, side=side, tolerance=options.tolerance)
    if verdict.word != "pass":
        return verdict
    told = [f"not read: {each}" for each in pair.lost_in_reading]
    if rerun is not None:
        told += [f"not read of the second run: {each}" for each in rerun.lost_in_reading]
    if told or pair.unseen_tasks:
        told += [f"{name}: no item of this task is scored in both runs" for name in pair.unseen_tasks]
        return Verdict("cannot_tell", (*told, *verdict.reasons))
    missing = missing_sentence(pair, rerun)
    if not missing:
        return verdict
    measured = _measured({side: pair.worst}, options, _realities({side: pair.worst}, options, rerun))[side]
    worst = {
        name: {
            "kind": items.kind,
            side: measured[name],
            "quadrants": {side: counts(items, epsilon=options.epsilon)},
            "candidate_effect": tasks[name]["candidate_effect"],
        }
        for name, items in pair.worst.tasks.items()
    }
    return careful(verdict, judge(worst, side=side, tolerance=options.tolerance), missing)


def _origin(main: Mapping[str, Run]) -> dict[str, Any]:
    """Return what made the report, when, and from which runs."""
    return {
        "format": FORMAT,
        "muscle_version": importlib.metadata.version("muscle-llm"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        **{role: main[role].name if role in main else None for role in ("old", "new", "candidate")},
        "sources": {role: plain_json({**run.metadata, "n": run.frame.height}) for role, run in main.items()},
    }


def _settings(options: Options, slices: Sequence[str] | None) -> dict[str, Any]:
    return {
        **options.__dict__,
        "lower_is_better": list(options.lower_is_better),
        "slices": None if slices is None else [str(by) for by in slices],
    }


def _add_slices(
    tasks: Mapping[str, dict[str, Any]],
    pairs: Mapping[str, Pair],
    slices: Sequence[str] | None,
    epsilon: float,
) -> list[Cut]:
    """Put each task's slices, by side, into its part of the report; return how old against new was cut."""
    cuts: dict[str, list[Cut]] = {}
    for side, pair in pairs.items():
        if side.startswith("old"):
            cuts[side] = cut_tasks(pair.joined, pair.tasks, by=slices, epsilon=epsilon)
            found = measure_cuts(cuts[side], pair.tasks)
            for name, task in tasks.items():
                task.setdefault("slices", {})[side] = found.get(name)
    return cuts["old_vs_new"]


def _realities(
    pairs: Mapping[str, Pair], options: Options, rerun: Pair | None
) -> dict[str, dict[str, Reality]]:
    """Return what repeats and a second run of the old version say of each task, by side."""
    return {
        side: {
            name: real_or_noise(
                pair, name, options, rerun=rerun if side.startswith("old") else None, side=side
            )
            for name in pair.tasks
        }
        for side, pair in pairs.items()
    }


def _measured(
    pairs: Mapping[str, Pair], options: Options, realities: Mapping[str, Mapping[str, Reality]]
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return every comparison's numbers by side and task, with p-values adjusted over the tasks."""
    found = {}
    for side, pair in pairs.items():
        tasks = {
            n: measure(items, epsilon=options.epsilon, seed=options.seed) | realities[side][n].metrics
            for n, items in pair.tasks.items()
        }
        adjust_for_tasks(tasks)
        found[side] = tasks
    return found


def _check_same_measure(plain: TaskItems, candidate: TaskItems) -> None:
    """Refuse a candidate that was scored in another way than the plain update."""
    measures = [
        (items.kind, items.score if items.kind == "continuous" else None) for items in (plain, candidate)
    ]
    if measures[0] != measures[1]:
        told = [f"{kind} ({score})" if score else kind for kind, score in measures]
        raise JoinError(
            f"task {plain.name!r}: the new run is {told[0]}, the candidate {told[1]}; expected the same scoring on both: "
            "give `correct` or the same score in every run"
        )


def _repeats_of(name: str, realities: Mapping[str, Mapping[str, Reality]]) -> dict[str, Any]:
    """Return how many answers an item has on each side, and how the variance splits into items and answers."""
    found = {side: tasks[name] for side, tasks in realities.items() if name in tasks}
    plain, candidate = found["old_vs_new"].repeats, found.get("old_vs_candidate")
    repeats = {
        "old": 1 if plain is None else median_answers(plain.old),
        "new": 1 if plain is None else median_answers(plain.new),
        "candidate": None,
    }
    if candidate is not None:
        repeats["candidate"] = 1 if candidate.repeats is None else median_answers(candidate.repeats.new)
    variance = {side: each.variance for side, each in found.items() if each.variance is not None}
    return {"repeats": repeats, "variance": variance or None}


def _task_report(
    name: str,
    pairs: Mapping[str, Pair],
    measured: Mapping[str, Mapping[str, Any]],
    realities: Mapping[str, Mapping[str, Reality]],
    options: Options,
) -> dict[str, Any]:
    """Return one task's part of the report."""
    plain = pairs["old_vs_new"].tasks[name]
    with_old = {
        s: pair.tasks[name] for s, pair in pairs.items() if s.startswith("old") and name in pair.tasks
    }
    effect = None
    if "old_vs_candidate" in with_old:
        _check_same_measure(plain, with_old["old_vs_candidate"])
        joins = pairs["old_vs_new"].joined, pairs["old_vs_candidate"].joined
        shared = shared_items(plain, joins[0], with_old["old_vs_candidate"], joins[1])
        binary = plain.kind == "binary"
        effect = candidate_effect(shared, binary=binary, epsilon=options.epsilon, seed=options.seed)
    return {
        "n": plain.frame.height,
        "kind": plain.kind,
        "score": plain.score_label,
        "scores_not_compared": list(plain.other_scores),
        "unscored": plain.num_unscored,
        **_repeats_of(name, realities),
        **{
            side: measured.get(side, {}).get(name)
            for side in ("old_vs_new", "old_vs_candidate", "new_vs_candidate")
        },
        "quadrants": {side: counts(items, epsilon=options.epsilon) for side, items in with_old.items()},
        "candidate_effect": effect,
        "difference_histogram": histogram(with_old) if plain.kind == "continuous" else None,
    }


def _pooled(pairs: Mapping[str, Pair], seed: int) -> dict[str, Any]:
    """Return the numbers pooled over the tasks that are right or wrong, by side."""
    return {
        side: pool(
            [quadrants_of(items) for items in pair.tasks.values() if items.kind == "binary"], seed=seed
        )
        for side, pair in pairs.items()
    }


def _listed(
    pairs: Mapping[str, Pair],
    realities: Mapping[str, Mapping[str, Reality]],
    causes: Mapping[str, Mapping[str, Causes | None]],
    cuts: Sequence[Cut],
) -> list[ListedTask]:
    plain, other = pairs["old_vs_new"], pairs.get("old_vs_candidate")
    listed = []
    for name, items in plain.tasks.items():
        reality, why = realities["old_vs_new"][name], causes[name].get("old_vs_new")
        own = [cut for cut in cuts if cut.task == name]
        if other is None or name not in other.tasks:
            listed.append(ListedTask(items, items.frame, plain.joined, None, reality, causes=why, cuts=own))
            continue
        rows = shared_items(items, plain.joined, other.tasks[name], other.joined, how="left")
        candidate = realities["old_vs_candidate"][name]
        listed.append(ListedTask(items, rows, plain.joined, other.joined, reality, candidate, why, own))
    return listed


def _other(name: str, old: Run, run: Run, options: Options, rerun: Pair | None) -> dict[str, Any]:
    """Compare a further run with the old one."""
    pairs = {"old_vs_other": pair_runs(old, run, options)}
    measured = _measured(pairs, options, _realities(pairs, options, rerun))
    return {"name": name, "tasks": measured["old_vs_other"]}
