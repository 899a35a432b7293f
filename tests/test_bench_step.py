"""Peers train what ours trains; arms in turn; figures in closed form; what is written, shown, and refused."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from command_line import SMALL, repro, small_report
from PIL import Image

from repro.bench import arms, loaders, measured, networks, peers, step, turns
from repro.bench.counts import Counts
from repro.bench.measured import Facts
from repro.bench.peers import PLAIN, TUNED, Peer
from repro.cli import main
from repro.data import sample
from repro.errors import UserError
from repro.judge.timings import Round
from repro.report import performance
from repro.run import Options
from repro.spec.counting import macs
from repro.spec.loading import load_all, parse

CPU = torch.device("cpu")
torch.set_num_threads(1)
QUIET = Round(idle=True, busy_pct=0.0)
SGD = "optim: {name: sgd, lr: 0.01, momentum: 0.9, weight_decay: 5e-4}"
REPORTS = load_all()


def plan(**more):
    return turns.Plan(sample.load(), Options(Path(), CPU, "fp32"), say=lambda text: None, look=lambda d: QUIET, **more)


def trio(tiny, images=40, **more):
    """Return ours and its peers, of one experiment."""
    made = plan(**more)
    ours = made.arm(arms.run_of((tiny, tiny.experiments["first"]), made), images)
    return made, ours, [Peer(style, ours) for style in (PLAIN, TUNED)]


def numbers(model):
    """Return a network's parameters and running statistics, one after the other."""
    state = {name: value for name, value in model.state_dict().items() if "num_batches" not in name}
    return torch.cat([value.flatten().double() for _, value in sorted(state.items())])


def weights(model):
    """Return a network's parameters, one after the other."""
    return torch.cat([value.detach().flatten().double() for value in model.parameters()])


# --- the same training ---------------------------------------------------------------------------------------


PLAINLY = ("augment: [{name: crop, pad: 4}, {name: flip}]", "augment: []")
AUGMIX = ("augment: [{name: crop, pad: 4}, {name: flip}]", "augment: [{name: flip}, {name: augmix, views: 3}]")
JSD = ("loss: {name: cross_entropy}", "loss: {name: jensen_shannon}")
TRAINED = ("optim: {name: adam, lr: 1e-3}", SGD)
ANEW = ("optim: {name: adam, lr: 1e-3}", SGD.replace("5e-4", "5e-4, recreate_each_epoch: true"))
COSINE = ("schedule: {name: constant}", "schedule: {name: cosine, t_max: 4, per: step}")
PENALTY = ("loss: {name: cross_entropy}", "loss: {name: cross_entropy, last_bias_norm: 0.5}")
SMALL_VGG = "name: vgg, widths: [4, 4, 8, 8, 8], convs: [1, 1, 1, 1, 1], hidden: [8], batch_norm: true"
VGG = ("model: {name: resnet, stem: 8, widths: [8, 16], blocks: [1, 1]}", f"model: {{{SMALL_VGG}}}")
PARAMS = "  - {id: params, kind: count, experiment: first, value: 5266, where: Table 2}\n"


@pytest.mark.parametrize(
    "changes",
    [(PLAINLY, TRAINED), (TRAINED, COSINE), (TRAINED, AUGMIX, JSD), (PLAINLY, ANEW, PENALTY), (TRAINED, VGG)],
    ids=["plain images", "augmented, cosine", "three views", "optimizer anew, penalty", "VGG"],
)
def test_peers_end_with_our_weights_after_the_same_batches(changes):
    made, ours, both = trio(small_report((PARAMS, ""), *changes))
    before = weights(ours.stepper.model)
    assert ours.stepper.steps == 3  # the last batch has 8 of 16 images and is not dropped
    for number in (1, 2):
        draws = ours.stepper.prepare(0, number)
        batches = {p.style: list(peers.ready_made(ours.stepper, draws, p.style)) for p in both}
        ours.epoch(number, made.clock)
        for peer in both:
            peer.train(batches[peer.style], number)
    moved = (weights(ours.stepper.model) - before).abs().max()
    loss, hits = ours.stepper.log.double()
    for peer in both:
        # Rounding grows from step to step: another order of sums, another memory format.
        assert (weights(peer.model) - weights(ours.stepper.model)).abs().max() < 0.02 * moved
        assert numbers(peer.model) == pytest.approx(numbers(ours.stepper.model), abs=2e-4)
        assert peer.total[0] == pytest.approx((loss * torch.tensor([16, 16, 8])).sum().item(), rel=1e-4)
        assert peer.total[1] == hits.sum().item()


