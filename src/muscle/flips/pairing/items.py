"""The items of a task that two runs share: what each got, whether the answer changed, by how much the score moved."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from muscle.errors import DataError, JoinError
from muscle.flips.pairing.flip_sign import Kind, with_flip
from muscle.flips.pairing.join import Joined
from muscle.flips.statistics.arrays import Ints
from muscle.predictions.records import COLUMNS, NO_FILTER
from muscle.predictions.run import SCORE_PREFIX, SLICE_PREFIX


@dataclass(frozen=True)
class TaskItems:
    """A task's items, scored on both sides; errored and unscored ones are left out.

    Attributes:
        name: the task, with the filter's name where it has several.
        kind: "binary" where correctness is known, else "continuous".
        score: the name of the score that gains and regressions are measured in; None where there is none.
        frame: one row an item and repeat: `pair` (its number in the joined frames), `correct_old`,
            `correct_new`, `changed` (null where answers cannot be compared), `score_old`, `score_new` (higher
            is better), `flip` (`muscle.flips.pairing.flip_sign`), and `cluster` (from 0) where items are grouped.
        num_unscored: items without error that have no correctness or score on a side.
        sign: -1 where less of the score is better, so that it was turned; else 1.
        epsilon: dead band of a score, in its unit.
        other_scores: names of the scores that a side has and that nothing is measured in; on a task of right and
            wrong those that say what correctness says are left out.
        worst: what a missing answer is taken for, old and new (right as 1 and wrong as 0, or scores), where missing
            ones are among the items (`muscle.flips.pairing.missing`); None where they are left out.
    """

    name: str
    kind: Kind
    score: str | None
    frame: pl.DataFrame
    num_unscored: int
    sign: int = 1
    epsilon: float = 0.0
    other_scores: tuple[str, ...] = ()
    worst: tuple[float, float] | None = None

    @property
    def score_label(self) -> str | None:
        """What reports call the score: with a minus where it was turned, so that more is better."""
        return f"-{self.score}" if self.score is not None and self.sign < 0 else self.score

    @property
    def clusters(self) -> Ints | None:
        """(items,) the number of each item's cluster; None where items are independent."""
        return self.frame["cluster"].to_numpy().astype(np.int64) if "cluster" in self.frame.columns else None

    def covers(self, height: int) -> bool:
        """Whether the items are all rows of the joined frames in order, so that texts need no copy."""
        pairs = self.frame["pair"]  # rises, so its ends tell
        return pairs.len() == height and (height == 0 or (pairs[0] == 0 and pairs[-1] == height - 1))


def answers_changed(joined: Joined) -> pl.Series:
    """Return whether the answers differ: the chosen options, else what was read out of the texts, else the texts.

    Null where there are none.
    A blank text is no answer: against a text it is another one, and of two of them nothing can be said.
    """
    return answers_differ(joined.old, joined.new)


def answers_differ(old: pl.DataFrame, new: pl.DataFrame) -> pl.Series:
    """Return the same of two frames of records, row by row."""
    by_choice = old["choice"] != new["choice"]
    if by_choice.null_count() == 0:
        return by_choice
    by_text = _differ(old["output"], new["output"])
    if any(side["extracted_answer"].null_count() == side.height for side in (old, new)):
        return pl.select(pl.coalesce(by_choice, by_text)).to_series()
    by_extract = old["extracted_answer"].str.strip_chars() != new["extracted_answer"].str.strip_chars()
    return pl.select(pl.coalesce(by_choice, by_extract, by_text)).to_series()


def _differ(old: pl.Series, new: pl.Series) -> pl.Series:
    """Return whether texts differ beyond white space; null where both are blank."""
    old, new = (side.str.strip_chars() for side in (old, new))
    said = [(side != "").fill_null(False) for side in (old, new)]
    differ = pl.when(said[0] & said[1]).then(old != new).when(said[0] != said[1]).then(True)
    return pl.select(differ.alias("differ")).to_series()


def _cluster_column(joined: Joined, cluster: str | None) -> pl.Series | None:
    """Return the group of each pair: a named column's, or the item's where it was asked several times."""
    frame = joined.old
    if cluster is not None:
        name = cluster if cluster in frame.columns else SLICE_PREFIX + cluster
        if name not in frame.columns or not (name in COLUMNS or name.startswith(SLICE_PREFIX)):
            slices = [n.removeprefix(SLICE_PREFIX) for n in frame.columns if n.startswith(SLICE_PREFIX)]
            raise DataError(
                f"cluster {cluster!r}: expected a slice or a column of the records, found the slices "
                f"{', '.join(slices) or 'none'}"
            )
        # An item without a group is a group of its own.
        own = pl.int_range(frame.height, dtype=pl.UInt32, eager=True).cast(pl.String) + "\x1f"
        return pl.select(pl.coalesce(frame[name].cast(pl.String), own)).to_series()
    if joined.answers is None or joined.answers.item.n_unique() == frame.height:
        return None
    return joined.answers.item


