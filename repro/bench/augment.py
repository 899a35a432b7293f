"""Augmentation on one CPU thread: the suite's batches against each image by itself, from the same images."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torchvision import transforms

from repro import environment
from repro.augment import build
from repro.bench import pillow
from repro.bench.timing import Arm, interleaved
from repro.data import cache, sample
from repro.data.batches import Resident, Scale, epoch_order
from repro.draws import generator

SCHEMA = 1
CPU = torch.device("cpu")
BATCH, SEED = 128, 0
HALF = (0.5, 0.5, 0.5)  # mean and deviation; any do, and both arms have the same
#: one pass over all images: its batches
Batches = Callable[[int], Iterator[torch.Tensor]]


@dataclass(frozen=True)
class Comparison:
    """Two arms of one augmentation: `steps` as a recipe has them, `theirs` from images, labels and the pass."""

    what: str
    against: str
    steps: Sequence[Mapping[str, Any]]
    theirs: Callable[[np.ndarray, np.ndarray, int], Iterator[torch.Tensor]]
    target: float | None


@dataclass(frozen=True)
class Row:
    """What one comparison measured: images a second, how many times as fast, and the lowest and highest pair."""

    what: str
    against: str
    ours_per_s: float
    theirs_per_s: float
    ratio: float
    lowest: float
    highest: float
    target: float | None
    met: bool | None
    ours_s: list[float]
    theirs_s: list[float]


def _augmix(x: np.ndarray, y: np.ndarray, epoch: int) -> Iterator[torch.Tensor]:
    mixed = pillow.AugMix(pillow.scaled(HALF, HALF), np.random.default_rng((SEED, epoch)))
    return pillow.looped(x, mixed, BATCH)


def _crop_flip(x: np.ndarray, y: np.ndarray, epoch: int) -> Iterator[torch.Tensor]:
    return pillow.loaded(x, y, _pillow(transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()), BATCH)


def _rotate_flip_crop(x: np.ndarray, y: np.ndarray, epoch: int) -> Iterator[torch.Tensor]:
    turned, flipped, cropped = (
        transforms.RandomRotation(5), transforms.RandomHorizontalFlip(), transforms.RandomCrop(32, padding=2),
    )  # fmt: skip
    return pillow.looped(x, _pillow(turned, flipped, cropped), BATCH)


def _autoaugment(x: np.ndarray, y: np.ndarray, epoch: int) -> Iterator[torch.Tensor]:
    policy = transforms.AutoAugment(transforms.AutoAugmentPolicy.CIFAR10)
    return pillow.looped(x, _pillow(policy), BATCH)


def _pillow(*steps: Any) -> pillow.Transform:
    return pillow.transform(steps, pillow.scaled(HALF, HALF))


COMPARISONS = (
    Comparison(
        "AugMix, image and two mixes", "Pillow, image by image",
        [{"name": "augmix", "severity": 3.0, "width": 3, "all_ops": True, "views": 3}], _augmix, 3.0,
    ),
    Comparison(
        "crop 4, flip", "DataLoader, 0 workers",
        [{"name": "crop", "pad": 4}, {"name": "flip", "p": 0.5}], _crop_flip, 15.0,
    ),
    Comparison(
        "rotate 5, flip, crop 2", "torchvision, image by image",
        [{"name": "rotate", "degrees": 5.0}, {"name": "flip", "p": 0.5}, {"name": "crop", "pad": 2}],
        _rotate_flip_crop, 2.5,
    ),
    Comparison("AutoAugment", "torchvision, image by image", [{"name": "autoaugment"}], _autoaugment, None),
)  # fmt: skip


def ours(x: np.ndarray, y: np.ndarray, steps: Sequence[Mapping[str, Any]]) -> Batches:
    """Return the passes of a training run over resident images: batches (B, views, 3, 32, 32), or (B, 3, 32, 32)."""
    pipeline, resident, scale = build(steps), Resident(x, y, CPU), Scale(HALF, HALF, CPU)

    def batches(epoch: int) -> Iterator[torch.Tensor]:
        order = torch.from_numpy(epoch_order(len(x), SEED, epoch))
        drawn = pipeline.draw(generator(SEED, "augment", epoch), len(x))
        for start in range(0, len(x), BATCH):
            part = [d[start : start + BATCH] for d in drawn]
            moved = resident.images(order[start : start + BATCH], pipeline.sources(part))
            views = [v.contiguous(memory_format=torch.channels_last) for v in pipeline.views(moved, part, scale)]
            yield torch.stack(views, 1) if len(views) > 1 else views[0]

    return batches


def compare(comparison: Comparison, x: np.ndarray, y: np.ndarray, repeats: int) -> Row:
    """Time one comparison on images (n, 32, 32, 3) and labels, on this thread."""
    mine = ours(x, y, comparison.steps)
    timed = interleaved(_drained(mine), _drained(lambda epoch: comparison.theirs(x, y, epoch)), repeats)
    lowest, highest = timed.spread
    met = None if comparison.target is None else timed.ratio >= comparison.target
    return Row(
        comparison.what, comparison.against, len(x) / median(timed.ours), len(x) / median(timed.theirs),
        timed.ratio, lowest, highest, comparison.target, met, timed.ours, timed.theirs,
    )  # fmt: skip


def _drained(batches: Batches) -> Arm:
    def arm(epoch: int) -> None:
        for _ in batches(epoch):
            pass

    return arm


def run(home: Path, images: int, repeats: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Measure all comparisons and return them as plain values: machine, images, rows."""
    source, x, y = pictures(home, images)
    with one_thread():
        machine = describe()
        rows = []
        for comparison in COMPARISONS:
            say(f"{comparison.what} ...")
            rows.append(asdict(compare(comparison, x, y, repeats)))
    return {
        "benchmark": "augment", "schema": SCHEMA, "machine": machine, "threads": 1, "images": images,
        "source": source, "repeats": repeats, "batch_size": BATCH, "rows": rows,
    }  # fmt: skip


def pictures(home: Path, images: int) -> tuple[str, np.ndarray, np.ndarray]:
    """Return (name, images, labels): the first training images of the cache where it is, else the sample repeated."""
    data = cache.load(home) if cache.cache_path(home).exists() else sample.load()
    place = np.arange(images) % len(data.x_train)
    return data.name, data.x_train[place], data.y_train[place]


@contextmanager
def one_thread() -> Iterator[None]:
    """Set PyTorch as for a float32 run on the CPU, with one thread; the number of threads is put back."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    environment.prepare(CPU, "fp32", deterministic=False)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def describe() -> dict[str, Any]:
    """Return processor, versions and commit."""
    packages = {name.lower(): version(name) for name in ("numpy", "Pillow", "torchvision")}
    return {**environment.describe(CPU), **packages}
