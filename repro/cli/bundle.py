"""Commands that move records between machines."""

from pathlib import Path

import click

from repro.cli.options import home, offline_option, reports_option


@click.group()
def bundle() -> None:
    """Move records between machines."""


@bundle.command("export")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def bundle_export(folder: Path) -> None:
    """Write every finished run of this machine to FOLDER."""
    from repro import suite

    count = suite.export_bundle(home(), folder)
    click.echo(f"{folder}: {count} run{'s' * (count != 1)}")


@bundle.command("import")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@offline_option
@reports_option
def bundle_import(folder: Path, offline: bool, reports_dir: Path) -> None:
    """Import the runs of FOLDER, into MLflow too; importing twice changes nothing.

    A run with other final numbers than one here of the same key and class of environment is reported; nothing is
    overwritten.
    """
    from repro import suite

    new, known = suite.import_bundle(home(), folder, reports_dir, offline, say=click.echo)
    click.echo(f"{folder}: {new} new, {known} already here")
