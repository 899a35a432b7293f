"""A tracking server that refuses, hangs, or goes away: training goes on, and MLflow has everything in the end."""

import contextlib
import http.client
import itertools
import os
import select
import shutil
import socket
import socketserver
import sqlite3
import subprocess
import threading
import time

import pytest
from faulty import RUN
from holding import check_mlflow, journals, outcome, starts, statuses, trial, trials, wait_for

from repro.track import store, ui_command, ui_env

AWAY = "Tracking server away for a while: training goes on, metrics arrive"
GONE = "Tracking server gone for good: training goes on, exit 1 says so, the same command mends it"
HUNG = "Tracking server that takes calls and never answers: training goes on, exit 1 says so"
ABSENT = "Tracking server absent at the start: one sentence, nothing begun"
SHARED = "Several processes on one tracking server: each run trained once, MLflow whole"
OUTAGE_S = trials(1, 20, 60)


class Door(socketserver.ThreadingTCPServer):
    """A way to a server that can be shut (calls are refused) and made sticky (calls are taken, and never answered)."""

    daemon_threads = allow_reuse_address = True

    def __init__(self, behind):
        self.behind, self.sticky, self.calls = behind, False, []
        super().__init__(("127.0.0.1", 0), Passage)
        self.port = self.server_address[1]
        self.open()

    def open(self):
        if self.socket.fileno() < 0:
            self.socket = socket.create_server(("127.0.0.1", self.port), reuse_port=False)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def shut(self):
        self.shutdown()
        self.socket.close()
        for call in self.calls:
            with contextlib.suppress(OSError):
                call.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request, client_address):
        """A call that was broken off is what this is for."""


class Passage(socketserver.BaseRequestHandler):
    """One call: bytes both ways until one side ends, or nothing any more."""

    def handle(self):
        door = self.server
        door.calls.append(self.request)
        with socket.create_connection(("127.0.0.1", door.behind)) as other:
            pair = {self.request: other, other: self.request}
            while True:
                for ready in select.select(list(pair), [], [], 0.1)[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    while door.sticky:
                        time.sleep(0.05)
                    pair[ready].sendall(data)


@pytest.fixture(scope="module")
def server(tmp_path_factory, mlflow_template):
    """Return (its port, its database) of an MLflow server."""
    home = tmp_path_factory.mktemp("server")
    shutil.copy(mlflow_template, home / "mlflow.db")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        ui_command(home, port), env=os.environ | ui_env(), cwd=home, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip

    def up():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except OSError:
            assert process.poll() is None
            return False

    wait_for(up)
    yield port, store.locate(home).path
    os.killpg(process.pid, 15)
    process.wait(30)


@pytest.fixture
def door(server):
    made = Door(server[0])
    yield made
    made.sticky = False
    with contextlib.suppress(OSError):
        made.shut()


def through(place, door, server):
    """Let a place use the server through the door, with an empty database."""
    place.uri = f"http://127.0.0.1:{door.port}"
    with contextlib.closing(sqlite3.connect(server[1], timeout=30)) as db:
        for table in ("metrics", "latest_metrics", "params", "tags", "input_tags", "inputs", "datasets", "runs"):
            db.execute(f"delete from {table}")
        db.commit()
    return place


def longest_gap(home):
    """Return the longest time between two epochs, in seconds."""
    times = [entry.time for entry in journals(home)]
    return round(max(b - a for a, b in itertools.pairwise(times)) / 1000, 2)


SLOW = [("slow_epochs", 0.4)]


def test_away_for_a_while(places, undisturbed, server, door):
    """The run trains on while nobody answers, tries again by itself, and ends as if nothing had been."""
    with trial(AWAY, f"{OUTAGE_S} s") as detail:
        place = through(places("away", store=False), door, server)
        process = place.start(changes=[("slow_epochs", max(0.4, OUTAGE_S / 3))])
        wait_for(lambda: len(journals(place.home)) >= 1)
        door.shut()
        time.sleep(OUTAGE_S)
        assert process.exitcode is None
        door.open()
        code, said = place.ended(process)
        assert code == 0, said
        detail["longest gap between epochs, s"] = longest_gap(place.home)
        assert outcome(place.home) == undisturbed(*RUN)[0]
        check_mlflow(server[1], place.home)


@pytest.mark.parametrize("how", ["gone", "hung"])
def test_gone_for_good(places, undisturbed, server, door, how):
    """All epochs are trained, and the run is recorded, while no call is answered; the same command mends the rest."""
    with trial(GONE if how == "gone" else HUNG, "after the first epoch") as detail:
        place = through(places(how, store=False), door, server)
        process = place.start(changes=SLOW)
        wait_for(lambda: len(journals(place.home)) >= 1)
        door.sticky = how == "hung"
        if how == "gone":
            door.shut()
        wait_for(lambda: any(place.home.glob("runs/*/record.json")))
        detail["longest gap between epochs, s"] = longest_gap(place.home)
        code, said = place.ended(process)
        assert code == 1, said
        assert "1 trained" in said
        assert "1 not in MLflow yet: run the same command again once the tracking server answers" in said
        assert "Traceback" not in said
        assert outcome(place.home) == undisturbed(*RUN)[0]
        assert statuses(server[1], "run") == ["RUNNING"]
        door.sticky = False
        if how == "gone":
            door.open()
        assert "1 skipped" in place.run()
        check_mlflow(server[1], place.home)


def test_a_race_on_one_server(places, undisturbed, server, door):
    with trial(SHARED, f"{trials(2, 4)} processes"):
        place = through(places("race", store=False), door, server)
        racers = [place.start(*RUN, "--seeds", "0-1") for _ in range(trials(2, 4))]
        ends = [place.ended(racer, within=300) for racer in racers]
        assert [code for code, _ in ends] == [0] * len(racers), ends
        assert set(starts(place.home).values()) == {1}
        assert undisturbed(*RUN)[0].items() <= outcome(place.home).items()
        check_mlflow(server[1], place.home)


def test_absent_at_the_start(places, door):
    with trial(ABSENT, "connection refused"):
        place = places("absent", store=False)
        place.uri = f"http://127.0.0.1:{door.port}"
        door.shut()
        said = place.run(code=2)
        assert said.startswith(
            f"repro: MLflow at {place.uri}: opening the store failed (no answer: Connection refused)"
        )
        assert "`repro run --offline` does without it" in said
        assert len(said.splitlines()) == 1
        assert not (place.home / "runs").exists()
