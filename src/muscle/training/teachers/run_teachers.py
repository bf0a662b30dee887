"""Runs both task models once over the data and stores what the training needs of them (Sec. 4.1, step 2)."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from muscle import distributed
from muscle.limits import memory_for
from muscle.locks import held
from muscle.provenance import fingerprint, versions
from muscle.training.data.examples import TokenizedExamples
from muscle.training.head.head_pass import MEMORY_BYTES
from muscle.training.head.output_head import OutputHead
from muscle.training.layers.fast_layers import fast_layers
from muscle.training.teachers.crossed_rows import Crossing, crossed_row_maker
from muscle.training.teachers.make_rows import RowForm, RowMaker, RunningTeachers, mixture_maker, row_maker
from muscle.training.teachers.rows import MixedRows, OldShare, OptionRows, TopkRows, known_tokens
from muscle.training.teachers.store import Rows, StoredTeachers, StoreKind, TeacherStore
from muscle.training.teachers.write_store import RowLayout, build_store

if TYPE_CHECKING:
    from peft import PeftModel

logger = logging.getLogger(__name__)

# What can change a teacher's numbers.
_VERSIONS = ("torch", "transformers", "peft", "tokenizers")
# The first example, the middle one and the last: three forward passes, whatever the size of the store.
_NUM_CHECKED = 3
_LESS_MEMORY = "set a smaller training.batch_size, max_length or chunk_memory_mb; what is finished of the store is kept"
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "float32": torch.float32}


@dataclass(frozen=True)
class StoreSettings:
    """How teachers are run and kept.

    Attributes:
        temperature: T of Eq. 1.
        batch_size: examples a forward pass.
        description: for progress and log.
        precision: of vectors and log-probabilities on disk; `auto` goes by the heads.
        topk: tokens of a `topk` row.
        memory_bytes: budget for the logits of a chunk while a teacher runs.
    """

    temperature: float
    batch_size: int
    description: str
    precision: Literal["auto", "bf16", "fp16", "float32"] = "auto"
    topk: int = 64
    memory_bytes: int = MEMORY_BYTES

    def dtype(self, head: OutputHead) -> torch.dtype:
        """Return how vectors of a head's width are kept.

        By measurement (`docs/engine.md`): beside the rounding of a 16-bit product that of float16 is not felt, and
        bfloat16's is; in float32 training nothing but float32 goes unnoticed.
        """
        if self.precision == "auto":
            return torch.float16 if head.is_narrow else torch.float32
        return _DTYPES[self.precision]


def store_teachers(
    folder: Path,
    teachers: RunningTeachers,
    data: Sequence[TokenizedExamples],
    *,
    kind: StoreKind,
    settings: StoreSettings,
    crossing: Crossing | None = None,
    new_folder: Path | None = None,
) -> StoredTeachers:
    """Run both teachers over the training and validation data once, or open what they left before.

    Args:
        folder: of the stores, `old` and `new`.
        teachers: both of them.
        data: training and validation data, in this order.
        kind: the engine that was chosen.
        settings: how they are run and kept.
        crossing: from the old model's tokens to the new one's, where the tokenizers differ.
        new_folder: of the new teacher's, where it is another one.

    Returns:
        Both stores, checked.

    Raises:
        OutputError: they cannot be written, or the disk is too small.
    """
    sequences, heads = [ids for part in data for ids in part.sequences], teachers.heads
    student_base = teachers.new.base
    stores = {
        name: store_teacher(
            place / name,
            side.model,
            head,
            sequences,
            kind=kind,
            student=heads.student,
            made_of={
                "base": side.base.fingerprint,
                "adapter": side.adapter,
                "student_base": student_base.fingerprint,
                "tokenizer": fingerprint(student_base.tokenizer.get_vocab()),
            },
            pad_token_id=student_base.tokenizer.pad_token_id,
            settings=replace(settings, description=f"{settings.description}: {name} teacher"),
            crossing=crossing if name == "old" else None,
        )
        for name, side, head, place in (
            ("old", teachers.old, heads.old, folder),
            ("new", teachers.new, heads.new, new_folder or folder),
        )
    }
    return StoredTeachers(stores["old"], stores["new"], heads)


def store_teacher(
    path: Path,
    model: PeftModel,
    head: OutputHead,
    sequences: Sequence[Sequence[int]],
    *,
    kind: StoreKind,
    student: OutputHead,
    made_of: Mapping[str, str],
    pad_token_id: int,
    settings: StoreSettings,
    crossing: Crossing | None = None,
) -> TeacherStore:
    """Return the store of a teacher on these examples: opened where it is there already, else built.

    Args:
        path: the store's folder.
        model: the frozen task model.
        head: its output head.
        sequences: token ids, one list an example.
        kind: `projected`, `hidden` or `topk`.
        student: the student's head, which projected rows are seen through.
        made_of: fingerprints of the teacher's base, its adapter, the student's base and the tokenizer.
        pad_token_id: for the batches.
        settings: how the teacher is run and kept.
        crossing: from its tokens to the student's, where the tokenizers differ; for `projected` and `topk`.

    Returns:
        The store, checked.

    Raises:
        OutputError: it cannot be written, or the disk is too small.
    """
    dtype = head.weight.dtype if kind == "hidden" and settings.precision == "auto" else settings.dtype(head)
    identity = {**made_of, **_data_and_versions(sequences, head, dtype)}
    # A last state is the same at every T.
    if kind != "hidden":
        identity["temperature"] = float(settings.temperature)
    topk = min(settings.topk, (student if crossing else head).vocab_size) if kind == "topk" else None
    if topk is not None:
        identity["k"] = topk
    if crossing is not None:
        identity |= crossing.identity()
    form = RowForm(settings.temperature, None if kind == "hidden" else student, topk, settings.memory_bytes)
    if crossing is None:
        make_rows = row_maker(model, head, sequences, form, pad_token_id=pad_token_id)
    else:
        make_rows = crossed_row_maker(model, head, crossing, sequences, form)
    layout = RowLayout(kind, topk or (student if kind == "projected" else head).weight.shape[1], dtype)
    with fast_layers(model):
        return _checked_store(path, make_rows, layout, head, sequences, identity, settings)


def store_mixture(
    path: Path,
    teachers: RunningTeachers,
    data: Sequence[TokenizedExamples],
    *,
    old_share: OldShare,
    share_name: str,
    new_teaches: bool = True,
    settings: StoreSettings,
) -> TeacherStore:
    """Run both teachers, both in memory, over the data once and keep one vector a token: their mixture.

    Args:
        path: the store's folder.
        teachers: both of them.
        data: training and validation data, in this order.
        old_share: the old teacher's share of each token.
        share_name: stands for `old_share` in the store's identity: another share is another store.
        new_teaches: False where the share is 1 throughout, so that the new teacher needs not run.
        settings: how they are run and kept.

    Returns:
        The store of `MixedRows`, checked.

    Raises:
        OutputError: it cannot be written, or the disk is too small.
    """
    sequences = [ids for part in data for ids in part.sequences]
    old, new, student = teachers.old, teachers.new, teachers.heads.student
    layout = RowLayout("mixed", student.weight.shape[1], settings.dtype(student))
    identity = {
        "base": [old.base.fingerprint, new.base.fingerprint],
        "adapter": [old.adapter, new.adapter],
        "tokenizer": fingerprint(new.base.tokenizer.get_vocab()),
        "share": share_name,
        "temperature": float(settings.temperature),
        **_data_and_versions(sequences, student, layout.dtype),
    }
    make_rows = mixture_maker(
        teachers,
        sequences,
        old_share=old_share,
        new_teaches=new_teaches,
        temperature=settings.temperature,
        memory_bytes=settings.memory_bytes,
    )
    who = "both teachers" if new_teaches else "old teacher"
    settings = replace(settings, description=f"{settings.description}: {who}")
    with fast_layers(old.model), fast_layers(new.model):
        return _checked_store(path, make_rows, layout, student, sequences, identity, settings)


def _data_and_versions(sequences: Sequence[Sequence[int]], head: OutputHead, dtype: torch.dtype) -> dict[str, object]:
    """Return the part of a store's identity that every kind has."""
    return {
        "data": fingerprint([list(ids) for ids in sequences]),
        "precision": f"{head.weight.dtype} computed, {dtype} stored",
        "versions": {name: value for name, value in versions().items() if name in _VERSIONS},
    }


