"""Scoring a model on a task through lm-evaluation-harness, as records.

One call scores one task with the model as it is: the caller loads a base once and switches adapters on it
(`set_adapter`, `disable_adapter`) between calls.

Scores of a choice task, the main one first: `gold_probability`, the right option's share of the options'
probability (softmax over their log-likelihoods), which a report can show as a size of change; `gold_logprob`, its plain
log-likelihood; `acc` and `acc_norm`, the harness's. `correct` is the one of the last two that the task names.
Where two options have exactly the highest score the first wins, as in the harness; such ties are counted in
the metadata.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, TypedDict

from muscle.errors import ConfigError, DataError, ModelError
from muscle.evaluation.answers import choice_answer, generation_answer
from muscle.evaluation.rows import Answer, build_frame
from muscle.evaluation.sampling import Sampling
from muscle.predictions.run import Run
from muscle.progress import progress_bar
from muscle.provenance import package_versions
from muscle.tasks.data import content_fingerprint
from muscle.tasks.task import Example, Task

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from muscle.evaluation.lm import Bookkeeping

logger = logging.getLogger(__name__)

_SECONDS_BEFORE_BAR = 2.0
_FINISHED = ("stop", "length")
SCORING_PACKAGES = ("lm_eval", "torch", "transformers", "peft", "muscle-llm")
"""What scores depend on."""


class Sample(TypedDict):
    """What the harness keeps of an item, as far as it is read.

    Attributes:
        doc_id: number of the item.
        resps: (1, repeats) of a generation task: the texts.
        filtered_resps: (options,) of a choice task: log-likelihood, and whether it is the greedy answer.
        acc: whether the likeliest option is the right one.
        acc_norm: the same by the log-likelihood a character.
    """

    doc_id: int
    resps: list[list[str]]
    filtered_resps: list[tuple[float, bool]]
    acc: float
    acc_norm: float


def evaluate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    examples: Sequence[Example],
    *,
    batch_size: int,
    name: str,
    max_length: int | None = None,
    sampling: Sampling | None = None,
    progress: bool = True,
) -> Run:
    """Score a loaded model on a task.

    Args:
        model: a causal language model in memory, PEFT or not; scored with the adapter that is active. Left in the mode
            (training or not) it came in.
        tokenizer: the base's; left as it came.
        task: what is asked and how it is scored.
        examples: the items, at least one.
        batch_size: options or prompts a forward pass.
        name: the run's name.
        max_length: tokens a sequence may have; None takes the model's own limit.
        sampling: how often a generation task's items are answered, and how; None is once, greedily.
        progress: show a bar with the time left on standard error when it takes longer than two seconds.

    Returns:
        One record an item and repeat, in order; metadata with model, versions and, under `tasks`, the task's
        settings and the numbers of ties, truncated requests and errors.

    Raises:
        ValueError: `batch_size` is not positive.
        DataError: there is no example.
        ModelError: the tokenizer has no end-of-text token, or the task generates more tokens than the model takes.
        ConfigError: the harness is not installed, or a choice task is to be sampled.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size: expected a positive number, found {batch_size}")
    if tokenizer.eos_token_id is None:
        raise ModelError("tokenizer: expected an end-of-text token (eos_token), found none")
    sampling = sampling or Sampling()
    check_task(task, examples, sampling)
    try:
        from muscle.evaluation.lm import LoadedLM
    except ImportError as error:
        raise ConfigError(
            f"evaluation needs the package {error.name}; install it with: pip install 'muscle-llm[eval]'"
        ) from error
    with _as_it_was(model, tokenizer), quiet_harness():
        lm = LoadedLM(model, tokenizer, batch_size=batch_size, max_length=max_length)
        with sampling.seeded(model.device):
            return score(
                lm,
                task,
                examples,
                name=name,
                sampling=sampling,
                progress=progress,
                metadata={"model": _model_facts(model), "versions": package_versions(*SCORING_PACKAGES)},
            )


