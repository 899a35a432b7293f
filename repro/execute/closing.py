"""The ends of runs in MLflow, beside the training of the run that follows.

Drawing a run's figures and a dozen calls to a server take seconds, which no training has to wait for: the record is
durable before. At most one end is under way in a worker. The run's folder stays locked until its end is over, so that
nobody else shows the run meanwhile.
"""

import threading
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from repro.errors import redacted
from repro.execute.outcome import Outcome
from repro.execute.shown import Shown
from repro.progress.training import Training
from repro.record import RunRecord


class Closing(threading.Thread):
    """The end of one run in MLflow: its whole record. `said` collects what there is to say of it."""

    def __init__(self, shown: Shown, record: RunRecord, folder: Path):
        super().__init__(daemon=True)
        self.shown, self.record, self.folder = shown, record, folder
        self.trouble, self.said = shown.trouble, list[str]()
        self.error: Exception | None = None
        shown.trouble = self.said.append  # a display is called by the thread that trains

    def run(self) -> None:
        """Show the record."""
        try:
            self.shown.finish(self.record, self.folder)
        except Exception as error:  # a mistake of ours, told where the run's end is waited for
            self.error = error


class Closings:
    """The end that is under way, one at most, and what is told once it is over: `settled` is given the outcome.

    A context: at its exit everything is over, after an interrupt too.
    """

    def __init__(self, display: Training, settled: Callable[[Outcome], None] = lambda _outcome: None):
        self.display, self.settled = display, settled
        self.under_way: tuple[Closing, Outcome, ExitStack] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: type | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self.settle()

    def begin(self, outcome: Outcome, shown: Shown, folder: Path, held: ExitStack) -> None:
        """Begin a run's end when the one before is over, and take over what is `held` until this one is."""
        try:
            self.settle()
        finally:  # after an interrupt too: the run is over, and the little that is left is done in peace
            if outcome.record is not None and shown.tracker is not None:
                outcome.synced = False
                closing = Closing(shown, outcome.record, folder)
                self.under_way = closing, outcome, held.pop_all()
                closing.start()

    def settle(self) -> None:
        """Wait for the end that is under way, and say what became of it. An interrupt waits for it, too."""
        if self.under_way is None:
            return
        closing, outcome, held = self.under_way
        try:
            closing.join()
        finally:
            closing.join()
            self.under_way = None
            held.close()
            self._tell(closing, outcome)

    def _tell(self, closing: Closing, outcome: Outcome) -> None:
        error = closing.error
        for text in closing.said:
            closing.trouble(text)
        outcome.synced = closing.shown.synced and error is None
        if error is not None:  # shown in full; the exit code tells
            self.display.trace(redacted("".join(traceback.format_exception(error))))
            outcome.state, outcome.reason = "failed", redacted(f"{type(error).__name__}: {error}")
        self.settled(outcome)
