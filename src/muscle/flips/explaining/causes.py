"""Why answers flipped: knowledge, format, refusal, cut off, error; or a cause by the user's own rule.

The wrong side of a flip is looked at: the new answer of a negative flip, the old answer of a positive one. The first
that holds:
1. a rule of the user's own (`muscle.flips.explaining.cause_rules`);
2. refusal: the finish reason or the text says that the model declined;
3. cut off: the finish reason says that the answer ended at a limit;
4. format: a loose scorer has the answer right, or there is none (null or blank);
5. knowledge: none of these, a proper answer and another one.
An answer that did not come back is missing, not wrong: "error" counts items that one side has right and the other
lost to an error. They are no flips and in no rate. Six classes after Xu & Wu, arXiv 2608.17719.

The loose scorer is, in this order: another filter of the same task (`flexible-extract` beside `strict-match`),
another score (`..._loose_acc` beside `..._strict_acc`, `exact_match_flexible`), else our own reading of the text
(`muscle.flips.explaining.loose_scorer`).

Only flipped items are classified, in columns; tasks whose answers are options picked by likelihood have nothing to
classify.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import polars as pl

from muscle.flips.explaining.cause_patterns import CUT_OFF, REFUSAL, REFUSED
from muscle.flips.explaining.loose_scorer import clipped, loose_match
from muscle.flips.options import CauseRule
from muscle.flips.pairing.flip_sign import NEGATIVE_FLIP, POSITIVE_FLIP
from muscle.flips.pairing.items import TaskItems
from muscle.flips.pairing.join import Joined
from muscle.flips.statistics.arrays import Ints
from muscle.predictions.run import SCORE_PREFIX

MAX_LOOSE = 20_000
"""Wrong answers a side that the loose gap reads; beyond it the gap is not told, unless a loose score is there."""

_OWN = "our own reading of the text"
_LOOSE = re.compile(r"flexible|loose|relaxed|lenient", re.IGNORECASE)
_REFUSAL_CHARACTERS = 400
_RULE_CHARACTERS = 20_000


@dataclass(frozen=True)
class CauseCounts:
    """Flips by cause.

    Attributes:
        negative_flip: how many broke by each cause.
        positive_flip: how many were gained by each.
    """

    negative_flip: Mapping[str, int]
    positive_flip: Mapping[str, int]


@dataclass(frozen=True)
class StrictLoose:
    """A version's accuracy by the strict and by a loose scorer, over all items.

    Attributes:
        strict: by the task's own scorer.
        loose: by the loose one.
        gap: loose less strict: right answers in a form that is not accepted.
    """

    strict: float
    loose: float
    gap: float


@dataclass(frozen=True)
class Causes:
    """The causes of one task's flips on one side.

    Attributes:
        counts: flips by cause.
        by_pair: `pair` (rising) and `cause` of every flip.
        old: accuracy of the old version by the strict and the loose scorer; None where no loose scorer applies.
        new: the same of the other version.
        loose_scorer: what the loose scorer is.
    """

    counts: CauseCounts
    by_pair: pl.DataFrame
    old: StrictLoose | None
    new: StrictLoose | None
    loose_scorer: str | None = None

    def of(self, pair: int) -> str | None:
        """Return a flip's cause by the number of its row in the joined frames."""
        place = int(np.searchsorted(self._pairs, pair))
        known = place < self._pairs.size and self._pairs[place] == pair
        return str(self.by_pair["cause"][place]) if known else None

    @cached_property
    def _pairs(self) -> Ints:
        """The rows as an array: a search in a polars series takes half a millisecond."""
        return self.by_pair["pair"].to_numpy().astype(np.int64)


@dataclass(frozen=True)
class _Side:
    """One version's answers to a task's items, row by row with `correct`."""

    rows: pl.DataFrame
    correct: pl.Series
    loose: pl.Series | None = field(default=None)


def find_causes(joined: Joined, items: TaskItems, rules: Sequence[CauseRule] = ()) -> Causes | None:
    """Find the causes of a task's flips.

    Args:
        joined: the two runs, row by row.
        items: the task's items in them.
        rules: the user's own.

    Returns:
        None where there is nothing to tell: a continuous score, no texts, or options picked by likelihood.
    """
    if items.kind != "binary" or items.frame.is_empty():
        return None
    pairs = items.frame["pair"]
    if not rules and not _has_texts(joined, pairs):
        return None
    given, scorer = _given_loose(joined, items)
    sides = []
    for frame, name, loose in zip((joined.old, joined.new), ("correct_old", "correct_new"), given, strict=True):
        columns = ["output", "input", "reference", "choices", "choice", "finish_reason"]
        rows = frame.select(columns) if items.covers(frame.height) else frame.select(columns)[pairs]
        sides.append(_Side(rows, items.frame[name].cast(pl.Boolean), loose))
    old, new = sides
    causes = {
        "negative_flip": _causes(new, items.frame["flip"] == NEGATIVE_FLIP, rules),
        "positive_flip": _causes(old, items.frame["flip"] == POSITIVE_FLIP, rules),
    }
    told = [c.with_columns(pair=pairs.gather(c["row"])) for c in causes.values()]
    by_pair = pl.concat(told).select("pair", "cause").sort("pair")
    counts = {kind: dict(sorted(c.group_by("cause").len().iter_rows())) for kind, c in causes.items()}
    for kind, lost in _errors(joined, items).items():
        counts[kind] |= {"error": lost} if lost else {}
    told_counts = CauseCounts(counts["negative_flip"], counts["positive_flip"])
    gaps = [_gap(side) for side in sides]
    if None in gaps:
        return Causes(told_counts, by_pair, None, None)
    return Causes(told_counts, by_pair, gaps[0], gaps[1], scorer or _OWN)


