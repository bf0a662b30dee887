"""The `options` store: one number per answer option and teacher, whatever the teacher's tokenizer.

What an option-level method asks of a teacher is how likely each option is as a whole; that is independent of how the
option is cut into tokens. A store of it is some bytes an example, and serves an old model with another vocabulary.
Tokens are cut as in scoring (`encode_options`), all options of an example are scored in one pass (`option_scores`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from muscle.locks import held
from muscle.models.option_batches import Item, score_items
from muscle.models.option_scores import MEMORY_BYTES, reads_trees
from muscle.models.option_tree import encode_options, option_tree
from muscle.provenance import fingerprint, versions
from muscle.tasks.task import Example
from muscle.training.teachers.make_rows import TaskModel
from muscle.training.teachers.rows import OptionRows
from muscle.training.teachers.store import TeacherStore
from muscle.training.teachers.write_store import RowLayout, build_store


def store_options(
    path: Path,
    side: TaskModel,
    examples: Sequence[Example],
    *,
    max_length: int,
    distinguishing: bool = False,
    end_of_text: bool = False,
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
        distinguishing: the shortest beginning of an option that no other has stands for it.
        end_of_text: see `encode_options`.
        batch_size: examples at a time; a forward pass holds as many tokens as that many single options.
        memory_bytes: budget for the logits of a chunk.
        description: for progress and log.

    Returns:
        The store; `rows([3, 0])` gives the `OptionRows` of example 3, then of example 0, in the order of their options.

    Raises:
        DataError: an example has no options, or an option no token of its own.
        ModelError: the teacher's head can't be applied chunk by chunk.
        OutputError: the store cannot be written, or the disk is too small.
    """
    encoded = [
        encode_options(example, side.base.tokenizer, max_length, end_of_text=end_of_text) for example in examples
    ]
    if distinguishing:
        encoded = [(context, _beginnings(context, options)) for context, options in encoded]
    identity = {
        "base": side.base.fingerprint,
        "adapter": side.adapter,
        "tokenizer": fingerprint(side.base.tokenizer.get_vocab()),
        "data": fingerprint(encoded),
        "versions": {name: value for name, value in versions().items() if name in ("torch", "transformers", "peft")},
    }
    with held(path):
        return build_store(
            path,
            _row_maker(side, encoded, batch_size, memory_bytes),
            RowLayout("options", 0, torch.float32),
            identity=identity,
            num_tokens=[len(options) for _, options in encoded],
            # An option's last token is predicted, not read.
            num_read=[len(context) + sum(len(option) - 1 for option in options) for context, options in encoded],
            batch_size=batch_size,
            description=description,
        )


def _beginnings(context: Sequence[int], options: Sequence[Sequence[int]]) -> list[list[int]]:
    return list(option_tree(context, options, distinguishing=True).options())


def _row_maker(
    side: TaskModel, items: Sequence[Item], batch_size: int, memory_bytes: int
) -> Callable[[Sequence[int]], OptionRows]:
    pad_token_id = side.base.tokenizer.pad_token_id
    sample = max((context for context, _ in items), key=lambda ids: len(set(ids)))
    by_tree = reads_trees(side.model, sample, pad_token_id=pad_token_id)
    weight = side.base.model.get_output_embeddings().weight

    @torch.no_grad()
    def make(indices: Sequence[int]) -> OptionRows:
        chosen = [items[index] for index in indices]
        longest = max(len(context) + max(map(len, options)) for context, options in chosen)
        found = [torch.empty(len(options)) for _, options in chosen]
        narrow = weight.dtype.itemsize < 4
        with torch.autocast(weight.device.type, dtype=weight.dtype, enabled=narrow):
            for part in score_items(
                side.model,
                chosen,
                pad_token_id=pad_token_id,
                most_tokens=batch_size * longest,
                memory_bytes=memory_bytes,
                option_by_option=not by_tree,
            ):
                found[part.item][list(part.options)] = part.log_likelihood.cpu().float()
        counts = [len(option) for _, options in chosen for option in options]
        return OptionRows(torch.cat(found), torch.tensor(counts))

    return make
