"""The embedded real sample: 1,500 training and 500 test images of CIFAR-10, class-balanced, lossless.

They are the first 150 (50) images of each class in canonical order. The sample exists so that the whole
suite can be run and tested anywhere in minutes; results on it say nothing about any published number.
"""

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from repro.data.cifar10 import Dataset, digests, fingerprint

FOLDER = Path(__file__).parent / "sample"
COLUMNS = 50


@cache
def load() -> Dataset:
    """Decode the sample; same interface and order rule as the full set."""
    (x_train, y_train), (x_test, y_test) = (_split(name) for name in ("train", "test"))
    train, test = fingerprint(digests(x_train, y_train)), fingerprint(digests(x_test, y_test))
    return Dataset("cifar10-sample", x_train, y_train, x_test, y_test, train, test)


def _split(name: str) -> tuple[np.ndarray, np.ndarray]:
    mosaic = np.asarray(Image.open(FOLDER / f"{name}.webp").convert("RGB"))
    rows = mosaic.shape[0] // 32
    images = mosaic.reshape(rows, 32, COLUMNS, 32, 3).transpose(0, 2, 1, 3, 4).reshape(-1, 32, 32, 3)
    labels = np.frombuffer((FOLDER / f"{name}.txt").read_bytes().strip(), np.uint8) - ord("0")
    return np.ascontiguousarray(images), labels
