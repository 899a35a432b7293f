"""One run's view in MLflow while it is trained: kept up beside the training, which never waits for it."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from repro import environment
from repro import run as runner
from repro.data.cifar10 import Dataset
from repro.errors import UserError
from repro.execute.courier import Courier
from repro.execute.outcome import extras
from repro.record import Entry, RunRecord
from repro.run import Options
from repro.spec.identity import Run
from repro.track import RunInfo, Tracker
from repro.track.connection import ANSWER_S

#: how long epochs that are still on their way to a server which does answer are waited for: at the end of training,
#: and where it is cut short (within the time that a process is given for that)
PATIENCE_S, SHORT_S = 60.0, 8.0


@dataclass
class Shown:
    """One run's view in MLflow, kept up as far as MLflow lets: training outlives a tracking server."""

    tracker: Tracker | None
    notes: Mapping[str, Any]
    trouble: Callable[[str], None]
    synced: bool = True
    courier: Courier | None = None

    def start(self, info: RunInfo, journal: Sequence[Entry]) -> None:
        """Open the run as RUNNING with the epochs it has."""
        if (tracker := self.tracker) is not None:
            self.courier = Courier(lambda: tracker.start(info), journal)
            self.courier.start()

    def epoch(self, entry: Entry) -> None:
        """Add an epoch, without waiting until MLflow has it."""
        if self.courier is not None:
            self.courier.add(entry)
            self._say()

    def end(self, status: str) -> None:
        """Close a run that was cut short."""
        if (courier := self.courier) is None or not self._settled(SHORT_S):
            return
        if (live := courier.live) is not None:
            self._try(lambda: live.end(status))
        self.synced &= not courier.behind

    def drop(self) -> None:
        """Leave the run as it is: it is another attempt's, in MLflow too."""
        if self.courier is not None:
            self.courier.waiting.clear()
            self.courier.leave()

    def finish(self, record: RunRecord, folder: Path) -> None:
        """Show the whole record, with whatever did not get through before."""
        if (tracker := self.tracker) is not None and self._settled():
            live = None if self.courier is None or self.courier.behind else self.courier.live
            self._try(lambda: tracker.project(record, extras=extras(folder), notes=self.notes, live=live, held=True))

    def _settled(self, patience_s: float = PATIENCE_S) -> bool:
        """Wait for the epochs that are on their way, as long as MLflow answers; return whether it does."""
        courier, tracker = self.courier, self.tracker
        assert tracker is not None
        within_s = min(ANSWER_S, patience_s)  # a slow server is no dead one
        if courier is not None:
            courier.leave()
            courier.join(1)
            until = time.monotonic() + patience_s
            while courier.is_alive() and time.monotonic() < until and tracker.answers(within_s):
                courier.join(1)
            self._say()
        self.synced = (courier is None or not courier.is_alive()) and tracker.answers(within_s)
        if not self.synced:
            self.trouble(f"not in MLflow yet: {tracker.store.shown} does not answer")
        return self.synced

    def _say(self) -> None:
        """Pass on what the courier has to say, from the thread that trains."""
        if (courier := self.courier) is None:
            return
        while courier.said:
            self.trouble(courier.said.popleft())
        if courier.error is not None:
            raise courier.error

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
