"""What runs took: hours and images a second of each experiment, by the device that ran them."""

from collections.abc import Sequence
from dataclasses import dataclass

from repro.plots import strips
from repro.plots.style import BLUE, GREEN, INK, ORANGE, PURPLE, SKY, VERMILION, new_figure, to_bytes

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
            start = 0.0
            for hours in line.hours:
                strips.bar(axes, i, start, start + hours, colour[line.device], (0.5, 0.88), zorder=2)
                start += hours
                axes.plot([start, start], [i + 0.5, i + 0.88], color="white", linewidth=1, zorder=3)
            speed = "" if line.images_per_s is None else f"{line.images_per_s:,.0f}"
            strips.write(axes, heads[0][0], i + strips.MIDDLE, f"{start:,.2f} ({len(line.hours)})", ha="right")
            strips.write(axes, heads[1][0], i + strips.MIDDLE, speed, ha="right", color=INK)
        handles = [Patch(facecolor=colour[device], label=strips.shortened(device, 70)) for device in devices]
        strips.legend(figure, handles, 1)
        return to_bytes(figure, kind)
