"""CIFAR-10 from any source into one verified cache with one image order.

The official files, a download and a re-packed archive may hold the images in different orders. Here each split
is sorted by sha256(image bytes, height x width x RGB, then the label byte), so every split, index and prediction
means the same image whatever the source; where the data came from the official files their order is kept beside.
"""

import hashlib
import os
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from repro.errors import UserError
from repro.record import FULL_TEST, FULL_TRAIN

CACHE = "cifar10.npz"
_SHAPES = {"x_train": (50_000, 32, 32, 3), "y_train": (50_000,), "x_test": (10_000, 32, 32, 3), "y_test": (10_000,)}


@dataclass(frozen=True)
class Dataset:
    """Images (n, 32, 32, 3) uint8 and labels (n,) uint8 of both splits in canonical order.

    `train` and `test` are the fingerprints. `official_test[i]` is the canonical position of the official files'
    i-th test image; None where the source did not tell.
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


def cache_path(home: Path) -> Path:
    """Where the verified cache lies."""
    return home / "data" / CACHE


def load(home: Path) -> Dataset:
    """Load the cache and check every byte of it against the fingerprints (about half a second)."""
    path = cache_path(home)
    if not path.exists():
        raise UserError(
            f"{path}: CIFAR-10 is not here; `repro data fetch` downloads it, "
            "`repro data import FILE.npz` takes x_train, y_train, x_test, y_test"
        )
    arrays = _read_npz(path, {*_SHAPES, "official_test"}, optional={"official_test"})
    try:
        return _verified(arrays, str(path), arrays.get("official_test"))
    except UserError as error:
        raise UserError(f"{error}; delete the file and import or fetch CIFAR-10 again") from None


def import_npz(source: Path, home: Path) -> Dataset:
    """Verify an .npz of x_train, y_train, x_test, y_test (uint8, any order) and make it the cache."""
    return _store(_read_npz(source, set(_SHAPES)), str(source), home, official=False)


def fetch(home: Path) -> Dataset:
    """Download CIFAR-10 with torchvision (170 MB, checksum verified there) and make it the cache."""
    from torchvision.datasets import CIFAR10

    home.joinpath("data").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home / "data", prefix="download-") as folder:
        try:
            train, test = (CIFAR10(folder, train=is_train, download=True) for is_train in (True, False))
        except (OSError, RuntimeError) as error:
            raise UserError(
                f"CIFAR-10 could not be downloaded ({error}); on a machine with the data use "
                "`repro data import FILE.npz` (x_train, y_train, x_test, y_test as uint8)"
            ) from None
        arrays = {
            "x_train": train.data, "y_train": np.array(train.targets, np.uint8),
            "x_test": test.data, "y_test": np.array(test.targets, np.uint8),
        }  # fmt: skip
        return _store(arrays, "the download", home, official=True)


def _store(arrays: dict[str, np.ndarray], source: str, home: Path, official: bool) -> Dataset:
    x_test, y_test, position, _ = canonical(arrays["x_test"], arrays["y_test"])
    x_train, y_train, _, _ = canonical(arrays["x_train"], arrays["y_train"])
    cached = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
    if official:
        cached["official_test"] = position
    dataset = _verified(cached, source, cached.get("official_test"))
    path = cache_path(home)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{CACHE}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            np.savez(file, allow_pickle=False, **cached)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return dataset


def _verified(arrays: dict[str, np.ndarray], source: str, official_test: np.ndarray | None) -> Dataset:
    prints = {}
    for split, expected in (("train", FULL_TRAIN), ("test", FULL_TEST)):
        prints[split] = fingerprint(digests(arrays[f"x_{split}"], arrays[f"y_{split}"]))
        if prints[split] != expected:
            raise UserError(
                f"{source}: the {split} images are not CIFAR-10's (fingerprint {prints[split][:12]}, expected "
                f"{expected[:12]}); images or labels were changed, shuffled apart or re-encoded"
            )
    x_train, y_train, x_test, y_test = (arrays[name] for name in _SHAPES)
    return Dataset("cifar10", x_train, y_train, x_test, y_test, prints["train"], prints["test"], official_test)


def _read_npz(path: Path, names: set[str], optional: set[str] = frozenset()) -> dict[str, np.ndarray]:  # type: ignore[assignment]
    """Read arrays from an .npz without ever unpickling."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            if missing := names - optional - set(archive.files):
                raise UserError(f"{path}: lacks {', '.join(sorted(missing))}; expected {', '.join(sorted(_SHAPES))}")
            arrays = {name: archive[name] for name in names if name in archive.files}
    except UserError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, MemoryError) as error:
        raise UserError(f"{path}: not a readable .npz archive ({error})") from None
    except TypeError:
        raise UserError(f"{path}: not an .npz archive; expected x_train, y_train, x_test, y_test in one") from None
    for name, shape in _SHAPES.items():
        if arrays[name].shape != shape or arrays[name].dtype != np.uint8:
            found = f"{arrays[name].dtype} {arrays[name].shape}"
            raise UserError(f"{path}: {name} is {found}; expected uint8 {shape}")
    return arrays
