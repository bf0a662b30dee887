"""Where a compatibility adapter starts: from the new task adapter, from the old one, or afresh."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from transformers import set_seed

from muscle.config.alignment import AlignmentSettings
from muscle.config.settings import LoraSettings
from muscle.models.adapter_check import adapter_content
from muscle.models.adapter_sum import Part, summed_adapter
from muscle.models.adapters import load_adapter, new_adapter, start_adapter
from muscle.models.bases import LoadedBase

if TYPE_CHECKING:
    from peft import PeftModel


@dataclass(frozen=True)
class Start:
    """A student's start on the new base.

    Attributes:
        base: the new base.
        adapters: A_v1's and A_v2's folder, by `old` and `new`.
        alignment: which of them, and the rank.
        lora: of a fresh one.
        seed: of what is drawn.
    """

    base: LoadedBase
    adapters: dict[str, Path]
    alignment: AlignmentSettings
    lora: LoraSettings
    seed: int

    def student(self) -> PeftModel:
        """Put the adapter on the base.

        Raises:
            ModelError: it doesn't fit.
        """
        # PEFT draws a start, which an adapter's file then overwrites.
        set_seed(self.seed)
        rank, kind = self._rank, self.alignment.start
        if kind == "fresh":
            alpha = self.lora.alpha / self.lora.r * (rank or self.lora.r)
            return new_adapter(self.base, self.lora.model_copy(update={"r": rank or self.lora.r, "alpha": alpha}))
        if kind == "new" and rank is None:
            return load_adapter(self.base, self.adapters["new"], trainable=True)
        return start_adapter(self.base, self.adapters[kind], rank=rank, carried=kind == "old")

    def twins(self) -> PeftModel:
        """Put the adapter on the base twice, as the two halves of one of twice the rank; a fresh one differs in them.

        Raises:
            ModelError: it doesn't fit.
        """
        set_seed(self.seed)
        kind = self.alignment.start
        if kind == "fresh":
            return new_adapter(self.base, self.lora.model_copy(update={"r": 2 * self.lora.r}))
        return summed_adapter(self.base, 2 * [Part(self.adapters[kind], 0.5, carried=kind == "old")])

    def content(self) -> list[object]:
        """Return what the start depends on, as plain data."""
        kind = self.alignment.start
        of = self.lora.model_dump() if kind == "fresh" else adapter_content(self.adapters[kind])
        return [kind, of, self._rank]

    @property
    def _rank(self) -> int | None:
        return self.alignment.lora.r if self.alignment.lora else None