def check_task(task: Task, examples: Sequence[Example], sampling: Sampling) -> None:
    """Refuse what no model can be scored on.

    Raises:
        DataError: there is no example.
        ConfigError: a choice task is to be sampled.
    """
    if not examples:
        raise DataError(f"task {task.name}: expected at least one example to score, found none")
    if task.kind == "choice" and sampling != Sampling(seed=sampling.seed):
        raise ConfigError(
            f"task {task.name}: the likelihoods of options are the same every time; repeats and temperature are for "
            "tasks that generate text"
        )


def score(
    lm: Bookkeeping,
    task: Task,
    examples: Sequence[Example],
    *,
    name: str,
    sampling: Sampling,
    progress: bool,
    metadata: Mapping[str, object],
) -> Run:
    """Score one of the harness's models on a task, whatever computes it.

    Args:
        lm: the model, in the hands of whoever loaded it.
        task: what is asked and how it is scored; see `check_task`.
        examples: the items, at least one.
        name: the run's name.
        sampling: how often a generation task's items are answered, and how.
        progress: show a bar with the time left when it takes longer than two seconds.
        metadata: what is known of the model; the task's facts are added.

    Raises:
        ModelError: the task generates more tokens than the model takes.
    """
    _check_answer_fits(task, lm.max_length)
    asked_as = task.prompt.render(examples, lm.tokenizer)
    samples = _run_harness(lm, task, asked_as, sampling, title=f"{name}, {task.name}" if progress else None)
    if task.kind == "choice":
        answers = _choice_answers(task, examples, asked_as, samples, lm.unscored)
    else:
        answers = _generation_answers(task, examples, samples, lm.finish_reasons)
    asked = [example for example in examples for _ in range(sampling.repeats)]
    facts = {task.name: _scoring_facts(task, examples, lm, answers, sampling)}
    return Run(
        name=name,
        frame=build_frame(task, asked, answers),
        metadata={"format": "muscle", **metadata, "tasks": facts},
    )


def _run_harness(
    lm: Bookkeeping, task: Task, examples: Sequence[Example], sampling: Sampling, *, title: str | None
) -> list[Sample]:
    from lm_eval.evaluator import evaluate as harness_evaluate

    from muscle.evaluation.lm import PreparedTask

    total = sampling.repeats * sum(max(1, len(example.choices)) for example in examples)
    chat = task.prompt.form(lm.tokenizer) if task.prompt.chat_template else None
    with _bar_after_a_while(title, total) as show:
        lm.begin(show, chat)
        prepared = PreparedTask(task, examples, sampling, stop=chat.end.strip() if chat else "")
        results = harness_evaluate(lm=lm, task_dict={task.name: prepared}, log_samples=True, bootstrap_iters=0)
    samples: list[Sample] = sorted(results["samples"][task.name], key=lambda sample: sample["doc_id"])
    assert len(samples) == len(examples), "the harness answers every item"
    return samples


def _choice_answers(
    task: Task,
    examples: Sequence[Example],
    asked_as: Sequence[Example],
    samples: Sequence[Sample],
    unscored: Mapping[int, str],
) -> list[Answer]:
    answers = []
    first_request = 0
    for example, put, sample in zip(examples, asked_as, samples, strict=True):
        requests = range(first_request, first_request + len(example.choices))
        first_request += len(example.choices)
        reasons = [f"option {index - requests[0]}: {unscored[index]}" for index in requests if index in unscored]
        answer = _choice_answer(task, put, sample, reasons)
        answers.append(answer if answer.choice is None else replace(answer, output=example.choices[answer.choice]))
    return answers


def _generation_answers(
    task: Task,
    examples: Sequence[Example],
    samples: Sequence[Sample],
    finish_reasons: Sequence[str],
) -> list[Answer]:
    """Score every answer of every item; the harness's requests are item by item, an item's repeats together."""
    reasons = iter(finish_reasons)
    answers = []
    for example, sample in zip(examples, samples, strict=True):
        for repeat, text in enumerate(sample["resps"][0]):
            reason = next(reasons)
            whole = reason in _FINISHED
            answer = (
                generation_answer(task, example, text)
                if whole
                else Answer(output=text, error=f"the answer was not finished: {reason}")
            )
            answers.append(replace(answer, finish_reason=reason, repeat=repeat))
    return answers


