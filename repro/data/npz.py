"""CIFAR-10 as an .npz of x_train, y_train, x_test, y_test: read without ever unpickling."""

import io
import lzma
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import IO

import numpy as np

from repro.data.identity import SHAPES, check_shapes
from repro.errors import UserError

MAX_HEADER = 4096  # an array's header has about 100 bytes
_BROKEN = (
    OSError, ValueError, EOFError, TypeError, SyntaxError, LookupError, ArithmeticError, RuntimeError, MemoryError,
    AssertionError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error,
)  # fmt: skip


def read(path: Path) -> dict[str, np.ndarray]:
    """Return the four arrays of an .npz, of the expected types and shapes, in whatever order its images are."""
    arrays = _arrays(path, SHAPES)
    if missing := set(SHAPES) - set(arrays):
        raise UserError(f"{path}: lacks {', '.join(sorted(missing))}; expected {', '.join(sorted(SHAPES))}")
    check_shapes(arrays, str(path))
    return arrays


def read_one(path: Path, name: str, shape: tuple[int, ...]) -> np.ndarray | None:
    """Return one array of integers of an .npz, or None where it holds no such array, is no zip archive or not there."""
    if not path.exists():
        return None
    with open(path, "rb") as file:
        archive = zipfile.is_zipfile(file)
    return _arrays(path, {name: shape}).get(name) if archive else None


def _arrays(path: Path, wanted: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Read those of the wanted arrays that are there; raises UserError for what is not what is wanted."""
    expected = f"expected {', '.join(sorted(SHAPES))} as uint8 in one"
    try:
        with open(path, "rb") as stream:  # `is_zipfile` takes a path that may not be read for no archive
            if not zipfile.is_zipfile(stream):
                raise UserError(f"{path}: not a readable .npz archive; {expected}")
        with zipfile.ZipFile(path) as archive:
            held = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            found = {}
            for name, shape in wanted.items():
                if name in held:
                    with archive.open(held[name]) as file:
                        found[name] = read_array(file, f"{path}: {name}", shape)
            return found
    except (UserError, PermissionError):  # what may not be read is not damaged
        raise
    except _BROKEN as error:
        reason = "arrays of Python objects" if "Object arrays" in str(error) else str(error) or type(error).__name__
        raise UserError(f"{path}: not a readable .npz archive ({reason}); {expected}") from None


def read_array(file: IO[bytes], name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return a .npy's integers of a known shape.

    Raises UserError for another type or shape, as the header tells it before anything is allocated or unpacked, and
    ValueError for one that is cut short, holds objects or has no header.
    """
    head = io.BytesIO(file.read(MAX_HEADER))
    found, by_column, dtype = _header(head)
    if dtype.hasobject:
        raise ValueError("Object arrays cannot be loaded")
    if found != shape or dtype.kind not in "iu":
        raise UserError(f"{name} is {dtype} {found}; expected uint8 {shape}")
    count = prod(shape) * dtype.itemsize
    data = head.read(count)
    data += file.read(count - len(data))
    if len(data) < count:
        raise ValueError("it is cut short")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if by_column else "C")


def _header(head: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Return shape, order and type as an .npy's header gives them; raises ValueError for what is no header."""
    try:
        with warnings.catch_warnings(action="ignore"):
            major, _ = np.lib.format.read_magic(head)
            read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
            return read(head, max_header_size=MAX_HEADER)
    except (tokenize.TokenError, *_BROKEN) as error:  # numpy takes the header for a Python literal
        raise ValueError(f"a header that is none of numpy's, {type(error).__name__}") from None
