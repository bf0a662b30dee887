"""What is said of an update's given adapters before it runs, by the dry run and by the update alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from muscle.pipeline.given.prompt_check import prompt_differences
from muscle.pipeline.loaded_bases import Side
from muscle.pipeline.update_parts import UpdateParts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def given_prompt_notes(update: UpdateParts, tokenizers: Mapping[Side, PreTrainedTokenizerBase | None]) -> list[str]:
    """Return where the given adapters' prompts and this update's differ, a line each.

    Args:
        update: whose adapters they are.
        tokenizers: each base's; None where it is not on this machine.
    """
    notes: list[str] = []
    for side in update.sides:
        tokenizer = tokenizers[side]
        for name, folder in update.given(side).items():
            data = update.data.get(name)
            if tokenizer is not None and data is not None:
                notes += prompt_differences(folder, data.task, () if data.is_outline else data.train, tokenizer)
    return notes
