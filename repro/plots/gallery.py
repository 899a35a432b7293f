"""Blocks of images side by side."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from repro.plots.style import STYLE, new_figure, plain, to_bytes

#: white pixels between images
GAP = 4


@dataclass(frozen=True)
class Block:
    """A titled block of images: uint8 (rows, columns, 32, 32, 3), and its columns' headings."""

    title: str
    subtitle: str
    images: np.ndarray
    columns: Sequence[str] = ()


def gallery_png(blocks: Sequence[Block], rows: Sequence[str], zoom: int = 2) -> bytes:
    """Return a PNG of blocks of images side by side, a name for each row; a pixel becomes zoom x zoom pixels."""
    tiles = [_tiles(block.images, zoom) for block in blocks]
    left, top, edge = 98, 106, 22
    high, wide = tiles[0].shape[0] + top + edge, left + sum(tile.shape[1] + edge for tile in tiles)
    inch = 1 / STYLE["savefig.dpi"]
    with new_figure((wide * inch, high * inch)) as (figure, _):

        def write(x: float, y: float, text: str, **look: Any) -> None:
            figure.text(x / wide, 1 - y / high, text, **look)

        for i, name in enumerate(rows):
            y = top + (i + 0.5) * tiles[0].shape[0] / len(rows)
            write(left - 10, y, name, ha="right", va="center")
        for block, tile in zip(blocks, tiles, strict=True):
            figure.figimage(tile, left, edge)  # pixel on pixel: resampling would blur what is shown
            write(left, 14, plain(block.title), va="top", weight="bold", fontsize=11)
            write(left, 34, textwrap.fill(block.subtitle, tile.shape[1] // 8), va="top", color="#555555")
            for i, name in enumerate(block.columns):
                x = left + (i + 0.5) * tile.shape[1] / len(block.columns)
                write(x, top - 7, name, ha="center", fontsize=8, color="#555555")
            left += tile.shape[1] + edge
        return to_bytes(figure, "png")


def _tiles(images: np.ndarray, zoom: int) -> np.ndarray:
    """Lay (rows, columns, 32, 32, 3) out as one picture, enlarged by repeating pixels, with white between."""
    large = images.repeat(zoom, axis=2).repeat(zoom, axis=3)
    framed = np.pad(large, [(0, 0), (0, 0), (0, GAP), (0, GAP), (0, 0)], constant_values=255)
    rows, columns, high, wide, _ = framed.shape
    return framed.transpose(0, 2, 1, 3, 4).reshape(rows * high, columns * wide, 3)
