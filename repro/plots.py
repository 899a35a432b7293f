"""Pictures as bytes: curves, confusion matrices, galleries of images. The one module that imports matplotlib.

The same numbers give the same bytes: no dates, no software versions, a fixed font, size and hash salt, and
nothing of the user's own matplotlib settings. Colours are Okabe and Ito's, which colour-blind readers can
tell apart; lines differ in dash as well.
"""

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np

_INK, _GREY = "#222222", "#8a8a8a"
_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans", "font.size": 9.0, "axes.titlesize": 10.0, "axes.titleweight": "bold",
    "axes.titlelocation": "left", "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": _GREY,
    "axes.labelcolor": _INK, "text.color": _INK, "xtick.color": _INK, "ytick.color": _INK, "axes.grid": True,
    "axes.axisbelow": True, "grid.color": "#e4e4e4", "grid.linewidth": 0.6, "legend.frameon": False,
    "text.parse_math": False, "svg.hashsalt": "repro", "svg.fonttype": "none", "figure.dpi": 110.0,
    "savefig.dpi": 110.0,
}  # fmt: skip

#: what is drawn, in drawing order: part of the metric's name before the slash -> label, colour, dash
SERIES: dict[str, tuple[str, str, Any]] = {
    "train": ("train", "#0072B2", "-"),
    "train_running": ("train, running average", "#56B4E9", (0, (4, 1.5))),
    "val_augmented": ("validation, augmented", "#E69F00", (0, (1.2, 1.2))),
    "val": ("validation", "#009E73", (0, (5, 1.5, 1.2, 1.5))),
    "test": ("test", "#D55E00", "-"),
}
GROUPS = {"loss": "Loss", "acc_pct": "Accuracy, %"}


@dataclass(frozen=True)
class Published:
    """A published number to draw on a metric's panel: at an epoch, or as a level where the epoch is unknown."""

    metric: str
    value: float
    label: str
    epoch: int | None = None


def confusion_png(matrix: Any, classes: Sequence[str], title: str) -> bytes:
    """Return a PNG of a confusion matrix of counts (rows: true class, columns: predicted)."""
    return confusion_figure(matrix, classes, title, "png")


def curves_png(curves: Mapping[str, Sequence[np.ndarray]], title: str, published: Sequence[Published] = ()) -> bytes:
    """Return a PNG of curves: metric -> one array a seed, a value an epoch."""
    return curves_figure(curves, title, published, "png")


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
    with _figure((6.6, 5.9)) as (figure, colormaps):
        axes = figure.add_subplot()
        mask = np.eye(size, dtype=bool)
        axes.imshow(np.ma.array(off, mask=mask), cmap=colormaps["Oranges"], vmin=0, vmax=top * 1.25)
        axes.imshow(np.ma.array(share, mask=~mask), cmap=colormaps["Blues"], vmin=0, vmax=1.1)
        for i, j in np.ndindex(size, size):
            dark = share[i, j] > 0.55 if i == j else off[i, j] > 0.75 * top
            zero = counts[i, j] < 0.5
            colour = "white" if dark else "#b0b0b0" if zero else _INK
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
        axes.set_title(_plain(title), pad=10)
        return _bytes(figure, kind)


