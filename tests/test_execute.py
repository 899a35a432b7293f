"""What a request will take, and runs in several processes: arithmetic, refusals, equal bits, deaths and interrupts."""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import namedtuple
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from command_line import SMALL, repro, small_report
from filelock import FileLock

from repro import run as runner
from repro import suite
from repro.bench import scale_workers
from repro.data import sample
from repro.execute import calibration, closing, drawing, local, pool, process, worker, workload
from repro.execute import thread as execute_thread
from repro.execute.outcome import Job, Outcome
from repro.execute.workload import Speed
from repro.progress import training
from repro.record import Entry, Journal, RunRecord
from repro.run import Options, execute, folder_of
from repro.spec import cost, counting
from repro.spec.identity import runs_of
from repro.spec.loading import load_all
from repro.suite import concluding, forecasting, planning

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")
SMOKE = ("run", "--all", "--profile", "smoke", "--offline")
MILLION = namedtuple("Usage", "total used free")(10**6, 0, 10**6)


@pytest.fixture(autouse=True)
def children(monkeypatch):
    """Child processes find the package, and take one thread."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def plan(home, profile="full", seeds=(0,), devices=(CPU,), **kwargs):
    reports = load_all()
    chosen = [(report, list(report.experiments.values())) for report in reports.values()]
    return suite.plan(
        reports, chosen, profile=profile, seeds=seeds, devices=devices, precision="fp32", deterministic=False,
        home=home, command="", reports_dir=Path("reports"), dry=True, **kwargs,
    )  # fmt: skip


def journal(home, run, epochs):
    for epoch, seconds in enumerate(epochs, 1):
        Journal(folder_of(run, home) / "journal.jsonl").append(epoch, {"time/epoch_s": seconds})


# What runs have yet to do


def test_seconds_are_images_times_measured_seconds(place, home):
    first = workload.load_of(plan(home).runs[0], home)
    assert (first.state, first.epochs) == ("new", 2)
    speed = Speed(1e-3, 1e-4, first.macs)
    assert workload.seconds(first, {workload.shape(first.recipe): speed}) == pytest.approx(
        2 * (45_000 * 1e-3 + 15_000 * 1e-4)
    )
    assert workload.seconds(first, {}) is None
    augmented = first.recipe.model_copy(
        update={"data": first.recipe.data.model_copy(update={"val_transform": "train"})}
    )
    assert replace(first, recipe=augmented).measured_images == 20_000
    assert workload.load_of(plan(home, "quick").runs[0], home).epochs == 1


def test_a_network_that_was_not_timed_is_scaled_from_the_nearest_in_size(place, home):
    load = workload.load_of(plan(home).runs[0], home)
    speeds = {"small": Speed(1.0, 0.5, load.macs // 2), "large": Speed(90.0, 50.0, load.macs * 50)}
    assert workload.speed_of(load.recipe, speeds).train_s == pytest.approx(2.0, rel=1e-3)


def test_a_run_with_a_journal_goes_by_its_own_epochs(place, home):
    runs = plan(home).runs
    journal(home, runs[0], [7.0])
    load = workload.load_of(runs[0], home)
    assert (load.state, load.epochs, load.journal_s) == ("begun", 1, 7.0)
    assert workload.seconds(load, {workload.shape(load.recipe): Speed(1, 1, load.macs)}) == 7.0
    assert workload.load_of(runs[0], home, force=True).state == "new"
    assert calibration.distinct([load]) == []


@pytest.mark.parametrize(
    ("lengths", "workers", "hours"), [([3, 1, 2], 1, 6), ([3, 1, 2], 2, 3), ([5, 1, 1], 2, 5), ([], 2, 0), ([4], 3, 4)]
)
def test_several_devices_take_as_long_as_the_busiest(lengths, workers, hours):
    assert workload.makespan(lengths, workers) == hours


def test_disk_holds_what_a_run_really_writes(place, home):
    """The bound is no smaller than the folder of a run in training and afterwards, and not absurdly larger."""
    smoke = plan(home, "smoke").runs[0]
    load = workload.load_of(smoke, home)
    options = Options(home, CPU, "fp32")
    folder = folder_of(smoke, home)
    in_training = 0

    def on_epoch(_entry):
        nonlocal in_training
        in_training = sum(p.stat().st_size for p in folder.glob("checkpoint-*"))
        return True

    execute(smoke, sample.load(), options, on_epoch)
    kept = sum(p.stat().st_size for p in folder.iterdir())
    assert in_training <= workload.working_bytes(load)
    assert kept <= workload.kept_bytes(load, in_mlflow=False) <= 10 * kept


def test_disk_adds_what_stays_of_all_runs_and_what_the_open_ones_need(place, home):
    load = workload.load_of(plan(home).runs[0], home)
    kept, working = workload.kept_bytes(load, True), workload.working_bytes(load)
    assert workload.disk_bytes([load] * 5, 2, True) == 5 * kept + 2 * working
    assert workload.disk_bytes([replace(load, state="done")], 2, True) == 0
    assert working == 3 * (3 * 4 * counting.parameters(load.recipe.model) + 2 * 400_000)


# Timing


def test_pace_is_the_mean_of_calls_after_two_to_warm_up():
    clock = [0.0]
    took = iter([5.0, 2.0, *[0.5] * 100])
    calls = []

    def call():
        clock[0] += next(took)
        calls.append(clock[0])

    assert calibration.pace(call, lambda: None, 11.0, lambda: clock[0]) == 0.5
    assert len(calls) == 2 + 2  # 7 s are spent, 4 s are left for calls of 2 s


def test_a_call_too_slow_to_repeat_is_timed_once():
    clock = [0.0]

    def call():
        clock[0] += 30.0

    assert calibration.pace(call, lambda: None, 3.0, lambda: clock[0]) == 30.0
    assert clock[0] == 30.0


def test_the_largest_share_of_the_work_is_timed_first(place, home):
    spec = SMALL.replace("title: The second arm,", "title: The second arm, model: {widths: [16, 32]},")
    (place / "experiments" / "tiny.yaml").write_text(spec)
    loads = [workload.load_of(run, home) for run in plan(home, seeds=(0, 1)).runs]
    assert [run.experiments for run in calibration.distinct(loads)] == [("second",), ("first",)]
    assert [run.experiments for run in calibration.distinct([*loads, *[loads[0]] * 50])] == [("first",), ("second",)]


def comparable(record):
    """The record without what a clock, a checkout or the command decides."""
    copy = replace(record, started="", seconds=0.0, images_per_s=0.0, env={}, command="", resumed=[])
    copy.curves = {name: curve for name, curve in copy.curves.items() if not name.startswith("time/")}
    return copy.to_bytes()


def test_timing_leaves_random_state_bits_and_processes_as_they_were(place, home, tmp_path):
    run = plan(home, "smoke").runs[0]
    before = execute(run, sample.load(), Options(tmp_path / "before", CPU, "fp32"))
    state = torch.get_rng_state()
    loads = [workload.load_of(one, home) for one in plan(home).runs]
    speeds = calibration.calibrate(loads, Options(home, CPU, "fp32"), threads=1, within_s=300)
    assert set(speeds) == {workload.shape(loads[0].recipe)}
    assert all(speed.train_s > 0 and speed.eval_s > 0 and speed.macs == loads[0].macs for speed in speeds.values())
    assert torch.equal(torch.get_rng_state(), state)
    assert multiprocessing.active_children() == []
    after = execute(run, sample.load(), Options(tmp_path / "after", CPU, "fp32"))
    assert comparable(before) == comparable(after)


def test_timing_in_this_process_would_leave_the_bits_too(place, home, tmp_path):
    run = plan(home, "smoke").runs[1]
    before = execute(run, sample.load(), Options(tmp_path / "before", CPU, "fp32"))
    speed = calibration.measure(plan(home).runs[0], Options(home, CPU, "fp32"), share_s=0.2)
    assert speed.train_s > speed.eval_s > 0
    assert comparable(before) == comparable(execute(run, sample.load(), Options(tmp_path / "after", CPU, "fp32")))


def test_a_timing_that_takes_too_long_is_given_up(place, home):
    loads = [workload.load_of(run, home) for run in plan(home).runs]
    assert calibration.calibrate(loads, Options(home, CPU, "fp32"), within_s=0.0) == {}
    assert multiprocessing.active_children() == []


def test_the_step_hook_gets_plain_numbers(tmp_path, place, home):
    seen = []
    run = plan(home, "smoke").runs[1]  # one step
    execute(run, sample.load(), Options(tmp_path, CPU, "fp32"), on_step=lambda *step: seen.append(step))
    assert seen == [(1, 1)]
    assert {type(number) for step in seen for number in step} == {int}


# What is said before it starts


@pytest.fixture
def timings(monkeypatch):
    """Return the calls of the calibration, which answers at once: 1 ms to train on an image, 0.1 ms to measure one."""
    calls = []

    def calibrate(loads, options, threads=None):
        calls.append(threads)
        return {workload.shape(load.recipe): Speed(1e-3, 1e-4, load.macs) for load in loads}

    monkeypatch.setattr(forecasting, "calibrate", calibrate)
    return calls


def foresee(made, budget_s=None, measure=True):
    said = []
    loads = suite.foresee(made, offline=True, refuse=True, say=said.append)
    return suite.estimate(made, loads, budget_s=budget_s, measure=measure, say=said.append), said


def test_runs_hours_and_disk_are_said(place, home, timings):
    made = plan(home, seeds=(0, 1))
    journal(home, made.runs[0], [7.0])
    (folder_of(made.runs[1], home)).mkdir(parents=True)
    (folder_of(made.runs[1], home) / "record.json").write_text("{}")
    forecast, said = foresee(made)
    assert said[0] == "4 runs of 2 experiments: 2 to train, 1 to resume, 1 done before"
    assert re.fullmatch(rf"Disk: \d+ MB at most, .*B free in {re.escape(str(home))}", said[1])
    assert said[-1] == "Time on cpu: about 3 min"  # 7 s and twice 2 * (45,000 * 1 ms + 15,000 * 0.1 ms)
    assert forecast.measured
    assert sorted(forecast.work.values()) == pytest.approx([7, 93, 93])
    assert sorted(forecast.epoch_s.values()) == pytest.approx([7, 46.5, 46.5])
    _, said = foresee(plan(home, seeds=(0, 1), devices=(CPU, CPU)), budget_s=60)
    assert said[-1] == "Time on cpu, cpu: about 2 min (--budget stops after 1 min)"


def test_a_gpu_that_is_named_twice_is_one(place, home, timings):
    made = plan(home)
    for names, takes in ((("cuda:0", "cuda:0"), "3 min"), (("cuda:0", "cuda:1"), "2 min")):
        made.devices = [replace(made.options, device=torch.device(name)) for name in names]
        assert foresee(made)[1][-1] == f"Time on {', '.join(names)}: about {takes}"


def test_cpu_processes_share_the_threads(place, home, timings, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 9)
    foresee(plan(home, devices=(CPU, CPU)))
    foresee(plan(home))
    assert timings == [4, None]


def test_nothing_is_timed_where_nothing_or_a_smoke_run_is_to_be_done(place, home, timings):
    foresee(plan(home, "smoke"))
    foresee(plan(home), measure=False)
    made = plan(home)
    for run in made.runs:
        folder_of(run, home).mkdir(parents=True)
        (folder_of(run, home) / "record.json").write_text("{}")
    forecast, said = foresee(made)
    assert timings == []
    assert forecast.work == {}
    assert not any(line.startswith("Time") for line in said)


def test_a_dry_run_says_it_too_without_timing(place, home, timings):
    out = repro("run", "--all", "--device", "cpu", "--dry-run")
    assert "2 runs of 2 experiments: 2 to train" in out
    assert "Time on cpu: not measured" in out
    assert timings == []


def test_too_little_disk_is_refused_before_anything_is_written(place, home, monkeypatch):
    monkeypatch.setattr(forecasting.shutil, "disk_usage", lambda _path: MILLION)
    before = sorted(place.rglob("*"))
    for more in ((), ("--devices", "cpu,cpu")):
        out = repro(*SMOKE, *more, code=2)
        assert re.search(r"\d MB are needed there and 1 MB are free; .*REPRO_HOME", out)
        assert str(home) in out
    assert sorted(place.rglob("*")) == before
    assert "1 MB free" in repro(*SMOKE, "--dry-run")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--device", "cpu", "--devices", "cpu,cpu"), "leave one out"),
        (("--devices", "cpu,tpu9"), "not a device"),
        (("--devices", "cpu,,cpu"), "expected devices such as cuda:0,cuda:1"),
        (("--devices", "auto,cpu"), "expected devices such as cuda:0,cuda:1"),
        (("--devices", "cpu,cuda:77"), "CUDA device"),
    ],
)
def test_devices_that_make_no_sense_are_refused_before_anything(place, home, arguments, message):
    before = sorted(place.rglob("*"))
    assert message in repro(*SMOKE, *arguments, code=2)
    assert sorted(place.rglob("*")) == before


# Several processes


def records(home):
    return {p.parent.name: RunRecord.from_bytes(p.read_bytes()) for p in sorted(home.glob("runs/*/record.json"))}


def assert_made_as_by_one_after_the_other(home, alone, monkeypatch):
    """Assert that MLflow shows both runs ended below a parent, and that the records are those of a process alone."""
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{home}/mlflow.db")
    experiment = client.get_experiment_by_name("cifar10/tiny/smoke")
    kinds = [(run.data.tags["repro.kind"], run.info.status) for run in client.search_runs([experiment.experiment_id])]
    assert sorted(kinds) == [("experiment", "FINISHED")] * 2 + [("run", "FINISHED")] * 2
    monkeypatch.setenv("REPRO_HOME", str(alone))
    repro(*SMOKE, "--device", "cpu")
    one, two = records(alone), records(home)
    assert {key: comparable(record) for key, record in one.items()} == {k: comparable(r) for k, r in two.items()}


def test_two_processes_make_the_records_that_one_makes(place, home, tmp_path, monkeypatch):
    out = repro("run", "--all", "--profile", "smoke", "--devices", "cpu,cpu")
    assert "2 trained" in out
    assert "tiny/first s0: epoch 1/1" in out
    assert multiprocessing.active_children() == []
    assert_made_as_by_one_after_the_other(home, tmp_path / "alone", monkeypatch)
    started = []
    monkeypatch.setattr("repro.execute.process.start", lambda *_rest: started.append(1))
    again = repro("run", "--all", "--profile", "smoke", "--devices", "cpu,cpu")
    assert "2 skipped" in again
    assert started == []  # nothing to train: no process
    assert records(home).keys() == records(tmp_path / "alone").keys()


def test_runs_side_by_side_make_the_records_that_one_after_the_other_makes(place, home, tmp_path, monkeypatch):
    out = repro("run", "--all", "--profile", "smoke", "--device", "cpu", "--concurrent", "2")
    assert "2 trained" in out
    assert [thread for thread in threading.enumerate() if isinstance(thread, execute_thread.Worker)] == []
    assert_made_as_by_one_after_the_other(home, tmp_path / "alone", monkeypatch)


def test_runs_are_made_seed_by_seed_headline_first_and_the_cheapest_of_a_tier_first():
    made = [run for r in load_all().values() for run in runs_of(r, r.experiments.values(), [2, 0], "x:y", "full")]
    found = planning.ordered(made, [2, 0])
    assert {run.key for run in found} == {run.key for run in made}
    assert len(found) == len(made)
    named = [(run.seed != 2, cost.TIERS.index(run.tier)) for run in found]
    assert named == sorted(named)
    for place in set(named):
        minutes = [cost.of(run.recipe).minutes for run, own in zip(found, named, strict=True) if own == place]
        assert minutes == sorted(minutes)
    # Folds of a recipe stay beside each other: the next one takes over the captured steps of the last.
    kinds = [kind for kind, _ in groupby(found, key=lambda run: (run.seed, run.report, run.experiments))]
    assert len(kinds) == len(set(kinds))


def test_only_runs_that_share_a_device_in_one_process_know_of_each_other(place, home, monkeypatch):
    """cuDNN does not try algorithms for them, for which it would wait for the whole device."""
    whole, seen = runner.execute, []

    def watched(run, dataset, options, *rest):
        seen.append((options.shared, torch.backends.cudnn.benchmark))
        return whole(run, dataset, options, *rest)

    monkeypatch.setattr(torch.backends.cudnn, "benchmark", torch.backends.cudnn.benchmark)
    monkeypatch.setattr(runner, "execute", watched)
    for concurrent, shared in (("1", False), ("2", True)):
        seen.clear()
        repro(*SMOKE, "--device", "cpu", "--concurrent", concurrent, "-q", "--force")
        assert [found for found, _ in seen] == [shared] * 2
        assert torch.backends.cudnn.benchmark is not shared


def test_a_device_is_asked_by_the_stream_of_its_worker_alone(monkeypatch):
    """Waiting for the whole device would break what another thread is capturing."""
    calls = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda *_: pytest.fail("the whole device"))
    stream = type("Stream", (), {"synchronize": lambda self: calls.append("waited")})
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream())
    assert worker.answers(CPU)
    assert worker.answers(torch.device("cuda"))
    assert calls == ["waited"]

    def broken(self):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    stream.synchronize = broken
    assert not worker.answers(torch.device("cuda"))


def test_a_failing_run_beside_another_leaves_it_alone(place, home, monkeypatch):
    whole = runner.execute

    def failing(run, *rest):
        if run.experiments[0] == "first":
            raise RuntimeError("out of memory")
        return whole(run, *rest)

    monkeypatch.setattr(runner, "execute", failing)
    out = repro("run", "--all", "--profile", "smoke", "--device", "cpu", "--concurrent", "2", "--offline", code=1)
    assert "1 trained, 1 failed" in out
    assert "RuntimeError: out of memory" in out


def test_an_interrupt_ends_runs_side_by_side_between_two_steps(place, home, monkeypatch):
    """Both go on where they were; nothing is left training."""

    class Impatient(training.Lines):
        def epoch(self, key, entry, epochs):
            raise KeyboardInterrupt

    monkeypatch.setattr(training, "display", lambda echo, quiet: Impatient(echo))
    repro("run", "--all", "--profile", "smoke", "--device", "cpu", "--concurrent", "2", "--offline", code=130)
    assert [thread for thread in threading.enumerate() if isinstance(thread, execute_thread.Worker)] == []


def test_a_thread_that_waits_for_a_job_leaves_when_asked(tmp_path):
    worker, connection = execute_thread.start(sample.load(), Options(tmp_path, CPU, "fp32"), lambda: None)
    assert connection.recv() == ("ready",)
    worker.terminate()
    worker.join(20)
    assert not worker.is_alive()


def test_a_run_that_another_process_trains_is_waited_for_until_the_budget_is_spent(tmp_path):
    """And a thread that is asked to leave waits no longer."""
    run, said = plan(tmp_path).runs[0], []
    folder = folder_of(run, tmp_path)
    folder.mkdir(parents=True)
    display = training.Lines(said.append)
    display.begin(run, 1, 1)
    with FileLock(folder / "lock"), closing.Closings(display) as closings:
        began = time.monotonic()
        outcome = local.attempt(Job(run, left_s=0.3), None, Options(tmp_path, CPU, "fp32"), None, display, closings)
        assert time.monotonic() - began < 10
        assert (outcome.state, outcome.reason) == (
            "stopped", "another process was training it until the budget was spent"
        )  # fmt: skip
        asked, (_, theirs) = threading.Event(), multiprocessing.Pipe()
        asked.set()
        watched = execute_thread.Watched(theirs, asked)
        with pytest.raises(KeyboardInterrupt):
            local.attempt(Job(run), None, Options(tmp_path, CPU, "fp32"), None, watched, closings)


def test_what_comes_once_counts_for_no_epoch_of_the_budget(tmp_path, monkeypatch):
    clock, run, done = SimpleNamespace(now=100.0), plan(tmp_path).runs[0], []
    monkeypatch.setattr(local, "time", SimpleNamespace(monotonic=lambda: clock.now))

    metrics = {"train/acc_pct": 1.0, "test/acc_pct": 1.0, "train/loss": 1.0, "time/epoch_s": 1.0}

    def slow_to_start(run, dataset, options, on_epoch, on_step):
        clock.now += 60  # images, kernels, capturing
        for number in range(1, 6):
            on_step(1, 1)
            clock.now += 1
            done.append(number)
            if not on_epoch(Entry(number, metrics, {}, 0)):
                return None

    display = shown(run)
    with closing.Closings(display) as closings:
        job = Job(run, left_s=63.5, train=slow_to_start)
        local.attempt(job, sample.load(), Options(tmp_path, CPU, "fp32"), None, display, closings)
    assert done == [1, 2, 3]  # a fourth would end beyond it


def test_a_first_epoch_that_would_not_fit_is_not_begun(tmp_path):
    run = plan(tmp_path).runs[0]
    display = shown(run)
    with closing.Closings(display) as closings:
        job = Job(run, left_s=60.0, epoch_s=90.0, train=lambda *_: pytest.fail("begun"))
        outcome = local.attempt(job, sample.load(), Options(tmp_path, CPU, "fp32"), None, display, closings)
    assert outcome.state == "stopped"
    assert outcome.reason == "no time left for an epoch of it, which takes about 2 min"


def test_a_finished_run_is_not_set_aside_where_no_epoch_would_fit(tmp_path):
    """Neither by --force nor because it is withdrawn: what is there is all there will be."""
    run = plan(tmp_path).runs[0]
    folder = folder_of(run, tmp_path)
    folder.mkdir(parents=True)
    for name in ("record.json", "journal.jsonl", "model.pt"):
        (folder / name).write_text("")
    display = shown(run)
    with closing.Closings(display) as closings:
        job = Job(run, force=True, left_s=60.0, epoch_s=90.0)
        outcome = local.attempt(job, sample.load(), Options(tmp_path, CPU, "fp32"), None, display, closings)
    assert (outcome.state, outcome.reason[:27]) == ("stopped", "no time left for an epoch o")
    assert {"record.json", "journal.jsonl", "model.pt"} <= {path.name for path in folder.iterdir()}


def shown(run):
    display = training.Lines(lambda text: None)
    display.begin(run, 1, 1)
    return display


def nested(connection):
    """Start a process in a process that was started here, and say what it answers."""
    connection.send(drawing.Drawer()._apart(None, b""))


def test_a_worker_can_have_its_figures_drawn_in_a_process(tmp_path):
    child, connection = process.start(nested)
    assert connection.poll(60)
    assert connection.recv() is None  # it was asked, and could not draw this
    process.stop(child)


def long(run, dataset, options, on_epoch, on_step):
    """Stand in for a training of an hour, whose figures are worth a process of their own."""
    made = scale_workers.train(run, dataset, options, on_epoch, on_step, wait_s=0.0, workers=1)
    made = replace(made, seconds=3600.0)
    (folder_of(run, options.home) / "record.json").write_bytes(made.to_bytes())
    return made


def test_runs_of_several_processes_that_took_long_come_into_mlflow_whole(home):
    data, report = sample.load(), small_report()
    jobs = [
        Job(run, train=long)
        for run in runs_of(report, report.experiments.values(), [0], data.key, "smoke")
    ]  # fmt: skip
    display, opener = training.Lines(lambda text: None), partial(suite.open_tracker, home, False)
    outcomes = pool.run_all(
        jobs, data, [Options(home, CPU, "fp32")] * 2, 1, profile="smoke", tracker=opener(), open_tracker=opener,
        work={}, display=display,
    )  # fmt: skip
    assert [(outcome.state, outcome.synced, outcome.reason) for outcome in outcomes] == [("trained", True, "")] * 2
    tracker = opener()
    ids = [experiment.experiment_id for experiment in tracker.experiments()]
    runs = list(tracker.search(ids, kind="run"))
    assert [run.info.status for run in runs] == ["FINISHED"] * 2
    for run in runs:
        assert "curves.png" in {file.path for file in tracker.client.list_artifacts(run.info.run_id)}


def test_nothing_is_compiled_to_be_timed(tmp_path, monkeypatch):
    asked = []

    def start(target, runs, options, *rest):
        asked.append(options.compile)
        raise KeyboardInterrupt

    monkeypatch.setattr(process, "start", start)
    loads = [workload.load_of(run, tmp_path, False) for run in plan(tmp_path).runs[:1]]
    with pytest.raises(KeyboardInterrupt):
        calibration.calibrate(loads, Options(tmp_path, CPU, "fp32", compile=True))
    assert asked == [False]


def test_side_by_side_on_several_devices_is_refused(place, home):
    out = repro("run", "--all", "--devices", "cpu,cpu", "--concurrent", "2", code=2)
    assert "--concurrent and --devices: expected one of them" in out


class Killer(training.Lines):
    """Kills the first `victims` child processes once each has a run and one is in training."""

    victims = 1
    busy = False

    def begin(self, run, number, total):
        super().begin(run, number, total)
        self.busy = number >= min(2, total)

    def train(self, key, done, epochs):
        if not self.busy:
            return
        for child in multiprocessing.active_children()[: self.victims]:
            os.kill(child.pid, signal.SIGKILL)
        self.victims = 0


@pytest.mark.parametrize(("victims", "failed"), [(1, 1), (2, 4)])
def test_a_killed_process_fails_its_run_and_the_others_go_on(place, home, monkeypatch, victims, failed):
    monkeypatch.setattr(Killer, "victims", victims)
    monkeypatch.setattr(training, "display", lambda echo, quiet: Killer(echo))
    out = repro(*SMOKE, "--seeds", "0-1", "--devices", "cpu,cpu", code=1)
    assert (
        out.count("failed: its process on cpu was ended by signal 9") == victims * 2
    )  # when it happens, and at the end
    assert f"{failed} failed" in out
    assert ("no process is left to train it" in out) == (failed > victims)
    assert ("3 trained" in out) == (failed == 1)
    monkeypatch.undo()
    monkeypatch.chdir(place)
    monkeypatch.setenv("REPRO_HOME", str(home))
    assert f"{failed} trained" in repro(*SMOKE, "--seeds", "0-1", "--device", "cpu")


def test_a_killed_process_is_closed_in_mlflow(place, home, monkeypatch):
    import mlflow

    monkeypatch.setattr(Killer, "victims", 2)
    monkeypatch.setattr(training, "display", lambda echo, quiet: Killer(echo))
    repro("run", "tiny/first", "--profile", "smoke", "--devices", "cpu,cpu", code=1)
    client = mlflow.MlflowClient(f"sqlite:///{home}/mlflow.db")
    experiment = client.get_experiment_by_name("cifar10/tiny/smoke")
    runs = client.search_runs([experiment.experiment_id])
    assert [run.info.status for run in runs if run.data.tags["repro.kind"] == "run"] == ["FAILED"]


def test_a_spent_budget_stops_several_processes(place, home):
    out = repro(*SMOKE, "--devices", "cpu,cpu", "--budget", "0s")
    assert "2 stopped" in out


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_its_parent(place, home, sign):
    command = [sys.executable, "-m", "repro", *SMOKE, "--seeds", "0-30", "--devices", "cpu,cpu"]
    parent = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    for line in parent.stdout:
        if "finished: test" in line:
            break
    os.kill(parent.pid, sign)
    rest = parent.stdout.read()  # the children hold it open: at its end they are gone
    assert parent.wait() == (130 if sign == signal.SIGINT else -signal.SIGKILL)
    if sign == signal.SIGINT:
        assert "goes on at the last finished epoch" in rest
        assert "Traceback" not in rest
    deadline = time.monotonic() + 30
    while members(parent.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert members(parent.pid) == []


def members(group):
    """Return the processes of a group that are not zombies."""
    found = subprocess.run(["ps", "-eo", "pid,pgid,stat"], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in found.splitlines()[1:]]
    return [pid for pid, pgid, stat in rows if int(pgid) == group and not stat.startswith("Z")]


def test_a_batch_norm_of_one_value_is_told_in_a_sentence():
    """PyTorch's own words for it, whatever the version."""
    with pytest.raises(ValueError, match="per channel") as caught:
        torch.nn.BatchNorm2d(3)(torch.zeros(1, 3, 1, 1))
    assert "batch_size" in local.known(caught.value, Options(Path("home"), CPU, "fp32"))
    assert local.known(ValueError("else"), Options(Path("home"), CPU, "fp32")) is None


