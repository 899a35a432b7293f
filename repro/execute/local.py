"""Runs one after another in this process: skip what is done, resume what was begun, show a failure and go on."""

import errno
import time
import traceback
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace

import torch
from filelock import FileLock, Timeout

from repro import environment
from repro import run as runner
from repro.data.cifar10 import Dataset
from repro.errors import UserError, redacted
from repro.execute.closing import Closings
from repro.execute.outcome import Job, Outcome, extras, finished_record, withdrawn_record, withdrawn_start
from repro.execute.shown import Shown, info_of
from repro.progress.pace import span
from repro.progress.training import Lines, Training
from repro.record import Entry, Journal, fence, remove_halves
from repro.run import Options, folder_of
from repro.spec.identity import Run
from repro.track import Tracker
from repro.train import checkpoint

#: what a system says of a place that cannot be written
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
GOES_ON = "the same command goes on at the last finished epoch"

__all__ = ["attempt", "extras", "finished_record", "run_all", "timed"]


def run_all(
    jobs: Sequence[Job], dataset: Dataset, options: Options, *, tracker: Tracker | None, display: Lines
) -> list[Outcome]:
    """Do the runs in order. A failed one is shown at once and the others go on; a spent budget stops at an epoch."""
    outcomes: list[Outcome] = []
    with Closings(display) as closings:
        for number, job in enumerate(timed(jobs), 1):
            display.begin(job.run, number, len(jobs))
            outcomes.append(attempt(job, dataset, options, tracker, display, closings))
    return outcomes


def timed(jobs: Iterable[Job]) -> Iterable[Job]:
    """Yield the jobs with the time that is left for each when its turn comes."""
    began = time.monotonic()
    for job in jobs:
        spent = time.monotonic() - began
        yield job if job.left_s is None else replace(job, left_s=job.left_s - spent)


def attempt(
    job: Job, dataset: Dataset, options: Options, tracker: Tracker | None, display: Training, closings: Closings
) -> Outcome:
    """Do one run; whatever goes wrong in it becomes its outcome. An interrupt goes through.

    Its end in MLflow may still be under way: the outcome is not synced before `closings` are settled.
    """
    key = job.run.key
    shown = Shown(tracker, job.notes, lambda text: display.note(key, text, problem=True))
    try:
        outcome = _locked(job, dataset, options, shown, display, closings)
    except Exception as error:
        if (reason := known(error, options)) is None:  # shown in full, and the other runs go on; the exit code tells
            display.trace(redacted(traceback.format_exc()))
        outcome = Outcome(job.run, "failed", reason=reason or redacted(f"{type(error).__name__}: {error}"))
    display.end(key, outcome.state, outcome.said)
    return outcome


