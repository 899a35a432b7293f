"""The verified cache: the images in canonical order, and beside them the official order of the test images.

The cache holds nothing but images and labels, so its bytes are the same whatever the source. The order is a fact about
the images, not about the cache: a later source that does not know it takes nothing away.
"""

import io
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path

import numpy as np

from repro.data import npz
from repro.data.identity import SHAPES, Dataset, canonical, check_print, check_shapes, digests, fingerprint
from repro.data.sources import Source
from repro.errors import UserError
from repro.record import write_atomically

CACHE, ORDER = "cifar10.npz", "official_test.npy"
_ELSEWHERE = "set REPRO_HOME to a folder that can be written"


def cache_path(home: Path) -> Path:
    """Where the verified cache lies."""
    return home / "data" / CACHE


def order_path(home: Path) -> Path:
    """Where the official order of the test images lies, once a source has told it."""
    return home / "data" / ORDER


def load(home: Path) -> Dataset:
    """Load the cache and check every byte of it against the fingerprints (about half a second)."""
    path = cache_path(home)
    if not path.exists():
        raise UserError(
            f"{path}: CIFAR-10 is not here; `repro data fetch` downloads it, `repro data import PATH` takes the "
            "official archive, its unpacked folder, a folder of images or an .npz"
        )
    try:
        arrays = npz.read(path)
        prints = {s: fingerprint(digests(arrays[f"x_{s}"], arrays[f"y_{s}"])) for s in ("train", "test")}
        for split, found in prints.items():
            check_print(split, found, str(path))
    except UserError as error:
        raise UserError(f"{error}; delete the file and import or fetch CIFAR-10 again") from None
    return _dataset(arrays, prints, known_order(home))


def store(source: Source, home: Path) -> Dataset:
    """Verify a source's arrays, sort them and make them the cache; on any refusal the earlier cache stays."""
    check_shapes(source.arrays, source.name)
    arrays: dict[str, np.ndarray] = {}
    prints: dict[str, str] = {}
    for split in ("train", "test"):
        x, y, position, prints[split] = canonical(source.arrays[f"x_{split}"], source.arrays[f"y_{split}"])
        check_print(split, prints[split], source.name)
        arrays |= {f"x_{split}": x, f"y_{split}": y}
    order = position if source.official else known_order(home)
    with writing(cache_path(home)):
        # The order first: an older cache may hold it inside, and is about to be replaced.
        if order is not None:
            write_atomically(order_path(home), _bytes(np.save, order))
        write_atomically(cache_path(home), _bytes(np.savez, **arrays))
    return _dataset(arrays, prints, order)


def known_order(home: Path) -> np.ndarray | None:
    """Return the official order of the test images as far as it is known here; older caches hold it inside."""
    path = order_path(home)
    order: np.ndarray | None
    try:
        with open(path, "rb") as file:
            order = npz.read_array(file, str(path), SHAPES["y_test"])
    except FileNotFoundError:
        path = cache_path(home)
        order = npz.read_one(path, "official_test", SHAPES["y_test"])
    except (ValueError, UserError):  # what cannot be read at all says so itself
        order = np.empty(0)
    if order is not None and not np.array_equal(np.sort(order, axis=None), np.arange(SHAPES["y_test"][0])):
        raise UserError(f"{path}: damaged, not an order of the test images; delete the file, import or fetch again")
    return order


def size() -> int:
    """Return the bytes that a cache takes on the disk, with a little to spare."""
    return sum(map(prod, SHAPES.values())) + (1 << 20)


def require_room(folder: Path, needed: int) -> None:
    """Refuse, before anything is written, a folder that cannot be written or a disk with too few bytes left."""
    there = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    if not there.is_dir():
        raise UserError(f"{folder}: cannot be made, because {there} is not a folder; {_ELSEWHERE}")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"{there}: cannot be written; {_ELSEWHERE}")
    free = shutil.disk_usage(there).free
    if free < needed:
        sizes = f"{needed / 1e6:,.0f} MB are needed and {free / 1e6:,.0f} MB are free"
        raise UserError(f"{folder}: {sizes}; make room there, or set REPRO_HOME to a folder on another disk")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the system says of a place that cannot be written into a sentence."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error}); make room, or {_ELSEWHERE}") from None


def _dataset(arrays: Mapping[str, np.ndarray], prints: Mapping[str, str], order: np.ndarray | None) -> Dataset:
    x_train, y_train, x_test, y_test = (arrays[name] for name in SHAPES)
    return Dataset("cifar10", x_train, y_train, x_test, y_test, prints["train"], prints["test"], order)


def _bytes(write: Callable[..., None], *arrays: np.ndarray, **named: np.ndarray) -> bytes:
    """Return what numpy writes, so that the file itself is written in one go."""
    out = io.BytesIO()
    write(out, *arrays, **named)
    return out.getvalue()
