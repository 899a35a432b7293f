"""Operations a second: closed forms by hand, the share of a device's peak, and records of nothing known."""

import json
from dataclasses import replace

import golden_demo
import pytest

from repro.execute.outcome import Outcome
from repro.judge.records import records_of
from repro.report import figures, machines
from repro.spec import counting, throughput
from repro.spec.identity import recipe_hash, resolved
from repro.spec.loading import load_all

DEMO = golden_demo.demo()
REPORTS = load_all()


def record(**changes):
    return golden_demo.make(DEMO, images_per_s=20_000.0, **changes)


def of_recipe(recipe):
    return record(recipe=json.loads(json.dumps(resolved(recipe))), recipe_hash=recipe_hash(recipe))


def test_a_rate_is_images_times_the_operations_of_one():
    # 68 layers of 16, 32 and 64 channels: 46.2e12 operations an epoch of 50,000 images by hand
    recipe = REPORTS["chen2024"].experiments["resnet68"].recipe
    one = throughput.operations(of_recipe(recipe))
    assert one * 50_000 == pytest.approx(46.2e12, rel=1e-3)
    assert throughput.tflops(one, 20_000.0) == pytest.approx(46.2 * 20_000 / 50_000, rel=1e-3)
    assert throughput.tflops(one, None) is None
    assert throughput.tflops(None, 1.0) is None


def test_each_view_of_an_image_is_trained_on():
    recipe = REPORTS["geng2022"].experiments["augmix500"].recipe
    assert recipe.loss.name == "jensen_shannon"
    assert throughput.operations(of_recipe(recipe)) == 3 * counting.training_flop(recipe.model)


@pytest.mark.parametrize("name", [(r.id, e) for r in REPORTS.values() for e in r.experiments])
def test_every_experiments_record_has_a_rate(name):
    assert throughput.operations(of_recipe(REPORTS[name[0]].experiments[name[1]].recipe)) > 1e8


def test_mfu_is_a_share_of_a_peak_that_is_known():
    assert throughput.mfu_pct(394.0, "NVIDIA H200", "cuda-bf16-relaxed-n1") == pytest.approx(50)
    assert throughput.mfu_pct(394.0, "NVIDIA H200", "cuda-fp32-relaxed-n1") is None
    assert throughput.mfu_pct(394.0, "A CPU (2 threads)", "cpu-bf16-relaxed-n1") is None
    assert throughput.mfu_pct(394.0, None, "strange") is None


@pytest.mark.parametrize(
    "changes",
    [{"recipe": {}}, {"recipe": {"budget": {"epochs": 3}}}, {"recipe_hash": "f" * 64}, {"recipe": {"x": float("nan")}}],
)
def test_a_record_whose_recipe_is_not_the_one_it_names_has_none(changes):
    odd = replace(record(), **changes)
    assert throughput.operations(odd) is None
    assert Outcome(None, "trained", odd).said.endswith("20000 images/s")


def test_a_finished_run_says_its_rate_and_the_share():
    rate = throughput.tflops(throughput.operations(record()), 20_000.0)
    assert Outcome(None, "trained", record()).said.endswith(f" s, 20000 images/s, {rate:.3g} TFLOP/s")
    h200 = record(env=golden_demo.GPU | {"device": "NVIDIA H200"})
    assert Outcome(None, "trained", h200).said.endswith(f"{rate:.3g} TFLOP/s (MFU {rate / 7.88:.2g} %)")


def test_the_cost_table_shows_the_rate_of_each_run_and_the_median_of_many():
    some = [record(seed=seed) for seed in range(machines.FIRST)]
    slow = [replace(record(seed=seed), images_per_s=speed) for seed, speed in ((50, 1e4), (51, 3e4), (52, 1e3))]
    more = [*some, *slow, *(replace(record(seed=60 + i), images_per_s=1e4) for i in range(machines.MOST))]
    for records, last in ((some, 20_000.0), (more, 10_000.0)):
        arm = figures.Arm(["base"], "", "headline", records_of(DEMO, "base", records), [])
        table = machines.cost_table([(arm, r) for r in arm.chosen]).split("\n")
        head, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in (table[0], *table[2:])]
        shown = [row[head.index("TFLOP/s")] for row in rows]
        want = [throughput.tflops(throughput.operations(records[0]), speed) for speed in (20_000.0, last)]
        assert (shown[0], shown[-1]) == tuple(f"{rate:.2f}" for rate in want)
        assert len(rows) == (len(some) if records is some else machines.FIRST + 1)
