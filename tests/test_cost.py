"""What experiments take: closed forms by hand, and sums in which shared runs count once."""

import json

import pytest
from command_line import SMALL, repro

from repro.spec import cost
from repro.spec.counting import training_flop
from repro.spec.loading import load_all, parse

DEEP = {"name": "resnet", "stem": 16, "widths": [16, 32, 64], "blocks": [11, 11, 11]}
WIDE = {"name": "resnet", "stem": 64, "widths": [64, 128, 256, 512], "blocks": [2, 2, 2, 2]}


def recipe(model=DEEP, epochs=50, batch=64, **changes):
    text = SMALL.replace("{name: resnet, stem: 8, widths: [8, 16], blocks: [1, 1]}", json.dumps(model))
    text = text.replace("{epochs: 2, batch_size: 128}", json.dumps({"epochs": epochs, "batch_size": batch}))
    for key, value in changes.items():
        lines = text.splitlines()
        place = next(i for i, line in enumerate(lines) if line.startswith(f"  {key}:"))
        text = "\n".join([*lines[:place], f"  {key}: {json.dumps(value)}", *lines[place + 1 :]])
    return parse(text, "tiny.yaml").experiments["first"].recipe


def test_operations_are_images_times_epochs_times_those_of_one_image():
    of = cost.of(recipe(data={"split": {"train": 50000}}))
    assert of.flop == 50 * 50_000 * training_flop(recipe().model)
    assert of.pflop == pytest.approx(2.31, abs=0.005)  # a multiply-accumulate count by hand gives 46.2e12 an epoch
    assert (of.networks, of.epochs) == (1, 50)


def test_a_step_takes_as_long_as_the_longer_of_launches_and_operations():
    """69 convolutions of 16 to 64 channels wait for launches; 20 of 64 to 512 compute, in batches of 128."""
    data = {"split": {"train": 50000}}
    deep, wide = cost.of(recipe(data=data)), cost.of(recipe(WIDE, batch=128, data=data))
    assert deep.minutes == pytest.approx(50 * 782 * 69 * 14.7 * 6e-6 / 60)
    assert wide.minutes == pytest.approx(wide.flop / 192e12 / 60)
    doubled = cost.of(recipe(batch=128, data=data)), cost.of(recipe(WIDE, batch=256, data=data))
    assert doubled[0].minutes == pytest.approx(deep.minutes / 2)  # 391 steps for 782
    assert doubled[1].minutes == pytest.approx(wide.minutes)


@pytest.mark.parametrize(("widest", "rate"), [(64, 100e12), (336, 126e12), (512, 192e12), (1024, 280e12)])
def test_the_rate_grows_with_the_width_between_its_bounds(widest, rate):
    assert cost.rate(recipe(DEEP | {"widths": [16, 32, widest]}).model) == pytest.approx(rate)


def test_three_views_cost_three_times_as_much():
    augmix = [{"name": "augmix", "views": 3}]
    three = cost.of(recipe(WIDE, augment=augmix, loss={"name": "jensen_shannon"}))
    assert three.flop == 3 * cost.of(recipe(WIDE)).flop
    one = cost.of(recipe(WIDE, augment=[{"name": "augmix", "views": 1}]))
    assert one == cost.of(recipe(WIDE))


def test_fresh_networks_train_every_epoch_in_each_fold_and_a_carried_one_shares_them():
    split = {"train": 40000, "val": 10000}
    fresh = recipe(data={"split": split, "folds": {"k": 5, "network": "fresh"}})
    carried = recipe(data={"split": split, "folds": {"k": 5, "network": "carried"}})
    one = cost.of(recipe(data={"split": split}))
    assert cost.of(carried) == one
    assert cost.of(fresh) == cost.Cost(5, one.epochs, 5 * one.flop, pytest.approx(5 * one.minutes))


@pytest.fixture
def shared(tmp_path, monkeypatch):
    """Three experiments, of which two have one recipe, in different tiers."""
    arms = "  again: {reading: as_written, tier: extended, title: The first arm again}\n  first:"
    (tmp_path / "tiny.yaml").write_text(SMALL.replace("  first:", arms))
    monkeypatch.setenv("REPRO_EXPERIMENTS", str(tmp_path))
    return cost.priced(load_all())


def test_shared_runs_count_once_and_in_their_most_important_tier(shared):
    assert [(p.experiment.id, p.same_as) for p in shared] == [("again", "first"), ("first", None), ("second", None)]
    totals = cost.totals(shared)
    each = shared[0].cost
    assert totals["extended"] == cost.Total(0, 0, 0)
    assert totals["all"] == totals["headline + core"] == cost.Total(2, 2 * each.pflop, 2 * each.minutes)


def test_totals_of_the_tiers_add_up():
    totals = cost.totals(cost.priced(load_all()))
    for field in ("experiments", "pflop", "minutes"):
        by_tier = [getattr(totals[tier], field) for tier in cost.TIERS]
        assert sum(by_tier) == pytest.approx(getattr(totals["all"], field))
        assert sum(by_tier[:2]) == pytest.approx(getattr(totals["headline + core"], field))


def test_list_cost_says_that_it_estimates(shared):
    out = repro("list", "--cost")
    assert out.startswith("Minutes on one H200: an estimate, not measured.")
    line = next(line for line in out.splitlines() if line.startswith("tiny/again"))
    assert line.endswith("the runs of first")
    assert "headline + core (a seed)" in out


def test_list_cost_as_json(shared):
    plain = json.loads(repro("list", "--cost", "--json"))
    assert "an estimate, not measured" in plain["about"]
    rows = plain["experiments"]
    assert sum(row["pflop"] for row in rows if not row["same_runs_as"]) == pytest.approx(
        plain["totals"]["all"]["pflop"]
    )
    assert {*rows[0]} == {
        "report", "experiment", "tier", "reading", "epochs", "batch_size", "title", "networks", "pflop",
        "estimated_minutes", "same_runs_as",
    }  # fmt: skip
    assert [row["experiment"] for row in json.loads(repro("list", "--json"))] == ["again", "first", "second"]
