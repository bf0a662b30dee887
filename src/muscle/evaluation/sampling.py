"""Sampled answers: several an item, for reports that tell a lasting change from a coin toss."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Sampling:
    """How often an item is answered, and how its answers are drawn.

    Answers follow from seed, batch size, data and machine together: the same command gives the same records.

    Attributes:
        repeats: answers an item, at least 1.
        temperature: the logits are divided by it before an answer is drawn, token by token, from the whole
            vocabulary (no top-k, no top-p); 0 is greedy.
        seed: of the draws.
    """

    repeats: int = 1
    temperature: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be asked for."""
        if self.repeats < 1:
            raise ValueError(f"repeats: expected at least 1, found {self.repeats}")
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature: expected a number from 0, found {self.temperature}")
        if self.repeats > 1 and self.temperature == 0:
            raise ValueError(
                f"repeats: {self.repeats} answers an item are all the same without a temperature; set one above 0"
            )

    def settings(self) -> dict[str, object]:
        """Return the generation settings as the harness takes them."""
        if self.temperature == 0:
            return {"do_sample": False}
        return {"do_sample": True, "temperature": self.temperature, "top_k": 0, "top_p": 1.0}

    @contextmanager
    def seeded(self, device: torch.device) -> Iterator[None]:
        """Draw from the seed; the caller's random numbers go on afterwards as if nothing had been drawn.

        Args:
            device: the model's `torch.device`.
        """
        import torch

        # `generate` takes no generator of its own: it draws from torch's global one.
        devices = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(self.seed)
            yield
