"""Crop, flip and rotate, as torchvision does them on Pillow images."""

import numpy as np
import torch

from repro.augment.warp import fixed_point


class Crop:
    """Zero-pad by `pad`, crop 32x32 at a random place (torchvision RandomCrop(32, padding=pad))."""

    def __init__(self, pad: int):
        self.pad = pad

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Top and left corner in the padded image, 0 to 2 * pad: (n, 2)."""
        return rng.integers(0, 2 * self.pad + 1, (n, 2))

    def source(self, y: torch.Tensor, x: torch.Tensor, drawn: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Shift."""
        return y + (drawn[:, 0] - self.pad), x + (drawn[:, 1] - self.pad)


class Flip:
    """Mirror left-right, or upside down, with probability p (torchvision RandomHorizontalFlip, RandomVerticalFlip)."""

    def __init__(self, p: float = 0.5, direction: str = "horizontal"):
        self.p, self.vertical = p, direction == "vertical"

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """1 where the image is mirrored: (n, 1)."""
        return rng.random((n, 1)) < self.p

    def source(self, y: torch.Tensor, x: torch.Tensor, drawn: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """x (or y) -> 31 - x where drawn; (x ^ 31 is 31 - x for 0..31 and stays outside for what is outside)."""
        mirror = drawn[:, 0] * 31
        return (y ^ mirror, x) if self.vertical else (y, x ^ mirror)


class Rotate:
    """Rotate about the centre by a uniform angle (torchvision RandomRotation, nearest, black fill).

    `exact`: by the angle itself, to either side with probability 1/2.

    Pillow maps output to input pixels in 16.16 fixed point: integer coefficients, so the map is exact here too.
    """

    def __init__(self, degrees: float, exact: bool = False):
        self.degrees, self.exact = degrees, exact

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Fixed-point affine coefficients (n, 6) of angles uniform in [-degrees, degrees], or of its two ends."""
        if self.exact:
            return coefficients(np.where(rng.random(n) < 0.5, -self.degrees, self.degrees))
        return coefficients(rng.uniform(-self.degrees, self.degrees, n))

    def source(self, y: torch.Tensor, x: torch.Tensor, drawn: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Fixed-point affine map, rounded towards minus infinity."""
        a, b, c, d, e, f = drawn.unbind(1)
        return (d * x + e * y + f) >> 16, (a * x + b * y + c) >> 16


def coefficients(degrees: np.ndarray) -> np.ndarray:
    """Return the 16.16 coefficients (n, 6) with which Pillow's Image.rotate(degrees) reads a 32x32 image."""
    angle = -np.radians(degrees)
    # Pillow rounds to 15 digits; that moves a 16.16 coefficient only where it is within 1e-10 of a tie.
    cos, sin = np.round(np.cos(angle), 15), np.round(np.sin(angle), 15)
    centre = 16.0
    c = cos * -centre + sin * -centre + centre
    f = -sin * -centre + cos * -centre + centre
    return fixed_point(np.stack([cos, sin, c, -sin, cos, f], axis=1))
