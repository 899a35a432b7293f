"""The command that compares accuracies of the suite's loop and the plain one: bench accuracy."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from repro.cli.options import budget_of, figures_options, home, place_of, seeds_of
from repro.errors import UserError

if TYPE_CHECKING:
    from repro.bench.networks import Named
    from repro.bench.shortened import Plan


@click.command()
@click.argument("name", metavar="REPORT/EXPERIMENT")
@click.option("--seeds", "numbers", default="0-4", show_default=True, callback=seeds_of, help="0, 0-2 or 0,3,5.")
@click.option("--images", type=click.IntRange(1, 50_000), help="Training images, in place of the recipe's.")
@click.option(
    "--epochs", type=click.IntRange(1, 10_000), help="Epochs, in place of the recipe's; the schedule follows."
)
@click.option("--test-images", type=click.IntRange(1, 10_000), help="Test images at the end, in place of all.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option(
    "--precision",
    type=click.Choice(("auto", "bf16", "fp32")),
    default="auto",
    show_default=True,
    help="Ours; the plain loop is in float32. auto is bf16 where the hardware computes in it.",
)
@click.option(
    "--budget",
    callback=budget_of,
    metavar="TIME",
    help="Begin no seed that would end after TIME (90s, 9m, 1.5h); the first is trained in any case.",
)
@figures_options("accuracy", "Add each seed")
def accuracy(
    name: str, numbers: list[int], images: int | None, epochs: int | None, test_images: int | None, device: str,
    precision: str, budget: float | None, as_json: bool, save: bool, out: Path | None, reports_dir: Path,
) -> None:  # fmt: skip
    """Train an experiment by the suite's loop and by the plain one, seed by seed, and compare the test accuracies.

    With --save or --out a seed is written as soon as it is through; called again, the command goes on with those that
    are missing. In full this takes two whole trainings a seed.
    """
    path = place_of(save, out, reports_dir / "bench" / "accuracy.json")
    from repro.bench import networks, seeds
    from repro.spec.loading import load_all

    if "/" not in name:
        raise UserError(f"{name}: expected REPORT/EXPERIMENT, such as chen2024/resnet20; see `repro list`")
    (named,) = networks.choose(load_all(), [name])
    rows = seeds.read(path) if path else []
    plan = _plan(device, precision, budget, images=images, epochs=epochs, test_images=test_images)
    row = _measured(named, numbers, plan, rows, path)
    if as_json:
        click.echo(json.dumps(seeds.document([row]), indent=1))
    else:
        _show(row)


def _measured(
    named: "Named", numbers: list[int], plan: "Plan", rows: list[dict[str, Any]], path: Path | None
) -> dict[str, Any]:
    from repro.bench import accuracy as benchmark
    from repro.bench import seeds

    def keep(row: dict[str, Any]) -> None:
        if path:
            seeds.enter(path, row)

    row = benchmark.measure(named, numbers, plan, rows, keep)
    if path:
        plan.say(str(path))
    return row


def _plan(device: str, precision: str, budget: float | None, **more: Any) -> "Plan":
    from repro import environment
    from repro.bench.epochs import pictures
    from repro.bench.shortened import Plan
    from repro.run import Options

    picked = environment.pick_device(device)
    options = Options(home(), picked, environment.pick_precision(precision, picked))
    plan = Plan(pictures(options.home), options, say=lambda text: click.echo(text, err=True), **more)
    if plan.dataset.name != "cifar10":
        plan.say("CIFAR-10 is not here: trained is the embedded sample, which says little about the recipe")
    if budget is not None:
        plan.deadline = plan.clock() + budget
    return plan


def _show(row: dict[str, Any]) -> None:
    from repro.progress import table
    from repro.report import accuracy as told

    cells = [
        (str(s["seed"]), f"{s['ours']:.2f}", f"{s['plain']:.2f}", f"{s['ours'] - s['plain']:+.2f}")
        for s in row["seeds"]
    ]
    total = row["summary"]
    cells.append(("mean", f"{total['ours']:.2f}", f"{total['plain']:.2f}", f"{total['difference']:+.2f}"))
    click.echo(f"{row['experiment']}, {told.how(row)}")
    table.show(("seed", "ours, %", "plain, %", "difference"), cells, numbers=(1, 2, 3), echo=click.echo)
    for line in told.sentences(row):
        click.echo(line)
    machine = row["machine"]
    click.echo(f"{machine['device']}; Python {machine['python']}, torch {machine['torch']}")