def _checked_store(
    path: Path,
    make_rows: RowMaker,
    layout: RowLayout,
    head: OutputHead,
    sequences: Sequence[Sequence[int]],
    identity: Mapping[str, object],
    settings: StoreSettings,
) -> TeacherStore:
    """Build or open a store; build it again where a few rows computed now differ from what it holds."""
    build = partial(
        build_store,
        path,
        make_rows,
        layout,
        identity=identity,
        num_tokens=[len(ids) - 1 for ids in sequences],
        batch_size=settings.batch_size,
        description=settings.description,
    )
    with held(path), memory_for(settings.description, advice=_LESS_MEMORY):
        existed = distributed.from_main(path.exists)
        opened = build()
        # One process decides for all: each would find its own rounding.
        if existed and not distributed.from_main(lambda: still_true(opened, make_rows, head=head)):
            logger.warning("teacher store %s: a few tokens computed again differ from it; building it again", path)
            distributed.from_main(lambda: shutil.rmtree(path))
            opened = build()
    return opened


def still_true(store: TeacherStore, make_rows: RowMaker, *, head: OutputHead) -> bool:
    """Compute a few examples again and tell whether the store holds the same, to rounding.

    Fingerprints don't see another processor or another way of computing; numbers do.
    """
    last = store.num_examples - 1
    indices = sorted({last * place // max(1, _NUM_CHECKED - 1) for place in range(_NUM_CHECKED)})
    kept, made = store.rows(indices, head=head), make_rows(indices)
    (stored, stored_scalars), (again, scalars_again) = _vectors_and_scalars(kept), _vectors_and_scalars(made)
    said = None if isinstance(made, MixedRows | OptionRows) else known_tokens(made)
    if said is not None:  # blank rows are zeros
        chosen = said.cpu()
        stored, again, stored_scalars, scalars_again = (
            each[chosen] for each in (stored, again, stored_scalars, scalars_again)
        )
        if not chosen.any():
            return True
    # 16-bit models round differently in batches of other shapes; another model differs by the vector's own size.
    tolerance = 0.05 if head.is_narrow else 1e-3
    off = ((stored - again).norm(dim=-1) / again.norm(dim=-1)).mean()
    scalars_off = (stored_scalars - scalars_again).abs().mean()
    return bool(off <= tolerance) and bool(scalars_off <= 2 * tolerance)


def _vectors_and_scalars(rows: Rows) -> tuple[Tensor, Tensor]:
    """Return what tells one teacher from another: (tokens, something), and (tokens,)."""
    assert not isinstance(rows, OptionRows), "rows of tokens"
    scalars = rows.entropy if isinstance(rows, MixedRows) else rows.log_p
    # Top-k ids change places at the smallest rounding; their probabilities do not.
    vectors = rows.log_probs.exp() if isinstance(rows, TopkRows) else rows.vector
    return vectors.float().cpu(), scalars.cpu()
