"""Runs both task models once over a library's own data and keeps what they say of every token, in a teacher store."""

from __future__ import annotations

import logging
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import torch
from torch import Tensor

from muscle.errors import DataError, ModelError
from muscle.files import check_can_write
from muscle.integrations.sequences import KnownSequences, places_in
from muscle.integrations.settings import Teaching
from muscle.models.adapters import split_model
from muscle.models.base_files import base_fingerprint, resolve_base
from muscle.models.bases import LoadedBase, load_base, load_tokenizer
from muscle.models.devices import free_memory, warn_if_slow
from muscle.models.tokenizers import check_same_tokens
from muscle.provenance import fingerprint
from muscle.training.data.batches import IGNORE_INDEX
from muscle.training.head.output_head import OutputHead
from muscle.training.head.usable_head import usable_head
from muscle.training.losses.fused import fused_compatibility_terms
from muscle.training.teachers.make_rows import TaskModel
from muscle.training.teachers.rows import TeacherRows
from muscle.training.teachers.run_teachers import StoreSettings, store_teacher
from muscle.training.teachers.store import TeacherStore
from muscle.training.token_sums import TokenSums, compatibility_sums

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

_NO_PACKING = (
    "the data changes after the trainer is made, or its packing shows in no position_ids; turn off packing and "
    "whatever draws data anew in each epoch"
)


@dataclass(frozen=True)
class Taught:
    """What both teachers said of the data, and the student's head.

    Attributes:
        settings: the formula.
        known: the sequences, by content.
        head: the student's output head.
        old: M_v1's store.
        new: M_v2's store.
        heads: the teachers' own heads, where a store needs them.
    """

    settings: Teaching
    known: KnownSequences
    head: OutputHead
    old: TeacherStore
    new: TeacherStore
    heads: tuple[OutputHead | None, OutputHead | None]

    def sums(self, states: Tensor, batch: Mapping[str, Tensor]) -> TokenSums:
        """Return a batch's loss (MUSCLE, 2024, Eq. 1 and 5) as sums over its counted tokens.

        Args:
            states: (batch, seq, width), what the student hands to its head.
            batch: `input_ids` and `labels`, (batch, seq), and what `places_in` reads; `IGNORE_INDEX` leaves a label
                out, as it does in the library's own loss.

        Raises:
            DataError: the batch holds a sequence that the teachers have not read, or labels that are not its tokens.
        """
        ids, labels = batch["input_ids"].cpu(), batch["labels"].cpu()
        targets, numbers = torch.full_like(labels, IGNORE_INDEX), torch.zeros_like(labels)
        found, counted = [], [torch.zeros(0, dtype=torch.bool)]
        for number, place in enumerate(places_in(batch)):
            inside = slice(place.start + 1, place.end)  # nothing stands before a sequence's first token
            wanted = labels[place.row, inside]
            if bool((wanted == IGNORE_INDEX).all()):
                continue
            targets[place.row, inside], numbers[place.row, place.start : place.end] = wanted, number
            counted.append(wanted != IGNORE_INDEX)
            found.append(self._number(ids[place.row, place.start : place.end].tolist()))
        if bool(((targets != ids) & (targets != IGNORE_INDEX)).any()):
            raise DataError(
                "labels: expected the input's own tokens, or -100, found others; the teachers read the input"
            )
        old, new = (
            _of_counted(store.rows(found, head=head, device=states.device), torch.cat(counted))
            for store, head in ((self.old, self.heads[0]), (self.new, self.heads[1]))
        )
        terms = fused_compatibility_terms(
            states[:, :-1],
            self.head,
            targets[:, 1:].to(states.device),
            old,
            new,
            temperature=self.settings.temperature,
            mask=self.settings.mask,
            ce_weight=self.settings.ce_weight,
            memory_bytes=self.settings.chunk_memory_mb * 2**20,
            sequences=numbers[:, :-1].to(states.device),
        )
        return compatibility_sums(terms)

    def _number(self, ids: Sequence[int]) -> int:
        number = self.known.number(ids)
        if number is None:
            raise DataError(
                f"a batch holds a sequence of {len(ids)} tokens that the data did not have when the teachers read it: "
                f"{_NO_PACKING}"
            )
        return number


