"""The official files: `cifar-10-python.tar.gz` and its unpacked folder `cifar-10-batches-py`.

They are pickles, and a pickle can run any code: each is checked against its published md5 first, in memory, and then
unpickled with nothing in reach but the three numpy names that arrays need. No member of the archive is written to disk.
"""

import gzip
import hashlib
import io
import os
import pickle
import pickletools
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from repro.data.identity import SHAPES
from repro.errors import UserError

MAX_ARCHIVE = 1 << 30  # the official one is 170 MB
MAX_BATCH = 64 << 20  # an official batch is 31 MB
MAX_PLACES = 1_000_000  # that a pickle keeps values in; an official batch has 30,000
MAX_UNPACKED = 1 << 30  # of all members together; the official ones are 186 MB
_REMEDY = "it was cut short or changed; get it again"
_ALLOWED = {
    (module, name): found
    for name, found in (("_reconstruct", np.empty(0).__reduce__()[0]), ("ndarray", np.ndarray), ("dtype", np.dtype))
    for module in (("numpy",) if name != "_reconstruct" else ("numpy.core.multiarray", "numpy._core.multiarray"))
}


@dataclass(frozen=True)
class Facts:
    """What is published of the official files: where they are, names and md5 checksums, train batches before test."""

    url: str
    archive: str
    archive_md5: str
    folder: str
    train: dict[str, str]
    test: dict[str, str]

    @property
    def batches(self) -> dict[str, str]:
        """Every batch's md5 by name."""
        return self.train | self.test


def facts() -> Facts:
    """Return what torchvision knows of the official files."""
    from torchvision.datasets import CIFAR10

    train, test = (dict(map(tuple, batches)) for batches in (CIFAR10.train_list, CIFAR10.test_list))
    return Facts(CIFAR10.url, CIFAR10.filename, CIFAR10.tgz_md5, CIFAR10.base_folder, train, test)


def read_archive(file: io.BufferedReader, source: str) -> dict[str, np.ndarray]:
    """Return the four arrays of the official archive in its own order, straight from the compressed stream."""
    known = facts()
    if (size := os.fstat(file.fileno()).st_size) > MAX_ARCHIVE:  # nothing that large is worth reading through
        raise UserError(f"{source}: not the official {known.archive} ({size / 1e6:,.0f} MB); {_REMEDY}")
    if (found := md5(file)) != known.archive_md5:
        sums = f"md5 {found[:12]}, expected {known.archive_md5[:12]}"
        raise UserError(f"{source}: not the official {known.archive} ({sums}); {_REMEDY}")
    file.seek(0)
    try:
        blobs = dict(_members(file, known))
    except (tarfile.TarError, EOFError, OSError, zlib.error, ValueError, LookupError, ArithmeticError, RecursionError,
            MemoryError) as error:  # fmt: skip
        raise UserError(f"{source}: not a readable .tar.gz ({error}); {_REMEDY}") from None
    return _arrays(blobs, known, source)


def read_folder(folder: Path) -> dict[str, np.ndarray]:
    """Return the four arrays of the unpacked batches in their own order."""
    known = facts()
    paths = {name: folder / name for name in known.batches if (folder / name).is_file()}
    for name, path in paths.items():
        if path.stat().st_size > MAX_BATCH:
            raise UserError(f"{path}: not the official {name} (larger than {MAX_BATCH >> 20} MiB); get it again")
    return _arrays({name: path.read_bytes() for name, path in paths.items()}, known, str(folder))


def md5(file: io.BufferedReader) -> str:
    """Return the md5 of a file from its beginning; it tells damage, and the official sums are in no other kind."""
    file.seek(0)
    return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _members(file: io.BufferedReader, known: Facts) -> Iterator[tuple[str, bytes]]:
    """Yield the archive's batches by name; every other member, link or odd path is passed over."""
    wanted = {f"{known.folder}/{name}": name for name in known.batches}
    with gzip.open(file) as stream, tarfile.open(fileobj=cast(Any, _Bounded(stream)), mode="r|") as archive:
        for member in archive:
            if member.name in wanted and member.isreg() and member.size <= MAX_BATCH:
                content = archive.extractfile(member)
                assert content is not None  # it is a regular file
                yield wanted[member.name], content.read()


class _Bounded:
    """A stream that ends with an error where it unpacks to more than any official file: a bomb."""

    def __init__(self, stream: gzip.GzipFile):
        self.stream, self.left = stream, MAX_UNPACKED

    def read(self, size: int) -> bytes:
        """Return the next bytes."""
        data = self.stream.read(min(size, self.left + 1))
        self.left -= len(data)
        if self.left < 0:
            raise OSError(f"it unpacks to more than {MAX_UNPACKED >> 20} MiB")
        return data


def _arrays(blobs: Mapping[str, bytes], known: Facts, source: str) -> dict[str, np.ndarray]:
    if missing := [name for name in known.batches if name not in blobs]:
        raise UserError(f"{source}: lacks {', '.join(missing)}; expected {', '.join(known.batches)}")
    read = {name: _batch(blobs[name], md5_, f"{source}: {name}") for name, md5_ in known.batches.items()}
    splits = {"train": known.train, "test": known.test}
    return {
        f"{axis}_{split}": np.concatenate([read[name][i] for name in names])
        for split, names in splits.items()
        for i, axis in enumerate("xy")
    }


def _batch(blob: bytes, expected: str, source: str) -> tuple[np.ndarray, np.ndarray]:
    """Return images (n, 32, 32, 3) and labels (n,) of one batch, unpickled only after its checksum has been seen."""
    found = hashlib.md5(blob, usedforsecurity=False).hexdigest()
    if found != expected:
        raise UserError(f"{source}: not the official file (md5 {found[:12]}, expected {expected[:12]}); {_REMEDY}")
    try:
        _check_operations(blob)
        content = _ArraysOnly(io.BytesIO(blob), encoding="latin1").load()
        data, labels = content["data"], np.array(content["labels"])
        x = data.reshape(-1, 3, *SHAPES["x_train"][1:3]).transpose(0, 2, 3, 1)
        if x.dtype != np.uint8 or labels.shape != x.shape[:1] or labels.dtype.kind != "i" or not _digits(labels):
            raise ValueError("no uint8 images with a label from 0 to 9 each")
    except Exception as error:  # a pickle may raise anything
        raise UserError(f"{source}: not a batch of images and labels ({error}); get it again") from None
    return x, labels.astype(np.uint8)


def _digits(labels: np.ndarray) -> bool:
    return bool(((labels >= 0) & (labels <= 9)).all())


def _check_operations(blob: bytes) -> None:
    """Refuse a pickle with a number for a memory of its own beyond any: unpickling sets up all places before it."""
    for operation, argument, _ in pickletools.genops(blob):
        if "PUT" in operation.name and isinstance(argument, int) and argument > MAX_PLACES:
            raise pickle.UnpicklingError(f"it wants {argument:,} places, more than any official file")


class _ArraysOnly(pickle.Unpickler):
    """Builds plain values and numpy arrays; every other name is refused before it is looked up."""

    def find_class(self, module: str, name: str) -> Any:
        """Return one of the names that arrays need."""
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no official file does")
        return _ALLOWED[module, name]
