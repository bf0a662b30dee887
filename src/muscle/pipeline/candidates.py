"""The candidate answers of a task's items: drawn from the old and the new model, kept in a file, read for training."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from muscle import distributed
from muscle.config.alignment import AnswerSettings
from muscle.errors import DataError
from muscle.models.bases import LoadedBase
from muscle.progress import progress_bar
from muscle.tasks.candidates import candidates_of, read_candidates, with_candidates, write_candidates
from muscle.tasks.task import Example, Task, check_unit

logger = logging.getLogger(__name__)

Parts = Mapping[str, Sequence[Example]]
"""Items by their part: train, validation, unlabelled. Only within a part is an id unique."""


def draw_candidates(
    out: Path,
    models: Mapping[str, tuple[LoadedBase, Path]],
    task: Task,
    parts: Parts,
    answers: AnswerSettings,
    *,
    seed: int,
    batch_size: int,
    description: str = "candidates",
) -> None:
    """Let models answer all items, and write the candidates that come of it.

    A killed call goes on where it was: the answers stand beside `out` until all are there.

    Args:
        out: the file.
        models: base and adapter by name; those that `answers.models` names are asked.
        task: one whose answers are generated.
        parts: the items.
        answers: how many are drawn, and how.
        seed: of the samples.
        batch_size: prompts a forward pass.
        description: for progress and log.

    Raises:
        ConfigError: the task has options, or the harness is not installed.
        ModelError: an adapter doesn't fit, or the task generates more tokens than a model takes.
        OutputError: a file cannot be written.
    """
    check_unit(task, "answers")
    from muscle.evaluation.candidates import Asked, draw_answers

    named = {f"{part}/{example.id}": example for part, examples in parts.items() for example in examples}
    asked = Asked(answers.samples, answers.temperature, seed, batch_size)
    folder = out.with_name(f".{out.name}.answers")
    with progress_bar(description, len(named) * len(answers.models)) as show:
        drawn = []
        for turn, name in enumerate(answers.models):
            before = turn * len(named)
            drawn.append(
                draw_answers(
                    folder,
                    name,
                    *models[name],
                    task,
                    list(named.values()),
                    asked,
                    lambda done, before=before, name=name: show(before + done, name),
                )
            )
    found = {
        key: candidates_of(example, [each for answered in drawn for each in answered[number]])
        for number, (key, example) in enumerate(named.items())
    }

    def write() -> None:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_candidates(out, found)
        shutil.rmtree(folder, ignore_errors=True)

    distributed.from_main(write)


def candidate_parts(path: Path, parts: Parts, answers: AnswerSettings) -> dict[str, tuple[Example, ...]]:
    """Return the items of each part with the candidates that `draw_candidates` wrote.

    An item without a candidate (no label, and no answer that ended) teaches nothing and is left out; so is one with a
    single answer where the rest is no option. They are counted in the log.

    Raises:
        DataError: the file is missing, damaged or of other items, or a part is left without any.
    """
    written = read_candidates(path)
    least = 1 if answers.counts_rest else 2
    found = {}
    for part, examples in parts.items():
        missing = [example.id for example in examples if f"{part}/{example.id}" not in written]
        if missing:
            raise DataError(f"{path}: expected candidates of {part} {missing[0]}, found none; delete the file")
        whole = [with_candidates(example, written[f"{part}/{example.id}"]) for example in examples]
        found[part] = tuple(example for example in whole if example.num_answers >= least)
        if len(found[part]) < len(whole):
            logger.warning(
                "%s: %d of %d %s items have fewer than %d candidate answers and are left out",
                path.name,
                len(whole) - len(found[part]),
                len(whole),
                part,
                least,
            )
        if examples and not found[part]:
            raise DataError(
                f"{path}: expected {part} items with at least {least} candidate answers, found none; set more "
                "alignment.answers.samples"
            )
    return found
