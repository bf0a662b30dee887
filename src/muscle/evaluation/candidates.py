"""Answers of a model to the items that another is trained on, drawn once and kept: greedy ones, and samples.

They are generated as answers are that are scored (`parallel`, `harness`): same prompts, stop words, limits, scorer. An
answer that was cut off at the limit is no answer, and left out. A store holds parts of items, each whole or not at all,
so that a killed run goes on at the part that it was in; what a store was made of stands in its folder's name.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from muscle import distributed
from muscle.errors import DataError
from muscle.evaluation.parallel import evaluate_in_shares
from muscle.evaluation.sampling import Sampling
from muscle.files import read_json, write_json
from muscle.limits import memory_for
from muscle.models.adapter_check import adapter_content
from muscle.models.adapters import load_adapter
from muscle.models.bases import LoadedBase
from muscle.provenance import fingerprint, package_versions
from muscle.tasks.candidates import Drawn
from muscle.tasks.data import content_fingerprint
from muscle.tasks.task import Example, Task

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

ITEMS_A_PART = 64
"""A killed run loses at most the answers of so many items."""


@dataclass(frozen=True)
class Asked:
    """How answers are drawn.

    Attributes:
        samples: of each item, beside the greedy answer.
        temperature: of the samples.
        seed: of the samples.
        batch_size: prompts a forward pass.
    """

    samples: int
    temperature: float
    seed: int
    batch_size: int


def draw_answers(
    folder: Path,
    name: str,
    base: LoadedBase,
    adapter: Path,
    task: Task,
    examples: Sequence[Example],
    asked: Asked,
    show: Callable[[int], None] = lambda done: None,
) -> list[list[Drawn]]:
    """Return a model's answers to each item, from the store where they are there already.

    Args:
        folder: of all stores.
        name: the model's, for the stores and the sources.
        base: its base, loaded.
        adapter: a PEFT folder.
        task: one whose answers are generated.
        examples: the items, with labels or without.
        asked: how.
        show: called with the number of items that are done.

    Raises:
        ModelError: the adapter doesn't fit, or the task generates more tokens than the model takes.
        ConfigError: the harness is not installed.
        OutputError: the store cannot be written.
    """
    asks = [example.context for example in task.prompt.render(examples[:1], base.tokenizer)]
    made_of = [
        asks,
        *(base.fingerprint, adapter_content(adapter), dict(task.definition), content_fingerprint(examples)),
        *(asdict(asked), package_versions("lm_eval", "torch", "transformers", "peft")),
    ]
    store = folder / f"answers-{name}-{fingerprint(made_of)}"
    found: list[list[Drawn]] = []
    model: PeftModel | None = None
    for start in range(0, len(examples), ITEMS_A_PART):
        part, file = examples[start : start + ITEMS_A_PART], store / f"items-{start:08d}.json"
        kept = distributed.from_main(partial(_kept, file, len(part)))
        if kept is None:
            model = model or load_adapter(base, adapter)
            kept = _draw(name, model, base.tokenizer, task, part, asked, asked.seed + start)
            rows = [[asdict(each) for each in drawn] for drawn in kept]
            distributed.from_main(partial(_write, file, rows))
        found += kept
        show(len(found))
    return found


def _draw(
    name: str,
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    part: Sequence[Example],
    asked: Asked,
    seed: int,
) -> list[list[Drawn]]:
    """Let a model answer some items."""
    ways = {f"{name} greedy": Sampling()}
    if asked.samples:
        ways[f"{name} sample"] = Sampling(asked.samples, asked.temperature, seed)
    found: list[list[Drawn]] = [[] for _ in part]
    for source, sampling in ways.items():
        with memory_for(
            f"answers of {name} to {task.name}", advice=f"set a smaller batch size than {asked.batch_size}"
        ):
            run = evaluate_in_shares(
                model,
                tokenizer,
                task,
                part,
                batch_size=asked.batch_size,
                name=name,
                sampling=sampling,
                progress=False,
            )
        columns = ("output", "finish_reason", "correct", "extracted_answer")
        for number, (text, reason, correct, extracted) in enumerate(run.frame.select(columns).iter_rows()):
            if reason == "stop" and text is not None:
                found[number // sampling.repeats].append(Drawn(text, source, correct, extracted))
    return found


def _write(file: Path, rows: list[list[dict[str, object]]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, {"answers": rows})


def _kept(file: Path, num_items: int) -> list[list[Drawn]] | None:
    """Return a part's answers; None where it isn't there, or is damaged."""
    if not file.is_file():
        return None
    try:
        found = [[Drawn(**each) for each in drawn] for drawn in read_json(file)["answers"]]
    except (DataError, KeyError, TypeError) as error:
        logger.warning("%s: damaged (%s); drawing its answers again", file, error)
        return None
    return found if len(found) == num_items else None
