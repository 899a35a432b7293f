"""Our step beside itself: what changes, what is left out and why; counts; what is written, shown, and refused."""

import json
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from command_line import repro, small_report

from repro.bench import arms, counts, measured, step, turns, variants
from repro.bench.counts import Counts
from repro.bench.epochs import Arm
from repro.bench.measured import Facts
from repro.bench.together import Team
from repro.cli import main
from repro.data import sample
from repro.errors import UserError
from repro.judge.timings import Round
from repro.report import performance
from repro.run import Options
from repro.spec.loading import load_all
from repro.train import step as training

CPU = torch.device("cpu")
torch.set_num_threads(1)
QUIET = Round(idle=True, busy_pct=0.0)
REPORTS = load_all()
PARAMS = "  - {id: params, kind: count, experiment: first, value: 5266, where: Table 2}\n"
ODD = ("stem: 8, widths: [8, 16]", "stem: 9, widths: [9, 19]")
OPTIM = "optim: {name: adam, lr: 1e-3}"


def named(*changes):
    """Return the small report's first experiment, of batches of 16, with (old, new) pieces of its text exchanged."""
    report = small_report((PARAMS, ""), *changes)
    return report, report.experiments["first"]


def plan(precision="fp32", **more):
    options = Options(Path(), CPU, precision)
    return turns.Plan(
        sample.load(), options, **{"steps": 2, "repeats": 2, "say": lambda t: None, "look": lambda d: QUIET} | more
    )


@pytest.fixture
def uncompiled(monkeypatch):
    """Networks that are said to be compiled, and are not: compiling takes longer than all of these tests."""
    monkeypatch.setattr(training, "fused", lambda model: lambda x: model(x))


# --- what varies ---------------------------------------------------------------------------------------------


def test_variants_are_chosen_by_name_in_their_own_order():
    every = [v.name for v in variants.choose([])]
    assert every == ["eager", "unpadded", "compiled", "concurrent-2", "concurrent-4"]
    assert [v.name for v in variants.choose(["concurrent-4", "eager"])] == ["eager", "concurrent-4"]
    with pytest.raises(UserError, match="--only compield: no variant has this name; did you mean 'compiled'"):
        variants.choose(["eager", "compield"])


@pytest.mark.parametrize(
    ("precision", "changes", "missing"),
    [
        ("fp32", [], {"unpadded": "in fp32 no channels are padded"}),
        ("bf16", [], {"unpadded": "every width of the network is a multiple of 8"}),
        ("bf16", [ODD], {}),
    ],
)
def test_what_cannot_be_on_a_device_is_left_out_with_the_reason(precision, changes, missing):
    made = plan(precision)
    ours = arms.ready(arms.run_of(named(*changes), made), made, 2)
    found = {v.name: v.missing(ours) for v in variants.VARIANTS}
    kernels = "ours is launched kernel by kernel here: graphs of steps are CUDA's"
    graphs = dict.fromkeys(("eager", "concurrent-2", "concurrent-4"), kernels)
    assert {name: reason for name, reason in found.items() if reason} == graphs | missing


def test_steps_that_a_graph_cannot_hold_are_named(monkeypatch):
    made = plan()
    ours = arms.ready(arms.run_of(named((OPTIM, "optim: {name: adagrad, lr: 0.1}")), made), made, 2)
    monkeypatch.setattr(ours, "device", torch.device("cuda"))
    assert variants.VARIANTS[0].missing(ours).endswith("steps with Adagrad could not be captured")


