"""What the commands mean: which runs a request stands for, carrying them out, and the pages afterwards."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from repro import environment
from repro.data import cifar10, sample
from repro.data.cifar10 import Dataset
from repro.errors import UserError
from repro.execute import local
from repro.execute.local import Outcome
from repro.record import FULL_TEST, FULL_TRAIN, RunRecord, read_records
from repro.run import Options, dataset_of
from repro.spec import ledger
from repro.spec.identity import Run, runs_of
from repro.spec.schema import Experiment, MeasuredClaim, Report

if TYPE_CHECKING:
    from repro.track import Tracker

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


def open_tracker(home: Path, offline: bool) -> "Tracker | None":
    """Return the tracker, its store made safe to use, or None offline."""
    if offline:
        return None
    from repro.track import Tracker

    return Tracker(home)


def carry_out(plan: Plan, *, offline: bool, force: bool, budget_s: float | None, say: Say) -> list[Outcome]:
    """Train what is to be trained, then bring the experiments' summaries in MLflow up to date."""
    assert plan.dataset is not None, "a dry plan cannot be carried out"
    if plan.profile == "full":
        # What was claimed is written down before the first run that is judged against it.
        ledger.write(plan.reports.values(), plan.reports_dir / "ledger")
    tracker = open_tracker(plan.options.home, offline)
    outcomes = local.run_all(
        plan.runs,
        plan.dataset,
        plan.options,
        tracker=tracker,
        notes=plan.notes,
        force=force,
        budget_s=budget_s,
        say=say,
    )
    if tracker is not None and not summarise(plan.reports, plan.options.home, outcomes, tracker, say):
        for outcome in outcomes:
            outcome.synced = False
    return outcomes


def summarise(
    reports: dict[str, Report], home: Path, touched: Iterable[Outcome | RunRecord], tracker: "Tracker", say: Say
) -> bool:
    """Refresh the MLflow parents (mean curves, summary) of the experiments just touched, over all their runs here."""
    records = [t.record if isinstance(t, Outcome) else t for t in touched]
    groups = {(r.report, r.experiments[0], r.profile) for r in records if r is not None}
    try:
        found = [record for _, record in read_records(home / "runs", "*/record.json")]
        for report, experiment, profile in sorted(groups):
            own = [r for r in found if (r.report, r.experiments[0], r.profile) == (report, experiment, profile)]
            if not own:  # imported beside a run that is being trained here
                continue
            tracker.summarise(report, experiment, profile, own, notes_for(reports, own[0]))
    except UserError as error:
        say(f"MLflow's summaries are not up to date: {error}")
        return False
    return True


def conclude(outcomes: Sequence[Outcome], say: Say) -> int:
    """Print what became of each run; return the exit code: 1 when one failed or is not in MLflow yet."""
    width = max((len(o.run.name) for o in outcomes), default=0)
    say("")
    for o in outcomes:
        result = f"test {o.record.finals['last']['acc_pct']:6.2f} %" if o.record else o.reason
        say(f"{o.run.name:<{width}}  {o.run.profile:<5}  {o.state:<8}  {result}")
    count = {state: sum(o.state == state for o in outcomes) for state in ("trained", "skipped", "stopped", "failed")}
    say(", ".join(f"{n} {state}" for state, n in count.items() if n) or "nothing to do")
    if unsynced := sum(not o.synced for o in outcomes):
        say(f"{unsynced} not in MLflow yet: run the same command again once the tracking server answers")
    return 1 if count["failed"] or unsynced else 0


def write_pages(profile: str, home: Path, reports_dir: Path, out: Path | None, from_mlflow: bool = False) -> list[Path]:
    """Render the pages: full ones to the reports folder, others to the state folder.

    Full pages rest on the evidence: finished full-protocol records of this machine are put there first.
    """
    from repro.report import evidence, render
    from repro.spec.loading import load_all

    reports = load_all()
    if from_mlflow:
        tracker = open_tracker(home, offline=False)
        assert tracker is not None
        records = [evidence.check(RunRecord.from_bytes(data, name), name) for name, data in tracker.records()]
    else:
        if profile == "full":
            evidence.collect(home, reports_dir)
        records = evidence.read(home, reports_dir)
    ledgers = ledger.read(reports_dir / "ledger")
    out = out or (reports_dir if profile == "full" else home / "reports" / profile)
    return render.render(reports, records, ledgers, out, profile)


def show_pages(plan: Plan, say: Say) -> None:
    """Write the pages of a request's profile and say where to look next; after smoke also what the evidence holds."""
    from repro.report import evidence, terminal

    home = plan.options.home
    for path in write_pages(plan.profile, home, plan.reports_dir, None):
        if path.name == "README.md":
            say(f"Pages: {path}")
    say("MLflow: `repro ui` (or `make mlflow-ui`)")
    if plan.profile != "full":
        held = [record for record in evidence.committed(plan.reports_dir) if record.counts]
        overview = plan.reports_dir / "README.md"
        say(f"None of this counts. Full-protocol runs in the evidence: {len(held)}, beside the claims in {overview}.")
        for line in terminal.headline_lines(plan.reports, held, ledger.read(plan.reports_dir / "ledger")):
            say(line)


def export_bundle(home: Path, folder: Path) -> int:
    """Write every finished run of this machine to a folder; return how many."""
    from repro import bundle

    members = []
    for path, record in read_records(home / "runs", "*/record.json"):
        members.append((record, local.extras(path.parent)))
    if not members:
        raise UserError(f"{home / 'runs'}: no finished run to export; `repro status` shows what is there")
    return bundle.export(members, folder)


def import_bundle(home: Path, folder: Path, offline: bool) -> tuple[int, int]:
    """Take a bundle's runs in, and project them to MLflow; return (new, known)."""
    from repro import bundle
    from repro.spec.loading import load_all

    records = [record for record, _ in bundle.load(folder)]  # refused here before anything is touched
    tracker, reports = open_tracker(home, offline), load_all()
    counts = bundle.import_into(folder, home, tracker, notes=lambda record: notes_for(reports, record))
    if tracker is not None:
        summarise(reports, home, records, tracker, print)
    return counts
