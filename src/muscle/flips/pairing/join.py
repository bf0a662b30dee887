"""Pairing two runs item by item.

`muscle.flips.pairing.match` says which rows belong together. Data sets hold one item twice, number their parts from 0
again, and lose items: whatever does not pair is counted, and too much of it is refused.

Where items were asked several times, the r-th answer of one run pairs with the r-th of the other. Where a run asked
more often, its further answers pair with the other's again, from the first on: so every answer counts, and an item's
pairs are one group. `Answers` holds all answers, item by item.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

from muscle.errors import JoinError
from muscle.flips.options import MAX_UNPAIRED, On
from muscle.flips.pairing.match import Pairing, item_numbers, origin, pair_up, reference_texts
from muscle.flips.pairing.renamed_tasks import told_renaming
from muscle.flips.wording import percent_in_full, percent_in_three_digits, true_to_limit
from muscle.predictions.records import with_input_hash
from muscle.predictions.run import SLICE_PREFIX, Run


@dataclass(frozen=True)
class JoinReport:
    """How two runs fitted together; all counts are predictions.

    Attributes:
        paired: found on both sides, those with an error included.
        only_old: without a partner in the new run.
        only_new: without a partner in the old run.
        duplicates: left over because the item stands several times on a side, both sides together.
        conflicting: of these, the ones whose answers differ, so that the item was left out altogether.
        reference_changed: same input, other reference: left out, unless allowed.
        prompt_changed: same id, other input: they are among only_old and only_new, unless allowed.
        surplus_repeats: repeats beyond those that the other side has, both sides together; they pair with its answers
            again.
        errors_old: paired, without an answer in the old run.
        errors_new: paired, without an answer in the new run.
        key: what items were recognised by: "input", "id", or "input and id".
        changed: the two kinds of change together.
        unpaired_share: the larger of the two sides' shares of predictions without a partner; duplicates and
            surplus repeats are in neither part of the fraction.
    """

    paired: int
    only_old: int
    only_new: int
    duplicates: int
    conflicting: int
    reference_changed: int
    prompt_changed: int
    surplus_repeats: int
    errors_old: int
    errors_new: int
    key: str
    unpaired_share: float
    changed: int = field(init=False)

    def __post_init__(self) -> None:
        """Sum up what changed."""
        object.__setattr__(self, "changed", self.reference_changed + self.prompt_changed)


@dataclass(frozen=True)
class Answers:
    """All answers to the items that two runs share, where items were asked several times.

    Attributes:
        item: (paired,) number of each pair's item, from 0.
        old: the old run's rows of these items, with their `item`; repeats that the new run lacks are among them.
        new: the same of the new run.
        left: the items of the rows in `Joined.left`, side by side; those of items that have no pair come after the
            others.
    """

    item: pl.Series
    old: pl.DataFrame
    new: pl.DataFrame
    left: tuple[pl.Series, pl.Series]


@dataclass(frozen=True)
class Joined:
    """Two runs, row by row.

    Attributes:
        old: the paired rows of the old run.
        new: the paired rows of the new run, in the same order.
        old_rows: (paired,) numbers of the rows in the old run's frame, rising; a row stands several times where the
            other run asked its item more often.
        new_rows: (paired,) numbers of the rows in the new run's frame.
        report: what paired and what did not.
        left: the rows of each side that have no partner: the other side lacks the item or one of its repeats, or has
            another reference to it, or gives several answers to it (one row without a verdict then).
        answers: all answers, item by item; None where every item was asked once.
    """

    old: pl.DataFrame
    new: pl.DataFrame
    old_rows: pl.Series
    new_rows: pl.Series
    report: JoinReport
    left: tuple[pl.DataFrame, pl.DataFrame]
    answers: Answers | None = None


IDENTITY = ("task", "id", "filter", "repeat", "input_hash", "input", "choices", "reference")
"""The columns that say which item a row is of; slices do, too, and all others say what a version made of it."""


def without_answer(frame: pl.DataFrame, rows: pl.Series | None = None) -> pl.DataFrame:
    """Return records with nothing but their items in some rows: neither answer nor verdict, score or error.

    Args:
        frame: records.
        rows: (rows,) whether a row shall say nothing; None for all of them.
    """
    if rows is not None and not rows.any():
        return frame
    # `item` is its number among all answers; without it nobody knows whose answer is missing.
    said = [n for n in frame.columns if n not in (*IDENTITY, "item") and not n.startswith(SLICE_PREFIX)]
    kept = pl.lit(False) if rows is None else ~rows
    return frame.with_columns(pl.when(kept).then(pl.col(name)).alias(name) for name in said)


def _left(pairing: Pairing, changed: pl.Series) -> tuple[tuple[pl.Series, pl.DataFrame], ...]:
    """Return the rows without a partner of each side: their numbers, and what they hold.

    Args:
        pairing: what paired and what waits.
        changed: numbers of the old run's rows whose partner has another reference.
    """
    found = []
    for side, frame in enumerate(pairing.frames):
        waiting, unclear = pairing.waiting[side]["row"], pairing.conflicting[side]["row"]
        known = pl.concat([waiting, changed]) if side == 0 else waiting
        found.append((pl.concat([known, unclear]), pl.concat([frame[known], without_answer(frame[unclear])])))
    return tuple(found)


@dataclass(frozen=True)
class _Known:
    """A side's answers to the paired items, in the order of their repeats.

    Attributes:
        rows: `row`, `item` (number), `repeat`, and `valid`: no error.
    """

    rows: pl.DataFrame

    @property
    def valid(self) -> pl.DataFrame:
        """The answers without an error, with their place `at` among their item's and `num`, how many it has."""
        kept = self.rows.filter("valid")
        return kept.with_columns(at=pl.int_range(pl.len()).over("item"), num=pl.len().over("item").cast(pl.Int64))


