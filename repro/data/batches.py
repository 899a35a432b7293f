"""Images resident on the device as uint8, and the order of an epoch."""

import numpy as np
import torch

from repro.draws import generator

PIXELS = 32 * 32


def epoch_order(images: int, seed: int, epoch: int) -> np.ndarray:
    """Return the order in which an epoch visits range(images)."""
    return generator(seed, "order", epoch).permutation(images)


class Resident:
    """A split on the device: one row of three bytes a pixel, one black row at the end, and the labels.

    A batch is one gather: each output pixel names the row it shows, so an augmentation made of index maps
    (crop, flip, rotate) costs no pass over the images of its own.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, device: torch.device):
        rows = np.concatenate([np.ascontiguousarray(x).reshape(-1, 3), np.zeros((1, 3), np.uint8)])
        self.rows = torch.from_numpy(rows).to(device)
        self.labels = torch.from_numpy(y.astype(np.int64)).to(device)
        self._whole = torch.arange(PIXELS, device=device)[None]
        self.device = device

    def __len__(self) -> int:
        return len(self.labels)

    def images(self, index: torch.Tensor, source: torch.Tensor | None = None) -> torch.Tensor:
        """Return uint8 images (B, 3, 32, 32) in channels_last memory.

        `index` (B,) names images; `source` (B, 1024) names for each output pixel the pixel shown, -1 for black.
        """
        pixel = self._whole if source is None else source
        row = index[:, None] * PIXELS + pixel
        if source is not None:
            row = torch.where(source < 0, len(self.rows) - 1, row)
        picked = self.rows.index_select(0, row.flatten())
        return picked.view(len(index), 32, 32, 3).permute(0, 3, 1, 2)


class Scale:
    """uint8 -> float32 in [0, 1], then (x - mean) / std: ToTensor and Normalize, batched."""

    def __init__(self, mean: tuple[float, ...] | None, std: tuple[float, ...] | None, device: torch.device):
        # By a number of the host CUDA multiplies with its rounded inverse: half of the 256 values would be others.
        self.white = torch.tensor(255.0, device=device)
        self.mean = None if mean is None else torch.tensor(mean, device=device).view(1, 3, 1, 1)
        self.std = None if std is None else torch.tensor(std, device=device).view(1, 3, 1, 1)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Return float32 images; channels_last stays channels_last."""
        return self.normalise(self.pixels(images))

    def pixels(self, images: torch.Tensor) -> torch.Tensor:
        """Return uint8 images as float32 in [0, 1], equal to ToTensor's on every device."""
        return images.float().div_(self.white)

    def normalise(self, x: torch.Tensor) -> torch.Tensor:
        """Return pixels in [0, 1], float32, shifted and scaled in place."""
        return x if self.mean is None or self.std is None else x.sub_(self.mean).div_(self.std)
