"""Commands that show: list, status, report, ui."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from repro.cli.options import PROFILES, home, reports_option
from repro.errors import UserError

if TYPE_CHECKING:
    from repro.record import RunRecord
    from repro.spec.schema import Experiment, Report


@click.command("list")
@click.option("--cost", is_flag=True, help="Add operations, and minutes on one H200 (estimated, not measured).")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def list_(cost: bool, as_json: bool) -> None:
    """List every report's experiments."""
    from repro.spec.loading import load_all

    reports = load_all()
    rows = [_plain(report.id, e) for report in reports.values() for e in report.experiments.values()]
    if cost:
        _list_cost(reports, rows, as_json)
        return
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    width = max(len(f"{r['report']}/{r['experiment']}") for r in rows)
    for r in rows:
        name = f"{r['report']}/{r['experiment']}"
        click.echo(f"{name:<{width}}  {r['tier']:<8}  {r['reading']:<12}  {r['epochs']:>4} epochs  {r['title']}")


def _plain(report: str, experiment: "Experiment") -> dict[str, Any]:
    budget = experiment.recipe.budget
    return {
        "report": report, "experiment": experiment.id, "tier": experiment.tier, "reading": experiment.reading,
        "epochs": budget.epochs, "batch_size": budget.batch_size, "title": experiment.title,
    }  # fmt: skip


COST = (
    "Minutes on one H200: an estimate, not measured. One seed; operations (2 a multiply-accumulate) and minutes of",
    "training; the tests after each epoch (about 6 % more) and the augmentation are left out.",
)


def _list_cost(reports: "Mapping[str, Report]", rows: list[dict[str, Any]], as_json: bool) -> None:
    """Print the experiments with what they take, and sums in which shared runs count once."""
    from repro.progress import table
    from repro.spec import cost

    priced = cost.priced(reports)
    sums = cost.totals(priced)
    if as_json:
        for row, p in zip(rows, priced, strict=True):
            row |= {"networks": p.cost.networks, "pflop": p.cost.pflop, "estimated_minutes": p.cost.minutes}
            row["same_runs_as"] = p.same_as
        plain = {
            name: {"trained": t.experiments, "pflop": t.pflop, "estimated_minutes": t.minutes}
            for name, t in sums.items()
        }
        click.echo(json.dumps({"about": " ".join(COST), "experiments": rows, "totals": plain}, indent=1))
        return
    click.echo("\n".join(COST))
    shown = [
        (
            f"{p.report}/{p.experiment.id}", p.experiment.tier,
            (f"{p.cost.networks} x " if p.cost.networks > 1 else "") + str(p.cost.epochs),
            f"{p.cost.pflop:,.2f}", f"{p.cost.minutes:,.1f}", f"the runs of {p.same_as}" if p.same_as else "",
        )
        for p in priced
    ]  # fmt: skip
    table.show(("experiment", "tier", "epochs", "PFLOP", "minutes", ""), shown, numbers=(2, 3, 4), echo=click.echo)
    footer = [
        (f"{name} (a seed)" if "+" in name else name, str(t.experiments), f"{t.pflop:,.1f}", f"{t.minutes:,.0f}")
        for name, t in sums.items()
    ]
    table.show(("total", "trained", "PFLOP", "minutes"), footer, numbers=(1, 2, 3), echo=click.echo)


@click.command()
@click.option("--next", "following", is_flag=True, help="Also the next runs, by expected verdict changes per minute.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@reports_option
def status(following: bool, as_json: bool, reports_dir: Path) -> None:
    """Show what is done, per experiment: runs by profile, here and in the committed evidence."""
    from repro.report import evidence, tables
    from repro.spec.loading import load_all

    reports = load_all()
    struck, records = evidence.struck(home(), reports_dir), evidence.read(home(), reports_dir)
    rows = tables.status(reports, records, struck=struck)
    if following and as_json:
        click.echo(json.dumps({"experiments": rows, "next": _following(reports, records, reports_dir)[1]}, indent=1))
        return
    click.echo(json.dumps(rows, indent=1) if as_json else tables.status_text(rows))
    for why in dict.fromkeys(entry.why for _, entry in struck) if not as_json else ():
        click.echo(f"withdrawn: {why}")
    if following:
        click.echo(_following(reports, records, reports_dir)[0])


def _following(
    reports: "Mapping[str, Report]", records: "list[RunRecord]", reports_dir: Path
) -> tuple[str, dict[str, Any] | None]:
    """Return what the next minutes would buy, as a line and as plain values."""
    from repro.judge import worth
    from repro.judge.worth_minutes import Minutes
    from repro.spec import ledger

    minutes = Minutes(reports)
    step = worth.following(reports, records, ledger.read(reports_dir / "ledger"), minutes)
    if step is None:
        return "next: no run would change a verdict", None
    return worth.step_said(step, minutes), worth.plain(step, minutes)


@click.command()
@click.option(
    "--profile",
    type=click.Choice(PROFILES),
    default="full",
    show_default=True,
    help="Pages of quick and smoke runs go to the state folder; they never mix with full ones.",
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Write the pages there instead.")
@click.option(
    "--from-mlflow",
    is_flag=True,
    help="Read the records from MLflow (default where MLFLOW_TRACKING_URI names a server).",
)
@click.option("--letter", metavar="REPORT", help="Write no pages: print a note to this report's authors.")
@reports_option
def report(profile: str, out: Path | None, from_mlflow: bool, letter: str | None, reports_dir: Path) -> None:
    """Write one page per report, and an overview: published numbers beside ours."""
    if letter is not None:
        if profile != "full" or out or from_mlflow:
            raise UserError("--letter: rests on the records here and is printed; leave the other options out")
        _letter(letter, reports_dir)
        return
    from repro import suite

    served = os.environ.get("MLFLOW_TRACKING_URI", "").strip().startswith(("http://", "https://"))
    paths = suite.write_pages(profile, home(), reports_dir, out, from_mlflow=from_mlflow or served)
    for path in paths:
        if path.suffix == ".md":
            click.echo(str(path))


def _letter(name: str, reports_dir: Path) -> None:
    from repro.judge import timings
    from repro.report import evidence, tables
    from repro.report.letter import letter
    from repro.spec import ledger
    from repro.spec.explain import nearest
    from repro.spec.loading import load_all

    reports = load_all()
    if name not in reports:
        raise UserError(f"--letter {name}: no such report; {nearest(name, reports)}")
    records = evidence.read(home(), reports_dir)
    ledgers, measured = ledger.read(reports_dir / "ledger"), timings.read(reports_dir)
    rows = tables.rows({name: reports[name]}, records, ledgers, timings=measured)
    click.echo(letter(reports[name], rows), nl=False)


@click.command("ui")
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True, help="Port on 127.0.0.1.")
@reports_option
def ui(port: int, reports_dir: Path) -> None:
    """Serve MLflow's pages on this machine, with the committed evidence and this machine's runs in them."""
    from repro import track
    from repro.suite.moving import show_evidence

    track.ui_command(home(), port)  # refused before anything is shown where a server is named, or the port is taken
    track.check_port(port)
    new, everything = show_evidence(home(), reports_dir, say=click.echo)
    click.echo(f"{everything} finished run{'s' * (everything != 1)}, {new} of them new in MLflow")
    if not everything:
        click.echo("nothing to compare yet: `repro run` makes runs, and the evidence in reports/ is shown with them")
    command, env, links = track.ui(home(), port)
    for link in links:
        click.echo(link)
    os.execvpe(command[0], command, {**os.environ, **env})
