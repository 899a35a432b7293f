"""Geometric operations as index maps: for each output pixel, the pixel of the original image it shows.

Crop, flip and nearest-neighbour rotation move pixels without blending them, so a sequence of them composes
exactly into one map and one gather; a pixel that leaves the image at any step is black.
"""

from collections.abc import Callable, Sequence
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


Scaling = Callable[[torch.Tensor], torch.Tensor]


class Ending(Protocol):
    """A last operation that changes pixel values: host-side draws for n images, and the network's inputs."""

    def draw(self, rng: np.random.Generator, n: int) -> list[torch.Tensor]:
        """Return n images' parameters, tensors whose first dimension is the image."""
        ...

    def inputs(self, images: torch.Tensor, drawn: Sequence[torch.Tensor], scale: Scaling) -> list[torch.Tensor]:
        """Turn uint8 images (B, 3, 32, 32) and their draws into scaled views, each (B, 3, 32, 32) float32."""
        ...


class Pipeline:
    """Operations that move pixels, applied in order as one gather, and at most one that changes their values, last."""

    def __init__(self, ops: Sequence[Op], ending: Ending | None = None):
        self.ops, self.ending = list(ops), ending

    def __bool__(self) -> bool:
        return bool(self.ops) or self.ending is not None

    def draw(self, rng: np.random.Generator, n: int) -> list[torch.Tensor]:
        """Draw the parameters of n images on the host: an int32 tensor (n, k) an operation, then the last one's."""
        drawn = [torch.from_numpy(op.draw(rng, n).astype(np.int32)) for op in self.ops]
        return drawn + (self.ending.draw(rng, n) if self.ending else [])

    def views(self, images: torch.Tensor, drawn: Sequence[torch.Tensor], scale: Scaling) -> list[torch.Tensor]:
        """Return the scaled views of images whose pixels are in place already: one, or as many as the last one makes.

        What stands for the image itself is the first, what is augmented most the last.
        """
        return self.ending.inputs(images, drawn[len(self.ops) :], scale) if self.ending else [scale(images)]

    def sources(self, drawn: Sequence[torch.Tensor]) -> torch.Tensor | None:
        """Return (B, 1024) int64: the pixel each output pixel shows, -1 for black; None where no pixel moves."""
        if not self.ops:
            return None
        device = drawn[0].device
        line = torch.arange(SIDE, dtype=torch.int32, device=device)
        y, x = line.view(1, SIDE, 1), line.view(1, 1, SIDE)
        inside: torch.Tensor | None = None
        moves = list(zip(self.ops, drawn, strict=False))  # the ending's draws come after
        for op, parameters in reversed(moves):
            y, x = op.source(y, x, parameters[:, :, None, None])
            # An out-of-range coordinate has no bit in common with 0..31 alone: one test for both ends.
            here = ((y | x) & ~(SIDE - 1)) == 0
            inside = here if inside is None else inside & here
        flat = y * SIDE + x
        assert inside is not None
        return torch.where(inside, flat, -1).flatten(1).long()
