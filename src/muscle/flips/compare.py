"""Comparing two versions item by item: `compare` reads, joins, counts, tests and judges; its result is the report.

`Comparison.to_json()` is the one result object: the terminal table, Markdown and HTML are made from it.
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from muscle.errors import ConfigError, JoinError
from muscle.flips.answer_tests import Test
from muscle.flips.cause_rules import Rule
from muscle.flips.causes import Causes
from muscle.flips.comparability import check_comparable
from muscle.flips.effect import candidate_effect, shared_items
from muscle.flips.item_verdicts import EPSILON_ITEM
from muscle.flips.items import TaskItems
from muscle.flips.join import MAX_UNPAIRED
from muscle.flips.judges import JudgeErrors
from muscle.flips.listing import ListedTask, list_flips
from muscle.flips.main_scores import with_names_of
from muscle.flips.measure import adjust_for_tasks, counts, histogram, measure
from muscle.flips.notes import warnings_of
from muscle.flips.pair import MAX_FLIPS, Options, Pair, pair_runs
from muscle.flips.pairing import On, with_one_task_name
from muscle.flips.pooling import pool
from muscle.flips.reality import Reality, median_answers, noise_summary, real_or_noise
from muscle.flips.slices import Cut, cut_tasks, measure_cuts
from muscle.flips.verdict import TOLERANCE, headline, judge
from muscle.flips.why import Asked, asked, causes_of, explain
from muscle.predictions.read import read_run
from muscle.predictions.run import Run

logger = logging.getLogger(__name__)

FORMAT = "muscle-report/1"


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison.

    Attributes:
        report: the result object, as `report.json` holds it.
        old_vs_new: the joined items of old and new, for those who go on with them.
        old_vs_candidate: the same of old and candidate; None without one.
        old_vs_rerun: the same of old and a second run of the old version; None without one.
    """

    report: dict[str, Any]
    old_vs_new: Pair = field(repr=False)
    old_vs_candidate: Pair | None = field(repr=False, default=None)
    old_vs_rerun: Pair | None = field(repr=False, default=None)

    @property
    def verdict(self) -> str:
        """One of pass, warn, block, cannot_tell."""
        return str(self.report["verdict"])

    @property
    def headline(self) -> str:
        """The verdict in a sentence."""
        return str(self.report["headline"])

    def to_json(self) -> dict[str, Any]:
        """Return the result object: plain dicts, lists, text and finite numbers."""
        return self.report

    def show(self) -> None:
        """Show the report: below the cell in a notebook, else in the browser."""
        # Only here does this half of the project know of its reports: the method is for people, not for the pipeline.
        from muscle.report.notebook import show

        show(self.report)

    def _repr_html_(self) -> str:
        """Return the report for a notebook's output."""
        from muscle.report.notebook import frame

        return frame(self.report)


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
        side: pool([items.quadrants() for items in pair.tasks.values() if items.kind == "binary"], seed=seed)
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


def _plain(value: Any) -> Any:
    """Return metadata as JSON can hold it."""
    return json.loads(json.dumps(value, default=str), parse_constant=str)


def _distinct_names(runs: Sequence[Run], given: Sequence[str]) -> list[str]:
    """Return the runs' names; where two are the same, the role is put before all that are not the role itself."""
    names = [run.name for run in runs]
    return [
        name if names.count(name) == 1 or name == role else f"{role} {name}"
        for role, name in zip(given, names, strict=True)
    ]


