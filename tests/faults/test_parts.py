"""The parts that faults meet: named places, the courier to MLflow, whose a run is."""

import dataclasses
import os
import subprocess
import threading

import pytest

from repro.errors import UserError
from repro.execute import courier
from repro.record import Entry, Journal, failpoints, remove_halves, write_atomically
from repro.track import owner


@pytest.mark.parametrize("text", ["", ":2", "a:x", "a:2=", "a=die", "a:-1", "=kill"])
def test_a_named_place_that_makes_no_sense_is_refused(monkeypatch, text):
    monkeypatch.setenv("REPRO_FAILPOINT", text)
    if text == "a:2=":
        assert failpoints.parse(text) == ("a", 2, "kill")
        return
    with pytest.raises(UserError, match=r"expected name\[:count\]"):
        failpoints.reach("a")


def test_a_disk_that_is_full_stays_full(monkeypatch, tmp_path):
    """From the second write on; what was there stands, and half a line in a journal is none."""
    failpoints._reached.clear()
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append(1, {"a": 1.0})
    write_atomically(tmp_path / "record.json", b"old")
    monkeypatch.setenv("REPRO_FAILPOINT", "journal.append:3=enospc")
    journal.append(2, {"a": 2.0})
    for _ in range(2):
        with pytest.raises(OSError, match=r"No space left on device: '.*journal\.jsonl'"):
            journal.append(3, {"a": 3.0})
    assert [entry.epoch for entry in journal.read()] == [1, 2]
    monkeypatch.setenv("REPRO_FAILPOINT", "record.write=enospc")
    with pytest.raises(OSError, match=r"No space left on device: '.*record\.json'"):
        write_atomically(tmp_path / "record.json", b"new")
    assert (tmp_path / "record.json").read_bytes() == b"old"
    assert {path.name for path in tmp_path.iterdir()} == {"journal.jsonl", "record.json"}
    monkeypatch.delenv("REPRO_FAILPOINT")
    journal.truncate(2)
    journal.append(3, {"a": 3.0})
    assert [entry.epoch for entry in journal.read()] == [1, 2, 3]


def test_halves_are_removed(tmp_path):
    """Those of a process that lives are being written."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    living = f".record.json.{os.getppid()}.tmp"
    for name in (f".record.json.{gone.pid}.tmp", f".model.pt.{os.getpid()}.tmp", living, "record.json"):
        (tmp_path / name).write_bytes(b"x")
    remove_halves(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"record.json", living}


class Fickle:
    """A run in MLflow that takes nothing while `down` is set."""

    def __init__(self):
        self.got, self.down, self.tried = [], threading.Event(), threading.Semaphore(0)

    def log(self, entries):
        self.tried.release()
        if self.down.is_set():
            raise UserError("no answer")
        self.got += [entry.epoch for entry in entries]


def entry(epoch):
    return Entry(epoch, {}, {}, epoch)


def test_a_courier_brings_what_did_not_get_through_later_and_in_order(monkeypatch):
    monkeypatch.setattr(courier, "RETRY_S", 0.01)
    run = Fickle()
    run.down.set()
    made = courier.Courier(lambda: run, [entry(1)])
    made.start()
    for epoch in (2, 3):
        made.add(entry(epoch))
    for _ in range(5):
        assert run.tried.acquire(timeout=30)
    assert run.got == []
    run.down.clear()
    made.add(entry(4))
    made.leave()
    made.join(30)
    assert run.got == [1, 2, 3, 4]
    assert not made.behind
    assert list(made.said) == ["not in MLflow yet: no answer", "MLflow answers again and has all epochs so far"]


def test_a_courier_that_leaves_tries_once_more_and_no_longer():
    run = Fickle()
    run.down.set()
    made = courier.Courier(lambda: run, [entry(1)])
    made.leave()
    made.start()
    made.join(30)
    assert not made.is_alive()
    assert made.behind
    assert run.got == []


def test_a_mistake_of_ours_is_not_swallowed():
    def wrong():
        raise KeyError("ours")

    made = courier.Courier(wrong, [])
    made.start()
    made.join(30)
    assert isinstance(made.error, KeyError)


def test_whose_a_run_is():
    """Free to go on with is a dead process's, and what this process holds in the folder that the run is of."""
    mine = owner.mine()
    parent = dataclasses.replace(mine, pid=os.getppid(), began=owner.began(os.getppid()))
    elsewhere = dataclasses.replace(mine, host="elsewhere")
    other = {owner.FOLDER: "other"}
    for folder in ("ours", ""):
        assert owner.taken(parent.tags | other, folder)
        assert owner.taken(elsewhere.tags | other, folder)
        assert not owner.taken(mine.tags | other, folder)
        assert not owner.taken(dataclasses.replace(parent, began="0").tags | other, folder)  # its number is used again
        assert not owner.taken(dataclasses.replace(parent, boot="another").tags | other, folder)
        assert not owner.taken({owner.HOST: mine.host}, folder)  # from before owners were named
    for whose in (parent, elsewhere):
        assert not owner.taken(whose.tags | other, "other")
        assert owner.taken(whose.tags | {owner.FOLDER: ""}, "")
