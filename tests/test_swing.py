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
from repro.spec.recipe import Folds

NOISE = np.random.default_rng(0).normal(0, 1.0, 30)
RECIPE = demo().experiments["base"].recipe


def carrying(folds):
    data, budget = RECIPE.data.model_copy(update={"folds": folds}), RECIPE.budget.model_copy(update={"epochs": 30})
    return RECIPE.model_copy(update={"data": data, "budget": budget})


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


@pytest.mark.parametrize("epoch", [1, 5, 30])
def test_a_parabola_in_the_logarithm_does_not_swing(epoch):
    logarithm = np.log(np.arange(1, 31))
    assert about(50 + 12 * logarithm - 1.5 * logarithm**2, epoch) == pytest.approx(0, abs=1e-20)


def test_it_is_what_a_fit_leaves_over_its_degrees_of_freedom():
    logarithm = np.log(np.arange(22, 31))
    left = NOISE[21:] - np.polyval(np.polyfit(logarithm, NOISE[21:], 2), logarithm)
    assert about(NOISE, 30) == pytest.approx(np.sum(left**2) / 6)


@pytest.mark.parametrize("first", [30, 45])
@pytest.mark.parametrize("pace", [1.5, 2.5, 4.0])
def test_a_saturating_rise_adds_about_a_point_at_most_even_at_its_start(first, pace):
    """Courses as steep as those of the committed runs: from the first epoch's accuracy to 76 %."""
    rising = 76 - (76 - first) * np.exp(-np.arange(50) / pace)
    assert math.sqrt(about(rising, 1)) < 1.1
    assert math.sqrt(about(rising, 20)) < 0.05


def test_the_window_is_the_nine_nearest_epochs():
    calm_then_wild = np.concatenate([np.full(20, 80.0), 80 + NOISE])
    assert about(calm_then_wild, 1) == pytest.approx(0, abs=1e-20)
    assert about(calm_then_wild, 16) == pytest.approx(0, abs=1e-20)
    assert about(calm_then_wild, 17) > 1e-6
    assert about(calm_then_wild, 50) == about(calm_then_wild, 46) != about(calm_then_wild, 45)


def test_the_window_stays_within_its_bounds():
    step = np.concatenate([np.full(10, 80.0), np.full(10, 90.0)])
    assert about(step, 10) > 1
    for epoch, bounds in ((1, (1, 10)), (10, (1, 10)), (11, (11, 20)), (20, (11, None))):
        assert about(step, epoch, *bounds) == pytest.approx(0, abs=1e-20)
    assert about(step, 11, 1, 10) is about(step, 10, 11, 20) is about(step, 10, 5, 12) is about(step, 21) is None


@pytest.mark.parametrize("curve", [[80.0] * (WINDOW - 1), [80.0] * WINDOW + [math.nan], []])
def test_no_swing_of_too_few_epochs_or_of_a_run_that_diverged(curve):
    assert about(np.array(curve), len(curve)) is None


# --- of runs ------------------------------------------------------------------------------------------------


def test_runs_and_folds():
    one, other = 80 + NOISE, 80 + 2 * NOISE
    single, double = (swing({0: [run(curve)]}, RECIPE, "last") for curve in (one, other))
    assert double == pytest.approx(2 * single, rel=1e-4)
    assert swing({0: [run(one)], 1: [run(other)]}, RECIPE, "last") == pytest.approx(math.sqrt(2.5) * single, rel=1e-4)
    folds = {0: [run(one, fold=1), run(one, fold=2)]}
    assert swing(folds, RECIPE, "last") == pytest.approx(single / math.sqrt(2))
    assert swing({0: [run(one)], 1: [run(one[:3])]}, RECIPE, "last") is None
    assert swing({}, RECIPE, "last") is None


def test_each_protocol_at_its_epoch():
    own = ("val", "val_augmented", "train_running")
    curves = {f"{name}/acc_pct": 80 + np.roll(NOISE, k) for k, name in enumerate(own)}
    plain = run(80 + 2 * NOISE, curves=curves)
    del plain.finals["best_val_loss"]  # nothing held out

    def of(protocol, epoch=None):
        return swing({0: [plain]}, RECIPE, protocol, epoch)

    def at(curve, epoch):
        return pytest.approx(math.sqrt(about(curve, epoch)), rel=1e-4)

    assert of("last") == of("at_epoch:30") == of("last_batch") == of("batch_mean") == at(80 + 2 * NOISE, 30)
    assert of("at_epoch:10") == at(80 + 2 * NOISE, 10) != of("last")
    for name in own:
        assert of(name) == of(name, 30) == at(curves[f"{name}/acc_pct"], 30)
        assert of(name, 10) == at(curves[f"{name}/acc_pct"], 10) != of(name)
    chosen = ("best_test", "best_test_loss", "best_test_every10", "best_val_loss", "train_mode_bn")
    assert {of(name) for name in (*chosen, "at_epoch:31")} == {None}
    plain.finals["best_val_loss"] = {"acc_pct": 80.0, "epoch": 10.0}
    assert {of("last_batch"), of("batch_mean")} == {None}  # of the weights that the held-out images chose


