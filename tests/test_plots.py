"""Pictures by their meaning: what is drawn of published curves and of bands, and that windows keep a band's width."""

import re
import warnings
from itertools import pairwise

import numpy as np
import pytest

from repro import plots
from repro.plots import style
from repro.plots.bands import WINDOWS, windows


def text_of(svg):
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg.decode())


def band(steps=10, width=1.0):
    low = np.linspace(2, 1, steps)
    return low, low + width


def labels_of(svg):
    """Return the texts of a figure with their heights, in points from the top."""
    found = re.findall(r'<text [^>]*? y="([\d.]+)"[^>]*>([^<]*)</text>', svg.decode())
    return {text: float(y) for y, text in found}


def test_levels_are_named_beside_the_panel_none_over_another():
    ours = {"test/acc_pct": [np.linspace(30, 90, 20)]}
    values = (88.86, 89.37, 90.47, 90.5, 90.5, 60.0)
    names = [f"{value} (best)" for value in values[:4]] + ["90.5 (last)", "60.0 (best)"]
    levels = [plots.Published("test/acc_pct", *level) for level in zip(values, names, strict=True)]
    found = {text: y for text, y in labels_of(plots.curves_figure(ours, "t", levels)).items() if "(" in text}
    assert set(found) == set(names)
    heights = sorted(found.values())
    assert min(b - a for a, b in pairwise(heights)) >= 8  # points, of text of 8
    rising = [found[name] for name in ("60.0 (best)", *names[:4])]
    assert rising == sorted(rising, reverse=True)


@pytest.mark.parametrize("published", [
    {"published": [plots.Published("test/loss", 0.0, "0.0", 3)]},
    {"published": [plots.Published("test/loss", 0.0, "level")]},
    {"traces": [plots.Trace("test/loss", [1, 2], [0.5, 0.0])]},
])  # fmt: skip
def test_a_published_loss_of_zero_keeps_the_axis_linear(published):
    ours = {"test/loss": [np.geomspace(2, 0.001, 10)]}
    with warnings.catch_warnings(action="error"):
        drawn = text_of(plots.curves_figure(ours, "t", **published))
    assert "0.001" not in drawn
    assert "0.001" in text_of(plots.curves_figure(ours, "t"))  # else of powers of ten


def test_a_published_curve_is_drawn_and_named_once():
    ours = {"test/acc_pct": [np.array([60.0, 70.0, 75.0])]}
    trace = plots.Trace("test/acc_pct", (1, 2, 3), (61.0, 69.0, 77.0))
    plain, drawn = (plots.curves_figure(ours, "t", traces=t) for t in ((), [trace, trace]))
    assert "published curve" not in text_of(plain)
    assert text_of(drawn).count("published curve") == 1
    assert drawn.count(b"<use") - plain.count(b"<use") >= 2 * 3  # a mark a point


def test_a_published_curve_longer_than_ours_stays_inside():
    ours = {"test/acc_pct": [np.array([60.0])], "test/loss": [np.array([1.0])]}
    drawn = plots.curves_figure(ours, "t", traces=[plots.Trace("test/acc_pct", range(1, 51), [80.0] * 50)])
    assert "50" in text_of(drawn)


def test_a_published_curve_of_a_panel_that_is_not_there_is_left_out():
    ours = {"test/loss": [np.array([1.0, 0.5])]}
    trace = plots.Trace("test/acc_pct", (1, 2), (50.0, 60.0))
    assert plots.curves_figure(ours, "t", traces=[trace]) == plots.curves_figure(ours, "t")


def two_means(apart, lower=1.0):
    """Return training curves by both means, at one epoch `apart` of their value apart, which fall to `lower` of it."""
    loss = np.geomspace(2.0, 2.0 * lower, 10)
    other = loss.copy()
    other[4] *= 1 + apart
    return {"train/loss": [loss], "train_running/loss": [other], "test/loss": [np.linspace(2.0, 1.0, 10)]}


@pytest.mark.parametrize(
    ("curves", "drawn"),
    [
        (two_means(0.001), False),
        (two_means(0.05), True),
        (two_means(0.02, 1e-3), False),  # on a logarithmic axis over three orders of magnitude
        (two_means(0.2, 1e-3), True),
        (two_means(0) | {"train_running/loss": [np.full(10, 2.0)] * 2}, True),  # not of the same runs
    ],
)
def test_a_training_curve_that_another_hides_is_left_out(curves, drawn):
    assert ("train, running average" in text_of(plots.curves_figure(curves, "t"))) == drawn


@pytest.mark.parametrize(
    "published",
    [
        {"published": [plots.Published("train_running/loss", 1.5, "1.5", epoch=3)]},
        {"traces": [plots.Trace("train_running/loss", (1, 2), (1.9, 1.8))]},
    ],
)
def test_a_training_curve_with_something_published_is_drawn_hidden_or_not(published):
    assert "train, running average" in text_of(plots.curves_figure(two_means(0), "t", **published))


def test_curves_without_a_finite_number_are_drawn_empty():
    lost = {name: [np.array([np.nan])] for name in two_means(0)}
    assert "Loss" in text_of(plots.curves_figure(lost, "t"))


@pytest.mark.parametrize(("n", "size"), [(10, 1), (10, 3), (12, 4), (1, 5)])
def test_windows_are_means_and_the_last_may_be_shorter(n, size):
    values = np.arange(n, dtype=float) ** 2
    assert windows(values, size).tolist() == [values[i : i + size].mean() for i in range(0, n, size)]


def test_windows_of_equal_size_keep_the_mean_width():
    low, high = np.random.default_rng(0).random((2, 1_200))
    assert windows(high - low, 3).mean() == pytest.approx((high - low).mean())


def test_bands_name_both_groups_and_say_what_a_step_is():
    named = {"first": band(), "second": band(width=2.0)}
    words = text_of(plots.bands_figure(named, "a title $x$", "training step"))
    assert {"first", "second", "a title $x$", "training step"} <= set(words)
    long = {name: band(10 * WINDOWS) for name in named}
    assert "training step, means of 10" in text_of(plots.bands_figure(long, "t"))
    assert len(plots.bands_figure(long, "t")) < 200_000


def test_bands_are_deterministic_and_png_too():
    named = {"first": band(), "second": band(width=2.0)}
    assert plots.bands_figure(named, "t") == plots.bands_figure(dict(named), "t")
    assert plots.bands_figure(named, "t", kind="png").startswith(b"\x89PNG")


def test_a_figure_is_drawn_once_and_is_what_matplotlib_itself_saves(monkeypatch):
    def saved(figure, out):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})

    curves = {"test/acc_pct": [np.linspace(10, 90, 40)], "test/loss": [np.geomspace(2.3, 0.1, 40)]}
    matrix = np.eye(10) * 900 + 10
    draws = (
        lambda: plots.curves_figure(curves, "A run"),
        lambda: plots.bands_figure({"first": band(), "second": band(width=2.0)}, "Bands"),
        lambda: plots.confusion_figure(matrix, [str(i) for i in range(10)], "A matrix"),
    )
    ours = [draw() for draw in draws]
    monkeypatch.setattr(style, "_print_svg", saved)
    assert ours == [draw() for draw in draws]