def test_variants_train_the_same_thing_in_turn(monkeypatch, uncompiled):
    """Ours, unpadded, compiled, ours, ...: the same losses but for rounding, from networks of their own."""
    order, made = [], plan("bf16", repeats=3)
    real = Arm.train
    monkeypatch.setattr(Arm, "train", lambda arm, number: order.append(arm) or real(arm, number))
    losses = []
    monkeypatch.setattr(
        turns, "in_turn", lambda passes, p, real=turns.in_turn: (losses.extend(_losses(passes, order)), order.clear(),
                                                                 real(passes, p))[2])  # fmt: skip
    row = variants.measure(named(ODD), made)
    ours, unpadded, compiled = order[:3]
    assert order[:9] == [ours, unpadded, compiled] * 3
    assert list(row["arms"]) == ["ours", "unpadded", "compiled"]
    assert (ours.stepper.own is None, unpadded.stepper.own is None) == (False, True)
    assert (ours.stepper.compiled is None, compiled.stepper.compiled is None) == (True, False)
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
    assert losses[2] == pytest.approx(losses[0], rel=0.02)
    assert row["arms"]["compiled"]["operations_per_step"] is None  # counting would compile anew
    assert row["arms"]["unpadded"]["operations_per_step"] == row["arms"]["ours"]["operations_per_step"]
    assert all(arm["prepare_s"] > 0 for arm in row["arms"].values())


def _losses(passes, order):
    """Train an epoch with each arm and return its steps' losses."""
    for run in passes.values():
        order.clear()
        run(1)
        yield order[0].stepper.log[0].tolist()


@pytest.mark.parametrize("error", [UserError("no compiler"), torch.OutOfMemoryError("no compiler\nand more")])
def test_a_variant_that_cannot_be_made_ready_is_left_out(monkeypatch, error):
    def fail(model):
        raise error

    monkeypatch.setattr(training, "fused", fail)
    row = variants.measure(named(), plan(), variants.choose(["compiled"]))
    assert list(row["arms"]) == ["ours"]
    assert row["ratios"] == {}
    assert row["missing"] == {"compiled": "could not be made ready: no compiler"}


def test_runs_side_by_side_train_as_one_alone_does():
    made = plan()
    run = arms.run_of(named(), made)
    alone = made.arm(run, 32)
    alone.warm_up(made.watch)
    alone.train(1)
    with Team(lambda: made.arm(run, 32), 3, CPU, made.watch) as team:
        team.train()
        logs = [arm.stepper.log for arm in team.arms]
        assert len({id(arm.stepper.model) for arm in team.arms}) == 3
        assert team.prepare_s == pytest.approx(sum(arm.prepare_s for arm in team.arms))
    assert all(torch.equal(log, alone.stepper.log) for log in logs)


def test_an_error_of_one_of_several_ends_their_threads():
    def fail():
        raise torch.OutOfMemoryError("full")

    with pytest.raises(torch.OutOfMemoryError, match="full"):
        Team(fail, 2, CPU, lambda: 0.0)


def test_several_runs_count_all_of_their_images():
    """Two runs of 32 images in 3 s beside one in 2 s: 64 / 3 images a second, and 4/3 times as fast as ours."""
    made = plan()
    ours = arms.ready(arms.run_of(named(), made), made, 2)
    facts = {"ours": Facts("fp32"), "concurrent-2": Facts("fp32", copies=2)}
    row = turns.row(named(), ours, facts, {"ours": [2.0], "concurrent-2": [3.0]}, QUIET, made, 16)
    assert row["arms"]["concurrent-2"]["images_per_s"] == pytest.approx(64 / 3)
    assert row["arms"]["ours"]["images_per_s"] == pytest.approx(16)
    assert row["ratios"]["concurrent-2"]["ratio"] == pytest.approx(0.75)
    assert row["ratios"]["concurrent-2"]["target"] is None


# --- what is counted -----------------------------------------------------------------------------------------


def test_on_a_cpu_what_a_gpus_host_would_wait_for_is_counted():
    x, counter = torch.arange(3.0), torch.tensor(2.0)
    with counts.waits(CPU, host=[counter]) as seen:
        (x + 1).sum()
        x[1:].mul(2)
        assert seen == []
        x.sum().item(), x.cpu(), x.tolist(), x[x > 0], counter.item()
    assert sorted(seen) == ["_local_scalar_dense", "cpu", "index", "tolist"]


def test_on_cuda_the_debug_modes_warnings_are_counted(monkeypatch):
    modes = [0]
    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: modes[-1])
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)
    with counts.waits(torch.device("cuda")) as seen:
        for text in (
            "called a synchronizing CUDA operation",
            "something else",
            "called a synchronizing CUDA operation",
        ):
            warnings.warn(text, stacklevel=1)
    assert (len(seen), modes) == (2, [0, "warn", 0])