def _choice_answer(task: Task, example: Example, sample: Sample, reasons: list[str]) -> Answer:
    logprobs = [float(response[0]) for response in sample["filtered_resps"]]
    if not reasons and not all(map(math.isfinite, logprobs)):
        reasons = ["the model's log-likelihood is not a finite number"]
    if reasons:
        return Answer(error="; ".join(reasons))
    assert example.gold is not None, "a choice task knows the right option"
    answer = choice_answer(task, example, logprobs)
    assert answer.correct == bool(sample[task.choice_score]), "our choice is the harness's"
    return answer


def _check_answer_fits(task: Task, max_length: int) -> None:
    if task.generation is not None and task.generation.max_new_tokens >= max_length:
        raise ModelError(
            f"task {task.name}: generates up to {task.generation.max_new_tokens} tokens, but the model takes "
            f"{max_length} in all; expected room for the prompt: set a smaller max_new_tokens or a larger max_length"
        )


def _scoring_facts(
    task: Task,
    examples: Sequence[Example],
    lm: Bookkeeping,
    answers: Sequence[Answer],
    sampling: Sampling,
) -> dict[str, object]:
    facts: dict[str, object] = {
        "definition": dict(task.definition),
        "num_items": len(examples),
        "data_fingerprint": content_fingerprint(examples),
        "backend": lm.name,
        "batch_size": lm.batch_size,
        "max_length": lm.max_length,
        "softmax_dtype": "float32",
        "num_fewshot": task.prompt.num_fewshot,
        "num_truncated": lm.num_truncated,
        "num_ties": sum(answer.tied for answer in answers),
        "num_errors": sum(answer.error is not None for answer in answers),
    }
    if task.generation is not None:
        from muscle.evaluation.lm import generation_settings

        facts["generation"] = generation_settings(task, sampling)
        facts["repeats"] = sampling.repeats
        facts["num_cut_off"] = sum(answer.finish_reason == "length" for answer in answers)
        if sampling.temperature:
            facts["seed"] = sampling.seed
    for key, text in (
        ("num_truncated", "lost the beginning of their context"),
        ("num_errors", "have no score"),
    ):
        if facts[key]:
            logger.warning("task %s: %d requests or items %s", task.name, facts[key], text)
    return facts


def _model_facts(model: PreTrainedModel) -> dict[str, object]:
    adapters = getattr(model, "active_adapters", None) if hasattr(model, "peft_config") else None
    return {
        "name": getattr(model.config, "_name_or_path", "") or type(model).__name__,
        "architecture": type(model.get_base_model() if adapters is not None else model).__name__,
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": str(model.device),
        "adapters": list(adapters) if isinstance(adapters, (list, tuple)) else [],
    }


@contextmanager
def _bar_after_a_while(title: str | None, total: int) -> Iterator[Callable[[int], None]]:
    start = time.monotonic()
    with ExitStack() as stack:
        shown: list[Callable[[int, str], None]] = []

        def show(done: int) -> None:
            if title is None or (not shown and time.monotonic() - start < _SECONDS_BEFORE_BAR):
                return
            if not shown:
                shown.append(stack.enter_context(progress_bar(title, total)))
            shown[0](done, "")

        yield show


@contextmanager
def _as_it_was(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Iterator[None]:
    """Give model and tokenizer back as they came: the harness switches to evaluation mode and sets a padding token."""
    training, pad_token = model.training, tokenizer.pad_token
    try:
        yield
    finally:
        model.train(training)
        tokenizer.pad_token = pad_token


@contextmanager
def quiet_harness() -> Iterator[None]:
    """Hold back the harness's and transformers' remarks; what matters of them is counted in the metadata."""
    loggers = [logging.getLogger(name) for name in ("lm_eval", "transformers")]
    levels = [each.level for each in loggers]
    try:
        for each in loggers:
            each.setLevel(logging.ERROR)
        yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)
