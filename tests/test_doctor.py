"""`repro doctor`: what a kill leaves is found and mended, what lives is left alone, and a look writes nothing."""

import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from command_line import repro
from filelock import FileLock

from repro.errors import UserError
from repro.record import Journal
from repro.suite.doctoring import doctor
from repro.track import RunInfo, Tracker, owner, store
from repro.track.owner import Owner
from repro.train import checkpoint

ROOT = Path(__file__).parents[1]
SMOKE = ("run", "tiny/first", "--profile", "smoke", "--device", "cpu", "-q")


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, tmp_path):
    """Child processes find the package; the pictures of MLflow's runs are left out."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    for name in ("confusion_png", "curves_png"):
        monkeypatch.setattr(f"repro.plots.{name}", lambda *_: b"png")


def tree(folder):
    """Every file and folder below a folder with its bytes and the time of its last change."""
    found = {}
    for path in sorted(folder.rglob("*")):
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[path.relative_to(folder)] = (digest, path.stat().st_mtime_ns)
    return found


def looked(home, reports=Path("reports"), **options):
    """Look without mending, and see that nothing was written; return (what, state) of each finding."""
    before = tree(home)
    found = doctor(home, reports, **options)
    assert tree(home) == before
    return [(finding.what, finding.state) for finding in found]


def mended(home, reports=Path("reports")):
    return [(finding.what, finding.state) for finding in doctor(home, reports, fix=True)]


def status(home):
    """(kind, seed) -> status and tag `repro.state`, straight from MLflow."""
    tracker = Tracker(home)
    runs = tracker.search([experiment.experiment_id for experiment in tracker.experiments()])
    return {
        (run.data.tags["repro.kind"], run.data.params.get("seed")): (run.info.status, run.data.tags.get("repro.state"))
        for run in runs
    }


def small(make_record, **overrides):
    return make_record(**({"epochs": 3, "images": 200} | overrides))


# Owners: a process told apart from every other


def test_this_process_is_alive_and_its_tags_say_who_it_is():
    here = owner.mine()
    assert here.pid == os.getpid()
    assert Owner.of(here.tags) == here
    assert owner.state(here) == "alive"
    assert owner.mine() == here  # always the same words


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"boot": "another boot"}, "gone"),  # the machine was started again
        ({"began": "1"}, "gone"),  # the number was used again by a later process
        ({"host": "elsewhere"}, "elsewhere"),
        ({"host": "elsewhere", "boot": "another boot"}, "elsewhere"),
        ({"space": "pid:[1]"}, "elsewhere"),  # another container: the number means another process
        ({"space": "pid:[1]", "boot": "another boot"}, "gone"),
        ({"boot": "", "began": ""}, "alive"),  # where a system does not tell, the number has to do
    ],
)
def test_a_number_alone_is_no_process(changes, state):
    assert owner.state(replace(owner.mine(), **changes)) == state


def test_a_process_that_ended_is_gone_also_before_anyone_asked_how():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    named = replace(owner.mine(), pid=child.pid, began=owner.began(child.pid))
    assert owner.state(named) == "alive"
    assert named.began != owner.mine().began
    child.stdin.close()
    deadline = time.monotonic() + 20
    while owner.state(named) == "alive" and time.monotonic() < deadline:
        time.sleep(0.02)
    assert owner.state(named) == "gone"  # a zombie: its parent, this test, has not waited for it
    child.wait()
    assert owner.state(named) == "gone"


def test_where_there_is_no_proc_ps_tells_the_same():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    told = owner._told_by_ps(child.pid)
    assert told
    assert owner._told_by_ps(child.pid) == told  # the start, not the time since
    child.stdin.close()
    deadline = time.monotonic() + 20
    while owner._told_by_ps(child.pid) is not None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert owner._told_by_ps(child.pid) is None
    child.wait()
    assert owner._told_by_ps(child.pid) is None


@pytest.mark.parametrize("tag", ["", "no JSON", "3", "{}", '{"pid": "x", "boot": "", "space": "", "began": ""}'])
def test_a_tag_that_names_nobody_is_nobody(tag):
    assert Owner.of({owner.TAG: tag}) is None
    assert owner.state(None) == "unknown"


# MLflow's runs


@pytest.fixture
def shown(home, make_record):
    """Return a tracker and a function that begins a run of a seed and says who writes it."""
    tracker = Tracker(home)

    def begin(seed, **changes):
        live = tracker.start(RunInfo.of(small(make_record, seed=seed)))
        for key, value in replace(owner.mine(), **changes).tags.items():
            tracker.client.set_tag(live.run_id, key, value)
        return live.run_id

    return tracker, begin


def test_runs_whose_process_is_gone_are_ended_and_no_others(home, shown):
    tracker, begin = shown
    begin(0)  # by this process
    begin(1, boot="another boot")
    begin(2, began="1")
    begin(3, host="elsewhere")
    (parent,) = tracker.search(["1"], kind="experiment")
    tracker.client.set_tag(parent.info.run_id, owner.TAG, "")
    expected = [("MLflow run", "found"), ("MLflow run", "found"), ("MLflow run", "noted")]
    assert looked(home) == expected
    assert mended(home) == [("MLflow run", "mended"), ("MLflow run", "mended"), ("MLflow run", "noted")]
    assert status(home) == {
        ("experiment", None): ("RUNNING", None), ("run", "0"): ("RUNNING", "running"),
        ("run", "1"): ("KILLED", "killed"), ("run", "2"): ("KILLED", "killed"), ("run", "3"): ("RUNNING", "running"),
    }  # fmt: skip
    assert looked(home) == [("MLflow run", "noted")]


def test_a_parent_is_ended_when_nobody_writes_below_it(home, shown):
    tracker, begin = shown
    (run_id,) = [begin(0, boot="another boot")]
    (parent,) = tracker.search(["1"], kind="experiment")
    assert looked(home) == [("MLflow run", "found")]  # the parent's own process, this one, lives
    for key, value in replace(owner.mine(), boot="another boot").tags.items():
        tracker.client.set_tag(parent.info.run_id, key, value)
    assert looked(home) == [("MLflow run", "found"), ("MLflow parent", "found")]
    assert mended(home) == [("MLflow run", "mended"), ("MLflow parent", "mended")]
    assert {state for state, _ in status(home).values()} == {"KILLED"}
    run, parent = tracker.client.get_run(run_id), tracker.client.get_run(parent.info.run_id)
    assert parent.info.end_time >= run.info.start_time
    assert looked(home) == []


def test_a_run_cut_short_at_its_very_last_step_is_finished(home, shown, make_record):
    tracker, _ = shown
    run_id = tracker.project(small(make_record))
    tracker.client.update_run(run_id, status="RUNNING")
    for key, value in replace(owner.mine(), boot="another boot").tags.items():
        tracker.client.set_tag(run_id, key, value)
    assert "would be ended as FINISHED" in str(doctor(home, Path("reports"))[0])
    mended(home)
    assert status(home)["run", "0"] == ("FINISHED", "finished")


@pytest.mark.parametrize("mark", ["none", "another container's"])
def test_a_run_whose_mark_does_not_tell_goes_by_the_lock_of_its_folder(home, shown, make_record, mark):
    tracker, begin = shown
    run_id = begin(0, space="pid:[1]")
    if mark == "none":
        tracker.client.delete_tag(run_id, owner.TAG)
    assert looked(home) == [("MLflow run", "left" if mark == "none" else "noted")]  # nothing tells
    folder = home / "runs" / small(make_record).run_key
    folder.mkdir(parents=True)
    with FileLock(folder / "lock"):
        assert looked(home) == [("run", "noted")]  # in training
    assert looked(home) == [("MLflow run", "found")]


def test_a_run_that_somebody_went_on_with_meanwhile_is_left(home, shown):
    tracker, begin = shown
    run_id = begin(0, boot="another boot")
    (finding,) = doctor(home, Path("reports"))
    for key, value in owner.tags().items():
        tracker.client.set_tag(run_id, key, value)
    finding.treat()
    assert finding.state == "left"
    assert "gone on with it meanwhile" in str(finding)
    assert status(home)["run", "0"] == ("RUNNING", "running")


def test_a_lock_that_is_held_though_the_owner_is_gone_is_told(home, shown, make_record):
    _, begin = shown
    begin(0, boot="another boot")
    folder = home / "runs" / small(make_record).run_key
    folder.mkdir(parents=True)
    with FileLock(folder / "lock"):
        assert looked(home) == [("MLflow run", "left"), ("run", "noted")]


# A real kill


def killed_at(point, *arguments, until=lambda: True):
    """Run `repro ...` up to a fail point, wait there for `until`, and kill it as kill -9 does."""
    environment = {**os.environ, "REPRO_FAILPOINT": f"{point}=sleep"}
    command = [sys.executable, "-m", "repro", *arguments]
    child = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not until():
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()


def rows(home, query):
    with closing(sqlite3.connect(f"{(home / 'mlflow.db').as_uri()}?mode=ro", uri=True)) as db:
        return db.execute(query).fetchall()


def test_a_killed_run_is_closed_named_with_its_epoch_and_goes_on(place, home):
    def standing():
        running = rows(home, "select 1 from tags where key = 'repro.kind' and value = 'run'")
        return running and list(home.glob("runs/*/checkpoint-00001-*.pt"))

    killed_at("checkpoint.renamed", *SMOKE, until=standing)
    assert {state for state, _ in status(home).values()} == {"RUNNING"}
    expected = [("MLflow run", "found"), ("MLflow parent", "found"), ("run", "noted")]
    assert looked(home) == expected
    out = repro("doctor", code=1)
    assert "MLflow run: tiny/s0 first" in out
    assert "would be ended as KILLED" in out
    assert "unfinished, 1 epoch done; the same `repro run` goes on there" in out
    assert out.endswith("2 to be mended by --fix\n")
    out = repro("doctor", "--fix")
    assert out.endswith("2 mended\n"), out
    assert {state for state, _ in status(home).values()} == {"KILLED"}
    assert repro("doctor").endswith("nothing is wrong\n")
    assert "1 trained" in repro(*SMOKE)
    assert {state for state, _ in status(home).values()} == {"FINISHED"}
    assert repro("doctor") == "nothing is wrong\n"


def test_what_a_kill_between_record_and_tidying_leaves_is_removed(place, home):
    def standing():
        return list(home.glob("runs/*/record.json"))

    killed_at("record.renamed", *SMOKE, "--offline", until=standing)
    assert list(home.glob("runs/*/checkpoint-*.pt"))
    assert looked(home) == [("checkpoints", "found"), ("records", "found")]
    assert mended(home) == [("checkpoints", "mended"), ("records", "mended")]
    assert not list(home.glob("runs/*/checkpoint-*.pt"))
    assert {state for state, _ in status(home).values()} == {"FINISHED"}  # the run, and its parent's summary
    assert looked(home) == []
    assert "1 skipped" in repro(*SMOKE)


# The database


def test_a_file_that_is_no_database_is_set_aside_and_kept(home):
    (home / "mlflow.db").write_bytes(b"not a database, " * 1000)
    assert looked(home) == [("tracking database", "found")]
    assert mended(home) == [("tracking database", "mended")]
    assert (home / "damaged-mlflow.db").read_bytes().startswith(b"not a database")
    assert looked(home) == []
    Tracker(home)  # makes a new one
    (home / "mlflow.db").write_bytes(b"again")
    mended(home)
    assert (home / "damaged-2-mlflow.db").read_bytes() == b"again"


@pytest.mark.parametrize("sql", ["create table _alembic_tmp_experiments (x)", "drop table metrics"])
def test_a_half_made_database_is_set_aside_only_where_nothing_can_be_read(home, shown, sql):
    path, (_, begin) = home / "mlflow.db", shown
    whole = path.read_bytes()
    with closing(sqlite3.connect(path)) as db:
        db.execute(sql)
    assert looked(home) == [("tracking database", "found")]
    path.write_bytes(whole)
    begin(0, boot="another boot")
    with closing(sqlite3.connect(path)) as db:
        db.execute(sql)
    assert looked(home) == [("tracking database", "left")]
    before = path.read_bytes()
    (finding,) = doctor(home, Path("reports"), fix=True)
    assert "1 run" not in finding.found
    assert "2 runs can be read from it yet" in str(finding)  # the run and its parent
    assert path.read_bytes() == before


def test_a_database_with_a_damaged_page_is_named(home, shown):
    path, (_, begin) = home / "mlflow.db", shown
    begin(0, boot="another boot")
    data = bytearray(path.read_bytes())
    ((page,),) = rows(home, "select rootpage from sqlite_master where name = 'index_params_run_uuid'")
    data[4096 * (page - 1) : 4096 * page] = bytes(4096)
    path.write_bytes(data)
    assert looked(home) == [("tracking database", "left")]
    assert "damaged" in str(doctor(home, Path("reports"))[0])


def test_looking_leaves_a_transaction_that_was_cut_short_as_it_is(home, shown):
    """Whoever opens such a file to write rolls it back; a look does not."""
    _, begin = shown
    begin(0, boot="another boot")
    program = (
        "import os, signal, sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute('pragma cache_size = 1');"
        "db.execute('begin'); db.execute(\"update tags set value = value || hex(randomblob(3000))\");"
        "db.execute(\"update runs set status = 'FINISHED'\"); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", program, str(home / "mlflow.db")])
    assert (home / "mlflow.db-journal").stat().st_size
    assert looked(home) == [("MLflow run", "found")]  # as before the transaction
    assert mended(home) == [("MLflow run", "mended")]
    assert status(home)["run", "0"] == ("KILLED", "killed")


def test_a_server_that_does_not_answer_is_told(home, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert looked(home) == [("tracking server", "left")]
    assert looked(home, offline=True) == []
    monkeypatch.setattr(store, "reach", lambda place: absent(place))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql+psycopg://somebody@127.0.0.1:9/runs")
    assert looked(home) == [("tracking server", "left")]


def absent(place):
    raise UserError(f"MLflow at {place.shown}: no database answers there")


# Files


def test_half_written_files_of_processes_that_are_gone_are_removed(home):
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    reports, long_ago = home.parent / "reports", time.time() - 3600
    gone = [
        home / f".mlflow.db.{child.pid}.tmp", home / f".mlflow.db.{child.pid}.tmp-journal",
        home / "data" / f".cifar10.npz.{child.pid}.tmp", reports / "tiny" / f".report.md.{child.pid}.tmp",
    ]  # fmt: skip
    kept = [
        home / "runs" / "k" / f".record.json.{os.getpid()}.tmp",  # its process lives
        home / "artifacts" / f".x.{child.pid}.tmp",  # MLflow's
        home / "data" / "cifar10.tar.gz.part",  # a download that is gone on with
        home / ".x.tmp",  # not ours
    ]
    for path in (*gone, *kept):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
        os.utime(path, (long_ago, long_ago))
    young = home / f".y.{child.pid}.tmp"  # of a machine that shares the folder, perhaps
    young.write_bytes(b"half")
    assert looked(home, reports) == [("temporary file", "found")] * len(gone)
    assert mended(home, reports) == [("temporary file", "mended")] * len(gone)
    assert not any(path.exists() for path in gone)
    assert all(path.exists() for path in (*kept, young))


@pytest.fixture
def run(home):
    """Return an unfinished run's folder with three epochs in its journal and checkpoints of the last two."""
    folder = home / "runs" / "0123456789abcdef"
    for epoch in (1, 2, 3):
        Journal(folder / "journal.jsonl").append(epoch, {"test/loss": 1.0 / epoch})
        checkpoint.save(folder, epoch, {"epoch": torch.tensor(epoch)})
    return folder


