"""Memory and time of training on a GPU, by formulas from a base's `config.json`: what `muscle update --dry-run` prints.

Nothing is loaded. The terms, for one process with a micro-batch of B examples of S tokens, L layers of width
d, feed-forward width f, vocabulary V:

    weights       P bytes(weight); P counted from the config; in 4 bits those of the layers' linear maps take 0.516
                  bytes (NF4 and its constants, themselves quantized: QLoRA, section 3), embeddings, head and norms b
    adapter       16 bytes a LoRA parameter: float32 weight, gradient, and AdamW's two moments
    activations   B S L (kept of a layer) and B S d (b + 4) of the last states, with b bytes of an activation
                  (2 or 4); with gradient checkpointing B S d b L in place of the former, plus one layer's; in 4
                  bits the largest map's weights once more, d f b, as they are unpacked
    chunk         the budget for a chunk of logits and what the head's product needs beside it
    stores        bytes on disk, none of them in memory

At option level an example is a tree of its options (`muscle.models.option_tree`) and S the nodes of the largest. On top
come the mask of the attention, B S^2 b, and in place of a chunk's budget the logits at the nodes that predict, each
V (2 b + 12) bytes while there is a gradient, in chunks of the same budget. A store is four bytes an option and teacher.

What is kept of a layer, in bytes a token: b (4 f + 6 d + 2 d_kv + 7 r), with d_kv the width of the keys and r
the rank: gate, its activation, up and their product; the norms' and projections' inputs and the queries; keys
and values; each LoRA's inner product. In 16 bits 12 d more, of the norms, which run in float32, and the
adapter's weights once more in 16 bits. Attention by SDPA or flash-attention, which keep no matrix of S x S.
`benchmarks/memory_model.py` holds the formulas against measured small cases; the ratios stand in `docs/scale.md`.

Time: 6 flops a parameter and token for LoRA steps is too much, since the frozen weights get no gradient: 4, 6
with gradient checkpointing; 2 for a teacher's pass. The rate is the GPU's peak in the precision of the
weights times a utilisation of 0.4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from muscle.config.settings import TrainingSettings

if TYPE_CHECKING:
    from transformers import PretrainedConfig

UTILISATION = 0.4
"""Share of a GPU's peak that LoRA training of a dense model reaches, a common figure; not measured here."""
PEAK_FLOPS = 312e12
"""An A100's peak in bf16."""
NF4_BYTES = (4 + 8 / 64 + 32 / (64 * 256)) / 8
"""Of a weight in 4 bits: a constant of 8 bits for 64 weights, one of 32 bits for 256 constants (QLoRA, section 3)."""
_OPTION_BYTES = 4
"""Of an option in an `options` store."""
_SCALAR_BYTES = 13
"""Of a token in a `projected` store, beside the teacher's vector."""
_HEAD_BYTES_PER_CHUNK = 1.3
"""A chunk of logits and what the output head's product needs beside it, in chunks."""


@dataclass(frozen=True)
class ModelSizes:
    """What the formulas need of a base.

    Attributes:
        layers: decoder layers.
        width: of a state.
        kv_width: of keys (and of values) in all heads.
        feed_forward: width of the feed-forward layer.
        vocabulary: rows of the output head.
        tied: input and output embeddings are one matrix.
    """

    layers: int
    width: int
    kv_width: int
    feed_forward: int
    vocabulary: int
    tied: bool

    @classmethod
    def of(cls, config: PretrainedConfig) -> ModelSizes:
        """Read them from a transformers configuration."""
        text = config.get_text_config() if hasattr(config, "get_text_config") else config
        heads = text.num_attention_heads
        head_dim = getattr(text, "head_dim", None) or text.hidden_size // heads
        feed_forward = getattr(text, "intermediate_size", None) or 4 * text.hidden_size
        return cls(
            layers=text.num_hidden_layers,
            width=text.hidden_size,
            kv_width=(getattr(text, "num_key_value_heads", None) or heads) * head_dim,
            feed_forward=feed_forward,
            vocabulary=text.vocab_size,
            tied=bool(getattr(text, "tie_word_embeddings", False)),
        )

    @property
    def linear_shapes(self) -> list[tuple[int, int]]:
        """Inputs and outputs of a layer's linear layers: query, key, value, output, gate, up, down."""
        d, kv, f = self.width, self.kv_width, self.feed_forward
        return [(d, d), (d, kv), (d, kv), (d, d), (d, f), (d, f), (f, d)]

    @property
    def parameters(self) -> int:
        """Weights of a base in Llama's form (gated feed-forward layer, no biases)."""
        layer = sum(a * b for a, b in self.linear_shapes) + 2 * self.width
        embeddings = self.vocabulary * self.width * (1 if self.tied else 2)
        return self.layers * layer + embeddings + self.width

    def weight_bytes(self, settings: TrainingSettings) -> int:
        """Return the bytes of a base's weights, loaded as a training's settings want it.

        In 4 bits these are the layers' linear maps alone; embeddings, head and norms stay as they are.
        """
        stored = 4 if settings.precision == "float32" else 2
        if settings.quantization is None:
            return stored * self.parameters
        linear = self.layers * sum(a * b for a, b in self.linear_shapes)
        return int(NF4_BYTES * linear) + stored * (self.parameters - linear)

    def adapter_parameters(self, rank: int) -> int:
        """Weights of a LoRA adapter on all linear layers but the head."""
        return self.layers * rank * sum(a + b for a, b in self.linear_shapes)


