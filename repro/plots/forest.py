"""Forest plot: published numbers and ours as differences on one axis, with intervals, margins and verdicts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from repro.plots import strips
from repro.plots.style import BLUE, GREY, INK, VERMILION, new_figure, to_bytes

#: what a verdict comes to -> colour and marker of our mean
TONES = {"for": (BLUE, "o"), "against": (VERMILION, "s"), "open": ("#555555", "D"), "none": (GREY, "o")}
_WORDS = {"for": "reproduced, supported or exceeded", "against": "fell short or not supported", "open": "left open"}
_MARGIN = "#cfe3f1"
#: of more runs than this the dots lie on each other: one is drawn for all within 1 / PLACES of the axis
RUNS, PLACES = 30, 200


@dataclass(frozen=True)
class ForestLine:
    """A claim: numbers in points from 0, texts as they are printed.

    `mean` is our value, `runs` every run's, `low` to `high` the 90 % interval, `margin` the distance that counts as the
    same. `mark` is the published value on the same axis (0 where the axis shows the difference from it), `half` the
    half-width of its rounding. A line without `mean` shows `empty` instead. `tone`: a key of `TONES`. `hollow`: the
    verdict would be another if runs spread as much as one run's epochs.
    """

    name: str
    word: str
    tone: str
    published: str = ""
    ours: str = ""
    mean: float | None = None
    runs: Sequence[float] = ()
    low: float | None = None
    high: float | None = None
    margin: float | None = None
    mark: float | None = None
    half: float = 0.0
    empty: str = ""
    hollow: bool = False


@dataclass(frozen=True)
class ForestPanel:
    """Claims that share an axis: what it shows, and the furthest from 0 that it reaches, in points."""

    label: str
    lines: Sequence[ForestLine]
    furthest: float = 6.0


def forest_figure(panels: Sequence[ForestPanel], title: str, kind: str = "svg") -> bytes:
    """Return a forest plot as SVG or PNG: a panel under another, each with an axis of its own in points."""
    with new_figure((strips.WIDE, strips.height([len(panel.lines) for panel in panels], 5))) as (figure, _):
        figure.set_layout_engine("none")
        strips.title(figure, title)
        top = strips.TITLE
        for panel in panels:
            _panel(figure, top, panel)
            top += strips.HEAD + len(panel.lines) * strips.LINE + strips.AXIS
        strips.legend(figure, _handles(), 2)
        return to_bytes(figure, kind)


def _panel(figure: Any, top: float, panel: ForestPanel) -> None:
    reach = [
        x for line in panel.lines for x in (line.mean, line.low, line.high, line.mark, *line.runs) if x is not None
    ]
    reach += [sign * line.margin for line in panel.lines if line.margin is not None for sign in (-1, 1)]
    limits = strips.limits(reach, 1.0, panel.furthest, even=all(line.mark in (None, 0) for line in panel.lines))
    heads = ((4.24, "published"), (strips.WIDE - strips.EDGE, "ours ± sd (runs)"))
    axes = strips.panel(figure, top, len(panel.lines), limits, panel.label, heads)
    for i, line in enumerate(panel.lines):
        strips.strip(axes, i, line.name, line.word, TONES[line.tone][0])
        for place, _ in heads:
            text = line.published if place == heads[0][0] else line.ours
            strips.write(axes, place, i + strips.MIDDLE, text, ha="right")
        if line.mean is None:
            strips.write(axes, strips.EDGE + 0.08, i + strips.MIDDLE, line.empty, color=GREY, style="italic")
        else:
            _line(axes, i, line, line.mean)


def _line(axes: Any, i: int, line: ForestLine, mean: float) -> None:
    top, foot = strips.STRIP
    y = i + strips.MIDDLE
    colour, marker = TONES[line.tone]
    if line.margin is not None:
        strips.bar(axes, i, -line.margin, line.margin, _MARGIN, strips.STRIP, zorder=1)
    axes.plot([0, 0], [i + top, i + foot], color=INK, linewidth=0.8, zorder=2)
    if line.mark is not None and line.mark == 0:
        strips.bar(axes, i, -line.half, line.half, INK, (top + 0.05, foot - 0.05), alpha=0.35, zorder=2)
    elif line.mark is not None and not strips.beyond(axes, y, line.mark, INK):
        axes.plot([line.mark - line.half, line.mark + line.half], [y, y], color=INK, linewidth=1, zorder=3)
        axes.plot([line.mark], [y], "D", color="white", markeredgecolor=INK, markersize=6, zorder=3)
    if line.low is not None and line.high is not None:
        axes.plot([line.low, line.high], [y, y], color=colour, linewidth=2, zorder=4, solid_capstyle="butt")
        strips.cut(axes, y, line.low, line.high, colour)
    low, high = axes.get_xlim()
    inside = _apart([value for value in line.runs if low <= value <= high], (high - low) / PLACES)
    axes.plot(
        inside, [y + 0.16] * len(inside), "o", color=colour, markersize=3, alpha=0.75, markeredgewidth=0, zorder=5,
    )  # fmt: skip
    if not strips.beyond(axes, y, mean, colour):
        axes.plot([mean], [y], marker, markersize=6.5, zorder=6, **_face(colour, line.hollow))


def _face(colour: str, hollow: bool) -> dict[str, Any]:
    """Return how a mean's marker looks: full with a white rim, or hollow."""
    face, edge, width = ("white", colour, 1.3) if hollow else (colour, "white", 0.6)
    return {"markerfacecolor": face, "markeredgecolor": edge, "markeredgewidth": width}


def _apart(values: Sequence[float], breadth: float) -> list[float]:
    """Return values, of many only the first in each step of `breadth`."""
    return list(values) if len(values) <= RUNS else list({round(x / breadth): x for x in reversed(values)}.values())


def _handles() -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    def point(marker: str, label: str, size: float = 6, **look: Any) -> Any:
        return Line2D([], [], linestyle="none", marker=marker, markersize=size, label=label, **look)

    return [
        *(point(TONES[tone][1], words, **_face(TONES[tone][0], False)) for tone, words in _WORDS.items()),
        point("o", "hollow: another verdict at its swing", **_face("#555555", True)),
        Line2D([], [], color="#555555", linewidth=2, label="90 % interval of the difference"),
        point("o", "one run", 3, color="#555555"),
        Patch(facecolor=_MARGIN, label="margin: counts as the same"),
        Patch(facecolor=INK, alpha=0.35, label="what rounds to the published number"),
        point("D", "published difference", color="white", markeredgecolor=INK),
        Line2D([], [], color=INK, linewidth=0.8, label="no difference"),
    ]
