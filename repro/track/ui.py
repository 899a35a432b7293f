"""How MLflow's own pages are served and opened: one worker, this machine only, no telemetry, no job runners."""

import sys
from pathlib import Path

from repro.errors import UserError
from repro.track import store
from repro.track.tracker import Tracker

HOST, PORT = "127.0.0.1", 5000


def ui_command(home: Path) -> list[str]:
    """Return the command that serves MLflow's pages; raises UserError where MLFLOW_TRACKING_URI is a server already."""
    place = store.locate(home)
    if place.artifacts is None:
        raise UserError(f"MLFLOW_TRACKING_URI={place.shown}: is a server already; open that address in a browser")
    # One worker: with more, each request takes eight times as long.
    return [
        sys.executable, "-m", "mlflow", "server", "--backend-store-uri", place.uri,
        "--artifacts-destination", str(place.artifacts), "--host", HOST, "--port", str(PORT), "--workers", "1",
    ]  # fmt: skip


def ui_env() -> dict[str, str]:
    """Return the environment variables for `ui_command`: no telemetry, no job runners (eight processes fewer)."""
    return {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def ui(home: Path) -> tuple[list[str], dict[str, str], list[str]]:
    """Return command, environment and a line a link; makes the store first, so that the server need not."""
    command, tracker = ui_command(home), Tracker(home)
    root, mode = f"http://{HOST}:{PORT}/#/experiments", "?workflowType=machine_learning"
    links = [f"{e.name}: {root}/{e.experiment_id}/runs{mode}" for e in tracker.experiments()]
    return command, ui_env(), [f"all: {root}{mode}", *links]
