"""What a record is good for: how many inputs and answers, how sure each is, its noise floor, what failed.

The floor comes from repeats: an item that is right in a share p of its K answers breaks against itself in two draws
with probability p (1 - p) K / (K - 1), estimated without bias (`muscle.flips.noise`). Without labels the same is told
of the answer itself: how often two answers to one item differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from muscle.flips.noise.repeats import mean_of_items, own_flips, side_of
from muscle.flips.statistics.intervals import Estimate
from muscle.foreign_text import one_line
from muscle.predictions.records import with_input_hash
from muscle.predictions.run import SCORE_PREFIX, Run
from muscle.record.log import ASKED_FOR
from muscle.record.rows import NO_ANSWER

MAX_OPTIONS = 12
"""Options that are named; the others are counted."""

ITEM = ("id", "filter", "input_hash")
"""What tells the items of a task apart."""

UNREPEATED = "every input was answered once; record it with --repeats 3, or once more into another file"


@dataclass(frozen=True)
class TaskRecord:
    """What a record says of a task.

    Attributes:
        task: its name.
        inputs: items that were asked.
        answers: in all, failed and empty ones included.
        repeats: answers an item that came, and how many items have so many.
        failed: answers that did not come.
        empty: of these, those that were blank, or are rows without answer, verdict and score.
        no_option: answers of items with options that name none.
        learnt_from: items with at least one answer that an update can learn from: that names an option, or is a text.
        repeated: items with at least two of these.
        judged: answers that are right or wrong.
        accuracy: share of these that are right; None where none is judged.
        likelihoods: items with log-probabilities of all their options.
        options: how often each option was answered, the most frequent first.
        floor: negative flips of the model against itself, a share of the items.
        differ: how often two answers to one item differ.
        scores: names of the scores, where nothing is judged right or wrong.
    """

    task: str
    inputs: int
    answers: int
    repeats: Mapping[int, int]
    failed: int
    empty: int
    no_option: int
    learnt_from: int
    repeated: int
    judged: int
    accuracy: float | None
    likelihoods: int
    options: Mapping[str, int]
    floor: Estimate
    differ: Estimate
    scores: Sequence[str] = ()

    @property
    def answered(self) -> int:
        """Items with at least one answer."""
        return sum(number for times, number in self.repeats.items() if times)


@dataclass(frozen=True)
class RecordCheck:
    """What a record is good for.

    Attributes:
        name: its file's.
        tasks: of each task.
        models: as the calls' answers name them, with how many.
        first: when its first call was made; None where the record does not say.
        last: its last.
        ways: in which it was asked for; empty of other programs' files.
        unread: what its source held that could not be read.
    """

    name: str
    tasks: Sequence[TaskRecord]
    models: Mapping[str, int] = field(default_factory=dict)
    first: str | None = None
    last: str | None = None
    ways: Sequence[str] = ()
    unread: Sequence[str] = ()


def check_record(run: Run, calls: Sequence[Mapping[str, object]] = ()) -> RecordCheck:
    """Tell what a record is good for.

    Args:
        run: the record, as `muscle.predictions.read.read_run` gives it.
        calls: how its answers were asked for, where the file says so.
    """
    dates = sorted(str(call["asked"]) for call in calls if "asked" in call)
    named = Counter(_model_called(call) for call in calls if "model" in call and not call.get("failed"))
    told = run.metadata.get("model")
    if not named and isinstance(told, Mapping) and told.get("name"):
        named = Counter({one_line(told["name"], 80): run.frame.height})
    return RecordCheck(
        run.name,
        [_task_record(task, run.frame.filter(pl.col("task") == task)) for task in run.tasks],
        dict(named.most_common()),
        dates[0] if dates else None,
        dates[-1] if dates else None,
        sorted({str(call["way"]) for call in calls if "way" in call}),
        [str(each) for each in run.unread],
    )


def _model_called(call: Mapping[str, object]) -> str:
    """Name the model that answered, and what it was asked as where that is another name."""
    name = one_line(call["model"], 80)
    return f"{name}, asked for as {one_line(call[ASKED_FOR], 80)}" if ASKED_FOR in call else name


def _task_record(task: str, given: pl.DataFrame) -> TaskRecord:
    # One id may stand for several texts, as where parts of a data set are numbered from 0 again.
    frame = with_input_hash(given).with_columns(came=pl.col("error").is_null() & _says_something(given))
    came = frame.filter("came")
    times = frame.group_by(ITEM).agg(times=pl.col("came").sum())
    repeats = Counter(times["times"].to_list())
    has_options = (pl.col("choices").list.len() > 0).fill_null(value=False)
    option = pl.col("choices").list.get(pl.col("choice"), null_on_oob=True)
    named = came.filter(has_options).select(option).to_series()
    taught = came.filter(~has_options | option.is_not_null()).group_by(ITEM).len()["len"]
    judged = came["correct"].drop_nulls()
    whole = (pl.col("logprobs").list.len() == pl.col("choices").list.len()) & (pl.col("choices").list.len() > 0)
    return TaskRecord(
        task=task,
        inputs=times.height,
        answers=frame.height,
        repeats=dict(sorted(repeats.items())),
        failed=frame.height - came.height,
        empty=frame.filter((pl.col("error") == NO_ANSWER) | (pl.col("error").is_null() & ~pl.col("came"))).height,
        no_option=named.null_count(),
        learnt_from=taught.len(),
        repeated=int((taught > 1).sum()),
        judged=judged.len(),
        accuracy=float(judged.cast(pl.Float64).mean()) if judged.len() else None,  # type: ignore[arg-type]
        likelihoods=came.filter(whole).select(ITEM).n_unique(),
        options=dict(Counter(one_line(text, 40) for text in named.drop_nulls().to_list()).most_common()),
        floor=_floor(came),
        differ=_differing(came),
        scores=[]
        if judged.len()
        else [n.removeprefix(SCORE_PREFIX) for n in _names_of_scores(came) if came[n].is_not_null().any()],
    )


def _names_of_scores(frame: pl.DataFrame) -> list[str]:
    return [name for name in frame.columns if name.startswith(SCORE_PREFIX)]


def _says_something(frame: pl.DataFrame) -> pl.Expr:
    """Return whether a row has an answer, a verdict or a score."""
    texts = [pl.col(name).str.strip_chars().fill_null("") != "" for name in ("output", "extracted_answer")]
    others = [pl.col(name).is_not_null() for name in ("choice", "logprobs", "correct", *_names_of_scores(frame))]
    return pl.any_horizontal(*texts, *others)


def _floor(came: pl.DataFrame) -> Estimate:
    """Return the negative flips of a model against itself, a share of the items with at least two judged answers."""
    judged = came.drop_nulls("correct")
    if judged.is_empty():
        return Estimate.undefined("no answer is judged")
    places = judged.select(pl.struct(ITEM).rank("dense") - 1).to_series().to_numpy().astype(np.int64)
    values = judged["correct"].cast(pl.Float64).to_numpy()
    own = own_flips(side_of(places, values, int(places.max()) + 1))
    known = own[np.isfinite(own)]
    return mean_of_items(known, None) if known.size else Estimate.undefined(UNREPEATED)


def _differing(came: pl.DataFrame) -> Estimate:
    """Return how often two answers to one item differ: 1 - sum n_c (n_c - 1) / (K (K - 1)), the mean over items."""
    answer = pl.coalesce("extracted_answer", pl.col("output").str.strip_chars())
    told = came.with_columns(answer=pl.coalesce(pl.col("choice").cast(pl.String), answer)).drop_nulls("answer")
    counted = told.group_by(*ITEM, "answer").len().group_by(ITEM)
    pairs = counted.agg(
        same=(pl.col("len").cast(pl.Int64) * (pl.col("len").cast(pl.Int64) - 1)).sum(),
        times=pl.col("len").cast(pl.Int64).sum(),
    ).filter(pl.col("times") > 1)
    if pairs.is_empty():
        return Estimate.undefined(UNREPEATED)
    times = pairs["times"].to_numpy().astype(np.float64)
    return mean_of_items(1.0 - pairs["same"].to_numpy() / (times * (times - 1.0)), None)
