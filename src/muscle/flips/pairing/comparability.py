"""What differs between two runs beside the model, before any number is made from them.

Flips can come from another prompt, another answer key, another judge or another release of the harness as well as from
another model. What makes a comparison meaningless is refused, with the word that allows it; the rest is noted. A fact
that only one run states is not known to differ, and is passed over.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import polars as pl

from muscle.errors import JoinError
from muscle.flips.options import ALLOWANCES
from muscle.flips.pairing.main_scores import other_names, other_scales
from muscle.flips.pairing.match import item_contents, reference_texts, with_one_task_name
from muscle.flips.pairing.metadata_changes import MAX_NAMES, SettingsChange, settings_changes
from muscle.flips.pairing.renamed_tasks import told_renaming
from muscle.flips.pairing.run_order import told_order
from muscle.foreign_text import common_start, first_few, shorten
from muscle.predictions.plain.verdicts import compared_with_reference
from muscle.predictions.run import Run

MAX_CHANGED = 0.05
"""Share of the shared items whose prompt or reference may differ: left out and counted when runs are joined."""
_IN_CAPITALS = ", in capitals alone: write them alike in both"

Severity = Literal["note", "refuse"]


@dataclass(frozen=True)
class Difference:
    """Something beside the model that differs between two runs.

    Attributes:
        what: "prompts", "documents", "references", "metric", "judge", "generation", "items", "scoring", "harness",
            "versions", "model", "order" or "settings".
        severity: "refuse" where it makes a comparison meaningless, else "note".
        message: what differs, in a sentence.
        allow: the word that allows it; None where nothing needs to be allowed.
        allowed: whether it was allowed.
        quoted: the part of the message that quotes items' texts, for reports without texts; empty where none does.
    """

    what: str
    severity: Severity
    message: str
    allow: str | None = None
    allowed: bool = False
    quoted: str = ""


def find_differences(old: Run, new: Run, *, max_changed: float = MAX_CHANGED) -> list[Difference]:
    """List what differs between two runs beside the model, what is refused first.

    Args:
        old: the run of the old version.
        new: the run of the new version.
        max_changed: share of the shared items, in [0, 1], whose prompt or reference may differ.
    """
    old, new = with_one_task_name([old, new])
    sides = _Sides(old, new)
    found = [*_items(old, new), *sides.changes(max_changed), *_scores(old, new), *_verdict_rules(old, new)]
    found += _verdict_columns(old, new)
    for change in settings_changes(old.metadata, new.metadata):
        found.append(_from_settings(change, texts_compared=sides.texts_compared))
    if (order := told_order(old, new)) is not None:
        found.append(Difference("order", "note", order))
    return sorted(found, key=lambda difference: difference.severity == "note")


def check_comparable(
    old: Run, new: Run, *, allow: Collection[str] = (), max_changed: float = MAX_CHANGED
) -> list[Difference]:
    """Refuse two runs whose comparison would say nothing of the models.

    Args:
        old: the run of the old version.
        new: the run of the new version.
        allow: what may differ, of `ALLOWANCES`.
        max_changed: share of the shared items, in [0, 1], whose prompt or reference may differ.

    Returns:
        All differences, those that were allowed marked so.

    Raises:
        JoinError: something else than what was allowed makes the comparison meaningless.
    """
    found = [replace(d, allowed=d.allow in allow) for d in find_differences(old, new, max_changed=max_changed)]
    refused = [d for d in found if d.severity == "refuse" and not d.allowed]
    if refused:
        words = " ".join(f"--allow {word}" for word in dict.fromkeys(d.allow for d in refused))
        reasons = "; ".join(d.message for d in refused)
        raise JoinError(
            f"{old.name} and {new.name} differ in more than the model: {reasons}. Run both in the same way, or "
            f"compare all the same with {words}"
        )
    return found


def _from_settings(change: SettingsChange, *, texts_compared: bool) -> Difference:
    """Judge a change of the settings; one whose effect can be seen in the records was judged there."""
    refused = change.what in ALLOWANCES and not (change.seen_in_inputs and texts_compared)
    return Difference(change.what, "refuse" if refused else "note", change.message, change.what if refused else None)


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _items(old: Run, new: Run) -> list[Difference]:
    """Compare which tasks and filters there are, with how many items and repeats."""
    # The streaming engine: the other one's groups take 190 bytes a row.
    sides = [
        run.frame.lazy()
        .group_by("task", "filter")
        .agg(items=(pl.col("repeat") == 0).sum(), repeats=pl.col("repeat").max() + 1)
        .collect(engine="streaming")
        for run in (old, new)
    ]
    both = sides[0].join(sides[1], on=["task", "filter"], how="full", coalesce=True).sort("task", "filter")
    found = []
    for side, run in (("items_right", old), ("items", new)):
        only = both.filter(pl.col(side).is_null())
        if only.height:
            names = [t if f == "none" else f"{t}/{f}" for t, f in only.select("task", "filter").iter_rows()]
            found.append(Difference("items", "note", f"only in {run.name}: {first_few(names, MAX_NAMES)}"))
    renamed = told_renaming(old, new)
    if renamed is not None:
        found.append(Difference("items", "note", renamed))
    for column, noun in (("items", "item"), ("repeats", "repeat")):
        other = both.filter(pl.col(column) != pl.col(f"{column}_right"))
        if other.height:
            first = other.row(0, named=True)
            counts = f"{_counted(first[column], noun)} against {_counted(first[f'{column}_right'], noun)}"
            more = f", and {other.height - 1} more tasks" if other.height > 1 else ""
            found.append(Difference("items", "note", f"task {first['task']}: {counts}{more}"))
    return found


def _scores(old: Run, new: Run) -> list[Difference]:
    """Compare the main scores' names and scales: items of one task must be judged by the same measure."""
    found: dict[tuple[str, Severity], list[str]] = {}
    for each in other_names(old, new):
        severity: Severity = "refuse" if each.decides else "note"
        found.setdefault((f"main score {each.old} against {each.new}", severity), []).append(each.task)
    for scale in other_scales(old, new):
        large, small = (old, new) if scale.is_old else (new, old)
        lies = "lies between 0 and 1" if scale.most <= 1 else f"is at most {scale.most:g}"
        text = f"{scale.score} {lies} in {small.name}, and is {scale.median:g} as the median in {large.name}"
        text += " (zeros aside)" if scale.has_zeros else ""
        found.setdefault((f"{text}, {'another' if scale.most <= 1 else 'perhaps another'} scale", "refuse"), []).append(
            scale.task
        )
    return [
        Difference(
            "metric",
            severity,
            f"task {first_few(tasks, MAX_NAMES)}: {text}",
            "metric" if severity == "refuse" else None,
        )
        for (text, severity), tasks in found.items()
    ]


