"""AugMix, batched: chains of operations on Pillow's uint8 values, mixed with the original as float images.

Operations, levels and weights are those of google-research/augmix; every step of a chain is uint8 again.
"""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import torch

from repro.augment import fused
from repro.augment.geometry import SIDE, Scaling
from repro.augment.ops import CODE, IDENTITY, apply
from repro.augment.warp import bilinear, rotation

#: of `ops.OPS`, the first so many
SOME_OPS, ALL_OPS = 9, 13
DEEPEST = 3
STEEPEST = 30  # degrees


class AugMix:
    """`views` augmented versions an image, each a mix of `width` chains and the original.

    `severity` bounds the levels (0.1 to 10); `depth` is a chain's number of operations, None for 1 to 3 at random a
    chain; `all_ops` adds color, contrast, brightness and sharpness; `plain` puts the image itself before the views;
    `kernels` chooses the fused ones or none whatever the device, see `fused.Kernels`.
    """

    def __init__(
        self,
        severity: float = 3,
        width: int = 3,
        depth: int | None = None,
        all_ops: bool = False,
        views: int = 2,
        plain: bool = False,
        kernels: bool | None = None,
    ):
        if not 0.1 <= severity <= 10:
            raise ValueError(f"severity is {severity}, expected 0.1 to 10")
        if min(width, views, 1 if depth is None else depth) < 1:
            raise ValueError(f"width {width}, depth {depth} and views {views} must be 1 or more (depth may be None)")
        self.severity, self.width, self.depth, self.views, self.plain = severity, width, depth, views, plain
        self.operations = ALL_OPS if all_ops else SOME_OPS
        self.kernels = fused.Kernels("AugMix", kernels)

    def draw(self, rng: np.random.Generator, n: int) -> list[torch.Tensor]:
        """Draw for n images, on the host; the first dimension of each tensor is the image.

        Operations (n, views, width, depth) uint8, `IDENTITY` beyond a chain's depth; magnitudes, float64 alike;
        the chains' weights (n, views, width) and the mix's share (n, views), float32.
        """
        chains = (n, self.views, self.width)
        steps = (*chains, DEEPEST if self.depth is None else self.depth)
        code = rng.integers(0, self.operations, steps)
        magnitude = magnitudes(code, rng.uniform(0.1, self.severity, steps), rng.random(steps) > 0.5)
        if self.depth is None:
            code[np.arange(DEEPEST) >= rng.integers(1, DEEPEST + 1, chains)[..., None]] = IDENTITY
        weight = rng.dirichlet(np.ones(self.width), (n, self.views)).astype(np.float32)
        share = rng.beta(1, 1, (n, self.views)).astype(np.float32)
        return [torch.from_numpy(a) for a in (code.astype(np.uint8), magnitude, weight, share)]

    def inputs(self, images: torch.Tensor, drawn: Sequence[torch.Tensor], scale: Scaling) -> list[torch.Tensor]:
        """Return the scaled views of a batch, each float32 (B, 3, 32, 32); with `plain` the image is the first."""
        mixed = self(images, drawn, scale).unbind(1)
        return [scale(images), *mixed] if self.plain else list(mixed)

    def __call__(self, images: torch.Tensor, drawn: Sequence[torch.Tensor], scale: Scaling) -> torch.Tensor:
        """Apply a batch's draws: uint8 (B, 3, 32, 32) -> float32 (B, views, 3, 32, 32); `scale` normalises uint8."""
        code, magnitude, weight, share = drawn

        def single() -> torch.Tensor:
            return mix(images, chains(images, code, magnitude), weight, share, scale)

        def together() -> torch.Tensor:
            pixels = fused.chains(images, code, magnitude, _rotations(images.device))
            return fused.mix(images, pixels, weight, share, self.kernels.table(scale, images.device))

        return self.kernels(images, together, single)


def magnitudes(code: np.ndarray, level: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """Turn levels into what `ops` takes (float64; whole numbers truncated, as int() does), signed where drawn so."""
    sign = np.where(negative, -1.0, 1.0)
    kinds: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
        "posterize": lambda v, s: 4 - np.trunc(v * 4 / 10),
        "rotate": lambda v, s: s * np.trunc(v * STEEPEST / 10),
        "solarize": lambda v, s: 256 - np.trunc(v * 256 / 10),
        **dict.fromkeys(("shear_x", "shear_y"), lambda v, s: s * (v * 0.3 / 10)),
        **dict.fromkeys(("translate_x", "translate_y"), lambda v, s: s * np.trunc(v * (SIDE / 3) / 10)),
        **dict.fromkeys(("color", "contrast", "brightness", "sharpness"), lambda v, s: v * 1.8 / 10 + 0.1),
    }
    out = np.zeros(code.shape)
    for name, kind in kinds.items():
        here = code == CODE[name]
        out[here] = kind(level[here], sign[here])
    return out


def chains(images: torch.Tensor, code: torch.Tensor, magnitude: torch.Tensor) -> torch.Tensor:
    """Apply chains (B, views, width, depth) of operations: uint8 (B, views, width, 3, 32, 32)."""
    shape = (*code.shape[:3], *images.shape[1:])
    out = images[:, None, None].expand(shape).flatten(0, 2)
    for step in range(code.shape[3]):
        what, strength = code[..., step].flatten(), magnitude[..., step].flatten()
        out = apply(out, what, strength, matrices(what, strength), bilinear)
    return out.view(shape)


def matrices(code: torch.Tensor, magnitude: torch.Tensor) -> torch.Tensor:
    """Return the float64 matrices (n, 6) of rotations by whole degrees and of shears; the identity for the rest."""
    row = torch.zeros(len(code), 6, dtype=torch.float64, device=code.device)
    row[:, 0], row[:, 4] = 1.0, 1.0
    row[:, 1] = magnitude * (code == CODE["shear_x"])
    row[:, 3] = magnitude * (code == CODE["shear_y"])
    turned = _rotations(code.device)[(magnitude + STEEPEST).clamp(0, 2 * STEEPEST).long()]
    return torch.where((code == CODE["rotate"])[:, None], turned, row)


@cache
def _rotations(device: torch.device) -> torch.Tensor:
    """Return the matrices of -30 to 30 degrees (61, 6): cosines of the host, for their last bits count."""
    rows = [rotation(degrees) for degrees in range(-STEEPEST, STEEPEST + 1)]
    return torch.tensor(rows, dtype=torch.float64, device=device)


def mix(
    images: torch.Tensor,
    augmented: torch.Tensor,
    weight: torch.Tensor,
    share: torch.Tensor,
    scale: Scaling,
) -> torch.Tensor:
    """Return (1 - share) * original + share * sum of weight * chain, all of them scaled: float32.

    Sums run from the first chain to the last and every product is rounded, so the values are the reference's.
    """
    views, side = share.shape, images.shape[1:]
    weight, share = weight[..., None, None, None], share[..., None, None, None]
    total = torch.zeros((), device=images.device)
    for chain in range(augmented.shape[2]):
        total = total + scale(augmented[:, :, chain].flatten(0, 1)).view(*views, *side) * weight[:, :, chain]
    return scale(images)[:, None] * (1 - share) + total * share
