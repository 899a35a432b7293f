"""Which kind of CIFAR-10 a path holds, recognised by what is there, not by its name alone."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from repro.data import npz, official, tree
from repro.errors import UserError

ACCEPTED = (
    "the official cifar-10-python.tar.gz, its unpacked folder cifar-10-batches-py, a folder of train/<class>/*.png "
    "and test/<class>/*.png, or an .npz of x_train, y_train, x_test, y_test"
)


@dataclass(frozen=True)
class Source:
    """Arrays as a source gave them; `official` tells whether they are in the official files' order."""

    arrays: dict[str, np.ndarray]
    official: bool
    name: str


def read(path: Path) -> Source:
    """Read CIFAR-10 from any accepted place; raises UserError for anything else."""
    try:
        return _folder(path) if path.is_dir() else _file(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"{error.filename or path}: cannot be read ({reason}); expected {ACCEPTED}") from None


def _folder(path: Path) -> Source:
    known = official.facts()
    for folder in (path, path / known.folder):
        if any((folder / name).is_file() for name in known.batches):
            return Source(official.read_folder(folder), True, str(folder))
    if any((path / split).is_dir() for split in ("train", "test")):
        return Source(tree.read(path), False, str(path))
    raise UserError(f"{path}: holds no CIFAR-10 that is recognised; expected {ACCEPTED}")


def _file(path: Path) -> Source:
    if path.exists() and not path.is_file():  # a pipe or a device would be waited for
        raise UserError(f"{path}: is neither a file nor a folder; expected {ACCEPTED}")
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        if packed or path.name.endswith((".tar.gz", ".tgz")):
            return Source(official.read_archive(file, str(path)), True, str(path))
    if path.suffix == ".npz" or zipfile.is_zipfile(path):
        return Source(npz.read(path), False, str(path))
    raise UserError(f"{path}: not CIFAR-10 in a form that is recognised; expected {ACCEPTED}")
