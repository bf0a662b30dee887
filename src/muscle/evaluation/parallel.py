"""Scoring by several processes: each scores its share of the items, the main one puts the records together.

Every process has the model already, as training left it; what is shared out are the items. One process scores
all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from muscle import distributed
from muscle.evaluation.harness import evaluate
from muscle.evaluation.sampling import Sampling
from muscle.predictions.run import Run
from muscle.tasks.data import content_fingerprint
from muscle.tasks.task import Example, Task

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def evaluate_in_shares(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    examples: Sequence[Example],
    *,
    batch_size: int,
    name: str,
    sampling: Sampling | None = None,
    progress: bool = True,
) -> Run:
    """Score a loaded model on a task with all processes; arguments and errors as `harness.evaluate`.

    Returns:
        In every process the whole run, items in their order.
    """

    def scored(own: Sequence[Example], sampling: Sampling | None) -> Run:
        return evaluate(
            model, tokenizer, task, own, batch_size=batch_size, name=name, sampling=sampling, progress=progress
        )

    rank, count = distributed.rank(), distributed.num_processes()
    if count == 1:
        return scored(examples, sampling)
    if sampling is not None and sampling.temperature:
        sampling = replace(sampling, seed=sampling.seed + rank)  # the shares draw apart from one another
    own = examples[len(examples) * rank // count : len(examples) * (rank + 1) // count]
    run = scored(own, sampling) if own else None
    return _joined([share for share in distributed.gather(run) if share is not None], task, examples)


def _joined(shares: Sequence[Run], task: Task, examples: Sequence[Example]) -> Run:
    import polars as pl

    facts = [share.metadata["tasks"][task.name] for share in shares]
    # Every number but the shots', which is the same in each share.
    counted = {
        name: sum(each[name] for each in facts)
        for name in facts[0]
        if name.startswith("num_") and name != "num_fewshot"
    }
    whole = {**facts[0], **counted, "data_fingerprint": content_fingerprint(examples)}
    metadata = {**shares[0].metadata, "tasks": {task.name: whole}}
    frame = pl.concat([share.frame for share in shares], how="diagonal_relaxed")
    return replace(shares[0], frame=frame, metadata=metadata)
