"""What the whole suite takes: groups of steps that are alike, multiplied out; sums of what was measured and no more."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from command_line import repro, small_report

from repro.bench import groups, measured, paces, suite, turns
from repro.bench.groups import Group, Paces
from repro.bench.paces import Timed
from repro.cli import main
from repro.data import sample
from repro.judge.timings import Round
from repro.report import performance
from repro.run import Options, measured_images
from repro.spec import cost
from repro.spec.identity import runs_of
from repro.spec.loading import load_all
from repro.spec.selection import select

CPU = torch.device("cpu")
torch.set_num_threads(1)
QUIET = Round(idle=True, busy_pct=0.0)
REPORTS = load_all()
TIERS = ("headline", "core")


def plan(**more):
    options = Options(Path(), CPU, "fp32")
    return turns.Plan(
        sample.load(), options, **{"steps": 2, "repeats": 3, "say": lambda t: None, "look": lambda d: QUIET} | more
    )


def whole(reports=REPORTS):
    """Return the runs of all headline and core experiments."""
    return [run for r, arms in select(reports, (), True, TIERS) for run in runs_of(r, arms, [0], "x:y", "full")]


def timed(seconds=(2.0, 1.0, 4.0), images=40):
    return Timed(images, 3, list(seconds), 1000, 0.005, 0.25, 12.0, {"idle": True, "busy_pct": 0.0, "others": None})


# --- groups --------------------------------------------------------------------------------------------------


def recipe(*changes):
    return small_report(*changes).experiments["first"].recipe


FLIP = "augment: [{name: crop, pad: 4}, {name: flip}]"
ADAM, LOSS = "optim: {name: adam, lr: 1e-3}", "loss: {name: cross_entropy}"


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ((ADAM, "optim: {name: adam, lr: 0.5}"), True),
        (("epochs: 2", "epochs: 20"), True),
        (("schedule: {name: constant}", "schedule: {name: cosine, t_max: 2}"), True),
        (("split: {train: 45000, val: 5000}", "split: {train: 50000}"), True),
        ((ADAM, "optim: {name: adam, lr: 1e-3, weight_decay: 0.1}"), False),
        ((ADAM, "optim: {name: sgd, lr: 1e-3}"), False),
        (("batch_size: 16", "batch_size: 32"), False),
        ((FLIP, "augment: [{name: flip}]"), False),
        ((LOSS, "loss: {name: cross_entropy, last_bias_norm: 0.5}"), False),
        (("stem: 8, widths: [8, 16]", "stem: 8, widths: [8, 24]"), False),
    ],
)
def test_what_a_step_is_decides_the_group(change, same):
    params = "  - {id: params, kind: count, experiment: first, value: 5266, where: Table 2}\n"
    assert (groups.kind(recipe((params, ""), change)) == groups.kind(recipe())) is same


def test_numbers_that_only_scale_a_term_make_no_group_of_their_own():
    two = [LOSS.replace("entropy", f"entropy, last_bias_norm: {x}") for x in (0.1, 0.9)]
    assert groups.kind(recipe((LOSS, two[0]))) == groups.kind(recipe((LOSS, two[1])))


def test_groups_hold_every_run_once_and_begin_with_the_longest():
    runs = whole()
    found = groups.grouped(runs)
    assert Counter(run.key for group in found for run in group.runs) == Counter(run.key for run in runs)
    assert len(found) < len(runs)
    assert all(len({groups.kind(run.recipe) for run in group.runs}) == 1 for group in found)
    expected = [sum(cost.of(r.recipe).minutes / cost.of(r.recipe).networks for r in group.runs) for group in found]
    assert expected == sorted(expected, reverse=True)
    assert found[0].runs[0].experiments[0] == "augmix500"


def test_folds_that_are_runs_of_their_own_share_the_operations():
    folds = [run for run in whole() if run.experiments[0] == "folds-clean"]
    assert len(folds) == 5
    assert groups.operations(folds) == pytest.approx(cost.of(folds[0].recipe).flop)
    assert groups.operations(whole()) == pytest.approx(
        1e15 * cost.totals(cost.priced(REPORTS))["headline + core"].pflop
    )


# --- multiplied out ------------------------------------------------------------------------------------------


def test_minutes_in_closed_form():
    """Two epochs of 2,813 steps (45,000 images by 16), each with 10,000 + 5,000 images measured after it."""
    report = small_report()
    first, second = runs_of(report, report.experiments.values(), [0], "x:y", "full")
    pace = Paces(step_s=0.1, test_image_s=0.001, epoch_end_s=3.0, prepare_s=30.0)
    one = Group((first,)).minutes(pace)
    assert one.training == pytest.approx(2 * 2813 * 0.1 / 60)
    assert one.tests == pytest.approx(2 * 15_000 * 0.001 / 60)
    assert (one.epoch_ends, one.preparing) == (0.1, 0.5)
    assert one.all == pytest.approx(one.training + one.tests + 0.1 + 0.5)
    both = Group((first, second)).minutes(pace)
    assert both.all == pytest.approx(2 * one.all)
    assert (Group((first, second)).steps, Group((first, second)).epochs) == (4 * 2813, 4)


def test_validation_images_that_are_augmented_are_measured_twice():
    split = "split: {train: 45000, val: 5000}"
    twofold, plainly = small_report((split, f"{split}, val_transform: train")), small_report()
    (run, *_) = runs_of(twofold, plainly.experiments.values(), [0], "x", "full")
    twice = twofold.experiments["first"].recipe
    assert measured_images(twice, run.profile, run.tier) == 20_000


def test_a_step_is_a_full_batch_of_the_median_timing():
    """40 images in a median of 2 s: a batch of 16 takes 0.8 s, whatever the size of the last batch."""
    found = timed().paces(16)
    assert found == Paces(step_s=0.8, test_image_s=5e-6, epoch_end_s=0.25, prepare_s=12.0)


# --- sums ----------------------------------------------------------------------------------------------------


def test_sums_hold_what_was_measured_and_no_more():
    found = groups.grouped(whole())
    pace = Paces(0.01, 1e-5, 0.1, 5.0)
    some = {place: pace for place, group in enumerate(found) if group.runs[0].report in ("zhang2023", "chen2024")}
    lines = {line.name: line for line in groups.lines(found, some)}
    assert list(lines) == [*sorted(REPORTS), "without geng2022", "all"]
    assert {name for name, line in lines.items() if line.complete} == {"zhang2023", "chen2024"}
    assert lines["geng2022"].minutes == lines["geng2022"].share == 0
    measured_minutes = sum(group.minutes(pace).all for place, group in enumerate(found) if place in some)
    assert lines["all"].minutes == pytest.approx(measured_minutes)
    assert lines["all"].minutes == pytest.approx(lines["zhang2023"].minutes + lines["chen2024"].minutes)
    own = groups.operations(run for run in whole() if run.report in ("zhang2023", "chen2024"))
    assert lines["all"].share == pytest.approx(own / groups.operations(whole()))


def test_targets_are_of_the_whole_suite_measured_in_full():
    runs, pace = whole(), Paces(0.01, 1e-5, 0.1, 5.0)

    def held(of, lacking=()):
        found = groups.grouped(of)
        lines = groups.lines(found, {place: pace for place in range(len(found)) if place not in lacking})
        return {line.name: groups.target(line, runs) for line in lines if groups.target(line, runs)}

    both = {"without geng2022": (14.0, 9.0), "all": (45.0, 30.0)}
    assert held(runs) == both
    assert held(runs, lacking=[0]) == {"without geng2022": both["without geng2022"]}  # geng2022/augmix500
    assert held([run for run in runs if run.report != "zhang2023"]) == {}
    assert held([run for run in runs if run.experiments[0] != "leaky35"]) == {}


def results(monkeypatch, device, step_s, **more):
    """Return the figures of all reports, each group's step as long as said."""
    monkeypatch.setattr(turns, "device_name", lambda p: device)
    data = replace(sample.load(), name="cifar10")
    made = replace(plan(**more), dataset=data, options=Options(Path(), CPU, "bf16"))
    batch = lambda group: group.recipe.budget.batch_size  # noqa: E731
    monkeypatch.setattr(suite, "measure", lambda group, p: timed([step_s, step_s], images=batch(group)))
    return suite.run(whole(), whole(), made)


