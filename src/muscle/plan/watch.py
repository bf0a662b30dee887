"""Reading results while they come in, in an order that a sequential test may use."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from muscle.errors import DataError
from muscle.flips.options import DEFAULTS, CompareOptions
from muscle.flips.pairing.comparability import Difference, check_comparable
from muscle.flips.pairing.items import task_items, truth
from muscle.flips.pairing.join import Joined, join_runs
from muscle.flips.pairing.match import with_one_task_name
from muscle.flips.pairing.one_file_twice import refuse_one_file
from muscle.flips.statistics.arrays import Ints
from muscle.plan.item_list import write_items
from muscle.plan.sequential import ALPHA, LIMIT, SequentialState, SequentialTest, check_order, seeded_order
from muscle.predictions.read import read_run
from muscle.predictions.records import with_input_hash
from muscle.predictions.run import Run, Source, Unread

_DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True)
class Look(SequentialState):
    """What a look at the results found: the test after all usable items, and what it did not take in.

    Attributes:
        waiting: answers that are there but not used yet: in the seeded order others come before them.
        total: items of the old run, and those that the new run alone has.
        warnings: what the runs held and could not be read, and what differs beside the model.
    """

    waiting: int
    total: int
    warnings: Sequence[str]


def _order_keys(frame: pl.DataFrame) -> list[str]:
    """Return what tells a run's items apart, in any order and file: task, filter, content (else id), and repeat."""
    hashed = with_input_hash(frame)
    key = pl.concat_str(
        "task",
        "filter",
        pl.coalesce("input_hash", "id"),
        "id",
        pl.col("repeat").cast(pl.String),
        separator="\x1f",
    )
    return hashed.select(key).to_series().to_list()


def write_order(run: Source, path: Path, *, seed: int = 0, format: str | None = None) -> int:
    """Write the items of a run in seeded random order, for the harness to ask them in.

    Args:
        run: the old version's run: a path, a table or a `Run`.
        path: a `.jsonl` or `.csv` file.
        seed: of the order; `watch` must be told the same.
        format: of the run's file; None finds it by content.

    Returns:
        How many items were written.

    Raises:
        DataError: the run cannot be read, is a score, or asked items several times, so that it cannot be watched.
    """
    read = read_run(run, format=format)
    _refuse_unwatchable(read)
    row_of = _row_of_key(_order_keys(read.frame))
    order = seeded_order(list(row_of), seed)
    rows = read.frame[np.fromiter(row_of.values(), np.int64)[order].tolist()]
    write_items(path, rows.select("task", "id", "filter", "repeat", "input_hash", "input", "choices", "reference"))
    return int(rows.height)


def _refuse_unwatchable(run: Run) -> None:
    """Refuse a run that no test of flips can be held on, before anything is asked in its order."""
    if run.frame["repeat"].max() != run.frame["repeat"].min():
        raise DataError(f"{run.name}: expected one answer an item, found repeats; watch a run of one answer each")
    if any(truth(part) is None for part in run.frame.partition_by("task", "filter")):
        raise DataError(f"{run.name}: expected answers that are right or wrong, found a score; give `correct`")


def _row_of_key(keys: Sequence[str]) -> dict[str, int]:
    """Return each key with its first row: an item that stands twice is asked once."""
    return {key: row for row, key in reversed(list(enumerate(keys)))}


def look(
    old: Source,
    new: Source,
    *,
    seed: int | None = None,
    alpha: float = ALPHA,
    limit: float | None = LIMIT,
    format: str | None = None,
    options: CompareOptions = DEFAULTS,
) -> Look:
    """Test the results that are there.

    With the seed of the order that they are asked in, they are taken in that order whatever order they arrived in, as
    far as it is complete. Without it they are taken as they stand in the file, which is refused where that is the old
    run's order or the ids'. Answers that failed, have no verdict, pair with none of the old run's (doubled with
    different answers, to another reference, to items that it lacks) or could not be read count as broken where the
    limit shall be proven to hold.

    Args:
        old: the old version's run, complete.
        new: the new version's results so far.
        seed: of the order that `write_order` wrote; None for another random order.
        alpha: chance of a false alarm, and of a false acceptance, over all looks.
        limit: negative flip rate at which the update is accepted; None never accepts.
        format: of the files; None finds it by content.
        options: how items are recognised (`on`), and what may differ beside the model (`allow`).

    Raises:
        DataError: a run cannot be read, is a score, asks items several times, or comes in an order that is not random.
        JoinError: the runs share no item, differ in more than the model, or are one file.
    """
    runs = [read_run(source, format=format) for source in (old, new)]
    refuse_one_file({"old": runs[0], "new": runs[1]})
    differences = check_comparable(runs[0], runs[1], allow=options.allow)
    # The new run still grows: items without a partner are only not there yet.
    joined = join_runs(runs[0], runs[1], on=options.on, max_unpaired=1.0, allow_changed=options.allow_changed)
    frame = _verdicts_of_pairs(joined, runs[1].name)
    old_rows = joined.old_rows.to_numpy().astype(np.int64)
    unpaired = set(_order_keys(joined.left[1]))
    # In both files the task has one name here; the order hangs on the one that it has in the old run's alone.
    unclear = {
        row for key, row in _row_of_key(_order_keys(with_one_task_name(runs)[0].frame)).items() if key in unpaired
    }
    row_of = _row_of_key(_order_keys(runs[0].frame))
    if seed is None:
        taken = np.argsort(joined.new_rows.to_numpy().astype(np.int64))
        _refuse_order(runs[0], old_rows[taken])
    else:
        rows = np.fromiter(row_of.values(), np.int64)[seeded_order(list(row_of), seed)]
        taken = _complete_part(rows[~np.isin(rows, list(unclear))], old_rows)
    test = _begun([*runs[0].unread, *runs[1].unread], frame.height, alpha=alpha, limit=limit)
    _add_missing(test, len(unpaired))
    missing = (frame["correct_old"].is_null() | frame["correct_new"].is_null()).to_numpy()
    right_old, right_new = (frame[name].fill_null(False).to_numpy() for name in ("correct_old", "correct_new"))
    test.extend(right_old[taken], right_new[taken], missing=missing[taken])
    total = len(row_of) + len(unpaired) - len(unclear)
    absent = total - frame.height - len(unpaired) if seed is None and test.decision == "accept" else 0
    warnings = list(_look_warnings(runs, differences, absent=absent))
    return Look(**vars(test.state()), waiting=frame.height - taken.size, total=total, warnings=warnings)


