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
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in names if name in archive.files}
    except _BROKEN as error:
        raise UserError(f"{path}: not a readable .npz archive ({error})") from None
    except (TypeError, AttributeError):  # numpy took it for something else, such as a bare array
        raise UserError(f"{path}: not an .npz archive; expected {', '.join(sorted(SHAPES))} in one") from None
