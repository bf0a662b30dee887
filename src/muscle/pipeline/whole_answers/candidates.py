"""The candidate answers of a task's items: drawn from the old and the new model, kept in a file, read for training."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
from muscle.pipeline.whole_answers.old_record import OldRecord
from muscle.progress import progress_bar
from muscle.provenance import versions
from muscle.tasks import TaskData
from muscle.tasks.candidates import Drawn, candidates_of, read_candidates, with_candidates, write_candidates
from muscle.tasks.task import Example, Task, check_unit

logger = logging.getLogger(__name__)

Parts = Mapping[str, Sequence[Example]]
"""Items by their part: train, validation, unlabelled. Only within a part is an id unique."""


@dataclass(frozen=True)
class CandidateFiles:
    """The candidates of an update's methods, drawn once for all methods that draw alike.

    Attributes:
        config: the update.
        methods: how compatibility adapters are trained, by run; `compat` comes first.
        bases: loaded on first use.
        adapter: the folder of a run's adapter for a task.
        base_content: what stands for a base's content.
        record: in the old model's place; None where it is a model.
    """

    config: UpdateConfig
    methods: Mapping[str, AlignmentSettings]
    bases: LoadedBases
    adapter: Callable[[str, str], Path]
    base_content: Callable[[Side], object]
    record: OldRecord | None = None

    def stages(self, data: TaskData) -> list[Stage]:
        """Return the stages that draw a task's candidates."""
        return [self._stage(run, data) for run in self.methods if self._drawn_for(run) == run]

    def needs(self, run: str, task: str) -> tuple[str, ...]:
        """Return the name of the stage whose candidates a method learns; nothing for other units."""
        drawn_for = self._drawn_for(run)
        return () if drawn_for is None else (_stage_name(drawn_for, task),)

    def content(self, run: str, task: str) -> dict[str, object]:
        """Return what a method's training depends on through its candidates."""
        drawn_for = self._drawn_for(run)
        return {} if drawn_for is None else {"candidates": content_of(self._file(drawn_for, task))}

    def learnt(self, run: str, data: TaskData, unlabelled: Sequence[Example]) -> dict[str, Sequence[Example]]:
        """Return what a method learns, by part: with its candidates where it learns these, and what a record knows."""
        parts: dict[str, Sequence[Example]] = {**_parts_of(data), "unlabelled": unlabelled}
        drawn_for, least = self._drawn_for(run), self.methods[run].least_candidates
        if drawn_for is not None:
            parts = dict(candidate_parts(self._file(drawn_for, data.task.name), parts, least))
        return self.record.learnt(data.task, parts) if self.record else parts

    def _drawn_for(self, run: str) -> str | None:
        """Return the first method that draws as this one does; None where it learns no candidates."""
        if not self.methods[run].learns_candidates:
            return None
        wanted = self.methods[run].answers.of_candidates()
        alike = (name for name, each in self.methods.items() if each.learns_candidates)
        return next(name for name in alike if self.methods[name].answers.of_candidates() == wanted)

    def _file(self, run: str, task: str) -> Path:
        folder = Path(self.config.output) / "candidates"
        return (folder if run == "compat" else folder / run) / f"{task}.jsonl"

    def _stage(self, run: str, data: TaskData) -> Stage:
        name, alignment = data.task.name, self.methods[run]
        answers, seed, out = alignment.answers, self.config.training.seed, self._file(run, name)
        drawn_from = [side for side in answers.models if not (side == "old" and self.record)]
        adapters = {side: self.adapter(side, name) for side in drawn_from}

        def inputs() -> dict[str, object]:
            recorded = {"record": self.record.digest} if self.record and "old" in answers.models else {}
            return {
                "models": {side: [self.base_content(side), content_of(adapters[side])] for side in drawn_from},
                **recorded,
                "items": {part: data.fingerprints[part] for part in _parts_of(data)},
                "task": dict(data.task.definition),
                "answers": answers.of_candidates(),
                "seed": seed,
                "batch_size": self.config.evaluation.batch_size,
                "harness": versions().get("lm_eval"),
            }

        def work() -> None:
            draw_candidates(
                out,
                {side: (self.bases.base(side), adapters[side]) for side in drawn_from},
                data.task,
                _parts_of(data),
                answers,
                seed=seed,
                batch_size=self.config.evaluation.batch_size,
                description=f"candidates of {name}",
                recorded=None if self.record is None else partial(self.record.drawn, data.task),
            )
            distributed.from_main(partial(shutil.rmtree, answers_of(out), ignore_errors=True))

        return Stage(
            _stage_name(run, name),
            inputs,
            (out,),
            work,
            tuple(f"finetune {side}/{name}" for side in drawn_from),
            data,
            answers=alignment.num_candidates - 1,
            unlabelled=data.unlabelled,
        )


def _stage_name(run: str, task: str) -> str:
    return f"candidates {task}" if run == "compat" else f"candidates {run}/{task}"


def _parts_of(data: TaskData) -> dict[str, Sequence[Example]]:
    """Return the items that are learnt from."""
    return {"train": data.train, "validation": data.validation, "unlabelled": data.unlabelled}


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
    recorded: Callable[[Sequence[Example]], list[list[Drawn]]] | None = None,
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
        recorded: gives the answers of the old model where it is a record, and is not asked.

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
            if name == "old" and recorded is not None:
                drawn.append(recorded(list(named.values())))
                continue
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


def candidate_parts(path: Path, parts: Parts, least: int) -> dict[str, tuple[Example, ...]]:
    """Return the items of each part with the candidates that `draw_candidates` wrote.

    An item without a candidate (no label, and no answer that ended) teaches nothing and is left out; so is one with a
    single answer where the rest is no option. They are counted in the log.

    Args:
        path: the file.
        parts: the items.
        least: candidates without which an item is left out (`AlignmentSettings.least_candidates`).

    Raises:
        DataError: the file is missing, damaged or of other items, or a part is left without any.
    """
    written = read_candidates(path)
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
