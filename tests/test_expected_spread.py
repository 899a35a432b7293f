"""What is expected of one network's number: on images of its own, over folds, as a mean over batches."""

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
from golden_demo import make

from repro.judge import deciding, statistics
from repro.judge.claims import judge
from repro.judge.measured import _expected
from repro.spec.loading import load_all
from repro.spec.schema import MeasuredClaim

MARGIN = 1.0


@pytest.fixture(scope="module")
def report():
    return load_all()["chiu2023"]


def verdict(report, name, **finals):
    """The verdict of a claim on one seed whose numbers are given; a record a fold where each is a run."""
    claim = next(c for c in report.claims if c.id == name)
    folds = range(1, 6) if claim.experiment == "folds-clean" else [None]
    recorded = {**finals, "val_augmented": {"acc_pct": 80.0, "loss": 0.5}}
    records = [
        make(report, claim.experiment, fold=fold, finals=recorded, run_key=f"{fold or 0:016x}") for fold in folds
    ]
    if claim.epoch:
        curve = np.full(report.experiments[claim.experiment].recipe.budget.epochs, 80.0, np.float32)
        records = [replace(r, curves={**r.curves, "val_augmented/acc_pct": curve}) for r in records]
    return judge(report, claim, records).verdict


@pytest.mark.parametrize(
    ("name", "published", "images"), [("fold1-val-acc", 80.8, 10_000), ("e10-val-acc", 83.8, 5000)]
)
def test_validation_images_of_each_run_are_in_the_spread_and_added_nowhere_else(report, name, published, images):
    found = verdict(report, name)
    assert found.s_star == pytest.approx(100 * sqrt(published / 100 * (1 - published / 100) / images))
    assert found.se == pytest.approx(sqrt(2 * found.s_star**2 + 0.05**2 / 3))


def test_fewer_validation_images_of_theirs_add_what_they_are_short_of(report):
    claim = next(c for c in report.claims if c.id == "e10-val-acc").model_copy(update={"n": 1000})
    curve = np.full(80, 80.0, np.float32)
    record = make(report, "baseline80")
    record = replace(record, curves={**record.curves, "val_augmented/acc_pct": curve})
    found = judge(report, claim, [record]).verdict
    theirs, ours = (1e4 * 0.838 * 0.162 / n for n in (1000, 5000))
    assert found.se == pytest.approx(sqrt(ours + theirs + 0.05**2 / 3))


def test_what_validation_images_bring_of_a_spread_is_what_networks_on_the_same_images_would_not_have(report):
    """By Jordan's law two networks differ on the same images by less than a sample of other images does."""
    claim = next(c for c in report.claims if c.id == "e10-val-acc")
    expected = _expected(report.experiments["baseline80"].recipe, claim)
    assert expected.own == pytest.approx(1e4 * 0.838 * 0.162 / 5000 - statistics.jordan_sd(83.8, 5000) ** 2)
    assert 0 < expected.own < expected.sd**2
    others = [c for c in report.claims if isinstance(c, MeasuredClaim) and c.metric == "acc_pct" and c.experiment]
    for other in others:
        if other.protocol not in ("val", "val_augmented"):
            assert _expected(report.experiments[other.experiment].recipe, other).own == 0


def test_a_training_accuracy_over_fewer_images_adds_what_a_sample_of_them_varies_by(report):
    claim = next(c for c in report.claims if c.id == "train-acc-text")
    assert (claim.protocol, claim.metric) == ("train_running", "acc_pct")
    claim = claim.model_copy(update={"n": 1000})
    recipe, p = report.experiments[claim.experiment].recipe, claim.value / 100
    expected = _expected(recipe, claim)
    assert expected.theirs == pytest.approx(1e4 * p * (1 - p) * (1 / 1000 - 1 / 50_000))
    assert expected.sd == statistics.jordan_sd(claim.value, recipe.data.split.train)
    assert _expected(recipe, claim.model_copy(update={"n": 50_000})).theirs == 0


def test_a_mean_over_folds_stands_beside_a_single_network(report):
    found = verdict(report, "fold-test-acc-clean", best_val_loss={"acc_pct": 90.0, "loss": 0.4})
    single = statistics.jordan_sd(90.47)
    assert found.n == 1
    assert found.s_star == pytest.approx(single / sqrt(5))
    assert found.se == pytest.approx(sqrt(single**2 / 5 + single**2 + 0.005**2 / 3))


def test_a_loss_over_folds_stands_beside_a_single_network_too():
    values = [0.36, 0.38, 0.37]
    one, over = deciding.loss(values, 0.37, 0.005), deciding.loss(values, 0.37, 0.005, 1 / 5)
    assert one.se == pytest.approx(sqrt(0.01**2 * (1 / 3 + 1) + 0.005**2 / 3))
    assert over.se == pytest.approx(sqrt(0.01**2 * (1 / 3 + 5) + 0.005**2 / 3))


