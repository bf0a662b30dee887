"""The items that an old and a new model both answered, one row each, and what is missing of them.

An item is told apart by its content (`input_hash`), where neither run has its text by its id. Of an item that was
asked several times the first answer is the one that is served; how far its answers agree is a feature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from muscle.errors import DataError
from muscle.flips.options import DEFAULTS, CompareOptions
from muscle.flips.pairing.comparability import check_comparable
from muscle.flips.pairing.items import answers_changed, truth
from muscle.flips.pairing.join import Joined, join_runs
from muscle.flips.pairing.match import with_one_task_name
from muscle.flips.statistics.arrays import Bools, Floats
from muscle.foreign_text import listing
from muscle.predictions.read import read_run
from muscle.predictions.records import COLUMNS, input_hash, with_input_hash
from muscle.predictions.run import DEFAULT_TASK, SCORE_PREFIX, Run, Source, Unread

FINGERPRINT_DIGITS = 16
"""Of the 64 of a SHA-256; among a million items two are alike with a chance of one in forty million."""

CONFIDENCE_SCORE = "confidence"
"""The score in which a model says how sure it is, where nothing else is said: no verdict, whatever its values are."""

ANSWER = pl.coalesce(pl.col("choice").cast(pl.String), pl.col("extracted_answer"), pl.col("output"))
"""What a record answers, of which two answers are the same."""

_AGREEMENT, _CALLS = "route_agreement", "route_calls"


@dataclass(frozen=True)
class Side:
    """What one model said of the paired items.

    Attributes:
        frame: records, a row an item.
        right: (items,) 1 right, 0 wrong, NaN where nobody judged it.
        agreement: (items,) share of an item's answers that say what most of them say; None where none was asked twice.
        calls: answers an item, on average.
    """

    frame: pl.DataFrame
    right: Floats
    agreement: Floats | None
    calls: float


@dataclass(frozen=True)
class Lost:
    """Items that cannot be served or judged, because something of them is missing.

    Attributes:
        names: "task id: why" of each, in order.
        fingerprints: of each.
        lacking: of each, which run has nothing of it: 0 the old one, 1 the new one; None where an answer failed.
        unread: what the old run's source and the new one's held that could not be read.
    """

    names: tuple[str, ...]
    fingerprints: tuple[str, ...]
    lacking: tuple[int | None, ...]
    unread: tuple[tuple[Unread, ...], tuple[Unread, ...]]

    def sentence(self) -> str:
        """Say what is missing; empty where nothing is."""
        told = f"{len(self.names):,} items have no pair of answers: {listing(self.names, 5)}" if self.names else ""
        return "; ".join([*([told] if told else []), *(f"not read: {each}" for side in self.unread for each in side)])


@dataclass(frozen=True)
class Pairs:
    """Pairs of answers: all that a rule reads.

    Attributes:
        old: what the old model said.
        new: what the new model said.
        same: (items,) whether both gave the same answer, so that nothing can flip.
    """

    old: Side
    new: Side
    same: Bools

    @property
    def num(self) -> int:
        """How many there are."""
        return self.same.size

    @property
    def judged(self) -> Bools:
        """Which items are known to be right or wrong on both sides, (items,)."""
        return ~np.isnan(self.old.right) & ~np.isnan(self.new.right)

    def name(self, row: int) -> str:
        """Name an item."""
        return f"{self.old.frame['task'][row]} {self.old.frame['id'][row]}"

    def names_of(self, rows: Bools, most: int = 5) -> str:
        """Name the first few of some items, and say how many more there are."""
        places = np.flatnonzero(rows).tolist()
        more = f" and {len(places) - most:,} more" if len(places) > most else ""
        return listing(self.name(row) for row in places[:most]) + more


@dataclass(frozen=True)
class Items(Pairs):
    """The paired items of two runs.

    Attributes:
        fingerprints: (items,) what each is told apart by.
        texts: (items,) of an item with options, what its input alone is told apart by; None of others.
        known_by: "input", "id", or "input and id".
        joined: the rows behind it.
        lost: what is not among them.
        names: the runs' names, old and new.
    """

    fingerprints: tuple[str, ...]
    texts: tuple[str | None, ...]
    known_by: str
    joined: Joined
    lost: Lost
    names: tuple[str, str]


def pair_items(
    old: Source, new: Source, options: CompareOptions = DEFAULTS, *, confidence: str = CONFIDENCE_SCORE
) -> Items:
    """Read two runs and pair them item by item.

    Args:
        old: the old model's answers, in any format that `muscle.compare` reads; recorded ones serve as well.
        new: the new model's.
        options: how they are read, paired and held against each other.
        confidence: name of the score in which a model says how sure it is.

    Raises:
        DataError: a run cannot be read, or its items have scores where right and wrong are needed.
        JoinError: the runs do not belong together, or differ in more than the model.
    """
    read = [read_run(source, format=options.format, columns=options.columns) for source in (old, new)]
    runs = with_one_task_name(read)
    check_comparable(runs[0], runs[1], allow=options.allow)
    first = [_first_of_each(run) for run in runs]
    joined = join_runs(
        first[0], first[1], on=options.on, max_unpaired=options.max_unpaired, allow_changed=options.allow_changed
    )
    _refuse_several_readings(joined.old)
    failed = joined.old["error"].is_not_null() | joined.new["error"].is_not_null()
    unnamed = any(DEFAULT_TASK in run.metadata for run in read)
    lost = _lost(joined, failed, unnamed, (tuple(runs[0].unread), tuple(runs[1].unread)))
    same = (~answers_changed(joined)).fill_null(False).filter(~failed).to_numpy()
    sides = [
        _one_model(frame.filter(~failed), run, confidence)
        for frame, run in zip((joined.old, joined.new), runs, strict=True)
    ]
    old_right, new_right = sides[0].right, sides[1].right
    differ = ~np.isnan(old_right) & ~np.isnan(new_right) & (old_right != new_right)
    kept = joined.old.filter(~failed), joined.new.filter(~failed)
    prints, known_by = _fingerprints(*kept, unnamed)
    texts = _texts_of_choices(*kept)
    return Items(sides[0], sides[1], same & ~differ, tuple(prints), texts, known_by, joined, lost, _told_apart(runs))


def _told_apart(runs: Sequence[Run]) -> tuple[str, str]:
    """Return the runs' names, old and new; where they are the same, with their role before them."""
    old, new = (run.name for run in runs)
    return (old, new) if old != new else (f"old {old}", f"new {new}")


