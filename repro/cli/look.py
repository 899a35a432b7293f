"""Commands that show: list, status, report, ui."""

import json
import os
from pathlib import Path

import click

from repro.cli.options import PROFILES, home, reports_option


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def list_(as_json: bool) -> None:
    """List every report's experiments."""
    from repro.spec.loading import load_all

    rows = [
        {
            "report": report.id, "experiment": e.id, "tier": e.tier, "reading": e.reading,
            "epochs": e.recipe.budget.epochs, "batch_size": e.recipe.budget.batch_size, "title": e.title,
        }
        for report in load_all().values()
        for e in report.experiments.values()
    ]  # fmt: skip
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    width = max(len(f"{r['report']}/{r['experiment']}") for r in rows)
    for r in rows:
        name = f"{r['report']}/{r['experiment']}"
        click.echo(f"{name:<{width}}  {r['tier']:<8}  {r['reading']:<12}  {r['epochs']:>4} epochs  {r['title']}")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@reports_option
def status(as_json: bool, reports_dir: Path) -> None:
    """Show what is done, per experiment: runs by profile, here and in the committed evidence."""
    from repro.report import evidence, tables
    from repro.spec.loading import load_all

    reports = load_all()
    rows = tables.status(reports, evidence.read(home(), reports_dir))
    click.echo(json.dumps(rows, indent=1) if as_json else tables.status_text(rows))


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
@reports_option
def report(profile: str, out: Path | None, from_mlflow: bool, reports_dir: Path) -> None:
    """Write a page a report, and an overview: published beside ours."""
    from repro import suite

    served = os.environ.get("MLFLOW_TRACKING_URI", "").startswith(("http://", "https://"))
    paths = suite.write_pages(profile, home(), reports_dir, out, from_mlflow=from_mlflow or served)
    for path in paths:
        if path.suffix == ".md":
            click.echo(str(path))


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
