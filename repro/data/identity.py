"""What makes images CIFAR-10: shapes, the fingerprint of each split, and the one order they are kept in.

The official files, a download and a re-packed archive may hold the images in different orders. Here each split
is sorted by sha256(image bytes, height x width x RGB, then the label byte), so every split, index and prediction
means the same image whatever the source.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from repro.errors import UserError
from repro.record import FULL_TEST, FULL_TRAIN

SHAPES: dict[str, tuple[int, ...]] = {
    "x_train": (50_000, 32, 32, 3), "y_train": (50_000,), "x_test": (10_000, 32, 32, 3), "y_test": (10_000,),
}  # fmt: skip


@dataclass(frozen=True)
class Dataset:
    """Images (n, 32, 32, 3) uint8 and labels (n,) uint8 of both splits in canonical order.

    `train` and `test` are the fingerprints. `official_test[i]` is the canonical position of the official files'
    i-th test image; None where no source has told.
    """

    name: Literal["cifar10", "cifar10-sample"]
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    train: str
    test: str
    official_test: np.ndarray | None = None

    @property
    def order(self) -> str:
        """`official` when the official order of the test images is known, else `unknown`."""
        return "unknown" if self.official_test is None else "official"

    @property
    def key(self) -> str:
        """The fingerprint pair that enters run keys."""
        return f"{self.train}:{self.test}"


def digests(x: np.ndarray, y: np.ndarray) -> list[bytes]:
    """Return sha256(3,072 image bytes + label byte) of each image."""
    flat = np.ascontiguousarray(x).reshape(len(x), -1)
    return [
        hashlib.sha256(row.tobytes() + bytes([label])).digest() for row, label in zip(flat, y.tolist(), strict=True)
    ]


def fingerprint(digest_list: list[bytes]) -> str:
    """Return the split's fingerprint: sha256 over its images' sorted digests, whatever their order."""
    return hashlib.sha256(b"".join(sorted(digest_list))).hexdigest()


def canonical(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    """Sort a split; return images, labels, `position` (canonical place of the i-th given image), fingerprint."""
    found = digests(x, y)
    order = np.array(sorted(range(len(found)), key=found.__getitem__), dtype=np.int64)
    position = np.empty_like(order)
    position[order] = np.arange(len(order))
    return x[order], y[order], position, fingerprint(found)


def check_shapes(arrays: Mapping[str, np.ndarray], source: str) -> None:
    """Refuse arrays that are not uint8 of the expected shapes."""
    for name, shape in SHAPES.items():
        if arrays[name].shape != shape or arrays[name].dtype != np.uint8:
            found = f"{arrays[name].dtype} {arrays[name].shape}"
            raise UserError(f"{source}: {name} is {found}; expected uint8 {shape}")


def check_print(split: str, found: str, source: str) -> None:
    """Refuse a split whose fingerprint is not CIFAR-10's."""
    expected = {"train": FULL_TRAIN, "test": FULL_TEST}[split]
    if found != expected:
        raise UserError(
            f"{source}: the {split} images are not CIFAR-10's (fingerprint {found[:12]}, expected {expected[:12]}); "
            "images or labels were changed, shuffled apart or re-encoded (JPEG does that, even when saved as PNG after)"
        )
