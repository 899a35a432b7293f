"""Runs as tasks of a Ray cluster, one a run: put where there is room, taken up again elsewhere where a machine is lost.

Ray decides where a task goes, gives it its part of a GPU and starts it again; what a run is and where it goes on is the
state folder's, which all machines share.
"""

import queue
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from repro import run as runner
from repro.data.cifar10 import Dataset
from repro.errors import UserError
from repro.execute import local, process, remote
from repro.execute.cluster import Cluster, import_ray, last
from repro.execute.outcome import Job, Outcome
from repro.execute.pool import Pool
from repro.execute.remote import Order
from repro.execute.shown import Shown
from repro.progress.training import Lines
from repro.record import Journal, hold
from repro.run import Options, folder_of, starts
from repro.track import RunInfo, Tracker

RETRIES = 3  # times that a run is taken up again where its machine or its process is lost
#: tasks that wait in the cluster, so that no place is empty while this process is told. None on CPUs: Ray gives away
#: the CPU of a task that waits for its message to be taken, and more runs than there are cores would be at work
SPARE = {"cuda": 2, "cpu": 0}
MESSAGES = 256  # that wait for the display; then those who send wait
LOOK_S = 0.25


@dataclass
class Channel:
    """A queue of Ray's, for messages to the display."""

    messages: Any

    def put(self, message: tuple[Any, ...]) -> None:
        """Send a message. Where nobody is there to take it, the request is gone, and its runs end."""
        from ray.exceptions import RayActorError

        try:
            self.messages.put(message)
        except RayActorError:
            raise KeyboardInterrupt from None

    def offer(self, message: tuple[Any, ...]) -> None:
        """Send a message if there is room for it."""
        from ray.exceptions import RayActorError

        try:
            with suppress(queue.Full):
                self.messages.put_nowait(message)
        except RayActorError:
            raise KeyboardInterrupt from None


