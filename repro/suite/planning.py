"""Which runs a request stands for, on which data, and the words MLflow shows with them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from repro import environment
from repro.data import cifar10, sample
from repro.data.cifar10 import Dataset
from repro.record import FULL_TEST, FULL_TRAIN, RunRecord
from repro.run import Options, dataset_of
from repro.spec import cost, ledger, withdrawn
from repro.spec.identity import Run, runs_of
from repro.spec.schema import Experiment, MeasuredClaim, Report
from repro.spec.withdrawn import NONE, Entry, Made, Withdrawn

Say = Callable[[str], None]


@dataclass
class Plan:
    """The runs of a request with all they need."""

    reports: dict[str, Report]
    runs: list[Run]
    dataset: Dataset | None  # None in a dry plan, and where it is yet to be downloaded
    devices: list[Options]  # one a device; the same but for the device and what follows from it
    profile: str
    reports_dir: Path
    force: bool = False
    concurrent: int = 1  # runs that train side by side on the device, where there is one
    notes: dict[str, dict[str, Any]] = field(default_factory=dict)
    withdrawn: Withdrawn = NONE  # a finished run of these is trained anew

    @property
    def options(self) -> Options:
        """Where and how runs are made, on the first device."""
        return self.devices[0]

    @property
    def download(self) -> bool:
        """Whether the data is to be downloaded first: a CUDA machine without it fetches it."""
        cuda = self.options.device.type == "cuda"
        return self.profile != "smoke" and cuda and not cifar10.cache_path(self.options.home).exists()

    @cached_property
    def commit(self) -> str:
        """The commit that runs are made on."""
        return str(environment.commit()["commit"])

    def doomed(self, run: Run) -> Entry | None:
        """Return the entry that withdraws what this version would make of a run; None where that would stand."""
        if not self.withdrawn.withdrawn:
            return None
        made = Made(run.key, run.report, run.experiments, self.options.env_class, [self.commit])
        return self.withdrawn.find(made)

    def anew(self, run: Run) -> Withdrawn:
        """Return what withdraws a finished record so that its run is made anew: nothing where that would not help."""
        return NONE if self.doomed(run) else self.withdrawn

    def provide(self) -> Dataset:
        """Return the data, downloaded if need be."""
        if self.dataset is None:
            from repro.progress import download

            with download.shown("CIFAR-10") as progress:
                self.dataset = cifar10.fetch(self.options.home, progress)
        return self.dataset


def plan(
    reports: dict[str, Report],
    chosen: Sequence[tuple[Report, Sequence[Experiment]]],
    *,
    profile: str,
    seeds: Sequence[int],
    devices: Sequence[torch.device],
    precision: str,
    deterministic: bool,
    graph: bool = True,
    compiled: bool = False,
    concurrent: int = 1,
    home: Path,
    command: str,
    reports_dir: Path,
    missing: bool = False,
    force: bool = False,
    dry: bool = False,
    say: Say = print,
) -> Plan:
    """Turn experiments and seeds into runs on verified data. `auto` is full on CUDA, smoke elsewhere.

    Data that is not here is refused, or left to `Plan.provide` where it will be downloaded. A `dry` plan touches none.
    """
    if profile == "auto":
        profile = "full" if devices[0].type == "cuda" else "smoke"
        if profile == "smoke":
            say("No CUDA device: a smoke run of a few steps on an embedded sample. It shows that everything works;")
            say("nothing in it counts. The committed evidence is what the reports rest on.")
    key = sample.load().key if profile == "smoke" else f"{FULL_TRAIN}:{FULL_TEST}"
    claimed = ledger.ledger_id(ledger.claims(reports.values()))
    picked = {environment.pick_precision(precision, device) for device in devices}
    # One precision for all, so that a run begun on one device can go on on another.
    one = picked.pop() if len(picked) == 1 else "fp32"
    options = [
        Options(home, device, one, deterministic, graph, compile=compiled, command=command, ledger=claimed)
        for device in devices
    ]
    runs = ordered([run for report, arms in chosen for run in runs_of(report, arms, seeds, key, profile)], seeds)
    if missing:
        from repro.report import evidence

        held = {record.run_key for record in evidence.committed(reports_dir)}
        runs = [run for run in runs if run.key not in held]
    struck = withdrawn.of(reports_dir)
    notes = {run.key: notes_of(reports[run.report], run.experiments[0]) for run in runs}
    made = Plan(reports, runs, None, options, profile, reports_dir, force, concurrent, notes, struck)
    if not dry and not made.download:
        made.dataset = dataset_of(profile, home)
    return made


def ordered(runs: Sequence[Run], seeds: Sequence[int]) -> list[Run]:
    """Order runs so that time which ends early has been spent where it tells most.

    Seed by seed, the headline experiments of all reports before the others, of a tier those that take least first.
    """
    place = {seed: number for number, seed in enumerate(seeds)}
    return sorted(runs, key=lambda r: (place[r.seed], cost.TIERS.index(r.tier), cost.of(r.recipe).minutes))


def notes_of(report: Report, experiment: str) -> dict[str, Any]:
    """Return the words MLflow shows with an experiment: titles, and headline numbers with their places."""
    notes = {"report": report.title, "experiment": report.experiments[experiment].title}
    if claim := main_number(report, experiment):
        notes |= {"published": _printed(claim), "where": claim.where}
        notes |= {"metric": claim.metric, "protocol": claim.protocol}
    if heads := [c for c in report.claims if isinstance(c, MeasuredClaim) and c.headline]:
        notes["headline"] = ", ".join(f"{_printed(c)} for {c.experiment or c.id} ({c.where})" for c in heads[:3])
    return notes


def main_number(report: Report, experiment: str) -> MeasuredClaim | None:
    """Return the published number that stands for an experiment: its headline one, else its first; None without one."""
    own = [c for c in report.claims if isinstance(c, MeasuredClaim) and c.experiment == experiment]
    return min(own, key=lambda claim: not claim.headline, default=None)


def _printed(claim: MeasuredClaim) -> str:
    return f"{claim.value:.{claim.decimals}f}" + (" %" if claim.metric.endswith("_pct") else "")


def notes_for(reports: dict[str, Report], record: RunRecord) -> dict[str, Any]:
    """Return the words for a record's experiment, or none where the specs do not know it."""
    report, experiment = reports.get(record.report), record.experiments[0]
    return notes_of(report, experiment) if report and experiment in report.experiments else {}