def test_adam_takes_the_same_first_steps():
    """Its update has the sign of a gradient however small, so weights are compared by their mean distance."""
    made, ours, both = trio(small_report(PLAINLY))
    draws = ours.stepper.prepare(0, 1)
    batches = {p.style: list(peers.ready_made(ours.stepper, draws, p.style)) for p in both}
    before = numbers(ours.stepper.model)
    ours.epoch(1, made.clock)
    moved = (numbers(ours.stepper.model) - before).abs().mean()
    for peer in both:
        peer.train(batches[peer.style], 1)
        assert (numbers(peer.model) - numbers(ours.stepper.model)).abs().mean() < 0.01 * moved


def test_a_peer_of_padded_channels_has_the_networks_own():
    tiny = small_report((PARAMS, ""), ("stem: 8, widths: [8, 16]", "stem: 9, widths: [9, 19]"), PLAINLY)
    made = plan()
    made.options = replace(made.options, precision="bf16")
    ours = made.arm(arms.run_of((tiny, tiny.experiments["first"]), made), 16)
    for style, precision in ((PLAIN, "fp32"), (TUNED, "bf16")):
        peer = Peer(style, ours)
        assert peer.precision == precision
        assert peer.model.conv.weight.shape[0] == 9 < ours.stepper.model.conv.weight.shape[0]
        peer.train(list(peers.ready_made(ours.stepper, ours.stepper.prepare(0, 1), style)), 1)
        assert 0 < peer.total[0] / 16 < 10


def test_what_the_styles_differ_in():
    _, ours, (plain, tuned) = trio(small_report(PLAINLY))
    assert type(next(m for m in plain.model.modules() if isinstance(m, torch.nn.BatchNorm2d))) is torch.nn.BatchNorm2d
    assert plain.optimizer.defaults["fused"] is None is tuned.optimizer.defaults["fused"]
    (first, _), *_ = peers.ready_made(ours.stepper, ours.stepper.prepare(0, 1), PLAIN)
    (second, _), *_ = peers.ready_made(ours.stepper, ours.stepper.prepare(0, 1), TUNED)
    assert torch.equal(first, second)
    assert first.is_contiguous()
    assert second.is_contiguous(memory_format=torch.channels_last)
    assert (PLAIN.workers(), PLAIN.precision("bf16", torch.device("cuda"))) == (2, "tf32")
    assert PLAIN.precision("fp32", torch.device("cuda")) == "fp32" == TUNED.precision("fp32", CPU)
    assert 1 <= TUNED.workers() <= 16


# --- the peers' data -----------------------------------------------------------------------------------------


def recipe_of(augment):
    made = small_report(("augment: [{name: crop, pad: 4}, {name: flip}]", f"augment: {augment}"))
    return made.experiments["first"].recipe


def test_loaders_give_every_image_once_in_batches_that_keep_the_last():
    data = sample.load()
    x, y = data.x_train[:40], data.y_train[:40]
    made = list(loaders.loader(x, y, recipe_of("[]"), 0, pin=False, keep=False))
    assert [len(labels) for _, labels in made] == [16, 16, 8]
    images = torch.cat([images for images, _ in made])
    wanted = torch.from_numpy(x).permute(0, 3, 1, 2).float() / 255
    assert torch.equal(images.flatten(1).sum(1).sort()[0], wanted.flatten(1).sum(1).sort()[0])
    assert torch.equal(torch.cat([labels for _, labels in made]).sort()[0], torch.from_numpy(y).long().sort()[0])