def test_a_network_carried_through_folds_is_looked_at_within_one():
    steps = np.repeat([80.0, 90.0, 93.0], 10)  # what it validates on it has been trained on, from the second fold on
    carried = run(steps, name="val_augmented/acc_pct")

    def of(epoch, k=None):
        folds = Folds(k=k, network="carried") if k else None
        return swing({0: [carried]}, carrying(folds), "val_augmented", epoch)

    assert of(10) > 1
    assert [of(epoch, 3) for epoch in (1, 10, 11, 20, 30)] == pytest.approx([0] * 5, abs=1e-6)
    assert of(10, 5) is None  # folds of six epochs


# --- in verdicts --------------------------------------------------------------------------------------------


def point(ours, **more):
    return deciding.point(ours, 90.14, 0.005, statistics.jordan_sd(90.14), **more)


@pytest.mark.parametrize(
    ("ours", "swing", "at_swing"),
    [(88.0, None, ""), (88.0, 0.1, ""), (88.0, 0.3, ""), (88.0, 1.0, "inconclusive"), (90.2, 0.8, "inconclusive"),
     (91.5, 0.3, ""), (80.0, 1.0, ""), (90.54, 0.1, "")],
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


def test_two_runs_keep_their_degrees_of_freedom():
    found = point([88.9, 88.7], swing=0.8)
    wide = statistics.Spread(0.8, found.nu, found.s)
    alone = statistics.interval(found.d, statistics.point_error(wide, 2, 1, 0.005), 5)
    assert (found.nu, found.word, found.at_swing) == (5, "fell short", "inconclusive")
    assert alone.high95 > 0


def test_orders_take_the_swings_of_both_sides():
    firm, loose = (deciding.order([91.0], [90.0], 0.22, swing=sd) for sd in (0.3, 1.0))
    assert (firm.word, firm.at_swing, loose.word, loose.at_swing) == ("supported", "", "supported", "inconclusive")
    less = deciding.order([92.0], [90.0], 0.22, 7.5, swing=0.7)  # holds still, though perhaps not by less
    assert (less.word, less.at_swing) == ("supported, smaller", "")


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
    assert "; it would differ for 1 of the 2 claims where this is known" in provisional_note([near, few, enough])
    assert "swing" not in verdict(few) + provisional_note([few, enough])  # so far off that no swing explains it


def test_a_claim_of_an_epoch_has_the_swing_there():
    report = demo()
    curve = 90 + np.concatenate([NOISE, 3 * NOISE])
    claims = {c.id: judge(report, c, [run(curve)]).verdict for c in report.claims if c.id in ("epoch-3", "test-acc")}
    assert claims["epoch-3"].swing == pytest.approx(math.sqrt(about(curve, 3)), rel=1e-4)
    assert claims["test-acc"].swing == pytest.approx(math.sqrt(about(curve, 60)), rel=1e-4)
    val = next(c for c in report.claims if c.id == "val-2")
    found = judge(report, val, [run(90 + NOISE, curves={"val/acc_pct": curve})]).verdict
    assert found.swing == pytest.approx(math.sqrt(about(curve, 2)), rel=1e-4)


@pytest.mark.parametrize(("pairs", "known"), [(1, True), (4, True), (5, False)])
def test_an_order_of_few_pairs_has_the_swings_of_both_sides(pairs, known):
    order = OrderClaim(id="o", kind="order", where="here", higher="base", lower="plain")
    sides = [
        run(mean + size * NOISE, seed, name)
        for seed in range(pairs)
        for mean, size, name in ((90, 1, "base"), (80, 2, "plain"))
    ]
    found = judge(demo(), order, sides).verdict
    expected = math.sqrt(5 * about(NOISE, 30))
    assert (found.swing == pytest.approx(expected, rel=1e-4)) if known else (found.swing is None)


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
