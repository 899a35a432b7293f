"""A tracking server on this machine: PostgreSQL, and MLflow with served artifacts before it, ended together.

Everything lies in `<home>/server`: `postgres`, `artifacts`, `mlflow.log`. Raises UserError for what the user can mend.
"""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from repro.errors import UserError
from repro.track.postgres import postgres, undisturbed, wheel
from repro.track.store import Store
from repro.track.ui import HOST, PORT, check_port, mlflow_command, ui_env

READY_S, END_S = 90.0, 15.0


@dataclass(frozen=True)
class Served:
    """A server that answers: its address, and the process that is MLflow's."""

    root: str
    process: subprocess.Popen[bytes]


@contextmanager
def mlflow(home: Path, uri: str, host: str = HOST, port: int = PORT) -> Iterator[Served]:
    """Run MLflow's server with one worker on a database, artifacts in `<home>/server/artifacts`; yield when it answers.

    It is in a session of its own, so that Ctrl-C does not reach it before its database is asked to end.
    """
    folder = home.resolve() / "server"
    artifacts, log = folder / "artifacts", folder / "mlflow.log"
    artifacts.mkdir(parents=True, exist_ok=True)
    env = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    env |= ui_env(Store(uri, None, artifacts, folder / "mlflow.lock"))
    command = [*mlflow_command(artifacts, host, port), "--uvicorn-opts", "--log-level warning"]
    with log.open("wb") as said:
        process = subprocess.Popen(
            command, env=env, stdout=said, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True
        )
    try:
        root = address(host, port)
        _answer(root, process, log)
        yield Served(root, process)
    finally:
        with undisturbed():
            _end(process)


def address(host: str, port: int) -> str:
    """Return the URL by which this machine reaches a server that listens on `host`."""
    near = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{near}]:{port}" if ":" in near else f"http://{near}:{port}"


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _answer(root: str, process: subprocess.Popen[bytes], log: Path) -> None:
    import requests

    until = time.monotonic() + READY_S
    while time.monotonic() < until and process.poll() is None:
        try:
            if requests.get(f"{root}/health", timeout=2).ok:
                return
        except requests.exceptions.RequestException:
            pass  # not yet
        time.sleep(0.1)
    ended = "ended" if process.poll() is not None else f"does not answer after {READY_S:.0f} s"
    raise UserError(f"MLflow's server at {root} {ended}; what it said is in {log}")


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(END_S)
            return
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def serve(home: Path, host: str, port: int, say: Callable[[str], None]) -> int:
    """Run both until Ctrl-C, SIGTERM or a closed terminal; end both, return 0, or 1 where MLflow ended by itself."""
    wheel()
    check_port(port, host)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if number == signal.SIGTERM or handler != signal.SIG_IGN:  # nohup ignores it
            signal.signal(number, signal.default_int_handler)
    try:
        with postgres(home) as uri, mlflow(home, uri, host, port) as served:
            for line in _lines(home, host, served.root):
                say(line)
            served.process.wait()
        say(f"MLflow's server ended by itself; what it said is in {home / 'server' / 'mlflow.log'}")
        return 1
    except KeyboardInterrupt:
        say("ended: MLflow's server and PostgreSQL")
        return 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _lines(home: Path, host: str, root: str) -> Iterator[str]:
    yield f"tracking server: {root} (PostgreSQL and artifacts in {home / 'server'})"
    yield f"for runs:        export MLFLOW_TRACKING_URI={root}"
    yield f"pages:           {root}/#/experiments?workflowType=machine_learning"
    if host not in ("127.0.0.1", "localhost", "::1"):
        yield f"--host {host}: who reaches this port can read, change and delete every run (docs/tracking-server.md)"
    yield "Ctrl-C ends both"
