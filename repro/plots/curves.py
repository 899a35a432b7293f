"""Curves over the epochs, with what was published drawn over them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from repro.plots.style import INK, new_figure, plain, to_bytes

#: what is drawn, in drawing order: part of the metric's name before the slash -> label, colour, dash
SERIES: dict[str, tuple[str, str, Any]] = {
    "train": ("train", "#0072B2", "-"),
    "train_running": ("train, running average", "#56B4E9", (0, (4, 1.5))),
    "val_augmented": ("validation, augmented", "#E69F00", (0, (1.2, 1.2))),
    "val": ("validation", "#009E73", (0, (5, 1.5, 1.2, 1.5))),
    "test": ("test", "#D55E00", "-"),
}
GROUPS = {"loss": "Loss", "acc_pct": "Accuracy, %"}
#: inches beside a panel for the names of its levels, and the height of one in parts of a panel's
LABEL, LINE = 1.3, 0.055


@dataclass(frozen=True)
class Published:
    """A published number to draw on a metric's panel: at an epoch, or as a level where the epoch is unknown."""

    metric: str
    value: float
    label: str
    epoch: int | None = None


@dataclass(frozen=True)
class Trace:
    """A published curve to draw on a metric's panel, point by point: `values[i]` after `epochs[i]` epochs."""

    metric: str
    epochs: Sequence[int]
    values: Sequence[float]


def curves_png(curves: Mapping[str, Sequence[np.ndarray]], title: str) -> bytes:
    """Return a PNG of curves: metric -> one array a seed, a value an epoch."""
    return curves_figure(curves, title, kind="png")


def curves_figure(
    curves: Mapping[str, Sequence[np.ndarray]],
    title: str,
    published: Sequence[Published] = (),
    kind: str = "svg",
    traces: Sequence[Trace] = (),
) -> bytes:
    """Return curves as SVG or PNG: one panel for loss, one for accuracy, train, validation and test overlaid.

    Several seeds are drawn as their mean with a band from the lowest to the highest; published numbers are
    diamonds at their epoch, or a dashed level where the epoch is unknown. Published curves are small circles.

    The mean over batches of the training images (`train_running`) differs from that over images (`train`) by the last,
    smaller batch only. Where the line of the one would hide that of the other, and nothing published is of it, it is
    left out.
    """
    groups = [group for group in GROUPS if any(f"{series}/{group}" in curves for series in SERIES)]
    levels = {group: [m for m in published if _group(m) == group and m.epoch is None] for group in groups}
    wide = 4.7 * max(len(groups), 1) + LABEL * sum(map(bool, levels.values()))
    with new_figure((wide, 3.6)) as (figure, _):
        panels = figure.subplots(1, max(len(groups), 1), squeeze=False)[0]
        handles: dict[str, Any] = {}
        for axes, group in zip(panels, groups, strict=False):
            marks = [mark for mark in published if _group(mark) == group]
            drawn = [trace for trace in traces if _group(trace) == group]
            named = {_series(mark) for mark in marks} | {_series(trace) for trace in drawn}
            values = [*(mark.value for mark in marks), *(value for trace in drawn for value in trace.values)]
            _panel(axes, group, curves, marks, named, handles, min(values, default=1.0) > 0)
            _traces(axes, drawn, handles)
            _levels(axes, levels[group])
        if not groups:
            panels[0].set_axis_off()
            panels[0].text(0.5, 0.5, "no curves recorded", ha="center", va="center")
        figure.suptitle(plain(title), x=0.01, ha="left", weight="bold", fontsize=11)
        if handles:
            order = [*(label for label, *_ in SERIES.values()), "published curve", "published", "published level"]
            labels = [label for label in order if label in handles]
            columns = min(len(labels), 3 * len(groups))
            figure.legend([handles[label] for label in labels], labels, loc="outside lower center", ncols=columns)
        return to_bytes(figure, kind)


