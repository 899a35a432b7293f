"""One device's process: takes runs from its parent, trains them as `local` does, tells the parent what happens."""

import contextlib
import time
from collections.abc import Callable
from io import TextIOBase
from multiprocessing.connection import Connection
from typing import Any, Protocol

import torch

from repro import run as runner
from repro.data.cifar10 import Dataset
from repro.errors import UserError
from repro.execute import local
from repro.execute.closing import Closings
from repro.execute.outcome import Job
from repro.record import Entry
from repro.run import Options
from repro.track import Tracker

STEP_HZ = 4
OpenTracker = Callable[[], Tracker | None]


def serve(
    connection: Connection, profile: str, options: Options, threads: int | None, open_tracker: OpenTracker
) -> None:
    """Do the jobs that come through the connection, in a process of their own, until None comes."""
    relay = Relay(connection)
    with contextlib.redirect_stdout(Said(relay)):
        try:
            if threads is not None:
                torch.set_num_threads(threads)
            dataset, tracker = runner.dataset_of(profile, options.home), open_tracker()
        except UserError as error:
            connection.send(("lost", str(error)))
            return
        work(relay, dataset, options, tracker, connection.recv)


def work(
    relay: "Relay", dataset: Dataset, options: Options, tracker: Tracker | None, next_job: Callable[[], Job | None]
) -> None:
    """Do jobs until there is none, tell what becomes of them, and leave when the last one is whole in MLflow."""
    tell = relay.connection.send
    with Closings(relay, lambda o: tell(("settled", o.run.key, o.synced, o.state, o.reason))) as closings:
        while sound := answers(options.device):
            tell(("ready",))
            if (job := next_job()) is None:
                break
            tell(("done", local.attempt(job, dataset, options, tracker, relay, closings)))
    tell(("left",) if sound else ("lost", f"{options.device} answers no more"))


def answers(device: torch.device) -> bool:
    """Whether a device still works: after some errors of CUDA every later call fails, and so would every run."""
    try:
        if device.type == "cuda":
            # This thread's stream, not the device: waiting for all of it breaks what another thread is capturing.
            torch.cuda.current_stream(device).synchronize()
    except RuntimeError:
        return False
    return True


class Sender(Protocol):
    """What takes messages for the parent: a connection, or what stands in for one."""

    def send(self, message: Any, /) -> None:
        """Send a message."""


class Relay:
    """The parent's display, seen from here: every call becomes a message, steps a few a second."""

    def __init__(self, connection: Sender):
        self.connection, self.next_step = connection, 0.0

    def _send(self, *call: object) -> None:
        self.connection.send(("show", *call))

    def train(self, key: str, done: int, epochs: int) -> None:
        """Pass it on."""
        self._send("train", key, done, epochs)

    def step(self, key: str, done: int, of: int) -> None:
        """Pass it on, if the last one was long enough ago."""
        now = time.monotonic()
        if now >= self.next_step or done == of:
            self.next_step = now + 1 / STEP_HZ
            self._send("step", key, done, of)

    def epoch(self, key: str, entry: Entry, epochs: int) -> None:
        """Pass it on."""
        self._send("epoch", key, entry, epochs)

    def waiting(self) -> None:
        """Say nothing."""

    def note(self, key: str, text: str, problem: bool = False) -> None:
        """Pass it on."""
        self._send("note", key, text, problem)

    def end(self, key: str, state: str, text: str) -> None:
        """Say nothing: the outcome, which follows at once, says it."""

    def trace(self, text: str) -> None:
        """Pass it on."""
        self._send("trace", text)

    def say(self, text: str) -> None:
        """Pass it on."""
        self._send("say", text)


class Said(TextIOBase):
    """A stdout whose lines go to the parent's display, which alone knows where its bars are."""

    def __init__(self, relay: Relay):
        self.relay, self.begun = relay, ""

    def write(self, text: str) -> int:
        """Pass whole lines on."""
        *lines, self.begun = (self.begun + text).split("\n")
        for line in lines:
            self.relay.say(line)
        return len(text)