def curves_figure(
    curves: Mapping[str, Sequence[np.ndarray]], title: str, published: Sequence[Published] = (), kind: str = "svg"
) -> bytes:
    """Return curves as SVG or PNG: one panel for loss, one for accuracy, train, validation and test overlaid.

    Several seeds are drawn as their mean with a band from the lowest to the highest; published numbers are
    diamonds at their epoch, or a dashed level where the epoch is unknown.
    """
    groups = [group for group in GROUPS if any(f"{series}/{group}" in curves for series in SERIES)]
    with _figure((4.7 * max(len(groups), 1), 3.6)) as (figure, _):
        panels = figure.subplots(1, max(len(groups), 1), squeeze=False)[0]
        handles: dict[str, Any] = {}
        for axes, group in zip(panels, groups, strict=False):
            _panel(axes, group, curves, [p for p in published if p.metric.rpartition("/")[2] == group], handles)
        if not groups:
            panels[0].set_axis_off()
            panels[0].text(0.5, 0.5, "no curves recorded", ha="center", va="center")
        figure.suptitle(_plain(title), x=0.01, ha="left", weight="bold", fontsize=11)
        if handles:
            order = [*(label for label, *_ in SERIES.values()), "published", "published level"]
            labels = [label for label in order if label in handles]
            columns = min(len(labels), 3 * len(groups))
            figure.legend([handles[label] for label in labels], labels, loc="outside lower center", ncols=columns)
        return _bytes(figure, kind)


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
    inch = 1 / _STYLE["savefig.dpi"]
    with _figure((wide * inch, high * inch)) as (figure, _):

        def write(x: float, y: float, text: str, **look: Any) -> None:
            figure.text(x / wide, 1 - y / high, text, **look)

        for i, name in enumerate(rows):
            y = top + (i + 0.5) * tiles[0].shape[0] / len(rows)
            write(left - 10, y, name, ha="right", va="center")
        for block, tile in zip(blocks, tiles, strict=True):
            figure.figimage(tile, left, edge)  # pixel on pixel: resampling would blur what is shown
            write(left, 14, _plain(block.title), va="top", weight="bold", fontsize=11)
            write(left, 34, textwrap.fill(block.subtitle, tile.shape[1] // 8), va="top", color="#555555")
            for i, name in enumerate(block.columns):
                x = left + (i + 0.5) * tile.shape[1] / len(block.columns)
                write(x, top - 7, name, ha="center", fontsize=8, color="#555555")
            left += tile.shape[1] + edge
        return _bytes(figure, "png")


def _tiles(images: np.ndarray, zoom: int, gap: int = 4) -> np.ndarray:
    """Lay (rows, columns, 32, 32, 3) out as one picture, enlarged by repeating pixels, with white between."""
    large = images.repeat(zoom, axis=2).repeat(zoom, axis=3)
    framed = np.pad(large, [(0, 0), (0, 0), (0, gap), (0, gap), (0, 0)], constant_values=255)
    rows, columns, high, wide, _ = framed.shape
    return framed.transpose(0, 2, 1, 3, 4).reshape(rows * high, columns * wide, 3)


def _panel(
    axes: Any, group: str, curves: Mapping[str, Sequence[np.ndarray]], marks: list[Published], handles: Any
) -> None:
    """Draw one group's curves and published numbers."""
    low, high, longest = np.inf, -np.inf, 1
    for series, (label, colour, dash) in SERIES.items():
        runs = [np.asarray(run, float) for run in curves.get(f"{series}/{group}", ()) if len(run)]
        if not runs:
            continue
        table = _table(runs)
        epochs = np.arange(1, table.shape[1] + 1)
        longest = max(longest, table.shape[1])
        mean, least, most = _band(table)
        marker = "o" if table.shape[1] == 1 else None
        (line,) = axes.plot(epochs, mean, color=colour, linestyle=dash, linewidth=1.5, marker=marker, markersize=4)
        handles.setdefault(label, line)
        if len(runs) > 1:
            axes.fill_between(epochs, least, most, color=colour, alpha=0.2, linewidth=0)
        if np.isfinite(mean).any():
            low, high = min(low, np.nanmin(least)), max(high, np.nanmax(most))
    for mark in marks:
        series = mark.metric.rpartition("/")[0]
        colour = SERIES[series][1] if series in SERIES else _INK
        if len(marks) <= 4:  # more would cover the curves; the page's table has them all
            _label(axes, mark, rising=group == "acc_pct")
        if mark.epoch is None:
            handles.setdefault(
                "published level", axes.axhline(mark.value, color=colour, linewidth=1, linestyle=(0, (2, 2)))
            )
        else:
            (point,) = axes.plot(
                [mark.epoch], [mark.value], "D", color=colour, markeredgecolor="black", markersize=5.5, zorder=5,
                linestyle="none", clip_on=False,
            )  # fmt: skip
            handles.setdefault("published", point)
    # A loss that falls over orders of magnitude is unreadable on a linear axis.
    if group == "loss" and low > 0 and high > 30 * low and np.isfinite(high):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_title(GROUPS[group])
    axes.set_xlabel("epochs completed")
    axes.set_xlim(0, max([longest, *(mark.epoch or 0 for mark in marks)]) * 1.02 + 0.02)
    axes.xaxis.get_major_locator().set_params(integer=True)


def _label(axes: Any, mark: Published, rising: bool) -> None:
    """Write a published number beside its mark, on the side that its curve leaves free."""
    side = -1 if rising else 1
    place: dict[str, Any] = {"textcoords": "offset points", "fontsize": 8, "va": "top" if rising else "bottom"}
    place["bbox"] = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.5}
    if mark.epoch is None:
        across = axes.get_yaxis_transform()
        x, ha = (0, "left") if rising else (1, "right")
        offset = (-4 * x + 2, 2)
        axes.annotate(mark.label, (x, mark.value), offset, xycoords=across, ha=ha, **place | {"va": "bottom"})
    else:
        axes.annotate(mark.label, (mark.epoch, mark.value), (-1, 7 * side), ha="right", **place)


def _table(runs: list[np.ndarray]) -> np.ndarray:
    """Stack runs of unequal length (one may have diverged), padded with NaN; infinities count as missing."""
    table = np.full((len(runs), max(len(run) for run in runs)), np.nan)
    for row, run in zip(table, runs, strict=True):
        row[: len(run)] = np.where(np.isfinite(run), run, np.nan)
    return table


def _band(table: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean, lowest and highest over the runs of each epoch; NaN where no run has a value."""
    known = np.isfinite(table)
    some = known.any(axis=0)
    mean = np.where(some, np.where(known, table, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1), np.nan)
    least = np.where(some, np.where(known, table, np.inf).min(axis=0), np.nan)
    most = np.where(some, np.where(known, table, -np.inf).max(axis=0), np.nan)
    return mean, least, most


@contextmanager
def _figure(size: tuple[float, float]) -> Iterator[tuple[Any, Any]]:
    """Yield an empty figure under our settings and the colour maps; the user's settings come back afterwards."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)  # type: ignore[arg-type]
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure, matplotlib.colormaps


def _bytes(figure: Any, kind: str) -> bytes:
    out = BytesIO()
    metadata = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
    figure.savefig(out, format=kind, metadata=metadata)
    if kind == "png":
        return out.getvalue()
    # Text stays text (small files, searchable); Verdana has nearly the widths of DejaVu Sans where that is missing.
    # Hundredths of a point are enough, and hide the last bit in which machines may differ.
    svg = out.getvalue().decode().replace("'DejaVu Sans'", "'DejaVu Sans', Verdana, sans-serif")
    svg = re.sub(r"-?\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", svg)
    return re.sub(r"<!--.*?-->\n?|[ \t]+$", "", svg, flags=re.MULTILINE).encode()


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in str(text))[:120]
