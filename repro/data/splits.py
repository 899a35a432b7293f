"""Which images train and which validate, as pure functions of the seed."""

from dataclasses import dataclass

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


@dataclass(frozen=True)
class Part:
    """The images that train and validate in an epoch (sorted indices), and how many of the latter trained before."""

    train: np.ndarray
    val: np.ndarray
    trained_before: int = 0


def kfold(images: int, k: int, seed: int) -> list[np.ndarray]:
    """Return k disjoint random parts of range(images), equal in size (a remainder is in none), each sorted."""
    shuffled = generator(seed, "split").permutation(images)
    size = images // k
    return [np.sort(shuffled[i * size : (i + 1) * size]) for i in range(k)]


def fold(parts: list[np.ndarray], number: int, carried: bool) -> Part:
    """Return fold `number` (from 1): that part validates, the others train.

    `carried`: the network has been through the folds before, whose training images it has seen.
    """
    val = parts[number - 1]
    train = np.sort(np.concatenate([part for i, part in enumerate(parts, 1) if i != number]))
    seen = [part for before in range(1, number) for i, part in enumerate(parts, 1) if i != before] if carried else []
    return Part(train, val, int(np.isin(val, np.concatenate(seen)).sum()) if seen else 0)


def fold_of_epoch(epoch: int, epochs: int, k: int) -> int:
    """Return the fold (from 1) of an epoch of a network carried through k folds in equal shares of its epochs."""
    return min(k, (epoch - 1) * k // epochs + 1)
