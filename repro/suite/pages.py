"""The pages after the runs: from records, to the reports folder or the state folder."""

from pathlib import Path
from typing import TYPE_CHECKING

from repro.record import RunRecord
from repro.spec import ledger, withdrawn

if TYPE_CHECKING:
    from repro.suite.planning import Plan, Say


def write_pages(profile: str, home: Path, reports_dir: Path, out: Path | None, from_mlflow: bool = False) -> list[Path]:
    """Render the pages: full ones to the reports folder, others to the state folder.

    Full pages beside the evidence rest on it: finished full-protocol records of this machine are put there first.
    """
    from repro.judge import timings
    from repro.report import evidence, render
    from repro.spec.loading import load_all

    reports, own = load_all(), profile == "full" and out is None
    if from_mlflow:
        from repro.suite.carrying import open_tracker

        tracker = open_tracker(home, offline=False)
        assert tracker is not None
        every = [evidence.check(RunRecord.from_bytes(data, name), name) for name, data in tracker.records()]
        if own:  # the pages beside the evidence lose none of it
            evidence.collect(home, reports_dir)
            held = {record.to_bytes() for record in every}
            every += [record for record in evidence.all_committed(reports_dir) if record.to_bytes() not in held]
        records, struck = withdrawn.of(reports_dir).split(every)
    else:
        if own:
            evidence.collect(home, reports_dir)
        records, struck = evidence.read(home, reports_dir), evidence.struck(home, reports_dir)
        if own and ledger.ledger_id(ledger.claims(reports.values())) in {one.ledger for one in records}:
            # Runs that came from another checkout left theirs there; its name proves that the claims are the same.
            ledger.write(reports.values(), reports_dir / "ledger")
    ledgers = ledger.read(reports_dir / "ledger")
    out = out or (reports_dir if profile == "full" else home / "reports" / profile)
    timed = timings.read(reports_dir)
    return render.render(reports, records, ledgers, out, profile, home / "figures", timed, struck, reports_dir)


def show_pages(plan: "Plan", say: "Say") -> None:
    """Write the pages of a request's profile and say where, with the verdicts on the evidence's headline claims."""
    from repro.report import evidence, terminal

    home = plan.options.home
    for path in write_pages(plan.profile, home, plan.reports_dir, None):
        if path.name == "README.md":
            say(f"Pages: {path}")
    held = [record for record in evidence.committed(plan.reports_dir) if record.counts]
    if plan.profile != "full":
        overview = plan.reports_dir / "README.md"
        say(f"None of this counts. Full-protocol runs in the evidence: {len(held)}, beside the claims in {overview}.")
    for line in terminal.headline_lines(plan.reports, held, ledger.read(plan.reports_dir / "ledger")):
        say(line)
