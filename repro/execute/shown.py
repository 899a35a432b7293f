"""One run's view in MLflow while it is trained."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from repro import environment
from repro import run as runner
from repro.data.cifar10 import Dataset
from repro.errors import UserError
from repro.execute.outcome import extras
from repro.record import Entry, RunRecord
from repro.run import Options
from repro.spec.identity import Run
from repro.track import Live, RunInfo, Tracker


@dataclass
class Shown:
    """One run's view in MLflow, kept up as far as MLflow lets: training outlives a tracking server."""

    tracker: Tracker | None
    notes: Mapping[str, Any]
    trouble: Callable[[str], None]
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
        if (live := self.live) is not None and self.synced:
            self._try(lambda: live.log([entry]))

    def end(self, status: str) -> None:
        """Close a run that was cut short."""
        if (live := self.live) is not None:
            self._try(lambda: live.end(status))

    def finish(self, record: RunRecord, folder: Path) -> None:
        """Show the whole record, with whatever did not get through before."""
        self.synced = True
        if (tracker := self.tracker) is not None:
            self._try(lambda: tracker.project(record, extras=extras(folder), notes=self.notes))

    def _try(self, action: Callable[[], Any]) -> None:
        try:
            action()
        except UserError as error:
            self.synced = False
            self.trouble(f"not in MLflow yet: {error}")


def info_of(run: Run, dataset: Dataset, options: Options, notes: Mapping[str, Any]) -> RunInfo:
    """Return what MLflow is told of a run before it has done anything."""
    env = environment.describe(options.device)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    return RunInfo(**runner.identity(run, dataset, options, env, started), notes=dict(notes))
