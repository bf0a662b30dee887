"""A task's data: examples for training, validation and test, and what of the test stands in the training data.

The split depends on the seed and on each example's text alone, not on row order or Python's hash seed, and keeps
examples with the same text on one side: a validation loss on text that was trained on picks the wrong epoch.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from muscle.errors import DataError
from muscle.tasks.sources import Source, SourceRow, load_rows
from muscle.tasks.task import Example, Task

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Split:
    """A training set and the validation set that was held out of it."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]


@dataclass(frozen=True)
class TaskData:
    """A task's examples.

    Attributes:
        task: whose examples these are.
        train: trained on.
        validation: held out of the training data; picks the epoch.
        test: scored; never trained on.
        num_leaked: test examples whose text also stands in the training or validation data.
        unlabelled: inputs whose right answers are not known, beside those above.
        is_outline: the data is not on this machine: as many blank examples as are published stand for it.
    """

    task: Task
    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    num_leaked: int = 0
    unlabelled: tuple[Example, ...] = ()
    is_outline: bool = False

    @property
    def leak(self) -> str | None:
        """What a reader of scores on the test data must know; None where nothing of it was learnt."""
        return _told_leak(self.task, self.num_leaked, len(self.test)) if self.num_leaked else None

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """A fingerprint of each part's content: `{"train": ..., "validation": ..., "test": ..., "unlabelled": ...}`."""
        parts = {
            "train": self.train,
            "validation": self.validation,
            "test": self.test,
            "unlabelled": self.unlabelled,
        }
        return {name: content_fingerprint(part) for name, part in parts.items()}


def build_examples(task: Task, rows: Sequence[SourceRow], *, labelled: bool = True) -> tuple[Example, ...]:
    """Turn rows into a task's examples, in order.

    Args:
        task: whose examples.
        rows: with their places.
        labelled: read each row's right answer; else none is looked at, and none need be there.

    Raises:
        DataError: a column is missing, a field is wrong, or an id stands twice; the message names the place.
    """
    build = task.to_example if labelled else task.to_question
    if build is None:
        raise DataError(f"{rows[0].place}: task {task.name} doesn't say how a row without its answer is read")
    examples = []
    places: dict[str, str] = {}
    for position, source in enumerate(rows):
        missing = [name for name in task.columns if name not in source.row] if labelled else []
        if missing:
            raise DataError(
                f"{source.place}: task {task.name} needs the column {missing[0]!r}, found {sorted(source.row)}"
            )
        try:
            example = build(source.row, position)
        except DataError as error:
            raise DataError(f"{source.place}, {error}") from error
        first = places.setdefault(example.id, source.place)
        if first != source.place:
            raise DataError(f"{source.place}: expected an id of its own, found {example.id!r} again ({first})")
        examples.append(example)
    return tuple(examples)


def load_examples(task: Task, source: Source, *, limit: int | None = None) -> tuple[Example, ...]:
    """Read a source and build a task's examples from its first `limit` rows.

    Raises:
        DataError: the source cannot be read, or a row does not fit the task.
    """
    return build_examples(task, load_rows(source, limit=limit))


def load_unlabelled(task: Task, source: Source, *, known: Sequence[Example]) -> tuple[Example, ...]:
    """Read inputs without their labels; each text once, and none that stands among known examples.

    What is tested or validated on is never trained on, labelled or not; what is left out is counted in the log.

    Args:
        task: whose inputs they are.
        source: rows with the task's columns; labels need not be there and are not read.
        known: training, validation and test examples.

    Raises:
        DataError: the source cannot be read, a row does not fit the task, or nothing is left.
    """
    found = build_examples(task, load_rows(source), labelled=False)
    seen = {example.asked_key for example in known}
    kept = []
    for example in found:
        key = example.asked_key
        if key not in seen:
            kept.append(example)
        seen.add(key)
    if len(kept) < len(found):
        logger.warning(
            "task %s: %d of %d unlabelled inputs stand in the other data too, or twice; they are left out",
            task.name,
            len(found) - len(kept),
            len(found),
        )
    if not kept:
        raise DataError(f"{source}: expected inputs of its own, found none that isn't in the task's other data")
    return tuple(kept)