@pytest.mark.parametrize(("step_s", "met", "hoped"), [(1e-4, True, True), (7e-4, True, False), (0.5, False, False)])
def test_an_h200_is_held_against_targets(monkeypatch, step_s, met, hoped):
    plain = results(monkeypatch, "NVIDIA H200", step_s)
    line = plain["lines"][-1]
    minutes = sum(group["minutes"]["all"] for group in plain["groups"])
    assert (line["name"], line["minutes"]) == ("all", pytest.approx(minutes))
    assert minutes == pytest.approx(sum(g.steps for g in groups.grouped(whole())) * step_s / 60 + _rest(), rel=1e-6)
    assert (line["target"], line["met"]) == (45.0, met)
    assert (line["moonshot"], line["moonshot_met"]) == (30.0, hoped)
    assert plain["lines"][-2]["target"] == 14.0
    for group in plain["groups"]:
        assert group["measured"]["mfu"] == pytest.approx(group["measured"]["flop_per_s"] / 788e12)
    elsewhere = results(monkeypatch, "NVIDIA A100", step_s)
    assert {line["target"] for line in elsewhere["lines"]} == {None}
    tried = results(monkeypatch, "NVIDIA H200", step_s, batch=8)
    assert {line["target"] for line in tried["lines"]} == {None}


