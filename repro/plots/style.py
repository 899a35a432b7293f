"""How pictures look, and how they become bytes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import Any

from repro.plots.slim import slim

INK, GREY, PALE = "#222222", "#8a8a8a", "#f3f3f3"
#: Okabe and Ito's colours
BLUE, SKY, GREEN, ORANGE, VERMILION, PURPLE = "#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7"
#: text stays text: small files, searchable
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
    if kind == "png":
        figure.savefig(out, format=kind, metadata={"Software": None})
        return out.getvalue()
    _print_svg(figure, out)
    return slim(out.getvalue().decode()).encode()


def _print_svg(figure: Any, out: BytesIO) -> None:
    """Write what `savefig` writes; that draws twice, once only to lay out, which takes two fifths of its time."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    canvas, dpi = FigureCanvasSVG(figure), figure.dpi
    with _ticks_placed_once(figure):
        if engine := figure.get_layout_engine():
            figure.dpi = canvas.fixed_dpi
            engine.execute(figure)
            figure.set_layout_engine("none")
            figure.dpi = dpi
        canvas.print_svg(out, metadata={"Date": None, "Creator": None})


@contextmanager
def _ticks_placed_once(figure: Any) -> Iterator[None]:
    """Let an axis place its ticks, and measure their labels, only where its limits or its place have changed.

    Laying out and drawing asks each axis for both a dozen times, for three answers: a fifth of a figure's time. The
    methods are matplotlib's own affair; should they go, nothing is kept and nothing else changes.
    """
    kept = [
        (axis, name)
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for name in ("_update_ticks", "_get_ticklabel_bboxes")
        if hasattr(axis, name)
    ]
    for axis, name in kept:
        setattr(axis, name, _remembered(axis, getattr(axis, name)))
    try:
        yield
    finally:
        for axis, name in kept:
            delattr(axis, name)  # the class has it again


def _remembered(axis: Any, method: Callable[..., Any]) -> Callable[..., Any]:
    known: dict[Any, Any] = {}

    def found(ticks: Sequence[Any] = (), renderer: Any = None) -> Any:
        place = (*axis.get_view_interval(), *axis.axes.bbox.bounds, *map(id, ticks))
        if place not in known:
            known.clear()  # ticks are moved, so that an earlier answer no longer holds
            known[place] = method(ticks, renderer) if ticks or renderer else method()
        return known[place]

    return found


def plain(text: str) -> str:
    """Return text without what cannot be printed, short enough for a title."""
    return "".join(c if c.isprintable() else " " for c in str(text))[:120]
