"""The command that says what can be said of a report before any training: preflight."""

import click

from repro.errors import UserError


@click.command()
@click.argument("reports", nargs=-1, metavar="[REPORT]...")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def preflight(reports: tuple[str, ...], as_json: bool) -> None:
    """Say what the reports' own numbers, recipes and sentences show before any training.

    Without REPORT: all reports. Nothing is trained or downloaded.
    """
    import json

    from repro.report import preflight as pages
    from repro.spec.loading import load_all

    known = load_all()
    if unknown := [name for name in reports if name not in known]:
        raise UserError(f"no report {unknown[0]!r} in experiments/; known here: {', '.join(known)}")
    chosen = [known[name] for name in dict.fromkeys(reports)] or list(known.values())
    found = [finding for report in chosen for finding in pages.data(report)]
    if as_json:
        click.echo(json.dumps(found, indent=1, ensure_ascii=False))
        return
    for report in chosen:
        lines = [finding for finding in found if finding["report"] == report.id]
        click.echo(f"{report.id}: {len(lines)} finding{'s' * (len(lines) != 1)}\n")
        for finding in lines:
            click.echo(_paragraph(f"{finding['rank']:>2}. {finding['title']}. {finding['text']}") + "\n")


def _paragraph(text: str) -> str:
    """Wrap a finding for the terminal, names without their backquotes."""
    return click.wrap_text(text.replace("`", ""), width=100, subsequent_indent="    ")