def _rest():
    """Return the minutes of tests, epoch ends and starts of the whole suite, as `timed` has them."""
    epochs = [(run.recipe.budget.epochs, measured_images(run.recipe, run.profile, run.tier)) for run in whole()]
    return sum(n * (images * 5e-6 + 0.25) + 12.0 for n, images in epochs) / 60


# --- measured ------------------------------------------------------------------------------------------------


def test_what_the_time_did_not_reach_is_not_measured(monkeypatch):
    """Groups of 40 s each: a third of as many operations a step would end after 100 s, and each has as many here."""
    now, order, said = [0.0], [], []
    monkeypatch.setattr(suite, "_work", lambda group: 1)

    def measure(group, made):
        order.append(group)
        now[0] += 40.0
        return timed()

    monkeypatch.setattr(suite, "measure", measure)
    made = plan(clock=lambda: now[0], deadline=100.0, say=said.append)
    plain = suite.run(whole(), whole(), made)
    assert [group.runs[0].key for group in order] == [group.runs[0].key for group in groups.grouped(whole())[:2]]
    assert [bool(group["measured"]) for group in plain["groups"]] == [True, True] + [False] * (len(plain["groups"]) - 2)
    assert {group["reason"] for group in plain["groups"][2:]} == {suite.OVER}
    assert {group["minutes"] for group in plain["groups"][2:]} == {None}
    line = plain["lines"][-1]
    assert line["minutes"] == pytest.approx(sum(group["minutes"]["all"] for group in plain["groups"][:2]))
    assert (line["complete"], line["met"]) == (False, None)
    assert said[-1].startswith("time is over, not measured: geng2022/autoaugment-64, ")


def test_a_smaller_step_is_expected_to_be_measured_sooner():
    """By its operations, but never longer than others took."""
    found = [Group((run,)) for run in whole()]
    first, fewer = max(found, key=suite._work), min(found, key=suite._work)
    share = suite._work(fewer) / suite._work(first)
    assert suite._expected(fewer, [first, fewer], {0: 40.0}) == pytest.approx(40 * share)
    assert suite._expected(first, [first, fewer], {1: 3.0}) == 3.0
    assert suite._expected(fewer, [first, fewer], {0: 40.0, 1: 39.0}) == pytest.approx(39.0)


def test_a_group_that_the_devices_memory_does_not_hold_is_left_out(monkeypatch):
    def measure(group, made):
        if group.runs[0].report == "geng2022":
            raise torch.OutOfMemoryError("CUDA out of memory.\nTried")
        return timed()

    monkeypatch.setattr(suite, "measure", measure)
    plain = suite.run(whole(), whole(), plan())
    reasons = {group["of"].split("/")[0]: group["reason"] for group in plain["groups"]}
    assert {name for name, reason in reasons.items() if reason} == {"geng2022"}
    assert reasons["geng2022"] == "CUDA out of memory."


