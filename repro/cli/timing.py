"""The command that times experiments side by side: bench time."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from repro.cli.options import budget_of, figures_options, home, place_of

if TYPE_CHECKING:
    from repro.bench.chosen import Wanted
    from repro.bench.epochs import Plan
    from repro.judge.claims import Row
    from repro.judge.timings import Group, Timings


@click.command()
@click.argument("names", metavar="[REPORT]...", nargs=-1)
@click.option("--claim", "ids", multiple=True, metavar="ID", help="Only these claims of time; may be repeated.")
@click.option("--epochs", type=click.IntRange(1, 1000), default=3, show_default=True, help="Rounds: epochs of each.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option(
    "--budget", callback=budget_of, metavar="TIME", help="Stop at a round before TIME (90s, 9m, 1.5h) is over."
)
@click.option("--images", type=click.IntRange(1, 50_000), help="Images an epoch: to try it out, never judged.")
@figures_options("time", "Add the times")
def time(
    names: tuple[str, ...], ids: tuple[str, ...], epochs: int, device: str, budget: float | None, images: int | None,
    as_json: bool, save: bool, out: Path | None, reports_dir: Path,
) -> None:  # fmt: skip
    """Time in turn the experiments that claims about time compare: an epoch of each, then again.

    On an idle CUDA device with CIFAR-10 at hand these times decide the claims; elsewhere they are only shown.
    """
    from repro.bench import chosen
    from repro.judge import timings
    from repro.spec.loading import load_all

    path = place_of(save, out, reports_dir / timings.PLACE)
    wanted = chosen.choose(load_all(), names, ids)
    before = timings.read(reports_dir) if save else timings.NONE
    plan = _plan(device, epochs, images, budget)
    from repro.bench import epochs as benchmark

    keep = _keeper(path, reports_dir if save else None)
    done = benchmark.measure_all(chosen.missing_first(wanted, before), plan, keep)
    for lacking in done.missing:
        plan.say(f"time is over: rounds are missing of {lacking.name}")
    if path and done.groups:
        plan.say(str(path))
    new = timings.collected(done.groups)
    if as_json:
        click.echo(new.to_bytes(), nl=False)
    elif done.groups:
        _show(wanted, new)


def _plan(device: str, epochs: int, images: int | None, budget_s: float | None) -> "Plan":
    from repro import environment
    from repro.bench import epochs as benchmark
    from repro.run import Options

    picked = environment.pick_device(device)
    options = Options(home(), picked, environment.pick_precision("auto", picked))
    dataset = benchmark.pictures(options.home)
    plan = benchmark.Plan(dataset, options, epochs, images, say=lambda text: click.echo(text, err=True))
    if dataset.name != "cifar10":
        plan.say("CIFAR-10 is not here: trained is the embedded sample, and its times are shown, never judged")
    if budget_s is not None:
        plan.deadline = plan.clock() + budget_s
    return plan


def _keeper(path: Path | None, saved: Path | None) -> "Callable[[Group], None]":
    """Return what writes a group as soon as it is measured: into the folder's file, or with those before it."""
    from repro.judge import timings
    from repro.record import write_atomically

    measured: list[Group] = []

    def keep(group: "Group") -> None:
        measured.append(group)
        if path:
            # The file is read again, so that what another process has saved in the meantime stays.
            held = timings.read(saved).with_group(group) if saved else timings.collected(measured)
            write_atomically(path, held.to_bytes())

    return keep


def _show(wanted: "Iterable[Wanted]", timings: "Timings") -> None:
    from repro.judge.claims import judge
    from repro.progress import table

    times = [
        (f"{group.report}/{timed.experiment}", f"{timed.images:,}", " ".join(f"{s:.3g}" for s in timed.seconds))
        for group in timings.groups for timed in group.experiments
    ]  # fmt: skip
    table.show(("experiment", "images", "seconds an epoch, by round"), times, numbers=(1,), echo=click.echo)
    rows = [judge(each.report, claim, [], timings=timings) for each in wanted for claim in each.claims]
    measured = [row for row in rows if row.n]
    header = ("claim", "longer / shorter", "ratio", "90 % interval", "published", "verdict")
    table.show(header, [_cells(row) for row in measured], numbers=(2, 3, 4), echo=click.echo)
    for reason in dict.fromkeys(row.reason for row in measured if row.reason):
        click.echo(f"Not judged: {reason}")
    for machine in dict.fromkeys(f"{group.machine['device']}, {group.env_class}" for group in timings.groups):
        click.echo(machine)


def _cells(row: "Row") -> tuple[str, ...]:
    from repro.report import values

    shorter, longer = row.experiments
    published = "-" if row.published is None else values.published(row)
    word = row.verdict.word if row.verdict else row.state
    return f"{row.report}/{row.claim}", f"{longer} / {shorter}", values.ours(row), values.interval(row), published, word
