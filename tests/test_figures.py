"""Figures of a whole report, and the folder of figures drawn before."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from golden_demo import demo, make

from repro import plots
from repro.judge.bracket import brackets
from repro.judge.rows import Row, Verdict
from repro.plots import cache as caching
from repro.report import figures
from repro.spec.loading import load_all

LONG = "a-name-as-long-as-a-claim-of-ours-can-be"


def row(kind="point", **more):
    given = {"state": "measured", "metric": "acc_pct", "decimals": 2, "n": 3}
    return Row("demo2020", **{"claim": "test-acc", "kind": kind, "headline": True, "where": "Table 1", **given, **more})


def judged(word="reproduced", d=-0.1, **more):
    given = {"low": d - 0.3, "high": d + 0.3, "margin": 1.0}
    return row(
        published=90.14, reference=90.14, ours=90.14 + d, sd=0.2, verdict=Verdict(word, d=d, **given), **more
    )  # fmt: skip


def text_of(svg):
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg.decode())


@pytest.fixture
def drawn(monkeypatch):
    """Return the figures made while the test draws, before they become bytes."""
    made = []
    for module in ("forest", "bracket", "cost", "trio"):
        path = f"repro.plots.{module}.to_bytes"
        monkeypatch.setattr(path, lambda figure, kind: made.append(figure) or b"<svg/>")
    return made


def texts(figure):
    """Return (words, box in pixels) of every text that is shown, those of legends and axes too."""
    from matplotlib.text import Text

    figure.canvas.draw()
    hidden = set()  # labels of ticks beyond the axis, which are never drawn
    for axes in figure.axes:
        low, high = sorted(axes.get_xlim())
        hidden |= {t for t in axes.get_xticklabels() if not low <= t.get_position()[0] <= high}
    shown = [t for t in figure.findobj(Text) if t.get_text().strip() and t.get_visible() and t not in hidden]
    return [(t.get_text(), t.get_window_extent()) for t in shown]


def check(figure, crossing=True):
    """No text leaves the figure, and none lies on another."""
    boxes, (width, high) = texts(figure), figure.canvas.get_width_height()
    for words, box in boxes:
        assert max(-box.x0, box.x1 - width, -box.y0, box.y1 - high) <= 0.5, words
    for i, (words, a) in enumerate(boxes if crossing else ()):
        for others, b in boxes[i + 1 :]:
            assert min(a.x1, b.x1) - max(a.x0, b.x0) < 1 or min(a.y1, b.y1) - max(a.y0, b.y0) < 1, (words, others)


def test_a_forest_shows_numbers_verdict_and_what_was_not_run():
    rows = [judged(), row(claim="other", state="not run", published=91.0, reference=91.5, decimals=0, rounding="floor")]
    words = text_of(figures.forest(demo(), rows)["forest.svg"])
    assert {"test-acc", "reproduced", "90.14", "90.04 ± 0.20 (3)", "other", "not run", "[91, 92)"} <= set(words)


def test_a_mean_whose_verdict_hangs_on_the_spread_is_hollow(drawn):
    rows = [judged("fell short", -2.0), judged("fell short", -2.0, claim="loose")]
    rows[1] = replace(rows[1], verdict=replace(rows[1].verdict, swing=1.5, at_swing="inconclusive"))
    figures.forest(demo(), rows)
    means = [line for line in drawn[0].axes[0].lines if line.get_marker() == "s"]
    assert [(line.get_markerfacecolor(), line.get_markeredgecolor()) for line in means] == [
        ("#D55E00", "white"), ("white", "#D55E00")
    ]  # fmt: skip
    labels = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert {"fell short or not supported", "hollow: another verdict at its swing"} <= set(labels)


def test_a_forest_of_headlines_and_of_all_that_has_a_number_in_percent():
    rows = [
        judged(),
        judged(claim="more", headline=False),
        row(claim="bare", headline=False, state="not run", published=1.0, reference=1.0),
        row(claim="params", kind="count", metric="parameters", ours=3.0),
        row(claim="loss", kind="order", metric="loss", ours=0.2, headline=False),
    ]
    assert set(figures.forest(demo(), rows)) == {"forest.svg", "forest-all.svg"}
    assert set(figures.forest(demo(), rows[:1])) == {"forest.svg"}
    words = text_of(figures.forest(demo(), rows)["forest-all.svg"])
    assert {"test-acc", "more"} <= set(words)
    assert not {"bare", "params", "loss"} & set(words)
    assert figures.forest(demo(), []) == {}
    many = [judged(claim=f"c{i}", headline=False) for i in range(50)]
    assert set(figures.forest(demo(), many)) == {"forest-all.svg", "forest-all-2.svg", "forest-all-3.svg"}


def test_a_difference_far_away_is_named_at_the_edge_and_does_not_stretch_the_axis():
    words = text_of(figures.forest(demo(), [judged("fell short", -33.3)])["forest.svg"])
    assert "−33.3" in words
    assert "−30" not in words


def test_an_order_has_an_axis_of_its_own_and_needs_no_verdict():
    order = row("order", claim="better", ours=1.2, published=None, reference=None)
    words = text_of(figures.forest(demo(), [judged(), order])["forest.svg"])
    assert {"difference of two experiments, points", "ours − published, points", "+1.20 (3)", "no verdict"} <= set(
        words
    )


def test_long_names_and_words_stay_inside_and_apart(drawn):
    order = {"kind": "order", "reference": 5.2, "published": 5.2, "claim": LONG}
    hard = Verdict("supported, smaller", d=1.2, low=1, high=1.4, margin=0.3, provisional=True)
    far = judged("fell short", -33.3, claim=LONG)
    rows = [judged("inconclusive", claim=LONG), far, row(**order, ours=1.2, sd=1.11, verdict=hard)]
    figures.forest(demo(), [replace(r, verdict=replace(r.verdict, provisional=True)) for r in rows])
    long = plots.BracketLine(LONG, "100.00 %, 10 runs", "10.00 to 100.00", {name: 0.1 for name in plots.MARKS}, (50.0,))
    plots.bracket_figure([long, long], "t" * 200)
    plots.cost_figure([plots.CostLine(LONG, "A device with a very long name " * 4, [1_000.0] * 5, 123_456.0)], "t")
    assert len(drawn) == 3
    for figure in drawn:
        check(figure)


def test_the_cost_is_the_sum_of_the_runs():
    records = [make(demo(), seed=seed) for seed in range(3)]
    words = text_of(figures.cost(demo(), figures.arms(demo(), records, "full"))["cost.svg"])
    assert {"base", "3.05 (3)", "12,346", "Synthetic GPU (test data)"} <= set(words)
    assert figures.cost(demo(), figures.arms(demo(), [], "full")) == {}


def matrices(seeds, sd=0.0):
    noise = np.random.default_rng(0).normal(0, 1, (seeds, 10, 10)) * sd
    return 10.0 + 900 * np.eye(10) + noise


def test_of_one_run_cells_beyond_noise_are_those_of_a_test_of_two_proportions():
    for count in (1, 4, 12, 60, 900):
        theirs = matrices(1)[0]
        theirs[0] = np.maximum(count + np.arange(-45, 55, 10), 0)
        ours = np.full((1, 10, 10), float(count))
        ours[0, :, 9] += 1_000 - ours[0].sum(axis=1)
        one, other = ours[0, 0, :9], theirs[0, :9]
        shares = (one + other) / 2_000
        far = np.abs(one - other) / np.sqrt(2_000 * shares * (1 - shares)) > 2
        assert far.any()
        assert np.array_equal(plots.beyond_noise(ours, theirs)[0, :9], far)


def test_seeds_that_differ_widen_the_noise_and_an_empty_cell_counts_as_one():
    ours = np.array([matrices(1)[0] - 20 * np.eye(10), matrices(1)[0] + 20 * np.eye(10)])
    theirs = ours.mean(axis=0) + 36 * np.eye(10)
    assert not plots.beyond_noise(ours, theirs).any()
    assert plots.beyond_noise(ours[:1], theirs).diagonal().all()
    empty = np.zeros((1, 10, 10)) + 1_000 * np.eye(10)
    assert not plots.beyond_noise(empty, empty[0] + np.eye(10)).any()


@pytest.mark.parametrize("n", [1, 3, 10])
def test_of_matrices_of_one_process_a_twentieth_of_the_cells_lies_beyond_noise(n):
    rng, chances = np.random.default_rng(n), 0.012 + 0.88 * np.eye(10)
    draws = rng.multinomial(1_000, chances, (60, n + 1, 10))[..., :10].astype(float)
    share = np.mean([plots.beyond_noise(found[:n], found[n]).mean() for found in draws])
    assert 0.02 < share < 0.07  # a normal one has 0.046; counts of twelve are a little coarser


def test_a_published_matrix_is_drawn_where_runs_hold_one(drawn):
    records = [make(demo(), seed=seed) for seed in range(2)]
    assert set(figures.confusions(demo(), records, "full")) == {"confusion-cells.svg"}
    assert figures.confusions(demo(), [], "full") == {}
    assert figures.confusions(demo(), [replace(records[0], confusion={})], "full") == {}
    check(drawn[0], crossing=False)  # boxes of slanted names cross, the names do not


def test_every_figure_is_the_same_bytes_again_with_and_without_the_cache(tmp_path):
    records = [make(demo(), seed=seed) for seed in range(2)]

    def everything(cache):
        arms = figures.arms(demo(), records, "full")
        for arm in arms:
            figures.draw(demo(), arm, cache)
        own = {name: data for arm in arms for name, data in arm.figures.items()}
        own |= figures.forest(demo(), [judged()], cache) | figures.cost(demo(), arms, cache)
        own |= figures.confusions(demo(), records, "full", cache)
        return own | figures.bracket_figure(demo(), brackets(demo(), records), cache)

    assert everything(None) == everything(tmp_path) == everything(tmp_path) == everything(None)
    assert len(list(tmp_path.iterdir())) == len(everything(None))


class Counted:
    """Stands for a function that draws, and counts its calls."""

    def __init__(self):
        self.calls, self.__qualname__ = 0, "draw"

    def __call__(self, *given, **named):
        self.calls += 1
        return repr((given, sorted(named))).encode()


def test_a_hit_does_not_draw(tmp_path):
    draw = Counted()
    first, second = (plots.cached(tmp_path / "new", draw, {"a": np.arange(3)}, kind="svg") for _ in range(2))
    assert first == second
    assert draw.calls == 1
    plots.cached(None, draw), plots.cached(None, draw)
    assert draw.calls == 3


def test_any_change_of_an_input_misses(monkeypatch):
    line = plots.CostLine("a", "b", (1.0,))
    given = [
        (), (None,), (1,), (1.0,), (True,), ("1",), (b"1",), ([1],), ([[1]],), ([1, 2],), ([12],), ("ab", "c"),
        ("a", "bc"), ({"a": 1, "b": 2},), ({"b": 2, "a": 1},), ({"a": 1},), (np.arange(4),), (np.arange(4.0),),
        (np.arange(4).reshape(2, 2),), (np.array([0, 1, 2, 4]),), (line,), (replace(line, hours=(1.5,)),),
        (float("nan"),), (0.0,), (-0.0,), (plots.Trace("a", range(3), [1.0]),), (plots.Trace("a", range(4), [1.0]),),
    ]  # fmt: skip
    draw = Counted()
    keys = [caching.key(draw, each, {}) for each in given]
    keys += [caching.key(draw, (), {"kind": "png"}), caching.key(plots.cost_figure, (), {})]
    monkeypatch.setattr(caching, "version", lambda _: "0")
    keys.append(caching.key(draw, (), {}))
    monkeypatch.setattr(caching, "_source", lambda: "changed")
    keys.append(caching.key(draw, (), {}))
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("strange", [object(), {1, 2}, np.array([object()])])
def test_what_cannot_be_told_apart_is_refused(tmp_path, strange):
    with pytest.raises(TypeError, match="tell apart"):
        plots.cached(tmp_path, Counted(), strange)


@pytest.mark.parametrize("harm", [lambda b: b"", lambda b: b[:40], lambda b: b[:-1] + b"?", lambda b: b"x" + b])
def test_a_damaged_entry_is_drawn_again_and_mended(tmp_path, harm):
    draw = Counted()
    good = plots.cached(tmp_path, draw, 1)
    (path,) = tmp_path.iterdir()
    path.write_bytes(harm(path.read_bytes()))
    assert [plots.cached(tmp_path, draw, 1) for _ in range(2)] == [good, good]
    assert draw.calls == 2


def test_an_entry_under_another_name_is_none(tmp_path):
    draw = Counted()
    plots.cached(tmp_path, draw, 1)
    (path,) = tmp_path.iterdir()
    path.rename(tmp_path / caching.key(draw, (2,), {}))
    assert plots.cached(tmp_path, draw, 2) == draw(2)


def test_the_entries_longest_unused_go_and_other_files_stay(tmp_path, monkeypatch):
    import os

    monkeypatch.setattr(caching, "MOST", 3)
    (tmp_path / "notes.txt").write_text("mine")
    draw = Counted()
    for i in range(3):
        plots.cached(tmp_path, draw, i)
        os.utime(tmp_path / caching.key(draw, (i,), {}), (i, i))
    plots.cached(tmp_path, draw, 0)  # used again: now the second is the oldest
    plots.cached(tmp_path, draw, 3)
    kept = {caching.key(draw, (i,), {}) for i in (0, 2, 3)}
    assert {path.name for path in tmp_path.iterdir()} == kept | {"notes.txt"}
    monkeypatch.setattr(caching, "MOST_BYTES", 0)
    plots.cached(tmp_path, draw, 4)
    assert {path.name for path in tmp_path.iterdir()} == {"notes.txt"}


def test_a_cache_that_cannot_be_written_changes_nothing(tmp_path):
    taken = tmp_path / "file"
    taken.write_text("no folder")
    draw = Counted()
    assert plots.cached(taken, draw, 1) == plots.cached(Path("/proc/none"), draw, 1) == draw(1)


def test_a_single_folds_number_is_not_drawn_on_the_mean_over_folds():
    report = load_all()["chiu2023"]
    (arm,) = [arm for arm in figures.arms(report, [], "full") if "folds-clean" in arm.names]
    asked = [claim for claim in report.claims if getattr(claim, "fold", None) and claim.experiment in arm.names]
    assert asked
    drawn = {(mark.metric, mark.value) for mark in figures.published_points(report, arm)}
    whole = {claim.value for claim in report.claims if getattr(claim, "experiment", None) in arm.names
             and getattr(claim, "value", None) is not None and getattr(claim, "fold", None) is None}  # fmt: skip
    assert {value for _, value in drawn} <= whole
