"""The answers of a model in memory, by the project's own evaluation: a base with an adapter, or bare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muscle.evaluation.rows import Answer
from muscle.evaluation.sampling import Sampling
from muscle.models.adapter_check import adapter_content
from muscle.models.adapters import load_adapter
from muscle.models.bases import LoadedBase
from muscle.predictions.run import SCORE_PREFIX
from muscle.progress import progress_bar
from muscle.provenance import fingerprint, package_versions
from muscle.record.asking import prompt_hash
from muscle.record.log import RecordLog, Row, key_of
from muscle.record.pace import Usage
from muscle.record.recording import Recorded, open_work
from muscle.record.rows import now, row_of
from muscle.tasks.task import Example, Task

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ITEMS_A_PART = 64
"""A killed recording loses at most the answers of so many items."""


@dataclass(frozen=True)
class LocalModel:
    """A model in memory.

    Attributes:
        name: as the user wrote it.
        base: loaded.
        adapter: a PEFT folder; None is the bare base.
        batch_size: options or prompts a forward pass.
        sampling: how often an item is answered, and how.
    """

    name: str
    base: LoadedBase
    adapter: Path | None
    batch_size: int
    sampling: Sampling

    def identity(self, task: Task) -> str:
        """Return what stands for model and way of asking."""
        adapter = adapter_content(self.adapter) if self.adapter else None
        return fingerprint([self.base.fingerprint, adapter, dict(task.definition), vars(self.sampling)])


def record_local(model: LocalModel, task: Task, examples: Sequence[Example], log: RecordLog) -> Recorded:
    """Let a model answer what a record does not have yet, part by part.

    Args:
        model: it.
        task: what is asked.
        examples: with labels or without.
        log: the record.

    Raises:
        ModelError: the adapter does not fit, or the task generates more tokens than the model takes.
        ConfigError: the harness is not installed, or options are to be sampled.
        OutputError: the record cannot be written.
    """
    before, done = len(log.rows), log.done
    left = list({each.example.id: each.example for each in open_work(log, examples, model.sampling.repeats)}.values())
    asked_with = model.identity(task)
    with log.open(), progress_bar(f"asking {model.name}", len(left)) as show:
        loaded = load_adapter(model.base, model.adapter) if model.adapter else model.base.model
        for start in range(0, len(left), ITEMS_A_PART):
            part = left[start : start + ITEMS_A_PART]
            rows = _answered_part(model, loaded, task, part, asked_with, start)
            log.append([row for row in rows if key_of(row) not in done])
            show(min(start + ITEMS_A_PART, len(left)), "")
    new = len(log.rows) - before
    return Recorded(before, new, 0, 0, 0, None, Usage(), 0.0)


def _answered_part(
    model: LocalModel, loaded: PreTrainedModel, task: Task, part: Sequence[Example], asked_with: str, start: int
) -> list[Row]:
    from muscle.evaluation.parallel import evaluate_in_shares

    # The harness scores what it is asked; what has no label gets one for it, which nothing here reads.
    asked = [each if each.gold is not None or not each.choices else each.answered(0) for each in part]
    sampling = replace(model.sampling, seed=model.sampling.seed + start)
    run = evaluate_in_shares(
        loaded,
        model.base.tokenizer,
        task,
        asked,
        batch_size=model.batch_size,
        name=model.name,
        sampling=sampling,
        progress=False,
    )
    facts = {
        "asked_with": asked_with,
        "way": "local",
        "model": model.name,
        "asked": now(),
        "template": fingerprint(dict(task.definition)),
        "temperature": sampling.temperature,
        "versions": package_versions("lm_eval", "torch", "transformers", "peft", "muscle-llm"),
    }
    rows = run.frame.iter_rows(named=True)
    sent = task.prompt.render(part, model.base.tokenizer)
    return [
        row_of(task, example, _answer_of(example, next(rows)), {**facts, "prompt_sha256": prompt_hash(prompt.context)})
        for example, prompt in zip(part, sent, strict=True)
        for _ in range(sampling.repeats)
    ]


def _answer_of(example: Example, row: Mapping[str, Any]) -> Answer:
    """Return what the evaluation found; of an item without a label no verdict."""
    answer = Answer(
        output=row["output"],
        extracted=row["extracted_answer"],
        choice=row["choice"],
        logprobs=row["logprobs"],
        error=row["error"],
        finish_reason=row["finish_reason"],
        repeat=row["repeat"],
    )
    if example.gold is None and not example.target:
        return replace(answer, error=None) if (answer.error or "").startswith("scoring: ") else answer
    scores = {
        name.removeprefix(SCORE_PREFIX): value
        for name, value in row.items()
        if name.startswith(SCORE_PREFIX) and value is not None
    }
    return replace(answer, correct=row["correct"], scores=scores)