def _of_counted(rows: object, counted: Tensor) -> TeacherRows:
    """Return the rows of the counted tokens."""
    assert isinstance(rows, TeacherRows), "a store of one teacher"
    tensors = {field.name: getattr(rows, field.name) for field in fields(rows)}
    kept = {
        name: value[counted.to(value.device)]
        for name, value in tensors.items()
        if isinstance(value, Tensor)  # a head or a temperature is the same for all
    }
    build: Callable[..., TeacherRows] = type(rows)
    return build(**{**tensors, **kept})


def teach(settings: Teaching, student: PeftModel, known: KnownSequences) -> Taught:
    """Run the teachers over the data, one after the other, or open what they left.

    Args:
        settings: who teaches.
        student: the model to train, with the data's tokenizer.
        known: the sequences of the training and validation data.

    Raises:
        ModelError: a teacher is not there, its adapter doesn't fit, the vocabularies differ, or the student's head is
            trained.
        DataError: there is no sequence of two tokens.
        OutputError: the stores cannot be written.
    """
    if not known.sequences:
        raise DataError("data: expected at least one sequence of two tokens, found none")
    check_can_write(Path(settings.store), folder=True)
    head = usable_head(student, known.sequences[0])
    # A capped head is not linear, so that the teachers' states are kept and their heads applied again.
    kind: Literal["projected", "hidden"] = "projected" if head.softcap is None else "hidden"
    warn_if_slow(settings.precision)
    (old, _), (new, _) = split_model(settings.old), split_model(settings.new)
    tokenizer = load_tokenizer(new)
    check_same_tokens(load_tokenizer(old), tokenizer, f"{old.base} and {new.base}")
    student_base = base_fingerprint(resolve_base(new))
    made = [
        _stored(name, settings, known, head, kind, tokenizer, student_base, model)
        for name, model in (("old", settings.old), ("new", settings.new))
    ]
    (old_store, old_head), (new_store, new_head) = made
    return Taught(settings, known, head, old_store, new_store, (old_head, new_head))


def _stored(
    name: str,
    settings: Teaching,
    known: KnownSequences,
    student: OutputHead,
    kind: Literal["projected", "hidden"],
    tokenizer: PreTrainedTokenizerBase,
    student_base: str,
    model: str,
) -> tuple[TeacherStore, OutputHead | None]:
    """Load one teacher, run it, and let it go; its head stays where its store needs it."""
    config, adapter = split_model(model)
    logger.info("loading the %s teacher %s", name, model)
    base = load_base(config, precision=settings.precision, quantization=settings.quantization)
    teacher = _task_model(base, adapter)
    head = usable_head(teacher.model, known.sequences[0])
    if head.vocab_size != student.vocab_size:
        raise ModelError(
            f"{name} teacher {model}: expected an output head of the student's {student.vocab_size} rows, found "
            f"{head.vocab_size}"
        )
    store = store_teacher(
        Path(settings.store) / name,
        teacher.model,
        head,
        known.sequences,
        kind=kind,
        student=student,
        made_of={
            "base": base.fingerprint,
            "adapter": teacher.adapter,
            "student_base": student_base,
            "tokenizer": fingerprint(tokenizer.get_vocab()),
        },
        pad_token_id=tokenizer.pad_token_id,
        settings=StoreSettings(
            settings.temperature,
            settings.batch_size,
            f"{name} teacher",
            precision=settings.store_precision,
            memory_bytes=settings.chunk_memory_mb * 2**20,
        ),
    )
    del base, teacher
    free_memory()
    return store, head if kind == "hidden" else None


def _task_model(base: LoadedBase, adapter: Path | None) -> TaskModel:
    """Put the adapter on its base; a model without one was tuned whole."""
    if adapter is None:
        return TaskModel(cast("PeftModel", base.model), base, "none")
    return TaskModel.load(base, adapter)
