"""How far an epoch's accuracy swings: noise of a known size, courses without any, and what verdicts say of it."""

import math

import numpy as np
import pytest
from golden_demo import demo, make

from repro.judge import deciding, statistics
from repro.judge.claims import judge
from repro.judge.swing import WINDOW, about, swing
from repro.report.cells import provisional_note
from repro.report.letter import letter
from repro.report.values import behind, verdict
from repro.spec.comparisons import OrderClaim

NOISE = np.random.default_rng(0).normal(0, 1.0, 30)


def run(curve, seed=0, experiment="base", name="test/acc_pct", **more):
    curve = np.asarray(curve, np.float32)
    curves = {name: curve} | more.pop("curves", {})
    record = make(demo(), experiment, seed, curves=curves, epochs_done=len(curve), **more)
    record.recipe["budget"]["epochs"] = len(curve)  # so that it counts
    return record


# --- the number ---------------------------------------------------------------------------------------------


def test_independent_noise_has_its_own_variance():
    draws = np.random.default_rng(1).normal(80, 0.7, (4_000, WINDOW))
    assert np.mean([about(values, 4) for values in draws]) == pytest.approx(0.49, rel=0.04)


@pytest.mark.parametrize("course", [lambda k: 50 + 2 * k - 0.05 * k**2, lambda k: 10.0 + 0 * k], ids=["bends", "flat"])
def test_a_smooth_course_does_not_swing(course):
    assert about(course(np.arange(30.0)), 10) == pytest.approx(0, abs=1e-20)


def test_it_is_what_a_fit_leaves_over_its_degrees_of_freedom():
    k = np.arange(21, 30)
    left = NOISE[21:] - np.polyval(np.polyfit(k, NOISE[21:], 2), k)
    assert about(NOISE, 30) == pytest.approx(np.sum(left**2) / 6)


def test_a_saturating_rise_adds_less_than_a_point_even_at_its_start():
    rising = 90 - 45 * np.exp(-np.arange(50) / 4)  # 45 % after the first epoch, 55 % after the second
    assert math.sqrt(about(rising, 1)) < 0.75
    assert math.sqrt(about(rising, 20)) < 0.02


def test_the_window_is_the_nine_nearest_epochs():
    calm_then_wild = np.concatenate([np.full(20, 80.0), 80 + NOISE])
    assert about(calm_then_wild, 1) == about(calm_then_wild, 16) == pytest.approx(0, abs=1e-20)
    assert about(calm_then_wild, 17) > 1e-6
    assert about(calm_then_wild, 50) == about(calm_then_wild[-WINDOW:], 5) == about(calm_then_wild, 46)
    assert about(calm_then_wild, 45) != about(calm_then_wild, 46)


@pytest.mark.parametrize("curve", [[80.0] * (WINDOW - 1), [80.0] * WINDOW + [math.nan], []])
def test_no_swing_of_too_few_epochs_or_of_a_run_that_diverged(curve):
    assert about(np.array(curve), len(curve)) is None


# --- of runs ------------------------------------------------------------------------------------------------


def test_runs_and_folds():
    one, other = 80 + NOISE, 80 + 2 * NOISE
    single, double = (swing({0: [run(curve)]}, "last") for curve in (one, other))
    assert double == pytest.approx(2 * single, rel=1e-4)
    assert swing({0: [run(one)], 1: [run(other)]}, "last") == pytest.approx(math.sqrt(2.5) * single, rel=1e-4)
    folds = {0: [run(one, fold=1), run(one, fold=2)]}
    assert swing(folds, "last") == pytest.approx(single / math.sqrt(2))
    assert swing({0: [run(one)], 1: [run(one[:3])]}, "last") is None
    assert swing({}, "last") is None


def test_each_protocol_at_its_epoch():
    wild_then_calm = np.concatenate([80 + NOISE, np.full(20, 80.0)])
    held_out = np.full(50, 0.5)
    held_out[9] = 0.4  # the tenth epoch is chosen
    chosen = run(wild_then_calm, curves={"val/loss": held_out, "val/acc_pct": 80 + np.tile(NOISE, 2)[:50]})
    chosen.finals["best_val_loss"] = {"acc_pct": 80.0, "epoch": 10.0}
    of = lambda protocol, epoch=None: swing({0: [chosen]}, protocol, epoch)  # noqa: E731
    at_ten = math.sqrt(about(np.float32(wild_then_calm), 10))
    assert of("last") == of("at_epoch:50") == pytest.approx(0, abs=1e-9)
    assert of("best_val_loss") == of("at_epoch:10") == of("last_batch") == of("batch_mean") == pytest.approx(at_ten)
    assert of("best_val_loss", 9) == of("at_epoch:1")  # all alike until then: the first of them
    assert of("val") > 0
    assert of("val", 10) == pytest.approx(math.sqrt(about(80 + NOISE, 10)), rel=1e-4)
    assert {of(name) for name in ("best_test", "train_mode_bn", "train_running", "at_epoch:51")} == {None}
    del chosen.finals["best_val_loss"]
    assert of("last_batch") == of("last")  # nothing held out: the last epoch's weights


