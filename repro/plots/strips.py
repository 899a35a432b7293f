"""Figures of many lines, one under another, readable on a phone: a name above, a strip below, text at its right.

Lengths are in inches. A figure is 5.6 inches wide, at 9 points: text keeps its size where the page has 390 pixels.
"""

from collections.abc import Sequence
from typing import Any

from repro.plots.style import GREY, INK, PALE, plain

WIDE, EDGE = 5.6, 0.12
#: where the strips end and the text at their right begins
STRIP_END = 3.5
LINE, TITLE, HEAD, AXIS, LEGEND_LINE = 0.47, 0.36, 0.24, 0.46, 0.19
#: within a line: the middle of its name, and the strip from its top to its foot, in parts of a line
NAME, STRIP = 0.24, (0.44, 0.94)
MIDDLE = sum(STRIP) / 2
#: characters of a line's name that fit beside its word
NAMED = 38


def height(lines: Sequence[int], legend: int) -> float:
    """Return a figure's height: a title, panels of so many lines each, and a legend of so many lines."""
    return TITLE + sum(HEAD + n * LINE + AXIS for n in lines) + legend * LEGEND_LINE + 0.1


def title(figure: Any, text: str) -> None:
    """Write the figure's title, cut where it would leave the figure."""
    figure.text(
        EDGE / WIDE, 1 - 0.08 / figure.get_figheight(), shortened(text, 62), va="top", weight="bold", fontsize=10
    )


def panel(figure: Any, top: float, lines: int, limits: tuple[float, float], label: str, heads: Sequence[Any]) -> Any:
    """Return axes of so many lines, `top` inches below the figure's top; line i reaches from y = i to i + 1.

    `heads` are (place, words) above text at the right. `limits` are those of the x axis, `label` what it shows.
    """
    high, tall = figure.get_figheight(), lines * LINE
    axes = figure.add_axes((EDGE / WIDE, 1 - (top + HEAD + tall) / high, (STRIP_END - EDGE) / WIDE, tall / high))
    axes.set(xlim=limits, ylim=(lines, 0))
    axes.set_xlabel(label, fontsize=8.5, loc="left")
    axes.tick_params(axis="x", labelsize=8.5)
    axes.set_yticks([])
    axes.grid(False)
    axes.spines[["left"]].set_visible(False)
    axes.xaxis.get_major_locator().set_params(nbins=6)
    for place, words in heads:
        write(axes, place, -0.22, words, color=GREY, fontsize=8.5, ha="right")
    return axes


def strip(axes: Any, line: int, name: str, word: str = "", colour: str = INK) -> None:
    """Draw a line's empty strip with its name above and a word at the right edge."""
    low, high = axes.get_xlim()
    bar(axes, line, low, high, PALE, STRIP, zorder=0)
    write(axes, EDGE, line + NAME, shortened(name, NAMED), weight="bold")
    if word:
        write(axes, WIDE - EDGE, line + NAME, word, ha="right", weight="bold", color=colour)


def bar(axes: Any, line: int, low: float, high: float, colour: str, part: tuple[float, float], **look: Any) -> None:
    """Draw a bar from low to high over a part of a line's height."""
    from matplotlib.patches import Rectangle

    top, foot = part
    axes.add_patch(Rectangle((low, line + top), high - low, foot - top, facecolor=colour, linewidth=0, **look))


def write(axes: Any, x: float, y: float, text: str, **look: Any) -> None:
    """Write text at x inches from the figure's left and y lines from the panel's top."""
    place = (x - EDGE) / (STRIP_END - EDGE)
    axes.text(place, y, plain(text), transform=axes.get_yaxis_transform(), va="center", clip_on=False, **look)


def beyond(axes: Any, line: float, x: float, colour: str) -> bool:
    """Draw an arrow with the number where x lies outside of the panel; return whether it does."""
    low, high = axes.get_xlim()
    if low <= x <= high:
        return False
    edge, sign = (low, 1) if x < low else (high, -1)
    marker = "<" if sign > 0 else ">"
    axes.plot([edge], [line], marker, color=colour, markersize=6, clip_on=False, zorder=5)
    axes.annotate(
        f"{x:+.1f}".replace("-", "−"), (edge, line), (7 * sign, 0), textcoords="offset points", color=colour,
        fontsize=8, va="center", ha="left" if sign > 0 else "right", zorder=6,
        bbox={"facecolor": PALE, "edgecolor": "none", "pad": 0.5},
    )  # fmt: skip
    return True


def cut(axes: Any, line: float, low: float, high: float, colour: str) -> None:
    """Draw an arrowhead where an interval goes on outside of the panel."""
    least, most = axes.get_xlim()
    for edge, marker, on in ((least, "<", low < least), (most, ">", high > most)):
        if on:
            axes.plot([edge], [line], marker, color=colour, markersize=4, clip_on=False, zorder=4)


def limits(values: Sequence[float], least: float, most: float, even: bool = False) -> tuple[float, float]:
    """Return an axis' ends around 0 and the values: at least +-least, at most +-most, `even` as far to both sides."""
    low = max(min([*values, -least]), -most)
    high = min(max([*values, least]), most)
    if even:
        low, high = min(low, -high), max(high, -low)
    room = 0.05 * (high - low)
    return low - room, high + room


def legend(figure: Any, handles: Sequence[Any], columns: int) -> None:
    """Place a legend at the figure's foot."""
    figure.legend(
        handles=handles, loc="lower left", ncols=columns, fontsize=8, bbox_to_anchor=(0.0, 0.0), borderaxespad=0.2,
        handlelength=1.6, columnspacing=1.2, labelspacing=0.3,
    )  # fmt: skip


def shortened(text: str, most: int) -> str:
    """Return text of at most so many characters."""
    text = plain(text)
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"
