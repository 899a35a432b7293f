"""What the suite costs at scale: its executor with many runs on many workers, and MLflow with many runs in it."""

import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from repro import environment
from repro.bench import madeup, scale_figures, scale_store
from repro.bench.idle import look
from repro.bench.scale_workers import CarryOut, Watch, times_of, train
from repro.data import sample
from repro.errors import UserError
from repro.record import RunRecord
from repro.run import Options
from repro.spec.schema import Report

SCHEMA = 1
#: the experiment that is repeated with other seeds: its smoke run is one epoch of one step
REPORT, EXPERIMENT = "chen2024", "resnet20"
MOUNTS = Path("/proc/mounts")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Sizes:
    """How many runs, on which numbers of workers, with which wait in place of training; how many runs in MLflow."""

    runs: int
    workers: tuple[int, ...]
    wait_s: float
    mlflow_runs: int
    epochs: int


def run(
    reports: Mapping[str, Report], sizes: Sizes, carry_out: CarryOut, notes: Callable[[RunRecord], Mapping[str, Any]],
    say: Say,
) -> dict[str, Any]:  # fmt: skip
    """Measure both parts in temporary folders and return machine and figures as plain values; nothing is left.

    `carry_out`: the executor. `notes`: the words that MLflow shows with a record. Raises UserError for more workers
    than runs, and where a run or a command failed.
    """
    if max(sizes.workers) > sizes.runs:
        raise UserError(f"--runs {sizes.runs}: {max(sizes.workers)} workers need a run each; ask for more runs")
    cpu = torch.device("cpu")
    seen = look(cpu)
    result = {
        "benchmark": "scale", "schema": SCHEMA, "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": environment.describe(cpu) | {"mlflow": version("mlflow"), "cores": cores()},
        "before": {"idle": seen.idle, "busy_pct": seen.busy_pct, "others": seen.others},
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="repro-scale-") as name:
        folder = Path(name)
        result["disk"] = disk(folder)
        result["executor"] = executor(reports, sizes, carry_out, folder / "workers", say)
        result["mlflow"] = None
        if sizes.mlflow_runs:
            made = madeup.runs(reports, sample.load().key, sizes.mlflow_runs)
            result["mlflow"] = scale_store.measure(made, sizes.epochs, folder / "mlflow", notes, say)
    return result


def executor(
    reports: Mapping[str, Report], sizes: Sizes, carry_out: CarryOut, folder: Path, say: Say
) -> dict[str, Any]:
    """Make the synthetic runs on each number of workers, each time in a state folder of its own."""
    rows = []
    for workers in sizes.workers:
        say(f"{sizes.runs:,} synthetic runs on {workers} worker{'s' * (workers != 1)} ...")
        rows.append(one(reports, sizes, workers, carry_out, folder / str(workers)))
    return {
        "runs": sizes.runs, "wait_s": sizes.wait_s, "experiment": f"{REPORT}/{EXPERIMENT}",
        "rows": scale_figures.judged(rows),
    }  # fmt: skip


def one(reports: Mapping[str, Report], sizes: Sizes, workers: int, carry_out: CarryOut, home: Path) -> dict[str, Any]:
    """Make the synthetic runs on so many workers; raises UserError where one of them failed."""
    arm = reports[REPORT].experiments[EXPERIMENT]
    only = {REPORT: reports[REPORT].model_copy(update={"experiments": {EXPERIMENT: arm}})}
    made = madeup.runs(only, sample.load().key, sizes.runs)
    options = Options(home, torch.device("cpu"), "fp32", command=madeup.COMMAND)
    home.mkdir(parents=True)
    watch, began = Watch(), time.monotonic()
    act = partial(train, wait_s=sizes.wait_s, workers=workers)
    outcomes = carry_out(made, act, [options] * workers, watch)
    done = time.monotonic()
    if failed := [outcome for outcome in outcomes if outcome.state != "trained"]:
        first = failed[0]
        raise UserError(f"nothing was measured: {len(failed)} runs were not made: {first.run.name} {first.said}")
    return scale_figures.row(times_of(home), workers, sizes.wait_s, began, watch, done)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def disk(folder: Path) -> str:
    """Name the file system that a folder lies on; nothing where that is not known. In memory, syncing is free."""
    try:
        mounts = [line.split()[1:3] for line in MOUNTS.read_text().splitlines()]
    except OSError:  # not Linux
        return ""
    place = folder.resolve()
    above = [(len(where), kind) for where, kind in mounts if place.is_relative_to(where)]
    return max(above, default=(0, ""))[1]
