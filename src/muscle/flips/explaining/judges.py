"""Scores of a judge model, corrected by people's labels or by what is known of the judge's errors.

A judge that errs shifts rates and differences. Two corrections:
- **prediction-powered inference** (Angelopoulos et al., Science 2023; PPI), paired: with d_i = f_new,i - f_old,i by
  the judge on all N items, and h_i = y_new,i - y_old,i by people on n of them,
  D = mean_all(d) + mean_labelled(h - d),  Var = Var(d) / N + Var_labelled(h - d) / n + 2 Cov_labelled(d, h - d) / N.
  Unbiased whatever the judge does, if the labelled items are a random sample.
- **Rogan-Gladen**, where only the judge's sensitivity q1 (share of right answers it passes) and specificity q0 (share
  of wrong answers it fails) are known: theta = (p + q0 - 1) / (q0 + q1 - 1), so a difference grows by 1 / (q0 + q1 -
  1). It takes the judge's errors to be the same on both versions, which a judge that favours one style breaks; labels
  don't need that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from muscle.errors import DataError
from muscle.flips.measuring.metrics import ALL, NEW_RIGHT, OLD_RIGHT, accuracy_difference
from muscle.flips.measuring.tally import quadrants_of
from muscle.flips.options import JudgeErrors
from muscle.flips.pairing.items import TaskItems
from muscle.flips.pairing.join import Joined
from muscle.flips.statistics.arrays import Floats
from muscle.flips.statistics.clusters import effective_sample
from muscle.flips.statistics.intervals import CONFIDENCE, Estimate, Interval, jeffreys, ratio, t_value, z_value
from muscle.typed_json import OPTIONAL_KEY

COIN = "so few answers calibrate the judge that it may be no better than a coin"

MIN_LABELS = 20
"""Below it an interval means little; the report says so."""


@dataclass(frozen=True)
class ByLabels:
    """A task's difference, corrected by people's labels.

    Attributes:
        items: all items, N.
        labelled: of them with labels, n.
        difference_judge: new less old by the judge alone.
        difference: corrected, with its interval.
        note: what it takes to be right.
        sensitivity: of the judge on the labelled answers of both sides; None of a score, or without right answers.
        specificity: the same; None of a score, or without wrong answers.
    """

    items: int
    labelled: int
    difference_judge: float
    difference: Estimate
    note: str
    sensitivity: float | None = field(default=None, metadata=OPTIONAL_KEY)
    specificity: float | None = field(default=None, metadata=OPTIONAL_KEY)


@dataclass(frozen=True)
class ByErrors:
    """A task's accuracies and their difference, corrected by the judge's known errors.

    Attributes:
        items: that were judged.
        difference_judge: new less old by the judge alone.
        accuracy_old: corrected.
        accuracy_new: corrected.
        difference: corrected.
        note: what was taken for granted.
    """

    items: int
    difference_judge: float | None
    accuracy_old: Estimate
    accuracy_new: Estimate
    difference: Estimate
    note: str


@dataclass(frozen=True)
class JudgeCorrections:
    """What corrects a judge's word on a task; each None where nothing of that kind was given."""

    labels: ByLabels | None
    errors: ByErrors | None


def rogan_gladen(passed: float, judge: JudgeErrors) -> float:
    """Return the true rate behind a judge's pass rate; it may leave [0, 1] where the judge's errors are misstated.

    theta = (p + q0 - 1) / (q0 + q1 - 1), Lee et al., arXiv 2511.21140.

    >>> round(rogan_gladen(0.75, JudgeErrors(0.90, 0.85)), 2)
    0.8
    """
    return (passed + judge.specificity - 1) / judge.youden


def corrected_rate(passed: float, total: float, judge: JudgeErrors) -> Estimate:
    """Return the true rate with a 95 % interval that carries the sampling of items and of the judge's calibration.

    Lang and Reiczigel, Preventive Veterinary Medicine 113 (2014) 13-22: with z^2 / 2 items, and one answer of the
    calibration, added to either side of each rate (marked '),
    theta' + d +- z sqrt(p'(1 - p') / n' + (1 - theta')^2 q0'(1 - q0') / m0' + theta'^2 q1'(1 - q1') / m1') / (q0' +
    q1' - 1), d = 2 z^2 (theta' q1'(1 - q1') / m1' - (1 - theta') q0'(1 - q0') / m0'), cut to [0, 1].

    Args:
        passed: items that the judge passes.
        total: all items, the denominator; need not be whole where they are grouped.
        judge: what is known of the judge.
    """
    if total == 0:
        return Estimate.undefined("no item was judged")
    z = z_value(CONFIDENCE)
    theta = min(1.0, max(0.0, rogan_gladen(passed / total, judge)))
    (q1, right), (q0, wrong) = (_with_one_each(*rate) for rate in judge.rates)
    p = (passed + z * z / 2) / (total + z * z)
    middle = (p + q0 - 1) / (q0 + q1 - 1)
    shift = 2 * z * z * (middle * right - (1 - middle) * wrong)
    variance = p * (1 - p) / (total + z * z) + (1 - middle) ** 2 * wrong + middle**2 * right
    half = z * math.sqrt(variance) / (q0 + q1 - 1)
    low, high = middle + shift - half, middle + shift + half
    return Estimate.of(theta, Interval(max(0.0, min(low, theta)), min(1.0, max(high, theta))))


