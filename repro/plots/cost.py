"""What runs took: hours and images a second of each experiment, by the device that ran them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from repro.plots import strips
from repro.plots.style import BLUE, GREEN, INK, ORANGE, PURPLE, SKY, VERMILION, new_figure, to_bytes

#: more pieces than this cannot be told apart: they are one bar
PIECES = 30
_COLOURS = (BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE)


@dataclass(frozen=True)
class CostLine:
    """An experiment's runs on one device: the hours of each run, and the images a second of their median one."""

    name: str
    device: str
    hours: Sequence[float]
    images_per_s: float | None = None


def cost_figure(lines: Sequence[CostLine], title: str, kind: str = "svg") -> bytes:
    """Return bars of hours, a piece a run, coloured by device, with hours, runs and images a second as text."""
    from matplotlib.patches import Patch

    devices = sorted({line.device for line in lines})
    colour = {device: _COLOURS[i % len(_COLOURS)] for i, device in enumerate(devices)}
    with new_figure((strips.WIDE, strips.height([len(lines)], len(devices)))) as (figure, _):
        figure.set_layout_engine("none")
        strips.title(figure, title)
        longest = max((sum(line.hours) for line in lines), default=0.0) or 1.0
        heads = ((4.45, "hours (runs)"), (strips.WIDE - strips.EDGE, "images/s"))
        axes = strips.panel(figure, strips.TITLE, len(lines), (0, longest * 1.03), "hours", heads)
        for i, line in enumerate(lines):
            strips.strip(axes, i, line.name)
            _bar(axes, i, line.hours, colour[line.device])
            speed = "" if line.images_per_s is None else f"{line.images_per_s:,.0f}"
            hours = f"{sum(line.hours):,.2f} ({len(line.hours)})"
            strips.write(axes, heads[0][0], i + strips.MIDDLE, hours, ha="right")
            strips.write(axes, heads[1][0], i + strips.MIDDLE, speed, ha="right", color=INK)
        handles = [Patch(facecolor=colour[device], label=strips.shortened(device, 70)) for device in devices]
        strips.legend(figure, handles, 1)
        return to_bytes(figure, kind)


def _bar(axes: Any, i: int, hours: Sequence[float], colour: str) -> None:
    """Draw a line's bar, of few runs a piece a run with white between."""
    start, pieces = 0.0, hours if len(hours) <= PIECES else (sum(hours),)
    for piece in pieces:
        strips.bar(axes, i, start, start + piece, colour, (0.5, 0.88), zorder=2)
        start += piece
        axes.plot([start, start], [i + 0.5, i + 0.88], color="white", linewidth=1, zorder=3)
