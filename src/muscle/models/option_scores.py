"""The log-likelihoods of all options of an item from one forward pass over their tree.

A node sees the context and its own ancestors alone, at the place that it has in its option, so its state is what a
pass over that option would give it; the numbers are the same to rounding. That needs a model that takes a mask for
each pair of tokens and a place for each token: attention by `sdpa` or `eager`, no state that runs through the tokens
in their order. `reads_trees` tells by numbers; what its configuration rules out (an attention of other kernels, a
window shorter than the tree) goes option by option on its own.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from muscle.errors import ModelError
from muscle.models.bases import without_adapter
from muscle.models.head_states import head_states, logit_cap, logit_scale
from muscle.models.option_tree import OptionTree, option_tree

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedConfig, PreTrainedModel

MEMORY_BYTES = 128 * 2**20
"""Default budget for the logits of a chunk."""
_NO_MASKS = ("flash", "flex", "paged")
"""In the names of attentions that take no mask of their caller's."""
_CLOSE, _CLOSER = 1e-4, 0.25
"""What `reads_trees` takes for rounding: a share of the values, or of a wrong reading's error."""
_SAMPLE_TOKENS = 4


class _Rows(NamedTuple):
    """Trees as the rows of a forward pass.

    Attributes:
        trees: one a row.
        positions: (nodes,) of each tree; None for plain sequences, which are read as any other.
        sights: (nodes, nodes) of each tree, which nodes each node sees; None for plain sequences.
    """

    trees: Sequence[OptionTree]
    positions: Sequence[Sequence[int]] | None = None
    sights: Sequence[NDArray[np.bool_]] | None = None


def option_log_likelihoods(
    model: PreTrainedModel | PeftModel,
    trees: Sequence[OptionTree],
    *,
    pad_token_id: int,
    memory_bytes: int = MEMORY_BYTES,
    option_by_option: bool = False,
    wrapper: nn.Module | None = None,
    head: nn.Module | None = None,
) -> list[Tensor]:
    """Return log p(option | context) of every option, the sum of log p(token | what is before it) over its tokens.

    One forward pass for all trees that the model can read as such. The others (see `fits`) are read option by option,
    in passes that are no larger; trees that are plain sequences, as with options of one token, need neither.
    Differentiable with respect to the model where gradients are enabled.

    Args:
        model: a causal language model of transformers, bare or with a PEFT adapter, in whatever mode it is in.
        trees: the caller says by their number how much one pass holds.
        pad_token_id: stands behind a tree that is smaller than others; nothing sees it.
        memory_bytes: budget for the logits of a chunk of predicting nodes, each of which has them once, however many
            options part there. Where gradients are enabled and one chunk doesn't hold all, logits are computed again
            in the backward pass.
        option_by_option: read every tree so, for a model that `reads_trees` refuses.
        wrapper: a data-parallel wrapper around the model, whose forward is called in its place.
        head: a whole head in place of the model's own, where that is in shards (`whole_head`).

    Returns:
        For each tree (options,), float32 (float64 for a float64 model), in nats.

    Raises:
        ModelError: the model doesn't call its head exactly once.
    """
    config = without_adapter(model).config
    score = partial(
        _score, model, wrapper=wrapper or model, pad_token_id=pad_token_id, memory_bytes=memory_bytes, head=head
    )
    found: dict[int, Tensor] = {}
    branched = [
        index for index, tree in enumerate(trees) if not tree.is_chain and fits(config, tree) and not option_by_option
    ]
    chains = [index for index, tree in enumerate(trees) if tree.is_chain]
    if branched:
        # Sequences go along with the trees; alone they go without a mask, which every attention is fastest at.
        joined = [index for index in chains if fits(config, trees[index])]
        chains = [index for index in chains if index not in joined]
        branched += joined
        together = [trees[index] for index in branched]
        rows = _Rows(together, [tree.positions for tree in together], [tree.sight() for tree in together])
        found.update(zip(branched, score(rows), strict=True))
    if chains:
        found.update(zip(chains, score(_Rows([trees[index] for index in chains])), strict=True))
    for index in set(range(len(trees))).difference(found):
        batches = _batches(trees[index].chains(), sum(len(tree.input_ids) for tree in trees))
        found[index] = torch.cat([value for batch in batches for value in score(_Rows(batch))])
    return [found[index] for index in range(len(trees))]


def whole_head(model: PreTrainedModel | PeftModel) -> nn.Module | None:
    """Return a copy of a model's head on the very same numbers, which stays whole when the model is put in shards.

    A head in shards is gathered by all processes together; how often it is applied to a batch, chunk by chunk, is each
    process's own affair. None where the head is trained: then there is no such copy.
    """
    head = without_adapter(model).get_output_embeddings()
    if any(parameter.requires_grad for parameter in head.parameters()):
        return None
    memo: dict[int, object] = {id(each): nn.Parameter(each.detach(), requires_grad=False) for each in head.parameters()}
    copied: nn.Module = copy.deepcopy(head, memo)
    return copied


