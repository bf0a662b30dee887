"""What each model of the bench answers to the test texts: records with the log-likelihood of every label.

A label counts as a whole (`whole`), scored as `muscle evaluate` scores, or by its shortest beginning that no other
label has (`beginning`, by `muscle.models.option_scores`: of CLINC150's 64 labels the first token; five times cheaper, a
check that comes early). Both are written by muscle's own writer, so that `muscle compare` reads them. The validation
texts are scored too, for what is fitted on two models' answers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from bench import Bench
from scoring import score, trees_of
from steps import PASS_PROMPTS, Step

from muscle.evaluation.rows import Answer, build_frame
from muscle.evaluation.save import evaluate_to_file, save_run
from muscle.files import write_json
from muscle.models.adapters import load_adapter
from muscle.predictions.run import Run
from muscle.provenance import versions
from muscle.tasks.data import content_fingerprint
from muscle.tasks.task import Example, Task

PASS_OPTIONS = 64
"""Whole options a forward pass, by the product's count."""


Unit = Literal["whole", "beginning"]
UNITS: tuple[Unit, ...] = ("beginning", "whole")


def records(bench: Bench, name: str, unit: Unit, part: str = "test") -> Path:
    """Return the file of a model's answers."""
    return bench.folder / "answers" / unit / part / name / f"{bench.task_name}.jsonl"


def answer_step(bench: Bench, step: Step, unit: Unit, part: str = "test") -> None:
    """Score a step's model, unless that is done."""
    out = records(bench, step.name, unit, part)
    if out.is_file():
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    base, examples = bench.base(step.side), bench.examples(part)
    adapter = None if step.kind == "bare" else bench.adapter(step.name)
    start = time.monotonic()
    if unit == "whole":
        size = PASS_PROMPTS if bench.generates else PASS_OPTIONS
        evaluate_to_file(base, adapter, bench.task, examples, out, name=step.name, batch_size=size)
    else:
        model = load_adapter(base, adapter) if adapter else base.model
        trees = trees_of(bench, base, examples)
        scores = score(model, trees, pad_token_id=base.tokenizer.pad_token_id, title=f"{step.name}, {part}")
        write_answers(bench.task, examples, scores, out, name=step.name, facts={"labels": "beginnings"})
    write_json(out.parent.with_suffix(".json"), {"seconds": round(time.monotonic() - start, 1)})


def write_answers(
    task: Task,
    examples: Sequence[Example],
    scores: Sequence[Sequence[float]],
    out: Path,
    *,
    name: str,
    facts: Mapping[str, object],
) -> None:
    """Write scores of options as records in the form of `muscle evaluate`: the likeliest option is the answer."""
    answers = [_answer(example, list(values)) for example, values in zip(examples, scores, strict=True)]
    write_run(task, examples, answers, out, name=name, facts=facts)


def write_run(
    task: Task,
    examples: Sequence[Example],
    answers: Sequence[Answer],
    out: Path,
    *,
    name: str,
    facts: Mapping[str, object],
) -> None:
    """Write answers as records in the form of `muscle evaluate`."""
    about = {
        "definition": dict(task.definition),
        "num_items": len(examples),
        "data_fingerprint": content_fingerprint(examples),
        "num_ties": sum(each.tied for each in answers),
    }
    run = Run(
        name=name,
        frame=build_frame(task, examples, answers),
        metadata={"format": "muscle", "versions": versions(), "tasks": {task.name: about}},
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    save_run(run, out, facts=facts)


def _answer(example: Example, values: list[float]) -> Answer:
    highest, gold = max(values), example.gold
    assert gold is not None, "every text that is scored has its label"
    choice = values.index(highest)
    total = sum(math.exp(value - highest) for value in values)
    return Answer(
        output=example.choices[choice],
        choice=choice,
        correct=choice == gold,
        logprobs=values,
        scores={
            "gold_probability": math.exp(values[gold] - highest) / total,
            "gold_logprob": values[gold],
            "acc": float(choice == gold),
        },
        tied=values.count(highest) > 1,
    )
