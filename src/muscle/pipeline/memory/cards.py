"""GPUs by name, with the memory that a process finds on them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from muscle.errors import ConfigError
from muscle.foreign_text import outline

_MIB = 2**20
_CARDS = {
    "rtx3090": 24_576 * _MIB,
    "rtx4090": 24_564 * _MIB,
    "a10": 23_028 * _MIB,
    "l4": 23_034 * _MIB,
    "a100-40gb": 40_960 * _MIB,
    "a100": 81_920 * _MIB,
    "h100": 81_559 * _MIB,
}
"""Memory as `nvidia-smi` shows it, in bytes; `a100` is the one of 80 GB."""
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(gb|gib)", re.IGNORECASE)
_CONTEXT = 1_000_000_000
_SPARE = 0.05
"""What is left free: a GB for the CUDA context and its libraries, and a share for what the allocator cannot use.
Assumptions, not measured here."""


@dataclass(frozen=True)
class Card:
    """A GPU.

    Attributes:
        name: as it was asked for.
        bytes: its memory.
    """

    name: str
    bytes: int

    @property
    def usable(self) -> int:
        """Bytes that a training may take: without the context's, and a share to spare."""
        return max(0, int(self.bytes * (1 - _SPARE)) - _CONTEXT)


def card_of(text: str) -> Card:
    """Return a card by its name, or one of a size.

    >>> card_of("24GB")
    Card(name='24GB', bytes=24000000000)

    Raises:
        ConfigError: it is none of the known ones, and no size.
    """
    name = text.strip().lower()
    if name in _CARDS:
        return Card(name, _CARDS[name])
    size = _SIZE.fullmatch(name)
    if size is None or float(size[1]) == 0:
        raise ConfigError(f"--gpu: expected {', '.join(_CARDS)}, or a size such as 24GB, found {outline(text)}")
    return Card(text.strip(), int(float(size[1]) * (2**30 if size[2] == "gib" else 10**9)))


def smallest_that_holds(needed: int) -> Card | None:
    """Return the smallest known card on which so many bytes fit; None where none is large enough."""
    cards = sorted((Card(name, size) for name, size in _CARDS.items()), key=lambda card: card.bytes)
    return next((card for card in cards if card.usable >= needed), None)
