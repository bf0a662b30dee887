"""The `options` store: one number per answer option and teacher, whatever the teacher's tokenizer.

What an option-level method asks of a teacher is how likely each option is as a whole; that is independent of how the
option is cut into tokens. A store of it is some bytes an example, and serves an old model with another vocabulary.
Tokens are cut as in scoring (`muscle.models.option_tree`), and all options of an example are read in one pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from muscle.models.option_scores import MEMORY_BYTES, option_log_likelihoods, reads_trees
from muscle.models.option_tree import ChoiceItem, OptionTree, encode_options, option_tree
from muscle.provenance import fingerprint, versions
from muscle.training.layers.fast_layers import fast_layers
from muscle.training.teachers.make_rows import TaskModel
from muscle.training.teachers.rows import OptionRows
from muscle.training.teachers.store import TeacherStore
from muscle.training.teachers.write_store import build_store


def store_options(
    path: Path,
    side: TaskModel,
    examples: Sequence[ChoiceItem],
    *,
    max_length: int,
    distinguishing: bool = False,
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
        distinguishing: the shortest beginning of an option that no other shares stands for it.
        batch_size: examples a forward pass.
        memory_bytes: budget for the logits of a chunk.
        description: for progress and log.

    Returns:
        The store; `rows([3, 0])` gives the `OptionRows` of example 3, then of example 0, in the order of their options.

    Raises:
        DataError: an example has no options, or an option no token of its own.
        ModelError: what the teacher does to its logits is not known here.
        OutputError: the store cannot be written, or the disk is too small.
    """
    tokenizer = side.base.tokenizer
    trees = [
        option_tree(*encode_options(example, tokenizer, max_length), distinguishing=distinguishing)
        for example in examples
    ]
    identity = {
        "base": side.base.fingerprint,
        "adapter": side.adapter,
        "tokenizer": fingerprint(tokenizer.get_vocab()),
        "data": fingerprint([[tree.input_ids, list(tree.options())] for tree in trees]),
        "versions": {name: value for name, value in versions().items() if name in ("torch", "transformers", "peft")},
    }
    with fast_layers(side.model):
        return build_store(
            path,
            _row_maker(side, trees, memory_bytes),
            kind="options",
            identity=identity,
            num_tokens=[len(tree.paths) for tree in trees],
            width=0,
            dtype=torch.float32,
            batch_size=batch_size,
            description=description,
        )


def _row_maker(
    side: TaskModel, trees: Sequence[OptionTree], memory_bytes: int
) -> Callable[[Sequence[int]], OptionRows]:
    pad, dtype = side.base.tokenizer.pad_token_id, side.model.dtype
    sample = max((tree.input_ids for tree in trees), key=lambda ids: len(set(ids)))
    by_tree = reads_trees(side.model, sample, pad_token_id=pad)

    @torch.no_grad()
    def make(indices: Sequence[int]) -> OptionRows:
        read = [trees[index] for index in indices]
        # As in training: 16-bit models run under autocast there.
        with torch.autocast(side.model.device.type, dtype=dtype, enabled=dtype.itemsize < 4):
            found = option_log_likelihoods(
                side.model, read, pad_token_id=pad, memory_bytes=memory_bytes, option_by_option=not by_tree
            )
        counts = [len(path) for tree in read for path in tree.paths]
        return OptionRows(torch.cat(found).float().cpu(), torch.tensor(counts))

    return make
