"""Carrying a plan out: train, show in MLflow, summarise, say what became of each run."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from repro.errors import UserError
from repro.execute import local
from repro.execute.local import Outcome
from repro.record import RunRecord, read_records
from repro.spec import ledger
from repro.spec.schema import Report
from repro.suite.planning import Plan, Say, notes_for

if TYPE_CHECKING:
    from repro.track import Tracker


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
