"""The usual way: each image by itself, with Pillow and torchvision; what the suite's batches are compared with."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

Transform = Callable[[Image.Image], torch.Tensor]
SIDE = 32
DEEPEST = 3


class Images(Dataset[tuple[torch.Tensor, int]]):
    """uint8 images (n, 32, 32, 3) as torchvision's datasets give them: a Pillow image, transformed when asked for."""

    def __init__(self, x: np.ndarray, y: np.ndarray, transform: Transform):
        self.x, self.y, self.transform = x, y, transform

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.x[i])), int(self.y[i])


def loaded(x: np.ndarray, y: np.ndarray, transform: Transform, batch: int) -> Iterator[torch.Tensor]:
    """Yield batches (B, ..., 3, 32, 32) of PyTorch's DataLoader without workers, shuffled."""
    for images, _ in DataLoader(Images(x, y, transform), batch, shuffle=True, num_workers=0):
        yield images


def looped(x: np.ndarray, transform: Transform, batch: int) -> Iterator[torch.Tensor]:
    """Yield batches (B, ..., 3, 32, 32) of a plain loop over the images: no more than transforms and stacking."""
    for start in range(0, len(x), batch):
        yield torch.stack([transform(Image.fromarray(image)) for image in x[start : start + batch]])


def transform(steps: Iterable[Callable[[Image.Image], Image.Image]], ready: Transform) -> Transform:
    """Return torchvision's Compose of steps on Pillow images, then `ready`."""
    return transforms.Compose([*steps, ready])


def scaled(mean: Sequence[float], std: Sequence[float]) -> Transform:
    """Return torchvision's ToTensor and Normalize."""
    return transforms.Compose([transforms.ToTensor(), transforms.Normalize(mean, std)])


def _affine(image: Image.Image, *matrix: float) -> Image.Image:
    return image.transform((SIDE, SIDE), Image.Transform.AFFINE, matrix, resample=Image.Resampling.BILINEAR)


def _factor(level: float) -> float:
    return level * 1.8 / 10 + 0.1


#: AugMix's operations on (image, level from 0.1 to 10, sign), by the names of `augment.ops`
OPERATIONS: dict[str, Callable[[Image.Image, float, int], Image.Image]] = {
    "autocontrast": lambda image, level, sign: ImageOps.autocontrast(image),
    "equalize": lambda image, level, sign: ImageOps.equalize(image),
    "posterize": lambda image, level, sign: ImageOps.posterize(image, 4 - int(level * 4 / 10)),
    "rotate": lambda image, level, sign: image.rotate(sign * int(level * 30 / 10), Image.Resampling.BILINEAR),
    "solarize": lambda image, level, sign: ImageOps.solarize(image, 256 - int(level * 256 / 10)),
    "shear_x": lambda image, level, sign: _affine(image, 1, sign * (level * 0.3 / 10), 0, 0, 1, 0),
    "shear_y": lambda image, level, sign: _affine(image, 1, 0, 0, sign * (level * 0.3 / 10), 1, 0),
    "translate_x": lambda image, level, sign: _affine(image, 1, 0, sign * int(level * (SIDE / 3) / 10), 0, 1, 0),
    "translate_y": lambda image, level, sign: _affine(image, 1, 0, 0, 0, 1, sign * int(level * (SIDE / 3) / 10)),
    "color": lambda image, level, sign: ImageEnhance.Color(image).enhance(_factor(level)),
    "contrast": lambda image, level, sign: ImageEnhance.Contrast(image).enhance(_factor(level)),
    "brightness": lambda image, level, sign: ImageEnhance.Brightness(image).enhance(_factor(level)),
    "sharpness": lambda image, level, sign: ImageEnhance.Sharpness(image).enhance(_factor(level)),
}
NAMES = tuple(OPERATIONS)


@dataclass(frozen=True)
class Mix:
    """One view's draws: chains of (operation, level, sign), the chains' weights, and the mix's share."""

    chains: Sequence[Sequence[tuple[str, float, int]]]
    weights: Sequence[float]
    share: float


class AugMix:
    """All operations, chains of 1 to 3: an image becomes itself and two mixes, (3, 3, 32, 32).

    Operations and mix are those of google-research/augmix; the plain image is scaled once, not once a view.
    """

    def __init__(self, ready: Transform, rng: np.random.Generator, severity: float = 3, width: int = 3, mixes: int = 2):
        self.ready, self.rng, self.severity, self.width, self.mixes = ready, rng, severity, width, mixes

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """Draw and mix."""
        plain = self.ready(image)
        return torch.stack([plain, *(self.mix(image, plain, self.draw()) for _ in range(self.mixes))])

    def draw(self) -> Mix:
        """Draw one view."""
        rng = self.rng
        chains = [[self._step() for _ in range(rng.integers(1, DEEPEST + 1))] for _ in range(self.width)]
        return Mix(chains, rng.dirichlet(np.ones(self.width)).tolist(), rng.beta(1, 1))

    def _step(self) -> tuple[str, float, int]:
        rng = self.rng
        name = NAMES[rng.integers(len(NAMES))]
        return name, rng.uniform(0.1, self.severity), -1 if rng.random() > 0.5 else 1

    def mix(self, image: Image.Image, plain: torch.Tensor, drawn: Mix) -> torch.Tensor:
        """Run the chains and add them up; `plain` is the scaled image."""
        total = torch.zeros_like(plain)
        for chain, weight in zip(drawn.chains, drawn.weights, strict=True):
            out = image
            for name, level, sign in chain:
                out = OPERATIONS[name](out, level, sign)
            total += weight * self.ready(out)
        return (1 - drawn.share) * plain + drawn.share * total