def test_a_damaged_checkpoint_is_set_aside_where_an_older_one_is_sound(home, run):
    assert looked(home) == [("run", "noted")]
    older, newest = sorted(run.glob("checkpoint-*.pt"))
    newest.write_bytes(newest.read_bytes()[:-1] + b"x")
    assert looked(home) == [("checkpoint", "found"), ("run", "noted")]
    with FileLock(run / "lock"):
        assert looked(home) == [("run", "noted")]  # in training: nobody meddles
    assert mended(home) == [("checkpoint", "mended"), ("run", "noted")]
    assert sorted(path.name for path in run.glob("*.pt")) == [older.name, f"damaged-{newest.name}"]
    epoch, state = checkpoint.load(run)
    assert (epoch, int(state["epoch"])) == (2, 2)
    older.write_bytes(b"")
    assert looked(home) == [("checkpoint", "left")]
    assert older.exists()


def test_a_journal_shorter_than_its_checkpoint_is_told_with_its_mend(home, run):
    Journal(run / "journal.jsonl").truncate(1)
    (finding,) = doctor(home, Path("reports"), fix=True)
    assert (finding.what, finding.state) == ("run", "left")
    assert "its journal holds 1 epoch and its checkpoint 3; `repro run --force` begins it anew" in str(finding)


