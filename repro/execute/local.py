"""Runs one after another in this process: skip what is done, resume what was begun, show a failure and go on."""

import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from repro import environment
from repro import run as runner
from repro.data.cifar10 import Dataset
from repro.errors import UserError
from repro.record import Entry, Journal, RunRecord
from repro.run import Options, folder_of
from repro.spec.identity import Run
from repro.track import Live, RunInfo, Tracker

Say = Callable[[str], None]


@dataclass
class Outcome:
    """What became of one run: trained, skipped, stopped or failed, with its record or the reason."""

    run: Run
    state: str
    record: RunRecord | None = None
    reason: str = ""
    synced: bool = True


def run_all(
    runs: Sequence[Run],
    dataset: Dataset,
    options: Options,
    *,
    tracker: Tracker | None,
    notes: Mapping[str, dict[str, Any]],
    force: bool = False,
    budget_s: float | None = None,
    say: Say = print,
) -> list[Outcome]:
    """Do the runs in order. A failed one is shown at once and the others go on; a spent budget stops at an epoch."""
    deadline = None if budget_s is None else time.monotonic() + budget_s
    outcomes: list[Outcome] = []
    for number, run in enumerate(runs, 1):
        say(f"[{number}/{len(runs)}] {run.name} ({run.profile}, {run.key})")
        shown = _Shown(tracker, notes.get(run.key, {}), say)
        try:
            outcomes.append(_one(run, dataset, options, shown, force, deadline, say))
        except UserError as error:
            outcomes.append(Outcome(run, "failed", reason=str(error)))
            say(f"    failed: {error}")
        except Exception as error:  # shown in full, and the other runs go on; the exit code tells
            outcomes.append(Outcome(run, "failed", reason=f"{type(error).__name__}: {error}"))
            traceback.print_exc(file=sys.stderr)
            say(f"    failed: {type(error).__name__}: {error}")
    return outcomes


@dataclass
class _Shown:
    """One run's view in MLflow, kept up as far as MLflow lets: training outlives a tracking server."""

    tracker: Tracker | None
    notes: dict[str, Any]
    say: Say
    synced: bool = True
    live: Live | None = None

    def start(self, info: RunInfo, journal: Sequence[Entry]) -> None:
        """Open the run as RUNNING with the epochs it has."""

        def opened() -> None:
            if self.tracker is not None:
                self.live = self.tracker.start(info)
                self.live.log(journal)

        self._try(opened)

    def epoch(self, entry: Entry) -> None:
        """Add an epoch; after a failure the rest waits for `finish`, so that no epoch waits for a dead server."""
        if self.live is not None and self.synced:
            self._try(lambda: self.live.log([entry]))  # type: ignore[union-attr]

    def end(self, status: str) -> None:
        """Close a run that was cut short."""
        if self.live is not None:
            self._try(lambda: self.live.end(status))  # type: ignore[union-attr]

    def finish(self, record: RunRecord, folder: Path) -> None:
        """Show the whole record, with whatever did not get through before."""
        self.synced = True
        if self.tracker is not None:
            tracker = self.tracker
            self._try(lambda: tracker.project(record, extras=extras(folder), notes=self.notes))

    def _try(self, action: Callable[[], Any]) -> None:
        try:
            action()
        except UserError as error:
            self.synced = False
            self.say(f"    not in MLflow yet: {error}")


def _one(
    run: Run, dataset: Dataset, options: Options, shown: _Shown, force: bool, deadline: float | None, say: Say
) -> Outcome:
    folder = folder_of(run, options.home)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say("    another process is training it; waiting for that")
        lock.acquire()
    try:
        if force:
            runner.begin_anew(run, options.home)
        if finished := finished_record(folder):
            say(f"    done before: {_last(finished)}")
            shown.finish(finished, folder)
            return Outcome(run, "skipped", finished, synced=shown.synced)
        return _train(run, dataset, options, shown, deadline, say)
    finally:
        lock.release()


def _train(run: Run, dataset: Dataset, options: Options, shown: _Shown, deadline: float | None, say: Say) -> Outcome:
    folder = folder_of(run, options.home)
    epochs = runner.adapt(run.recipe, run.profile, len(dataset.x_train)).budget.epochs
    journal = Journal(folder / "journal.jsonl").read()
    # An epoch that would not fit is not begun: what is done is checkpointed.
    expected = journal[-1].metrics["time/epoch_s"] if journal else 0.0
    if deadline is not None and time.monotonic() + expected >= deadline:
        return Outcome(run, "stopped", reason="no time left for an epoch of it")
    shown.start(_info(run, dataset, options, shown.notes), journal)
    last = time.monotonic()

    def on_epoch(entry: Entry) -> bool:
        nonlocal last
        m = entry.metrics
        say(
            f"    epoch {entry.epoch}/{epochs}  train {m['train/acc_pct']:.2f} %  test {m['test/acc_pct']:.2f} %"
            f"  loss {m['train/loss']:.4f}  {m['time/epoch_s']:.1f} s"
        )
        shown.epoch(entry)
        now = time.monotonic()
        took, last = now - last, now  # with checkpoint and MLflow
        return deadline is None or now + took < deadline

    try:
        record = runner.execute(run, dataset, options, on_epoch)
    except BaseException as error:
        shown.end("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    if record is None:
        shown.end("KILLED")
        say("    stopped: the budget is spent; the next `repro run` goes on from here")
        return Outcome(run, "stopped", reason="budget spent; resumable", synced=shown.synced)
    shown.finish(record, folder)
    say(f"    {record.state}: {_last(record)}, {record.seconds:.0f} s, {record.images_per_s:.0f} images/s")
    return Outcome(run, "trained", record, synced=shown.synced)


def finished_record(folder: Path) -> RunRecord | None:
    """Return the record of a run this machine has finished, or None."""
    path = folder / "record.json"
    return RunRecord.from_bytes(path.read_bytes(), str(path)) if path.exists() else None


def extras(folder: Path) -> dict[str, Path]:
    """Return what a finished run's folder offers beside the record: journal and class probabilities."""
    names = ("journal.jsonl", "probabilities.npz")
    return {name: folder / name for name in names if (folder / name).exists()}


def _info(run: Run, dataset: Dataset, options: Options, notes: dict[str, Any]) -> RunInfo:
    env = environment.describe(options.device)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    return RunInfo(**runner.identity(run, dataset, options, env, started), notes=notes)


def _last(record: RunRecord) -> str:
    return f"test {record.finals['last']['acc_pct']:.2f} % after {record.epochs_done} epochs"