def _first_of_each(run: Run) -> Run:
    """Return a run's first answer to each item, with how far its answers agree and how many there are."""
    keys = ["task", "filter", "id", "input"]
    marked = (
        run.frame.with_columns(route_answer=ANSWER)
        .with_columns(pl.len().over([*keys, "route_answer"]).alias("route_same"), pl.len().over(keys).alias(_CALLS))
        .with_columns((pl.col("route_same").max().over(keys) / pl.col(_CALLS)).alias(_AGREEMENT))
    )
    # Not every program counts from 0.
    is_first = pl.col("repeat") == pl.col("repeat").min().over(keys)
    first = marked.filter(is_first).drop("route_answer", "route_same").with_columns(repeat=pl.lit(0, COLUMNS["repeat"]))
    return Run(run.name, first, run.metadata, run.unread)


def _refuse_several_readings(frame: pl.DataFrame) -> None:
    several = frame.group_by("task").agg(pl.col("filter").n_unique()).filter(pl.col("filter") > 1)
    if several.height:
        task = several["task"][0]
        filters = sorted(frame.filter(pl.col("task") == task)["filter"].unique())
        raise DataError(
            f"task {task!r}: expected one reading of each answer, found {', '.join(filters)}; choose one (--filter)"
        )


def _one_model(frame: pl.DataFrame, run: Run, confidence: str) -> Side:
    calls = frame[_CALLS].cast(pl.Float64).to_numpy()
    asked_again = bool((calls > 1).any())
    return Side(
        frame.drop(_CALLS, _AGREEMENT),
        _verdicts_of(frame.drop(_CALLS, _AGREEMENT, *_if_there(frame, SCORE_PREFIX + confidence)), run.name),
        frame[_AGREEMENT].to_numpy() if asked_again else None,
        float(calls.mean()) if calls.size else 1.0,
    )


