"""The candidate answers of a task's items: drawn from the old and the new model, kept in a file, read for training."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from muscle import distributed
from muscle.config.alignment import AlignmentSettings
from muscle.config.methods import AnswerSettings
from muscle.config.update_file import UpdateConfig
from muscle.errors import DataError
from muscle.models.bases import LoadedBase
from muscle.pipeline.loaded_bases import LoadedBases, Side
from muscle.pipeline.run_folder import content_of
from muscle.pipeline.stage import Stage
from muscle.progress import progress_bar
from muscle.provenance import versions
from muscle.tasks import TaskData
from muscle.tasks.candidates import Drawn, candidates_of, read_candidates, with_candidates, write_candidates
from muscle.tasks.task import Example, Task, check_unit

logger = logging.getLogger(__name__)

Parts = Mapping[str, Sequence[Example]]
"""Items by their part: train, validation, unlabelled. Only within a part is an id unique."""


def parts_of(data: TaskData) -> dict[str, Sequence[Example]]:
    """Return the items that are learnt from."""
    return {"train": data.train, "validation": data.validation, "unlabelled": data.unlabelled}


def learnt_parts(path: Path, data: TaskData, alignment: AlignmentSettings) -> Parts:
    """Return the items that a method learns from, with the candidates in a file where these are learnt."""
    parts = parts_of(data)
    if alignment.unlabelled is None:
        parts["unlabelled"] = ()
    return candidate_parts(path, parts, alignment.answers) if alignment.unit == "answers" else parts


def candidates_stage(
    config: UpdateConfig,
    bases: LoadedBases,
    fingerprints: Mapping[Side, str],
    adapters: Mapping[Side, Path],
    data: TaskData,
    *,
    out: Path,
    further: Mapping[str, object],
) -> Stage:
    """Return the stage that draws a task's candidates.

    Args:
        config: the update.
        bases: loaded on first use.
        fingerprints: of the bases.
        adapters: of the task.
        data: the task's.
        out: the file.
        further: what the answers depend on beside all that.
    """
    name, answers, seed = data.task.name, config.alignment.answers, config.training.seed

    def inputs() -> dict[str, object]:
        return {
            "models": {side: [fingerprints[side], content_of(adapters[side])] for side in answers.models},
            "items": {part: data.fingerprints[part] for part in parts_of(data)},
            "task": dict(data.task.definition),
            "answers": answers.of_candidates(),
            "seed": seed,
            "batch_size": config.evaluation.batch_size,
            "harness": versions().get("lm_eval"),
            **further,
        }

    def work() -> None:
        draw_candidates(
            out,
            {side: (bases.base(side), adapters[side]) for side in answers.models},
            data.task,
            parts_of(data),
            answers,
            seed=seed,
            batch_size=config.evaluation.batch_size,
            description=f"candidates of {name}",
        )
        distributed.from_main(partial(shutil.rmtree, answers_of(out), ignore_errors=True))

    needs = tuple(f"finetune {side}/{name}" for side in answers.models)
    num_drawn, unlabelled = config.alignment.num_candidates - 1, data.unlabelled
    return Stage(f"candidates {name}", inputs, (out,), work, needs, data, answers=num_drawn, unlabelled=unlabelled)


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
    store: Path | None = None,
) -> None:
    """Let models answer all items, and write the candidates that come of it.

    A killed call goes on where it was: answers stand in `answers_of(out)`, which the caller removes once `out` is used.

    Args:
        out: the file.
        models: base and adapter by name; those that `answers.models` names are asked.
        task: one whose answers are generated.
        parts: the items.
        answers: how many are drawn, and how.
        seed: of the samples.
        batch_size: prompts a forward pass.
        description: for progress and log.
        store: in place of `answers_of(out)`: models that are asked for another file too need not answer again.

    Raises:
        ConfigError: the task has options, or the harness is not installed.
        ModelError: an adapter doesn't fit, or the task generates more tokens than a model takes.
        OutputError: a file cannot be written.
    """
    check_unit(task, "answers")
    from muscle.evaluation.candidates import Asked, draw_answers

    named = {f"{part}/{example.id}": example for part, examples in parts.items() for example in examples}
    asked = Asked(answers.samples, answers.temperature, seed, batch_size)
    folder = store or answers_of(out)
    drawn: list[list[list[Drawn]]] = []
    with progress_bar(description, len(named) * len(answers.models)) as show:
        for name in answers.models:
            done = partial(_show_more, show, len(drawn) * len(named), name)
            drawn.append(draw_answers(folder, name, *models[name], task, list(named.values()), asked, done))
    found = {
        key: candidates_of(example, [each for answered in drawn for each in answered[number]])
        for number, (key, example) in enumerate(named.items())
    }

    def write() -> None:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_candidates(out, found)

    distributed.from_main(write)


def answers_of(out: Path) -> Path:
    """Return the folder of what is made on the way to a file of candidates."""
    return out.with_name(f".{out.name}.answers")


def _show_more(show: Callable[[int, str], None], before: int, name: str, done: int) -> None:
    show(before + done, name)


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
