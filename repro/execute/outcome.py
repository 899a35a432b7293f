"""What there is to do and what became of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from repro.errors import UserError
from repro.record import EXTRAS, RunRecord
from repro.spec import throughput
from repro.spec.identity import Run
from repro.spec.withdrawn import NONE, Entry, Made, Struck, Withdrawn

#: makes a run: (run, dataset, options, on_epoch, on_step) -> its record, None where it was stopped at an epoch
Train = Callable[..., RunRecord | None]


@dataclass(frozen=True)
class Job:
    """One run to be done: `notes` are the words MLflow shows with it, `left_s` the time that it may take.

    `epoch_s`: what an epoch of it is expected to take, in seconds, 0 where nothing is known.

    A finished record that is `withdrawn` does not count as done. All attempts that a request makes at a run have one
    `ticket`, where there may be several on several hosts. `train` takes the place of `run.execute` where only
    what is around a training is measured; it is sent to processes by its name. `memory_gb`: what such a run was
    measured to take of a GPU's memory, in 10^9 bytes.
    """

    run: Run
    notes: Mapping[str, Any] = field(default_factory=dict)
    force: bool = False
    left_s: float | None = None
    epoch_s: float = 0.0
    withdrawn: Withdrawn = NONE
    ticket: str = ""
    train: Train | None = None
    memory_gb: float | None = None


@dataclass
class Outcome:
    """What became of one run: trained, skipped, stopped or failed, with its record or the reason."""

    run: Run
    state: str
    record: RunRecord | None = None
    reason: str = ""
    synced: bool = True

    @property
    def said(self) -> str:
        """The outcome as a sentence's end."""
        if self.record is None:
            return f"{self.state}: {self.reason}"
        accuracy = self.record.value("last", "acc_pct")
        last = "no finite loss" if accuracy is None else f"test {accuracy:.2f} %"
        last += f" after {self.record.epochs_done} epoch"
        last += "s" * (self.record.epochs_done != 1)
        if self.state == "skipped":
            return f"done before: {last}"
        return f"{self.record.state}: {last}, {self.record.seconds:.0f} s, {speed(self.record)}"


def speed(record: RunRecord) -> str:
    """Return a run's images a second, its TFLOP/s, and what share of the device's peak that is where it is known."""
    text = f"{record.images_per_s:.0f} images/s"
    if rate := throughput.tflops(throughput.operations(record), record.images_per_s):
        text += f", {rate:.3g} TFLOP/s"
        share = throughput.mfu_pct(rate, record.env.get("device"), record.env_class)
        text += "" if share is None else f" (MFU {share:.2g} %)"
    return text


def finished_record(folder: Path) -> RunRecord | None:
    """Return the record of a run this machine has finished, or None."""
    path = folder / "record.json"
    if not path.exists():
        return None
    if not path.is_file():
        raise UserError(f"{path}: is not a file; move it away, and the run is made again")
    record = RunRecord.from_bytes(path.read_bytes(), str(path))
    if "acc_pct" not in record.finals.get("last", {}):
        raise UserError(f"{path}: has no final test accuracy; move it away, and the run is made again")
    return record


def withdrawn_record(folder: Path, withdrawn: Withdrawn) -> Struck | None:
    """Return the record of a run this machine has finished with the entry that withdraws it, or None."""
    if not withdrawn.withdrawn:
        return None
    try:
        record = finished_record(folder)
    except UserError:  # no record to withdraw; whoever asks for the record itself is told what is wrong with it
        return None
    entry = withdrawn.find(record) if record else None
    return Struck(record, entry) if record and entry else None


def withdrawn_start(folder: Path, run: Run, withdrawn: Withdrawn) -> Entry | None:
    """Return the entry that would withdraw what has been begun of a run, by the commits of its starts, or None."""
    if not withdrawn.withdrawn or not (folder / "journal.jsonl").exists():
        return None
    from repro.run import starts  # with PyTorch, which whoever reads outcomes need not have

    try:
        found = starts.lasting(starts.noted(folder))
    except UserError:  # whoever goes on from them is told what is wrong
        return None
    if not found:
        return None
    commits = [str(start["commit"]) for start in found]
    return withdrawn.find(Made(run.key, run.report, run.experiments, found[0]["env_class"], commits))


def extras(folder: Path) -> dict[str, Path]:
    """Return what a finished run's folder offers beside the record: journal and class probabilities."""
    return {name: folder / name for name in EXTRAS if (folder / name).exists()}