def test_loaders_workers_draw_apart():
    """Two workers mix one image again and again; no batch of one is a batch of the other."""
    data = sample.load()
    x, y = np.repeat(data.x_train[:1], 64, 0), np.repeat(data.y_train[:1], 64)
    mixed = recipe_of("[{name: augmix, all_ops: true}]")
    first, second, *_ = (images for images, _ in loaders.loader(x, y, mixed, 2, pin=False, keep=False))
    assert first.shape == (16, 3, 32, 32)
    assert len({image.numpy().tobytes() for image in torch.cat([first, second])}) > 24


@pytest.mark.parametrize(("depth", "names"), [("", 9), (", depth: 2", 9), (", depth: 1, all_ops: true", 13)])
def test_mixes_are_those_of_the_recipe(depth, names):
    augmix = loaders.transform(recipe_of(f"[{{name: flip}}, {{name: augmix, width: 4{depth}}}]")).transforms[-1]
    drawn = [augmix.draw() for _ in range(400)]
    assert {len(mix.chains) for mix in drawn} == {4}
    lengths = {len(chain) for mix in drawn for chain in mix.chains}
    assert lengths == ({1, 2, 3} if not depth else {int(re.search(r"depth: (\d)", depth)[1])})
    assert len({name for mix in drawn for chain in mix.chains for name, _, _ in chain}) == names


def test_exact_rotations_turn_to_either_side_and_vertical_flips_upside_down():
    image = Image.fromarray(sample.load().x_train[0])
    turn = loaders.transform(recipe_of("[{name: rotate, degrees: 30, exact: true}]"))
    wanted = {np.asarray(image.rotate(angle)).tobytes() for angle in (30, -30)}
    made = {(turn(image).permute(1, 2, 0) * 255).round().byte().numpy().tobytes() for _ in range(40)}
    assert made == wanted
    flip = loaders.transform(recipe_of("[{name: flip, p: 1.0, direction: vertical}]"))
    upside = torch.from_numpy(np.asarray(image)[::-1].copy()).permute(2, 0, 1).float() / 255
    assert torch.equal(flip(image), upside)


@pytest.mark.parametrize("tiny", REPORTS.values(), ids=lambda r: r.id)
def test_every_recipe_of_the_reports_has_a_peers_transform(tiny):
    image = Image.fromarray(sample.load().x_train[0])
    for experiment in tiny.experiments.values():
        shape = loaders.transform(experiment.recipe)(image).shape
        assert shape == ((3, 3, 32, 32) if experiment.recipe.loss.name == "jensen_shannon" else (3, 32, 32))


# --- what is measured, in which order ------------------------------------------------------------------------


def test_arms_are_timed_in_turn_and_no_round_begins_that_would_end_late():
    now, log = [0.0], []

    def arm(name, seconds):
        def run(number):
            log.append(f"{name}{number}")
            now[0] += seconds

        return run

    passes = {"ours": arm("a", 1.0), "plain": arm("b", 2.0), "tuned": arm("c", 4.0)}
    seconds = turns.in_turn(passes, plan(repeats=3, clock=lambda: now[0], watch=lambda: now[0]))
    assert log == ["a1", "b1", "c1", "a2", "b2", "c2", "a3", "b3", "c3"]
    assert seconds == {"ours": [1.0] * 3, "plain": [2.0] * 3, "tuned": [4.0] * 3}
    for left, rounds in ((0.0, 1), (13.9, 1), (14.0, 2), (99.0, 3)):
        now[0] = 0.0
        timed = plan(repeats=3, clock=lambda: now[0], watch=lambda: now[0], deadline=left)
        assert len(turns.in_turn(passes, timed)["ours"]) == rounds


