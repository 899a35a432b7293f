"""Bands of step losses over learning rates: how smooth a loss landscape is, as one report puts it."""

from collections.abc import Mapping

import numpy as np

from repro.plots.style import new_figure, plain, to_bytes

#: more windows than this cannot be told apart in the picture
WINDOWS = 400
_LOOKS = (("#0072B2", 0.55), ("#D55E00", 0.35))


def bands_figure(
    bands: Mapping[str, tuple[np.ndarray, np.ndarray]], title: str, unit: str = "training step", kind: str = "svg"
) -> bytes:
    """Return bands as SVG or PNG: name -> (lowest, highest) of a group at each step, one panel for all.

    Steps are averaged in windows, which leaves a band's mean width as it is. `unit`: what one step is.
    """
    with new_figure((6.6, 4.0)) as (figure, _):
        axes, size = figure.add_subplot(), 1
        # The widest at the back, so that none is hidden.
        order = sorted(bands, key=lambda name: -float(np.mean(bands[name][1] - bands[name][0])))
        for zorder, name in enumerate(order):
            colour, alpha = _LOOKS[list(bands).index(name) % 2]
            low, high = bands[name]
            size = -(-len(low) // WINDOWS)
            steps = np.arange(len(low))[::size] + 1
            axes.fill_between(
                steps, windows(low, size), windows(high, size), color=colour, alpha=alpha, linewidth=0.8, label=name,
                zorder=2 + zorder,
            )  # fmt: skip
        axes.set(xlabel=f"{unit}{f', means of {size}' if size > 1 else ''}", ylabel="training loss")
        axes.set_ylim(bottom=0)
        axes.margins(x=0.01)
        axes.set_title(plain(title), pad=8)
        axes.legend(loc="upper right")
        return to_bytes(figure, kind)


def windows(values: np.ndarray, size: int) -> np.ndarray:
    """Return the means of windows of `size` values; the last may be shorter."""
    starts = np.arange(0, len(values), size)
    return np.add.reduceat(values, starts) / np.diff([*starts, len(values)])
