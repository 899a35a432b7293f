"""Which images train and which validate, as pure functions of the seed."""

import numpy as np

from repro.draws import generator


def holdout(images: int, train: int, val: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return sorted, disjoint (train, val) indices drawn without replacement from range(images)."""
    if train + val > images:
        raise ValueError(f"a split of {train} + {val} does not fit {images} images")
    if train == images:
        return np.arange(images), np.arange(0)
    shuffled = generator(seed, "split").permutation(images)
    return np.sort(shuffled[val : val + train]), np.sort(shuffled[:val])
