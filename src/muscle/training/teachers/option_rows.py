"""The `options` store: one number per answer option and teacher, whatever the teacher's tokenizer.

What an option-level method asks of a teacher is how likely each option is as a whole; that is independent of how the
option is cut into tokens. A store of it is some bytes an example, and serves an old model with another vocabulary.
Tokens are cut as in scoring: context and option as one text, the option's tokens are those after as many as the
context has alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from muscle.errors import DataError
from muscle.provenance import fingerprint, versions
from muscle.tasks.task import Example
from muscle.training.data.batches import IGNORE_INDEX, PaddingCollator
from muscle.training.head.head_pass import MEMORY_BYTES, head_pass
from muscle.training.head.output_head import head_input
from muscle.training.head.usable_head import usable_head
from muscle.training.teachers.make_rows import TaskModel
from muscle.training.teachers.rows import OptionRows
from muscle.training.teachers.store import TeacherStore
from muscle.training.teachers.write_store import build_store

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def store_options(
    path: Path,
    side: TaskModel,
    examples: Sequence[Example],
    *,
    max_length: int,
    batch_size: int = 8,
    memory_bytes: int = MEMORY_BYTES,
    description: str = "options",
) -> TeacherStore:
    """Return the store of a teacher's likelihoods of every option: opened where it is there already, else built.

    Args:
        path: the store's folder.
        side: the teacher; its own tokenizer is used.
        examples: of a choice task, labelled or not.
        max_length: tokens; a longer context loses its beginning.
        batch_size: options a forward pass.
        memory_bytes: budget for the logits of a chunk.
        description: for progress and log.

    Returns:
        The store; `rows([3, 0])` gives the `OptionRows` of example 3, then of example 0, in the order of their options.

    Raises:
        DataError: an example has no options, or an option no token of its own.
        ModelError: the teacher's head can't be applied chunk by chunk.
        OutputError: the store cannot be written, or the disk is too small.
    """
    encoded = [_encode(example, side.base.tokenizer, max_length) for example in examples]
    identity = {
        "base": side.base.fingerprint,
        "adapter": side.adapter,
        "tokenizer": fingerprint(side.base.tokenizer.get_vocab()),
        "data": fingerprint(encoded),
        "versions": {name: value for name, value in versions().items() if name in ("torch", "transformers", "peft")},
    }
    return build_store(
        path,
        _row_maker(side, encoded, batch_size, memory_bytes),
        kind="options",
        identity=identity,
        num_tokens=[len(options) for options in encoded],
        width=0,
        dtype=torch.float32,
        batch_size=batch_size,
        description=description,
    )


Encoded = tuple[list[int], int]
"""Token ids of context and option, and how many of them are the option's."""


def _encode(example: Example, tokenizer: PreTrainedTokenizerBase, max_length: int) -> list[Encoded]:
    if not example.choices:
        raise DataError(f"example {example.id}: expected answer options, found none")
    stem = example.context + example.delimiter
    # As the harness cuts: blanks at the context's end are the option's, which many tokenizers put into its first token.
    context = stem.rstrip()
    num_context = len(tokenizer(context)["input_ids"]) if context else 0
    encoded = []
    for number, option in enumerate(example.choices):
        ids = tokenizer(stem + option)["input_ids"]
        count = len(ids) - num_context
        if not 1 <= count < len(ids) or count >= max_length:
            raise DataError(
                f"example {example.id}: option {number} has {count} tokens of {len(ids)}; expected at least one, "
                f"behind a context, and fewer than {max_length}"
            )
        encoded.append((ids[-max_length:], count))
    return encoded


def _row_maker(
    side: TaskModel, encoded: Sequence[Sequence[Encoded]], batch_size: int, memory_bytes: int
) -> Callable[[Sequence[int]], OptionRows]:
    pad = PaddingCollator(side.base.tokenizer.pad_token_id)
    head = usable_head(side.model, encoded[0][0][0])
    device = head.weight.device

    @torch.no_grad()
    def likelihoods(options: Sequence[Encoded]) -> list[float]:
        batch = pad([{"input_ids": ids} for ids, _ in options])
        for row, (ids, count) in enumerate(options):
            batch["labels"][row, : len(ids) - count] = IGNORE_INDEX
        batch = {name: value.to(device) for name, value in batch.items()}
        labels = batch["labels"][:, 1:]
        counted = labels != IGNORE_INDEX
        with torch.autocast(device.type, dtype=head.weight.dtype, enabled=head.is_narrow):
            states = head_input(side.model, batch)[:, :-1][counted]
        found = head_pass(
            states,
            head,
            labels[counted],
            temperature=1.0,
            ce_weight=0.0,
            gradient=False,
            memory_bytes=memory_bytes,
        )
        rows = counted.nonzero()[:, 0]
        sums = found.log_p.new_zeros(len(options)).index_add_(0, rows, found.log_p)
        return list(sums.tolist())

    def make(indices: Sequence[int]) -> OptionRows:
        options = [option for index in indices for option in encoded[index]]
        values: list[float] = []
        for start in range(0, len(options), batch_size):
            values += likelihoods(options[start : start + batch_size])
        counts = torch.tensor([count for _, count in options])
        return OptionRows(torch.tensor(values), counts)

    return make
