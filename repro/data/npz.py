"""CIFAR-10 as an .npz of x_train, y_train, x_test, y_test: read without ever unpickling."""

import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from repro.data.identity import SHAPES, check_shapes
from repro.errors import UserError

_BROKEN = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, MemoryError)


def read(path: Path) -> dict[str, np.ndarray]:
    """Return the four arrays of an .npz, of the expected types and shapes, in whatever order its images are."""
    arrays = _arrays(path, SHAPES)
    if missing := set(SHAPES) - set(arrays):
        raise UserError(f"{path}: lacks {', '.join(sorted(missing))}; expected {', '.join(sorted(SHAPES))}")
    check_shapes(arrays, str(path))
    return arrays


def read_one(path: Path, name: str) -> np.ndarray | None:
    """Return one array of an .npz, or None where it holds no such array or is no zip archive at all."""
    return _arrays(path, [name]).get(name) if zipfile.is_zipfile(path) else None


def _arrays(path: Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Read those of the named arrays that are there."""
    wanted = f"expected {', '.join(sorted(SHAPES))} as uint8 in one"
    if path.is_file() and not zipfile.is_zipfile(path):
        raise UserError(f"{path}: not a readable .npz archive; {wanted}")
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in names if name in archive.files}
    except _BROKEN as error:
        reason = "arrays of Python objects" if "Object arrays" in str(error) else str(error)
        raise UserError(f"{path}: not a readable .npz archive ({reason}); {wanted}") from None
