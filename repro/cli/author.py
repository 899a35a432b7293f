"""Commands for authors of a report's YAML: new, validate, schema."""

from pathlib import Path

import click


@click.command()
@click.argument("report", metavar="ID")
@click.option("--title", help="The report's title.")
def new(report: str, title: str | None) -> None:
    """Begin a report: write experiments/ID.yaml, complete and commented."""
    from repro.spec import scaffold

    path = scaffold.new(report, title)
    lines = ", ".join(map(str, scaffold.unfilled(path)))
    click.echo(f"{path}: valid as it stands; replace what lines {lines} hold. Then:")
    click.echo("  repro validate")
    click.echo(f"  repro run {report} --profile smoke --offline   # a few steps on an embedded sample")
    click.echo("  repro report --profile smoke")


@click.command()
def validate() -> None:
    """Check every YAML, and its parameter counts against the networks that would be trained."""
    from repro.run import check_models
    from repro.spec.ledger import claims, ledger_id
    from repro.spec.loading import experiments_dir, load_all
    from repro.spec.scaffold import unfilled

    reports = load_all()
    for report in reports.values():
        arms, claimed = len(report.experiments), len(report.claims)
        click.echo(f"{report.id}: {arms} experiment{'s' * (arms != 1)}, {claimed} claim{'s' * (claimed != 1)}")
        if lines := unfilled(experiments_dir() / f"{report.id}.yaml"):
            click.echo(f"  placeholders still to replace in lines {', '.join(map(str, lines))}")
    for line in check_models(reports):
        click.echo(f"  {line}")
    click.echo(f"ledger {ledger_id(claims(reports.values()))}")


@click.command()
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write it there instead.")
def schema(out: Path | None) -> None:
    """Print the JSON Schema of a report's YAML, for completion and checks in an editor."""
    import json

    from repro.record import write_atomically
    from repro.spec.editor import author_schema

    text = json.dumps(author_schema(), indent=2, ensure_ascii=False) + "\n"
    if out is None or str(out) == "-":
        click.echo(text, nl=False)
        return
    write_atomically(out, text.encode())
    click.echo(str(out))
