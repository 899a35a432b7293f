"""How pictures look, and how they become bytes: the one place that imports matplotlib."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

INK, GREY, PALE = "#222222", "#8a8a8a", "#f3f3f3"
#: Okabe and Ito's colours
BLUE, SKY, GREEN, ORANGE, VERMILION, PURPLE = "#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7"
STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans", "font.size": 9.0, "axes.titlesize": 10.0, "axes.titleweight": "bold",
    "axes.titlelocation": "left", "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": GREY,
    "axes.labelcolor": INK, "text.color": INK, "xtick.color": INK, "ytick.color": INK, "axes.grid": True,
    "axes.axisbelow": True, "grid.color": "#e4e4e4", "grid.linewidth": 0.6, "legend.frameon": False,
    "text.parse_math": False, "svg.hashsalt": "repro", "svg.fonttype": "none", "figure.dpi": 110.0,
    "savefig.dpi": 110.0,
}  # fmt: skip


@contextmanager
def new_figure(size: tuple[float, float]) -> Iterator[tuple[Any, Any]]:
    """Yield an empty figure under our settings and the colour maps; the user's settings come back afterwards."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)  # type: ignore[arg-type]
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure, matplotlib.colormaps


def to_bytes(figure: Any, kind: str) -> bytes:
    """Return a figure as `svg` or `png`, the same bytes for the same picture."""
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


def plain(text: str) -> str:
    """Return text without what cannot be printed, short enough for a title."""
    return "".join(c if c.isprintable() else " " for c in str(text))[:120]
