"""Geometric operations as index maps: for each output pixel, the pixel of the original image it shows.

Crop, flip and nearest-neighbour rotation move pixels without blending them, so a sequence of them composes
exactly into one map and one gather; a pixel that leaves the image at any step is black.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch

SIDE = 32


class Op(Protocol):
    """One operation: host-side draws for n images, and the map from output to input coordinates."""

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Return n images' integer parameters, shape (n, k)."""
        ...

    def source(self, y: torch.Tensor, x: torch.Tensor, drawn: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map output coordinates (B, 32, 32) to input coordinates, given draws (B, k); outside means black."""
        ...


class Pipeline:
    """Operations applied in order."""

    def __init__(self, ops: Sequence[Op]):
        self.ops = list(ops)

    def __bool__(self) -> bool:
        return bool(self.ops)

    def draw(self, rng: np.random.Generator, n: int) -> list[torch.Tensor]:
        """Draw the parameters of n images, one int32 tensor (n, k) an operation, on the host."""
        return [torch.from_numpy(op.draw(rng, n).astype(np.int32)) for op in self.ops]

    def sources(self, drawn: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return (B, 1024) int64: the pixel each output pixel shows, -1 for black."""
        device = drawn[0].device
        line = torch.arange(SIDE, dtype=torch.int32, device=device)
        y, x = line.view(1, SIDE, 1), line.view(1, 1, SIDE)
        inside: torch.Tensor | None = None
        for op, parameters in zip(reversed(self.ops), reversed(drawn), strict=True):
            y, x = op.source(y, x, parameters[:, :, None, None])
            # An out-of-range coordinate has no bit in common with 0..31 alone: one test for both ends.
            here = ((y | x) & ~(SIDE - 1)) == 0
            inside = here if inside is None else inside & here
        flat = y * SIDE + x
        assert inside is not None
        return torch.where(inside, flat, -1).flatten(1).long()
