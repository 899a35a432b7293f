"""What a request will take, said before it starts: runs, hours on this device, disk, download."""

import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import torch

from repro.data import cache, cifar10
from repro.errors import UserError
from repro.execute import workload
from repro.execute.calibration import WITHIN_S, calibrate, distinct
from repro.execute.workload import Load, Speed
from repro.progress.pace import span
from repro.suite.planning import Plan, Say
from repro.track import store


@dataclass
class Forecast:
    """What each run to be trained will take: `work` by key, in seconds where all of it is `measured`.

    `epoch_s`: seconds an epoch, of the runs whose own network was timed.
    """

    work: dict[str, float]
    measured: bool
    epoch_s: dict[str, float] = field(default_factory=dict)


def foresee(plan: Plan, *, offline: bool, refuse: bool, say: Say) -> list[Load]:
    """Say which runs there are, what disk and download they take. `refuse`: a disk without room is a UserError."""
    loads = [workload.load_of(run, plan.options.home, plan.force, plan.anew(run)) for run in plan.runs]
    disk = _disk(plan, loads, offline, refuse)
    say(_counts(loads))
    if doomed := [entry for run in plan.runs if (entry := plan.doomed(run))]:
        whys = "; ".join(dict.fromkeys(entry.why for entry in doomed))
        say(f"Withdrawn is what this version makes of {len(doomed)} of them: they will not count ({whys})")
    say(disk)
    if plan.download:
        say(f"Download: CIFAR-10, {cifar10.ARCHIVE_BYTES / 1e6:.0f} MB")
    return loads


def estimate(plan: Plan, loads: list[Load], *, budget_s: float | None, measure: bool, say: Say) -> Forecast:
    """Say how long it will take, and return that; with `measure`, full and quick runs are timed for some seconds."""
    open_runs = [load for load in loads if load.epochs]
    if not open_runs:
        return Forecast({}, True)
    speeds: dict[str, Speed] = {}
    if measure and plan.profile != "smoke" and (shapes := len(distinct(open_runs))):
        say(f"Timing a few steps of {shapes} network{'s' * (shapes > 1)} (at most {WITHIN_S:.0f} s) ...")
        speeds = calibrate(open_runs, plan.options, threads=threads_of(plan))
    seconds = {load.run.key: workload.seconds(load, speeds) for load in open_runs}
    known = {key: value for key, value in seconds.items() if value is not None}
    say(_time(plan, open_runs, known, speeds, budget_s))
    timed = [load for load in open_runs if workload.shape(load.recipe) in speeds and load.run.key in known]
    epoch_s = {load.run.key: known[load.run.key] / load.epochs for load in timed}
    if len(known) == len(seconds):
        return Forecast(known, True, epoch_s)
    return Forecast({load.run.key: load.work for load in open_runs}, False, epoch_s)


def threads_of(plan: Plan) -> int | None:
    """Return the threads each of several CPU processes gets; None leaves PyTorch's own number."""
    workers = len(plan.devices)
    if plan.options.device.type != "cpu" or workers == 1:
        return None
    return max(1, torch.get_num_threads() // workers)


def _counts(loads: list[Load]) -> str:
    experiments = len({(load.run.report, load.run.experiments[0]) for load in loads})
    states = Counter(load.state for load in loads)
    runs = f"{len(loads)} run{'s' * (len(loads) != 1)} of {experiments} experiment{'s' * (experiments != 1)}"
    return f"{runs}: {states['new']} to train, {states['begun']} to resume, {states['done']} done before"


def _time(
    plan: Plan, open_runs: list[Load], known: dict[str, float], speeds: dict[str, Speed], budget_s: float | None
) -> str:
    names = [str(options.device) for options in plan.devices]
    where = ", ".join(names) if len(names) <= 8 else f"{names[0]} (room for {len(names)} runs)"
    if len(known) < len(open_runs):
        own = sum(known.values())
        return f"Time on {where}: not measured" + (f" ({span(own)} for what is to be resumed)" if known else "")
    # A GPU that is named twice trains two runs at once, each of them slower: it is one.
    gpus = {options.device for options in plan.devices if options.device.index is not None}
    total = workload.makespan(known.values(), len(gpus) or len(plan.devices))
    shapes = {workload.shape(load.recipe) for load in open_runs if load.journal_s is None}
    notes = [f"{len(shapes & set(speeds))} of {len(shapes)} networks timed, the others scaled by size"]
    if not shapes - set(speeds):
        notes = []
    if budget_s is not None and budget_s < total:
        notes.append(f"--budget stops after {span(budget_s)}")
    return f"Time on {where}: about {span(total)}" + (f" ({'; '.join(notes)})" if notes else "")


def _disk(plan: Plan, loads: list[Load], offline: bool, refuse: bool) -> str:
    home = plan.options.home
    in_mlflow = not offline and store.locate(home).artifacts is not None
    needed = workload.disk_bytes(loads, len(plan.devices) * plan.concurrent, in_mlflow)
    needed += cifar10.ARCHIVE_BYTES + cache.size() if plan.download else 0
    free = shutil.disk_usage(_standing(home)).free
    if refuse:
        cache.require_room(home, 0)
    if refuse and needed > free:
        raise UserError(
            f"{home}: {_size(needed)} are needed there and {_size(free)} are free; make room, ask for fewer runs, or "
            "set REPRO_HOME to a folder on another disk"
        )
    return f"Disk: {_size(needed)} at most, {_size(free)} free in {home}"


def _standing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if place.is_dir())


def _size(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.0f} MB"