def fits(config: PreTrainedConfig, tree: OptionTree) -> bool:
    """Tell whether a model can read a tree as such, so far as its configuration says.

    Flash- and flex-attention take no mask of their caller's. A window (or chunk) of attention shorter than the tree's
    longest path would have to stand in the mask, layer by layer.
    """
    text = config.get_text_config()
    attention = getattr(config, "_attn_implementation", None) or ""
    windows = [getattr(text, name, None) for name in ("sliding_window", "attention_chunk_size")]
    if getattr(text, "use_sliding_window", True) is False:
        del windows[0]
    takes_masks = not any(name in attention for name in _NO_MASKS)
    return takes_masks and all(tree.depth <= window for window in windows if window)


@torch.no_grad()
def reads_trees(model: PreTrainedModel | PeftModel, sample: Sequence[int], *, pad_token_id: int) -> bool:
    """Tell by numbers whether a model gives the options of a tree their plain likelihoods.

    A small tree is read as such and option by option; and, to know how far off wrong readings are, as one plain
    sequence and with its nodes' places counted through. The first two must agree to rounding: to 1e-4 of their size,
    or, where a 16-bit model rounds more, four times better than either wrong reading does.

    Args:
        model: a causal language model, bare or with a PEFT adapter.
        sample: some token ids to make the tree of, at least two different ones.
        pad_token_id: see `option_log_likelihoods`.

    Raises:
        ModelError: it does something to its logits that is not known here: not even option by option are the
            likelihoods its own.
    """
    ids = list(dict.fromkeys(sample))[:_SAMPLE_TOKENS]
    if len(ids) < 2:
        return False
    turned = [ids[shift:] + ids[:shift] for shift in range(len(ids))]
    tree = option_tree(ids, [*turned, turned[1][:1] + turned[0]])
    base = without_adapter(model)
    score = partial(_score, model, wrapper=model, pad_token_id=pad_token_id, memory_bytes=MEMORY_BYTES)
    was_training = model.training
    model.eval()  # dropout would tell two passes apart
    try:
        own = _own_likelihoods(model, tree.chains())
        alone = torch.cat(score(_Rows(tree.chains())))
        tolerance = _CLOSE + 4 * torch.finfo(base.dtype).eps
        if not (alone - own).abs().max() <= tolerance * own.abs().max():
            raise ModelError("output head: applied to the last states it does not give the model's logits")
        return fits(base.config, tree) and _sees_as_told(score, tree, alone)
    finally:
        model.train(was_training)


def _own_likelihoods(model: PreTrainedModel | PeftModel, chains: Sequence[OptionTree]) -> Tensor:
    """Return the likelihoods (options,) of trees of one option each from the model's own logits."""
    inputs = _inputs(_Rows(chains), 0, torch.float32)
    logits = model(input_ids=inputs["input_ids"].to(without_adapter(model).device), use_cache=False).logits
    log_p = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
    return torch.stack(
        [sum(row[edge.node, edge.token] for edge in chain.edges) for row, chain in zip(log_p, chains, strict=True)]
    )


def _sees_as_told(score: Callable[[_Rows], list[Tensor]], tree: OptionTree, plain: Tensor) -> bool:
    """Tell whether a reading as a tree gives the plain likelihoods (options,), which wrong readings don't."""
    in_order = range(len(tree.input_ids))
    right, unmasked = tree.sight(), np.tri(len(in_order), dtype=np.bool_)
    readings = _Rows([tree] * 3, [tree.positions, tree.positions, in_order], [right, unmasked, right])
    try:
        errors = [float((values - plain).abs().max()) for values in score(readings)]
    except (TypeError, ValueError, RuntimeError, AssertionError, ModelError):
        return False  # it takes no such mask, or no places: each architecture says so in its own way
    return errors[0] <= max(_CLOSE * float(plain.abs().max()), _CLOSER * min(errors[1:]))


def _batches(chains: Sequence[OptionTree], room: int) -> Iterator[list[OptionTree]]:
    """Cut sequences into batches that hold at most `room` tokens with their padding, but at least one sequence."""
    batch: list[OptionTree] = []
    longest = 0
    for chain in chains:
        longest = max(longest, len(chain.input_ids))
        if batch and longest * (len(batch) + 1) > room:
            yield batch
            batch, longest = [], len(chain.input_ids)
        batch.append(chain)
    yield batch