@dataclass(frozen=True)
class TreeSizes:
    """What the formulas need of the option trees that are trained on.

    Attributes:
        nodes: of the largest tree.
        predicting: nodes that predict a token, at most in a tree.
        options: of all items together.
        trained: nodes in all epochs, validation included.
        asked: nodes that the teachers read.
        num_teachers: that read them.
    """

    nodes: int
    predicting: int
    options: int
    trained: int
    asked: int
    num_teachers: int


@dataclass(frozen=True)
class Estimate:
    """Memory of one process while it trains, in bytes, and time.

    Attributes:
        weights: of one base; the student and the new teacher share it.
        adapter: LoRA weights, gradients and optimizer.
        activations: of a micro-batch.
        chunk: logits of a chunk.
        store: the teachers' stores on disk, for so many tokens.
        flops_per_token: of a training step.
        seconds: of all epochs on one GPU of `PEAK_FLOPS`.
    """

    weights: int
    adapter: int
    activations: int
    chunk: int
    store: int
    flops_per_token: int
    seconds: float

    @property
    def total(self) -> int:
        """Memory while training."""
        return self.weights + self.adapter + self.activations + self.chunk


def estimate(
    sizes: ModelSizes,
    settings: TrainingSettings,
    *,
    rank: int,
    tokens_per_epoch: int,
    sequence_tokens: int,
    num_processes: int = 1,
    num_teachers: int = 2,
    trees: TreeSizes | None = None,
) -> Estimate:
    """Estimate what training a compatibility adapter takes of each process.

    Args:
        sizes: of the new base.
        settings: batch size, checkpointing, quantization, epochs.
        rank: of the LoRA adapter.
        tokens_per_epoch: predicted tokens of training and validation data.
        sequence_tokens: of the longest batch's examples.
        num_processes: that share an epoch's tokens.
        num_teachers: that are run, and keep a vector a token.
        trees: of a training at option level, in place of both numbers of tokens.
    """
    computed = 4 if settings.precision == "float32" else 2
    tokens = settings.batch_size * (trees.nodes if trees else sequence_tokens)
    # The terms, one a line, are those of the module's docstring.
    kept = 4 * sizes.feed_forward + 6 * sizes.width + 2 * sizes.kv_width + 7 * rank
    of_layer = tokens * (kept * computed + (12 * sizes.width if computed == 2 else 0))
    casts = 2 * sizes.adapter_parameters(rank) if computed == 2 else 0
    outside = tokens * sizes.width * (computed + 4)
    if settings.gradient_checkpointing:
        activations = tokens * sizes.width * computed * sizes.layers + of_layer + casts // sizes.layers
    else:
        activations = of_layer * sizes.layers + casts
    activations += outside
    if settings.quantization:
        activations += computed * sizes.width * sizes.feed_forward
    budget = settings.chunk_memory_mb * 2**20
    passes = 6 if settings.gradient_checkpointing else 4
    flops = passes * sizes.parameters
    if trees:
        activations += tokens * trees.nodes * computed
        predicting = settings.batch_size * trees.predicting
        chunk = min(budget, predicting * sizes.vocabulary * (2 * computed + 12))
        store = _OPTION_BYTES * trees.options * trees.num_teachers
        work = flops * trees.trained + 2 * sizes.parameters * trees.asked
    else:
        chunk = int(_HEAD_BYTES_PER_CHUNK * min(budget, tokens * sizes.vocabulary * (6 if computed == 2 else 4)))
        store = num_teachers * tokens_per_epoch * (sizes.width * computed + _SCALAR_BYTES)
        work = flops * tokens_per_epoch * settings.epochs + 2 * num_teachers * sizes.parameters * tokens_per_epoch
    return Estimate(
        weights=sizes.weight_bytes(settings),
        adapter=16 * sizes.adapter_parameters(rank),
        activations=int(activations),
        chunk=chunk,
        store=store,
        flops_per_token=flops,
        seconds=work / (PEAK_FLOPS * UTILISATION) / num_processes,
    )
