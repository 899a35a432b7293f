"""The command line: parse, call, print, exit code. Heavy imports live inside the commands: `--help` is instant."""

import json
import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from repro import __version__
from repro.errors import UserError

TIERS = ("headline", "core", "extended", "long")


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
            click.echo(
                "repro: interrupted; the same command, without --force, goes on at the last finished epoch", err=True
            )
            ctx.exit(130)
        except BrokenPipeError:
            # The reader (head, less) has closed the pipe: nothing left to say.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(0)
        except OSError as error:
            if error.filename is None:
                raise
            click.echo(
                f"repro: {error.filename}: {error.strerror}; choose a place that can be read and written", err=True
            )
            ctx.exit(2)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Do these published CIFAR-10 results hold?

    Five reports, one YAML each in experiments/: `list` them, `run` their experiments, and `report` sets every
    published number beside ours. State (data, runs, MLflow store) lives in .repro/, or where REPRO_HOME says.
    """


def home() -> Path:
    """Return the state folder: $REPRO_HOME, else .repro in the current folder."""
    return Path(os.environ.get("REPRO_HOME") or ".repro").absolute()


reports_option = click.option(
    "--reports", "reports_dir", type=click.Path(path_type=Path, file_okay=False), default=Path("reports"),
    show_default=True, help="Folder of the committed pages and evidence.",
)  # fmt: skip
offline_option = click.option("--offline", is_flag=True, help="Leave MLflow out; records can be imported later.")


@main.command("list")
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


@main.command()
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


@main.group()
def data() -> None:
    """Get CIFAR-10 and check it."""


@data.command()
def fetch() -> None:
    """Download CIFAR-10 (170 MB)."""
    from repro.data import cifar10

    dataset = cifar10.fetch(home())
    click.echo(
        f"{cifar10.cache_path(home())}: verified, official order known\n  train {dataset.train}\n  test  {dataset.test}"
    )


@data.command("import")
@click.argument("path", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def import_(path: Path) -> None:
    """Import an .npz of x_train, y_train, x_test, y_test (uint8, any order)."""
    from repro.data import cifar10

    dataset = cifar10.import_npz(path, home())
    click.echo(f"{cifar10.cache_path(home())}: verified\n  train {dataset.train}\n  test  {dataset.test}")


@data.command()
def verify() -> None:
    """Check every byte of the cache."""
    from repro.data import cifar10

    dataset = cifar10.load(home())
    click.echo(f"{cifar10.cache_path(home())}: 50,000 + 10,000 images, all as expected, test order {dataset.order}")


def _seeds(_ctx: click.Context, _param: click.Parameter, text: str) -> list[int]:
    seeds: list[int] = []
    for part in text.split(","):
        if not (match := re.fullmatch(r"(\d{1,6})(?:-(\d{1,6}))?", part.strip())):
            raise click.BadParameter(f"{text!r}: expected seeds such as 0, 0-2 or 0,3,5")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last - first > 999:
            raise click.BadParameter(f"{text!r}: a range runs upwards and holds at most 1,000 seeds")
        seeds += range(first, last + 1)
    return list(dict.fromkeys(seeds))


def _budget(_ctx: click.Context, _param: click.Parameter, text: str | None) -> float | None:
    if text is None:
        return None
    if not (match := re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)):
        raise click.BadParameter(f"{text!r}: expected a time such as 90s, 9m or 1.5h")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]


@main.command()
@click.argument("targets", metavar="[REPORT[/EXPERIMENT]]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every report.")
@click.option("--tier", "tiers", multiple=True, type=click.Choice(TIERS), help="Only these tiers; may be repeated.")
@click.option(
    "--profile",
    type=click.Choice(["auto", "full", "quick", "smoke"]),
    default="full",
    show_default=True,
    help="auto: full on CUDA (fetching the data), smoke elsewhere. quick: a tenth of the epochs. "
    "smoke: an embedded sample. Only full counts.",
)
@click.option("--seeds", callback=_seeds, default="0", show_default=True, help="0, 0-2 or 0,3,5.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option(
    "--precision",
    type=click.Choice(["auto", "bf16", "fp32"]),
    default="auto",
    show_default=True,
    help="auto: bf16 where the hardware computes in it.",
)
@click.option("--deterministic", is_flag=True, help="Equal bits on equal machines; may be slower on CUDA.")
@click.option(
    "--budget", callback=_budget, metavar="TIME", help="Stop at an epoch before TIME (90s, 9m, 1.5h) is over."
)
@click.option("--missing", is_flag=True, help="Also skip runs that the committed evidence holds.")
@click.option(
    "--force", is_flag=True, help="Begin anew, every time it is said; a finished record is kept beside the new one."
)
@click.option("--pages", is_flag=True, help="Write the pages afterwards, as `repro report` does.")
@click.option("--dry-run", is_flag=True, help="Print what would be run.")
@offline_option
@reports_option
def run(
    targets: tuple[str, ...], everything: bool, tiers: tuple[str, ...], profile: str, seeds: list[int], device: str,
    precision: str, deterministic: bool, budget: float | None, missing: bool, force: bool, pages: bool, dry_run: bool,
    offline: bool, reports_dir: Path,
) -> None:  # fmt: skip
    """Train experiments: REPORT, REPORT/EXPERIMENT, or --all. Interrupted runs go on where they were."""
    from repro.spec.loading import load_all
    from repro.spec.selection import select

    reports = load_all()
    chosen = select(reports, targets, everything, tiers)
    from repro import environment, suite

    where = environment.pick_device(device)
    plan = suite.plan(
        reports, chosen, profile=profile, seeds=seeds, device=where, precision=precision, deterministic=deterministic,
        home=home(), command="repro " + shlex.join(sys.argv[1:]), reports_dir=reports_dir, missing=missing, dry=dry_run,
        say=click.echo,
    )  # fmt: skip
    if dry_run:
        for item in plan.runs:
            click.echo(f"{item.key}  {item.name}  {item.profile}  {item.tier}")
        return
    outcomes = suite.carry_out(plan, offline=offline, force=force, budget_s=budget, say=click.echo)
    code = suite.conclude(outcomes, say=click.echo)
    if pages:
        suite.show_pages(plan, say=click.echo)
    sys.exit(code)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@reports_option
def status(as_json: bool, reports_dir: Path) -> None:
    """Show what is done, per experiment: runs by profile, here and in the committed evidence."""
    from repro.report import evidence, tables
    from repro.spec.loading import load_all

    reports = load_all()
    rows = tables.status(reports, evidence.read(home(), reports_dir))
    click.echo(json.dumps(rows, indent=1) if as_json else tables.status_text(rows))


@main.command()
@click.option(
    "--profile",
    type=click.Choice(["full", "quick", "smoke"]),
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


@main.group()
def bundle() -> None:
    """Move records between machines."""


@bundle.command("export")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def bundle_export(folder: Path) -> None:
    """Write every finished run of this machine to FOLDER."""
    from repro import suite

    click.echo(f"{folder}: {suite.export_bundle(home(), folder)} runs")


@bundle.command("import")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@offline_option
def bundle_import(folder: Path, offline: bool) -> None:
    """Take the runs of FOLDER in, and into MLflow; importing twice is importing once."""
    from repro import suite

    new, known = suite.import_bundle(home(), folder, offline)
    click.echo(f"{folder}: {new} new, {known} already here")


@main.command("ui")
def ui() -> None:
    """Serve MLflow's pages on this machine (127.0.0.1:5000)."""
    from repro import track

    command, env, links = track.ui(home())
    for link in links:
        click.echo(link)
    os.execvpe(command[0], command, {**os.environ, **env})
