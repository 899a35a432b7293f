"""What a task of a cluster does on the machine where it is put: look whether a run can be made there, and make it.

The run is made in the task's own process, by the same `local.attempt` as everywhere: what ends the task ends the run
with it, and nothing else has to be looked after. Its threads are set to the number that the request says, since they
decide the last bits of a run on a CPU.
"""

import contextlib
import os
import time
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import torch

from repro import environment
from repro import run as runner
from repro.data.cifar10 import Dataset
from repro.errors import UserError
from repro.execute import local
from repro.execute.closing import Closings
from repro.execute.drawing import Drawer
from repro.execute.outcome import Job, Outcome
from repro.execute.worker import Relay, Said
from repro.record import fence, share
from repro.run import Options, folder_of
from repro.track import Tracker
from repro.train import memory


@dataclass(frozen=True)
class Order:
    """What every task of a request is told. `uri`: MLFLOW_TRACKING_URI, empty where none is set."""

    profile: str
    options: Options
    threads: int | None
    shared: str
    offline: bool
    uri: str


@dataclass(frozen=True)
class Look:
    """What a machine has to say of itself: `reason` why no run can be made there, empty where one can.

    `gpu_gb`: the memory of its smallest GPU that this look was given, in 10^9 bytes.
    """

    reason: str
    precision: str = ""
    gpu_gb: float | None = None


class Channel(Protocol):
    """Where messages for the request's display go; `put` waits where there are too many, `offer` drops."""

    def put(self, message: tuple[Any, ...]) -> None:
        """Send a message, however long that takes."""

    def offer(self, message: tuple[Any, ...]) -> None:
        """Send a message if there is room for it."""


class Line:
    """A run's messages on their way: (its key, what was said). Those of single steps may get lost."""

    def __init__(self, channel: Channel, key: str):
        self.channel, self.key = channel, key

    def send(self, message: tuple[Any, ...]) -> None:
        """Send a message of this run."""
        (self.channel.offer if message[:2] == ("show", "step") else self.channel.put)((self.key, *message))


def unseen(home: Path, shared: str) -> str:
    """Return why this machine cannot write the request's state folder, empty where it can."""
    try:
        if (home / share.NAME).read_text().strip() == shared and os.access(home, os.W_OK | os.X_OK):
            return ""
    except OSError:
        pass  # it is not there
    return (
        f"{home}: a machine of the cluster does not see this state folder, or may not write it; set REPRO_HOME to a "
        "folder on storage that all of its machines share, at the same path"
    )


def look(home: Path, shared: str, kind: str, commit: str) -> Look:
    """Say whether runs can be made on this machine, and in which precision `auto` would make them."""
    if reason := unseen(home, shared):
        return Look(reason)
    if (here := environment.commit()["commit"]) != commit:
        return Look(f"a machine of the cluster has commit {here} of this suite, and here it is {commit}; install one")
    if kind == "cuda" and not torch.cuda.is_available():
        return Look("PyTorch sees no CUDA device on a machine of the cluster that has one; install a CUDA build there")
    return Look("", environment.pick_precision("auto", torch.device(kind)), memory.least_gb(kind))


def make(job: Job, deadline: float | None, order: Order, channel: Channel) -> Outcome:
    """Make a run here, from its last finished epoch where it was begun. `deadline`: by the clock, in seconds."""
    if reason := unseen(order.options.home, order.shared):
        return Outcome(job.run, "failed", reason=reason)
    folder = folder_of(job.run, order.options.home)
    again = fence.begun_by(folder, job.ticket)
    relay = Relay(Line(channel, job.run.key))
    with contextlib.redirect_stdout(Said(relay)):
        relay.connection.send(("begun", again))
        try:
            dataset = _prepared(order)
        except UserError as error:
            return Outcome(job.run, "failed", reason=str(error))
        tracker, away = None, ""
        try:
            tracker = _tracker(order)
        except UserError as error:  # a server that is away now: the run is shown when it is back
            away = str(error)
            relay.note(job.run.key, f"not in MLflow yet: {away}", problem=True)
        left_s = None if deadline is None else deadline - time.time()
        with Closings(relay) as closings:
            job = replace(job, left_s=left_s)
            outcome = local.attempt(job, dataset, order.options, tracker, relay, closings)
    outcome.synced &= not away
    if again and outcome.state == "skipped":  # an attempt before this one has done it, and could not say so
        outcome.state = "trained"
    return outcome


@cache
def _prepared(order: Order) -> Dataset:
    """Set this process up for an order, once for all runs that it makes, and return the data."""
    if order.threads is not None:
        torch.set_num_threads(order.threads)
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    if order.uri:
        os.environ["MLFLOW_TRACKING_URI"] = order.uri
    return runner.dataset_of(order.profile, order.options.home)


@cache
def _tracker(order: Order) -> Tracker | None:
    if order.offline:
        return None
    tracker = Tracker(order.options.home)
    tracker.draw = Drawer()
    return tracker
