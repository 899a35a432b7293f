"""A confusion matrix as a picture."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from repro.plots.style import INK, new_figure, plain, to_bytes


def confusion_png(matrix: Any, classes: Sequence[str], title: str) -> bytes:
    """Return a PNG of a confusion matrix of counts (rows: true class, columns: predicted)."""
    return confusion_figure(matrix, classes, title, "png")


def confusion_figure(matrix: Any, classes: Sequence[str], title: str, kind: str = "svg") -> bytes:
    """Return a confusion matrix as SVG or PNG: counts in the cells, shaded by their share of the row.

    The diagonal is blue and the mistakes orange, on a scale of their own, so that a confusion of a few
    percent can be seen beside a diagonal of ninety.
    """
    counts = np.asarray(matrix, float)
    rows = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, rows, out=np.zeros_like(counts), where=rows > 0)
    size = len(counts)
    off = share * (1 - np.eye(size))
    top = max(float(off.max(initial=0.0)), 0.05)  # even mistakes, or hardly any, stay pale
    with new_figure((6.6, 5.9)) as (figure, colormaps):
        axes = figure.add_subplot()
        mask = np.eye(size, dtype=bool)
        axes.imshow(np.ma.array(off, mask=mask), cmap=colormaps["Oranges"], vmin=0, vmax=top * 1.25)
        axes.imshow(np.ma.array(share, mask=~mask), cmap=colormaps["Blues"], vmin=0, vmax=1.1)
        for i, j in np.ndindex(size, size):
            dark = share[i, j] > 0.55 if i == j else off[i, j] > 0.75 * top
            zero = counts[i, j] < 0.5
            colour = "white" if dark else "#b0b0b0" if zero else INK
            text = f"{counts[i, j]:,.0f}"
            axes.text(j, i, text, ha="center", va="center", color=colour, weight="bold" if i == j else "normal")
        names = list(classes)[:size]
        axes.set_xticks(range(size), names, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(size), names)
        axes.set_xticks(np.arange(size + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
        axes.grid(False)
        axes.grid(which="minor", color="white", linewidth=1.5)
        axes.tick_params(which="both", length=0)
        axes.spines[:].set_visible(False)
        axes.set(xlabel="predicted class", ylabel="true class")
        axes.set_title(plain(title), pad=10)
        return to_bytes(figure, kind)
