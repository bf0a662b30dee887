"""From two running task models to two stores: the one time that the teachers run (Sec. 4.1, step 2)."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from muscle.files import fingerprint
from muscle.models import LoadedBase, adapter_content, load_adapter
from muscle.run_folder import versions
from muscle.training.data import PaddingCollator, TokenizedExamples
from muscle.training.engine import Heads, StoredTeachers
from muscle.training.fused import MEMORY_BYTES
from muscle.training.head import OutputHead, head_input
from muscle.training.masks import IGNORE_INDEX
from muscle.training.store import StoreKind, TeacherStore, build_store
from muscle.training.teacher_rows import TeacherRows, hidden_rows, projected_rows

logger = logging.getLogger(__name__)

_VERSIONS = ("torch", "transformers", "peft", "tokenizers")
_NUM_CHECKED = 3

RowMaker = Callable[[Sequence[int]], TeacherRows]


@dataclass(frozen=True)
class TaskModel:
    """A frozen task model and what it is made of.

    Attributes:
        model: the base with its task adapter.
        base: the base.
        adapter: SHA-256 of the adapter's weights.
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
) -> TeacherStore:
    """Return the store of a teacher on these examples: opened where it is there already, else built.

    Args:
        path: the store's folder.
        model: the frozen task model.
        head: its output head.
        sequences: token ids, one list an example.
        kind: `projected` or `hidden`.
        student: the student's head, which projected rows are seen through.
        temperature: T of Eq. 1.
        made_of: fingerprints of the teacher's base, its adapter, the student's base and the tokenizer.
        pad_token_id: for the batches.
        batch_size: examples a forward pass.
        description: for progress and log.

    Returns:
        The store, checked.

    Raises:
        OutputError: it cannot be written, or the disk is too small.
    """
    projected = kind == "projected"
    dtype = _vector_dtype(head) if projected else head.weight.dtype
    identity = {
        **made_of,
        "data": fingerprint([list(ids) for ids in sequences]),
        "precision": f"{head.weight.dtype} computed, {dtype} stored",
        "versions": {name: value for name, value in versions().items() if name in _VERSIONS},
    }
    if projected:
        identity["temperature"] = float(temperature)
    make_rows = row_maker(
        model,
        head,
        sequences,
        pad_token_id=pad_token_id,
        student=student if projected else None,
        temperature=temperature,
    )

    def build() -> TeacherStore:
        return build_store(
            path,
            make_rows,
            kind=kind,
            identity=identity,
            num_tokens=[len(ids) - 1 for ids in sequences],
            width=(student if projected else head).weight.shape[1],
            dtype=dtype,
            batch_size=batch_size,
            description=description,
        )

    existed = path.exists()
    store = build()
    if existed and not still_true(store, make_rows, head=head):
        logger.warning(
            "teacher store %s: a few tokens computed again differ from it; building it again", path
        )
        shutil.rmtree(path)
        store = build()
    return store


def _vector_dtype(head: OutputHead) -> torch.dtype:
    """Choose how projected vectors are kept on disk, by measurement (`docs/performance.md`).

    Beside the rounding of a 16-bit product that of float16 is not felt, and bfloat16's is; in float32 training nothing but
    float32 goes unnoticed.
    """
    return torch.float16 if head.is_narrow else torch.float32


def row_maker(
    model: Any,
    head: OutputHead,
    sequences: Sequence[Sequence[int]],
    *,
    pad_token_id: int,
    student: OutputHead | None,
    temperature: float,
) -> RowMaker:
    """Return a function that runs the teacher on examples (by index) and gives their rows, one after the other.

    Args:
        model: the frozen task model.
        head: its output head.
        sequences: token ids, one list an example.
        pad_token_id: for the batches.
        student: the student's head for projected rows; hidden rows without.
        temperature: T of projected rows.
    """
    pad = PaddingCollator(pad_token_id)
    device = head.weight.device

    @torch.no_grad()
    def make(indices: Sequence[int]) -> TeacherRows:
        batch = pad([{"input_ids": list(sequences[index])} for index in indices])
        batch = {name: value.to(device) for name, value in batch.items()}
        labels = batch["labels"][:, 1:]
        counted = labels != IGNORE_INDEX
        # As in training: 16-bit models run under autocast there.
        with torch.autocast(device.type, dtype=head.weight.dtype, enabled=head.is_narrow):
            states = head_input(model, batch)[:, :-1][counted]
        if student is None:
            return hidden_rows(states, head, labels[counted], memory_bytes=MEMORY_BYTES)
        return projected_rows(
            states, head, labels[counted], student=student, temperature=temperature, memory_bytes=MEMORY_BYTES
        )

    return make


def still_true(store: TeacherStore, make_rows: RowMaker, *, head: OutputHead) -> bool:
    """Compute a few examples again and tell whether the store holds the same, to rounding.

    Fingerprints don't see another processor or another way of computing; numbers do.
    """
    last = store.num_examples - 1
    indices = sorted({last * place // max(1, _NUM_CHECKED - 1) for place in range(_NUM_CHECKED)})
    found, expected = store.rows(indices, head=head), make_rows(indices)
    # 16-bit models round differently in batches of other shapes; another model differs by the vector's own size.
    tolerance = 0.05 if head.is_narrow else 1e-3
    stored, again = (rows.vector.float().cpu() for rows in (found, expected))
    off = ((stored - again).norm(dim=-1) / again.norm(dim=-1)).mean()
    likelihoods = (found.log_p - expected.log_p.cpu()).abs().mean()
    return bool(off <= tolerance) and bool(likelihoods <= 2 * tolerance)