def test_experiments_share_the_time_and_those_that_are_left_are_named():
    now, said, shares = [0.0], [], []
    tiny = small_report(("optim: {lr: 1e-2}}", "budget: {epochs: 2, batch_size: 48}}"))
    made = plan(clock=lambda: now[0], deadline=90.0)
    made.say = said.append

    def measure(named, share):
        shares.append(share.deadline - now[0])
        now[0] += 60.0
        return {"ratios": {"plain": {"ratio": 1.0}}}

    chosen = [(tiny, tiny.experiments["first"]), (tiny, tiny.experiments["second"])] * 2
    found = turns.result("step", chosen, made, measure)
    # Half by operations (batches of 16, 48, 16, 48), half as much for each of those left.
    assert shares == pytest.approx([90 * (16 / 128 + 1 / 4) / 2, 30 * (48 / 112 + 1 / 3) / 2])
    assert len(found["rows"]) == 2
    assert said[-2:] == ["time is over: tiny/first is missing", "time is over: tiny/second is missing"]


def test_a_step_as_long_as_a_second_is_timed_alone_and_a_short_one_often(monkeypatch):
    tiny = small_report()
    run, lengths, seconds = arms.run_of((tiny, tiny.experiments["first"]), plan()), [], [0.0]
    monkeypatch.setattr(arms.Arm, "warm_up", lambda arm, clock: lengths.append(arm.stepper.steps) or seconds[0])
    for seconds[0], steps in ((1.5, [1]), (0.3, [1, 4]), (0.0001, [1, 50])):
        lengths.clear()
        arms.ready(run, plan(), 50)
        assert lengths == steps
    lengths.clear()
    arms.ready(run, plan(steps=3), 50)
    assert lengths == [3]


def test_usual_experiments_are_one_a_report_and_the_two_that_differ():
    names = [f"{r.id}/{e.id}" for r, e in networks.choose(REPORTS, [])]
    assert set(networks.MORE) <= set(names)
    assert {name.partition("/")[0] for name in names} == set(REPORTS)
    assert len(names) == len(set(names)) == len(REPORTS) + len(networks.MORE)
    again = [e.id for _, e in networks.choose(REPORTS, ["zhang2023", "zhang2023/final", "zhang2023/relu35"])]
    assert again == ["final", "vgg-a-bn", "relu35"]
    only = parse(SMALL.replace("tier: headline", "tier: core"), "tiny.yaml")
    assert [e.id for _, e in networks.choose({"tiny": only}, [])] == ["first"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("zhang203", "zhang203: no report 'zhang203'; did you mean 'zhang2023'?"),
        ("zhang2023/finl", "zhang2023/finl: no experiment 'finl' in zhang2023; did you mean 'final'?"),
        ("zhang2023/", "zhang2023/: no experiment '' in zhang2023; "),
    ],
)
def test_names_that_are_not_known_are_refused(name, said):
    with pytest.raises(UserError) as caught:
        networks.choose(REPORTS, [name])
    assert str(caught.value).startswith(said)


# --- figures -------------------------------------------------------------------------------------------------


def recipe(name):
    known, _, arm = name.partition("/")
    return REPORTS[known].experiments[arm].recipe


def test_rates_follow_from_the_median_in_closed_form():
    """ResNet-18: 3 x 2 operations a multiply-accumulate, but for the stem's input gradients (3 x 64 x 9 x 1024)."""
    final = recipe("zhang2023/final")
    an_image = 6 * macs(final.model) - 2 * 3 * 64 * 9 * 1024
    assert measured.flop_an_image(final) == an_image
    three = recipe("geng2022/augmix500")
    assert measured.flop_an_image(three) % 3 == 0  # three views
    arm = measured.arm([0.4, 0.1, 0.2], 1280, final, "NVIDIA H200", Facts("bf16", Counts(7.0)))
    assert arm["images_per_s"] == pytest.approx(1280 / 0.2)
    assert arm["flop_per_s"] == pytest.approx(6400 * an_image)
    assert arm["mfu"] == pytest.approx(6400 * an_image / 788e12)
    for device, precision in (("NVIDIA H200", "fp32"), ("AMD EPYC (2 threads)", "bf16")):
        assert measured.arm([0.2], 1280, final, device, Facts(precision))["mfu"] is None


