"""Comparing two versions item by item: runs in, `Comparison` out.

`Comparison.report` is the one result: the terminal table, Markdown, HTML and the gate are made from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING

import polars as pl

from muscle.flips.history import history as follow
from muscle.flips.options import DEFAULTS, CompareOptions
from muscle.flips.pairing.comparability import Difference, check_comparable
from muscle.flips.pairing.main_scores import with_names_of
from muscle.flips.pairing.match import with_one_task_name
from muscle.flips.pairing.one_file_twice import one_file_twice
from muscle.flips.pairing.pair import Pair
from muscle.flips.result.assemble import Assembled, assemble
from muscle.flips.result.deciding.decision import Decision
from muscle.flips.result.finding import Word
from muscle.flips.result.history_report import HistoryReport
from muscle.flips.result.measured import MeasuredPair
from muscle.flips.result.report import Report
from muscle.flips.result.tables import flips_table, items_table, metrics_table, pandas_table, slices_table
from muscle.foreign_text import one_line
from muscle.predictions.read import read_run
from muscle.predictions.run import Run, Source

if TYPE_CHECKING:
    import pandas

__all__ = ["Comparison", "History", "Shown", "compare", "history"]


class Shown:
    """A result with a report: its sentence, its JSON, the table for terminals and notebooks, and the page."""

    report: Report

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {one_line(self.report.sentence, 240)}>"

    @property
    def headline(self) -> str:
        """The verdict in a sentence, by what broke and what was gained."""
        return self.report.headline

    @property
    def decision(self) -> Decision | None:
        """What to do, in a sentence, how sure that is, what next, and every way out; None in reports of before."""
        return self.report.decision

    def to_json(self) -> dict[str, object]:
        """Return the report as report.json holds it: plain dicts, lists, text and finite numbers."""
        return self.report.to_json()

    def show(self, *, browser: bool = False) -> None:
        """Show the report: the explorer below the cell in a notebook, else the tables that the command line prints.

        Args:
            browser: open the explorer in the browser instead.
        """
        from muscle.report.notebook import open_page, show  # the page's templates, which comparing doesn't need

        if browser:
            open_page(self.report)
        else:
            show(self.report)

    def _repr_html_(self) -> str:
        """Return verdict, figures and worst flips as a notebook shows a cell's last value."""
        from muscle.report.notebook import overview

        return overview(self.report)


@dataclass(frozen=True, repr=False)
class Comparison(Shown):
    """The result of a comparison.

    Attributes:
        report: what was found, as `report.json` holds it.
        made_from: the items that it was made from, for those who go on with them.
    """

    report: Report
    made_from: Assembled = field(repr=False)

    @property
    def verdict(self) -> Word:
        """One of pass, warn, block, cannot_tell: on the candidate where there is one, else on the new version."""
        return self.report.verdict

    @property
    def judged(self) -> MeasuredPair:
        """The two versions that the verdict is on."""
        return self.made_from.sides[self.report.judged_side]

    @property
    def old_vs_new(self) -> Pair:
        """The items of old and new, joined."""
        return self.made_from.sides["old_vs_new"].pair

    @property
    def old_vs_candidate(self) -> Pair | None:
        """The items of old and candidate, joined; None without one."""
        found = self.made_from.sides.get("old_vs_candidate")
        return None if found is None else found.pair

    @property
    def old_vs_rerun(self) -> Pair | None:
        """The items of old and a second run of the old version, joined; None without one."""
        return self.made_from.sides["old_vs_new"].rerun

    @property
    def one_file_twice(self) -> str | None:
        """Which file stands for two of the runs that the verdict rests on, in words; None where none does."""
        role = "candidate" if self.report.judged_side == "old_vs_candidate" else "new"
        return one_file_twice(self.report.sources, self.judged.pair, self.judged.rerun, role=role)

    @property
    def missing(self) -> str:
        """What is missing of the runs that the verdict is on, in words; empty where nothing is."""
        return self.judged.missing

    @cached_property
    def items(self) -> pl.DataFrame:
        """All items that old and new have scored: a row an item and answer.

        Columns: `task`, `id`, `filter`, `repeat`, `input`, `reference`, `flip` (-1 broke, 1 gained, 0 neither),
        `kind` (null where nothing flipped), `cause`, and of old, new and candidate `output_old`, `choice_old`,
        `correct_old`, `score_old` (higher is better) and so on; with a candidate also `flip_candidate`, `fixed` and
        `introduced`.
        """
        return items_table(self.made_from.listed)

    @cached_property
    def flips(self) -> pl.DataFrame:
        """Every flip, also those that the report does not list: the rows of `items` with a `kind`."""
        return flips_table(self.items)

    def to_polars(self) -> pl.DataFrame:
        """Return every flip as a polars table: `flips`."""
        return self.flips

    def to_pandas(self) -> pandas.DataFrame:
        """Return every flip as a pandas table: the rows and columns of `flips`.

        Raises:
            MuscleError: pandas is not installed.
        """
        return pandas_table(self.flips)

    @cached_property
    def metrics(self) -> pl.DataFrame:
        """Every metric: `task`, `side`, `metric`, `value`, `low`, `high` (95 %) and `why` it is undefined."""
        return metrics_table(self.report)

    @cached_property
    def slices(self) -> pl.DataFrame:
        """Every slice that has enough items: `task`, `side`, `by`, `value`, `n`, flips, rates, p-values."""
        return slices_table(self.report)


