"""Which experiments are timed together, in which order, until when; what is written and what refused."""

import itertools
import json
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from command_line import SMALL, repro
from pydantic import TypeAdapter
from scipy.sparse.csgraph import connected_components

from repro.bench import chosen, epochs, idle
from repro.cli import main
from repro.data import sample
from repro.errors import UserError
from repro.judge import timings
from repro.judge.timings import NONE, Round
from repro.run import Options
from repro.spec.identity import recipe_hash
from repro.spec.loading import load_all, parse
from repro.spec.schema import Claim
from repro.train import engine

CPU = torch.device("cpu")
#: the networks here are tiny: a second thread costs more than it brings
torch.set_num_threads(1)
QUIET = Round(idle=True, busy_pct=0.0)
TIMES = """\
  - {id: first-second, kind: time, shorter: first, longer: second, where: Table 3}
  - {id: third-fourth, kind: time, shorter: third, longer: fourth, ratio: 1.2, where: Table 3}
"""
#: two pairs that no claim connects; the fourth has folds of its own and the third an optimizer made anew each epoch
TEXT = SMALL.replace("id: tiny", "id: clock").replace("claims:\n", """\
  third:
    {reading: isolated, tier: core, title: The third arm, optim: {name: sgd, lr: 0.1, recreate_each_epoch: true}}
  fourth:
    reading: isolated
    tier: core
    title: The fourth arm
    data: {split: {train: 40000, val: 10000}, folds: {k: 5, network: fresh}}
claims:
""") + TIMES  # fmt: skip


@pytest.fixture(scope="module")
def clock():
    return parse(TEXT, "clock.yaml")


def claims(*pairs):
    return [
        TypeAdapter(Claim).validate_python({"id": f"c{i}", "where": "T", "kind": "time", "shorter": a, "longer": b})
        for i, (a, b) in enumerate(pairs)
    ]


# --- which experiments, in which order -----------------------------------------------------------------------


def test_groups_are_the_components_of_the_graph_that_claims_draw():
    rng = np.random.default_rng(3)
    for _ in range(50):
        n, edges = int(rng.integers(2, 12)), int(rng.integers(1, 14))
        pairs = [tuple(rng.choice(n, 2, replace=False).tolist()) for _ in range(edges)]
        graph = np.zeros((n, n))
        for a, b in pairs:
            graph[a, b] = 1
        _, labels = connected_components(graph, directed=False)
        groups = chosen.connected(claims(*((f"e{a}", f"e{b}") for a, b in pairs)))
        assert sorted(claim.id for group in groups for claim in group) == sorted(f"c{i}" for i in range(edges))
        found = {frozenset(int(claim.id[1:]) for claim in group) for group in groups}
        label = [labels[a] for a, _ in pairs]
        assert found == {frozenset(i for i in range(edges) if label[i] == each) for each in set(label)}


def test_the_reports_groups_name_every_claim_of_time():
    reports = load_all()
    for wanted in chosen.choose(reports, [], []):
        named = {name for claim in wanted.claims for name in (claim.shorter, claim.longer)}
        assert set(wanted.experiments) == named
        assert list(wanted.experiments) == [name for name in wanted.report.experiments if name in named]
    counted = sum(len(wanted.claims) for wanted in chosen.choose(reports, [], []))
    assert counted == sum(claim.kind == "time" for report in reports.values() for claim in report.claims)
    (pair,) = chosen.choose(reports, ["chen2024"], ["time-68-20"])
    assert set(pair.experiments) == {"resnet20", "resnet68"}


@pytest.mark.parametrize(
    ("names", "ids", "said"),
    [
        (["clok"], [], "clok: no such report; did you mean 'clock'?"),
        (["tiny"], [], "tiny: has no claim of time to measure; reports with one: clock"),
        (["clock"], ["acc"], "--claim acc: no claim of time has this id; known here: clock/first-second, clock/third"),
        ([], ["nothing"], "--claim nothing: no claim of time has this id"),
    ],
)
def test_names_that_are_not_known_are_refused(clock, names, ids, said):
    reports = {"clock": clock, "tiny": parse(SMALL, "tiny.yaml")}
    with pytest.raises(UserError) as caught:
        chosen.choose(reports, names, ids)
    assert str(caught.value).startswith(said)
    with pytest.raises(UserError, match="no report has a claim of time"):
        chosen.choose({"tiny": reports["tiny"]}, [], [])


