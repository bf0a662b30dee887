"""What to change in an update so that its stages fit a card: from what costs nothing to what changes results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

from muscle.config.settings import TrainingSettings
from muscle.config.update_file import UpdateConfig
from muscle.pipeline.loaded_bases import Side
from muscle.pipeline.memory.stage_memory import StageMemory, StageShape, stage_memory
from muscle.pipeline.resources import ModelSizes

Changes = Mapping[str, object]
"""Values by their key, such as `training.batch_size`."""

_SHORTEST = 128
"""Tokens below which `training.max_length` is not proposed."""


def memory_of(
    shapes: Sequence[StageShape], config: UpdateConfig, sizes: Mapping[Side, ModelSizes]
) -> tuple[StageMemory, ...]:
    """Return the memory of each stage, the largest first."""
    return tuple(
        sorted((stage_memory(shape, config, sizes) for shape in shapes), key=lambda each: each.total, reverse=True)
    )


def changes_that_fit(
    shapes: Sequence[StageShape], config: UpdateConfig, sizes: Mapping[Side, ModelSizes], *, usable: int
) -> Changes | None:
    """Return the mildest changes with which every stage takes at most `usable` bytes; None where none are enough.

    Smaller batches with as many more of them an optimizer step, and activations that are computed again, leave the
    results as they are to rounding; 4-bit bases and shorter examples do not, and come last. What a method in
    `evaluation.beside` sets for its own training is left as it is.
    """

    def fits(changes: Changes) -> bool:
        return all(each.total <= usable for each in memory_of(shapes, changed(config, changes), sizes))

    for length in _lengths_to_try(config, shapes):
        for quantization in _quantizations(config):
            for changes in _ways_to_save(config, quantization, length):
                if fits(changes):
                    return _needed(changes, fits)
    return None


def _quantizations(config: UpdateConfig) -> list[Literal["4bit"] | None]:
    """Return the forms of the bases to try: that of the settings, then 4 bits where these can be loaded so."""
    own = config.training.quantization
    is_gguf = any(base.base.endswith(".gguf") for base in (config.old, config.new))
    return [own] if own or is_gguf or config.evaluation.backend == "vllm" else [None, "4bit"]


def _needed(changes: Changes, fits: Callable[[Changes], bool]) -> Changes:
    """Drop the changes without which it fits as well; a smaller batch goes with the larger accumulation."""
    needed = changes
    for key in [each for each in changes if not each.endswith("gradient_accumulation")]:
        gone = {key, key.replace("batch_size", "gradient_accumulation")}
        if key == "training.batch_size" and "alignment.training.batch_size" not in changes:
            gone.add("alignment.training.gradient_accumulation")
        fewer = {each: value for each, value in needed.items() if each not in gone}
        if fits(fewer):
            needed = fewer
    return needed


def changed(config: UpdateConfig, changes: Changes) -> UpdateConfig:
    """Return a configuration with other values; they count for the compatibility adapter too."""
    training = {key.removeprefix("training."): value for key, value in changes.items() if key.startswith("training.")}
    further = {
        key.removeprefix("alignment.training."): value
        for key, value in changes.items()
        if key.startswith("alignment.training.")
    }
    alignment = config.alignment.model_copy(update={"training": {**config.alignment.training, **further}})
    evaluation = config.evaluation.model_copy(
        update={"batch_size": changes.get("evaluation.batch_size", config.evaluation.batch_size)}
    )
    return config.model_copy(
        update={
            "training": config.training.model_copy(update=training),
            "alignment": alignment,
            "evaluation": evaluation,
        }
    )


def _lengths_to_try(config: UpdateConfig, shapes: Sequence[StageShape]) -> list[int]:
    """Return lengths to try: that of the settings, then halves of what the longest example has."""
    longest = max((each.longest or config.training.max_length for each in shapes), default=0)
    found, length = [config.training.max_length], min(longest, config.training.max_length) // 2
    while length >= _SHORTEST and not any(each.trees for each in shapes):
        found.append(length)
        length //= 2
    return found


def _ways_to_save(config: UpdateConfig, quantization: str | None, length: int) -> Iterator[Changes]:
    """Yield changes from few to many: smaller batches of scoring, then of training, then with checkpointing."""
    own, possible = config.training.gradient_checkpointing, config.alignment.target != "twins"
    for recomputed in dict.fromkeys((own, own or possible)):
        size = max(config.training.batch_size, config.evaluation.batch_size)
        while size:
            yield _other_values(config, recomputed, quantization, length, size)
            size //= 2


def _other_values(config: UpdateConfig, recomputed: bool, quantization: str | None, length: int, size: int) -> Changes:
    """Return only the keys whose values are others than the configuration's, with those that stand over them."""
    found: dict[str, object] = {}
    for prefix, settings in (("training.", config.training), ("alignment.training.", config.align_training())):
        batch = min(size, settings.batch_size)
        steps = -(-settings.batch_size * settings.gradient_accumulation // batch)
        wanted: dict[str, object] = {
            "batch_size": batch,
            "gradient_accumulation": steps,
            "gradient_checkpointing": recomputed,
            "max_length": min(length, settings.max_length),
        }
        if prefix == "training.":
            wanted["quantization"] = quantization
        over = set(TrainingSettings.model_fields if prefix == "training." else config.alignment.training)
        if "batch_size" in over:
            over.add("gradient_accumulation")
        found |= {
            prefix + key: value for key, value in wanted.items() if key in over and value != getattr(settings, key)
        }
    if size < config.evaluation.batch_size:
        found["evaluation.batch_size"] = size
    return found
