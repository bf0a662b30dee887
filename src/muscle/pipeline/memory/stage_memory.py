"""The memory of each stage of an update on its GPU, by the formulas of `muscle.pipeline.resources`.

Both bases are loaded when an update begins and stay; while a compatibility adapter trains from stores, the old one
waits in main memory. So a stage takes:

    train         both bases; LoRA with gradients and AdamW, activations, a chunk of logits
    align         the larger of two: both bases, both adapters and a teacher's forward pass; the new base, the second
                  adapter and the training. With the engine `online` both at once, and all three models' logits
    score, draw   both bases and an adapter; one layer's activations, a chunk of logits; the attention's mask where
                  options are scored; keys and values of all layers where answers are generated

A forward pass keeps one layer's activations at a time. With vLLM scoring takes what `evaluation.vllm` gives it, and is
not estimated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from muscle.config.alignment import AlignmentSettings
from muscle.config.settings import TrainingSettings
from muscle.config.update_file import UpdateConfig
from muscle.pipeline.loaded_bases import Side
from muscle.pipeline.resources import ModelSizes, TreeSizes, estimate

StageKind = Literal["finetune", "align", "labels", "draw", "score"]


@dataclass(frozen=True)
class StageShape:
    """What a stage's memory depends on beside the settings.

    Attributes:
        name: of the stage.
        kind: what it does; `labels` trains with the compatibility adapter's settings and no teacher.
        side: of the base that is trained or scored.
        longest: tokens of the longest example that it reads; None takes `training.max_length`.
        generated: tokens of an answer at most; 0 where options are scored or nothing is.
        run: of `align` and `labels`, whose method and settings count.
        trees: of a training at option level.
    """

    name: str
    kind: StageKind
    side: Side
    longest: int | None
    generated: int = 0
    run: str = ""
    trees: TreeSizes | None = None

    def method(self, config: UpdateConfig) -> AlignmentSettings:
        """Return how the compatibility adapter is trained."""
        return config.evaluation.beside.get(self.run, config.alignment)


@dataclass(frozen=True)
class StageMemory:
    """The memory of a stage at its peak, in bytes.

    Attributes:
        name: of the stage.
        weights: of the bases on the GPU.
        adapter: LoRA weights, and where they train gradients and optimizer.
        activations: of the largest batch, with keys and values of answers that are generated.
        logits: of a chunk of tokens.
    """

    name: str
    weights: int
    adapter: int
    activations: int
    logits: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.adapter + self.activations + self.logits

    def to_json(self) -> dict[str, object]:
        """Return it as a JSON object."""
        parts = {key if key == "name" else f"{key}_bytes": value for key, value in asdict(self).items()}
        return parts | {"total_bytes": self.total}


def stage_memory(shape: StageShape, config: UpdateConfig, sizes: Mapping[Side, ModelSizes]) -> StageMemory:
    """Return the memory of a stage.

    Args:
        shape: of the stage.
        config: whose settings of training and scoring count.
        sizes: of both bases.
    """
    bases = sum(each.weight_bytes(config.training) for each in sizes.values())
    if shape.kind in ("score", "draw"):
        return _forward(shape, config, sizes[shape.side], bases)
    own = config.training if shape.kind == "finetune" else config.align_training(shape.method(config))
    # The bases are loaded as `training` says, whatever `alignment.training` does.
    settings = own.model_copy(update={"quantization": config.training.quantization})
    training = _while_training(shape, config, settings, sizes, bases)
    if shape.kind != "align":
        return training
    return max(training, _while_teaching(shape, config.lora.r, settings, sizes, bases), key=lambda each: each.total)


def _while_training(
    shape: StageShape, config: UpdateConfig, settings: TrainingSettings, sizes: Mapping[Side, ModelSizes], bases: int
) -> StageMemory:
    size, rank, alignment = sizes[shape.side], config.lora.r, shape.method(config)
    length = settings.max_length if shape.longest is None else min(shape.longest, settings.max_length)
    trained = alignment.rank(rank) if shape.kind == "align" else rank
    found = estimate(size, settings, rank=trained, tokens_per_epoch=0, sequence_tokens=length, trees=shape.trees)
    weights, adapter, logits = bases, found.adapter, found.chunk
    if shape.kind == "align":
        adapter += 4 * size.adapter_parameters(rank)
        if alignment.unit == "tokens" and alignment.engine == "online":
            computed = 4 if settings.precision == "float32" else 2
            # The student's, in float32 with their gradient, and each teacher's.
            logits = settings.batch_size * length * size.vocabulary * (2 * computed + 12 + 2 * (computed + 4))
        else:
            weights = size.weight_bytes(settings)
    return StageMemory(shape.name, weights, adapter, found.activations, logits)


def _while_teaching(
    shape: StageShape, rank: int, settings: TrainingSettings, sizes: Mapping[Side, ModelSizes], bases: int
) -> StageMemory:
    """Return the memory while the teachers read the data, the larger of them."""
    length = settings.max_length if shape.longest is None else min(shape.longest, settings.max_length)
    nodes = shape.trees.nodes if shape.trees else length
    adapters = sum(4 * each.adapter_parameters(rank) for each in sizes.values())
    passing = max(_layer_bytes(each, settings, settings.batch_size * nodes) for each in sizes.values())
    if shape.trees:
        passing += settings.batch_size * nodes * nodes * 4
    student = 16 * sizes["new"].adapter_parameters(rank) // 4  # made before the teachers run, without optimizer
    chunk = int(1.3 * settings.chunk_memory_mb * 2**20)
    return StageMemory(shape.name, bases, adapters + student, passing, chunk)


def _forward(shape: StageShape, config: UpdateConfig, size: ModelSizes, bases: int) -> StageMemory:
    settings, rows = config.training, config.evaluation.batch_size
    computed = 4 if settings.precision == "float32" else 2
    length = settings.max_length if shape.longest is None else shape.longest
    activations = _layer_bytes(size, settings, rows * length)
    if shape.generated:
        activations += rows * (length + shape.generated) * size.layers * 2 * size.kv_width * computed
        logits = rows * size.vocabulary * (computed + 4)
    else:
        activations += rows * length * length * computed
        logits = int(1.3 * settings.chunk_memory_mb * 2**20)
    return StageMemory(shape.name, bases, 4 * size.adapter_parameters(config.lora.r), activations, logits)


def _layer_bytes(size: ModelSizes, settings: TrainingSettings, tokens: int) -> int:
    """Return what a forward pass keeps without gradients: one layer's activations, and the states between layers."""
    computed = 4 if settings.precision == "float32" else 2
    unpacked = computed * size.width * size.feed_forward if settings.quantization else 0
    width = 4 * size.feed_forward + 8 * size.width + 2 * size.kv_width
    return tokens * width * computed + unpacked