# --- the order of measuring, on a clock that is moved by hand -------------------------------------------------


class Fake:
    """An arm of the group, and the clock that its epochs move on."""

    seconds: ClassVar[dict[str, float]]
    log: ClassVar[list[str]]
    now: ClassVar[float]

    def __init__(self, run, plan, shared=None):
        self.run, self.name = run, run.experiments[0]
        self.stepper = type("", (), {"images": "the images", "seen": 8})
        assert shared in (None, "the images")

    def warm_up(self, clock):
        self.log.append(f"warm {self.name}")
        return self.seconds[self.name]

    def epoch(self, number, clock, ahead):
        self.log.append(f"{self.name}{number}")
        Fake.now += self.seconds[self.name]
        return self.seconds[self.name]


@pytest.fixture
def faked(clock, monkeypatch):
    """A plan whose arms take the given seconds."""
    monkeypatch.setattr(epochs, "Arm", Fake)
    monkeypatch.setattr(
        Fake, "seconds", raising=False, value={"first": 1.0, "second": 2.0, "third": 3.0, "fourth": 4.0}
    )
    monkeypatch.setattr(Fake, "log", [], raising=False)
    monkeypatch.setattr(Fake, "now", 0.0, raising=False)
    options = Options(Path(), CPU, "fp32")
    looked = itertools.cycle([QUIET, Round(idle=False, busy_pct=55.0)])
    return epochs.Plan(sample.load(), options, say=Fake.log.append, clock=lambda: Fake.now,
                       look=lambda device: Fake.log.append("look") or next(looked))  # fmt: skip


def wanted_of(report, *ids):
    return chosen.choose({report.id: report}, [], ids)


def test_arms_are_trained_in_turn_after_a_warm_up_of_each(clock, faked):
    (group,) = epochs.measure_all(wanted_of(clock, "first-second"), faked).groups
    steps = [line for line in Fake.log if ":" not in line]
    rounds = [["look", f"first{i}", f"second{i}"] for i in (1, 2, 3)]
    assert steps == ["warm first", "warm second", *itertools.chain(*rounds)]
    assert [arm.seconds for arm in group.experiments] == [(1.0,) * 3, (2.0,) * 3]
    assert [each.idle for each in group.rounds] == [True, False, True]
    assert "  round 2 of 3: first 1 s, second 2 s; NOT IDLE (55 % busy before it)" in Fake.log


def test_a_budget_ends_between_rounds_and_says_what_is_missing(clock, faked):
    """Two rounds of 3 s fit 8 s, a third does not; nothing is begun of the other group's rounds of 7 s."""
    kept = []
    done = epochs.measure_all(wanted_of(clock), replace(faked, deadline=8.0), kept.append)
    assert [len(group.rounds) for group in done.groups] == [2]
    assert kept == done.groups
    assert [each.experiments for each in done.missing] == [("first", "second"), ("third", "fourth")]
    assert "third1" not in Fake.log
    assert Fake.now == 6.0


def test_a_first_round_is_not_begun_where_the_warm_up_says_that_it_takes_too_long(clock, faked):
    done = epochs.measure_all(wanted_of(clock, "first-second"), replace(faked, deadline=2.5))
    assert (done.groups, Fake.now) == ([], 0.0)
    assert [each.experiments for each in done.missing] == [("first", "second")]


def test_groups_without_a_measurement_come_first_then_those_that_do_not_count_then_the_oldest(clock, faked):
    first, third = wanted_of(clock)
    measured = {name: epochs.measure(wanted, faked) for name, wanted in (("first", first), ("third", third))}
    held = NONE.with_group(measured["first"])
    assert chosen.missing_first([first, third], held) == [third, first]
    assert chosen.missing_first([third, first], held) == [third, first]

    def counting(name, date):
        arms = tuple(arm.model_copy(update={"images": arm.of}) for arm in measured[name].experiments)
        fields = {"experiments": arms, "data": "cifar10", "env_class": "cuda-bf16", "rounds": (QUIET,) * 3}
        found = measured[name].model_copy(update=fields | {"date": date})
        assert found.counts()
        return found

    assert chosen.missing_first([first, third], held.with_group(counting("third", "2000"))) == [first, third]
    both = NONE.with_group(counting("first", "2002")).with_group(counting("third", "2001"))
    assert chosen.missing_first([first, third], both) == [third, first]


