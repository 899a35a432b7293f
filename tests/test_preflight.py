"""Pre-flight findings: each with its numbers on the real reports, and none where the flaw is not there."""

import json
from math import sqrt

import pytest
from click.testing import CliRunner
from scipy.stats import norm

from repro.cli import main
from repro.judge import statistics
from repro.judge.preflight import findings, images, noise, published, statements, training, whole
from repro.judge.preflight.counts import parameter_counts
from repro.report.preflight import NOTHING, section
from repro.spec.loading import experiments_dir, load_all
from repro.spec.schema import MeasuredClaim

REPORTS = load_all(experiments_dir())
FOUND = {name: {finding.id: finding for finding in findings(report)} for name, report in REPORTS.items()}


def without(report, *kinds, **changes):
    """Return a report without claims of some kinds, other fields replaced."""
    claims = tuple(claim for claim in report.claims if claim.kind not in kinds)
    return report.model_copy(update={"claims": claims} | changes)


def claims_changed(report, claim_id, **changes):
    claims = tuple(c.model_copy(update=changes) if c.id == claim_id else c for c in report.claims)
    return report.model_copy(update={"claims": claims})


@pytest.mark.parametrize(
    ("report", "finding", "numbers"),
    [
        ("shamooun2022", "few-images-test-acc", {"hits": 14, "n": 16, "low95": 61.7, "high95": 98.4}),
        ("shamooun2022", "share-val-acc", {"n": 5000, "fits": "8655/10000"}),
        ("shamooun2022", "count-params-one-block", {"printed": 4_700_000, "closed_form": 4_903_242}),
        ("shamooun2022", "counts-figure-4-counts", {"highest_count": 8, "images_79": 10_000, "images_391": 50_000}),
        ("shamooun2022", "symbols", {"b-i-is-4": "4", "p-i-is-4": "4"}),
        ("chiu2023", "trace-figure3-matrix", {"trace": 8886, "percent": 88.86, "off_90.47": 1.61}),
        ("chiu2023", "trace-notebook-matrix", {"trace": 8937, "off_89.47": 0.10}),
        ("chiu2023", "batch-mean-baseline80", {"sd": 0.18, "last_batch": 16}),
        ("chiu2023", "folds-folds-released", {"folds": 5, "lowest_epoch": 41, "changes_with_a_fall": 4}),
        ("chiu2023", "image-passes", {"passes_baseline80": 3_600_000, "passes_folds-released": 2_000_000}),
        ("chiu2023", "confounded-2-more-data-as-printed", {"differ": "budget.epochs, data.folds"}),
        ("chiu2023", "reused-test-loss", {"value": 0.37, "times": 2, "networks": 2}),
        ("chiu2023", "told-twice", {"text_1": 99.0, "table_1": 98.6, "agree_1": 1}),
        ("chiu2023", "count-params", {"with_3x3_shortcuts": 5_597_286, "with_narrow_stem": 4_987_462}),
        ("geng2022", "count-params", {"closed_form": 4_815_940, "exact_hits": 1}),
        ("geng2022", "maximum-augmix1200", {"highest_point": 95.4, "printed": 95.65}),
        ("zhang2023", "noise-floor-88-67", {"least_difference": 0.65, "p_89.06_over_88.67": 0.88}),
        ("zhang2023", "reused-table1-leaky", {"times": 4, "networks": 1}),
        ("zhang2023", "trend-filters-rising", {"value_leaky35": 88.67, "value_width128": 86.11}),
        ("chen2024", "pool-29", {"window": 64, "side": 8, "channels": 64}),
        ("chen2024", "steady-log-train-acc", {"steps_back": 1, "first_epoch": 46}),
        ("chen2024", "overfitting-log-test-loss", {"lowest_epoch": 38, "lowest": 0.3567, "gap": 8.37}),
        ("chen2024", "count-params", {"without_shortcut_parameters": 1_047_450, "exact_hits": 1}),
    ],
)
def test_found_with_its_numbers(report, finding, numbers):
    found = FOUND[report][finding].numbers
    for key, value in numbers.items():
        tolerance = 0.05 if key.endswith("95") else 0.006
        assert found[key] == (pytest.approx(value, abs=tolerance) if isinstance(value, float) else value), key


def test_tables_that_differ_in_more_than_their_factor():
    tables = [f for f in FOUND["geng2022"].values() if f.kind == "confounded"]
    assert [f.title.partition(":")[0] for f in tables] == ["Table 1", "Table 2"]
    assert {"budget.epochs", "model.widths", "optim"} <= set(tables[0].numbers["differ"].split(", "))
    assert "autoaugment-over-flip-released" not in tables[0].claims  # only its augmentation differs
    assert not list(training.confounded(REPORTS["zhang2023"]))


def test_ranks_ids_and_claims_of_every_finding():
    for name, found in FOUND.items():
        known = {claim.id for claim in REPORTS[name].claims}
        assert [f.rank for f in found.values()] == list(range(1, len(found) + 1))
        assert len(findings(REPORTS[name])) == len(found)  # ids are unique
        assert all(set(f.claims) <= known and f.text and f.report == name for f in found.values())


