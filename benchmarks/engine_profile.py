"""Where a training step's time goes: torch's profile of one step, by the parts of a step."""

from __future__ import annotations

from typing import Any

PRODUCTS = ("aten::mm", "aten::addmm", "aten::addmm_")
ATTENTION = ("aten::bmm", "aten::baddbmm", "aten::_scaled_dot_product", "aten::_softmax")


def by_part(recorder: Any, vocabulary: int, rank: int) -> dict[str, float]:
    """Return seconds of each part of the profiled step, the longest first."""
    found: dict[str, float] = {}
    for operation in recorder.key_averages(group_by_input_shape=True):
        part = part_of(operation, vocabulary, rank)
        found[part] = found.get(part, 0.0) + operation.self_cpu_time_total / 1e6
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def part_of(operation: Any, vocabulary: int, rank: int) -> str:
    """Name the part of a step that an operation belongs to, by its name and its sizes."""
    from muscle.training.head.output_head import PULL_BLOCKS

    sizes = {size for shape in operation.input_shapes if isinstance(shape, list) for size in _flat(shape)}
    if operation.key in PRODUCTS:
        if sizes & {vocabulary, vocabulary // PULL_BLOCKS}:
            return "matrix products of the head"
        return f"matrix products of the {'adapter' if rank in sizes else 'layers'}"
    if vocabulary in sizes:
        return "the head's softmax, argmax, casts"
    if operation.key.startswith(ATTENTION):
        return "attention"
    if "adam" in operation.key.lower() or "foreach" in operation.key:
        return "optimizer"
    if operation.key.startswith("aten::"):
        return "norms, activations, rotary embedding, casts, sums"
    return "Python, autograd"


def _flat(shape: list[Any]) -> list[int]:
    return [size for part in shape for size in (_flat(part) if isinstance(part, list) else [part])]