class Tasks(Pool):
    """The tasks of one call, and what has become of its jobs."""

    def __init__(
        self, jobs: Sequence[Job], dataset: Dataset, tracker: Tracker | None, display: Lines, cluster: Cluster,
        order: Order,
    ):  # fmt: skip
        super().__init__(jobs, dataset, tracker, display)
        self.ray, self.cluster, self.order = import_ray(), cluster, order
        self.jobs = {job.run.key: job for job in jobs}
        self.started: set[str] = set()
        self.tasks: dict[Any, Job] = {}  # by reference
        self.make = self.ray.remote(remote.make)
        self.messages = self._queue()

    def _queue(self) -> Any:
        from ray.util.queue import Queue
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        # On this machine: it ends with this process, and with no other.
        here = NodeAffinitySchedulingStrategy(self.ray.get_runtime_context().get_node_id(), soft=False)
        return Queue(MESSAGES, actor_options={"num_cpus": 0, "scheduling_strategy": here})

    def submit(self) -> None:
        """Hand out as many runs as there are places, and a few."""
        while self.waiting and len(self.tasks) < max(1, self.cluster.slots()) + SPARE[self.cluster.kind]:
            job = replace(self.waiting.pop(0), ticket=uuid4().hex)
            deadline = None if job.left_s is None else time.time() + job.left_s - (time.monotonic() - self.began)
            make = self.make.options(max_retries=RETRIES, **self.cluster.demands(job.memory_gb))
            self.tasks[make.remote(job, deadline, self.order, Channel(self.messages))] = job

    def listen(self) -> None:
        """Show what the runs say, waiting a moment for it."""
        with suppress(queue.Empty):
            self._show(*self.messages.get(timeout=LOOK_S))
        for message in self.messages.get_nowait_batch(self.messages.qsize()):
            self._show(*message)

    def _show(self, key: str, kind: str, *rest: Any) -> None:
        job = next((job for job in self.tasks.values() if job.run.key == key), None)
        if job is None:  # it has been given up
            return
        self._begin(job)
        if kind == "begun" and rest[0]:
            self.display.note(key, "its machine or process was lost; another one has taken it up")
        elif kind == "show":
            getattr(self.display, rest[0])(*rest[1:])

    def _begin(self, job: Job) -> None:
        if job.run.key not in self.started:
            self.started.add(job.run.key)
            self.begun += 1
            self.display.begin(job.run, self.begun, self.total)

    def collect(self) -> None:
        """Take the outcomes that are there."""
        done, _ = self.ray.wait(list(self.tasks), num_returns=len(self.tasks), timeout=0)
        if done:
            self.listen()  # what its run said before it
        for reference in done:
            job = self.tasks.pop(reference)
            self._begin(job)
            try:
                outcome = self.ray.get(reference)
            except self.ray.exceptions.RayTaskError as error:  # a mistake of ours
                self.display.trace(str(error))
                self.fail(job, last(error))
            except self.ray.exceptions.RayError as error:
                self.close(job, self.order.options)
                self.fail(job, f"its machine or process was lost {RETRIES + 1} times ({last(error)})")
            else:
                self.outcomes[job.run.key] = outcome
                self.display.end(job.run.key, outcome.state, outcome.said)

    def close(self, job: Job, options: Options) -> None:
        """End in MLflow what a lost task left RUNNING there, told from the run's own start: its machine is not here."""
        with hold(folder := folder_of(job.run, options.home)) as alone:
            if not alone or (folder / "record.json").exists() or not (begun := starts.noted(folder)):
                return
            shown = self._shown(job)
            about = runner.identity(job.run, self.dataset, options, begun[-1]["env"], begun[-1]["started"])
            shown.start(RunInfo(**about, notes=dict(job.notes)), Journal(folder / "journal.jsonl").read())
            shown.end("FAILED")

    def _shown(self, job: Job) -> Shown:
        return Shown(self.tracker, job.notes, lambda text: self.display.note(job.run.key, text, problem=True))

    def catch_up(self) -> None:
        """Show in MLflow what did not get through from where it was made."""
        for outcome in self.outcomes.values():
            if self.tracker is not None and outcome.record is not None and not outcome.synced:
                with hold(folder := folder_of(outcome.run, self.order.options.home)) as alone:
                    if alone:  # else another process shows it
                        shown = self._shown(self.jobs[outcome.run.key])
                        shown.finish(outcome.record, folder)
                        outcome.synced = shown.synced

    def stop(self) -> None:
        """End all tasks, and let them tell MLflow."""
        for reference in self.tasks:
            self.ray.cancel(reference, force=False)
        until = time.monotonic() + process.GRACE_S
        pending = list(self.tasks)
        with suppress(self.ray.exceptions.RayError):  # nobody to listen to any more: Ray ends what there is
            while pending and time.monotonic() < until:
                self.listen()
                _, pending = self.ray.wait(pending, num_returns=len(pending), timeout=LOOK_S)


def run_all(
    jobs: Sequence[Job], dataset: Dataset, order: Order, cluster: Cluster, *, tracker: Tracker | None,
    work: Mapping[str, float], display: Lines,
) -> list[Outcome]:  # fmt: skip
    """Do the jobs on a cluster, the one with the most `work` first; return the outcomes in the jobs' order.

    An interrupt ends all tasks; what they had begun goes on the next time.
    """
    longest_first = sorted(jobs, key=lambda job: -work.get(job.run.key, 0.0))
    tasks = Tasks(longest_first, dataset, tracker, display, cluster, order)
    tasks.skip(order.options)
    try:
        tasks.submit()
        while tasks.tasks:
            tasks.listen()
            tasks.collect()
            tasks.submit()
    except tasks.ray.exceptions.RayError as error:
        raise UserError(f"the Ray cluster is gone ({last(error)}); {local.GOES_ON} on one that runs") from None
    finally:
        tasks.stop()
    tasks.catch_up()
    return [tasks.outcomes[job.run.key] for job in jobs]