@pytest.mark.parametrize(("rounding", "n", "decimals"), [("floor", 100, 0), ("floor", 1000, 1), ("nearest", 1000, 1)])
def test_what_a_whole_number_of_images_prints_as_is_never_impossible(rounding, n, decimals):
    """Every share of n images, printed; a unit of the last digit holds exactly one of them."""
    base = dict(kind="point", id="x", experiment="e", where="T", decimals=decimals, rounding=rounding, n=n)
    for hits in range(2 * n // 100, n):
        one = MeasuredClaim(value=round(100 * hits / n, decimals), **base)
        assert images.hits_of(one, n) == hits


def test_a_mean_over_several_networks_is_a_share_of_more_images():
    report = load_all()["chen2024"]
    claim = next(c for c in report.claims if c.id == "test-acc").model_copy(update={"value": 90.143, "decimals": 3})
    alone = report.model_copy(update={"claims": (claim,)})
    assert len(list(images.impossible_shares(alone))) == 1
    three = report.model_copy(update={"claims": (claim.model_copy(update={"runs": 3}),)})
    assert not list(images.impossible_shares(three))


def test_few_images_need_few_images():
    whole_set = {c.id: {"n": 10_000, "protocol": "last"} for c in REPORTS["shamooun2022"].claims if c.kind == "point"}
    report = REPORTS["shamooun2022"]
    for name, changes in whole_set.items():
        report = claims_changed(report, name, **changes)
    assert not list(images.few_images(report))
    assert not list(images.impossible_shares(report))


def test_without_the_flaw_nothing_is_found():
    chiu, zhang, chen = REPORTS["chiu2023"], REPORTS["zhang2023"], REPORTS["chen2024"]
    assert not list(whole.matrices(without(chiu, "point")))
    assert not list(whole.batch_means(zhang))
    assert not list(training.carried_folds(chen))
    assert not list(training.image_passes(zhang))
    assert not list(noise.noise_floor(without(zhang, "order")))
    assert not list(noise.reused(chen))
    assert not list(statements.trends(claims_changed(zhang, "table3-channels-128", value=90.0)))
    # A number of an epoch, or of a fold, is none of a trend's.
    for there in ({"epoch": 1}, {"fold": 2}):
        assert list(statements.trends(zhang))
        assert not list(statements.trends(claims_changed(zhang, "table3-channels-128", **there)))
    assert not list(statements.symbols(chen))
    assert not list(statements.shapes(REPORTS["shamooun2022"]))
    assert not list(statements.told_twice(claims_changed(chiu, "train-acc-text", value=98.6, decimals=1)))
    assert not list(published.maxima(chen))
    assert not list(published.steady(REPORTS["shamooun2022"]))
    assert not list(published.overfitting(REPORTS["shamooun2022"]))
    assert not list(published.batch_counts(chen))
    assert not list(parameter_counts(without(chen, "count")))


def test_text_that_no_rounding_explains_is_its_own_kind():
    changed = claims_changed(REPORTS["chiu2023"], "train-acc-text", value=97)
    assert [f.kind for f in statements.told_twice(changed)] == ["text_against_table"]


def test_probability_of_an_order():
    one, sd = noise.order_probability([88.67, 89.06], 0.2357), 0.2357
    assert one == pytest.approx(norm.cdf(0.39 / (sqrt(2) * sd)), abs=1e-6)
    assert noise.order_probability([90.0, 90.0, 90.0], 0.2) == pytest.approx(1 / 6, abs=1e-6)
    assert noise.order_probability([10.0, 50.0, 90.0], 0.2) == pytest.approx(1, abs=1e-6)


def test_least_difference_and_exact_interval():
    assert noise.least_difference(90) == pytest.approx(0.62, abs=0.005)
    assert images.clopper_pearson(0, 16)[0] == 0
    assert images.clopper_pearson(16, 16)[1] == 100
    assert images.clopper_pearson(16, 16)[0] == pytest.approx(100 * 0.025 ** (1 / 16))
    assert statistics.batch_mean_sd(90, 250) == 0
    assert statistics.batch_mean_sd(90, 256) == pytest.approx(0.176, abs=0.001)


def test_command_by_report_as_text_and_json():
    run = CliRunner().invoke
    text = run(main, ["preflight", "shamooun2022"])
    assert text.exit_code == 0
    assert "14 of 16 images" in text.output
    assert "chiu2023" not in text.output
    rows = json.loads(run(main, ["preflight", "chen2024", "--json"]).output)
    assert {row["report"] for row in rows} == {"chen2024"}
    assert rows[0]["rank"] == 1
    wrong = run(main, ["preflight", "nobody1999"])
    assert wrong.exit_code == 2
    assert "known here: chen2024, chiu2023" in wrong.output


def test_section_of_a_page():
    text = section(REPORTS["shamooun2022"])
    assert text.startswith("- **An accuracy of few images.** 87.5 %")
    assert len(text.splitlines()) == 6
    empty = REPORTS["zhang2023"].model_copy(update={"claims": (), "sentences": ()})
    assert section(empty) == NOTHING