def _answers_of_pairs(
    pairing: Pairing, pairs: pl.DataFrame, left: Sequence[pl.Series]
) -> tuple[pl.DataFrame, Answers | None]:
    """Collect all answers to the paired items; answers of theirs that wait for a partner are surplus, not missing.

    Returns:
        The pairs, with those of the surplus answers, and all answers; None where every item was asked once.
    """
    if not pairing.is_repeated:
        return pairs, None
    numbers = [item_numbers(f, rows) for f, rows in zip(pairing.frames, pairing.rows, strict=True)]
    links = pl.DataFrame({"item_old": numbers[0].gather(pairs["row"]), "item_new": numbers[1].gather(pairs["row_new"])})
    items = links.unique(subset="item_old", maintain_order=True).with_row_index("item")
    found, sides, left_items, num_items = [], [], [], items.height
    for side, name in enumerate(("item_old", "item_new")):
        linked = items.select(name, "item").unique(subset=name, keep="first")
        known = pl.DataFrame({name: numbers[side]}).with_row_index("row").join(linked, on=name, maintain_order="left")
        # What stands twice is one answer; which of several to one repeat is meant nobody knows.
        known = known.join(pairing.dropped[side], on="row", how="anti", maintain_order="left")
        surplus = pairing.waiting[side].join(known, on="row", how="semi")
        pairing.num_surplus[side] += surplus.height
        pairing.waiting[side] = pairing.waiting[side].join(surplus, on="row", how="anti")
        frame = pairing.frames[side][known["row"]]
        found.append(frame.with_columns(known["item"]))
        repeat, valid = frame["repeat"], frame["error"].is_null().alias("valid")
        sides.append(_Known(known.select("row", "item").with_columns(repeat, valid).sort("item", "repeat")))
        left_items.append(_items_of(numbers[side].gather(left[side]), linked.rename({name: "number"}), num_items))
        num_items += left[side].len()
    item = links.join(items.select("item_old", "item"), on="item_old", how="left", maintain_order="left")
    paired = pairs.with_columns(item["item"])
    every = pl.concat([paired, *(_surplus_pairs(sides, paired, side) for side in (0, 1))])
    every = every.sort("row", maintain_order=True)
    return every.select("row", "row_new"), Answers(every["item"], found[0], found[1], (left_items[0], left_items[1]))


