"""Comparing two versions item by item: `compare` reads, joins, counts, tests and judges; its result is the report.

`Comparison.to_json()` is the one result object: the terminal table, Markdown and HTML are made from it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from muscle.errors import ConfigError
from muscle.flips.comparison import Comparison
from muscle.flips.explaining.cause_rules import Rule
from muscle.flips.explaining.explain import asked
from muscle.flips.explaining.judges import JudgeErrors
from muscle.flips.options import EPSILON_ITEM, MAX_FLIPS, MAX_UNPAIRED, TOLERANCE, On, Options, Test
from muscle.flips.pairing.comparability import Difference, allows_changed, check_comparable
from muscle.flips.pairing.main_scores import with_names_of
from muscle.flips.pairing.match import with_one_task_name
from muscle.flips.result.assemble import assemble
from muscle.predictions.read import read_run
from muscle.predictions.run import Run

__all__ = ["Comparison", "compare"]


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

    The verdict is on the candidate where there is one, else on the new version: `muscle.flips.result.verdict.judge` says by
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
        allow: what may differ between the runs beside the model (`muscle.flips.pairing.comparability.ALLOWANCES`); items
            whose prompt or reference changed are kept then.
        slices: what the items are cut by, as `muscle.flips.slices.slice_by` writes it; None takes the records' slices, the
            references where they are classes, and the length of the inputs.
        epsilon: dead band of a score: only a difference beyond it is a gain or a regression.
        cluster: a slice or column whose values group items that belong together; intervals allow for it. Repeats of
            an item are always one group.
        lower_is_better: names of scores of which less is better, beside those that the harness names.
        tolerance: negative flip rate that is let pass, in [0, 1].
        epsilon_item: least change of an item's pass rate that makes it regressed or improved, in [0, 1].
        item_test: of an item's answers: "fisher", or "boschloo", which finds more with few answers.
        item_family: a slice within whose values the items' false discovery rate is held; None holds it in each task.
        causes: rules of your own for the causes of flips, or their file (`muscle.flips.explaining.cause_rules`), before the built-in ones.
        human_labels: file of people's labels (`id`, `old`, `new`), by which the difference of a judge's scores is corrected.
        judge_errors: the judge's known sensitivity and specificity, by which its rates are corrected.
        max_flips: entries in the report's list of flips.
        seed: of bootstrap, permutation and sampling; the same seed gives the same report.

    Returns:
        The report, its verdict, and the paired runs.

    Raises:
        DataError: a run or the labels cannot be read, or the cluster column is not there.
        ConfigError: `allow` or `slices` names what there is not, or the causes' rules cannot be used.
        JoinError: runs do not belong together, or differ in more than the model.
    """
    if not 0 <= epsilon_item <= 1:
        raise ConfigError(f"epsilon_item: expected a change of a pass rate in [0, 1], found {epsilon_item}")
    options = Options(
        on=on,
        max_unpaired=max_unpaired,
        allow_changed=allows_changed(allow),
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
    main, further = _read(sources, others or {}, format, columns)
    differences = _differences(main, allow)
    if "metric" in allow:
        main, further = (_with_olds_metric(main["old"], runs, lower_is_better) for runs in (main, further))
    comparison = assemble(main, further, options, slices, wanted)
    comparison.report["comparability"] = {
        side: [difference.to_json() for difference in found] for side, found in differences.items()
    }
    return comparison


def _read(
    sources: Mapping[str, Any],
    others: Mapping[str, Any],
    format: str | None,
    columns: Mapping[str, str] | None,
) -> tuple[dict[str, Run], dict[str, Run]]:
    """Read the runs by role and the further ones by name: tasks named alike in all, each role's name told apart."""
    given = [*sources.values(), *others.values()]
    runs = with_one_task_name(
        [read_run(source, format=format, columns=columns, hash_inputs=False) for source in given]
    )
    main, further = runs[: len(sources)], runs[len(sources) :]
    names = _distinct_names(main, list(sources))
    named = [replace(run, name=name) for name, run in zip(names, main, strict=True)]
    return dict(zip(sources, named, strict=True)), dict(zip(others, further, strict=True))


def _distinct_names(runs: Sequence[Run], given: Sequence[str]) -> list[str]:
    """Return the runs' names; where two are the same, the role is put before all that are not the role itself."""
    names = [run.name for run in runs]
    return [
        name if names.count(name) == 1 or name == role else f"{role} {name}"
        for role, name in zip(given, names, strict=True)
    ]


def _differences(main: Mapping[str, Run], allow: Collection[str]) -> dict[str, list[Difference]]:
    """Return what differs between the old run and each other one beside the model, by side.

    Raises:
        JoinError: something differs that `allow` does not name.
    """
    found = {
        f"old_vs_{role}": check_comparable(main["old"], run, allow=allow)
        for role, run in main.items()
        if role != "old"
    }
    if "rerun" in main:  # is meant to be the same model
        found["old_vs_rerun"] = [each for each in found["old_vs_rerun"] if each.what != "model"]
    return found


def _with_olds_metric(old: Run, runs: Mapping[str, Run], lower_is_better: Collection[str]) -> dict[str, Run]:
    """Call the runs' main scores as the old run calls its own, so that they are held against each other."""
    return {
        role: run if run is old else with_names_of(old, run, lower_is_better=lower_is_better)
        for role, run in runs.items()
    }