def compare(
    old: Any,
    new: Any,
    *,
    candidate: Any = None,
    rerun: Any = None,
    others: Mapping[str, Any] | None = None,
    columns: Mapping[str, str] | None = None,
    format: str | None = None,
    on: On = "auto",
    max_unpaired: float = MAX_UNPAIRED,
    allow: Collection[str] = (),
    slices: Sequence[str] | None = None,
    epsilon: float = 0.0,
    cluster: str | None = None,
    lower_is_better: Collection[str] = (),
    tolerance: float = TOLERANCE,
    epsilon_item: float = EPSILON_ITEM,
    item_test: Test = "fisher",
    item_family: str | None = None,
    causes: str | Path | Sequence[Rule] | None = None,
    human_labels: str | Path | None = None,
    judge_errors: JudgeErrors | None = None,
    max_flips: int = MAX_FLIPS,
    seed: int = 0,
) -> Comparison:
    """Compare two versions of a model, and a candidate beside the plain update, item by item.

    The verdict is on the candidate where there is one, else on the new version: `muscle.flips.verdict.judge` says by
    which rules.

    Args:
        old: the old version's predictions: a path, a polars, pandas or pyarrow table, or a `Run`.
        new: the plain update's predictions.
        candidate: those of the model under test beside the plain update.
        rerun: a second run of the old version, which tells how much it flips against itself; without one, and without
            repeats, the noise floor is unknown.
        others: further runs by name, each compared with the old one (the bare base, a control).
        columns: our field names to the tables'.
        format: of all files; None finds it by content.
        on: "auto" recognises items by content, then by id where there is no text; "id" by id alone.
        max_unpaired: share of a side's predictions, in [0, 1], that may have no partner.
        allow: what may differ between the runs beside the model (`muscle.flips.comparability.ALLOWANCES`); items
            whose prompt or reference changed are kept then.
        slices: what the items are cut by, as `muscle.flips.slicing` writes it; None takes the records' slices, the
            references where they are classes, and the length of the inputs.
        epsilon: dead band of a score: only a difference beyond it is a gain or a regression.
        cluster: a slice or column whose values group items that belong together; intervals allow for it. Repeats of
            an item are always one group.
        lower_is_better: names of scores of which less is better, beside those that the harness names.
        tolerance: negative flip rate that is let pass, in [0, 1].
        epsilon_item: least change of an item's pass rate that makes it regressed or improved, in [0, 1].
        item_test: of an item's answers: "fisher", or "boschloo", which finds more with few answers.
        item_family: a slice within whose values the items' false discovery rate is held; None holds it in each task.
        causes: rules of your own for the causes of flips, or their file (`muscle.flips.cause_rules`), before the built-in ones.
        human_labels: file of people's labels (`id`, `old`, `new`), by which the difference of a judge's scores is corrected.
        judge_errors: the judge's known sensitivity and specificity, by which its rates are corrected.
        max_flips: entries in the report's list of flips.
        seed: of bootstrap, permutation and sampling; the same seed gives the same report.

    Raises:
        DataError: a run or the labels cannot be read, or the cluster column is not there.
        ConfigError: `allow` or `slices` names what there is not, or the causes' rules cannot be used.
        JoinError: runs do not belong together, or differ in more than the model.
    """
    allow_changed = bool({"prompts", "references"} & set(allow))
    if not 0 <= epsilon_item <= 1:
        raise ConfigError(f"epsilon_item: expected a change of a pass rate in [0, 1], found {epsilon_item}")
    options = Options(
        on=on,
        max_unpaired=max_unpaired,
        allow_changed=allow_changed,
        epsilon=epsilon,
        cluster=cluster,
        lower_is_better=lower_is_better,
        tolerance=tolerance,
        max_flips=max_flips,
        seed=seed,
        epsilon_item=epsilon_item,
        item_test=item_test,
        item_family=item_family,
    )
    wanted = asked(causes=causes, human_labels=human_labels, judge_errors=judge_errors)
    given = {"old": old, "new": new, "candidate": candidate, "rerun": rerun}
    sources = {role: source for role, source in given.items() if source is not None}
    further = {f"other:{name}": source for name, source in (others or {}).items()}
    runs = {}
    for role, source in (sources | further).items():
        logger.debug("reading %s", role)
        runs[role] = read_run(source, format=format, columns=columns, hash_inputs=False)
    runs = dict(zip(runs, with_one_task_name(list(runs.values())), strict=True))
    main = {role: run for role, run in runs.items() if role in sources}
    names = _distinct_names(list(main.values()), list(main))
    main = {
        role: Run(name, run.frame, run.metadata)
        for name, (role, run) in zip(names, main.items(), strict=True)
    }
    rest = {name.removeprefix("other:"): run for name, run in runs.items() if name in further}
    differences = {
        f"old_vs_{role}": check_comparable(main["old"], run, allow=allow)
        for role, run in main.items()
        if role != "old"
    }
    if "rerun" in main:  # is meant to be the same model
        found = differences["old_vs_rerun"]
        differences["old_vs_rerun"] = [difference for difference in found if difference.what != "model"]
    if "metric" in allow:
        main, rest = (
            {
                role: run
                if role == "old"
                else with_names_of(main["old"], run, lower_is_better=lower_is_better)
                for role, run in some.items()
            }
            for some in (main, rest)
        )
    comparison = _compare_runs(main, rest, options, slices, wanted)
    comparison.report["comparability"] = {
        side: [difference.to_json() for difference in found] for side, found in differences.items()
    }
    return comparison


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