def _panel(
    axes: Any,
    group: str,
    curves: Mapping[str, Sequence[np.ndarray]],
    marks: list[Published],
    named: set[str],
    handles: Any,
    positive: bool,
) -> None:
    """Draw one group's curves and published numbers; `named` are the series that something published belongs to.

    `positive`: all that was published is above 0.
    """
    tables = {
        series: _table([np.asarray(run, float) for run in runs])
        for series in SERIES
        if (runs := [run for run in curves.get(f"{series}/{group}", ()) if len(run)])
    }
    known = np.concatenate([np.empty(0), *(table[np.isfinite(table)] for table in tables.values())])
    # A loss that falls over orders of magnitude is unreadable on a linear axis.
    steep = group == "loss" and positive and len(known) > 0 and known.min() > 0 and known.max() > 30 * known.min()
    if {"train", "train_running"} <= tables.keys() and "train_running" not in named:
        scale = np.log if steep else np.asarray
        width = 0.01 * np.ptp(scale(known)) if len(known) else 0.0
        over, under = scale(tables["train"]), scale(tables["train_running"])
        if over.shape == under.shape and np.allclose(over, under, rtol=0, atol=width, equal_nan=True):
            del tables["train_running"]
    longest = max((table.shape[1] for table in tables.values()), default=1)
    for series, table in tables.items():
        label, colour, dash = SERIES[series]
        epochs = np.arange(1, table.shape[1] + 1)
        mean, least, most = _band(table)
        marker = "o" if table.shape[1] == 1 else None
        (line,) = axes.plot(epochs, mean, color=colour, linestyle=dash, linewidth=1.5, marker=marker, markersize=4)
        handles.setdefault(label, line)
        if len(table) > 1:
            axes.fill_between(epochs, least, most, color=colour, alpha=0.2, linewidth=0)
    for mark in marks:
        series = _series(mark)
        colour = SERIES[series][1] if series in SERIES else INK
        if mark.epoch is not None and len(marks) <= 4:  # more would cover the curves; the page's table has them all
            _label(axes, mark, mark.epoch, rising=group == "acc_pct")
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
    if steep:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_title(GROUPS[group])
    axes.set_xlabel("epochs completed")
    axes.set_xlim(0, max([longest, *(mark.epoch or 0 for mark in marks)]) * 1.02 + 0.02)
    axes.xaxis.get_major_locator().set_params(integer=True)


def _series(drawn: Published | Trace) -> str:
    return drawn.metric.rpartition("/")[0]


def _group(drawn: Published | Trace) -> str:
    return drawn.metric.rpartition("/")[2]


def _traces(axes: Any, traces: Sequence[Trace], handles: Any) -> None:
    """Draw published curves as circles in the colour of ours, smaller where there are many."""
    for trace in traces:
        series = _series(trace)
        size = 4 if len(trace.epochs) <= 30 else 2.2
        (points,) = axes.plot(
            trace.epochs, trace.values, "o", color=SERIES[series][1] if series in SERIES else INK, markersize=size,
            markerfacecolor="white", markeredgewidth=0.8, linestyle="none", zorder=4, clip_on=False,
        )  # fmt: skip
        handles.setdefault("published curve", points)
        axes.set_xlim(0, max(axes.get_xlim()[1], max(trace.epochs) * 1.02))


def _levels(axes: Any, marks: Sequence[Published]) -> None:
    """Write what levels are at the panel's right, those of one value together, and none over another."""
    named: dict[float, list[str]] = {}
    for mark in sorted(marks, key=lambda mark: mark.value):
        if mark.label not in named.setdefault(mark.value, []):
            named[mark.value].append(mark.label)
    lines = [(value, label) for value, labels in named.items() for label in labels]
    box, end = axes.transData.transform, axes.transAxes.inverted().transform
    axes.autoscale_view()
    heights = [float(end(box((0, value)))[1]) for value, _ in lines]
    for (_, label), y in zip(lines, _spread(heights, LINE), strict=True):
        look: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "center"}
        axes.annotate(label, (1, y), (4, 0), fontsize=8, **look)


def _spread(heights: Sequence[float], apart: float) -> list[float]:
    """Return rising heights moved up as little as keeps them so far apart, and down where they would leave the top."""
    found: list[float] = []
    for height in heights:
        found.append(max(height, found[-1] + apart) if found else height)
    for i in range(len(found) - 1, -1, -1):
        found[i] = min(found[i], 1 - apart * (len(found) - 1 - i))
    return found


def _label(axes: Any, mark: Published, epoch: int, rising: bool) -> None:
    """Write a published number beside its mark, on the side that its curve leaves free."""
    side = -1 if rising else 1
    place: dict[str, Any] = {"textcoords": "offset points", "fontsize": 8, "va": "top" if rising else "bottom"}
    place["bbox"] = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.5}
    axes.annotate(mark.label, (epoch, mark.value), (-1, 7 * side), ha="right", **place)


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
