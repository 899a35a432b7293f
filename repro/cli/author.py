"""Commands for authors of a report's YAML: validate."""

import click


@click.command()
def validate() -> None:
    """Check every YAML, and its parameter counts against the networks that would be trained."""
    from repro.run import check_models
    from repro.spec.ledger import claims, ledger_id
    from repro.spec.loading import load_all

    reports = load_all()
    for report in reports.values():
        click.echo(f"{report.id}: {len(report.experiments)} experiments, {len(report.claims)} claims")
    for line in check_models(reports):
        click.echo(f"  {line}")
    click.echo(f"ledger {ledger_id(claims(reports.values()))}")