def test_ratios_are_of_one_round_each_and_equality_meets_a_target():
    found = measured.against([1.0, 2.0, 4.0], [3.0, 2.0, 2.0], 1.0)
    assert (found["ratio"], found["lowest"], found["highest"], found["met"]) == (1.0, 0.5, 3.0, True)
    assert measured.against([1.0], [0.99], 1.0)["met"] is False
    assert measured.against([1.0], [9.0], None)["met"] is None


@pytest.mark.parametrize(
    ("name", "device", "precision", "native", "plain", "tuned"),
    [
        ("zhang2023/final", "AMD EPYC (2 threads)", "fp32", False, 1.0, None),
        ("zhang2023/final", "NVIDIA H200", "fp32", True, 1.0, None),
        ("zhang2023/final", "AMD EPYC (2 threads)", "bf16", True, 2.0, None),
        ("zhang2023/final", "AMD EPYC (2 threads)", "bf16", False, None, None),
        ("chen2024/resnet68", "AMD EPYC (2 threads)", "bf16", True, 1.3, None),
        ("zhang2023/final", "NVIDIA H200", "bf16", True, 3.0, 1.3),
        ("zhang2023/width32", "NVIDIA H200", "bf16", True, 1.3, None),
        ("zhang2023/vgg-a-bn", "NVIDIA H200", "bf16", True, 1.3, None),
        ("zhang2023/stem7-35", "NVIDIA H200", "bf16", True, 1.3, None),
        ("shamooun2022/released", "NVIDIA H200", "bf16", True, 1.3, None),
    ],
)
def test_targets(name, device, precision, native, plain, tuned):
    model = recipe(name).model
    assert measured.target(model, device, precision, "plain", native) == plain
    assert measured.target(model, device, precision, "tuned", native) == tuned


# --- the commands --------------------------------------------------------------------------------------------


@pytest.fixture
def there(place, monkeypatch):
    """The current folder with a report of batches of 16 images."""
    file = place / "experiments" / "tiny.yaml"
    file.write_text(file.read_text().replace("batch_size: 128", "batch_size: 16"))
    return place


SMALLEST = ("bench", "step", "tiny", "--device", "cpu", "--precision", "fp32", "--repeats", "2", "--steps", "2")


def test_the_figures_of_steps_hang_together(there):
    result = CliRunner().invoke(main, [*SMALLEST, "--json", "--save"], catch_exceptions=False)
    plain = json.loads(result.stdout)
    assert json.loads((there / "reports" / "bench" / "step.json").read_text()) == plain
    assert (plain["benchmark"], plain["schema"], plain["precision"]) == ("step", 1, "fp32")
    assert plain["clock"] == "thread"  # the tests run on one thread
    assert {"device", "python", "torch", "commit"} <= {*plain["machine"]}
    (row,) = plain["rows"]
    assert (row["experiment"], row["batch_size"], row["images"], row["steps"]) == ("tiny/first", 16, 32, 2)
    assert list(row["arms"]) == ["ours", "plain", "tuned"]
    for arm in row["arms"].values():
        assert len(arm["seconds"]) == 2
        assert arm["images_per_s"] == pytest.approx(32 / np.median(arm["seconds"]), rel=1e-4)
        assert arm["flop_per_s"] == pytest.approx(arm["images_per_s"] * row["flop_an_image"])
        assert arm["operations_per_step"] > 20
    # Of a peer's step on a CPU: an update of each tensor by itself, several operations each.
    assert row["arms"]["plain"]["operations_per_step"] > row["arms"]["ours"]["operations_per_step"]
    for peer in ("plain", "tuned"):
        ratios = np.divide(row["arms"][peer]["seconds"], row["arms"]["ours"]["seconds"])
        assert row["ratios"][peer]["ratio"] == pytest.approx(np.median(ratios), rel=1e-3)
        assert row["ratios"][peer]["lowest"] == pytest.approx(ratios.min(), rel=1e-3)
    assert row["ratios"]["plain"]["target"] == 1.0
    assert row["ratios"]["tuned"]["met"] is None