def _score_names(frame: pl.DataFrame) -> list[str]:
    return [name for name in frame.columns if name.startswith(SCORE_PREFIX) and frame[name].null_count() < frame.height]


def _scored_columns(frame: pl.DataFrame, rows: pl.Series) -> pl.DataFrame:
    columns = frame.select("correct", *_score_names(frame))
    return columns if rows.len() == frame.height else columns[rows]


def _is_truth(*columns: pl.Series) -> bool:
    """Whether scores are only 0 and 1."""
    return all(((column == 0) | (column == 1) | column.is_null()).all() for column in columns)


def _missing_measure(name: str, old: pl.DataFrame, new: pl.DataFrame) -> JoinError:
    """Return the error that what decides on one side is not there on the other."""
    told = [
        "`correct`"
        if frame["correct"].null_count() < frame.height
        else ", ".join(score.removeprefix(SCORE_PREFIX) for score in _score_names(frame)) or "nothing"
        for frame in (old, new)
    ]
    return JoinError(
        f"task {name!r}: expected `correct` or one score on both sides, found {told[0]} on the old one and "
        f"{told[1]} on "
        "the new one; what decides must be the same"
    )


def _main_score(name: str, old: pl.DataFrame, new: pl.DataFrame, *, binary: bool) -> str | None:
    """Choose the score that gains and regressions are measured in: the old side's first.

    Of a continuous task each side's first score must be there on the other: where a main score is blank, the next one
    is another measure. On a binary task a score of only 0 and 1 says what correctness says, so the first other one
    that both have is taken.
    """
    names = _score_names(old), _score_names(new)
    shared = [score for score in names[0] if score in names[1]]
    if binary:
        return next((score for score in shared if not _is_truth(old[score], new[score])), None)
    if not shared or names[0][0] != shared[0] or names[1][0] not in shared:
        raise _missing_measure(name, old, new)
    return shared[0]


def _truth_column(frame: pl.DataFrame) -> str | None:
    """Return the column that says what is right: `correct`, or a first score of only 0 and 1; None without one."""
    if frame["correct"].null_count() < frame.height:
        return "correct"
    scores = _score_names(frame)
    return scores[0] if scores and _is_truth(frame[scores[0]]) else None


def truth(frame: pl.DataFrame) -> pl.Series | None:
    """Return the correctness of records: as given, or a first score of only 0 and 1; None where neither is there."""
    column = _truth_column(frame)
    return None if column is None else frame[column].cast(pl.Boolean)


def _truths(name: str, old: pl.DataFrame, new: pl.DataFrame) -> tuple[pl.Series, pl.Series] | None:
    """Return correctness on both sides; None where neither side has it.

    Raises:
        JoinError: one side's verdicts are `correct`, and the other has none.
    """
    columns = _truth_column(old), _truth_column(new)
    if "correct" in columns and columns[0] != columns[1]:
        raise _missing_measure(name, old, new)
    sides = truth(old), truth(new)
    return (sides[0], sides[1]) if sides[0] is not None and sides[1] is not None else None


def _task(
    name: str,
    rows: pl.DataFrame,
    joined: Joined,
    *,
    epsilon: float,
    lower_is_better: Collection[str],
    seen: TaskItems | None,
) -> TaskItems:
    """Collect one task's items.

    Args:
        name: what the report calls the task.
        rows: `row` (number of the pair), `changed` and, where items are grouped, `group`.
        joined: the two runs.
        epsilon: dead band of a score.
        lower_is_better: names of scores of which less is better.
        seen: the task without missing answers, if they shall be taken at their worst; None leaves them out.
    """
    old, new = (_scored_columns(frame, rows["row"]) for frame in (joined.old, joined.new))
    truths = _truths(name, old, new)
    score = _main_score(name, old, new, binary=truths is not None)
    nothing = pl.repeat(None, rows.height, dtype=pl.Float64, eager=True)
    correct_old, correct_new = truths or (nothing.cast(pl.Boolean), nothing.cast(pl.Boolean))
    sign = -1 if score is not None and score.removeprefix(SCORE_PREFIX) in lower_is_better else 1
    frame = rows.rename({"row": "pair"}).with_columns(
        correct_old.alias("correct_old"),
        correct_new.alias("correct_new"),
        (sign * old[score] if score else nothing).alias("score_old"),
        (sign * new[score] if score else nothing).alias("score_new"),
    )
    kind: Kind = "binary" if truths else "continuous"
    worst = None
    if seen is not None:
        worst = (1.0, 0.0) if truths else _worst_scores(frame)
        frame = _filled(frame, kind, worst)
    needed = ["correct_old", "correct_new"] if truths else ["score_old", "score_new"]
    scored = frame.drop_nulls(needed)
    if truths:  # an answer that flipped is another one, whatever texts there are
        flipped = pl.when(pl.col("correct_old") != pl.col("correct_new")).then(True)
        scored = scored.with_columns(pl.coalesce("changed", flipped).alias("changed"))
    if "group" in scored.columns:
        scored = scored.with_columns((pl.col("group").rank("dense") - 1).alias("cluster")).drop("group")
    label = score.removeprefix(SCORE_PREFIX) if score else None
    others = _other_scores(old, new, score, truths)
    scored = with_flip(scored, kind, epsilon=epsilon)
    unscored = frame.height - scored.height
    return TaskItems(name, kind, label, scored, unscored, sign, epsilon, others, worst)


