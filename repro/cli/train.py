"""The command that trains: run."""

import shlex
import sys
from pathlib import Path

import click

from repro.cli.options import PROFILES, TIERS, budget_of, home, offline_option, reports_option, seeds_of


@click.command()
@click.argument("targets", metavar="[REPORT[/EXPERIMENT]]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every report.")
@click.option("--tier", "tiers", multiple=True, type=click.Choice(TIERS), help="Only these tiers; may be repeated.")
@click.option(
    "--profile",
    type=click.Choice(["auto", *PROFILES]),
    default="full",
    show_default=True,
    help="auto: full on CUDA (fetching the data), smoke elsewhere. quick: a tenth of the epochs. "
    "smoke: an embedded sample. Only full counts.",
)
@click.option("--seeds", callback=seeds_of, default="0", show_default=True, help="0, 0-2 or 0,3,5.")
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
    "--budget", callback=budget_of, metavar="TIME", help="Stop at an epoch before TIME (90s, 9m, 1.5h) is over."
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