def known(error: Exception, options: Options) -> str | None:
    """Say in a sentence what went wrong and how to mend it, None where that is not known."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.errno in DISK and error.filename is not None:
        return f"{error.filename}: {error.strerror}; make room or see that it can be written; {GOES_ON}"
    if isinstance(error, torch.OutOfMemoryError):
        if options.device.type == "cuda":
            torch.cuda.empty_cache()  # what is held in reserve is the next run's
        return (
            f"out of memory on {options.device} ({str(error).partition('. ')[0]}); train fewer runs side by side "
            f"(--concurrent, --devices) or end what else uses the device; {GOES_ON}"
        )
    if isinstance(error, ValueError) and "more than 1 value per channel" in str(error):
        return (
            "a batch of one image leaves a batch norm a single value per channel, of which it can take no statistics; "
            "choose a batch_size that leaves a last batch of two or more, or fewer stages"
        )
    return environment.relaxed_only(error)


def _locked(
    job: Job, dataset: Dataset, options: Options, shown: Shown, display: Training, closings: Closings
) -> Outcome:
    folder = folder_of(job.run, options.home)
    folder.mkdir(parents=True, exist_ok=True)
    deadline = None if job.left_s is None else time.monotonic() + job.left_s
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        closings.settle()  # that process may be waiting for the run before, which stays locked until its end is over
        display.note(job.run.key, "another process is training it; waiting for that")
        if not _acquired(lock, deadline, display):
            return Outcome(job.run, "stopped", reason="another process was training it until the budget was spent")
    with ExitStack() as held:
        held.callback(lock.release)
        with fence.held(folder, job.ticket):
            outcome = _held(job, dataset, options, shown, deadline, display)
        closings.begin(outcome, shown, folder, held)
    return outcome


def _acquired(lock: FileLock, deadline: float | None, display: Training) -> bool:
    """Wait for a lock until the deadline; return whether it is ours."""
    while deadline is None or time.monotonic() < deadline:
        display.waiting()
        with suppress(Timeout):
            lock.acquire(timeout=1)
            return True
    return False


def _held(
    job: Job, dataset: Dataset, options: Options, shown: Shown, deadline: float | None, display: Training
) -> Outcome:
    folder = folder_of(job.run, options.home)
    gone = withdrawn_record(folder, job.withdrawn)
    anew = job.force and not fence.begun_by(folder, job.ticket)  # once a request, however often it is taken up again
    if (gone or anew) and _late(deadline, job.epoch_s):  # what is there is all there will be
        return _no_time(job.run, job.epoch_s)
    if gone:
        kept = runner.set_aside(folder)
        text = f"its finished run is withdrawn ({gone.entry.why}); kept as {kept.name}, trained anew"
        display.note(job.run.key, text)
    if anew:
        runner.begin_anew(job.run, options.home)
    fence.begin(folder)
    remove_halves(folder)
    if not (folder / "record.json").exists() and (entry := withdrawn_start(folder, job.run, job.withdrawn)):
        display.note(job.run.key, f"what had been begun of it is withdrawn ({entry.why}); begun anew")
        runner.begin_anew(job.run, options.home)
    if finished := finished_record(folder):
        checkpoint.remove(folder)  # where the run was killed between its record and this
        return Outcome(job.run, "skipped", finished)
    return _train(job, dataset, options, shown, deadline, display)


def _late(deadline: float | None, expected: float) -> bool:
    """Whether an epoch that takes so many seconds would end after the deadline."""
    return deadline is not None and time.monotonic() + expected >= deadline


def _no_time(run: Run, expected: float) -> Outcome:
    takes = f", which takes about {span(expected)}" if expected else ""
    return Outcome(run, "stopped", reason=f"no time left for an epoch of it{takes}")


def _train(
    job: Job, dataset: Dataset, options: Options, shown: Shown, deadline: float | None, display: Training
) -> Outcome:
    run, folder = job.run, folder_of(job.run, options.home)
    epochs = runner.adapt(run.recipe, run.profile, len(dataset.x_train)).budget.epochs
    journal = Journal(folder / "journal.jsonl").read()
    # An epoch that would not fit is not begun: what is done is checkpointed.
    expected = journal[-1].metrics.get("time/epoch_s", 0.0) if journal else job.epoch_s
    if _late(deadline, expected):
        return _no_time(run, expected)
    shown.start(info_of(run, dataset, options, shown.notes), journal)
    display.train(run.key, len(journal), epochs)
    last, begun = time.monotonic(), False

    def on_epoch(entry: Entry) -> bool:
        nonlocal last
        display.epoch(run.key, entry, epochs)
        shown.epoch(entry)
        now = time.monotonic()
        took, last = now - last, now  # with checkpoint and MLflow
        return deadline is None or now + took < deadline

    def on_step(done: int, of: int) -> None:
        nonlocal last, begun
        if not begun:  # what comes before the first step, as images and capturing, comes once
            last, begun = time.monotonic(), True
        display.step(run.key, done, of)

    try:
        record = (job.train or runner.execute)(run, dataset, options, on_epoch, on_step)
    except fence.Superseded:
        shown.drop()
        raise
    except BaseException as error:
        shown.end("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    if record is None:
        shown.end("KILLED")
        return Outcome(run, "stopped", reason="budget spent; the next `repro run` goes on", synced=shown.synced)
    return Outcome(run, "trained", record)
