"""All answer options of an item as one tree of tokens: what they share stands in it once.

A forward pass over context and options, one option after the other, reads the context as often as there are options,
and what options begin with as often as options begin so. The tree (a trie of the options' tokens behind the context)
holds each of these tokens once; where a token sees its own ancestors alone (the tree attention of SpecInfer, Miao et
al. 2024, https://arxiv.org/abs/2305.09781, Sec. 4.2), every option's likelihood comes out of one pass
(`muscle.models.option_scores`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from muscle.errors import DataError
from muscle.foreign_text import common_start

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Edge(NamedTuple):
    """One token of one or more options, predicted at the node before it.

    Attributes:
        node: index of the node that predicts it.
        token: its id.
    """

    node: int
    token: int


@dataclass(frozen=True)
class OptionTree:
    """A context, and the inner nodes of the trie of its options' tokens.

    An option's last token needs no node where no option goes on behind it: it is only predicted.

    Attributes:
        input_ids: (nodes,) token ids, the context's first; each node stands behind the one before it.
        positions: (nodes,) how many tokens stand before each.
        parents: (nodes,) index of the node before; -1 for the first.
        num_context: nodes of the context.
        edges: the distinct edges of the trie.
        paths: for each option the edges that it runs through, from the context on.
    """

    input_ids: tuple[int, ...]
    positions: tuple[int, ...]
    parents: tuple[int, ...]
    num_context: int
    edges: tuple[Edge, ...]
    paths: tuple[tuple[int, ...], ...]

    @property
    def depth(self) -> int:
        """Nodes from the first to the deepest."""
        return max(self.positions) + 1

    @property
    def is_chain(self) -> bool:
        """Whether no node has two behind it: a plain sequence, as where every option is one token."""
        return self.parents == tuple(range(-1, len(self.parents) - 1))

    def options(self) -> Iterator[list[int]]:
        """Return the tokens of each option."""
        return ([self.edges[edge].token for edge in path] for path in self.paths)

    def chains(self) -> list[OptionTree]:
        """Return each option as a tree of its own, which is a plain sequence."""
        context = self.input_ids[: self.num_context]
        return [option_tree(context, [option]) for option in self.options()]

    def sight(self) -> NDArray[np.bool_]:
        """Return which nodes each node sees, itself and its ancestors: (nodes, nodes), the seeing one first."""
        seen = np.eye(len(self.parents), dtype=np.bool_)
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                seen[node, :node] = seen[parent, :node]
        return seen


def option_tree(
    context_ids: Sequence[int], options: Sequence[Sequence[int]], *, distinguishing: bool = False
) -> OptionTree:
    """Build the tree of a context and its options.

    Args:
        context_ids: at least one token.
        options: the tokens of each option, at least one; options may be equal, or begin like one another.
        distinguishing: cut every option behind its shortest beginning that no other option has. The likelihood of that
            beginning then stands for the option. An option that is the beginning of another, or its equal, stays whole.

    Raises:
        ValueError: no context, no option, or an option without a token.

    Example:
        >>> tree = option_tree([7, 8], [[1, 2, 3], [1, 2, 4], [5]])
        >>> tree.input_ids, tree.positions, tree.parents
        ((7, 8, 1, 2), (0, 1, 2, 3), (-1, 0, 1, 2))
        >>> [tuple(edge) for edge in tree.edges], tree.paths
        ([(1, 1), (2, 2), (3, 3), (3, 4), (1, 5)], ((0, 1, 2), (0, 1, 3), (4,)))
        >>> option_tree([7], [[1, 2, 3], [4, 5]], distinguishing=True).paths
        ((0,), (1,))
    """
    if not context_ids or not options or not all(options):
        raise ValueError("option_tree: expected a context, and options of at least one token each")
    if distinguishing:
        options = _distinguishing(options)
    num_context = len(context_ids)
    input_ids, positions = list(context_ids), list(range(num_context))
    parents = list(range(-1, num_context - 1))
    numbers: dict[Edge, int] = {}
    ends: dict[int, int] = {}  # an edge, and the node at its end
    paths = []
    for option in options:
        node, path = num_context - 1, []
        for place, token in enumerate(option):
            edge = numbers.setdefault(Edge(node, token), len(numbers))
            path.append(edge)
            if place == len(option) - 1:
                break
            if edge not in ends:
                ends[edge] = len(input_ids)
                input_ids.append(token)
                positions.append(positions[node] + 1)
                parents.append(node)
            node = ends[edge]
        paths.append(tuple(path))
    return OptionTree(
        input_ids=tuple(input_ids),
        positions=tuple(positions),
        parents=tuple(parents),
        num_context=num_context,
        edges=tuple(numbers),
        paths=tuple(paths),
    )


def portions(num_context: int, options: Sequence[Sequence[int]], most_nodes: int) -> list[list[int]]:
    """Share options out among trees of at most `most_nodes` nodes; those that begin alike stay together.

    Args:
        num_context: nodes that each tree has for the context.
        options: the tokens of each.
        most_nodes: a tree of one option may have more.

    Returns:
        For each tree the indices of its options; together every option once.

    Example:
        >>> portions(2, [[1, 2, 3], [4, 5], [1, 2, 6]], 4)
        [[0, 2], [1]]
    """
    ordered = sorted(range(len(options)), key=lambda index: tuple(options[index]))
    found: list[list[int]] = []
    size = 0
    for index in ordered:
        own = len(options[index]) - 1
        if found:
            before = options[found[-1][-1]]
            # A last token has no node yet.
            more = own - min(own, common_start(before, options[index]), len(before) - 1)
            if size + more <= most_nodes:
                found[-1].append(index)
                size += more
                continue
        found.append([index])
        size = num_context + own
    return found


def _distinguishing(options: Sequence[Sequence[int]]) -> list[Sequence[int]]:
    """Cut each option behind the shortest beginning that it shares with none."""
    ordered = sorted(range(len(options)), key=lambda index: tuple(options[index]))
    shared = [0] * len(options)
    # What an option shares with any other, it shares with a neighbour in the alphabet's order.
    for one, other in pairwise(ordered):
        common = common_start(options[one], options[other])
        shared[one], shared[other] = max(shared[one], common), max(shared[other], common)
    return [option[: common + 1] for option, common in zip(options, shared, strict=True)]


class ChoiceItem(Protocol):
    """What is asked with options: `muscle.tasks.Example` is one."""

    @property
    def id(self) -> str:
        """Its name in messages."""

    @property
    def context(self) -> str:
        """The prompt."""

    @property
    def delimiter(self) -> str:
        """What stands between prompt and option."""

    @property
    def choices(self) -> tuple[str, ...]:
        """The options' texts."""

    @property
    def has_special_tokens(self) -> bool:
        """Whether the texts hold every special token; the context then ends where it ends, blanks included."""