def _compares(run: Run, task: str) -> str | None:
    """Return the field that a task's verdicts were made from by comparing it with the reference; None: given ones."""
    compares = run.metadata.get("compares")
    return compares.get(task) if isinstance(compares, Mapping) else compares


def _verdict_rules(old: Run, new: Run) -> Iterator[Difference]:
    """Find tasks whose verdicts are made by one rule on one side and by another on the other."""
    judged = [run.frame.filter(run.frame["correct"].is_not_null()) for run in (old, new)]
    tasks = [frame["task"].unique(maintain_order=True) for frame in judged]
    for task in tasks[0].filter(tasks[0].is_in(tasks[1].implode())):
        fields = [_compares(run, task) for run in (old, new)]
        if fields[0] == fields[1]:
            continue
        told = []
        for side, run in enumerate((old, new)):
            by = fields[1 - side]
            if by is not None:
                own = judged[side].filter(judged[side]["task"] == task)
                told.append((run.name, by, (compared_with_reference(own, by) != own["correct"]).drop_nulls()))
        if any(apart.len() and not apart.any() for _, _, apart in told):
            continue  # by the other side's rule the verdicts are the same
        name, by, apart = max(told, key=lambda each: each[2].len())
        other = new.name if name == old.name else old.name
        rule = f"task {task}: {other} is judged by comparing {by!r} with 'reference'"
        if apart.len():
            count = f"{int(apart.sum()):,} of {apart.len():,} verdicts of {name} are not what that gives"
            yield Difference("metric", "refuse", f"{rule}, and {count}", "metric")
        else:
            yield Difference("metric", "note", f"{rule}; the verdicts of {name} are given")


def _verdict_columns(old: Run, new: Run) -> Iterator[Difference]:
    """Find a column of verdicts that decides on one side, and on the other is there and does not."""
    for run, other in ((old, new), (new, old)):
        others, unused = _columns_said(other, "verdict_columns"), _columns_said(other, "unused_columns")
        deciding = _columns_said(run, "verdict_columns")
        passed_over = [name for name in deciding if name in unused and name not in others]
        if passed_over and others:
            yield Difference(
                "metric",
                "refuse",
                f"column '{first_few(passed_over, MAX_NAMES)}' decides in {run.name}, and in {other.name}, which has "
                f"it too, '{first_few(others, MAX_NAMES)}' does (--column correct=NAME chooses one for both)",
                "metric",
            )