def test_a_mean_over_batches_varies_about_the_accuracy(report):
    found = verdict(report, "fold-test-acc-batch-mean", batch_mean={"acc_pct": 90.0, "sd_pct": 0.2})
    plain = verdict(report, "fold-test-acc", best_val_loss={"acc_pct": 90.0, "loss": 0.4})
    hits = statistics.batch_mean_sd(90.47, 256)
    assert hits == pytest.approx(0.17, abs=0.01)
    assert found.se == pytest.approx(sqrt(plain.se**2 + hits**2))


def test_the_best_of_five_single_networks_is_further_above_means_over_folds():
    shift = statistics.BEST_OF[5] * 0.2
    below = dict(prior=0.2 / sqrt(5), runs=1 / 5, limit=0.1)
    se = sqrt(0.2**2 * 1.2)
    d = -(shift + 2.6 * se)  # beyond what the best of five explains, at 2.78 standard errors of four degrees
    assert deciding.point([90 + d], 90, 0, **below).allowance == "explainable by best-of-5"
    assert deciding.point([90 + d - 0.3 * se], 90, 0, **below).allowance == ""


def test_the_swing_of_validation_is_beside_what_other_images_change():
    expected, own = 0.42, 0.42**2 - 0.31**2
    found = deciding.point([88.0], 90, 0, expected, swing=0.5, own=own)
    alone = deciding.point([88.0], 90, 0, sqrt(0.5**2 + own))
    assert (found.word, found.at_swing) == ("fell short", alone.word if alone.word != "fell short" else "")
    assert deciding.point([88.0], 90, 0, expected, swing=0.3, own=own).at_swing == ""  # no more than expected


# --- error rates: the numbers of docs/verdicts.md -------------------------------------------------------------


def rates(theirs, ours, half, **given):
    """Percent reproduced, exceeded or fell short, inconclusive, and unstable."""
    found = [deciding.point(values.tolist(), one, half, **given) for one, values in zip(theirs, ours, strict=True)]
    words = [f.word for f in found]
    counts = (
        words.count("reproduced"),
        words.count("exceeded") + words.count("fell short"),
        words.count("inconclusive"),
    )
    return [100 * count / len(words) for count in (*counts, sum(f.unstable for f in found))]


@pytest.mark.parametrize(
    ("percent", "images", "n", "same", "margin_apart"),
    [(80.8, 10_000, 3, (73, 2, 25), (3, 72, 25)), (90.2, 5000, 3, (16, 2, 81), (2, 36, 62)),
     (90.2, 5000, 8, (36, 4, 60), (4, 51, 46))],
)  # fmt: skip
def test_validation_errs_as_docs_verdicts_says(percent, images, n, same, margin_apart):
    """Each run of theirs and ours is on images of its own: binomial."""
    rng, draws, limit = np.random.default_rng(11), 6000, statistics.margin(percent)
    for apart, stated in ((0.0, same), (limit, margin_apart)):
        theirs = rng.binomial(images, percent / 100, draws) * 100 / images
        ours = rng.binomial(images, (percent - apart) / 100, (draws, n)) * 100 / images
        *found, unstable = rates(theirs, ours, 0.05, prior=statistics.sample_sd(percent, images), limit=limit)
        assert found == pytest.approx(stated, abs=2.0)
        assert unstable < 2.5


@pytest.mark.parametrize(("gap", "stated"), [(0.0, (80, 2, 18)), (MARGIN, (3, 79, 18))])
def test_means_over_batches_err_as_docs_verdicts_says(gap, stated):
    rng, draws, percent, batch = np.random.default_rng(12), 6000, 90.47, 256
    sd, hits = statistics.jordan_sd(percent), statistics.batch_mean_sd(percent, batch)
    theirs = percent + rng.normal(0, sqrt(sd**2 + hits**2), draws)
    ours = percent + gap + rng.normal(0, sd, (draws, 3))
    assert rates(theirs, ours, 0.005, prior=sd, images=hits**2)[:3] == pytest.approx(stated, abs=2.0)


@pytest.mark.parametrize(("gap", "stated"), [(0.0, (97, 1, 2)), (MARGIN, (3, 94, 2))])
def test_means_over_folds_err_as_docs_verdicts_says(gap, stated):
    rng, draws, percent = np.random.default_rng(13), 6000, 90.47
    sd = statistics.jordan_sd(percent)
    theirs = percent + rng.normal(0, sd, draws)
    ours = percent + gap + rng.normal(0, sd / sqrt(5), (draws, 3))
    *found, unstable = rates(theirs, ours, 0.005, prior=sd / sqrt(5), runs=1 / 5)
    assert found == pytest.approx(stated, abs=2.0)
    assert unstable == pytest.approx(1, abs=0.7)
