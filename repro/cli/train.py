"""The command that trains: run."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from repro.cli.options import PROFILES, TIERS, budget_of, home, offline_option, reports_option, seeds_of
from repro.errors import UserError

if TYPE_CHECKING:
    import torch

    from repro.execute.cluster import Cluster


def names_of(_ctx: click.Context, _param: click.Parameter, text: str | None) -> list[str] | None:
    """Parse `cuda:0,cuda:1` into names."""
    if text is None:
        return None
    names = [name.strip() for name in text.split(",")]
    if not all(names) or "auto" in names:
        raise click.BadParameter(f"{text!r}: expected devices such as cuda:0,cuda:1")
    return names


def pick_devices(device: str | None, devices: list[str] | None) -> "list[torch.device]":
    """Return the devices asked for; raises UserError for one that is not there, and where two are not of a kind."""
    from repro import environment

    if devices is None:
        return [environment.pick_device("auto" if device is None else device)]
    if device is not None:
        raise UserError("--device and --devices: expected one of them, both are given; leave one out")
    found = [environment.pick_device(name) for name in devices]
    if len({one.type for one in found}) > 1:
        raise UserError(f"--devices {','.join(devices)}: expected devices of one kind; give cpu ones or cuda ones")
    return found


def _refuse_beside_until(profile: str, devices: list[str] | None, concurrent: int, executor: str, force: bool) -> None:
    """Raise UserError for what `--until decided` cannot be asked with."""
    given = click.get_current_context().get_parameter_source("seeds")
    if given is click.core.ParameterSource.COMMANDLINE:
        raise UserError("--until decided and --seeds: expected one of them, both are given; leave out --seeds")
    if profile != "full":
        raise UserError(f"--until decided: expected --profile full, not {profile}; only full runs decide a verdict")
    if devices is not None or concurrent > 1 or executor == "ray":
        text = "expected one device and one run at a time, since each result chooses the next run"
        raise UserError(f"--until decided: {text}; leave out --devices, --concurrent and --executor")
    if force:
        raise UserError("--until decided and --force: expected one of them, both are given; leave out --force")


def on_cluster(address: str | None, device: str | None, devices: list[str] | None, concurrent: int) -> "Cluster":
    """Join a Ray cluster until the command ends: the named one, that of $RAY_ADDRESS, or one of this machine."""
    if devices is not None:
        raise UserError("--devices and --executor ray: Ray chooses the devices; give --device cuda or cpu")
    from repro.execute import joining

    address = address or os.environ.get("RAY_ADDRESS", "").strip()
    return click.get_current_context().with_resource(joining.joined(address, device, concurrent))


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
@click.option("--device", help="auto, cpu, cuda or cuda:N.  [default: auto]")
@click.option("--devices", callback=names_of, metavar="D,D,...", help="Several, one process each: cuda:0,cuda:1.")
@click.option(
    "--concurrent", type=click.IntRange(1, 32), default=1, show_default=True, metavar="K",
    help="Train K runs side by side on the device, each on a CUDA stream of its own.",
)  # fmt: skip
@click.option(
    "--executor", type=click.Choice(["local", "ray"]), default="local", show_default=True,
    help="local: processes of this machine. ray: tasks of a Ray cluster, K per GPU.",
)  # fmt: skip
@click.option(
    "--ray-address", metavar="ADDRESS",
    help="HOST:PORT of a Ray cluster, or auto.  [default: RAY_ADDRESS, else this machine]",
)  # fmt: skip
@click.option(
    "--precision",
    type=click.Choice(["auto", "bf16", "fp32"]),
    default="auto",
    show_default=True,
    help="auto: bf16 where the hardware computes in it.",
)
@click.option("--deterministic", is_flag=True, help="Bit-identical results on the same machine; may be slower on CUDA.")
@click.option("--no-graph", is_flag=True, help="On CUDA, launch kernels one by one instead of CUDA graphs of a step.")
@click.option("--compile", "compiled", is_flag=True, help="Use torch.compile: slow to start, then faster steps.")
@click.option(
    "--budget", callback=budget_of, metavar="TIME", help="Stop after the last epoch that ends in TIME (90s, 9m, 1.5h)."
)
@click.option(
    "--until", type=click.Choice(["decided"]),
    help="decided: after each run, train the one expected to change most verdicts per minute; 3, 5 or 8 seeds.",
)  # fmt: skip
@click.option("--missing", is_flag=True, help="Also skip runs in the committed evidence, unless they are withdrawn.")
@click.option("--force", is_flag=True, help="Start over, on every call; a finished record is kept beside the new one.")
@click.option("--pages", is_flag=True, help="Write the pages afterwards, from the records here.")
@click.option("--dry-run", is_flag=True, help="Print what would be run.")
@click.option("-q", "--quiet", is_flag=True, help="Print failures and the final table only.")
@click.option("--log-model", is_flag=True, help="Log each experiment's first network in MLflow (torch.export).")
@offline_option
@reports_option
def run(
    targets: tuple[str, ...], everything: bool, tiers: tuple[str, ...], profile: str, seeds: list[int],
    device: str | None, devices: list[str] | None, concurrent: int, executor: str, ray_address: str | None,
    precision: str, deterministic: bool, no_graph: bool, compiled: bool, budget: float | None, until: str | None,
    missing: bool, force: bool, pages: bool, dry_run: bool, quiet: bool, log_model: bool, offline: bool,
    reports_dir: Path,
) -> None:  # fmt: skip
    """Train experiments: REPORT, REPORT/EXPERIMENT, or --all. Interrupted runs resume."""
    from repro.execute import process

    click.get_current_context().with_resource(process.terminated_as_interrupted())
    if log_model and offline:
        raise UserError("--log-model: expected MLflow, but --offline leaves it out; leave out one of them")
    if concurrent > 1 and devices is not None:
        raise UserError("--concurrent and --devices: expected one of them, both are given; leave one out")
    if ray_address and executor != "ray":
        raise UserError("--ray-address: names a Ray cluster; expected --executor ray with it")
    if until:
        _refuse_beside_until(profile, devices, concurrent, executor, force)
        from repro.judge.worth_looks import LOOKS

        seeds = list(range(LOOKS[-1]))
    from repro.spec.loading import load_all
    from repro.spec.selection import select

    reports = load_all()
    chosen = select(reports, targets, everything, tiers)
    from repro import environment, suite
    from repro.progress import training

    display, cluster = training.display(click.echo, quiet), None
    if executor == "ray":
        cluster = on_cluster(ray_address, device, devices, concurrent)
        listed = "fp32" if precision == "auto" else precision  # this machine need not have what the cluster has
        precision = listed if dry_run else cluster.examine(home(), precision, offline)
        places, concurrent = [cluster.device] * max(1, cluster.slots()), 1
    else:
        places = pick_devices(device, devices)
    plan = suite.plan(
        reports, chosen, profile=profile, seeds=seeds, devices=places, precision=precision,
        deterministic=deterministic, graph=not no_graph, compiled=compiled, concurrent=concurrent, home=home(),
        command=environment.command(sys.argv[1:]), reports_dir=reports_dir, missing=missing, force=force, dry=dry_run,
        say=display.say,
    )  # fmt: skip
    if dry_run and until:
        suite.show_steps(plan, budget_s=budget, say=click.echo)
        return
    if dry_run:
        for item in plan.runs:
            click.echo(f"{item.key}  {item.name}  {item.profile}  {item.tier}")
        loads = suite.foresee(plan, offline=offline, refuse=False, say=click.echo)
        suite.estimate(plan, loads, budget_s=budget, measure=False, say=click.echo)
        return
    if until:
        outcomes = suite.train_until_decided(plan, offline=offline, budget_s=budget, display=display)
    else:
        outcomes = suite.carry_out(plan, offline=offline, budget_s=budget, display=display, cluster=cluster)
    if log_model:
        from repro.suite.models import log_trained

        log_trained(outcomes, home(), click.echo)
    code = suite.conclude(outcomes, plan.notes, say=click.echo)
    if pages:
        suite.show_pages(plan, say=display.say)
    suite.where_next(plan, pages, offline, say=display.say)
    sys.exit(code)