# --- the engine's own training --------------------------------------------------------------------------------


def test_an_epoch_is_the_engines_training_of_every_batch(clock, monkeypatch):
    """Each timed epoch is one call of what a run trains with, over all batches; the images are held once."""
    calls, made = [], []

    def spy(stepper, optimizer, schedule, history, *, seed, epoch, graphed):
        assert graphed is None  # no CUDA here
        before = [p.detach().clone() for p in stepper.model.parameters()]
        engine_train(stepper, optimizer, schedule, history, seed=seed, epoch=epoch)
        assert any(not torch.equal(a, b) for a, b in zip(before, stepper.model.parameters(), strict=True))
        assert (stepper.log[0] > 0).all()
        calls.append((id(stepper.model), epoch, stepper.steps, id(optimizer)))
        made.append(id(stepper.images))

    engine_train = engine.train
    monkeypatch.setattr(engine, "train", spy)
    plan = epochs.Plan(sample.load(), Options(Path(), CPU, "fp32"), epochs=2, images=130, say=lambda text: None,
                       look=lambda device: QUIET)  # fmt: skip
    done = epochs.measure_all(wanted_of(clock), plan)
    for pair, group in zip((calls[:4], calls[4:]), done.groups, strict=True):
        assert [epoch for _, epoch, _, _ in pair] == [1, 1, 2, 2]
        assert pair[0][0] == pair[2][0] != pair[1][0] == pair[3][0]
        assert {steps for _, _, steps, _ in pair} == {ceil(130 / 128)}
        for arm in group.experiments:
            assert (arm.images, len(arm.seconds)) == (130, 2)
            assert arm.recipe_hash == recipe_hash(clock.experiments[arm.experiment].recipe)
    assert len({*made[:4]}) == len({*made[4:]}) == 1
    assert [arm.of for group in done.groups for arm in group.experiments] == [45000, 45000, 45000, 40000]
    third = [call[3] for call in calls[4:][::2]]
    assert third[0] != third[1]  # its optimizer is made anew for each epoch
    assert calls[0][3] == calls[2][3]


def test_a_run_takes_the_recipe_as_it_is_where_all_images_are_there(clock):
    for experiment in clock.experiments.values():
        recipe, train = experiment.recipe, experiment.recipe.data.split.train
        assert epochs.fewer(recipe, 50_000, None) is recipe
        assert epochs.fewer(recipe, 50_000, train) is recipe
        for there, images, expected in ((50_000, 2_000, 2_000), (1_500, None, 1_500), (1_500, 40, 40)):
            split = epochs.fewer(recipe, there, images).data.split
            assert (split.train, split.val) == (expected, 0)


# --- whether the device is idle ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("busy", "listed", "found"),
    [
        ("0", "4711", Round(idle=True, busy_pct=0.0, others=0)),
        ("3", "", Round(idle=True, busy_pct=3.0, others=0)),
        ("80", "4711", Round(idle=False, busy_pct=80.0, others=0)),
        ("0", "4711\n815", Round(idle=False, busy_pct=0.0, others=1)),
        ("[N/A]", "4711", Round(idle=None)),
        ("0", "[Insufficient Permissions]", Round(idle=True, busy_pct=0.0, others=0)),
        ("", "", Round(idle=None)),
    ],
)
def test_a_gpu_is_idle_where_the_driver_sees_neither_work_nor_other_processes(monkeypatch, busy, listed, found):
    asked = {"--query-gpu=utilization.gpu": busy, "--query-compute-apps=pid": listed}
    monkeypatch.setattr(idle, "_ask", lambda name, query: asked[query])
    monkeypatch.setattr(idle, "WAIT_GPU_S", 0)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: type("", (), {"uuid": "ab-c"}))
    assert idle.look(torch.device("cuda:0")) == found


def test_a_gpu_without_a_driver_to_ask_is_not_known_to_be_idle(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(idle, "WAIT_GPU_S", 0)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: type("", (), {"uuid": "ab-c"}))
    assert idle.look(torch.device("cuda:0")) == Round(idle=None)


