"""Commands that look after what is there: doctor, verify."""

import json
from pathlib import Path

import click

from repro.cli.options import home, reports_option
from repro.errors import UserError


@click.command()
@click.option("--fix", is_flag=True, help="Mend what can be mended; without it nothing is written.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@click.option("--offline", is_flag=True, help="Leave MLflow out.")
@reports_option
@click.pass_context
def doctor(ctx: click.Context, fix: bool, as_json: bool, offline: bool, reports_dir: Path) -> None:
    """Find what interrupted runs have left behind, and say what would mend it.

    Runs that MLflow shows as RUNNING though their process is gone, a broken MLflow database, half-written files,
    unneeded or damaged checkpoints, finished runs that are not in MLflow, a damaged data cache. Exit code 1 where
    something is left to be mended.
    """
    from repro.suite.doctoring import doctor as examine

    found = examine(home(), reports_dir, fix=fix, offline=offline)
    count = {state: sum(each.state == state for each in found) for state in ("found", "mended", "left")}
    if as_json:
        click.echo(json.dumps({"fix": fix, **count, "findings": [each.plain() for each in found]}, indent=1))
    else:
        for each in found:
            click.echo(str(each))
        said = {"found": "to be mended by --fix", "mended": "mended", "left": "left"}
        click.echo(", ".join(f"{n} {said[state]}" for state, n in count.items() if n) or "nothing is wrong")
    ctx.exit(1 if any(each.open for each in found) else 0)


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="[PATH]...")
@click.option("--runs", is_flag=True, help="Also the finished runs of this machine's state folder.")
@click.option("--pages", is_flag=True, help="Also draw every page again and compare it; takes longer.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@reports_option
@click.pass_context
def verify(
    ctx: click.Context, paths: tuple[Path, ...], runs: bool, pages: bool, as_json: bool, reports_dir: Path
) -> None:
    """Check each record for consistency (hashes, epochs, final numbers, matrices), and the tables against the records.

    PATH is a record or a folder of records (evidence, a state folder, a bundle); without one the committed evidence is
    checked. Exit code 1 where a rule is broken.
    """
    from repro.suite.verifying import verify as check

    if pages and paths:
        raise UserError("--pages: compares the committed pages; leave out PATH")
    done = check(paths, reports_dir, home(), runs=runs, pages=pages)
    if as_json:
        click.echo(json.dumps(done.plain(), indent=1))
    else:
        for line in (*done.broken, *done.notes, done.verdict):
            click.echo(str(line))
    ctx.exit(1 if done.broken else 0)
