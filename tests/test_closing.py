"""A run's end in MLflow goes on beside the next run: nothing is shown twice or lost, and figures are drawn apart."""

import subprocess
import sys
import threading
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from types import SimpleNamespace

import pytest
from filelock import FileLock, Timeout

from repro.execute import drawing
from repro.execute.closing import Closing, Closings
from repro.execute.drawing import Drawer
from repro.execute.outcome import Outcome
from repro.execute.pool import Pool
from repro.execute.shown import Shown
from repro.record import Journal
from repro.track import RunInfo, Tracker
from repro.track.projection import entries_of, pictures

RUN = SimpleNamespace(key="0" * 16, name="chen2024/resnet68 s0")


class Display:
    def __init__(self):
        self.traces = []

    def trace(self, text):
        self.traces.append(text)


class Slow:
    """A view whose end takes until it is let go; it notes who does what."""

    tracker = object()

    def __init__(self, error=None):
        self.trouble, self.synced, self.error = self.told, True, error
        self.go, self.at_it, self.heard = threading.Event(), threading.Event(), []

    def told(self, text):
        self.heard.append((text, threading.current_thread()))

    def finish(self, _record, _folder):
        self.at_it.set()
        assert self.go.wait(30)
        self.trouble("late")
        if self.error:
            raise self.error


def outcome(record):
    return Outcome(RUN, "trained", record)


@pytest.fixture
def record(make_record):
    return make_record(epochs=3, images=200)


def begun(closings, shown, record, folder):
    """Begin an end as `local` does, with the run's folder locked; return the outcome."""
    folder.mkdir(exist_ok=True)
    made, lock = outcome(record), FileLock(folder / "lock")
    lock.acquire()
    with ExitStack() as held:
        held.callback(lock.release)
        closings.begin(made, shown, folder, held)
    return made


def locked(folder):
    try:
        with FileLock(folder / "lock", timeout=0):
            return False
    except Timeout:
        return True


def test_training_goes_on_while_a_run_is_brought_to_its_end(tmp_path, record):
    shown, told = Slow(), []
    with Closings(Display(), lambda o: told.append(o.synced)) as closings:
        made = begun(closings, shown, record, tmp_path / "a")
        assert shown.at_it.wait(30)
        assert (made.synced, told, locked(tmp_path / "a")) == (False, [], True)
        shown.go.set()
    assert (made.synced, told, locked(tmp_path / "a")) == (True, [True], False)
    assert shown.heard == [("late", threading.current_thread())]  # a display is for one thread


def test_one_end_at_a_time(tmp_path, record):
    first, second = Slow(), Slow()
    second.go.set()
    with Closings(Display()) as closings:
        made = begun(closings, first, record, tmp_path / "a")
        threading.Timer(0.3, first.go.set).start()
        begun(closings, second, record, tmp_path / "b")
        assert made.synced
        assert not locked(tmp_path / "a")


