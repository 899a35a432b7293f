"""A published confusion matrix beside ours, and where the two differ by more than seeds do."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from repro.plots.style import BLUE, GREY, INK, VERMILION, new_figure, plain, to_bytes


def beyond_noise(ours: Any, published: Any) -> np.ndarray:
    """Return where a published matrix differs from the mean of ours (seeds, 10, 10) by more than two sd.

    The variance of a cell of a row of 1,000 images: that over seeds (not known of one), at least the binomial one of
    the mean of all matrices, theirs among them, where less than one image counts as one; of one matrix beside the mean
    of n, 1 + 1/n times that. Of one run it is the test of two proportions.
    """
    stack, theirs = np.asarray(ours, float), np.asarray(published, float)
    rows = stack.sum(axis=2, keepdims=True).mean(axis=0)
    mean = stack.mean(axis=0)
    spread = stack.var(axis=0, ddof=1) if len(stack) > 1 else np.zeros_like(mean)
    together = (len(stack) * mean + theirs) / (len(stack) + 1)
    counted = np.clip(together, 1, np.maximum(rows - 1, 1))
    binomial = counted * (1 - counted / np.maximum(rows, 2))
    noise = np.sqrt(np.maximum(spread, binomial) * (1 + 1 / len(stack)))
    return np.asarray(np.abs(theirs - mean) > 2 * noise)


def trio_figure(ours: Any, published: Any, classes: Sequence[str], title: str, kind: str = "svg") -> bytes:
    """Return three panels as SVG or PNG: ours (mean over seeds), published, and ours minus published.

    `ours` is (seeds, 10, 10), `published` (10, 10): counts, rows are true classes. Differences within the noise
    of `beyond_noise` are grey.
    """
    stack, theirs = np.asarray(ours, float), np.asarray(published, float)
    mean, clear = stack.mean(axis=0), beyond_noise(stack, theirs)
    runs = f"ours, mean of {len(stack)} runs" if len(stack) > 1 else "ours, one run"
    with new_figure((5.6, 14.4)) as (figure, colormaps):
        axes = figure.subplots(3, 1)
        for place, table, name in zip(axes, (mean, theirs), (runs, "published"), strict=False):
            _counts(place, table, colormaps)
            _frame(place, classes, name)
        _difference(axes[2], mean - theirs, clear)
        noise = "two sd" if len(stack) > 1 else "two sd of counting"  # what seeds change is not known of one
        _frame(axes[2], classes, f"ours − published: {clear.sum()} of {clear.size} cells beyond {noise}")
        axes[2].set_xlabel("predicted class")
        figure.suptitle(plain(title)[:62], x=0.02, ha="left", weight="bold", fontsize=10)
        return to_bytes(figure, kind)


def _counts(axes: Any, counts: np.ndarray, colormaps: Any) -> None:
    """Shade the diagonal blue and the mistakes orange, on a scale of their own."""
    eye = np.eye(len(counts), dtype=bool)
    top = max(float(counts[~eye].max(initial=0.0)), 50.0)
    axes.imshow(np.ma.array(counts, mask=eye), cmap=colormaps["Oranges"], vmin=0, vmax=1.25 * top)
    axes.imshow(np.ma.array(counts, mask=~eye), cmap=colormaps["Blues"], vmin=0, vmax=1_100)
    for i, j in np.ndindex(counts.shape):
        dark = counts[i, j] > 550 if i == j else counts[i, j] > 0.75 * top
        zero = counts[i, j] < 0.5
        _cell(axes, i, j, f"{counts[i, j]:,.0f}", "white" if dark else "#b0b0b0" if zero else INK)


def _difference(axes: Any, gap: np.ndarray, clear: np.ndarray) -> None:
    """Shade what is beyond the noise: more of ours orange, less of ours blue; the rest grey."""
    from matplotlib.colors import LinearSegmentedColormap

    top = max(float(np.abs(gap).max(initial=0.0)), 1.0)
    shades = LinearSegmentedColormap.from_list("differences", [BLUE, "#ffffff", VERMILION])
    axes.imshow(np.full((*gap.shape, 3), 0.93))
    axes.imshow(np.ma.array(gap, mask=~clear), cmap=shades, vmin=-top, vmax=top)
    for i, j in np.ndindex(gap.shape):
        strong = clear[i, j] and abs(gap[i, j]) > 0.7 * top
        text = "0" if abs(gap[i, j]) < 0.5 else f"{gap[i, j]:+,.0f}".replace("-", "−")
        _cell(axes, i, j, text, "white" if strong else INK if clear[i, j] else GREY, bool(clear[i, j]))


def _cell(axes: Any, i: int, j: int, text: str, colour: str, bold: bool = False) -> None:
    weight = "bold" if bold else "normal"
    axes.text(j, i, text, ha="center", va="center", color=colour, weight=weight, fontsize=8)


def _frame(axes: Any, classes: Sequence[str], title: str) -> None:
    size = len(classes)
    axes.set_xticks(range(size), classes, rotation=45, ha="right", rotation_mode="anchor", fontsize=8)
    axes.set_yticks(range(size), classes, fontsize=8)
    axes.set_xticks(np.arange(size + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
    axes.grid(False)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    axes.set_ylabel("true class")
    axes.set_title(title, pad=6, fontsize=9)