def test_a_slow_device_is_tested_on_fewer_images(monkeypatch):
    """A pass over the sample's test images that would take longer than its bound is timed on a batch of them."""
    report, now = small_report(), [0.0]
    made = plan(clock=lambda: now[0])
    arm = made.arm(runs_of(report, [report.experiments["first"]], [0], "x:y", "full")[0], 32)
    there = len(arm.held.test_index)
    monkeypatch.setattr(paces, "EVAL_BATCH", 40)
    seen = []

    def predict(images, index):
        seen.append(len(index))
        now[0] += len(index) * a_second

    monkeypatch.setattr(arm.stepper, "predict", predict)
    for a_second, wanted in ((paces.TEST_S, 40), (paces.TEST_S / there / 2, there)):
        images, seconds = paces._test(arm, made)
        assert (images, seconds) == (wanted, pytest.approx(wanted * a_second))
    assert seen == [1, 40, 1, 40, there]


@pytest.mark.parametrize(("captured", "writing", "longer"), [(False, 5.0, 5.0), (True, 5.0, 2.0), (True, 2.0, 0.0)])
def test_with_captured_steps_an_epoch_ends_while_the_next_one_trains(tmp_path, monkeypatch, captured, writing, longer):
    """An epoch's training takes 3 s: of writing its state only what is longer counts."""
    report, now = small_report(), [0.0]
    made = plan(clock=lambda: now[0])
    made.options = replace(made.options, home=tmp_path)
    arm = made.arm(runs_of(report, [report.experiments["first"]], [0], "x:y", "full")[0], 32)
    copies = []

    def spend(seconds, what=None):
        now[0] += seconds
        return what

    monkeypatch.setattr(type(arm), "captured", captured)
    monkeypatch.setattr(paces.engine, "read_out", lambda *_: spend(0.25, ({}, {})))
    monkeypatch.setattr(paces.ends, "copied", lambda state: copies.append(1) or spend(0.5, state))
    monkeypatch.setattr(paces.checkpoint, "save", lambda *_: spend(writing))
    assert paces._epoch_end(arm, made, 3.0) == pytest.approx(0.25 + 0.5 * captured + longer)
    assert bool(copies) == captured


@pytest.fixture
def there(place):
    """The current folder with a report of batches of 16 images."""
    file = place / "experiments" / "tiny.yaml"
    file.write_text(file.read_text().replace("batch_size: 128", "batch_size: 16"))
    return place


SMALLEST = ("bench", "suite", "--device", "cpu", "--precision", "fp32", "--repeats", "2", "--steps", "2")


def test_the_figures_of_the_suite_hang_together(there):
    result = CliRunner().invoke(main, [*SMALLEST, "--json", "--save"], catch_exceptions=False)
    plain = json.loads(result.stdout)
    assert json.loads((there / "reports" / "bench" / "suite.json").read_text()) == plain
    assert (plain["benchmark"], plain["schema"], plain["seeds"]) == ("suite", 1, 1)
    assert {"device", "python", "torch", "commit"} <= {*plain["machine"]}
    (group,) = plain["groups"]  # the two arms differ in the learning rate
    assert (group["experiments"], group["runs"], group["steps"]) == (["tiny/first", "tiny/second"], 2, 4 * 2813)
    found, minutes = group["measured"], group["minutes"]
    assert (found["images"], len(found["seconds"])) == (32, 2)
    assert found["step_s"] == pytest.approx(np.median(found["seconds"]) / 2)
    assert found["lowest_s"] <= found["step_s"] <= found["highest_s"]
    assert minutes["training"] == pytest.approx(group["steps"] * found["step_s"] / 60)
    assert minutes["tests"] == pytest.approx(4 * 15_000 * found["test_s"] / found["test_images"] / 60)
    assert minutes["epoch_ends"] == pytest.approx(4 * found["epoch_end_s"] / 60)
    assert minutes["preparing"] == pytest.approx(2 * found["prepare_s"] / 60)
    assert minutes["all"] == pytest.approx(sum(value for key, value in minutes.items() if key != "all"))
    assert found["flop_per_s"] == pytest.approx(found["images_per_s"] * measured.flop_an_image(recipe()))
    (line,) = plain["lines"]
    assert (line["name"], line["runs"], line["share"], line["complete"]) == ("tiny", 2, 1.0, True)
    assert line["minutes"] == pytest.approx(minutes["all"])
    assert (line["target"], line["met"]) == (None, None)


