"""Which examples a batch of another library holds, told by their tokens alone.

Libraries drop columns that they don't know, pad on either side, pack, and shuffle. A sequence's own tokens are what is
left of all that: the teachers ran on every sequence of the data, and a batch's sequences are looked up by content. So
no collator has to be replaced, and a batch that the teachers have not seen is noticed.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from muscle.errors import ConfigError


@dataclass(frozen=True)
class Place:
    """A sequence within a batch: tokens `start` to `end` (without it) of a row."""

    row: int
    start: int
    end: int


def places_in(batch: Mapping[str, Tensor]) -> Iterator[Place]:
    """Find the sequences of a batch, row by row.

    Args:
        batch: `input_ids` (batch, seq); `attention_mask` of the same shape, 0 where nothing is; `position_ids` of the
            same shape, which begin again at 0 with each sequence that is packed into a row.
    """
    shape = batch["input_ids"].shape
    mask, positions = batch.get("attention_mask"), batch.get("position_ids")
    real = torch.ones(shape, dtype=torch.bool) if mask is None or mask.shape != shape else mask.cpu() != 0
    first = torch.zeros(shape, dtype=torch.bool)
    if positions is not None and positions.shape == shape:
        first = positions.cpu() == 0
    for row, (there, begins) in enumerate(zip(real.tolist(), first.tolist(), strict=True)):
        start = None
        for place in range(len(there) + 1):
            inside = place < len(there) and there[place]
            if start is not None and (not inside or begins[place]):
                yield Place(row, start, place)
                start = None
            if start is None and inside:
                start = place


class KnownSequences:
    """The different sequences of a training's data, and where each stands among them.

    Args:
        sequences: token ids.

    Attributes:
        sequences: each once, in the order of their first place.
    """

    def __init__(self, sequences: Iterable[Sequence[int]]) -> None:
        self.sequences: list[list[int]] = []
        self._numbers: dict[bytes, int] = {}
        for ids in sequences:
            if len(ids) > 1 and self._numbers.setdefault(_mark(ids), len(self.sequences)) == len(self.sequences):
                self.sequences.append(list(ids))

    def number(self, ids: Sequence[int]) -> int | None:
        """Return a sequence's number; None for one that is not there."""
        return self._numbers.get(_mark(ids))


def _mark(ids: Sequence[int]) -> bytes:
    return hashlib.blake2b(array("q", ids).tobytes(), digest_size=16).digest()


def sequences_of(*datasets: object) -> Iterator[list[int]]:
    """Read the sequences of data sets as libraries prepare them: rows with `input_ids`, packed or not.

    Args:
        datasets: each a data set, a mapping of several by name, or None.

    Raises:
        ConfigError: a data set has no length: the teachers read all of it before the training.
    """
    for dataset in datasets:
        if dataset is None:
            continue
        if isinstance(dataset, Mapping):
            yield from sequences_of(*dataset.values())
            continue
        if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
            raise ConfigError(
                "data: expected a data set with a length, found a stream; the teachers read all of it before training"
            )
        for place in range(len(dataset)):
            row = dataset[place]
            for each in row if isinstance(row, list) else [row]:  # some pack whole rows into one
                yield from _of_row(each)


def _of_row(row: Mapping[str, object]) -> Iterator[list[int]]:
    named = {name: row.get(name) for name in ("input_ids", "attention_mask", "position_ids")}
    columns = {name: _one_row(value) for name, value in named.items() if value is not None}
    lengths = row.get("seq_lengths")
    if isinstance(lengths, list | Tensor):
        columns["position_ids"] = torch.cat([torch.arange(int(each)) for each in lengths]).unsqueeze(0)
    ids = columns["input_ids"][0].tolist()
    for place in places_in(columns):
        yield ids[place.start : place.end]


def _one_row(values: object) -> Tensor:
    return torch.as_tensor(values).reshape(1, -1)