def test_tables_name_arms_machine_and_targets(there):
    out = repro(*SMALLEST)
    assert re.search(r"tiny/first +16 +ours +fp32", out)
    assert re.search(r"plain +fp32 .* 1 +(met|missed)\n", out)
    assert re.search(r"tuned +fp32 .*\) +-\n", out)
    assert f"torch {torch.__version__}" in out
    assert "2 timings an arm" in out
    assert re.search(r"plain +fp32 .*\) +-\n", repro(*SMALLEST, "--batch", "8"))
    assert not (there / "reports").exists()


def test_an_epoch_is_trained_with_loaders(there, monkeypatch):
    asked = []
    real = loaders.loader
    monkeypatch.setattr(peers, "loader", lambda x, y, *rest, **more: asked.append((len(x), rest[1])) or real(
        x, y, rest[0], 0, pin=False, keep=False))  # fmt: skip
    repro("bench", "epoch", "tiny/second", "--images", "40", "--repeats", "2", "--device", "cpu", "--precision", "fp32",
          "--out", "epoch.json")  # fmt: skip
    plain = json.loads((there / "epoch.json").read_text())
    (row,) = plain["rows"]
    assert asked == [(40, PLAIN.workers()), (40, TUNED.workers())]
    assert (plain["benchmark"], row["images"], row["steps"], row["recipe_images"]) == ("epoch", 40, 3, 45_000)
    assert plain["clock"] == "wall"  # the loaders' workers are other processes
    assert [len(arm["seconds"]) for arm in row["arms"].values()] == [2, 2, 2]
    assert {found["target"] for found in row["ratios"].values()} == {None}  # fewer images than the recipe's


def test_what_has_been_measured_outlives_what_fails_later(there, monkeypatch):
    """It lies beside the file, which is written once it is whole: one that is there stays."""
    measure, saved = step.measure, there / "reports" / "bench" / "step.json"
    part = saved.with_name("step.json.part")

    def failing(named, plan):
        if named[1].id == "second":
            raise KeyboardInterrupt
        return measure(named, plan)

    command = ("bench", "step", "tiny/first", "tiny/second", *SMALLEST[3:])
    saved.parent.mkdir(parents=True)
    saved.write_text("{}")
    monkeypatch.setattr(step, "measure", failing)
    repro(*command, "--save", code=130)
    assert saved.read_text() == "{}"
    first = json.loads(part.read_text())
    assert [row["experiment"] for row in first["rows"]] == ["tiny/first"]
    monkeypatch.setattr(step, "measure", measure)
    repro(*command, "--save")
    whole = json.loads(saved.read_text())
    assert [row["experiment"] for row in whole["rows"]] == ["tiny/first", "tiny/second"]
    assert first.keys() == whole.keys()
    assert not part.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["step", "tine"], "no report 'tine'; did you mean 'tiny'?"),
        (["step", "tiny/frst"], "no experiment 'frst' in tiny; did you mean 'first'?"),
        (["step", "--device", "tpu"], "--device tpu"),
        (["step", "--precision", "fp16"], "--precision"),
        (["step", "--steps", "0"], "--steps"),
        (["step", "--budget", "soon"], "expected a time such as"),
        (["step", "--save", "--out", "x.json"], "name two places; give one of them"),
        (["epoch"], "Missing argument"),
        (["epoch", "tiny/frst"], "no experiment 'frst' in tiny"),
        (["epoch", "tiny", "--images", "0"], "--images"),
    ],
)
def test_refusals_come_before_anything_is_measured(there, monkeypatch, arguments, message):
    monkeypatch.setattr(turns, "result", lambda *rest: pytest.fail("measured"))
    assert message in repro("bench", *arguments, code=2)
    assert not (there / "reports").exists()


