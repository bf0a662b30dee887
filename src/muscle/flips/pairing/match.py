"""Which row of one run is which row of the other: items recognised by content, then by id, each used once.

Items are the same when their content is (input and options), within a task, filter and repeat; where a side
has no text, when their ids are. Of an item that stands several times on a side, the id tells which is which. Where
it does not and the answers are the same, one is kept; where they differ, the item is left out, or, without text,
refused: it may be two items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from muscle.errors import JoinError
from muscle.flips.options import On
from muscle.predictions.records import input_texts, with_input_hash
from muscle.predictions.run import DEFAULT_TASK, SCORE_PREFIX, UNNAMED_TASK, Run

_WITHIN = ["task", "filter", "repeat"]
_ANSWER = ["output", "choice", "correct", "error"]


def with_one_task_name(runs: Sequence[Run]) -> list[Run]:
    """Give the task one name in runs of one task each, where a file named none and so took its own.

    Runs whose rows name their tasks are left as they are.
    """
    unnamed = [len(run.tasks) == 1 and run.metadata.get(DEFAULT_TASK) == run.tasks[0] for run in runs]
    named = {task for run, is_unnamed in zip(runs, unnamed, strict=True) if not is_unnamed for task in run.tasks}
    if not any(unnamed) or len(named) > 1:
        return list(runs)
    found = {task for run in runs for task in run.tasks}
    name = next(iter(named or found)) if len(named or found) == 1 else UNNAMED_TASK
    return [
        replace(run, frame=run.frame.with_columns(task=pl.lit(name))) if is_unnamed else run
        for run, is_unnamed in zip(runs, unnamed, strict=True)
    ]


def item_contents(frames: Sequence[pl.DataFrame]) -> list[pl.Series]:
    """Return what items are recognised by: texts where all runs have them, else hashes; null where there is no text."""
    if all(frame["input"].null_count() == 0 for frame in frames):
        return [input_texts(frame).alias("content") for frame in frames]
    return [with_input_hash(frame)["input_hash"].alias("content") for frame in frames]


class Pairing:
    """The rows of two runs that wait for a partner, and the pairs found so far."""

    def __init__(self, old: Run, new: Run, on: On) -> None:
        old, new = with_one_task_name([old, new])
        self.runs = (old, new)
        self.frames = (self.runs[0].frame, self.runs[1].frame)
        kinds = [frame.select(pl.col(_WITHIN).unique().implode()).row(0) for frame in self.frames]
        # One task, filter and repeat on both sides need not be compared row by row.
        same = kinds[0] == kinds[1] and all(len(values) == 1 for values in kinds[0])
        self.within: list[str] = [] if same else _WITHIN
        last_repeat = min(max(values[-1], default=0) for values in kinds)
        nothing = [pl.repeat(None, frame.height, dtype=pl.String, eager=True) for frame in self.frames]
        contents = nothing if on == "id" else item_contents(self.frames)
        rows = [
            frame.select(*self.within, "id", content.alias("content")).with_row_index("row")
            for frame, content in zip(self.frames, contents, strict=True)
        ]
        self.rows = tuple(rows)
        self.is_repeated = any(max(values[-1], default=0) > 0 for values in kinds)
        self.waiting = rows if same else [side.filter(pl.col("repeat") <= last_repeat) for side in rows]
        self.num_collapsed = [0, 0]
        self.conflicting = [rows[0].clear().select("row") for _ in rows]
        self.num_conflicting = [0, 0]
        self.dropped = list(self.conflicting)
        self.first_conflict: str | None = None
        # Repeats that the other side lacks pair with none of its own, but stand twice as others do.
        beyond = [side.clear() if same else side.filter(pl.col("repeat") > last_repeat) for side in rows]
        keys = [["id"] if each["content"].null_count() == each.height else ["content", "id"] for each in beyond]
        self.num_surplus = [self._once_each(side, beyond[side], keys[side]).height for side in (0, 1)]
        # An empty one to begin with: that nothing pairs must not be a case of its own.
        self.pairs = [pl.DataFrame(schema={"row": pl.UInt32, "row_new": pl.UInt32})]

    @property
    def is_open(self) -> bool:
        """Whether both sides still have rows."""
        return all(rows.height for rows in self.waiting)

    def candidates(self, key: list[str]) -> pl.DataFrame:
        """Return the pairs of rows that stand once on each side by a key (besides task, filter and repeat)."""
        by = [*self.within, *key]
        left, right = (_once(_with_key(rows, key), by) for rows in self.waiting)
        if left.height == right.height and left.select(by).equals(right.select(by)):
            # Runs of one harness are mostly in one order: no join is needed.
            return left.with_columns(right["row"].alias("row_new"), right["content"].alias("content_new"))
        return left.join(right, on=by, how="inner", suffix="_new")

    def take(self, found: pl.DataFrame) -> None:
        """Move pairs of rows from the waiting ones to the pairs."""
        self.pairs.append(found.select("row", "row_new"))
        for side, name in enumerate(("row", "row_new")):
            rows = self.waiting[side]
            gone = found.select(pl.col(name).alias("row"))
            self.waiting[side] = rows.clear() if gone.height == rows.height else rows.join(gone, on="row", how="anti")

    def collapse(self, key: list[str]) -> None:
        """Keep one row of those that say the same of one item; drop items of which different things are said."""
        for side, rows in enumerate(self.waiting):
            self.waiting[side] = self._once_each(side, rows, key)

    def _once_each(self, side: int, rows: pl.DataFrame, key: list[str]) -> pl.DataFrame:
        """Return a side's rows, one of those that say the same of one item; `dropped` are the others."""
        by = [*self.within, *key]
        keyed = _with_key(rows, key)
        if _is_once(keyed, by):
            return rows
        several = keyed.filter(pl.struct(by).is_duplicated())
        # Which one is kept must not hang on the order of rows.
        references = self.frames[side]["reference"].gather(several["row"])
        several = several.with_columns(reference=references.list.sort().list.join("\x1f", ignore_nulls=True))
        several = several.sort("id", "content", "reference", nulls_last=True)
        marked = several.with_columns(answer=self._answers(side, several)).with_columns(
            kinds=pl.col("answer").n_unique().over(by)
        )
        conflicting = marked.filter(pl.col("kinds") > 1)
        if conflicting.height:
            told = self._conflict(side, conflicting, by)
            self.first_conflict = self.first_conflict or told
            if key == ["id"]:
                raise JoinError(
                    f"{told}, and no input on both sides tells the items apart; expected each id once within a "
                    "task, filter and repeat: give `input`, other ids, or number the answers to one item "
                    "with `repeat`"
                )
        doubled = marked.filter((pl.col("kinds") == 1) & ~pl.struct(by).is_first_distinct())
        gone = pl.concat([doubled.select("row"), conflicting.select("row")])
        self.dropped[side] = pl.concat([self.dropped[side], gone])
        self.num_collapsed[side] += doubled.height
        self.num_conflicting[side] += conflicting.height
        once = conflicting.filter(pl.struct(by).is_first_distinct()).select("row")
        self.conflicting[side] = pl.concat([self.conflicting[side], once])
        return rows.join(gone, on="row", how="anti")

    def _answers(self, side: int, rows: pl.DataFrame) -> pl.Series:
        """Return a number for each row that is the same for the same answer to the same content."""
        frame = self.frames[side]
        scores = [name for name in frame.columns if name.startswith(SCORE_PREFIX)]
        answers = frame[rows["row"]].select(*_ANSWER, *scores).with_columns(content=rows["content"])
        return answers.select(pl.struct(pl.all()).hash()).to_series()

    def _conflict(self, side: int, conflicting: pl.DataFrame, by: list[str]) -> str:
        """Say which item is doubled with different answers, and where."""
        first = conflicting.row(0, named=True)
        task = self.frames[side]["task"][first["row"]]
        same = conflicting.filter([pl.col(name) == first[name] for name in by])["row"]
        places = " and ".join(str(row + 1) for row in same[:2])
        return (
            f"{origin(self.runs[side])}: id {first['id']!r} of task {task!r} stands in records {places} with "
            "different answers"
        )


