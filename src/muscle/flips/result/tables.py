"""A comparison as tables, for those who go on in a notebook: items, flips, metrics, slices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import polars as pl

from muscle.errors import MuscleError
from muscle.flips.measuring.side_numbers import ESTIMATES
from muscle.flips.result.flip_list import classified
from muscle.flips.result.listed_repeats import ListedTask
from muscle.flips.result.report import Report
from muscle.flips.statistics.intervals import Estimate

if TYPE_CHECKING:
    import pandas

_METRIC_COLUMNS = {
    "task": pl.String,
    "side": pl.String,
    "metric": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "why": pl.String,
}


def items_table(tasks: Sequence[ListedTask]) -> pl.DataFrame:
    """Return all items of all tasks, a row an item and answer; see `muscle.Comparison.items`."""
    tables = [_task_items(task) for task in tasks]
    return pl.concat(tables, how="diagonal_relaxed") if tables else pl.DataFrame()


def _task_items(task: ListedTask) -> pl.DataFrame:
    items = task.items
    old, new = (frame[task.rows["pair"]] for frame in (task.old_vs_new.old, task.old_vs_new.new))
    marks = classified(task)
    shared = [pl.coalesce(old[name], new[name]).alias(name) for name in ("input", "reference")]
    columns = [
        pl.repeat(items.name, old.height, eager=True).alias("task"),
        *old.select("id", "filter", "repeat"),
        *pl.select(shared),
        task.rows["flip"],
        marks["kind"],
        _cause_column(task),
        *_version_columns(old, task.rows, "old"),
        *_version_columns(new, task.rows, "new"),
    ]
    if task.old_vs_candidate is not None:
        candidate = task.old_vs_candidate.new[task.rows["pair_candidate"]]
        columns += _version_columns(candidate, task.rows, "candidate")
        columns += [task.rows["flip_candidate"], marks["fixed"], marks["introduced"]]
    return pl.DataFrame(columns)


def _version_columns(frame: pl.DataFrame, rows: pl.DataFrame, version: str) -> list[pl.Series]:
    """Return a version's answers: text and option as they are, correctness and score as they were compared."""
    return [
        *(frame[name].alias(f"{name}_{version}") for name in ("output", "choice")),
        *(rows[f"{name}_{version}"] for name in ("correct", "score")),
    ]


def _cause_column(task: ListedTask) -> pl.Series:
    """Return why each item flipped; null where it did not, or nothing can be told."""
    if task.causes is None:
        return pl.repeat(None, task.rows.height, dtype=pl.String, eager=True).alias("cause")
    told = task.causes.by_pair.with_columns(pl.col("pair").cast(task.rows["pair"].dtype))
    return task.rows.select("pair").join(told, on="pair", how="left", maintain_order="left")["cause"]


def flips_table(items: pl.DataFrame) -> pl.DataFrame:
    """Return the items that flipped, or stayed wrong and changed: all of them.

    Args:
        items: what `items_table` gives.
    """
    return items.filter(pl.col("kind").is_not_null()) if items.width else items


def pandas_table(table: pl.DataFrame) -> pandas.DataFrame:
    """Return a table as one of pandas; pyarrow, with which polars would do it, need not be there.

    Raises:
        MuscleError: pandas is not installed.
    """
    try:
        import pandas
    except ModuleNotFoundError:
        raise MuscleError("to_pandas: pandas is not installed; install it with: pip install pandas") from None
    return pandas.DataFrame({column.name: _pandas_column(column) for column in table.iter_columns()})


def _pandas_column(column: pl.Series) -> pandas.api.extensions.ExtensionArray | list[object]:
    """Return a column with its nulls as pandas has them: of numbers and truths, in its types that know NA."""
    import pandas

    kinds = {pl.Boolean: "boolean", pl.Int64: "Int64", pl.Int32: "Int32", pl.Int8: "Int8", pl.Float64: "Float64"}
    kind = kinds.get(column.dtype.base_type())
    return column.to_list() if kind is None else pandas.array(column.to_list(), dtype=kind)


def metrics_table(report: Report) -> pl.DataFrame:
    """Return every metric of every task and side; see `muscle.Comparison.metrics`."""
    return pl.DataFrame(list(_metric_rows(report)), schema=_METRIC_COLUMNS, orient="row")


def _metric_rows(report: Report) -> Iterator[tuple[str | float | None, ...]]:
    for name, task in report.tasks.items():
        for side in ("old_vs_new", "old_vs_candidate", "new_vs_candidate"):
            numbers = task.numbers(side)
            if numbers is not None:
                for metric in ESTIMATES:
                    yield name, side, metric, *_ends(numbers.metric(metric))
        effect = task.candidate_effect
        if effect is not None:
            for metric in (
                "negative_flip_rate_change",
                "negative_flip_rate_change_percent",
                "accuracy_change",
                "mean_gain_change",
                "mean_regression_change",
            ):
                yield name, "candidate_effect", metric, *_ends(getattr(effect, metric))


def _ends(estimate: Estimate) -> tuple[float | None, float | None, float | None, str | None]:
    return estimate.value, estimate.low, estimate.high, estimate.why


def slices_table(report: Report) -> pl.DataFrame:
    """Return every slice that was tested; see `muscle.Comparison.slices`."""
    rows = [
        {
            "task": name,
            "side": side,
            "by": row.by,
            "value": row.value,
            "n": row.n,
            "negative_flips": row.negative_flips,
            "positive_flips": row.positive_flips,
            "negative_flip_rate": row.negative_flip_rate.value,
            "negative_flip_rate_low": row.negative_flip_rate.low,
            "negative_flip_rate_high": row.negative_flip_rate.high,
            "accuracy_old": row.accuracy_old,
            "accuracy_new": row.accuracy_new,
            "accuracy_difference": row.accuracy_difference.value,
            "accuracy_difference_low": row.accuracy_difference.low,
            "accuracy_difference_high": row.accuracy_difference.high,
            "p": row.p,
            "bh_p": row.bh_p,
            "holm_p": row.holm_p,
            "excess": row.excess.value if row.excess else None,
            "excess_bh_p": row.excess.bh_p if row.excess else None,
            "significant": row.significant,
        }
        for name, task in report.tasks.items()
        for side, found in task.slices.items()
        for row in (found.rows if found else ())
    ]
    return pl.DataFrame(rows, schema=_SLICE_COLUMNS)


_COUNTS = ("n", "negative_flips", "positive_flips")
_RATES = (
    "negative_flip_rate",
    "negative_flip_rate_low",
    "negative_flip_rate_high",
    "accuracy_old",
    "accuracy_new",
    "accuracy_difference",
    "accuracy_difference_low",
    "accuracy_difference_high",
    "p",
    "bh_p",
    "holm_p",
    "excess",
    "excess_bh_p",
)
_SLICE_COLUMNS = {
    **dict.fromkeys(("task", "side", "by", "value"), pl.String),
    **dict.fromkeys(_COUNTS, pl.Int64),
    **dict.fromkeys(_RATES, pl.Float64),
    "significant": pl.Boolean,
}