# --- the page ------------------------------------------------------------------------------------------------


def made_up(benchmark="step", **more):
    """Return a file's figures: two experiments, one of which misses a target."""
    final = REPORTS["zhang2023"].experiments["final"].recipe
    rows, counts = [], Counts(7.4, 300, 2)
    facts = {"ours": Facts("bf16", counts, 3.25), "plain": Facts("tf32", counts, 1.0), "tuned": Facts("bf16", counts)}
    for name, batch, slow in (("zhang2023/final", 128, 2.0), ("chen2024/resnet68", 16, 0.5)):
        seconds = {"ours": [1.0, 1.0], "plain": [3.5, 3.5], "tuned": [slow, slow * 0.5]}
        wanted = {"plain": 3.0, "tuned": 1.6} if batch == 128 else {"plain": None, "tuned": None}
        rows.append({
            "experiment": name, "batch_size": batch, "recipe_batch_size": 128, "images": 1280, "recipe_images": 50_000,
            "steps": 10, "before": {"idle": batch == 128, "busy_pct": 1.0, "others": 0},
            "arms": {
                arm: measured.arm(s, 1280, final, "NVIDIA H200", facts[arm])
                for arm, s in seconds.items()
            },
            "ratios": {a: measured.against(seconds["ours"], seconds[a], wanted[a]) for a in wanted},
        })  # fmt: skip
    machine = {"device": "NVIDIA <H200> | x", "torch": "2.11.0", "python": "3.11.7", "commit": "ab" * 20, "dirty": True}
    return {
        "benchmark": benchmark, "schema": 1, "date": "2026-01-02T03:04:05+00:00", "machine": machine,
        "source": "cifar10", "clock": "wall", "precision": "bf16", "workers": {"plain": 2, "tuned": 16}, "rows": rows,
        **more,
    }  # fmt: skip


def write(folder, name, plain):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(plain if isinstance(plain, str) else json.dumps(plain))


def test_without_measurements_there_is_no_page(tmp_path):
    assert performance.page(tmp_path / "bench") is None
    write(tmp_path / "bench", "other.json", {"benchmark": "unknown"})
    write(tmp_path / "bench", "time.json", {"benchmark": "time", "schema": 1, "groups": []})
    assert performance.page(tmp_path / "bench") is None


def test_the_page_says_what_was_missed_and_by_whom_the_machine_was_used(tmp_path):
    write(tmp_path / "bench", "step.json", made_up())
    write(tmp_path / "bench", "epoch.json", made_up("epoch"))
    text = performance.page(tmp_path / "bench")
    assert text == performance.page(tmp_path / "bench")
    assert text.index("A training step") < text.index("An epoch with its data")
    assert "2 and 16 workers" in text
    line = next(line for line in text.splitlines() if line.startswith("| `zhang2023/final`"))
    assert "3.50 (3.50 to 3.50), target 3 met" in line
    assert "1.50 (1.00 to 2.00), target 1.6 **missed**" in line
    assert "bf16 / tf32 / bf16" in line
    assert "| 7 / 7 / 7 |" in line
    assert "| `zhang2023/final` | 10 | 300 / 300 / 300 | 2 / 2 / 2 | 3.2 / 1.0 / – |" in text
    assert "**1 of 2 targets missed**: zhang2023/final beside the tuned loop: 1.50 of 1.6." in text
    assert "Held against no target: `chen2024/resnet68` (batches of 16, the recipe's have 128)." in text
    assert "**Others used the machine** just before these were timed: `chen2024/resnet68`." in text
    assert "share of the 788 TFLOP/s" in text
    rate = 1280 * measured.flop_an_image(recipe("zhang2023/final"))
    assert f"| {rate / 1e9:,.0f} | {100 * rate / 788e12:.1f} % |" in line
    assert "NVIDIA &lt;H200&gt; \\| x, torch 2.11.0" in text
    assert "commit abababababab with changed files" in text
    assert "2026-01-02." in text


