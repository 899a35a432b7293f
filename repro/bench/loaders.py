"""A peer's data: torchvision's transforms equal to a recipe's, image by image, in PyTorch's DataLoader."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, get_worker_info
from torchvision import transforms

from repro.augment.augmix import SOME_OPS
from repro.bench import pillow
from repro.spec.recipe import AugMix, Crop, Flip, Recipe, Rotate

Batch = tuple[torch.Tensor, torch.Tensor]


class Mixed(pillow.AugMix):
    """AugMix as a recipe has it: its operations and depth; one view is the mix alone."""

    def __init__(self, step: AugMix, ready: pillow.Transform):
        super().__init__(ready, np.random.default_rng(0), step.severity, step.width, max(step.views - 1, 1))
        self.names = pillow.NAMES if step.all_ops else pillow.NAMES[:SOME_OPS]
        self.depth, self.alone = step.depth, step.views == 1

    def __call__(self, image: Any) -> torch.Tensor:
        """Return (views, 3, 32, 32), or (3, 32, 32) of one view."""
        made = super().__call__(image)
        return made[1] if self.alone else made

    def draw(self) -> pillow.Mix:
        """Draw one view."""
        drawn = super().draw()
        if self.depth is None:
            return drawn
        chains = [[self._step() for _ in range(self.depth)] for _ in range(self.width)]
        return pillow.Mix(chains, drawn.weights, drawn.share)

    def _step(self) -> tuple[str, float, int]:
        rng = self.rng
        name = self.names[rng.integers(len(self.names))]
        return name, rng.uniform(0.1, self.severity), -1 if rng.random() > 0.5 else 1


def _flip(step: Flip) -> Any:
    vertical = step.direction == "vertical"
    return transforms.RandomVerticalFlip(step.p) if vertical else transforms.RandomHorizontalFlip(step.p)


def _rotate(step: Rotate) -> Any:
    if not step.exact:
        return transforms.RandomRotation(step.degrees)
    return transforms.RandomChoice([transforms.RandomRotation((d, d)) for d in (-step.degrees, step.degrees)])


def _crop(step: Crop) -> Any:
    return transforms.RandomCrop(pillow.SIDE, padding=step.pad)


#: by the names of a recipe's `augment`, those that make a Pillow image of one
STEPS: Mapping[str, Callable[[Any], Any]] = {
    "crop": _crop,
    "flip": _flip,
    "rotate": _rotate,
    "autoaugment": lambda step: transforms.AutoAugment(transforms.AutoAugmentPolicy.CIFAR10),
}


def transform(recipe: Recipe) -> pillow.Transform:
    """Return what makes of a Pillow image the network's input: (3, 32, 32), or (views, 3, 32, 32), float32."""
    norm = recipe.data.normalize
    ready = pillow.scaled(norm.mean, norm.std) if norm else transforms.ToTensor()
    last = recipe.augment[-1] if recipe.augment else None
    if isinstance(last, AugMix):
        return pillow.transform([STEPS[step.name](step) for step in recipe.augment[:-1]], Mixed(last, ready))
    return pillow.transform([STEPS[step.name](step) for step in recipe.augment], ready)


def loader(x: np.ndarray, y: np.ndarray, recipe: Recipe, workers: int, pin: bool, keep: bool) -> DataLoader[Batch]:
    """Return a shuffling loader of all images; `pin` their memory, `keep` the workers from epoch to epoch."""
    images: Any = pillow.Images(x, y, transform(recipe))  # the loader makes tensors of its labels
    return DataLoader(
        images, recipe.budget.batch_size, shuffle=True, num_workers=workers, pin_memory=pin,
        persistent_workers=keep and workers > 0, worker_init_fn=_draw_apart,
    )  # fmt: skip


def _draw_apart(worker: int) -> None:
    """Give a worker draws of its own: NumPy's generators are copied with the process."""
    info: Any = get_worker_info()
    for step in info.dataset.transform.transforms:
        if isinstance(step, Mixed):
            step.rng = np.random.default_rng(info.seed)
