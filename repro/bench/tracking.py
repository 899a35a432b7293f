"""What showing a run in MLflow costs its training: SQLite, a PostgreSQL server here, and the same some way off.

A finished run of the evidence is shown once more, as if it were trained: its epochs one by one through the same thread
that carries them beside a training, then its whole record in a thread beside the run that would follow, which small
steps of PyTorch stand in for. Nothing else is trained; an epoch is given the next time only once the last one has
arrived, as where epochs are longer than their way.
"""

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from threading import Thread
from typing import Any

import torch

from repro import environment
from repro.bench.beside import OneThread, Steps
from repro.bench.distance import distant
from repro.bench.idle import look
from repro.errors import UserError
from repro.record import Journal, RunRecord, read_records
from repro.track import RunInfo, Tracker, server, store
from repro.track.postgres import postgres
from repro.track.projection import entries_of

SCHEMA = 1
POLL_S = 0.002
TARGET = 1.0  # percent of a run's time that its training waits for MLflow
ARMS = ("SQLite", "PostgreSQL server", "PostgreSQL server, far")
#: makes the view of a run in MLflow: what the executors keep up beside a training
View = Callable[[Tracker], Any]
#: makes the thread that brings a view to its end with a record and the run's folder, as the executors do
End = Callable[[Any, RunRecord, Path], Thread]


@dataclass(frozen=True)
class Shown:
    """One run shown: seconds that each epoch's call took, and until it was there; of the end; CPU of this process.

    `lost_s` is how much longer the steps beside the end took for it.
    """

    start_s: float
    call_s: list[float]
    there_s: list[float]
    finish_s: float
    lost_s: float
    cpu_s: float

    def waited(self, epochs: int) -> float:
        """Seconds that trainings of `epochs` epochs wait for a run, what the one after it loses to its end included."""
        return self.start_s + median(self.call_s) * epochs + self.lost_s

    def total(self, epochs: int) -> float:
        """Seconds of everything that was done for MLflow, beside the training and at its end."""
        return self.start_s + median(self.there_s) * epochs + self.finish_s


def longest(reports_dir: Path) -> RunRecord:
    """Return the committed record with the most epochs; raises UserError where there is none."""
    records = [record for _, record in read_records(reports_dir, "*/evidence/*.json") if record.state == "finished"]
    if not records:
        raise UserError(f"{reports_dir}: holds no record of a finished run to show; name another folder with --reports")
    return max(records, key=lambda record: record.epochs_done)


def run(
    record: RunRecord, view: View, end: End, repeats: int, epochs: int, seconds: float, delay_s: float,
    say: Callable[[str], None],
) -> dict[str, Any]:  # fmt: skip
    """Show a record `repeats` times in each store, in turn; return machine and rows as plain values.

    The shares are of a run of `epochs` epochs of `seconds` each; `delay_s` is the round trip to the far server.
    """
    seen = look(torch.device("cpu"))
    with tempfile.TemporaryDirectory(prefix="repro-") as folder, ExitStack() as stack:
        stack.enter_context(OneThread())
        stores, left = _stores(Path(folder), delay_s, stack)
        for name, why in left.items():
            say(f"{name}: left out: {why}")
        made: dict[str, list[Shown]] = {name: [] for name in stores}
        for number in range(repeats + 1):  # the first one of each makes experiments and warms caches
            for name, tracker in stores.items():
                say(f"{name}, {number} of {repeats} ...")
                shown = show(again(record, number), tracker, view, end, Path(folder) / f"{name}-{number}")
                if number:
                    made[name].append(shown)
    rows = [_row(name, shown, epochs, seconds) for name, shown in made.items()]
    machine = environment.describe(torch.device("cpu")) | {"mlflow": version("mlflow")}
    return {
        "benchmark": "tracking", "schema": SCHEMA, "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine, "before": {"idle": seen.idle, "busy_pct": seen.busy_pct, "others": seen.others},
        "record": record.run_key,
        "shown_epochs": record.epochs_done, "repeats": repeats, "epochs": epochs, "seconds": seconds,
        "round_trip_ms": 1000 * delay_s, "left_out": left, "rows": rows,
    }  # fmt: skip