def _with_one_each(rate: float, answers: int | None) -> tuple[float, float]:
    """Return a calibrated rate with one answer added on each side, and its variance; an exact rate has none."""
    if answers is None:
        return rate, 0.0
    moved = (answers * rate + 1) / (answers + 2)
    return moved, moved * (1 - moved) / (answers + 2)


def corrected_difference(difference: Estimate, judge: JudgeErrors) -> Estimate:
    """Return the true difference behind a judge's, D / (q0 + q1 - 1).

    Its interval carries the calibration too.
    MOVER: the judge's q0 + q1 - 1 has the interval that Jeffreys' intervals of both make (Zou and Donner, Statistics
    in Medicine 27 (2008) 1693-1702), and `statistics.ratio` puts it together with the difference's own. Where the
    calibration is so small that the judge may be no better than a coin, nothing is known: -1 to 1.

    Args:
        difference: new - old by the judge, with its interval over the items.
        judge: what is known of the judge, alike on both versions.
    """
    if difference.value is None:
        return difference
    value = min(1.0, max(-1.0, difference.value / judge.youden))
    if difference.low is None or difference.high is None:
        return Estimate(value, why=difference.why)
    spans = [(rate, Interval(rate, rate) if n is None else jeffreys(rate * n, n)) for rate, n in judge.rates]
    below = math.hypot(*(rate - span.low for rate, span in spans))
    above = math.hypot(*(span.high - rate for rate, span in spans))
    j = Estimate(judge.youden, judge.youden - below, judge.youden + above)
    found = ratio(difference, j)
    if found is None:
        return Estimate(value, -1.0, 1.0, why=COIN)
    return Estimate.of(value, Interval(max(-1.0, found.low), min(1.0, found.high)))


def ppi_difference(judged: Floats, labelled: Floats, judged_of_labelled: Floats, *, binary: bool = False) -> Estimate:
    """Return a mean difference corrected by labels, with its 95 % interval.

    As ppi-python's, but that the labelled items are some of all (hence the covariance), Student's t for few labels,
    and, of right and wrong, one more disagreement in the variance (Agresti and Min, Statistics in Medicine 24 (2005)
    729-740, add as much): where no label contradicts the judge, it does not follow that none would.

    Args:
        judged: (N,) the judge's difference new - old of all items.
        labelled: (n,) people's difference of the labelled items.
        judged_of_labelled: (n,) the judge's difference of the same items.
        binary: whether items are right or wrong.

    >>> ppi_difference(np.array([0.0, 1, 0, -1]), np.array([0.0, 1]), np.array([0.0, 0])).value
    0.5
    """
    n = labelled.size
    if n < 2 or judged.size < 2:
        return Estimate.undefined("fewer than two labelled items")
    rest = labelled - judged_of_labelled
    value = float(judged.mean() + rest.mean())
    more = 1 if binary else 0
    spread = (float(np.square(rest).sum()) + more) / (n + more) - float(rest.mean()) ** 2
    common = float((judged_of_labelled * rest).mean() - judged_of_labelled.mean() * rest.mean())
    variance = (float(judged.var()) + 2 * common) / judged.size + max(spread, 0.0) / (n - 1)
    half = t_value(n - 1) * math.sqrt(max(variance, 0.0))
    return Estimate.of(value, Interval(value - half, value + half))


def read_labels(path: Path) -> pl.DataFrame:
    """Read people's labels: CSV or JSONL with `id`, `old`, `new` and, where there are several tasks, `task`.

    Returns:
        `task` (null where the file has none), `id`, `old`, `new` (numbers; right is 1, wrong is 0).

    Raises:
        DataError: the file cannot be read, a column is missing, a label is no finite number, or an item stands twice.
    """
    try:
        if path.suffix == ".csv":
            table = pl.read_csv(path, infer_schema=False)
        else:
            table = pl.read_ndjson(path, infer_schema_length=None)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path}: expected CSV or JSON lines with id, old and new: {reason}") from error
    missing = [name for name in ("id", "old", "new") if name not in table.columns]
    if missing:
        raise DataError(f"{path}: expected the columns id, old and new, found {', '.join(table.columns) or 'none'}")
    task = pl.col("task").cast(pl.String) if "task" in table.columns else pl.lit(None, pl.String)
    found = table.select(task.alias("task"), pl.col("id").cast(pl.String), *(_label(table, s) for s in ("old", "new")))
    for side in ("old", "new"):
        bad = (~found[side].is_finite()).fill_null(True)
        if bad.any():
            row = int(bad.arg_true()[0])
            raise DataError(
                f"{path}, record {row + 1}, field '{side}': expected 0, 1, true, false or a score, "
                f"found {table[side][row]!r}"
            )
    doubled = found.select("task", "id").is_duplicated()
    if doubled.any():
        row = int(doubled.arg_true()[-1])
        raise DataError(
            f"{path}, record {row + 1}: item {found['id'][row]!r} is labelled twice; expected each item once"
        )
    return found


