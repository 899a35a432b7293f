"""Two attempts at one run: the one that was taken over writes nothing more, and a request begins a run anew once."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from command_line import small_report

from repro.data import sample
from repro.errors import UserError
from repro.execute import local
from repro.execute.outcome import Job
from repro.progress.training import Quiet
from repro.record import Journal, RunRecord, fence, write_atomically
from repro.run import Options, folder_of
from repro.spec.identity import runs_of

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Let no moment pass between two attempts: here the first one stands still meanwhile."""
    monkeypatch.setattr(fence, "SETTLE_S", 0.0)


def small():
    """Return (a run of four epochs, a hundred images)."""
    data = sample.load()
    few = replace(data, x_train=data.x_train[::15], y_train=data.y_train[::15], x_test=data.x_test[::12],
                  y_test=data.y_test[::12])  # fmt: skip
    report = small_report(("epochs: 2", "epochs: 40"))
    return runs_of(report, [report.experiments["first"]], [0], "some data", "quick")[0], few


class Halting(Quiet):
    """Stands still after the first epoch until a file `go` is there."""

    def epoch(self, key, entry, epochs):
        if entry.epoch == 1:
            Path("halted").touch()
            while not Path("go").exists():
                time.sleep(0.02)


def attempt(home, ticket="", display=None, **more):
    run, few = small()
    display = display or Quiet(print)
    display.begin(run, 1, 1)
    with local.Closings(display) as closings:
        return local.attempt(Job(run, ticket=ticket, **more), few, Options(home, CPU, "fp32"), None, display, closings)


def elsewhere(home):
    """Be another host's attempt: its locks are not those of this one."""
    torch.set_num_threads(1)
    whole = local.FileLock
    local.FileLock = lambda path: whole(f"{path}-elsewhere")
    print(attempt(Path(home), "one", Halting(print)).said)


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if not path.name.startswith("lock")}


def comparable(data):
    record = replace(RunRecord.from_bytes(data), started="", seconds=0.0, images_per_s=0.0, env={}, resumed=[])
    record.curves = {name: curve for name, curve in record.curves.items() if not name.startswith("time/")}
    return record.to_bytes()


def test_an_attempt_that_was_taken_over_writes_nothing_more(tmp_path):
    """A host taken for lost stands still in a run, another one ends it, and the first goes on: it has no say."""
    torch.set_num_threads(1)
    code = f"import test_fence; test_fence.elsewhere({str(tmp_path / 'state')!r})"
    path = f"{ROOT}:{ROOT / 'tests'}"
    env = {"PYTHONPATH": path, "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    first = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    until = time.monotonic() + 120
    while not (tmp_path / "halted").exists():
        assert first.poll() is None, first.stdout.read()
        assert time.monotonic() < until
        time.sleep(0.05)
    assert attempt(tmp_path / "state", "one").state == "trained"
    folder = folder_of(small()[0], tmp_path / "state")
    before = contents(folder)
    (tmp_path / "go").touch()
    said, _ = first.communicate(timeout=120)
    assert "failed" in said
    assert "another attempt has taken over this run" in said
    assert contents(folder) == before
    assert len(Journal(folder / "journal.jsonl").read()) == 4
    assert [start["epoch"] for start in json.loads(before["attempts.json"])] == [0, 1]
    attempt(tmp_path / "alone")
    alone = folder_of(small()[0], tmp_path / "alone") / "record.json"
    assert comparable(before["record.json"]) == comparable(alone.read_bytes())


def test_only_who_holds_the_fence_writes(tmp_path):
    """Whole files and journals alike; what is not fenced is written as ever."""
    folder = tmp_path / "run"
    write_atomically(folder / "record.json", b"before")
    with fence.held(folder, "ticket"):
        write_atomically(folder / "record.json", b"own")
        Journal(folder / "journal.jsonl").append(1, {"loss": 1.0})
        other = fence.Token("ticket", "other")
        (folder / fence.NAME).write_text(json.dumps(vars(other)))
        with pytest.raises(fence.Superseded, match="taken over"):
            Journal(folder / "journal.jsonl").append(2, {"loss": 0.5})
        with pytest.raises(fence.Superseded, match="taken over"):
            write_atomically(folder / "record.json", b"late")
    assert (folder / "record.json").read_bytes() == b"own"
    assert len(Journal(folder / "journal.jsonl").read()) == 1
    assert fence.read(folder) == other  # the other's is left as it is
    assert sorted(path.name for path in folder.iterdir()) == ["journal.jsonl", fence.NAME, "record.json"]
    write_atomically(folder / "record.json", b"unfenced")
    assert (folder / "record.json").read_bytes() == b"unfenced"


def test_a_token_that_is_gone_or_damaged_holds_nothing(tmp_path):
    for content in (None, b"", b"[]", b"{}", b'{"ticket": 1}'):
        with fence.held(tmp_path, "ticket"):
            if content is None:
                (tmp_path / fence.NAME).unlink()
            else:
                (tmp_path / fence.NAME).write_bytes(content)
            with pytest.raises(UserError):
                fence.check(tmp_path)


def test_the_next_attempt_waits_only_where_the_last_one_did_not_end(tmp_path, monkeypatch):
    waited = []
    monkeypatch.setattr(fence.time, "sleep", waited.append)
    monkeypatch.setattr(fence, "SETTLE_S", 7.0)
    with fence.held(tmp_path, "one"):
        fence.begin(tmp_path)
    with fence.held(tmp_path, "two"):
        assert waited == []
        fence.begin(tmp_path)
        left = (tmp_path / fence.NAME).read_bytes()
    (tmp_path / fence.NAME).write_bytes(left)  # as after kill -9
    with fence.held(tmp_path, "two"):
        assert waited == [7.0]
        assert fence.begun_by(tmp_path, "two")


def test_a_request_begins_a_run_anew_once(tmp_path):
    """What --force asked for is done by its first attempt; the next one goes on, and a new request begins again."""
    run, _ = small()
    folder = folder_of(run, tmp_path)

    class Dying(Quiet):
        def epoch(self, key, entry, epochs):
            if entry.epoch == 2:
                raise KeyboardInterrupt

    for expected in ([0], [0, 2]):
        if len(expected) == 1:
            with pytest.raises(KeyboardInterrupt):
                attempt(tmp_path, "one", Dying(print), force=True)
        else:
            assert attempt(tmp_path, "one", force=True).state == "trained"
        assert [start["epoch"] for start in json.loads((folder / "attempts.json").read_text())] == expected
    assert attempt(tmp_path, "one", force=True).state == "skipped"
    assert attempt(tmp_path, "two", force=True).state == "trained"
    assert len(json.loads((folder / "attempts.json").read_text())) == 1
    assert len(list(folder.glob("record-*.json"))) == 1


def test_what_is_left_running_under_another_host_name_goes_on_with_who_holds_the_run(home, tmp_path, monkeypatch):
    """In MLflow too: hosts that share a state folder, or a container with a new name, are known by that folder."""
    from repro.execute.shown import info_of
    from repro.track import Tracker, owner

    run, few = small()
    info = info_of(run, few, Options(home, CPU, "fp32"), {})
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setattr(owner, "host", lambda: "the lost one")
    first = Tracker(home).start(info)
    monkeypatch.setattr(owner, "host", lambda: "the next one")
    assert Tracker(tmp_path / "another").start(info).run_id != first.run_id
    monkeypatch.setattr(owner, "host", lambda: "the one after")
    moved = home.rename(tmp_path / "moved")
    assert Tracker(moved).start(info).run_id == first.run_id