def pair_up(pairing: Pairing, allow_changed: bool) -> tuple[int, str]:
    """Pair what can be paired; return the number of changed prompts, and what items were recognised by."""
    if all(rows["content"].null_count() < rows.height for rows in pairing.waiting):
        pairing.take(pairing.candidates(["content"]))
        for key in (["content", "id"], ["content"]):
            if pairing.is_open:
                pairing.collapse(key)
                pairing.take(pairing.candidates(key))
    by_content, by_id, prompt_changed = sum(pairs.height for pairs in pairing.pairs), 0, 0
    if pairing.is_open and any(rows["content"].null_count() for rows in pairing.waiting):
        pairing.collapse(["id"])
        found = pairing.candidates(["id"])
        found = found.filter(pl.col("content").is_null() | pl.col("content_new").is_null())
        by_id = found.height
        pairing.take(found)
    if pairing.is_open:
        changed = pairing.candidates(["id"])
        prompt_changed = changed.height
        if allow_changed:
            pairing.take(changed)
            by_id += changed.height
    return prompt_changed, " and ".join(name for name, used in (("input", by_content), ("id", by_id)) if used)


def item_numbers(frame: pl.DataFrame, rows: pl.DataFrame) -> pl.Series:
    """Return a number for each row that all answers to one item share: by content, and by id where that tells more."""
    keyed = rows.select(
        "id",
        frame["task"],
        frame["filter"],
        frame["repeat"],
        key=pl.coalesce("content", pl.lit("\x1f") + pl.col("id")),
    )
    by = ["task", "filter", "key"]
    if not _is_once(keyed, [*by, "repeat"]):
        by.append("id")
    return keyed.select(pl.struct(by).hash().rank("dense").alias("item")).to_series()


def _with_key(rows: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    """Return the rows that have a key; the frame itself, not a copy, where all have one."""
    return rows.drop_nulls(key) if any(rows[name].null_count() for name in key) else rows


def _key(by: list[str]) -> pl.Expr:
    return pl.struct(by) if len(by) > 1 else pl.col(by[0])


def _is_once(rows: pl.DataFrame, by: list[str]) -> bool:
    """Whether surely no two rows share a key; counting hashes is four times as fast as marking what is unique."""
    return bool(rows.select(_key(by).hash().n_unique()).item() == rows.height)


def _once(rows: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    """Return the rows whose key no other row has."""
    return rows if _is_once(rows, by) else rows.filter(_key(by).is_unique())


def reference_texts(frame: pl.DataFrame) -> pl.Series:
    """Return the accepted answers as one text; neither their order nor white space around them makes a difference."""
    references = frame["reference"]
    if (references.list.len().max() or 0) == 1:
        return references.list.first().str.strip_chars()
    return references.list.eval(pl.element().str.strip_chars()).list.sort().list.join("\x1f", ignore_nulls=True)


def origin(run: Run) -> str:
    """Name a run as a message does."""
    source = run.metadata.get("source")
    return run.name if source in (None, run.name) else f"{run.name} ({source})"