def _look_warnings(runs: Sequence[Run], differences: Sequence[Difference], *, absent: int) -> Iterator[str]:
    """Say what makes a look worth less.

    Args:
        runs: the old and the new one.
        differences: between them, beside the model.
        absent: items of the old run that an acceptance says nothing of, and may have been asked.
    """
    for each in (*runs[0].unread, *runs[1].unread):
        yield f"not read: {each}"
    for difference in differences:
        if difference.what != "items":  # how many items there are each look tells anyway
            yield f"differs beside the model: {difference.message}"
    if absent:
        yield (
            f"{absent:,} items of {runs[0].name} have no answer in {runs[1].name}: an item that was asked and left "
            "none is not counted without --seed"
        )


def _verdicts_of_pairs(joined: Joined, name: str) -> pl.DataFrame:
    """Return a row a pair: `correct_old` and `correct_new`, null where there is no verdict.

    Args:
        joined: the runs, joined.
        name: the new version's, for messages.

    Raises:
        DataError: a task has a score, or items several answers.
    """
    tasks = task_items(joined)
    scored = [items for items in tasks.values() if items.kind == "binary"]
    if len(scored) != len(tasks):
        raise DataError(f"{name}: expected answers that are right or wrong, found a score; give `correct`")
    if joined.answers is not None and joined.answers.item.n_unique() < joined.old.height:
        raise DataError(f"{name}: expected one answer an item, found repeats; watch a run of one answer each")
    verdicts = [items.frame.select("pair", "correct_old", "correct_new") for items in scored]
    every = pl.DataFrame({"pair": pl.int_range(joined.old.height, dtype=pl.UInt32, eager=True)})
    none = every.clear().with_columns(correct_old=pl.lit(None, pl.Boolean), correct_new=pl.lit(None, pl.Boolean))
    return every.join(pl.concat([none, *verdicts]), on="pair", how="left", maintain_order="left")


def _begun(unread: Sequence[Unread], num_items: int, *, alpha: float, limit: float | None) -> SequentialTest:
    """Begin a test with what could not be read: it may stand anywhere in the order, and hides most if it comes first.

    Where nobody knows how much that is, or it is more than there are items, the limit is never accepted.
    """
    lost = sum(each.num_items or 0 for each in unread)
    if lost > num_items or any(each.num_items is None for each in unread):
        return SequentialTest(alpha=alpha, limit=None)
    test = SequentialTest(alpha=alpha, limit=limit)
    _add_missing(test, lost)
    return test


def _add_missing(test: SequentialTest, number: int) -> None:
    """Let a test see items without a verdict."""
    unknown = np.ones(number, dtype=np.bool_)
    test.extend(unknown, ~unknown, missing=unknown)


def _complete_part(order: Ints, old_rows: Ints) -> Ints:
    """Return the places of the answers at the head of the order, up to the first item without one."""
    arrived = np.isin(order, old_rows)
    head = order[: int(np.argmin(arrived))] if not arrived.all() else order
    place_of = {row: place for place, row in enumerate(old_rows.tolist())}
    return np.array([place_of[row] for row in head.tolist()], dtype=np.int64)


def _refuse_order(old: Run, rows: Ints) -> None:
    """Refuse the order of the old run's file and the order of the ids."""
    check_order(rows, "the order of the old run's file")
    ids = old.frame["id"].gather(rows).to_list()
    # Numbers within ids are ordered as numbers: "q10" comes after "q9".
    split = [[(0, int(part), "") if part.isdigit() else (1, 0, part) for part in _DIGITS.split(each)] for each in ids]
    by_id = sorted(range(len(ids)), key=lambda place: split[place])
    places = np.empty(len(ids), dtype=np.int64)
    places[by_id] = np.arange(len(ids))
    check_order(places, "the order of their ids")
