"""Affine resampling of 32x32 images as Pillow does it: bilinear, nearest, and shifts by whole pixels.

Images are flat uint8 (B, 3, 1024). A matrix (a, b, c, d, e, f) maps an output pixel to the input place
(a * x + b * y + c, d * x + e * y + f); what lies outside the input is black.
"""

import math

import numpy as np
import torch

from repro.augment.geometry import SIDE


def rotation(degrees: float) -> list[float]:
    """Return the matrix with which Pillow's Image.rotate(degrees) reads a 32x32 image."""
    angle = -math.radians(degrees % 360.0)
    cos, sin, minus = round(math.cos(angle), 15), round(math.sin(angle), 15), round(-math.sin(angle), 15)
    centre = SIDE / 2
    # The order of the sums is Pillow's: it decides the last bit, and bilinear results are truncated.
    c = cos * -centre + sin * -centre + 0.0 + centre
    f = minus * -centre + cos * -centre + 0.0 + centre
    return [cos, sin, c, minus, cos, f]


def fixed_point(matrix: np.ndarray) -> np.ndarray:
    """Turn matrices (n, 6) into Pillow's 16.16 integers for nearest-neighbour reading of pixel centres."""
    a, b, c, d, e, f = matrix.T
    floats = np.stack([a, b, c + a * 0.5 + b * 0.5, d, e, f + d * 0.5 + e * 0.5], axis=1)
    return np.floor(floats * 65536.0 + 0.5).astype(np.int64)


def bilinear(flat: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """Read with float64 matrices (B, 6); neighbours are clamped to the edge, results truncated.

    Every product and sum is a rounded float64 of its own, as in Pillow on x86-64: keep them unfused.
    """
    y, x = (i.double() + 0.5 for i in _pixels(flat.device))
    a, b, c, d, e, f = matrix.double()[:, :, None].unbind(1)
    xin, yin = a * x + b * y + c, d * x + e * y + f
    inside = (xin >= 0) & (xin < SIDE) & (yin >= 0) & (yin < SIDE)
    xin, yin = xin - 0.5, yin - 0.5
    x0, y0 = xin.floor(), yin.floor()
    dx, dy = (xin - x0)[:, None], (yin - y0)[:, None]
    left, right = (i.clamp(0, SIDE - 1).long() for i in (x0, x0 + 1))
    above, below = (i.clamp(0, SIDE - 1).long() * SIDE for i in (y0, y0 + 1))
    values = flat.double()
    rows = []
    for line in (above, below):
        first, second = (_gather(values, line + column) for column in (left, right))
        rows.append(second.sub_(first).mul_(dx).add_(first))
    value = rows[1].sub_(rows[0]).mul_(dy).add_(rows[0])
    return value.mul_(inside[:, None]).to(torch.uint8)


def nearest(flat: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """Read with 16.16 integer matrices (B, 6) of `fixed_point`."""
    y, x = _pixels(flat.device)
    a, b, c, d, e, f = matrix[:, :, None].unbind(1)
    return _read(flat, (d * x + e * y + f) >> 16, (a * x + b * y + c) >> 16)


def shift(flat: torch.Tensor, dy: torch.Tensor, dx: torch.Tensor) -> torch.Tensor:
    """Read each pixel at (y + dy, x + dx), whole pixels (B,): what both resamplings give there."""
    y, x = _pixels(flat.device)
    return _read(flat, y + dy.long()[:, None], x + dx.long()[:, None])


def _read(flat: torch.Tensor, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Gather whole pixels; outside is black."""
    # An out-of-range coordinate has no bit in common with 0..31 alone: one test for both ends.
    inside = ((y | x) & ~(SIDE - 1)) == 0
    index = torch.where(inside, y * SIDE + x, 0)
    return _gather(flat, index).mul_(inside[:, None])


def _gather(flat: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Read pixels `index` (B, 1024) of each channel."""
    return flat.gather(2, index[:, None].expand(-1, 3, -1))


def _pixels(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return y and x of the output pixels, each (1, 1024)."""
    i = torch.arange(SIDE * SIDE, device=device)[None]
    return i >> 5, i & (SIDE - 1)