def _has_texts(joined: Joined, pairs: pl.Series) -> bool:
    """Whether some answer is a text that no option was picked by."""
    for frame in (joined.old, joined.new):
        if frame["output"].null_count() == frame.height:
            continue
        free = frame["output"].is_not_null() & frame["choice"].is_null()
        if free.any() and free.gather(pairs).any():
            return True
    return False


def _causes(side: _Side, chosen: pl.Series, rules: Sequence[CauseRule]) -> pl.DataFrame:
    """Return `row` and `cause` of the chosen answers, all of them wrong."""
    places = chosen.fill_null(False).arg_true()
    rows = side.rows[places].with_row_index("place")
    is_text = pl.col("output").is_not_null() & pl.col("choice").is_null()
    loose = side.loose.gather(places).fill_null(False) if side.loose is not None else None
    loose = loose if loose is not None else _own_loose(rows)
    reason = pl.col("finish_reason").str.strip_chars().str.to_lowercase()
    head = pl.col("output").str.head(_REFUSAL_CHARACTERS)
    refused = reason.is_in(REFUSED) | (is_text & pl.any_horizontal(head.str.contains(p) for p in REFUSAL))
    empty = pl.col("choice").is_null() & (pl.col("output").fill_null("").str.strip_chars() == "")
    cases = [(clipped(pl.col(rule.field), _RULE_CHARACTERS).str.contains(rule.pattern), rule.name) for rule in rules]
    cases += [(refused, "refusal"), (reason.is_in(CUT_OFF), "cut_off"), (empty | (loose & is_text), "format")]
    cause = pl.coalesce(
        *(pl.when(case.fill_null(False)).then(pl.lit(name)) for case, name in cases), pl.lit("knowledge")
    )
    return rows.select(cause=cause).with_columns(row=places)


def _own_loose(rows: pl.DataFrame) -> pl.Series:
    texts = rows.with_columns(output=pl.when(pl.col("choice").is_null()).then("output"))
    return loose_match(texts)


def _errors(joined: Joined, items: TaskItems) -> dict[str, int]:
    """Count the task's items that one side has right and of which the other has an error."""
    if joined.report.errors_old + joined.report.errors_new == 0:
        return {}
    task, _, wanted = items.name.rpartition("/")
    ours = (pl.col("task") == items.name) | ((pl.col("task") == task) & (pl.col("filter") == wanted))
    pairs = {"negative_flip": (joined.old, joined.new), "positive_flip": (joined.new, joined.old)}
    return {
        kind: right.select(
            (ours & pl.col("correct").fill_null(False) & pl.col("error").is_null()).alias("right"),
            failed["error"].is_not_null().alias("failed"),
        )
        .select((pl.col("right") & pl.col("failed")).sum())
        .item()
        for kind, (right, failed) in pairs.items()
    }


def _given_loose(joined: Joined, items: TaskItems) -> tuple[tuple[pl.Series | None, ...], str | None]:
    """Return whether each answer is right by a loose scorer that the runs bring, on both sides, and its name."""
    pairs = items.frame["pair"]
    for name in joined.old.columns:
        if not name.startswith(SCORE_PREFIX) or not _LOOSE.search(name) or name not in joined.new.columns:
            continue
        columns = [frame[name].gather(pairs) for frame in (joined.old, joined.new)]
        if all(c.null_count() == 0 and c.is_in([0.0, 1.0]).all() for c in columns):
            return tuple(c == 1.0 for c in columns), f"score {name.removeprefix(SCORE_PREFIX)}"
    task, filter_name = joined.old.row(pairs[0], named=True)["task"], joined.old["filter"][pairs[0]]
    if _LOOSE.search(filter_name):
        return (None, None), None
    filters = joined.old["filter"].unique().to_list() if joined.old["filter"].n_unique() > 1 else []
    for other in sorted(f for f in filters if _LOOSE.search(f)):
        columns = [_of_filter(frame, pairs, task, other) for frame in (joined.old, joined.new)]
        if all(c.null_count() == 0 for c in columns):
            return tuple(columns), f"filter {other}"
    return (None, None), None


def _of_filter(frame: pl.DataFrame, pairs: pl.Series, task: str, other: str) -> pl.Series:
    """Return correctness of the same answers by another filter of the task; null where it has none."""
    rows = frame.filter((pl.col("task") == task) & (pl.col("filter") == other) & pl.col("error").is_null())
    rows = rows.select("id", "repeat", "input", loose="correct").unique(["id", "repeat", "input"])
    wanted = frame.select("id", "repeat", "input")[pairs]
    return wanted.join(rows, on=["id", "repeat", "input"], how="left", maintain_order="left", nulls_equal=True)["loose"]


def _gap(side: _Side) -> StrictLoose | None:
    """Return the strict and the loose accuracy and their gap; None where there are too many answers to read."""
    strict = float(side.correct.mean())  # type: ignore[arg-type]
    if side.loose is not None:
        loose = float(side.loose.mean())  # type: ignore[arg-type]
        return StrictLoose(strict, loose, loose - strict)
    wrong = side.rows.filter(~side.correct & pl.col("output").is_not_null() & pl.col("choice").is_null())
    if wrong.height > MAX_LOOSE or wrong["reference"].null_count() == wrong.height > 0:
        return None
    gained = int(_own_loose(wrong).sum()) / side.correct.len() if wrong.height else 0.0
    return StrictLoose(strict, strict + gained, gained)