def _compare_runs(
    main: Mapping[str, Run],
    others: Mapping[str, Run],
    options: Options,
    slices: Sequence[str] | None,
    wanted: Asked,
) -> Comparison:
    sides = [("old", "new")] + ([("old", "candidate"), ("new", "candidate")] if "candidate" in main else [])
    pairs = {f"{first}_vs_{second}": pair_runs(main[first], main[second], options) for first, second in sides}
    rerun = pair_runs(main["old"], main["rerun"], options) if "rerun" in main else None
    realities = _realities(pairs, options, rerun)
    measured = _measured(pairs, options, realities)
    tasks = {
        name: _task_report(name, pairs, measured, realities, options) for name in pairs["old_vs_new"].tasks
    }
    cuts = _add_slices(tasks, pairs, slices, options.epsilon)
    causes = causes_of(pairs, wanted)
    for name, found in explain(pairs, rerun, causes, wanted, options).items():
        tasks[name] |= found
    verdict = judge(
        tasks, side="old_vs_candidate" if "candidate" in main else "old_vs_new", tolerance=options.tolerance
    )
    listed = list_flips(
        _listed(pairs, realities, causes, cuts),
        limit=options.max_flips,
        epsilon=options.epsilon,
        seed=options.seed,
    )
    report: dict[str, Any] = {
        "format": FORMAT,
        "muscle_version": importlib.metadata.version("muscle-llm"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        **{role: main[role].name if role in main else None for role in ("old", "new", "candidate")},
        "sources": {role: _plain({**run.metadata, "n": run.frame.height}) for role, run in main.items()},
        "verdict": verdict.word,
        "headline": "",
        "reasons": list(verdict.reasons),
        "warnings": warnings_of(list(main.values()), pairs),
        "join": pairs["old_vs_new"].joined.report.to_json(),
        "tasks": tasks,
        "pooled": _pooled(pairs, options.seed),
        "others": [_other(name, main["old"], run, options, rerun) for name, run in others.items()],
        "flips": listed.flips,
        "flips_total": listed.totals,
        "flips_shown": len(listed.flips),
        "settings": {
            **options.__dict__,
            "lower_is_better": list(options.lower_is_better),
            "slices": None if slices is None else [str(by) for by in slices],
        },
    }
    report["headline"] = headline(report)
    judged = realities["old_vs_candidate" if "candidate" in main else "old_vs_new"]
    report["noise"] = noise_summary(report, {name: each.source for name, each in judged.items()})
    return Comparison(report, pairs["old_vs_new"], pairs.get("old_vs_candidate"), rerun)


def _other(name: str, old: Run, run: Run, options: Options, rerun: Pair | None) -> dict[str, Any]:
    """Compare a further run with the old one."""
    pairs = {"old_vs_other": pair_runs(old, run, options)}
    measured = _measured(pairs, options, _realities(pairs, options, rerun))
    return {"name": name, "tasks": measured["old_vs_other"]}