def test_older_figures_without_counts_are_still_shown(tmp_path):
    plain = made_up()
    for row in plain["rows"]:
        for arm in row["arms"].values():
            for key in ("kernels_per_step", "host_syncs", "prepare_s", "copies"):
                del arm[key]
    write(tmp_path / "bench", "step.json", plain)
    text = performance.page(tmp_path / "bench")
    assert "3.50 (3.50 to 3.50), target 3 met" in text
    assert "Kernels a step" not in text


def test_the_page_of_augmentation_counts_targets(tmp_path):
    ratio = {"ratio": 5.3, "lowest": 4.7, "highest": 5.5}
    rows = [
        {
            "what": "AugMix",
            "against": "Pillow",
            "ours_per_s": 2405,
            "theirs_per_s": 451,
            "target": 3,
            "met": True,
            **ratio,
        },
        {"what": "Auto", "against": "Pillow", "ours_per_s": 9, "theirs_per_s": 4, "target": None, "met": None, **ratio},
    ]
    plain = {"benchmark": "augment", "schema": 1, "machine": {"device": "A CPU"}, "batch_size": 128, "repeats": 7}
    write(tmp_path / "bench", "augment.json", {**plain, "rows": rows})
    text = performance.page(tmp_path / "bench")
    assert "| AugMix | Pillow | 2,405 | 451 | 5.30 (4.70 to 5.50), target 3 met |" in text
    assert "1 target, none missed." in text
    assert "Measured on A CPU, commit unknown." in text


@pytest.mark.parametrize(
    ("plain", "said"),
    [
        ("{", "JSONDecodeError"),
        ("[]", "TypeError"),
        ({"benchmark": "step", "schema": 2}, "schema 2, known here is 1"),
        ({"benchmark": "step", "schema": 1}, "KeyError 'machine'"),
    ],
)
def test_a_file_that_is_not_a_benchmarks_is_refused(tmp_path, plain, said):
    write(tmp_path / "bench", "step.json", plain)
    with pytest.raises(UserError, match=r"step\.json") as caught:
        performance.page(tmp_path / "bench")
    assert said in str(caught.value)
    assert "delete the file and measure again" in str(caught.value)


def test_report_writes_the_page_and_links_it_from_the_overview(there):
    repro("report")
    assert "performance" not in (there / "reports" / "README.md").read_text()
    repro(*SMALLEST, "--save")
    repro("report")
    text = (there / "reports" / "performance.md").read_text()
    assert "`tiny/first`" in text
    assert text == performance.page(there / "reports" / "bench")
    assert "[performance](performance.md)" in (there / "reports" / "README.md").read_text()


def test_times_side_by_side_are_on_the_page(tmp_path):
    timed = {"recipe_hash": "0" * 64, "images": 500, "of": 50_000, "seconds": [1.234, 2.5]}
    group = {
        "report": "tiny", "date": "2026-01-02T03:04:05+00:00", "env_class": "cpu-fp32-relaxed-n1", "data": "cifar10",
        "machine": {"device": "A CPU"}, "experiments": [{"experiment": "first", **timed}],
        "rounds": [{"idle": True}, {"idle": True}],
    }  # fmt: skip
    write(tmp_path / "bench", "time.json", {"benchmark": "time", "schema": 1, "groups": [group]})
    text = performance.page(tmp_path / "bench")
    assert "| `tiny/first` | 500 | 1.23 2.5 | no | A CPU | 2026-01-02 |" in text