def test_a_record_that_cannot_be_read_is_told_and_nothing_beside_it_is_removed(home, run):
    (run / "record.json").write_bytes(b"{")
    before = tree(run)
    assert looked(home) == [("record", "left")]
    assert mended(home) == [("record", "left")]
    assert tree(run) == before


def test_a_damaged_data_cache_is_set_aside(home, standin):
    from repro.data import cache, cifar10

    standin.npz(home.parent / "source.npz")
    cifar10.import_from(home.parent / "source.npz", home)
    assert looked(home) == []
    sound = cache.cache_path(home).read_bytes()
    standin.arrays["y_test"] = standin.arrays["y_test"][::-1]
    standin.npz(cache.cache_path(home))  # labels of other images
    assert looked(home) == [("data", "found")]
    assert mended(home) == [("data", "mended")]
    assert not cache.cache_path(home).exists()
    assert (home / "data" / "damaged-cifar10.npz").exists()
    cache.cache_path(home).write_bytes(sound)
    cache.order_path(home).write_bytes(b"no order")
    assert looked(home) == [("data", "found")]
    mended(home)
    assert cache.cache_path(home).read_bytes() == sound
    assert not cache.order_path(home).exists()


# The command


def test_where_nothing_is_nothing_is_made(tmp_path, monkeypatch):
    monkeypatch.setenv("REPRO_HOME", str(tmp_path / "none"))
    assert repro("doctor") == "nothing is wrong\n"
    assert repro("doctor", "--fix") == "nothing is wrong\n"
    assert list(tmp_path.iterdir()) == []


