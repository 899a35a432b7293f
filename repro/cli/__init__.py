"""The command line: parse, call, print, exit code. Heavy imports live inside the commands: `--help` is instant."""

import errno
import os
import sys
from io import TextIOWrapper
from typing import Any

import click

from repro import __version__
from repro.cli import author, bench, bundle, care, compare, data, look, preflight, serve, train
from repro.errors import UserError, printable


class Group(click.Group):
    """Turns a UserError of any command into its sentence on stderr and exit code 2."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except UserError as error:
            click.echo(f"repro: {error}", err=True)
            ctx.exit(2)
        except KeyboardInterrupt:
            self._interrupted(ctx)
        except RuntimeError as error:
            if not isinstance(error.__cause__, KeyboardInterrupt):  # as Python 3.11 tells one inside a class body
                raise
            self._interrupted(ctx)
        except BrokenPipeError:
            # The reader (head, less) has closed the pipe: nothing left to say.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if ctx.invoked_subcommand != "run":
                ctx.exit(0)
            click.echo("repro: ended, since nobody reads the output; the same command goes on", err=True)
            ctx.exit(1)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EIO) and error.filename is None:
                click.echo(f"repro: the output cannot be written ({error.strerror})", err=True)
                ctx.exit(1)
            if error.filename is None:
                raise
            place = printable(str(error.filename))
            click.echo(f"repro: {place}: {error.strerror}; choose a place that can be read and written", err=True)
            ctx.exit(2)

    @staticmethod
    def _interrupted(ctx: click.Context) -> None:
        train = ctx.invoked_subcommand == "run"
        more = "; the same command, without --force, goes on at the last finished epoch" if train else ""
        click.echo(f"repro: interrupted{more}", err=True)
        ctx.exit(130)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Do these published CIFAR-10 results hold?

    Five reports, one YAML each in experiments/: `list` them, `run` their experiments, and `report` sets every
    published number beside ours. State (data, runs, MLflow store) lives in .repro/, or where REPRO_HOME says.
    """
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a title that the terminal cannot show is no reason to stop


for command in (
    look.list_, author.new, author.validate, author.schema, preflight.preflight, data.data, train.run,
    look.status, look.report, compare.compare, bundle.bundle, look.ui, bench.bench, care.doctor, care.verify,
    serve.server,
):  # fmt: skip
    main.add_command(command)
