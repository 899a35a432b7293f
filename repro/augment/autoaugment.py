"""AutoAugment's CIFAR-10 policy, batched: torchvision's AutoAugment(CIFAR10) on Pillow images, nearest, black fill.

An image draws one of 25 pairs of operations, whether each is applied, and the sign of each.
"""

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch

from repro.augment import fused
from repro.augment.geometry import SIDE, Scaling
from repro.augment.ops import CODE, IDENTITY, apply
from repro.augment.warp import fixed_point, nearest, rotation

#: (operation, probability, magnitude bin 0 to 9 or None), twice
Step = tuple[str, float, int | None]
POLICY: tuple[tuple[Step, Step], ...] = (
    (("invert", 0.1, None), ("contrast", 0.2, 6)),
    (("rotate", 0.7, 2), ("translate_x", 0.3, 9)),
    (("sharpness", 0.8, 1), ("sharpness", 0.9, 3)),
    (("shear_y", 0.5, 8), ("translate_y", 0.7, 9)),
    (("autocontrast", 0.5, None), ("equalize", 0.9, None)),
    (("shear_y", 0.2, 7), ("posterize", 0.3, 7)),
    (("color", 0.4, 3), ("brightness", 0.6, 7)),
    (("sharpness", 0.3, 9), ("brightness", 0.7, 9)),
    (("equalize", 0.6, None), ("equalize", 0.5, None)),
    (("contrast", 0.6, 7), ("sharpness", 0.6, 5)),
    (("color", 0.7, 7), ("translate_x", 0.5, 8)),
    (("equalize", 0.3, None), ("autocontrast", 0.4, None)),
    (("translate_y", 0.4, 3), ("sharpness", 0.2, 6)),
    (("brightness", 0.9, 6), ("color", 0.2, 8)),
    (("solarize", 0.5, 2), ("invert", 0.0, None)),
    (("equalize", 0.2, None), ("autocontrast", 0.6, None)),
    (("equalize", 0.2, None), ("equalize", 0.6, None)),
    (("color", 0.9, 9), ("equalize", 0.6, None)),
    (("autocontrast", 0.8, None), ("solarize", 0.2, 8)),
    (("brightness", 0.1, 3), ("color", 0.7, 0)),
    (("solarize", 0.4, 5), ("autocontrast", 0.9, None)),
    (("translate_y", 0.9, 9), ("translate_y", 0.7, 9)),
    (("autocontrast", 0.9, None), ("solarize", 0.8, 3)),
    (("equalize", 0.8, None), ("invert", 0.1, None)),
    (("translate_y", 0.7, 9), ("autocontrast", 0.9, None)),
)
PROBABILITY = np.array([[p for _, p, _ in pair] for pair in POLICY])
PLAIN = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
#: the magnitude of bin 9; bins are equal float32 steps from 0 (solarize counts down from 255)
LARGEST = {"shear_y": 0.3, "translate_x": 150 / 331 * SIDE, "translate_y": 150 / 331 * SIDE, "rotate": 30.0,
           "brightness": 0.9, "color": 0.9, "contrast": 0.9, "sharpness": 0.9}  # fmt: skip
#: a drawn entry is (pair * 2 + first or second) * 2 + sign (0 negative, 1 positive), or this: not applied
NOTHING = len(POLICY) * 4


class AutoAugment:
    """One of the policy's pairs of operations an image.

    `kernels` chooses the fused ones or none whatever the device, see `fused.Kernels`.
    """

    def __init__(self, kernels: bool | None = None):
        self.kernels = fused.Kernels("AutoAugment", kernels)

    def draw(self, rng: np.random.Generator, n: int) -> list[torch.Tensor]:
        """Return n images' two entries of the policy's table: one int16 tensor (n, 2)."""
        pair = rng.integers(0, len(POLICY), n)
        applied = rng.random((n, 2)) < PROBABILITY[pair]
        sign = rng.integers(0, 2, (n, 2))
        entry = (pair[:, None] * 2 + np.arange(2)) * 2 + sign
        return [torch.from_numpy(np.where(applied, entry, NOTHING).astype(np.int16))]

    def inputs(self, images: torch.Tensor, drawn: Sequence[torch.Tensor], scale: Scaling) -> list[torch.Tensor]:
        """Return the one scaled view of a batch, float32 (B, 3, 32, 32)."""
        return [scale(self(images, drawn))]

    def __call__(self, images: torch.Tensor, drawn: Sequence[torch.Tensor]) -> torch.Tensor:
        """Apply a batch's draws, on the images' device: uint8 (B, 3, 32, 32) -> uint8 (B, 3, 32, 32)."""
        (entries,) = drawn
        table = _table(images.device)
        return self.kernels(
            images, lambda: fused.policy(images, entries, table), lambda: follow(images, entries, table)
        )


def follow(images: torch.Tensor, entries: torch.Tensor, table: Sequence[torch.Tensor]) -> torch.Tensor:
    """Apply rows (B, 2) of a table (code, magnitude, matrix), operation by operation: uint8 (B, 3, 32, 32)."""
    code, magnitude, matrix = table
    for entry in entries.long().unbind(1):
        images = apply(images, code[entry], magnitude[entry], matrix[entry], nearest)
    return images


@cache
def _table(device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return what each entry does: operation (101,), magnitude (101,), 16.16 matrix (101, 6)."""
    rows = [_resolve(name, bin_, sign) for pair in POLICY for name, _, bin_ in pair for sign in (-1, 1)]
    code, magnitude, matrix = zip(*rows, (IDENTITY, 0.0, PLAIN), strict=True)
    return (
        torch.tensor(code, device=device),
        torch.tensor(magnitude, dtype=torch.float64, device=device),
        torch.from_numpy(fixed_point(np.array(matrix))).to(device),
    )


def _resolve(name: str, bin_: int | None, sign: int) -> tuple[int, float, list[float]]:
    """Return (code, magnitude as `ops` takes it, matrix as Pillow takes it) of one entry."""
    magnitude, matrix = 0.0, PLAIN
    if name == "posterize" and bin_ is not None:
        magnitude = 8 - round(bin_ / 2.25)
    elif name == "solarize" and bin_ is not None:
        magnitude = torch.linspace(255.0, 0.0, 10)[bin_].item()
    elif bin_ is not None:
        magnitude = sign * torch.linspace(0.0, LARGEST[name], 10)[bin_].item()
    if name == "rotate":
        matrix = rotation(magnitude)
    elif name == "shear_y":
        # By way of degrees, as torchvision goes.
        matrix = [1.0, 0.0, 0.0, math.tan(math.radians(math.degrees(math.atan(magnitude)))), 1.0, 0.0]
    elif name.startswith("translate"):
        magnitude = -int(magnitude)  # an image moved to the right is read to the left
    elif name in ("brightness", "color", "contrast", "sharpness"):
        magnitude = 1.0 + magnitude
    return CODE[name], magnitude, matrix
