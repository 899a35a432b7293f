"""Workers as threads of this process: runs that share one device, each on a CUDA stream of its own.

Each run keeps its own network, draws and captured steps, so that it does what it would do alone; what is gained is that
small networks fill the device together. A thread stands in for a process of `process`, as far as `pool` asks.
"""

import contextlib
import multiprocessing
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection

import torch

from repro.data.cifar10 import Dataset
from repro.errors import UserError
from repro.execute.outcome import Job
from repro.execute.worker import OpenTracker, Relay, work
from repro.record import Entry
from repro.run import Options

#: how often a thread that waits for a job looks whether it is to leave
WAIT_S = 0.2


class Worker(threading.Thread):
    """A thread that does the jobs which come through its connection; it leaves between two steps when asked to."""

    def __init__(self, connection: Connection, dataset: Dataset, options: Options, open_tracker: OpenTracker):
        super().__init__(daemon=True)
        self.connection, self.dataset, self.options = connection, dataset, options
        self.open_tracker, self.leave = open_tracker, threading.Event()
        self.exitcode = 0

    def terminate(self) -> None:
        """Ask it to leave."""
        self.leave.set()

    kill = terminate  # nothing ends a thread but itself

    def run(self) -> None:
        """Do jobs until None comes, or until it is asked to leave."""
        try:
            with on_own_stream(self.options.device), contextlib.suppress(KeyboardInterrupt):
                self._serve(Watched(self.connection, self.leave))
        finally:
            self.connection.close()

    def _serve(self, relay: "Watched") -> None:
        try:
            tracker = self.open_tracker()
        except UserError as error:
            self.connection.send(("lost", str(error)))
            return
        work(relay, self.dataset, self.options, tracker, self._next)

    def _next(self) -> Job | None:
        """Wait for a job; None where there is none, and where it is asked to leave meanwhile."""
        try:
            while not self.connection.poll(WAIT_S):
                if self.leave.is_set():
                    return None
            job = self.connection.recv()
        except EOFError:  # the other end has given up
            return None
        assert job is None or isinstance(job, Job)
        return job


class Watched(Relay):
    """The display's relay, which ends the run where the thread has been asked to leave."""

    def __init__(self, connection: Connection, leave: threading.Event):
        super().__init__(connection)
        self.leave = leave

    def step(self, key: str, done: int, of: int) -> None:
        """Pass it on, or end the run here."""
        self.waiting()
        super().step(key, done, of)

    def epoch(self, key: str, entry: Entry, epochs: int) -> None:
        """Pass it on."""
        super().epoch(key, entry, epochs)
        self.waiting()

    def waiting(self) -> None:
        """End the run here if asked to."""
        if self.leave.is_set():
            raise KeyboardInterrupt


@contextlib.contextmanager
def on_own_stream(device: torch.device) -> Iterator[None]:
    """Do what follows in this thread on a CUDA stream of its own; nothing of the kind elsewhere."""
    if device.type != "cuda":
        yield
        return
    with torch.cuda.device(device), torch.cuda.stream(torch.cuda.Stream(device)):
        yield


def start(dataset: Dataset, options: Options, open_tracker: OpenTracker) -> tuple[Worker, Connection]:
    """Start a worker; return it and our end of its connection."""
    ours, theirs = multiprocessing.Pipe()
    worker = Worker(theirs, dataset, options, open_tracker)
    worker.start()
    return worker, ours
