"""An old model's distribution over its next token, as one over the new model's tokens: by text.

An old token goes to the new token of the same text; where there is none, to the first of the tokens that the new
tokenizer cuts its text into, since that is what a model would say first that was about to write it. Ends of text and
other special tokens go to their like. What has no place (a text that the new tokenizer cannot write, a mark that it
does not have) is left out, and counted. With P that map, a sparse matrix of the old by the new vocabulary,

    q = P^T softmax(z_old / T),    sum q <= 1

`chunks` then moves the mass of what the text goes on with. Where the next new token y is longer than the old model's
next token t_1, y's likelihood is that of the old tokens t_1 ... t_m on the way, which the old model tells as it reads
them; it stood with t_1's place s before:

    q(y) += p(t_1) p(t_2 | t_1) ... p(t_m | ...),    q(s) -= the same

(the likelihood of a chunk: Minixhofer et al. 2025, https://arxiv.org/abs/2503.20083). Where y ends within t_m, the last
factor is the probability of all old tokens that begin with what is left of y. `pieces` spreads an old token over all
tokens that its text is cut into, each with a tenth of the one before: X-Token's matrix (2026,
https://arxiv.org/abs/2605.21699), there from the student's tokens to the teacher's.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from muscle.config.methods import ProjectionName
from muscle.training.crossing.spelling import Spelling

_SHRINKS = 0.1
_MOST_PIECES = 4
_ROLES = ("eos_token_id", "bos_token_id")


@dataclass(frozen=True)
class Projection:
    """The map P of old tokens to new ones.

    Attributes:
        rows: (entries,) ids of the old tokens, ascending.
        columns: (entries,) of each the new token, or its place among some of them.
        weights: (entries,); those of an old token sum to 1.
        sources: (old ids,) the first new token of each old one, as in `columns`; -1 where it has none.
        size: of what `columns` counts in.
    """

    rows: Tensor
    columns: Tensor
    weights: Tensor
    sources: Tensor
    size: int

    def apply(self, distributions: Tensor) -> Tensor:
        """Return P^T p for each row.

        Args:
            distributions: (tokens, old vocabulary).

        Returns:
            (tokens, size); what sums to less than 1 could not be placed.
        """
        found = distributions.new_zeros(len(distributions), self.size)
        taken = distributions.index_select(1, self.rows) * self.weights.to(distributions)
        return found.index_add_(1, self.columns, taken)

    def among(self, labels: Tensor, device: torch.device, *, least: int = 0) -> tuple[Projection, Tensor]:
        """Return the same map into those new tokens alone that an old one is mapped to, or that are labels.

        Of a vocabulary of 262,144 an old one of 49,152 reaches a sixth at most; the others would be zeros.

        Args:
            labels: ids of new tokens that must be among them.
            device: where the map shall be.
            least: how many tokens shall be among them at least; the first ids make up for what is missing.

        Returns:
            The map, and (size,) the ids that it counts in, ascending.
        """
        reached = np.union1d(self.columns.numpy(), labels.cpu().numpy())
        kept = torch.from_numpy(reached if len(reached) >= least else np.union1d(reached, np.arange(least)))
        # One more: -1 stays what it is.
        places = torch.full((int(kept[-1]) + 2,), -1)
        places[kept] = torch.arange(len(kept))
        columns, sources = places[self.columns].to(device), places[self.sources].to(device)
        return Projection(self.rows.to(device), columns, self.weights.to(device), sources, len(kept)), kept.to(device)


@lru_cache(maxsize=4)
def project(old: Spelling, new: Spelling, *, kind: ProjectionName = "chunks") -> Projection:
    """Map an old tokenizer's tokens to a new one's; made once for two tokenizers."""
    entries = list(_entries(old, new, _MOST_PIECES if kind == "pieces" else 1))
    rows, columns, weights = (list(column) for column in zip(*entries, strict=True)) if entries else ([], [], [])
    sources = torch.full((len(old.texts),), -1)
    for row, column in zip(reversed(rows), reversed(columns), strict=True):  # of several the first stays
        sources[row] = column
    return Projection(
        torch.tensor(rows, dtype=torch.long),
        torch.tensor(columns, dtype=torch.long),
        torch.tensor(weights, dtype=torch.float64),
        sources,
        len(new.texts),
    )


def _entries(old: Spelling, new: Spelling, most: int) -> Iterator[tuple[int, int, float]]:
    """Yield old token, new token and weight."""
    roles = {
        number: getattr(new.tokenizer, role)
        for role in reversed(_ROLES)
        if (number := getattr(old.tokenizer, role)) is not None and getattr(new.tokenizer, role) is not None
    }
    for number in range(len(old.texts)):
        pieces = [roles[number]] if number in roles else _pieces(old, new, number)[:most]
        shares = [_SHRINKS**place for place in range(len(pieces))]
        for piece, share in zip(pieces, shares, strict=True):
            yield number, piece, share / sum(shares)


def _pieces(old: Spelling, new: Spelling, number: int) -> list[int]:
    """Return the new tokens of an old one: one of the same text, or those that its text is cut into."""
    name, text = old.names[number], old.texts[number]
    same = None if name is None else new.by_name.get(name)
    if same is not None and ((old.control[number] and new.control[same]) or (text and old.kind == new.kind)):
        return [same]
    if old.control[number] or not text:
        return []
    # A tokenizer of words has no text without the blank before it, or none with it.
    loose = new.kind in ("pieces", "words")
    forms = [text, b" " + text, text.removeprefix(b" ")] if loose else [text]
    found = next((new.numbers[form] for form in forms if form in new.numbers), None)
    return new.first_tokens(text) if found is None else [found]


class Beginnings:
    """Old tokens by what their texts begin with.

    Args:
        old: of the old tokenizer.
    """

    def __init__(self, old: Spelling) -> None:
        numbered = sorted((text, number) for number, text in enumerate(old.texts) if text)
        self._texts = [text for text, _ in numbered]
        self._numbers = torch.tensor([number for _, number in numbered], dtype=torch.long)

    def of(self, beginning: bytes) -> Tensor:
        """Return the ids of the old tokens whose texts begin so."""
        behind = beginning[:-1] + bytes([beginning[-1] + 1])  # no byte of UTF-8 is 255
        return self._numbers[bisect_left(self._texts, beginning) : bisect_left(self._texts, behind)]