@pytest.mark.parametrize(
    ("after", "found"),
    [
        ("110 0 0 990 0 0 0 0", (True, 10.0)),
        ("120 5 5 970 0 0 0 0", (False, 30.0)),
        ("100 0 0 1000 0 0 0 0", (True, 0)),
    ],
)
def test_a_cpu_is_idle_where_its_cores_are(monkeypatch, tmp_path, after, found):
    stat = tmp_path / "stat"
    lines = iter(["cpu 100 0 0 900 0 0 0 0 0 0", f"cpu {after} 0 0"])
    monkeypatch.setattr(idle, "_STAT", type("", (), {"read_text": lambda: next(lines) + "\ncpu0 1 2 3\n"}))
    monkeypatch.setattr(idle, "WAIT_CPU_S", 0)
    seen = idle.look(CPU)
    assert (seen.idle, seen.busy_pct) == found
    monkeypatch.setattr(idle, "_STAT", stat)  # not Linux
    monkeypatch.setattr(idle.os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    assert idle.look(CPU).idle is True
    monkeypatch.setattr(idle.os, "getloadavg", lambda: (64.0, 0.0, 0.0))
    assert idle.look(CPU).idle is None


# --- the command ----------------------------------------------------------------------------------------------


@pytest.fixture
def there(tmp_path, monkeypatch):
    """A place with one report and no CIFAR-10."""
    torch.set_num_threads(1)
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "clock.yaml").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REPRO_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("REPRO_EXPERIMENTS", raising=False)
    monkeypatch.setattr(idle, "WAIT_CPU_S", 0.02)
    return tmp_path


SHORT = ("bench", "time", "--images", "40", "--epochs", "1")


def saved(there):
    return json.loads((there / "reports" / "bench" / "time.json").read_text())


def test_save_keeps_what_was_measured_before(there):
    out = repro(*SHORT, "--claim", "first-second", "--save")
    assert "clock/first-second" in out
    assert "Not judged: 40 of 45,000 images an epoch: shown, never judged" in out
    assert "CIFAR-10 is not here" in out
    assert [arm["experiment"] for arm in saved(there)["groups"][0]["experiments"]] == ["first", "second"]
    first = saved(there)["groups"][0]
    repro(*SHORT, "clock", "--claim", "third-fourth", "--save")
    assert saved(there)["groups"][0] == first
    assert len(saved(there)["groups"]) == 2
    repro(*SHORT, "--save")
    assert len(saved(there)["groups"]) == 2
    assert [p.name for p in (there / "reports" / "bench").iterdir()] == ["time.json"]
    assert timings.read(there / "reports").groups[0].machine["torch"] == torch.__version__


def test_pages_take_the_times_from_the_folder_of_reports(there):
    repro(*SHORT, "--claim", "first-second", "--save")
    repro("report")
    text = (there / "reports" / "clock" / "report.md").read_text()
    assert "1 round on " in text
    assert "not judged: 40 of 45,000 images an epoch: shown, never judged" in text


def test_json_is_alone_on_stdout_and_out_takes_a_file(there):
    result = CliRunner().invoke(main, [*SHORT, "--json", "--out", "x/y.json"], catch_exceptions=False)
    assert result.stdout == (there / "x" / "y.json").read_text()
    plain = json.loads(result.stdout)
    assert (plain["benchmark"], plain["schema"], len(plain["groups"])) == ("time", 1, 2)
    assert not (there / "reports").exists()


def test_a_budget_that_is_over_at_once_says_what_is_missing(there):
    out = repro(*SHORT, "--budget", "0s", "--save")
    assert "rounds are missing of clock: first, second" in out
    assert "rounds are missing of clock: third, fourth" in out
    assert not (there / "reports").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cloc"], "cloc: no such report; did you mean 'clock'?"),
        (["--claim", "acc"], "known here: clock/first-second, clock/third-fourth"),
        (["--epochs", "0"], "--epochs"),
        (["--images", "50001"], "--images"),
        (["--budget", "soon"], "90s, 9m or 1.5h"),
        (["--device", "tpu"], "--device tpu"),
        (["--save", "--out", "x.json"], "name two places; give one of them"),
        (["--out", "broken/x.json"], "is not a folder that can be written"),
        (["--save", "--reports", "old"], "delete the file and measure again"),
    ],
)
def test_refusals_come_before_anything_is_measured(there, monkeypatch, arguments, message):
    (there / "broken").write_text("")
    (there / "old" / "bench").mkdir(parents=True)
    (there / "old" / "bench" / "time.json").write_text("{")
    monkeypatch.setattr(epochs, "measure_all", lambda *rest: pytest.fail("measured"))
    assert message in repro("bench", "time", *arguments, code=2)