def compare(
    old: Source,
    new: Source,
    *,
    candidate: Source | None = None,
    rerun: Source | None = None,
    floor: Source | None = None,
    others: Mapping[str, Source] | None = None,
    options: CompareOptions = DEFAULTS,
) -> Comparison:
    """Compare two versions of a model, and a candidate beside the plain update, item by item.

    The verdict is on the candidate where there is one, else on the new version: `muscle.flips.result.verdict.judge`
    says by which rules. Flips and metrics are those of MUSCLE (2024), Sec. 3.

    Args:
        old: the old version's predictions: a path, a polars, pandas or pyarrow table, a list of dicts, or a
            `Run`.
        new: the plain update's predictions.
        candidate: those of the model under test beside the plain update.
        rerun: a second run of the old version, which tells how much it flips against itself; without one, and without
            repeats, the noise floor is unknown.
        floor: the old recipe trained again with another seed: what it flips without any update, which the verdict says
            beside what it judges.
        others: further runs by name, each compared with the old one (the bare base, a control).
        options: how runs are read, paired, measured and judged.

    Returns:
        The verdict, the report, and the items that it was made from.

    Raises:
        DataError: a run or the labels cannot be read, or the cluster column is not there.
        ConfigError: `options.slices` names what there is not, or the causes' rules cannot be used.
        JoinError: runs do not belong together, or differ in more than the model.
    """
    given = {"old": old, "new": new, "candidate": candidate, "rerun": rerun, "floor": floor}
    sources = {role: source for role, source in given.items() if source is not None}
    main, further = _read_by_role(sources, others or {}, options)
    differences = _differences(main, options)
    if "metric" in options.allow:
        main, further = (_with_olds_metric(main["old"], runs, options) for runs in (main, further))
    assembled = assemble(main, further, options, differences)
    return Comparison(assembled.report, assembled)


def _read_by_role(
    sources: Mapping[str, Source], others: Mapping[str, Source], options: CompareOptions
) -> tuple[dict[str, Run], dict[str, Run]]:
    """Read the runs by role and the further ones by name: tasks named alike in all, each role's name told apart."""
    given = {**sources, **{f"other {name}": source for name, source in others.items()}}
    read = [
        read_run(
            source,
            format=options.format,
            name=None if isinstance(source, str | PathLike | Run) else role,
            columns=options.columns,
            hash_inputs=False,
        )
        for role, source in given.items()
    ]
    runs = with_one_task_name(read)
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


def _differences(main: Mapping[str, Run], options: CompareOptions) -> dict[str, list[Difference]]:
    """Return what differs between the old run and each other one beside the model, by side.

    Raises:
        JoinError: something differs that `options.allow` does not name.
    """
    found = {
        f"old_vs_{role}": check_comparable(main["old"], run, allow=options.allow)
        for role, run in main.items()
        if role != "old"
    }
    for side in ("old_vs_rerun", "old_vs_floor"):  # are meant to be the same model, or of one name
        if side in found:
            found[side] = [each for each in found[side] if each.what not in ("model", "order")]
    return found


def _with_olds_metric(old: Run, runs: Mapping[str, Run], options: CompareOptions) -> dict[str, Run]:
    """Call the runs' main scores as the old run calls its own, so that they are held against each other."""
    return {
        role: run if run is old else with_names_of(old, run, lower_is_better=options.lower_is_better)
        for role, run in runs.items()
    }


@dataclass(frozen=True, repr=False)
class History(HistoryReport):
    """A chain of versions, which prints itself."""

    def show(self) -> None:
        """Print the steps and what became of the items, as the command line does."""
        from rich.console import Console

        from muscle.report.text.history import print_history

        print_history(self, Console())


def history(
    runs: Sequence[Source], *, names: Sequence[str] | None = None, options: CompareOptions = DEFAULTS
) -> History:
    """Follow every item along a chain of versions.

    Args:
        runs: the versions in their order, two or more: paths, tables, lists of dicts or `Run`s.
        names: what reports call them; None takes the files' names.
        options: how runs are read and paired; those on slices, single items, causes and judges play no part.

    Returns:
        Over the items that all runs have: each step's flips and tests, and what became of every item.

    Raises:
        ConfigError: fewer than two runs, or as many names as runs are not given.
        DataError: a run cannot be read.
        JoinError: neighbours do not belong together, or no item is in all runs.
    """
    return History(**vars(follow(runs, names=names, options=options)))
