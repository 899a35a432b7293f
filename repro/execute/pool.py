"""Runs on several devices, or several on one: a process a device, or threads that share one.

Each worker is given the longest run that is left.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing import connection as connections
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from repro.data.cifar10 import Dataset
from repro.errors import UserError
from repro.execute import process, thread
from repro.execute.closing import Closings
from repro.execute.local import attempt
from repro.execute.outcome import Job, Outcome, finished_record, withdrawn_record
from repro.execute.shown import Shown, info_of
from repro.execute.worker import OpenTracker, serve
from repro.progress.training import Lines
from repro.record import Journal, hold
from repro.run import Options, folder_of
from repro.track import Tracker


@dataclass(eq=False)
class Worker:
    """A process or a thread, the job that it is at, and whether that has come as far as training."""

    process: SpawnProcess | thread.Worker
    connection: Connection
    options: Options
    job: Job | None = None
    training: bool = False


class Pool:
    """The processes of one call, and what has become of its jobs."""

    def __init__(self, jobs: Sequence[Job], dataset: Dataset, tracker: Tracker | None, display: Lines):
        self.waiting, self.total, self.dataset = list(jobs), len(jobs), dataset
        self.tracker, self.display = tracker, display
        self.began, self.begun = time.monotonic(), 0
        self.workers: list[Worker] = []
        self.leaving: list[Worker] = []
        self.outcomes: dict[str, Outcome] = {}
        self.lost = ""  # why the last worker was given up

    def next_job(self) -> Job:
        """Take the next job, show that it begins, and say how much of the budget is left for it."""
        job, self.begun = self.waiting.pop(0), self.begun + 1
        self.display.begin(job.run, self.begun, self.total)
        spent = time.monotonic() - self.began
        return job if job.left_s is None else replace(job, left_s=job.left_s - spent)

    def skip(self, options: Options) -> None:
        """Do what needs no training here, so that no process is started for it: what is done, or has no time left."""
        todo, self.waiting = self.waiting, []
        here: list[Job] = []
        for job in todo:
            left = job.left_s is None or job.left_s > 0
            (self.waiting if left and _to_train(job, options) else here).append(job)
        with Closings(self.display) as closings:
            for job in here:
                self.begun += 1
                self.display.begin(job.run, self.begun, self.total)
                outcome = attempt(job, self.dataset, options, self.tracker, self.display, closings)
                self.outcomes[job.run.key] = outcome

    def give(self, worker: Worker) -> None:
        """Hand the worker the next job, or tell it that there is none."""
        worker.job, worker.training = self.next_job() if self.waiting else None, False
        try:
            worker.connection.send(worker.job)
        except OSError:
            self.lose(worker, "")

    def hear(self, worker: Worker) -> None:
        """Take one message of a worker's; none any more means that its process is gone."""
        try:
            kind, *rest = worker.connection.recv()
        except (EOFError, OSError):
            self.lose(worker, "")
            return
        if kind == "show":
            worker.training |= rest[0] == "train"
            getattr(self.display, rest[0])(*rest[1:])
        elif kind == "lost":
            self.lose(worker, rest[0])
        elif kind == "ready":
            self.give(worker)
        elif kind == "left":
            self.workers.remove(worker)
            self.leaving.append(worker)
        elif kind == "settled":
            outcome = self.outcomes[rest[0]]
            _, outcome.synced, outcome.state, outcome.reason = rest
        else:
            outcome, worker.job = rest[0], None
            self.outcomes[outcome.run.key] = outcome
            self.display.end(outcome.run.key, outcome.state, outcome.said)

    def lose(self, worker: Worker, reason: str) -> None:
        """Give up a worker: its run has failed, the others go on."""
        self.workers.remove(worker)
        worker.process.join(1)  # at its end it leaves by itself
        process.stop(worker.process)
        code = worker.process.exitcode or 0
        died = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        self.lost = reason = reason or f"its process on {worker.options.device} {died}"
        if worker.job is None:
            self.display.say(f"{worker.options.device} trains nothing more: {reason}")
        else:
            if worker.training:
                self.close(worker.job, worker.options)
            self.fail(worker.job, reason)

    def close(self, job: Job, options: Options) -> None:
        """End in MLflow what a lost process left RUNNING there; a run that it finished is shown by the next call."""
        with hold(folder := folder_of(job.run, options.home)) as alone:
            if not alone or (folder / "record.json").exists():  # another process goes on with it, or it is whole
                return
            shown = Shown(self.tracker, job.notes, lambda text: self.display.note(job.run.key, text, problem=True))
            journal = Journal(folder / "journal.jsonl").read()
            shown.start(info_of(job.run, self.dataset, options, job.notes), journal)
            shown.end("FAILED")

    def fail(self, job: Job, reason: str) -> None:
        """Note and show that a run has failed."""
        self.outcomes[job.run.key] = outcome = Outcome(job.run, "failed", reason=reason)
        self.display.end(job.run.key, outcome.state, outcome.said)

    def stop(self) -> None:
        """End every process: those that have nothing left to do leave by themselves."""
        for worker in self.workers:
            worker.process.terminate()  # all at once, then each waited for
        for worker in self.leaving:
            worker.process.join(process.GRACE_S)
        for worker in (*self.workers, *self.leaving):
            process.stop(worker.process)
            worker.connection.close()


def _to_train(job: Job, options: Options) -> bool:
    folder = folder_of(job.run, options.home)
    try:
        return bool(job.force or finished_record(folder) is None or withdrawn_record(folder, job.withdrawn))
    except UserError:  # a record that cannot be read: that run fails, and the others go on
        return False


def run_all(
    jobs: Sequence[Job],
    dataset: Dataset,
    devices: Sequence[Options],
    threads: int | None,
    *,
    profile: str,
    tracker: Tracker | None,
    open_tracker: OpenTracker,
    work: Mapping[str, float],
    display: Lines,
    together: bool = False,
) -> list[Outcome]:
    """Do the jobs on several devices, the one with the most `work` first; return the outcomes in the jobs' order.

    `together`: the devices are one, named once a run that is to share it, and its workers are threads.

    An interrupt ends all processes; what they had begun goes on the next time.
    """
    if together:
        devices = [replace(options, shared=True) for options in devices]
    longest_first = sorted(jobs, key=lambda job: -work.get(job.run.key, 0.0))
    pool = Pool(longest_first, dataset, tracker, display)
    pool.skip(devices[0])
    try:
        for options in devices[: len(pool.waiting)]:
            if together:
                pool.workers.append(Worker(*thread.start(dataset, options, open_tracker), options))
            else:
                child, connection = process.start(serve, profile, options, threads, open_tracker)
                pool.workers.append(Worker(child, connection, options))
        while pool.workers:
            by_connection = {worker.connection: worker for worker in pool.workers}
            for ready in connections.wait(list(by_connection)):
                pool.hear(by_connection[ready])  # type: ignore[index]
    finally:
        pool.stop()
    for job in list(pool.waiting):
        pool.next_job()
        pool.fail(job, f"no process is left to train it ({pool.lost})")
    return [pool.outcomes[job.run.key] for job in jobs]