def test_json_has_the_same_as_the_lines(home, run, monkeypatch):
    monkeypatch.setenv("REPRO_HOME", str(home))
    newest = max(run.glob("checkpoint-*.pt"))
    newest.write_bytes(b"")
    plain = json.loads(repro("doctor", "--json", code=1))
    assert (plain["fix"], plain["found"], plain["mended"], plain["left"]) == (False, 1, 0, 0)
    assert plain["findings"][0] == {
        "what": "checkpoint", "where": str(newest), "done": "renamed to `damaged-...`", "hint": "", "state": "found",
        "found": "its bytes are not those that were written; the one of epoch 2 is sound",
    }  # fmt: skip
    plain = json.loads(repro("doctor", "--json", "--fix"))
    assert (plain["mended"], plain["left"]) == (1, 0)


def test_a_mend_that_fails_is_left_and_says_why(home, run, monkeypatch):
    newest = max(run.glob("checkpoint-*.pt"))
    newest.write_bytes(b"")

    def refused(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("repro.suite.doctoring.files.set_aside", refused)
    monkeypatch.setenv("REPRO_HOME", str(home))
    out = repro("doctor", "--fix", code=1)
    assert "could not be renamed" in out
    assert "Permission denied" in out
    assert out.endswith("1 left\n")