def _score(
    model: PreTrainedModel | PeftModel,
    rows: _Rows,
    *,
    wrapper: nn.Module,
    pad_token_id: int,
    memory_bytes: int,
    head: nn.Module | None = None,
) -> list[Tensor]:
    """Return (options,) of each row from one forward pass."""
    base = without_adapter(model)
    inputs = _inputs(rows, pad_token_id, base.dtype)
    inputs = {name: value.to(base.device) for name, value in inputs.items()}
    states = head_states(wrapper, {**inputs, "use_cache": False}, inner=model)
    nodes: dict[tuple[int, int], int] = {}
    predicted = []
    for row, tree in enumerate(rows.trees):
        predicted += [(nodes.setdefault((row, edge.node), len(nodes)), edge.token) for edge in tree.edges]
    places = torch.tensor(list(nodes), device=states.device)
    head = head or base.get_output_embeddings()
    log_p = _log_p(base, head, states[places[:, 0], places[:, 1]], torch.tensor(predicted), memory_bytes)
    parts = torch.split(log_p, [len(tree.edges) for tree in rows.trees])
    return [_path_sums(tree, part) for tree, part in zip(rows.trees, parts, strict=True)]


def _inputs(rows: _Rows, pad_token_id: int, dtype: torch.dtype) -> dict[str, Tensor]:
    """Return token ids (rows, nodes), and of trees the places (rows, nodes) and the mask (rows, 1, nodes, nodes)."""
    sizes = [len(tree.input_ids) for tree in rows.trees]
    shape = (len(sizes), max(sizes))
    input_ids = torch.full(shape, pad_token_id)
    for row, tree in enumerate(rows.trees):
        input_ids[row, : sizes[row]] = torch.tensor(tree.input_ids)
    if rows.positions is None or rows.sights is None:
        return {"input_ids": input_ids}  # no token looks behind itself, where the padding is
    position_ids = torch.zeros(shape, dtype=torch.long)
    hidden = ~torch.eye(shape[1], dtype=torch.bool).repeat(len(sizes), 1, 1)  # padding sees itself
    for row, (positions, sight) in enumerate(zip(rows.positions, rows.sights, strict=True)):
        position_ids[row, : sizes[row]] = torch.tensor(list(positions))
        hidden[row, : sizes[row], : sizes[row]] = ~torch.from_numpy(sight)
    mask = torch.zeros(hidden.shape, dtype=dtype).masked_fill_(hidden, torch.finfo(dtype).min)
    return {"input_ids": input_ids, "position_ids": position_ids, "attention_mask": mask.unsqueeze(1)}


def _log_p(base: PreTrainedModel, head: nn.Module, states: Tensor, predicted: Tensor, memory_bytes: int) -> Tensor:
    """Return log p of tokens, a chunk of the vocabulary's logits at a time.

    Args:
        base: whose states they are.
        head: its own, or `whole_head`.
        states: (nodes, width), what the head takes.
        predicted: (edges, 2), the number of a node and a token's id.
        memory_bytes: budget for a chunk.

    Returns:
        (edges,).
    """
    config = base.config.get_text_config()
    logits = partial(_wide_logits, head, logit_scale(config), logit_cap(config))
    wide = torch.promote_types(states.dtype, torch.float32)
    training = torch.is_grad_enabled()
    # The product, its wide copy, the exponentials of their sum; with a gradient those of the first two.
    per_logit = (1 + training) * (states.dtype.itemsize + wide.itemsize) + wide.itemsize
    size = max(1, memory_bytes // (per_logit * config.vocab_size))
    order = predicted[:, 0].argsort(stable=True)
    numbers, tokens = predicted[order].unbind(1)
    starts = torch.arange(0, len(states), size)
    counts = torch.bincount(numbers // size, minlength=len(starts)).tolist()
    chunks = zip(
        torch.split(states, size),
        torch.split((numbers % size).to(states.device), counts),
        torch.split(tokens.to(states.device), counts),
        strict=True,
    )
    if training and len(starts) > 1:
        log_p = [checkpoint(_chunk_log_p, logits, *chunk, use_reentrant=False) for chunk in chunks]
    else:
        log_p = [_chunk_log_p(logits, *chunk) for chunk in chunks]
    return torch.cat(log_p)[order.argsort().to(states.device)]


def _wide_logits(head: nn.Module, scale: float, cap: float | None, states: Tensor) -> Tensor:
    product: Tensor = head(states)
    wide = product.to(torch.promote_types(product.dtype, torch.float32))
    if scale != 1.0:
        wide = wide * scale
    return wide if cap is None else cap * torch.tanh(wide / cap)


def _chunk_log_p(logits: Callable[[Tensor], Tensor], states: Tensor, rows: Tensor, tokens: Tensor) -> Tensor:
    """Return log softmax(logits(states))[rows, tokens]."""
    values = logits(states)
    return values[rows, tokens] - values.logsumexp(-1)[rows]


def _path_sums(tree: OptionTree, log_p: Tensor) -> Tensor:
    """Return the sum of log p (edges,) along each option's path: (options,)."""
    longest = max(map(len, tree.paths))
    padded = [[*path, *[len(tree.edges)] * (longest - len(path))] for path in tree.paths]
    with_zero = torch.cat([log_p, log_p.new_zeros(1)])
    return with_zero[torch.tensor(padded, device=log_p.device)].sum(-1)