def _label(table: pl.DataFrame, side: str) -> pl.Expr:
    if table[side].dtype == pl.String:
        plain = pl.col(side).str.strip_chars().str.to_lowercase()
        return plain.replace({"true": "1", "false": "0", "yes": "1", "no": "0"}).cast(pl.Float64, strict=False)
    return pl.col(side).cast(pl.Float64, strict=False)


def corrected_by_labels(joined: Joined, items: TaskItems, labels: pl.DataFrame) -> ByLabels | None:
    """Correct a task's difference by people's labels; None where no item of the task is labelled.

    Args:
        joined: the two runs, row by row.
        items: the task's items in them.
        labels: what `read_labels` gives.
    """
    columns = ("correct_old", "correct_new") if items.kind == "binary" else ("score_old", "score_new")
    rows = items.frame.select(
        "pair", f_old=pl.col(columns[0]).cast(pl.Float64), f_new=pl.col(columns[1]).cast(pl.Float64)
    )
    if items.kind == "continuous" and items.sign < 0:
        rows = rows.with_columns(-pl.col("f_old"), -pl.col("f_new"))
    keys = joined.old.select("task", "id")[rows["pair"]]
    # Repeats of an item are averaged first: people label items, and items are what is independent.
    by_item = (
        pl.concat([keys, rows], how="horizontal")
        .group_by("task", "id", maintain_order=True)
        .agg(pl.col("f_old", "f_new").mean())
        .drop_nulls()
    )
    by_task = labels.filter(pl.col("task").is_not_null())
    found = by_item.join(
        by_task if by_task.height else labels.drop("task"), on=["task", "id"] if by_task.height else ["id"]
    )
    if found.is_empty():
        return None
    judged = (by_item["f_new"] - by_item["f_old"]).to_numpy()
    label = (found["new"] - found["old"]).to_numpy()
    estimate = ppi_difference(
        judged, label, (found["f_new"] - found["f_old"]).to_numpy(), binary=items.kind == "binary"
    )
    note = "the labelled items must be a random sample of all"
    if found.height < MIN_LABELS:
        note = f"only {found.height} labelled items: the interval is rough; {note}"
    sensitivity, specificity = _seen_rates(found) if items.kind == "binary" else (None, None)
    return ByLabels(
        items=by_item.height,
        labelled=found.height,
        difference_judge=float(judged.mean()),
        difference=estimate,
        note=note,
        sensitivity=sensitivity,
        specificity=specificity,
    )


def _seen_rates(found: pl.DataFrame) -> tuple[float | None, float | None]:
    """Return the judge's sensitivity and specificity on the labels of both sides; None without right or wrong ones."""
    judged = np.concatenate([found["f_old"].to_numpy(), found["f_new"].to_numpy()])
    label = np.concatenate([found["old"].to_numpy(), found["new"].to_numpy()])
    right, wrong = judged[label >= 0.5], judged[label < 0.5]
    return float(right.mean()) if right.size else None, float(1 - wrong.mean()) if wrong.size else None


def corrected_by_errors(items: TaskItems, judge: JudgeErrors) -> ByErrors | None:
    """Correct a task's accuracies and their difference by the judge's known errors; None for a continuous score."""
    if items.kind != "binary" or items.frame.is_empty():
        return None
    quadrants = quadrants_of(items)
    judged = accuracy_difference(quadrants)
    rates = []
    for cells in (OLD_RIGHT, NEW_RIGHT):
        passed, total = float(quadrants.count(cells)), float(quadrants.total)
        if quadrants.clusters is not None:
            sample = effective_sample(quadrants.by_cluster(cells), quadrants.by_cluster(ALL))
            passed, total = sample.count, sample.total
        rates.append(corrected_rate(passed, total, judge))
    return ByErrors(
        items=quadrants.total,
        difference_judge=judged.value,
        accuracy_old=rates[0],
        accuracy_new=rates[1],
        difference=corrected_difference(judged, judge),
        note=_note(judge),
    )


def _note(judge: JudgeErrors) -> str:
    note = "taken: the judge errs alike on both versions"
    exact = [name for name, (_, n) in zip(("sensitivity", "specificity"), judge.rates, strict=True) if n is None]
    if not exact:
        return note
    how = "say on how many answers it was measured, as 0.9/200,0.85/150"
    return f"{note}, and its {' and '.join(exact)} as exact ({how})"
