"""An old model that is a record: what a training reads of it, and its answers to the test data.

No old model runs. Where the record is silent nothing is made up: such an item is left out of a training and missing in
the old run, counted and named in both places.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

from muscle import distributed
from muscle.errors import DataError
from muscle.evaluation.answers import choice_answer, generation_answer, likelihood_scores
from muscle.evaluation.rows import Answer, build_frame
from muscle.evaluation.save import save_run
from muscle.foreign_text import listing
from muscle.pipeline.stage import Stage
from muscle.predictions.run import METADATA_FILE, Run
from muscle.record.read import read_record, record_digest
from muscle.tasks import TaskData
from muscle.tasks.candidates import Drawn
from muscle.tasks.data import content_fingerprint
from muscle.tasks.recorded import Record, RecordedAnswer, likelihoods_in, teaches
from muscle.tasks.task import Example, Task

logger = logging.getLogger(__name__)

NOT_RECORDED = "not in the record"
"""The error of a test item to which the record has no answer."""

_NAMED = 5
_OF_USE = {"choice": "names an option", "generation": "ended"}
"""What an answer does that can be learnt from, by the kind of the task."""


class OldRecord:
    """The record in an old model's place.

    Args:
        files: of predictions.
    """

    def __init__(self, files: Sequence[str]) -> None:
        self._files = tuple(files)
        self.of = cache(partial(read_record, self._files))

    @property
    def digest(self) -> str:
        """What stands for the record's content.

        Raises:
            DataError: a file is not there.
        """
        return record_digest(self._files)

    def learnt(self, task: Task, parts: Mapping[str, Sequence[Example]]) -> dict[str, Sequence[Example]]:
        """Return the items of each part of which the record says something; the others are told.

        Raises:
            DataError: it has none to any training or validation item that can be learnt from.
        """
        record = self.of(task.name)
        found: dict[str, Sequence[Example]] = {}
        for part, examples in parts.items():
            found[part] = [example for example in examples if teaches(record, example)]
            missing = [example for example in examples if not teaches(record, example)]
            if missing:
                logger.warning(
                    "old.record: %d of %d %s items of %s have no answer in it%s and are left out: %s",
                    *(len(missing), len(examples), part, task.name),
                    f" that {_OF_USE[task.kind]}" if any(map(record.answers_to, missing)) else "",
                    listing([example.id for example in missing], _NAMED),
                )
            if part != "unlabelled":
                self._refuse_useless(task, part, examples)
        return found

    def check(self, data: TaskData) -> str:
        """Say how many items of a task have an answer in it.

        Raises:
            DataError: no training or no validation item has one that can be learnt from.
        """
        task, record = data.task, self.of(data.task.name)
        self._refuse_useless(task, "train", data.train)
        self._refuse_useless(task, "validation", data.validation)
        parts = {"training": (*data.train, *data.validation), "unlabelled": data.unlabelled, "test": data.test}
        counted = [
            f"{sum(bool(record.answers_to(each)) for each in examples)} of {len(examples)} {part}"
            for part, examples in parts.items()
            if examples
        ]
        learnt = (*parts["training"], *parts["unlabelled"])
        useless = sum(bool(record.answers_to(each)) and not teaches(record, each) for each in learnt)
        said = f"; of {useless} training or unlabelled items none {_OF_USE[task.kind]}" if useless else ""
        return f"old.record: {record.name}: answers to {', '.join(counted)} items of {task.name}{said}"

    def _refuse_useless(self, task: Task, part: str, examples: Sequence[Example]) -> None:
        """Refuse a record that teaches nothing of a part."""
        record = self.of(task.name)
        if examples and not any(teaches(record, example) for example in examples):
            raise DataError(f"old.record: {listing(self._files)}: {_nothing_to_learn(record, task, part, examples)}")

    def drawn(self, task: Task, examples: Sequence[Example]) -> list[list[Drawn]]:
        """Return what was answered to items, as candidate answers; what was cut off is none."""
        record = self.of(task.name)
        return [
            [_drawn(task, example, each) for each in record.answers_to(example) if each.is_whole]
            for example in examples
        ]

    def evaluate(self, data: TaskData, out: Path) -> Stage:
        """Return the stage that reads the old run's answers to the test items out of it."""

        def inputs() -> dict[str, object]:
            return {
                "record": self.digest,
                "task": dict(data.task.definition),
                "test": data.fingerprints["test"],
            }

        def work() -> None:
            distributed.from_main(partial(_write_old_run, self.of(data.task.name), data, out))

        outputs = (out, out.parent / METADATA_FILE)
        return Stage(f"evaluate old/{data.task.name}", inputs, outputs, work, data=data, side="old")