def _columns_said(run: Run, fact: str) -> list[str]:
    found = run.metadata.get(fact)
    return [name for name in found if isinstance(name, str)] if isinstance(found, list) else []


class _Sides:
    """The items of two runs as hashes: of what identifies them, of their content, of content and reference."""

    def __init__(self, old: Run, new: Run) -> None:
        self.runs = (old, new)
        self.frames = [_first_answers(run.frame) for run in self.runs]
        contents = item_contents(self.frames)
        # Where a side has no text at all, nothing can be said of prompts.
        no_texts = any(column.null_count() == column.len() for column in contents)
        self.contents = None if no_texts else contents
        self.texts_compared = self.contents is not None and all(c.null_count() == 0 for c in self.contents)

    def changes(self, max_changed: float) -> list[Difference]:
        """Compare prompts, references and grading of the items that both runs have."""
        if self._in_one_order():
            changed, shared, how = _references_in_order(self.frames)
            found = self._told("references", changed, shared, max_changed, (how, ""))
            return found + self._grading(*_in_order("graded_by", self.frames))
        keys = [self._hashes(side) for side in (0, 1)]
        found = []
        if self.contents is not None:
            moved, shared, example = self._changed_prompts(keys)
            found += self._told("prompts", moved, shared, max_changed, example)
        changed_references, with_reference = _count_changed("answer", keys)
        how = _IN_CAPITALS if changed_references and self._differ_in_capitals(keys) else ""
        found += self._told("references", changed_references, with_reference, max_changed, (how, ""))
        return found + self._grading(*_count_changed("grading", keys))

    def _in_one_order(self) -> bool:
        """Whether both sides hold the same items in the same order, as one harness mostly writes them."""
        left, right = self.frames
        if left.height != right.height:
            return False
        if not all(left[name].equals(right[name]) for name in ("task", "filter")):
            return False
        if self.contents is not None:
            return self.contents[0].equals(self.contents[1])
        return left["id"].equals(right["id"])

    def _hashes(self, side: int) -> pl.DataFrame:
        frame = self.frames[side]
        content = (
            self.contents[side] if self.contents is not None else pl.Series([None] * frame.height, dtype=pl.String)
        )
        table = frame.select("task", "filter", "id", "reference", "graded_by").with_columns(content=content)
        # An item without text is recognised by its id. Hashing columns by themselves is faster than as structs.
        item = pl.coalesce("content", pl.lit("\x1f") + pl.col("id")).hash(1)
        within = pl.col("task").hash(2) ^ pl.col("filter").hash(3)
        return table.select(
            pl.col("content").is_not_null().alias("has_content"),
            (within ^ pl.col("id").hash(4)).alias("identity"),
            (within ^ item).alias("item"),
            pl.when(pl.col("reference").is_not_null())
            .then(within ^ item ^ reference_texts(frame).hash(5))
            .alias("answer"),
            pl.when(pl.col("graded_by").is_not_null())
            .then(within ^ item ^ pl.col("graded_by").hash(6))
            .alias("grading"),
        ).with_row_index("row")

    def _differ_in_capitals(self, keys: Sequence[pl.DataFrame]) -> bool:
        """Whether references that differ do so in capitals alone."""
        small = [
            side.select("item", answer=pl.when(pl.col("answer").is_not_null()).then(_small(frame).hash()))
            for side, frame in zip(keys, self.frames, strict=True)
        ]
        small = [side.with_columns(pl.col("answer") ^ pl.col("item")) for side in small]
        return _count_changed("answer", small)[0] == 0

    def _changed_prompts(self, keys: Sequence[pl.DataFrame]) -> tuple[int, int, tuple[str, str]]:
        """Count the items whose id both sides have with another content, and those that both sides have; show one."""
        left, right = (
            side.filter("has_content").join(other.filter("has_content"), on="item", how="anti")
            for side, other in (keys, keys[::-1])
        )
        lost = left.height
        left, right = (side.unique("identity", keep="first", maintain_order=True) for side in (left, right))
        moved = left.join(right, on="identity", suffix="_new").sort("row")
        shared = int(keys[0]["has_content"].sum()) - lost + moved.height
        example = "", ""
        if moved.height:
            rows = moved.row(0, named=True)
            example = self._example(rows["row"], rows["row_new"])
        return moved.height, shared, example

    def _example(self, left: int, right: int) -> tuple[str, str]:
        """Name an item and say how its prompt changed; and what of that quotes its texts."""
        one, other = self.frames[0].row(left, named=True), self.frames[1].row(right, named=True)
        change, quoted = _text_change(one, other)
        return f", the first is id {one['id']!r}{change}{quoted}", quoted

    def _grading(self, count: int, total: int) -> list[Difference]:
        """Tell of items that are graded in another way; a single one is another measure of the model."""
        if count == 0:
            return []
        message = f"{count:,} of {total:,} shared items are graded in another way{self._grading_example()}"
        return [Difference("metric", "refuse", message, "metric")]

    def _grading_example(self) -> str:
        """Show a way that only one side grades in, and one of the other."""
        ways = [frame["graded_by"].drop_nulls().unique(maintain_order=True) for frame in self.frames]
        only = [ways[side].filter(~ways[side].is_in(ways[1 - side].implode())) for side in (0, 1)]
        shown = [(own if own.len() else every)[0] for own, every in zip(only, ways, strict=True)]
        return f": by {shorten(shown[0], 100)} against {shorten(shown[1], 100)}"

    def _told(
        self, what: str, count: int, total: int, max_changed: float, example: tuple[str, str] = ("", "")
    ) -> list[Difference]:
        if count == 0:
            return []
        noun = {"prompts": "have another prompt (or other options)", "references": "have another reference"}[what]
        words, quoted = example
        message = f"{count:,} of {total:,} shared items {noun}{words}"
        if count > max_changed * total:
            return [Difference(what, "refuse", message, what, quoted=quoted)]
        told = f"{message}; such items are left out unless allowed"
        return [Difference(what, "note", told, what, quoted=quoted)]


