"""How MLflow's own pages are served and opened: one worker, this machine only, no telemetry, no job runners."""

import socket
import sys
from pathlib import Path
from typing import Any

from repro.errors import UserError
from repro.track import store, views
from repro.track.tracker import Tracker

HOST, PORT = "127.0.0.1", 5000


def ui_command(home: Path, port: int = PORT) -> list[str]:
    """Return the command that serves MLflow's pages; raises UserError where MLFLOW_TRACKING_URI is a server already."""
    place = store.locate(home)
    if place.artifacts is None:
        raise UserError(f"MLFLOW_TRACKING_URI={place.shown}: is a server already; open that address in a browser")
    # A database's address may hold a password, and anybody here can list the commands that run: `ui_env` has it.
    where = ["--backend-store-uri", place.uri] if place.path is not None else []
    return [*mlflow_command(place.artifacts, HOST, port), *where]


def mlflow_command(artifacts: Path, host: str, port: int) -> list[str]:
    """Return the command of MLflow's server, artifacts served from a folder; the store is named beside it."""
    # One worker: with more, each request takes eight times as long.
    return [
        sys.executable, "-m", "mlflow", "server",
        "--artifacts-destination", str(artifacts), "--host", host, "--port", str(port), "--workers", "1",
    ]  # fmt: skip


def ui_env(place: store.Store | None = None) -> dict[str, str]:
    """Return the environment variables for `ui_command`: no telemetry, no job runners (eight processes fewer).

    `place`: the store, whose address is among them where it is a database's.
    """
    found = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    return found if place is None or place.path is not None else found | {"MLFLOW_BACKEND_STORE_URI": place.uri}


def check_port(port: int, host: str = HOST) -> None:
    """Raise UserError where another program listens on a port of this machine, or it may not be opened."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # As the server does: a port that was in use a moment ago is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UserError(
                f"--port {port}: cannot be opened on {host} ({error.strerror}); another server may be running there: "
                "open it in a browser, or name another port"
            ) from None


def ui(home: Path, port: int = PORT) -> tuple[list[str], dict[str, str], list[str]]:
    """Return command, environment and a line a link; makes the store first, so that the server need not."""
    command, tracker = ui_command(home, port), Tracker(home)
    root = f"http://{HOST}:{port}"
    lines = [f"all: {root}/#/experiments?workflowType=machine_learning"]
    for experiment in tracker.experiments():
        tracker.open_well(experiment)
        lines += links(root, experiment.name, tracker.client.get_experiment(experiment.experiment_id))
    return command, ui_env(tracker.store), lines


def links(root: str, name: str, experiment: Any) -> list[str]:
    """Return the lines for an experiment: a link to each of its views, or one to MLflow's own."""
    here = {key: title for key, (title, _) in views.views().items() if views.holds(experiment.tags, key)}
    if not here:
        return [f"{name}: {views.link(root, experiment.experiment_id, None)}"]
    shown = [f"  {title}: {views.link(root, experiment.experiment_id, key)}" for key, title in here.items()]
    return [f"{name}", *shown]
