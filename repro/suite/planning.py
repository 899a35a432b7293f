"""Which runs a request stands for, on which data, and the words MLflow shows with them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from repro import environment
from repro.data import cifar10, sample
from repro.data.cifar10 import Dataset
from repro.record import FULL_TEST, FULL_TRAIN, RunRecord
from repro.run import Options, dataset_of
from repro.spec import ledger
from repro.spec.identity import Run, runs_of
from repro.spec.schema import Experiment, MeasuredClaim, Report

Say = Callable[[str], None]


@dataclass
class Plan:
    """The runs of a request with all they need."""

    reports: dict[str, Report]
    runs: list[Run]
    dataset: Dataset | None  # None in a dry plan
    options: Options
    profile: str
    reports_dir: Path
    notes: dict[str, dict[str, Any]] = field(default_factory=dict)


def plan(
    reports: dict[str, Report],
    chosen: Sequence[tuple[Report, Sequence[Experiment]]],
    *,
    profile: str,
    seeds: Sequence[int],
    device: torch.device,
    precision: str,
    deterministic: bool,
    home: Path,
    command: str,
    reports_dir: Path,
    missing: bool = False,
    dry: bool = False,
    say: Say = print,
) -> Plan:
    """Turn experiments and seeds into runs on verified data. `auto` is full on CUDA, smoke elsewhere.

    A CUDA machine without the data downloads it; elsewhere its absence is refused. A `dry` plan touches no data.
    """
    if profile == "auto":
        profile = "full" if device.type == "cuda" else "smoke"
        if profile == "smoke":
            say("No CUDA device: a smoke run of a few steps on an embedded sample. It shows that everything works;")
            say("nothing in it counts. The committed evidence is what the reports rest on.")
    if not dry and profile != "smoke" and device.type == "cuda" and not cifar10.cache_path(home).exists():
        say("CIFAR-10 is not here yet: downloading it (170 MB)")
        cifar10.fetch(home)
    dataset = None if dry else dataset_of(profile, home)
    key = sample.load().key if profile == "smoke" else f"{FULL_TRAIN}:{FULL_TEST}"
    options = Options(
        home, device, environment.pick_precision(precision, device), deterministic, command,
        ledger.ledger_id(ledger.claims(reports.values())),
    )  # fmt: skip
    runs = [run for report, arms in chosen for run in runs_of(report, arms, seeds, key, profile)]
    if missing:
        from repro.report import evidence

        held = {record.run_key for record in evidence.committed(reports_dir)}
        runs = [run for run in runs if run.key not in held]
    notes = {run.key: notes_of(reports[run.report], run.experiments[0]) for run in runs}
    return Plan(reports, runs, dataset, options, profile, reports_dir, notes)


def notes_of(report: Report, experiment: str) -> dict[str, Any]:
    """Return the words MLflow shows with an experiment: titles, and its first headline number with its place."""
    notes = {"report": report.title, "experiment": report.experiments[experiment].title}
    measured = [c for c in report.claims if isinstance(c, MeasuredClaim) and c.experiment == experiment]
    for claim in sorted(measured, key=lambda c: not c.headline)[:1]:
        unit = " %" if claim.metric.endswith("_pct") else ""
        notes |= {"published": f"{claim.value:.{claim.decimals}f}{unit}", "where": claim.where}
        notes |= {"metric": claim.metric, "protocol": claim.protocol}
    return notes


def notes_for(reports: dict[str, Report], record: RunRecord) -> dict[str, Any]:
    """Return the words for a record's experiment, or none where the specs do not know it."""
    report, experiment = reports.get(record.report), record.experiments[0]
    return notes_of(report, experiment) if report and experiment in report.experiments else {}