def _surplus_pairs(sides: Sequence[_Known], paired: pl.DataFrame, side: int) -> pl.DataFrame:
    """Pair the answers that a side has beyond the other's with those again, from the first on: none is left out."""
    names = ("row", "row_new")
    here, there = sides[side].valid, sides[1 - side].valid
    taken = sides[side].rows.join(paired.select(pl.col(names[side]).alias("row")), on="row", how="semi")
    # What stands twice with one repeat was left out as doubled, and stays so.
    surplus = here.join(taken, on=["item", "repeat"], how="anti").drop("num")
    again = surplus.join(there.select("item", "num").unique(), on="item").with_columns(pl.col("at") % pl.col("num"))
    partner = there.select("item", "at", pl.col("row").alias("partner"))
    again = again.join(partner, on=["item", "at"], maintain_order="left")
    columns = {names[side]: again["row"], names[1 - side]: again["partner"], "item": again["item"]}
    return pl.DataFrame(columns).select(pl.col(name).cast(kind) for name, kind in paired.schema.items())


def _items_of(numbers: pl.Series, linked: pl.DataFrame, start: int) -> pl.Series:
    """Return the items of rows by their side's numbers: paired ones where linked, else new ones from `start`."""
    rows = pl.DataFrame({"number": numbers}).join(linked, on="number", how="left", maintain_order="left")
    own = (pl.col("number").rank("dense") - 1 + start).cast(rows["item"].dtype)
    return rows.select(pl.coalesce("item", own).alias("item")).to_series()


def _changed_references(old: pl.DataFrame, new: pl.DataFrame) -> pl.Series:
    """Return whether a pair's references differ where both sides have some."""
    if any(frame["reference"].null_count() == frame.height for frame in (old, new)):
        return pl.repeat(False, old.height, dtype=pl.Boolean, eager=True)
    texts = [reference_texts(frame) for frame in (old, new)]
    return (texts[0] != texts[1]).fill_null(False)


_TELL_APART = "number the answers to one item with `repeat`, from 0, or give each row an id of its own"


def _example(run: Run) -> str:
    row = run.frame.row(0, named=True)
    known = "an input and no id" if _is_without_ids(run) else f"id {row['id']!r}"
    known += " and no input" if _is_without_texts(run) else ""
    return f"{origin(run)} has task {row['task']!r}, filter {row['filter']!r}, {known}"


def _is_without_texts(run: Run) -> bool:
    return run.frame["input"].null_count() == run.frame.height == run.frame["input_hash"].null_count()


def _is_without_ids(run: Run) -> bool:
    """Whether rows have the id that reading gives where the file has none: the head of the input's hash."""
    first = run.frame.head(1)
    return bool((with_input_hash(first)["input_hash"].str.slice(0, 16) == first["id"]).fill_null(False).all())


def _other_key(old: Run, new: Run) -> str:
    """Add to a message that one run knows its items by id alone and the other by their texts."""
    for one, other in ((old, new), (new, old)):
        if _is_without_texts(one) and _is_without_ids(other):
            return (
                f". Name the column in which {one.name} has the texts (--column input=NAME), or {other.name} the ids "
                "(--column id=NAME); behind a run's name, ::column=input=NAME says it of that run alone"
            )
    return ""


def _rows(frame: pl.DataFrame, rows: pl.Series) -> pl.DataFrame:
    """Return some rows of a frame; the frame itself where they are all of them in order."""
    if rows.len() == frame.height and rows.equals(pl.int_range(frame.height, dtype=pl.UInt32, eager=True)):
        return frame
    return frame[rows]


