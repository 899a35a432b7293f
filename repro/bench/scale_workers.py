"""What the executor costs a run: synthetic runs that wait in place of training, on more and more workers.

Everything around a training is the real thing: processes, messages, locks, journal, record. Only the training is a
fixed wait, so that what is left of a worker's time is the suite's own.
"""

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from repro.bench import madeup
from repro.data.cifar10 import Dataset
from repro.errors import UserError
from repro.progress.training import Lines
from repro.record import Entry, Journal, RunRecord, write_atomically
from repro.run import Options, adapt, folder_of, starts
from repro.run.profiles import test_images
from repro.spec.identity import Run

GATE_S, POLL_S = 600.0, 0.002
TIMES, GATE = "times.jsonl", "gate"


@dataclass(frozen=True)
class Timed:
    """One synthetic run: its worker's process, its key, when it began and ended (monotonic seconds)."""

    pid: int
    key: str
    began: float
    ended: float


def train(
    run: Run,
    dataset: Dataset,
    options: Options,
    on_epoch: Callable[[Entry], bool],
    on_step: Callable[[int, int], None],
    *,
    wait_s: float,
    workers: int,
) -> RunRecord:
    """Wait `wait_s` in place of training a run, journal its epochs, and leave the files that a training leaves.

    A worker's first run waits until all `workers` are there. Begin and end go to a file beside the runs.
    """
    _gate(options.home / GATE, workers)
    began = time.monotonic()
    folder = folder_of(run, options.home)
    starts.note(folder, run, options)
    epochs = adapt(run.recipe, run.profile, len(dataset.x_train)).budget.epochs
    made = madeup.record(run, epochs, test_images(run.profile, run.tier))
    journal = Journal(folder / "journal.jsonl")
    for epoch in range(1, epochs + 1):
        time.sleep(wait_s / epochs)
        metrics = {name: float(values[epoch - 1]) for name, values in made.curves.items() if "step/" not in name}
        on_epoch(journal.append(epoch, metrics))
    for name in ("probabilities.npz", "model.pt"):  # nothing was trained: they say so in place of numbers
        write_atomically(folder / name, madeup.COMMAND.encode())
    write_atomically(folder / "record.json", made.to_bytes())
    timed = Timed(os.getpid(), run.key, began, time.monotonic())
    with open(options.home / TIMES, "a", encoding="utf-8") as file:  # one write of a short line: lines stay whole
        file.write(json.dumps(asdict(timed)) + "\n")
    return made


def _gate(folder: Path, workers: int) -> None:
    """Hold a process back, the first time it comes, until as many as there are workers have come."""
    own = folder / str(os.getpid())
    if own.exists():
        return
    folder.mkdir(exist_ok=True)
    own.touch()
    until = time.monotonic() + GATE_S
    while len(os.listdir(folder)) < workers:
        if time.monotonic() > until:
            raise UserError(f"nothing was measured: {workers} workers were not there within {GATE_S:.0f} s")
        time.sleep(POLL_S)


def times_of(home: Path) -> list[Timed]:
    """Return when each run began and ended; raises ValueError for a run that was made twice."""
    found = [Timed(**json.loads(line)) for line in (home / TIMES).read_text().splitlines()]
    if len({one.key for one in found}) < len(found):
        raise ValueError("a synthetic run was made twice")
    return found


class Watch(Lines):
    """A display that prints nothing and notes when runs begin and end, and this process's CPU time then."""

    shows_estimates = False

    def __init__(self) -> None:
        super().__init__(lambda text: None)
        self.first = self.last = 0.0
        self.cpu_first = self.cpu_last = 0.0

    def begin(self, run: Run, number: int, total: int) -> None:
        """Note the first."""
        super().begin(run, number, total)
        self.first = self.first or time.monotonic()

    def epoch(self, key: str, entry: Entry, epochs: int) -> None:
        """Note the CPU time at the first: by then all workers are there."""
        self.cpu_first = self.cpu_first or time.process_time()

    def end(self, key: str, state: str, text: str) -> None:
        """Note the last."""
        self.last, self.cpu_last = time.monotonic(), time.process_time()


#: carries runs out with the suite's executor, a worker for each of the options: (runs, train, options, display) ->
#: what became of each
CarryOut = Callable[[Sequence[Run], Callable[..., RunRecord], Sequence[Options], Lines], list[Any]]
