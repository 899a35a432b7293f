"""CIFAR-10 as a folder of images, `train/<class>/*` and `test/<class>/*`, in a format that loses nothing."""

import difflib
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from repro.data.identity import SHAPES
from repro.errors import UserError
from repro.record import CLASSES

FORMATS = ("PNG", "BMP", "PPM", "WEBP")
_LOSSY = "JPEG changes the pixels, so they are no longer CIFAR-10's; export the images as PNG from the original data"


def read(folder: Path) -> dict[str, np.ndarray]:
    """Return the four arrays of a tree of images; folders and counts are checked before any image is decoded."""
    found = {split: _files(folder / split, SHAPES[f"y_{split}"][0] // len(CLASSES)) for split in ("train", "test")}
    arrays = {}
    for split, files in found.items():
        arrays[f"x_{split}"] = np.stack([_image(path) for path, _ in files])
        arrays[f"y_{split}"] = np.array([label for _, label in files], np.uint8)
    return arrays


def _files(split: Path, each: int) -> list[tuple[Path, int]]:
    """Return every image file of a split with its label; hidden files (.DS_Store) are passed over."""
    folders = {path.name: path for path in _seen(split)}
    for name, path in folders.items():
        if name not in CLASSES:
            near = difflib.get_close_matches(name.lower(), CLASSES, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"expected {', '.join(CLASSES)}"
            raise UserError(f"{path}: not a class of CIFAR-10; {hint}")
    if missing := [name for name in CLASSES if name not in folders]:
        raise UserError(f"{split}: lacks the class {', '.join(missing)}; expected {', '.join(CLASSES)}")
    return [(path, label) for label, name in enumerate(CLASSES) for path in _class(folders[name], each)]


def _class(folder: Path, each: int) -> list[Path]:
    files = _seen(folder)
    if len(files) != each:
        raise UserError(f"{folder}: holds {len(files):,} files; expected {each:,} images, one a file")
    if odd := next((path for path in files if not (path.is_file() or path.is_dir())), None):  # a pipe is waited for
        raise UserError(f"{odd}: is no plain file; expected an image")
    return files


def _seen(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UserError(f"{folder}: not a folder; expected train/<class>/*.png and test/<class>/*.png")
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _image(path: Path) -> np.ndarray:
    """Decode one image (32, 32, 3) uint8; its header is checked before its pixels are read."""
    side = SHAPES["x_train"][1:3]
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=(*FORMATS, "JPEG")) as image:
            if image.format == "JPEG":
                raise UserError(f"{path}: is a JPEG; {_LOSSY}")
            if image.size != side:
                raise UserError(f"{path}: is {image.width} x {image.height} pixels; expected {side[0]} x {side[1]}")
            if image.mode not in ("RGB", "P", "L"):  # a palette or grey file can hold RGB pixels without a loss
                raise UserError(f"{path}: its pixels are {image.mode}; expected 8-bit RGB")
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: not a readable image ({error}); expected {', '.join(FORMATS)}") from None
