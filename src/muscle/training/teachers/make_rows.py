"""Runs a frozen task model over examples and makes the rows that a store keeps of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from muscle.models.adapter_check import adapter_content
from muscle.models.adapters import load_adapter
from muscle.models.bases import LoadedBase
from muscle.training.data.batches import IGNORE_INDEX, PaddingCollator
from muscle.training.head.head_pass import MEMORY_BYTES
from muscle.training.head.output_head import OutputHead, head_input
from muscle.training.head.usable_head import Heads
from muscle.training.teachers.rows import (
    MixedRows,
    OldShare,
    TeacherRows,
    hidden_rows,
    mixed_rows,
    projected_rows,
    topk_rows,
)
from muscle.training.teachers.store import Rows

if TYPE_CHECKING:
    from peft import PeftModel

RowMaker = Callable[[Sequence[int]], Rows]
"""Indices of examples in, their rows out, one after the other."""


@dataclass(frozen=True)
class TaskModel:
    """A frozen task model and what it is made of.

    Attributes:
        model: the base with its task adapter.
        base: the base.
        adapter: fingerprint of the adapter.
    """

    model: PeftModel
    base: LoadedBase
    adapter: str

    @classmethod
    def load(cls, base: LoadedBase, adapter: Path) -> TaskModel:
        """Put an adapter on a base.

        Raises:
            ModelError: it doesn't fit.
        """
        return cls(load_adapter(base, adapter), base, adapter_content(adapter))


@dataclass(frozen=True)
class RunningTeachers:
    """Both task models, and the heads that their states go through.

    Attributes:
        old: M_v1.
        new: M_v2, on the student's base.
        heads: theirs and the student's, from `choose_engine`.
    """

    old: TaskModel
    new: TaskModel
    heads: Heads


@dataclass(frozen=True)
class RowForm:
    """What is kept of a teacher's distribution: its projection, its likeliest tokens, or the state that it comes from.

    Attributes:
        temperature: T of projected and top-k rows.
        student: the student's head, which projected rows are seen through; None keeps states.
        topk: tokens of a top-k row; None for the others.
        memory_bytes: budget for the logits of a chunk.
    """

    temperature: float
    student: OutputHead | None
    topk: int | None = None
    memory_bytes: int = MEMORY_BYTES


def row_maker(
    model: PeftModel, head: OutputHead, sequences: Sequence[Sequence[int]], form: RowForm, *, pad_token_id: int
) -> RowMaker:
    """Return a function that runs the teacher on examples (by index) and gives their rows, one after the other.

    Args:
        model: the frozen task model.
        head: its output head.
        sequences: token ids, one list an example.
        form: of the rows.
        pad_token_id: for the batches.
    """
    run = state_maker(model, head, sequences, pad_token_id=pad_token_id)

    def make(indices: Sequence[int]) -> TeacherRows:
        states, labels = run(indices)
        room = form.memory_bytes
        if form.topk is not None:
            return topk_rows(states, head, labels, k=form.topk, temperature=form.temperature, memory_bytes=room)
        if form.student is None:
            return hidden_rows(states, head, labels, memory_bytes=room)
        return projected_rows(
            states, head, labels, student=form.student, temperature=form.temperature, memory_bytes=room
        )

    return make


def mixture_maker(
    teachers: RunningTeachers,
    sequences: Sequence[Sequence[int]],
    *,
    old_share: OldShare,
    new_teaches: bool = True,
    temperature: float,
    memory_bytes: int = MEMORY_BYTES,
) -> RowMaker:
    """Return a function that runs both teachers on examples (by index) and gives the rows of their mixture.

    Args:
        teachers: both of them.
        sequences: token ids, one list an example.
        old_share: the old teacher's share of each token.
        new_teaches: False where that is 1 throughout: the old teacher stands for both, and runs alone.
        temperature: T of the mixture.
        memory_bytes: budget for the logits of a chunk.
    """
    heads, pad_token_id = teachers.heads, teachers.new.base.tokenizer.pad_token_id
    sides = [(teachers.old, heads.old), *([(teachers.new, heads.new)] if new_teaches else [])]
    runs = [state_maker(side.model, head, sequences, pad_token_id=pad_token_id) for side, head in sides]

    def make(indices: Sequence[int]) -> MixedRows:
        found = [run(indices) for run in runs]
        return mixed_rows(
            [states for states, _ in found],
            [head for _, head in sides],
            found[0][1],
            old_share=old_share,
            student=heads.student,
            temperature=temperature,
            memory_bytes=memory_bytes,
        )

    return make


def state_maker(
    model: PeftModel,
    head: OutputHead,
    sequences: Sequence[Sequence[int]],
    *,
    pad_token_id: int,
    all_states: bool = False,
) -> Callable[[Sequence[int]], tuple[Tensor, Tensor]]:
    """Return a function from examples (by index) to a teacher's states (tokens, width) and labels (tokens,).

    With `all_states` the last state of each example is among them, whose label is `IGNORE_INDEX`.
    """
    pad = PaddingCollator(pad_token_id)
    device = head.weight.device

    @torch.no_grad()
    def run(indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        batch = pad([{"input_ids": list(sequences[index])} for index in indices])
        batch = {name: value.to(device) for name, value in batch.items()}
        labels = functional.pad(batch["labels"][:, 1:], (0, 1), value=IGNORE_INDEX)
        counted = batch["attention_mask"].bool() if all_states else labels != IGNORE_INDEX
        # As in training: 16-bit models run under autocast there.
        narrow = torch.autocast(device.type, dtype=head.weight.dtype, enabled=head.is_narrow)
        with narrow:
            return head_input(model, batch)[counted], labels[counted]

    return run
