"""The shipped reports: every file loads, its counts come out as stated, its headline numbers are there."""

import re
from pathlib import Path

import pytest
import yaml

from repro.spec.counting import depth, layers, parameters, sizes_mb
from repro.spec.identity import recipe_hash
from repro.spec.loading import load
from repro.spec.schema import CountClaim, MeasuredClaim, UntestableClaim, experiments_of

FILES = sorted((Path(__file__).parents[1] / "experiments").glob("*.yaml"))
REPORTS = {path.stem: load(path) for path in FILES}
COUNTS = [(r.id, c) for r in REPORTS.values() for c in r.claims if isinstance(c, CountClaim)]
#: printed counts that the closed form contradicts, with what it gives; each is a finding of its report
DIFFERENT = {"geng2022/params": 4_815_940, "shamooun2022/params-one-block": 4_903_242}
HEADLINES = {
    "chiu2023": {4_999_718, 88.9, 90.47},
    "shamooun2022": {4_977_226, 87.5},
    "geng2022": {4_813_298, 95.56, 95.6},
    "chen2024": {1_050_202, 90.14},
    "zhang2023": {95.09, 83, 77},
}
HEADLINE_EXPERIMENTS = {
    "chiu2023": {"baseline80", "folds-released"},
    "shamooun2022": {"released", "written"},
    "geng2022": {"augmix500"},
    "chen2024": {"resnet68"},
    "zhang2023": {"final", "vgg-a", "vgg-a-bn"},
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_file_reads_well(path):
    text = path.read_text()
    assert max(map(len, text.splitlines())) <= 120
    assert text.endswith("\n")
    assert not re.search(r"/(home|work|tmp)/|\t", text)


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_report_is_complete(report):
    assert report.experiments
    assert report.claims
    assert any(claim.headline for claim in report.claims)
    assert report.deviations
    assert report.findings
    assert report.assumed
    assert len({finding.id for finding in report.findings}) == len(report.findings)


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_experiments_of_a_report_differ(report):
    hashes = [recipe_hash(experiment.recipe) for experiment in report.experiments.values()]
    assert len(set(hashes)) == len(hashes)


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_every_experiment_answers_a_claim(report):
    asked = {name for claim in report.claims for name in experiments_of(claim)}
    assert set(report.experiments) == asked


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_no_claim_waits_for_an_experiment(report):
    assert [claim.id for claim in report.claims if getattr(claim, "why_not_run", None)] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_assumed_keys_are_keys_of_the_file(path):
    tree = yaml.safe_load(path.read_text())
    for key in tree["assumed"]:
        here = tree
        for word in key.split("."):
            assert isinstance(here, dict), key
            assert word in here, key
            here = here[word]


@pytest.mark.parametrize("report", HEADLINES)
def test_headline_numbers_and_experiments(report):
    found = REPORTS[report]
    assert {claim.value for claim in found.claims if claim.headline} == HEADLINES[report]
    tiers = {e.id for e in found.experiments.values() if e.tier == "headline"}
    assert tiers == HEADLINE_EXPERIMENTS[report]


@pytest.mark.parametrize(("report", "claim"), COUNTS, ids=[f"{report}/{claim.id}" for report, claim in COUNTS])
def test_counts_come_out_as_printed_or_as_known_to_differ(report, claim):
    model = REPORTS[report].experiments[claim.experiment].recipe.model
    quantities = {"parameters": parameters(model), "depth": depth(model), **sizes_mb(model)}
    if claim.layer:
        quantities["layer_parameters"] = next(row.parameters for row in layers(model) if row.name == claim.layer)
    ours = quantities[claim.quantity]
    known = DIFFERENT.get(f"{report}/{claim.id}")
    if known is None:
        assert round(ours, claim.decimals) == claim.value
    else:
        assert ours == known
        assert known != claim.value
        assert any(f"{known:,}" in finding.text for finding in REPORTS[report].findings)


def test_networks_without_a_printed_count():
    assert parameters(REPORTS["geng2022"].experiments["randomflip-128"].recipe.model) == 4_368_690
    zhang = REPORTS["zhang2023"].experiments.values()
    assert {parameters(e.recipe.model) for e in zhang} == {
        11_173_962, 2_797_610, 44_662_922, 9_750_922, 9_756_426,
        11_173_962 - 3 * 3 * 3 * 64 + 7 * 7 * 3 * 64,  # the 7x7 stem
    }  # fmt: skip


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_values_have_no_more_decimals_than_stated(report):
    for claim in report.claims:
        if getattr(claim, "value", None) is not None:
            assert round(claim.value, claim.decimals) == claim.value, claim.id


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_claims_rest_on_as_many_images_as_their_split_has(report):
    for claim in report.claims:
        if isinstance(claim, MeasuredClaim) and claim.experiment:
            recipe = report.experiments[claim.experiment].recipe
            split = recipe.data.split
            expected = {"train_running": split.train, "val": split.val, "val_augmented": split.val}
            expected["last_batch"] = 10_000 % recipe.budget.batch_size
            assert claim.n == expected.get(claim.protocol, 10_000), claim.id


def test_untestable_claims_say_why():
    claims = [c for r in REPORTS.values() for c in r.claims if isinstance(c, UntestableClaim)]
    assert claims
    assert all(len(claim.why) > 20 for claim in claims)