# --- in verdicts --------------------------------------------------------------------------------------------


def point(ours, **more):
    return deciding.point(ours, 90.14, 0.005, statistics.jordan_sd(90.14), **more)


@pytest.mark.parametrize(
    ("ours", "swing", "at_swing"),
    [(88.0, None, ""), (88.0, 0.1, ""), (88.0, 0.3, ""), (88.0, 1.0, "inconclusive"), (90.2, 0.8, "inconclusive"),
     (91.5, 0.3, ""), (80.0, 1.0, "")],
)  # fmt: skip
def test_the_word_that_a_wider_spread_would_give(ours, swing, at_swing):
    found, without = point([ours], swing=swing), point([ours])
    assert (found.swing, found.at_swing) == (swing, at_swing)
    assert (found.word, found.s_star, found.low, found.p, found.q) == (
        without.word, without.s_star, without.low, without.p, without.q,
    )  # fmt: skip
    if at_swing:
        alone = deciding.point([ours], 90.14, 0.005, swing)  # the same as if this had been the prior
        assert alone.word == at_swing


def test_orders_take_the_swings_of_both_sides():
    firm, loose = (deciding.order([91.0], [90.0], 0.22, swing=sd) for sd in (0.3, 1.0))
    assert (firm.word, firm.at_swing, loose.word, loose.at_swing) == ("supported", "", "supported", "inconclusive")


def test_rows_and_pages_say_it_of_few_runs_alone():
    report = demo()
    claim = next(c for c in report.claims if c.id == "test-acc")
    records = [run(90 + NOISE, seed=s, finals={"last": {"acc_pct": 80.0 + s}}) for s in range(3)]
    few, enough = judge(report, claim, records[:1]), judge(report, claim, records)
    expected = math.sqrt(about(np.float32(90 + NOISE), 30))
    assert few.verdict.swing == pytest.approx(expected)
    assert enough.verdict.swing is None
    near = judge(report, claim, [run(90 + NOISE, finals={"last": {"acc_pct": 88.5}})])
    assert near.verdict.word == "fell short"
    assert verdict(near).endswith("inconclusive at its swing")
    assert f"swing from epoch to epoch {expected:.2f}, inconclusive if runs spread as much" in behind(near)
    assert "provisional, inconclusive if runs spread as much" in " ".join(letter(report, [near]).split())
    assert "At its swing" in provisional_note([near])
    assert "(1 claim)" in provisional_note([near]).split("At its swing")[1]
    assert "swing" not in verdict(few) + provisional_note([few, enough])  # so far off that no swing explains it
    order = OrderClaim(id="o", kind="order", where="here", higher="base", lower="plain")
    both = judge(report, order, [run(90 + NOISE), run(80 + NOISE, experiment="plain")])
    assert both.verdict.swing == pytest.approx(math.sqrt(2) * expected, rel=1e-4)


def test_what_is_open_for_another_reason_has_no_word_at_its_swing():
    """A run without a value leaves a claim open; rows that differ in more than the factor make it not testable."""
    report = demo()
    claim = next(c for c in report.claims if c.id == "test-acc")
    near, lost = (
        run(90 + NOISE, seed=s, finals={"last": {"acc_pct": a}} if a else {}) for s, a in enumerate((88.5, None))
    )
    found = judge(report, claim, [near, lost]).verdict
    assert (found.word, found.at_swing) == ("inconclusive", "")
    order = OrderClaim(id="o", kind="order", where="here", higher="base", lower="plain", factor=("optim.lr",))
    pair = [run(90 + NOISE), run(89 + NOISE, experiment="plain", finals={"last": {"acc_pct": 88.5}})]
    both = judge(report, order, pair).verdict
    assert (both.word, both.at_swing) == ("not testable", "")
    free = judge(report, order.model_copy(update={"factor": ()}), pair).verdict
    assert (free.word, free.at_swing) == ("supported", "inconclusive")