def test_the_table_of_a_request_says_what_diverged(place, home, make_record):
    (run, other) = plan(home, seeds=(0, 1)).runs[:2]
    lost = replace(make_record(epochs=1, images=200), state="diverged")
    outcomes = [Outcome(run, "trained", lost), Outcome(other, "trained", make_record(epochs=1, images=200))]
    said = []
    assert concluding.conclude(outcomes, {}, said.append) == 0
    assert said[-1] == "2 trained; 1 of these diverged"
    assert len([line for line in said if "trained, diverged" in line]) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_interrupts_once_and_its_handler_comes_back(number):
    before = signal.getsignal(number)
    with process.terminated_as_interrupted():
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)  # what it interrupted is tidied up in peace
    assert signal.getsignal(number) == before


def test_a_hangup_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with process.terminated_as_interrupted():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_who_waits_for_a_run_holds_no_other(place, home):
    """Else two requests in opposite orders wait for each other: a run stays locked until its end is over."""
    run = plan(home).runs[0]
    folder = folder_of(run, home)
    folder.mkdir(parents=True)
    (folder / "lock").touch()
    other = FileLock(folder / "lock", thread_local=False)
    other.acquire()
    settled = []

    def settle():
        settled.append(run.key)
        other.release()

    closings = SimpleNamespace(settle=settle, begin=lambda *_: None)
    job = Job(run, train=lambda *_args, **_kwargs: None, left_s=20.0)
    display = SimpleNamespace(note=lambda *_args, **_kwargs: None, waiting=lambda: None)
    with pytest.raises(Exception):  # noqa: B017, PT011 - what comes after the lock is not of interest here
        local._locked(job, None, Options(home, CPU, "fp32"), None, display, closings)
    assert settled == [run.key]