def test_tables_and_tiers(there):
    out = repro(*SMALLEST, "--tier", "core")
    assert "tiny/second" in out
    assert "tiny/first" not in out
    assert "1 (100 % of the operations)" in out
    assert not (there / "reports").exists()


@pytest.mark.parametrize(
    ("arguments", "tiers"),
    [
        ([], {"headline", "core"}),
        (["tiny"], {"headline", "core", "extended"}),
        (["tiny/third"], {"extended"}),
        (["tiny", "--tier", "core"], {"core"}),
    ],
)
def test_what_is_named_is_measured_whatever_its_tier(there, monkeypatch, arguments, tiers):
    file = there / "experiments" / "tiny.yaml"
    text = file.read_text()
    second = next(line for line in text.splitlines(keepends=True) if line.startswith("  second:"))
    third = second.replace("second", "third").replace("tier: core", "tier: extended").replace("1e-2", "2e-2")
    file.write_text(text.replace(second, second + third))
    asked = []
    monkeypatch.setattr(suite, "runs", lambda chosen, plan: asked.append(chosen))
    monkeypatch.setattr(suite, "run", lambda *rest: {})
    repro("bench", "suite", *arguments, "--json")
    assert {one.tier for _, arms in asked[0] for one in arms} == tiers
    assert {one.tier for _, arms in asked[1] for one in arms} <= {"headline", "core"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tine"], "no report 'tine'; did you mean 'tiny'?"),
        (["tiny/frst"], "no experiment 'frst' in tiny; did you mean 'first'?"),
        (["--tier", "long"], "no experiment is of tier long among those named"),
        (["--tier", "cores"], "--tier"),
        (["--budget", "soon"], "expected a time such as"),
        (["--save", "--out", "x.json"], "name two places; give one of them"),
    ],
)
def test_refusals_come_before_anything_is_measured(there, monkeypatch, arguments, message):
    monkeypatch.setattr(suite, "run", lambda *rest: pytest.fail("measured"))
    assert message in repro("bench", "suite", *arguments, code=2)
    assert not (there / "reports").exists()


# --- the page ------------------------------------------------------------------------------------------------


def test_the_page_holds_sums_against_targets(tmp_path, monkeypatch):
    plain = results(monkeypatch, "NVIDIA H200", 7e-4)
    (tmp_path / "suite.json").write_text(json.dumps(plain))
    text = performance.page(tmp_path)
    line = plain["lines"][-1]
    shown = f"| all | {line['runs']} | {line['runs']} | 100 % | {line['minutes']:,.1f} | 45 met | 30 **missed** |"
    assert shown in text
    assert "share of the 788 TFLOP/s" in text
    assert "| `geng2022/augmix500` | 1 | 128 | 195,500 | 0.70 (0.70 to 0.70) | 182,857 |" in text
    assert "Not measured" not in text.partition("## A step with one thing changed")[0]


def test_the_page_says_that_a_sum_is_not_whole(tmp_path, monkeypatch):
    ticks = iter(range(10_000))
    plain = results(monkeypatch, "NVIDIA H200", 0.001, clock=lambda: next(ticks), deadline=4)
    (tmp_path / "suite.json").write_text(json.dumps(plain))
    text = performance.page(tmp_path)
    line = plain["lines"][-1]
    assert f"| {100 * line['share']:.0f} % | at least {line['minutes']:,.1f} | – | – |" in text
    assert "Not measured in full, so that the sum holds what was measured and no more: chen2024, " in text
    assert "Not measured, the time was over: `geng2022/" in text
    assert "Held against no target: those are of the whole suite on an H200." in text
    (nothing,) = {row["minutes"] for row in plain["lines"] if row["name"] == "chen2024"}
    assert nothing is None
