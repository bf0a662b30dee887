"""BCWI: no training; the old and the new adapter's weights, interpolated on the new base."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from transformers import set_seed

from muscle import distributed
from muscle.config.alignment import AlignmentSettings
from muscle.files import atomic_folder, clear_leftovers, write_json
from muscle.models.adapter_check import adapter_content
from muscle.models.adapter_sum import Part, summed_adapter
from muscle.models.adapters import save_adapter
from muscle.models.bases import LoadedBase
from muscle.shipping.card import write_card
from muscle.training.run import TrainingResult


def interpolate(
    base: LoadedBase, old_adapter: Path, new_adapter: Path, *, alignment: AlignmentSettings, out: Path
) -> TrainingResult:
    """Write w A_v1 + (1 - w) A_v2 on the new base to `out`, where w is `alignment.old_share`.

    w = 0 is A_v2 and w = 1 the old adapter copied, tensor by tensor.

    Args:
        base: the new base.
        old_adapter: A_v1's folder, made for another base of the same shapes.
        new_adapter: A_v2's folder.
        alignment: the method.
        out: the adapter's folder.

    Returns:
        That no epoch ran.

    Raises:
        ModelError: see `summed_adapter`.
    """
    share = alignment.old_share
    set_seed(0)  # PEFT draws a start, which the sum then overwrites
    model = summed_adapter(base, [Part(old_adapter, share, carried=True), Part(new_adapter, 1.0 - share)])
    result = TrainingResult(0, 0, None, [], converged=True, improved=True, num_steps=0, log=[])
    note = {
        "stage": "align",
        "alignment": alignment.identity(),
        "old_adapter": adapter_content(old_adapter),
        "new_adapter": adapter_content(new_adapter),
    }
    record = {"method": alignment.method, "unit": "weights", "target": alignment.target, "old_share": share}

    def write() -> None:
        clear_leftovers(out.parent, out.name)
        with atomic_folder(out) as folder:
            save_adapter(model, folder, base=base, note=note)
            write_json(folder / "training.json", dataclasses.asdict(result) | record)
            write_card(folder)

    distributed.from_main(write)
    return result
