"""From two running task models to two stores: the one time that the teachers run (Sec. 4.1, step 2)."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from muscle import distributed
from muscle.limits import memory_for
from muscle.models.adapter_check import adapter_content
from muscle.models.adapters import load_adapter
from muscle.models.bases import LoadedBase
from muscle.provenance import fingerprint, versions
from muscle.training.data.examples import PaddingCollator, TokenizedExamples
from muscle.training.head.output_head import OutputHead, head_input
from muscle.training.layers.fast_layers import fast_layers
from muscle.training.losses.fused import MEMORY_BYTES
from muscle.training.losses.masks import IGNORE_INDEX
from muscle.training.stored_trainers import Heads, StoredTeachers
from muscle.training.teachers.rows import (
    MixedRows,
    OldShare,
    TeacherRows,
    TopkRows,
    hidden_rows,
    mixed_rows,
    projected_rows,
    topk_rows,
)
from muscle.training.teachers.store import Rows, StoreKind, TeacherStore, build_store

logger = logging.getLogger(__name__)

_VERSIONS = ("torch", "transformers", "peft", "tokenizers")
_NUM_CHECKED = 3
_LESS_MEMORY = (
    "set a smaller training.batch_size, max_length or chunk_memory_mb; what is finished of the store is kept"
)

RowMaker = Callable[[Sequence[int]], Rows]
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "float32": torch.float32}


@dataclass(frozen=True)
class StoreSettings:
    """How teachers are kept.

    Attributes:
        precision: of vectors and log-probabilities on disk; `auto` goes by the heads.
        topk: tokens of a `topk` row.
        memory_bytes: budget for the logits of a chunk while a teacher runs.
    """

    precision: Literal["auto", "bf16", "fp16", "float32"] = "auto"
    topk: int = 64
    memory_bytes: int = MEMORY_BYTES

    def dtype(self, head: OutputHead) -> torch.dtype:
        """Return how vectors of a head's width are kept.

        By measurement (`docs/engine.md`): beside the rounding of a 16-bit product that of float16 is not felt, and bfloat16's is; in
        float32 training nothing but float32 goes unnoticed.
        """
        if self.precision == "auto":
            return torch.float16 if head.is_narrow else torch.float32
        return _DTYPES[self.precision]


@dataclass(frozen=True)
class TaskModel:
    """A frozen task model and what it is made of.

    Attributes:
        model: the base with its task adapter.
        base: the base.
        adapter: fingerprint of the adapter.
    """

    model: Any
    base: LoadedBase
    adapter: str

    @classmethod
    def load(cls, base: LoadedBase, adapter: Path) -> TaskModel:
        """Put an adapter on a base.

        Raises:
            ModelError: it doesn't fit.
        """
        return cls(load_adapter(base, adapter), base, adapter_content(adapter))


def store_teachers(
    folder: Path,
    old: TaskModel,
    new: TaskModel,
    heads: Heads,
    data: Sequence[TokenizedExamples],
    *,
    kind: StoreKind,
    temperature: float,
    batch_size: int,
    description: str,
    settings: StoreSettings = StoreSettings(),
) -> StoredTeachers:
    """Run both teachers over the training and validation data once, or open what they left before.

    Args:
        folder: of the stores, `old` and `new`.
        old: M_v1.
        new: M_v2, on the student's base.
        heads: from `choose_engine`.
        data: training and validation data, in this order.
        kind: the engine that was chosen.
        temperature: T of Eq. 1.
        batch_size: examples a forward pass.
        description: for progress and log.
        settings: precision and size of the stores.

    Returns:
        Both stores, checked.

    Raises:
        OutputError: they cannot be written, or the disk is too small.
    """
    sequences = [ids for part in data for ids in part.sequences]
    stores = {
        name: store_teacher(
            folder / name,
            side.model,
            head,
            sequences,
            kind=kind,
            student=heads.student,
            temperature=temperature,
            made_of={
                "base": side.base.fingerprint,
                "adapter": side.adapter,
                "student_base": new.base.fingerprint,
                "tokenizer": fingerprint(new.base.tokenizer.get_vocab()),
            },
            pad_token_id=new.base.tokenizer.pad_token_id,
            batch_size=batch_size,
            description=f"{description}: {name} teacher",
            settings=settings,
        )
        for name, side, head in (("old", old, heads.old), ("new", new, heads.new))
    }
    return StoredTeachers(stores["old"], stores["new"], heads)


def store_teacher(
    path: Path,
    model: Any,
    head: OutputHead,
    sequences: Sequence[Sequence[int]],
    *,
    kind: StoreKind,
    student: OutputHead,
    temperature: float,
    made_of: dict[str, Any],
    pad_token_id: int,
    batch_size: int,
    description: str,
    settings: StoreSettings = StoreSettings(),
) -> TeacherStore:
    """Return the store of a teacher on these examples: opened where it is there already, else built.

    Args:
        path: the store's folder.
        model: the frozen task model.
        head: its output head.
        sequences: token ids, one list an example.
        kind: `projected`, `hidden` or `topk`.
        student: the student's head, which projected rows are seen through.
        temperature: T of Eq. 1.
        made_of: fingerprints of the teacher's base, its adapter, the student's base and the tokenizer.
        pad_token_id: for the batches.
        batch_size: examples a forward pass.
        description: for progress and log.
        settings: precision and size of the store.

    Returns:
        The store, checked.

    Raises:
        OutputError: it cannot be written, or the disk is too small.
    """
    dtype = head.weight.dtype if kind == "hidden" and settings.precision == "auto" else settings.dtype(head)
    identity = {**made_of, **_identity(sequences, head, dtype)}
    if kind != "hidden":
        identity["temperature"] = float(temperature)
    width = {"projected": student.weight.shape[1], "hidden": head.weight.shape[1]}
    if kind == "topk":
        width["topk"] = identity["k"] = min(settings.topk, head.vocab_size)
    make_rows = row_maker(
        model,
        head,
        sequences,
        pad_token_id=pad_token_id,
        student=student if kind == "projected" else None,
        temperature=temperature,
        topk=settings.topk if kind == "topk" else None,
        memory_bytes=settings.memory_bytes,
    )
    with fast_layers(model):
        return _checked_store(
            path,
            make_rows,
            head=head,
            kind=kind,
            identity=identity,
            num_tokens=[len(ids) - 1 for ids in sequences],
            width=width[kind],
            dtype=dtype,
            batch_size=batch_size,
            description=description,
        )


def store_mixture(
    path: Path,
    old: TaskModel,
    new: TaskModel,
    heads: Heads,
    data: Sequence[TokenizedExamples],
    *,
    old_share: OldShare,
    share_name: str,
    temperature: float,
    batch_size: int,
    description: str,
    settings: StoreSettings = StoreSettings(),
) -> TeacherStore:
    """Run both teachers over the data once and keep one vector a token: their mixture.

    Both are in memory while it is made.

    Args:
        path: the store's folder.
        old: M_v1.
        new: M_v2, on the student's base.
        heads: from `choose_engine`.
        data: training and validation data, in this order.
        old_share: the old teacher's share of each token.
        share_name: stands for `old_share` in the store's identity: another share is another store.
        temperature: T of Eq. 1.
        batch_size: examples a forward pass.
        description: for progress and log.
        settings: precision and size of the store.

    Returns:
        The store of `MixedRows`, checked.

    Raises:
        OutputError: it cannot be written, or the disk is too small.
    """
    sequences = [ids for part in data for ids in part.sequences]
    dtype = settings.dtype(heads.student)
    identity = {
        "base": [old.base.fingerprint, new.base.fingerprint],
        "adapter": [old.adapter, new.adapter],
        "tokenizer": fingerprint(new.base.tokenizer.get_vocab()),
        "share": share_name,
        "temperature": float(temperature),
        **_identity(sequences, heads.student, dtype),
    }
    run_old, run_new = (
        _state_maker(side.model, head, sequences, pad_token_id=new.base.tokenizer.pad_token_id)
        for side, head in ((old, heads.old), (new, heads.new))
    )

    def make_rows(indices: Sequence[int]) -> MixedRows:
        (old_states, _), (new_states, labels) = run_old(indices), run_new(indices)
        return mixed_rows(
            (old_states, new_states),
            (heads.old, heads.new),
            labels,
            old_share=old_share,
            student=heads.student,
            temperature=temperature,
            memory_bytes=settings.memory_bytes,
        )

    with fast_layers(old.model), fast_layers(new.model):
        return _checked_store(
            path,
            make_rows,
            head=heads.student,
            kind="mixed",
            identity=identity,
            num_tokens=[len(ids) - 1 for ids in sequences],
            width=heads.student.weight.shape[1],
            dtype=dtype,
            batch_size=batch_size,
            description=f"{description}: both teachers",
        )


def _identity(sequences: Sequence[Sequence[int]], head: OutputHead, dtype: torch.dtype) -> dict[str, Any]:
    return {
        "data": fingerprint([list(ids) for ids in sequences]),
        "precision": f"{head.weight.dtype} computed, {dtype} stored",
        "versions": {name: value for name, value in versions().items() if name in _VERSIONS},
    }


def _checked_store(path: Path, make_rows: RowMaker, *, head: OutputHead, **store: Any) -> TeacherStore:
    """Build or open a store; build it again where a few rows computed now differ from what it holds."""
    existed = distributed.from_main(path.exists)
    with memory_for(str(store["description"]), advice=_LESS_MEMORY):
        opened = build_store(path, make_rows, **store)
        # One process decides for all: each would find its own rounding.
        if existed and not distributed.from_main(lambda: still_true(opened, make_rows, head=head)):
            logger.warning(
                "teacher store %s: a few tokens computed again differ from it; building it again", path
            )
            distributed.from_main(lambda: shutil.rmtree(path))
            opened = build_store(path, make_rows, **store)
    return opened


def row_maker(
    model: Any,
    head: OutputHead,
    sequences: Sequence[Sequence[int]],
    *,
    pad_token_id: int,
    student: OutputHead | None,
    temperature: float,
    topk: int | None = None,
    memory_bytes: int = MEMORY_BYTES,
) -> RowMaker:
    """Return a function that runs the teacher on examples (by index) and gives their rows, one after the other.

    Args:
        model: the frozen task model.
        head: its output head.
        sequences: token ids, one list an example.
        pad_token_id: for the batches.
        student: the student's head for projected rows.
        temperature: T of projected and top-k rows.
        topk: tokens of a top-k row; without it and a student the rows are hidden ones.
        memory_bytes: budget for the logits of a chunk.
    """
    run = _state_maker(model, head, sequences, pad_token_id=pad_token_id)

    def make(indices: Sequence[int]) -> TeacherRows:
        states, labels = run(indices)
        if topk is not None:
            return topk_rows(states, head, labels, k=topk, temperature=temperature, memory_bytes=memory_bytes)
        if student is None:
            return hidden_rows(states, head, labels, memory_bytes=memory_bytes)
        return projected_rows(
            states, head, labels, student=student, temperature=temperature, memory_bytes=memory_bytes
        )

    return make


def _state_maker(
    model: Any, head: OutputHead, sequences: Sequence[Sequence[int]], *, pad_token_id: int
) -> Callable[[Sequence[int]], tuple[Tensor, Tensor]]:
    """Return a function from examples (by index) to a teacher's states (tokens, width) and labels (tokens,)."""
    pad = PaddingCollator(pad_token_id)
    device = head.weight.device

    @torch.no_grad()
    def run(indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        batch = pad([{"input_ids": list(sequences[index])} for index in indices])
        batch = {name: value.to(device) for name, value in batch.items()}
        labels = batch["labels"][:, 1:]
        counted = labels != IGNORE_INDEX
        # As in training: 16-bit models run under autocast there.
        narrow = torch.autocast(device.type, dtype=head.weight.dtype, enabled=head.is_narrow)
        with narrow:
            return head_input(model, batch)[:, :-1][counted], labels[counted]

    return run


def still_true(store: TeacherStore, make_rows: RowMaker, *, head: OutputHead) -> bool:
    """Compute a few examples again and tell whether the store holds the same, to rounding.

    Fingerprints don't see another processor or another way of computing; numbers do.
    """
    last = store.num_examples - 1
    indices = sorted({last * place // max(1, _NUM_CHECKED - 1) for place in range(_NUM_CHECKED)})
    found, expected = store.rows(indices, head=head), make_rows(indices)
    # 16-bit models round differently in batches of other shapes; another model differs by the vector's own size.
    tolerance = 0.05 if head.is_narrow else 1e-3
    stored, again = (_fingerprint(rows).float().cpu() for rows in (found, expected))
    off = ((stored - again).norm(dim=-1) / again.norm(dim=-1)).mean()
    scalar = "entropy" if isinstance(found, MixedRows) else "log_p"
    likelihoods = (getattr(found, scalar) - getattr(expected, scalar).cpu()).abs().mean()
    return bool(off <= tolerance) and bool(likelihoods <= 2 * tolerance)


def _fingerprint(rows: Any) -> Tensor:
    """What tells a teacher: (tokens, something). Top-k ids change places at the smallest rounding; their probabilities do not."""
    return rows.log_probs.exp() if isinstance(rows, TopkRows) else rows.vector