def _if_there(frame: pl.DataFrame, column: str) -> list[str]:
    return [name for name in frame.columns if name == column]


def _verdicts_of(frame: pl.DataFrame, run: str) -> Floats:
    """Return what is right, (items,): 1, 0, or NaN where nobody judged it."""
    found = np.full(frame.height, np.nan)
    rows = frame.with_row_index("route_row")
    for part in rows.partition_by("task", maintain_order=True):
        verdicts = truth(part)
        if verdicts is not None:
            found[part["route_row"].to_numpy()] = verdicts.cast(pl.Float64).to_numpy()
        elif scores := [n for n in part.columns if n.startswith(SCORE_PREFIX) and part[n].null_count() < part.height]:
            raise DataError(
                f"{run}, task {part['task'][0]!r}: expected answers that are right or wrong, found the score "
                f"{scores[0].removeprefix(SCORE_PREFIX)!r}; give `correct`, or a metric of 0 and 1 (--metric)"
            )
    return found


def _lost(
    joined: Joined, failed: pl.Series, unnamed: bool, unread: tuple[tuple[Unread, ...], tuple[Unread, ...]]
) -> Lost:
    """Collect the items that have no pair of answers: failed on a side, or without a partner."""
    errors = zip(joined.old.filter(failed)["error"], joined.new.filter(failed)["error"], strict=True)
    sides = ["failed on both sides" if a and b else f"failed in the {'old' if a else 'new'} run" for a, b in errors]
    parts = [(joined.old.filter(failed), joined.new.filter(failed), sides)]
    for frame, why in zip(joined.left, ("only in the old run", "only in the new run"), strict=True):
        parts.append((frame, frame, [why] * frame.height))
    names: list[str] = []
    prints: list[str] = []
    for old, new, reasons in parts:
        names += [f"{t} {i}: {why}" for (t, i), why in zip(old.select("task", "id").iter_rows(), reasons, strict=True)]
        prints += _fingerprints(old, new, unnamed)[0]
    left = [frame.height for frame in joined.left]
    lacking = [None] * (len(names) - sum(left)) + [1] * left[0] + [0] * left[1]
    return Lost(tuple(names), tuple(prints), tuple(lacking), unread)


def _fingerprints(old: pl.DataFrame, new: pl.DataFrame, unnamed: bool) -> tuple[list[str], str]:
    """Return what items are told apart by, and what that was made from.

    A task that was named after its file is left out: the same item may stand in a file of another name.
    """
    hashes = pl.select(pl.coalesce(*(with_input_hash(side)["input_hash"] for side in (old, new)))).to_series()
    found = []
    for digest, task, name in zip(hashes, old["task"], old["id"], strict=True):
        text = f"{'' if unnamed else task}\x1f{name}"
        found.append((digest or input_hash(text))[:FINGERPRINT_DIGITS])
    with_text = hashes.len() - hashes.null_count()
    known_by = "input" if with_text == hashes.len() else "input and id" if with_text else "id"
    return found, known_by


def _texts_of_choices(old: pl.DataFrame, new: pl.DataFrame) -> tuple[str | None, ...]:
    """Return what the inputs of items with options are told apart by: another file may have them without."""
    has_options = pl.col("choices").list.len() > 0
    sides = (side.select(pl.when(has_options).then("input")).to_series() for side in (old, new))
    inputs = pl.select(pl.coalesce(*sides)).to_series()
    return tuple(None if text is None else input_hash(text)[:FINGERPRINT_DIGITS] for text in inputs)