def encode_options(
    example: ChoiceItem, tokenizer: PreTrainedTokenizerBase, max_length: int, *, end_of_text: bool = False
) -> tuple[list[int], list[list[int]]]:
    """Return the token ids of an item's context, and of each of its options behind it.

    Context and option are tokenised as one text, as in scoring; blanks at the context's end are the option's. Where a
    tokenizer merges over the seam, and options so don't share all of the context's tokens, the context ends where they
    part, and what follows is the option's.

    Args:
        example: of a choice task.
        tokenizer: the model's.
        max_length: tokens that context and longest option have together; a longer context loses its beginning, the
            same for all options.
        end_of_text: every option ends with the tokenizer's EOS, where it has one: answers that are generated end so.

    Raises:
        DataError: the item has no options, an option has no token of its own, nothing stands before it, or it leaves
            the context no room.
    """
    if not example.choices:
        raise DataError(f"example {example.id}: expected answer options, found none")
    stem = example.context + example.delimiter
    # As the harness cuts: blanks at the context's end are the option's, which many tokenizers put into its first token.
    context = example.context if example.has_special_tokens else stem.rstrip()
    texts = [context, *(stem + option for option in example.choices)] if context else []
    own = {"add_special_tokens": False} if example.has_special_tokens else {}
    encoded = [list(ids) for ids in tokenizer(texts, **own)["input_ids"]] if texts else [[]]
    alone, *whole = encoded
    # What the first and the last in the alphabet's order share, all share.
    common = min(len(alone), common_start(min(whole), max(whole))) if whole else 0
    tail = [tokenizer.eos_token_id] if end_of_text and tokenizer.eos_token_id is not None else []
    options = [[*ids[common:], *tail] for ids in whole]
    for number, option in enumerate(options):
        if not option or len(option) >= max_length:
            raise DataError(
                f"example {example.id}: option {number} has {len(option)} tokens; expected at least one, and fewer "
                f"than max_length {max_length}, as options are not cut"
            )
    if not common:
        raise DataError(f"example {example.id}: expected a context before its options, found none")
    room = max_length - max(map(len, options))
    return whole[0][max(0, common - room) : common], options
