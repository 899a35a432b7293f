"""One run's epochs on their way to MLflow, in a thread of its own: no step waits for a tracking server.

What does not get through is tried again with the next epoch and every few seconds. All of it is in the journal, so that
nothing is lost where it never gets through: the record brings it along, in this call or in a later one.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence

from repro.errors import UserError
from repro.record import Entry
from repro.track import Live

RETRY_S = 3.0


class Courier(threading.Thread):
    """Opens a run in MLflow and logs its epochs in order; `said` collects what there is to say of it."""

    def __init__(self, begin: Callable[[], Live], entries: Sequence[Entry]):
        super().__init__(daemon=True)
        self.begin = begin
        self.live: Live | None = None
        self.waiting = deque(entries)
        self.said: deque[str] = deque()
        self.behind = False  # the last try failed
        self.error: BaseException | None = None  # a mistake of ours
        self.leaving = False
        self.changed = threading.Condition()

    def add(self, entry: Entry) -> None:
        """Take an epoch along."""
        with self.changed:
            self.waiting.append(entry)
            self.changed.notify()

    def leave(self) -> None:
        """Let it end after one more try with what is left."""
        with self.changed:
            self.leaving = True
            self.changed.notify()

    def run(self) -> None:
        """Deliver until told to leave."""
        try:
            while True:
                with self.changed:
                    leaving = self.leaving
                self._deliver()
                if leaving:
                    return
                self._wait()
        except BaseException as error:  # it is raised where the run is trained
            self.error = error

    def _wait(self) -> None:
        with self.changed:
            tried = len(self.waiting) if self.behind else 0
            self.changed.wait_for(
                lambda: self.leaving or len(self.waiting) > tried, timeout=RETRY_S if self.behind else None
            )

    def _deliver(self) -> None:
        try:
            if self.live is None:
                self.live = self.begin()
            while self.waiting:
                self.live.log([self.waiting[0]])
                self.waiting.popleft()
        except UserError as error:
            if not self.behind:
                self.said.append(f"not in MLflow yet: {error}")
            self.behind = True
            return
        if self.behind:
            self.said.append("MLflow answers again and has all epochs so far")
        self.behind = False
