"""The bracket of an experiment: every way of counting test images, in points from the reference."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from repro.plots import strips
from repro.plots.style import BLUE, GREEN, INK, ORANGE, PURPLE, SKY, VERMILION, new_figure, to_bytes

#: protocol -> marker and colour; lanes keep marks at one value apart
MARKS = {
    "last": ("o", BLUE), "best_val_loss": ("s", GREEN), "best_test": ("^", VERMILION),
    "best_test_every10": ("v", ORANGE), "best_test_loss": ("<", PURPLE), "batch_mean": ("P", SKY),
    "last_batch": ("X", INK), "train_mode_bn": ("p", BLUE), "augmented_test": ("*", VERMILION),
}  # fmt: skip
_LANES = (-0.13, 0.0, 0.13)


@dataclass(frozen=True)
class BracketLine:
    """An experiment: what each protocol adds to the reference, and what published numbers lie from it, in points."""

    name: str
    word: str
    bracket: str
    added: Mapping[str, float]
    published: Sequence[float] = ()


def bracket_figure(lines: Sequence[BracketLine], title: str, furthest: float = 6.0, kind: str = "svg") -> bytes:
    """Return a bar from the lowest to the highest protocol a line, with their marks and the published numbers."""
    named = [name for name in MARKS if any(name in line.added for line in lines)]
    rows = -(-(len(named) + 2) // 3)
    with new_figure((strips.WIDE, strips.height([len(lines)], rows))) as (figure, _):
        figure.set_layout_engine("none")
        strips.title(figure, title)
        values = [x for line in lines for x in (*line.added.values(), *line.published)]
        label = "points from the reference, chosen without test images"
        heads = ((strips.WIDE - strips.EDGE, "lowest to highest, %"),)
        axes = strips.panel(
            figure, strips.TITLE, len(lines), strips.limits(values, 0.5, furthest), label, heads
        )  # fmt: skip
        for i, line in enumerate(lines):
            strips.strip(axes, i, line.name, line.word)
            strips.write(axes, heads[0][0], i + strips.MIDDLE, line.bracket, ha="right")
            _line(axes, i, line)
        strips.legend(figure, _handles(named), 3)
        return to_bytes(figure, kind)


def _line(axes: Any, i: int, line: BracketLine) -> None:
    (top, foot), y = strips.STRIP, i + strips.MIDDLE
    low, high = axes.get_xlim()
    least, most = (max(min(x, high), low) for x in (min(line.added.values()), max(line.added.values())))
    strips.bar(axes, i, least, most, "#cccccc", (strips.MIDDLE - 0.1, strips.MIDDLE + 0.1), zorder=1)
    axes.plot([0, 0], [i + top, i + foot], color=INK, linewidth=1.4, zorder=2)
    for lane, (name, x) in enumerate(line.added.items()):
        marker, colour = MARKS[name]
        if low <= x <= high:
            axes.plot([x], [y + _LANES[lane % 3]], marker, color=colour, markersize=5, markeredgewidth=0, zorder=4)
    for x in (min(line.added.values()), max(line.added.values())):
        strips.beyond(axes, y, x, INK)
    for x in line.published:
        if not strips.beyond(axes, y, x, VERMILION):
            axes.plot([x], [y], "D", color="none", markeredgecolor=INK, markeredgewidth=1.2, markersize=8, zorder=5)


def _handles(named: Sequence[str]) -> list[Any]:
    from matplotlib.lines import Line2D

    def point(marker: str, label: str, **look: Any) -> Any:
        return Line2D([], [], linestyle="none", marker=marker, label=label, **{"markersize": 6, **look})

    return [
        *(point(MARKS[name][0], name, color=MARKS[name][1], markeredgewidth=0) for name in named),
        point("D", "published", color="none", markeredgecolor=INK, markersize=7),
        point("|", "reference", color=INK, markeredgewidth=1.4, markersize=10),
    ]