def test_an_interrupt_waits_for_the_end_and_brings_about_the_next_one(tmp_path, record, monkeypatch):
    first, second = Slow(), Slow()
    first.go.set()
    second.go.set()
    join, interrupts = Closing.join, [KeyboardInterrupt]

    def interrupted(self, timeout=None):
        if interrupts:
            raise interrupts.pop()
        join(self, timeout)

    monkeypatch.setattr(Closing, "join", interrupted)
    closings = Closings(Display())
    made = begun(closings, first, record, tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        begun(closings, second, record, tmp_path / "b")
    closings.settle()
    assert made.synced
    assert second.heard
    assert not locked(tmp_path / "a")
    assert not locked(tmp_path / "b")


def test_a_mistake_of_ours_is_shown_and_fails_the_run_alone(tmp_path, record):
    display, shown = Display(), Slow(ValueError("ours"))
    shown.go.set()
    with Closings(display) as closings:
        made = begun(closings, shown, record, tmp_path / "a")
    assert (made.state, made.reason, made.synced) == ("failed", "ValueError: ours", False)
    assert "in finish" in display.traces[0]


def test_without_mlflow_or_a_record_there_is_nothing_to_wait_for(tmp_path, record):
    closings = Closings(Display())
    for shown, made in ((Shown(None, {}, print), outcome(record)), (Slow(), outcome(None))):
        with ExitStack() as held:
            closings.begin(made, shown, tmp_path, held)
        assert closings.under_way is None
        assert made.synced


def test_a_worker_tells_its_parent_what_became_of_an_end(record):
    pool = Pool([], None, None, Display())
    pool.outcomes[RUN.key] = outcome(record)
    left = SimpleNamespace(connection=SimpleNamespace(recv=lambda: ("left",)))
    pool.workers = [left]
    pool.hear(SimpleNamespace(connection=SimpleNamespace(recv=lambda: ("settled", RUN.key, False, "failed", "why"))))
    made = pool.outcomes[RUN.key]
    assert (made.synced, made.state, made.reason) == (False, "failed", "why")
    pool.hear(left)
    assert (pool.workers, pool.leaving) == ([], [left])


# What MLflow is given


def contents(tracker):
    """What a store says of its one run, its id, its times of day and the process that wrote it aside."""
    ids = [each.experiment_id for each in tracker.experiments()]
    (run,) = tracker.search(ids, kind="run")
    metrics = {
        key: [(m.step, m.value, m.timestamp) for m in tracker.client.get_metric_history(run.info.run_id, key)]
        for key in run.data.metrics
    }
    tags = {k: v for k, v in run.data.tags.items() if k != "mlflow.parentRunId" and not k.startswith("repro.owner")}
    artifacts = {f.path: f.file_size for f in tracker.client.list_artifacts(run.info.run_id)}
    return run.info.status, run.info.end_time, metrics, run.data.params, tags, artifacts


def test_a_run_whose_epochs_were_logged_here_is_finished_without_looking_for_it(tmp_path, home, record, monkeypatch):
    folder, journal = tmp_path / "run", Journal(tmp_path / "run" / "journal.jsonl")
    folder.mkdir()
    record = replace(record, run_key="1" * 16)
    kept = [journal.append(e.epoch, e.metrics, e.steps) for e in entries_of(record)]
    whole = Tracker(home, prefix="whole")
    whole.project(record, extras={"journal.jsonl": journal.path}, held=True)

    tracker, said = Tracker(home, prefix="live"), []
    shown = Shown(tracker, {}, said.append)
    shown.start(RunInfo.of(record), [])
    for entry in kept:
        shown.epoch(entry)
    while shown.courier.waiting or shown.courier.live is None:
        assert shown.courier.is_alive()
    calls = Counter()
    monkeypatch.setattr(tracker, "search", lambda *_a, **_k: calls.update(["search"]) or iter(()))
    monkeypatch.setattr(tracker, "logged", lambda *_a: calls.update(["logged"]) or {})
    shown.finish(record, folder)
    monkeypatch.undo()
    assert (said, shown.synced, calls) == ([], True, {})
    assert contents(tracker) == contents(whole)


# Figures


@pytest.fixture
def long_run(make_record):
    return make_record(epochs=3, images=200, seconds=60.0)


@pytest.fixture
def drawer():
    made = Drawer()
    yield made
    if made.child is not None:
        drawing.process.stop(made.child[0], grace_s=1)


def test_figures_drawn_in_a_process_are_those_drawn_here(drawer, long_run):
    info = RunInfo.of(long_run)
    here = pictures(info, long_run)
    assert drawer(info, long_run) == here
    assert {name[-4:] for name in here} == {".png"}
    first = drawer.child
    assert drawer(info, long_run) == here
    assert drawer.child is first
    first[0].kill()
    first[0].join()
    assert drawer(info, long_run) == here  # here, and the next one in a new process


def test_figures_of_short_runs_are_drawn_here(drawer, record, monkeypatch):
    monkeypatch.setattr(drawing, "pictures", lambda *_: {"a.png": b""})
    assert drawer(RunInfo.of(record), replace(record, seconds=drawing.APART_S - 1)) == {"a.png": b""}
    assert drawer.child is None


def test_what_cannot_be_drawn_is_told_from_here(drawer, long_run, monkeypatch):
    info = RunInfo.of(long_run)
    monkeypatch.setattr(drawer, "_apart", lambda *_: None)
    monkeypatch.setattr(drawing, "pictures", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        drawer(info, long_run)


def test_the_process_that_draws_needs_neither_torch_nor_mlflow():
    code = "import sys, repro.execute.drawing, repro.plots; print(sorted({'torch', 'mlflow'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