def again(record: RunRecord, number: int) -> RunRecord:
    """Return a record as another run: of a key of its own, so that each time a new run is shown."""
    return replace(record, run_key=f"{number:016x}")


def _stores(folder: Path, delay_s: float, stack: ExitStack) -> tuple[dict[str, Tracker], dict[str, str]]:
    """Return a tracker a store, and why some are missing."""
    local = folder / "local" / "mlflow.db"
    file = store.Store(f"sqlite:///{local}", local, local.parent / "artifacts", local.with_name("mlflow.lock"))
    found = {ARMS[0]: Tracker(local.parent, place=file)}
    try:
        uri = stack.enter_context(postgres(folder))
        port = server.free_port()
        served = stack.enter_context(server.mlflow(folder, uri, port=port))
    except UserError as error:
        return found, dict.fromkeys(ARMS[1:], str(error))
    far = stack.enter_context(distant(port, delay_s))
    for name, root in zip(ARMS[1:], (served.root, far), strict=True):
        place = store.Store(root, None, None, folder / f"{name}.lock")
        # Experiments of its own: the two servers are one, and each run is new to it.
        found[name] = Tracker(folder, prefix="far" if root == far else "near", place=place)
    return found, {}


def show(record: RunRecord, tracker: Tracker, view: View, end: End, folder: Path) -> Shown:
    """Show a run as its training would, and take the times."""
    entries, journal = entries_of(record), Journal(folder / "journal.jsonl")
    kept = [journal.append(entry.epoch, entry.metrics, entry.steps) for entry in entries]
    shown, began = view(tracker), time.process_time()
    start_s = _timed(lambda: shown.start(RunInfo.of(record), []))
    _arrived(shown)
    calls, arrivals = [], []
    for entry in kept:
        start = time.perf_counter()
        calls.append(_timed(lambda entry=entry: shown.epoch(entry)))  # type: ignore[misc]
        _arrived(shown)
        arrivals.append(time.perf_counter() - start)
    cpu_s, ours = time.process_time() - began, time.process_time() - time.thread_time()
    finish_s, lost_s = Steps().lost(end(shown, record, folder))
    cpu_s += time.process_time() - time.thread_time() - ours  # without the steps, which are this thread's
    if not shown.synced:
        raise UserError(f"MLflow at {tracker.store.shown}: did not take the run; nothing was measured")
    return Shown(start_s, calls, arrivals, finish_s, lost_s, cpu_s)


def _timed(action: Callable[[], Any]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def _arrived(shown: Any) -> None:
    """Wait until the thread beside the training has brought all it has; raises UserError where a try failed."""
    courier = shown.courier
    while courier.is_alive() and not courier.behind and (courier.waiting or courier.live is None):
        time.sleep(POLL_S)
    if courier.behind:
        raise UserError(f"nothing was measured: {courier.said[-1]}")


def _row(name: str, shown: list[Shown], epochs: int, seconds: float) -> dict[str, Any]:
    whole = epochs * seconds
    waited = [100 * one.waited(epochs) / whole for one in shown]
    total = [100 * one.total(epochs) / whole for one in shown]
    return {
        "where": name,
        "call_ms": 1000 * median(median(one.call_s) for one in shown),
        "there_ms": 1000 * median(median(one.there_s) for one in shown),
        "finish_s": median(one.finish_s for one in shown), "lost_s": median(one.lost_s for one in shown),
        "cpu_s": median(one.cpu_s for one in shown),
        "waited_pct": median(waited), "total_pct": median(total), "lowest": min(waited), "highest": max(waited),
        "target": TARGET, "met": median(waited) < TARGET, "shown": [asdict(one) for one in shown],
    }  # fmt: skip