def _first_answers(frame: pl.DataFrame) -> pl.DataFrame:
    """Return each item once; the frame itself where no item has repeats, as a copy of all texts is large.

    An item's first answer may have any number: its others may be lost, or filtered away.
    """
    if (frame["repeat"] == 0).all():
        return frame
    return frame.filter(pl.col("repeat") == pl.col("repeat").min().over("task", "filter", "id"))


def _references_in_order(frames: Sequence[pl.DataFrame]) -> tuple[int, int, str]:
    """Count the items, in one order, whose references differ, and those that both sides have; and say how."""
    left, right = (frame["reference"] for frame in frames)
    if left.null_count() == left.len() or right.null_count() == right.len() or left.equals(right):
        return 0, 0, ""
    texts = [reference_texts(frame) for frame in frames]
    changed = (texts[0] != texts[1]).drop_nulls()
    in_capitals = changed.any() and not (_small(frames[0]) != _small(frames[1])).any()
    return int(changed.sum()), changed.len(), _IN_CAPITALS if in_capitals else ""


def _small(frame: pl.DataFrame) -> pl.Series:
    return reference_texts(frame).str.to_lowercase()


def _in_order(name: str, frames: Sequence[pl.DataFrame]) -> tuple[int, int]:
    """Count the items, in one order on both sides, of which a column differs, and those that have it on both sides."""
    left, right = (frame[name] for frame in frames)
    if left.null_count() == left.len() or right.null_count() == right.len():
        return 0, 0
    changed = (left != right).drop_nulls()
    return int(changed.sum()), changed.len()


def _count_changed(name: str, keys: Sequence[pl.DataFrame]) -> tuple[int, int]:
    """Count the items of which a hash (of answer key, of grading) differs, and those that have it on both sides."""
    left, right = (side.drop_nulls(name) for side in keys)
    shared = left.join(right, on="item", how="semi")
    return shared.join(right, on=name, how="anti").height, shared.height


def _text_change(one: dict[str, Any], other: dict[str, Any], reach: int = 24) -> tuple[str, str]:
    """Say how two prompts differ, or quote both where they part; both empty where only one side has the text."""
    first, second = one["input"], other["input"]
    if first is None or second is None:
        return "", ""
    if first == second:
        return ", with other options or in another order", ""
    if first.split() == second.split():
        return ", and only white space differs", ""
    start = common_start(first, second)
    begin = max(0, start - reach // 2)
    return "", f": {first[begin : begin + reach]!r} against {second[begin : begin + reach]!r}"