def join_runs(
    old: Run, new: Run, *, on: On = "auto", max_unpaired: float = MAX_UNPAIRED, allow_changed: bool = False
) -> Joined:
    """Pair two runs item by item.

    Args:
        old: the run of the old version.
        new: the run of the new version, or of another candidate.
        on: "auto" recognises items by content, then by id where a side has no text; "id" by id alone.
        max_unpaired: share of a side's predictions, in [0, 1], that may have no partner.
        allow_changed: pair items although their reference changed, or, by id, although their prompt did.

    Raises:
        JoinError: the runs share no item, more than `max_unpaired` has no partner, or an id stands twice
            with different answers and nothing tells the items apart.
    """
    pairing = Pairing(old, new, on)
    prompt_changed, key = pair_up(pairing, allow_changed)
    pairs = pl.concat(pairing.pairs).sort("row")
    if pairs.is_empty():
        if pairing.first_conflict:
            raise JoinError(
                f"{old.name} and {new.name} share no item that stands once on each side; {pairing.first_conflict}: "
                f"{_TELL_APART}"
            )
        raise JoinError(
            f"{old.name} and {new.name} share no item: expected the same inputs or ids within a task and filter; "
            f"{_example(old)}; {_example(new)}{_other_key(old, new)}{_renaming(*pairing.runs)}"
        )
    joined_old, joined_new = (_rows(f, pairs[n]) for f, n in zip(pairing.frames, ("row", "row_new"), strict=True))
    changed = _changed_references(joined_old, joined_new)
    num_changed = int(changed.sum())
    dropped = pairs["row"].clear()
    if num_changed and not allow_changed:
        dropped = pairs["row"].filter(changed)
        pairs, joined_old, joined_new = (frame.filter(~changed) for frame in (pairs, joined_old, joined_new))
    (old_left, left_old), (new_left, left_new) = _left(pairing, dropped)
    every, answers = _answers_of_pairs(pairing, pairs, (old_left, new_left))
    to_pair = [
        f.height - pairing.num_collapsed[side] - pairing.num_surplus[side] for side, f in enumerate(pairing.frames)
    ]
    unpaired = [(number - pairs.height) / number for number in to_pair]
    report = JoinReport(
        paired=pairs.height,
        only_old=pairing.waiting[0].height,
        only_new=pairing.waiting[1].height,
        duplicates=sum(pairing.num_collapsed) + sum(pairing.num_conflicting),
        conflicting=sum(pairing.num_conflicting),
        reference_changed=num_changed,
        prompt_changed=prompt_changed,
        surplus_repeats=sum(pairing.num_surplus),
        errors_old=joined_old.height - joined_old["error"].null_count(),
        errors_new=joined_new.height - joined_new["error"].null_count(),
        key=key,
        unpaired_share=max(unpaired),
    )
    _refuse_too_few((pairing.runs[0], pairing.runs[1]), report, max_unpaired, pairing.first_conflict)
    if every.height > pairs.height:
        joined_old, joined_new = (pairing.frames[side][every[n]] for side, n in enumerate(("row", "row_new")))
    return Joined(joined_old, joined_new, every["row"], every["row_new"], report, (left_old, left_new), answers)


def _renaming(old: Run, new: Run) -> str:
    """Add to a message that tasks have other names, where they have."""
    told = told_renaming(old, new)
    return f". {told[0].upper()}{told[1:]}" if told else ""


def _refuse_too_few(runs: tuple[Run, Run], report: JoinReport, max_unpaired: float, first_conflict: str | None) -> None:
    old, new = runs
    if report.paired and report.unpaired_share <= max_unpaired:
        return
    expected = f"at most {percent_in_full(max_unpaired)}" if report.paired else "at least one pair"
    share = true_to_limit(percent_in_three_digits(report.unpaired_share), report.unpaired_share, max_unpaired)
    raise JoinError(
        f"{old.name} and {new.name}: {share} of a side's predictions have no partner "
        f"({report.paired} paired, {report.only_old} only in {old.name}, {report.only_new} only in {new.name}, "
        f"{report.conflicting} doubled with different answers, {report.reference_changed} with a changed reference, "
        f"{report.prompt_changed} with a changed prompt); expected {expected}: compare runs of the "
        "same items, or allow more (--max-unpaired) or changed ones (--allow prompts, --allow references)"
        + (f". {first_conflict}: {_TELL_APART}" if first_conflict else "")
        + _renaming(old, new)
    )