def test_kernels_are_those_of_the_device_without_copies():
    events = [{"cat": "kernel"}, {"cat": "kernel"}, {"cat": "gpu_memcpy"}, {"cat": "cpu_op"}, {"ph": "M"}]
    assert counts.kernels_of({"traceEvents": events}) == 2
    assert counts.kernels(lambda: pytest.fail("made a step"), CPU) is None


def test_a_machine_that_hides_its_kernels_has_no_number(monkeypatch):
    """A trace without kernels, as a profiler without rights writes it: a step always has some."""
    waited, made = [], []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    device = torch.device("cuda")
    assert counts.kernels(lambda: made.append(torch.ones(3) + 1), device) is None
    assert (len(made), waited) == (1, [device])


@pytest.mark.parametrize("steps", [1, 3])
def test_ours_waits_once_an_epoch_and_the_plain_loop_twice_a_step(steps):
    row = step.measure(named(), plan(steps=steps, repeats=1))
    waits = {name: arm["host_syncs"] for name, arm in row["arms"].items()}
    assert waits == {"ours": 1, "plain": 2 * steps, "tuned": 1}  # Adam's own counters lie on the host
    assert {arm["kernels_per_step"] for arm in row["arms"].values()} == {None}
    assert all(arm["prepare_s"] > 0 for arm in row["arms"].values())


@pytest.mark.parametrize("ending", ["autoaugment", "augmix"])
def test_augmentation_is_counted_as_a_gpu_would_be_given_it(ending):
    flips = "{name: flip}]"
    own = arms.run_of(named((flips, f"{{name: flip}}, {{name: {ending}}}]")), made := plan())
    ours = arms.ready(own, made, 2)
    seen = arms.counted(ours)
    assert seen.host_syncs == 1
    assert seen == arms.counted(ours)  # and does not depend on the draws


def test_the_clock_of_readiness_is_the_plans():
    """What happens between building and warming up is no part of it."""
    now = [0.0]

    def clock():
        now[0] += 1.0
        return now[0]

    made = plan(clock=clock)
    arm = made.arm(arms.run_of(named(), made), 32)
    now[0] += 100.0
    arm.warm_up(lambda: 0.0)
    assert arm.prepare_s == 2.0  # a tick of building, a tick of warming up


# --- the command ---------------------------------------------------------------------------------------------


@pytest.fixture
def there(place):
    """The current folder with a report of batches of 16 images."""
    file = place / "experiments" / "tiny.yaml"
    file.write_text(file.read_text().replace("batch_size: 128", "batch_size: 16"))
    return place


SMALLEST = ("bench", "variants", "tiny", "--device", "cpu", "--precision", "bf16", "--repeats", "2", "--steps", "2")


def test_the_figures_of_variants_hang_together(there, uncompiled):
    result = CliRunner().invoke(main, [*SMALLEST, "--only", "eager,compiled", "--json", "--save"])
    plain = json.loads(result.stdout)
    assert json.loads((there / "reports" / "bench" / "variants.json").read_text()) == plain
    assert (plain["benchmark"], plain["schema"], plain["variants"]) == ("variants", 1, ["eager", "compiled"])
    assert {"device", "python", "torch", "commit"} <= {*plain["machine"]}
    (row,) = plain["rows"]
    assert list(row["missing"]) == ["eager"]
    assert list(row["arms"]) == ["ours", "compiled"]
    keys = {"precision", "copies", "seconds", "images_per_s", "flop_per_s", "mfu", "operations_per_step",
            "kernels_per_step", "host_syncs", "prepare_s"}  # fmt: skip
    for arm in row["arms"].values():
        assert set(arm) == keys
        assert arm["flop_per_s"] == pytest.approx(arm["images_per_s"] * row["flop_an_image"])
    pairs = [theirs / ours for ours, theirs in zip(*(a["seconds"] for a in row["arms"].values()), strict=True)]
    assert row["ratios"]["compiled"]["ratio"] == pytest.approx(sum(pairs) / 2, rel=1e-3)  # the median of two