def _other_scores(
    old: pl.DataFrame, new: pl.DataFrame, main: str | None, truths: tuple[pl.Series, pl.Series] | None
) -> tuple[str, ...]:
    """Return the names of the scores that nothing is measured in, and that are not correctness again."""

    def is_truth(name: str) -> bool:
        return truths is not None and all(
            name not in frame.columns or (frame[name] == truth.cast(pl.Float64)).all()
            for frame, truth in zip((old, new), truths, strict=True)
        )

    names = dict.fromkeys((*_score_names(old), *_score_names(new)))
    return tuple(name.removeprefix(SCORE_PREFIX) for name in names if name != main and not is_truth(name))


def _worst_scores(frame: pl.DataFrame) -> tuple[float, float]:
    """Return the best old and the worst new score that there can be: 0 and 1 hold them, else what was seen does."""
    seen = pl.concat([frame["score_old"], frame["score_new"]]).drop_nulls()
    low, high = float(seen.min()), float(seen.max())  # type: ignore[arg-type]
    for bottom, top in ((0.0, 1.0), (-1.0, 0.0)):
        if bottom <= low and high <= top:
            return top, bottom
    return high, low


def _filled(frame: pl.DataFrame, kind: Kind, worst: tuple[float, float]) -> pl.DataFrame:
    names = ("correct_old", "correct_new") if kind == "binary" else ("score_old", "score_new")
    values = [bool(value) if kind == "binary" else value for value in worst]
    return frame.with_columns(pl.col(n).fill_null(v) for n, v in zip(names, values, strict=True))


def task_items(
    joined: Joined,
    *,
    epsilon: float = 0.0,
    cluster: str | None = None,
    lower_is_better: Collection[str] = (),
    seen: Mapping[str, TaskItems] | None = None,
) -> dict[str, TaskItems]:
    """Split joined runs into tasks, in the order of the old run.

    Args:
        joined: the two runs, row by row.
        epsilon: dead band of a continuous score: only a difference beyond it is a flip.
        cluster: a slice or column whose values group items that belong together; repeats of an item are
            always one group.
        lower_is_better: names of scores of which less is better; their sign is turned.
        seen: the tasks without missing answers, where `joined` holds rows for these (`muscle.flips.pairing.missing`):
            they are taken at their worst, and tasks of which nothing was seen are left out.

    Returns:
        The tasks by name; a task that was filtered in several ways is one for each filter, `task/filter`.

    Raises:
        DataError: the cluster column is not there.
        JoinError: what decides a task on one side, correctness or a score, is not there on the other.
    """
    old, new = joined.old, joined.new
    keys = old.select("task", "filter")
    rows = pl.DataFrame({"changed": answers_changed(joined)}).with_row_index("row")
    groups = _cluster_column(joined, cluster)
    if groups is not None:
        rows = rows.with_columns(groups.alias("group"))
    valid = old["error"].is_null() & new["error"].is_null()
    if not valid.all():
        rows, keys = rows.filter(valid), keys.filter(valid)
    named = old.lazy().select("task", "filter").unique().collect(engine="streaming")["task"]
    several = set(named.filter(named.is_duplicated()))
    found: dict[str, TaskItems] = {}
    for task, filter_name, part in _by_task(rows, keys):
        name = f"{task}/{filter_name}" if task in several and filter_name != NO_FILTER else task
        if seen is None or name in seen:
            found[name] = _task(
                name,
                part,
                joined,
                epsilon=epsilon,
                lower_is_better=lower_is_better,
                seen=None if seen is None else seen[name],
            )
    return found


def _by_task(rows: pl.DataFrame, keys: pl.DataFrame) -> Iterator[tuple[str, str, pl.DataFrame]]:
    """Yield each task and filter with its rows, in the order in which they appear."""
    if rows.height and keys.select(pl.all().n_unique()).row(0) == (1, 1):
        yield keys["task"][0], keys["filter"][0], rows
        return
    parts = pl.concat([rows, keys], how="horizontal").partition_by(
        keys.columns, as_dict=True, include_key=False, maintain_order=True
    )
    for (task, filter_name), part in parts.items():
        yield str(task), str(filter_name), part
