"""Two teachers over options, made on the spot, for the tests of targets, losses and calibration."""

from __future__ import annotations

import torch


def teachers(seed: int = 0, items: int = 7, options: int = 4) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return both teachers' log-likelihoods, of which the last two items have an option less, and the right options."""
    generator = torch.Generator().manual_seed(seed)
    old, new = (3 * torch.randn(items, options, generator=generator, dtype=torch.float64) for _ in range(2))
    old[-2:, -1] = new[-2:, -1] = -torch.inf
    return old, new, torch.randint(0, options - 1, (items,), generator=generator)
