"""What several updates' reports say, one row an update and task, with the paper's own results beside them.

The measures are the paper's (MUSCLE, 2024, Sec. 3): what a compatible update changes against the plain one is
dNFR_c = NFR_c - NFR, d%NFR_c = 100 dNFR_c / NFR, dacc_c = acc_c - acc_v2. A report that cannot be read is named and
counted; nothing is left out in silence.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from muscle.errors import DataError
from muscle.flips.measuring.side_numbers import SideNumbers
from muscle.flips.result.report import Report, TaskResult
from muscle.flips.statistics.intervals import Estimate
from muscle.provenance import file_sha256, versions
from muscle.report import read_report
from muscle.report.collection.paper import PAPER
from muscle.typed_json import json_object

FORMAT = "muscle-collection/1"

Form = Literal["accuracy", "exact_match", "score"]
"""Which of the paper's tables a task belongs to: options by likelihood, generated answers that are right or wrong, or
a continuous score."""

_RATES = ("negative_flip_rate", "positive_flip_rate", "inconsistency_rate")


@dataclass(frozen=True)
class Measured:
    """What one update did on one task, against the old version. Rates and accuracies are in [0, 1].

    Attributes:
        n: items that both versions have scored.
        old: accuracy or mean score of the old version.
        new: of the other one.
        negative_flip_rate: NFR.
        positive_flip_rate: PFR.
        inconsistency_rate: NFR_mc; undefined of a continuous score.
        mean_gain: m_g, in the score's unit.
        mean_regression: m_r, in the score's unit.
    """

    n: int
    old: Estimate
    new: Estimate
    negative_flip_rate: Estimate
    positive_flip_rate: Estimate
    inconsistency_rate: Estimate
    mean_gain: Estimate
    mean_regression: Estimate

    @classmethod
    def of(cls, numbers: SideNumbers) -> Measured:
        """Take them from a report."""
        return cls(
            numbers.n,
            numbers.accuracy_old,
            numbers.accuracy_new,
            numbers.negative_flip_rate,
            numbers.positive_flip_rate,
            numbers.inconsistency_rate,
            numbers.mean_gain,
            numbers.mean_regression,
        )


@dataclass(frozen=True)
class Changes:
    """What the compatible update changes against the plain one; None where one of the two is undefined.

    Attributes:
        negative_flip_rate: dNFR_c = NFR_c - NFR; less is better.
        percent: d%NFR_c = 100 dNFR_c / NFR; None where nothing flipped.
        positive_flip_rate: dPFR_c = PFR_c - PFR.
        inconsistency_rate: dNFR_mc_c.
        level: dacc_c = acc_c - acc_v2, or of the mean score.
        mean_gain: dm_g, in the score's unit.
        mean_regression: dm_r, in the score's unit.
    """

    negative_flip_rate: float | None
    percent: float | None
    positive_flip_rate: float | None
    inconsistency_rate: float | None
    level: float | None
    mean_gain: float | None
    mean_regression: float | None

    @classmethod
    def between(cls, plain: Measured, compatible: Measured) -> Changes:
        """Return what changes from the plain update to the compatible one."""
        fallen, before = less(compatible.negative_flip_rate, plain.negative_flip_rate), plain.negative_flip_rate.value
        return cls(
            negative_flip_rate=fallen,
            percent=None if fallen is None or not before else 100 * fallen / before,
            positive_flip_rate=less(compatible.positive_flip_rate, plain.positive_flip_rate),
            inconsistency_rate=less(compatible.inconsistency_rate, plain.inconsistency_rate),
            level=less(compatible.new, plain.new),
            mean_gain=less(compatible.mean_gain, plain.mean_gain),
            mean_regression=less(compatible.mean_regression, plain.mean_regression),
        )


@dataclass(frozen=True)
class CollectedTask:
    """One update on one task.

    Attributes:
        origin: a run that was collected, or the paper.
        update: what the update is called.
        source: the report's place as it was given; where in the paper.
        task: the task's name.
        form: which of the paper's tables it belongs to.
        score: what gains and regressions are measured in; None where there is none.
        plain: the plain update, old to new.
        compatible: the candidate, old to compatible; None without one.
        changes: what the candidate changes; None without one.
    """

    origin: Literal["run", "paper"]
    update: str
    source: str
    task: str
    form: Form
    score: str | None
    plain: Measured
    compatible: Measured | None
    changes: Changes | None

    @property
    def gap(self) -> float | None:
        """How far the versions lie apart: acc_v2 - acc_v1, or of mean scores."""
        return less(self.plain.new, self.plain.old)

    @property
    def in_percent(self) -> bool:
        """Whether levels are written in percent, as the paper writes its own: accuracies, and ROUGE."""
        return self.form != "score" or (self.score or "").startswith("rouge")


@dataclass(frozen=True)
class Refused:
    """A report that could not be read.

    Attributes:
        source: as it was given.
        why: what is wrong and what to do.
    """

    source: str
    why: str


@dataclass(frozen=True, repr=False)
class Collection:
    """Several updates side by side.

    Attributes:
        format: of the JSON.
        muscle_version: that made it.
        rows: those of runs in the order given, then the paper's on the same tasks.
        refused: reports that could not be read.
    """

    format: str
    muscle_version: str
    rows: Sequence[CollectedTask]
    refused: Sequence[Refused]

    def __repr__(self) -> str:
        return f"<Collection: {len(self.rows)} rows, {len(self.refused)} reports refused>"

    def to_json(self) -> dict[str, object]:
        """Return it as a JSON object."""
        return json_object(self)


def collect(
    sources: Iterable[str | Path | Report], *, names: Sequence[str] | None = None, paper: bool = True
) -> Collection:
    """Put several updates' results side by side.

    Args:
        sources: run folders, `report.json` files, or reports.
        names: what the updates are called, one for each source; by their bases or title without.
        paper: whether the paper's results on the same tasks stand beside them.

    Returns:
        A row an update and task, and the reports that could not be read.

    Raises:
        DataError: no source, or another number of names.
    """
    given = list(sources)
    if not given:
        raise DataError("expected a run folder or report.json at least, found none")
    if names is not None and len(names) != len(given):
        raise DataError(f"expected {len(given)} names, one for each report, found {len(names)}")
    read: list[tuple[str, Report]] = []
    refused: list[Refused] = []
    called: list[str | None] = []
    seen: dict[str, Path] = {}
    for number, source in enumerate(given):
        place = "report" if isinstance(source, Report) else str(source)
        try:
            report = source if isinstance(source, Report) else _read(Path(source), seen)
            _check(report, place)
        except DataError as error:
            refused.append(Refused(place, str(error)))
            continue
        read.append((place, report))
        called.append(names[number] if names else None)
    labels = _update_names(read, called)
    rows = [row for (place, report), label in zip(read, labels, strict=True) for row in _tasks_of(report, label, place)]
    if paper:
        tasks = {row.task.lower() for row in rows}
        rows += [_paper_row(key) for key in PAPER if key[0] in tasks]
    return Collection(FORMAT, str(versions()["muscle-llm"]), rows, refused)


def less(one: Estimate, other: Estimate) -> float | None:
    """Return the difference of two values; None where one is undefined."""
    return None if one.value is None or other.value is None else one.value - other.value


def _read(path: Path, seen: dict[str, Path]) -> Report:
    """Read a report; a copy of one that was read, at whatever place, would be counted as a further update."""
    report, folder = read_report(path)
    content = file_sha256(folder / "report.json" if path.is_dir() else path)
    if content in seen:
        raise DataError(f"{path}: given a second time, before as {seen[content]}; expected each report once")
    seen[content] = path
    return report


def _check(report: Report, place: str) -> None:
    """Refuse numbers that no comparison gives: a changed file may have the right types and still be impossible."""
    if not report.tasks:
        raise DataError(f"{place}: holds no task; compare the runs again")
    for name, task in report.tasks.items():
        for numbers in (task.old_vs_new, task.old_vs_candidate):
            if numbers is None:
                continue
            levels = ("accuracy_old", "accuracy_new") if task.kind == "binary" else ()
            for key in (*_RATES, *levels):
                value = numbers.metric(key).value
                if value is not None and not 0 <= value <= 1:
                    raise DataError(f"{place}: tasks.{name}: {key}: expected a rate from 0 to 1, found {value}")
            for key in ("accuracy_old", "accuracy_new", "mean_gain", "mean_regression"):
                value = numbers.metric(key).value
                if value is not None and not (math.isfinite(value) and abs(value) < 1e12):
                    raise DataError(f"{place}: tasks.{name}: {key}: expected a score, found {value}")


def _tasks_of(report: Report, update: str, source: str) -> Iterable[CollectedTask]:
    for name, task in report.tasks.items():
        if task.old_vs_new is None:
            continue
        plain = Measured.of(task.old_vs_new)
        compatible = None if task.old_vs_candidate is None else Measured.of(task.old_vs_candidate)
        changes = None if compatible is None else Changes.between(plain, compatible)
        form = _form(report, name, task)
        yield CollectedTask("run", update, source, name, form, task.score, plain, compatible, changes)


def _form(report: Report, name: str, task: TaskResult) -> Form:
    if task.kind != "binary":
        return "score"
    facts = _fact_of(report.sources, "old", "tasks", name)
    generated = isinstance(facts, Mapping) and facts.get("generation") is not None
    return "exact_match" if generated or (task.score or "").startswith("exact_match") else "accuracy"


def _update_names(read: Sequence[tuple[str, Report]], names: Sequence[str | None]) -> list[str]:
    """Return what each update is called: as named, by its title, or by its bases; told apart by its place."""
    found = []
    for (_, report), name in zip(read, names, strict=True):
        bases = [_fact_of(report.sources, role, "model", "name") for role in ("old", "new")]
        old, new = (str(base) if base else run for base, run in zip(bases, (report.old, report.new), strict=True))
        found.append(name or report.title or f"{old} \N{RIGHTWARDS ARROW} {new}")
    count = Counter(found)
    return [label if count[label] == 1 else f"{label} ({read[place][0]})" for place, label in enumerate(found)]


def _fact_of(value: object, *keys: str) -> object:
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _paper_row(key: tuple[str, str]) -> CollectedTask:
    """Return a result of the paper; a rate of right and wrong that it does not print follows from those it does.

    NFR_c = NFR (1 + d%NFR_c / 100), and acc_new - acc_old = PFR - NFR.
    """
    task, update = key
    printed = PAPER[key]
    form: Form = {"gsm8k": "exact_match", "samsum": "score"}.get(task, "accuracy")  # type: ignore[assignment]
    old, new, compatible, nfr = (value / 100 for value in (printed.v1, printed.v2, printed.compat, printed.nfr))
    nfr_c = nfr * (1 + printed.percent / 100)
    why = Estimate.undefined("not printed in the paper's tables")

    def measured(level: float, rate: float) -> Measured:
        gained = why if form == "score" else Estimate(rate + level - old)
        return Measured(printed.n, Estimate(old), Estimate(level), Estimate(rate), gained, why, why, why)

    plain, after = measured(new, nfr), measured(compatible, nfr_c)
    changes = Changes(
        nfr_c - nfr,
        printed.percent,
        less(after.positive_flip_rate, plain.positive_flip_rate),
        None,
        compatible - new,
        None if printed.mean_gain is None else printed.mean_gain / 100,
        None if printed.mean_regression is None else printed.mean_regression / 100,
    )
    score = "rouge1" if form == "score" else None
    return CollectedTask("paper", update, "arXiv 2407.09435, Tables 4 to 6", task, form, score, plain, after, changes)