def split_train_validation(examples: Sequence[Example], *, fraction: float = 0.2, seed: int) -> Split:
    """Hold out a share of the examples for validation; both parts keep the given order.

    Args:
        examples: the training data.
        fraction: share of the examples to hold out, between 0 and 1; texts that occur several times stay together, so
            the share can be a little larger.
        seed: another seed holds out others.

    Raises:
        ValueError: `fraction` is not between 0 and 1.
        DataError: there are too few different texts to have both parts.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction: expected a number between 0 and 1, found {fraction}")
    # By the text's hash: equal texts fall on one side, so that validation asks nothing that was trained on.
    keys = [hashlib.sha256(f"{seed}\x1f{example.text_key}".encode()).digest() for example in examples]
    count = max(1, round(len(keys) * fraction))
    last = sorted(keys)[count - 1] if keys else b""
    train = tuple(example for example, key in zip(examples, keys, strict=True) if key > last)
    validation = tuple(example for example, key in zip(examples, keys, strict=True) if key <= last)
    if not train or not validation:
        raise DataError(
            f"training data: expected enough different texts to hold out {fraction:.0%} for validation, "
            f"found {len(set(keys))} in {len(keys)} examples"
        )
    return Split(train, validation)


def load_task_data(
    task: Task,
    *,
    train: Source,
    test: Source,
    train_limit: int | None = None,
    test_limit: int | None = None,
    validation_fraction: float = 0.2,
    seed: int = 0,
    unlabelled: Source | None = None,
) -> TaskData:
    """Load a task's training and test data and hold out a validation set; the test data is never touched by it.

    Warns in the log where texts of the test data stand in the training data too.

    Args:
        task: whose rows they are.
        train: where the training data is.
        test: where the test data is.
        train_limit: take the first so many rows alone.
        test_limit: the same of the test data.
        validation_fraction: share of the training data's texts that is held out, in (0, 1).
        seed: of which ones.
        unlabelled: where further inputs are (`load_unlabelled`); none without.

    Raises:
        DataError: a source cannot be read, a row does not fit the task, or there is too little training data.
    """
    split = split_train_validation(
        load_examples(task, train, limit=train_limit), fraction=validation_fraction, seed=seed
    )
    tested = load_examples(task, test, limit=test_limit)
    num_leaked = tell_leaked(task, split, tested)
    known = (*split.train, *split.validation, *tested)
    further = () if unlabelled is None else load_unlabelled(task, unlabelled, known=known)
    return TaskData(task, split.train, split.validation, tested, num_leaked, further)


def tell_leaked(task: Task, split: Split, tested: Sequence[Example]) -> int:
    """Warn in the log of test examples whose text stands in the training or validation data, and return how many."""
    learnt = {example.asked_key for example in (*split.train, *split.validation)}
    num_leaked = sum(example.asked_key in learnt for example in tested)
    if num_leaked:
        logger.warning("%s", _told_leak(task, num_leaked, len(tested)))
    return num_leaked


def _told_leak(task: Task, num_leaked: int, num_tested: int) -> str:
    return (
        f"task {task.name}: {num_leaked} of {num_tested} test examples stand in the training data too; "
        "its scores are too good"
    )


def content_fingerprint(examples: Sequence[Example]) -> str:
    """Return 16 hex digits that stand for the examples' content and order."""
    digest = hashlib.sha256()
    for example in examples:
        fields = [
            example.id,
            example.context,
            example.target,
            list(example.reference),
            list(example.choices),
            example.gold,
            example.delimiter,
            dict(sorted(example.slices.items())),
        ]
        digest.update(json.dumps(fields, ensure_ascii=False).encode())
        digest.update(b"\n")
    return digest.hexdigest()[:16]
