"""The memory of a forward pass, counted."""

from __future__ import annotations

from collections.abc import Callable

import torch


def kept_bytes(model: torch.nn.Module, forward: Callable[[], object]) -> int:
    """Return the bytes of all that autograd keeps of a forward pass, without parameters and buffers."""
    known = {each.untyped_storage().data_ptr() for each in (*model.parameters(), *model.buffers())}
    kept: dict[int, int] = {}
    alive = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)  # so that no address is used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        forward()
    return sum(kept.values())