def _nothing_to_learn(record: Record, task: Task, part: str, examples: Sequence[Example]) -> str:
    """Say what was expected of a record that teaches nothing of a part."""
    of_no_use = sum(len(record.answers_to(example)) for example in examples)
    if of_no_use:
        hint = "see whether the prompt names the options; --ask options asks for their likelihoods"
        if task.kind != "choice":
            hint = "what was cut off teaches nothing; a larger --max-tokens lets answers end"
        return (
            f"expected an answer to a {part} item of {task.name} that {_OF_USE[task.kind]}, found none among "
            f"{of_no_use}; muscle record: {hint}"
        )
    return (
        f"expected answers to {part} items of {task.name}, found none; an item is found by its input and options, as "
        "the task writes them"
    )


def _write_old_run(record: Record, data: TaskData, out: Path) -> None:
    """Write the recorded answers to a task's test items as the old run."""
    task, asked, answers = data.task, [], []
    missing = []
    for example in data.test:
        found = [_scored_answer(task, example, each) for each in record.answers_to(example)]
        if not found:
            missing.append(example.id)
            found = [Answer(error=NOT_RECORDED)]
        asked += [example] * len(found)
        answers += [replace(answer, repeat=number) for number, answer in enumerate(found)]
    if len(missing) == len(data.test):
        raise DataError(f"old.record: {record.name}: expected answers to test items of {task.name}, found none")
    facts = {
        "definition": dict(task.definition),
        "num_items": len(data.test),
        "data_fingerprint": content_fingerprint(data.test),
        "backend": "record",
        "num_errors": sum(answer.error is not None for answer in answers),
    }
    readings = [_old_side_reading(record, len(data.test), len(answers), missing)]
    metadata = {"format": "muscle", "model": {"name": record.name}, "readings": readings, "tasks": {task.name: facts}}
    save_run(Run("old", build_frame(task, asked, answers), metadata), out, facts={"record_digest": record.digest})


def _old_side_reading(record: Record, num_items: int, num_answers: int, missing: Sequence[str]) -> str:
    """Say in a sentence for reports what the old side is."""
    asked = f", asked {record.facts['first']} to {record.facts['last']}" if record.facts.get("first") else ""
    there = num_answers - len(missing)
    silent = f"; {len(missing)} have none: {listing(missing, _NAMED)}" if missing else ""
    return (
        f"the old side is a record of {record.name}{asked}, no old model ran: {there} answers to "
        f"{num_items - len(missing)} of {num_items} test items{silent}"
    )


def _scored_answer(task: Task, example: Example, given: RecordedAnswer) -> Answer:
    """Return a recorded answer, scored as every other run of the update is."""
    if task.kind != "choice":
        return replace(generation_answer(task, example, given.text), finish_reason=given.finish_reason)
    values = likelihoods_in(given, example.choices)
    if given.option is None and values is not None:
        return choice_answer(task, example, values)
    choice = example.choices.index(given.option) if given.option in example.choices else None
    scores = {} if values is None or example.gold is None else likelihood_scores(values, example.gold)
    return Answer(
        output=given.text,
        choice=choice,
        correct=choice == example.gold,
        logprobs=None if values is None else list(values),
        scores={**scores, "acc": float(choice == example.gold)},
        finish_reason=given.finish_reason,
    )


def _drawn(task: Task, example: Example, given: RecordedAnswer) -> Drawn:
    extracted = None if task.extract is None else task.extract(given.text)
    correct = generation_answer(task, example, given.text).correct if example.target else None
    return Drawn(given.text, "old recorded", correct, extracted)