def test_the_table_shows_what_was_not_measured(there):
    out = repro(*SMALLEST, "--only", "concurrent-2")
    assert "concurrent-2" in out
    assert "not measured" in out
    assert "Not measured: concurrent-2: ours is launched kernel by kernel here: graphs of steps are CUDA's" in out
    assert not (there / "reports").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tine"], "no report 'tine'; did you mean 'tiny'?"),
        (["tiny/frst"], "no experiment 'frst' in tiny; did you mean 'first'?"),
        (["--only", "eager,padded"], "--only padded: no variant has this name; did you mean 'unpadded'?"),
        (["--only", ""], "no variant has this name"),
        (["--device", "tpu"], "--device tpu"),
        (["--save", "--out", "x.json"], "name two places; give one of them"),
    ],
)
def test_refusals_come_before_anything_is_measured(there, monkeypatch, arguments, message):
    monkeypatch.setattr(turns, "result", lambda *rest: pytest.fail("measured"))
    assert message in repro("bench", "variants", *arguments, code=2)
    assert not (there / "reports").exists()


# --- the page ------------------------------------------------------------------------------------------------


def made_up(benchmark="variants"):
    """Return a file's figures, as of an H200."""
    final = REPORTS["zhang2023"].experiments["final"].recipe
    seconds = {"ours": [1.0, 1.0], "eager": [1.5, 1.7], "concurrent-2": [1.8, 1.8]}
    counted = Counts(1.0, 321, 1)
    facts = {"ours": Facts("bf16", counted, 2.5), "eager": Facts("bf16", replace(counted, operations=120.0), 1.5),
             "concurrent-2": Facts("bf16", prepare_s=5.0, copies=2)}  # fmt: skip
    row = {
        "experiment": "zhang2023/final", "batch_size": 128, "steps": 50, "repeats": 2,
        "before": {"idle": False, "busy_pct": 30.0, "others": 1},
        "arms": {name: measured.arm(seconds[name], 6400, final, "NVIDIA H200", facts[name]) for name in facts},
        "ratios": {n: measured.against(seconds["ours"], seconds[n], None) for n in ("eager", "concurrent-2")},
        "missing": {"unpadded": "every width of the network is a multiple of 8"},
    }  # fmt: skip
    return {
        "benchmark": benchmark, "schema": 1, "date": "2026-01-02T03:04:05+00:00", "machine": {"device": "NVIDIA H200"},
        "precision": "bf16", "source": "cifar10", "clock": "wall", "rows": [row],
    }  # fmt: skip


def test_the_page_shows_variants_and_why_some_are_missing(tmp_path):
    (tmp_path / "variants.json").write_text(json.dumps(made_up()))
    text = performance.page(tmp_path)
    share = 100 * 6400 * measured.flop_an_image(REPORTS["zhang2023"].experiments["final"].recipe) / 788e12
    start = "| `zhang2023/final` | 128 |"
    assert f"{start} ours | 6,400 | {share:.1f} % | – | 321 | 1 in 50 | 2.5 |" in text
    assert f"{start} eager | 4,000 |" in text
    assert "| 1.60 (1.50 to 1.70) | 321 | 1 in 50 | 1.5 |" in text
    assert f"{start} concurrent-2 | 7,111 |" in text
    assert f"{start} unpadded | not measured | – | – | – | – | – |" in text
    assert "Not measured: unpadded (everywhere), every width of the network is a multiple of 8." in text
    assert "share of the 788 TFLOP/s" in text
    assert "**Others used the machine** just before these were timed: `zhang2023/final`." in text


def test_the_page_says_which_benchmarks_lack(tmp_path):
    (tmp_path / "variants.json").write_text(json.dumps(made_up()))
    text = performance.page(tmp_path)
    assert "## What the whole suite takes\n\nNot measured yet; `repro bench suite --save` does." in text
    assert "`repro bench variants --save`" not in text
    (tmp_path / "variants.json").write_text(json.dumps(made_up() | {"rows": [{}]}))
    with pytest.raises(UserError, match=r"variants\.json: KeyError"):
        performance.page(tmp_path)
