"""The commands that time training beside published loops: bench step, bench epoch."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from repro.cli.options import budget_of, deliver, home, place_of, reports_option

if TYPE_CHECKING:
    from repro.bench.turns import Plan


def _shared(repeats: int, name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator with the options of both commands."""
    options = [
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."),
        click.option(
            "--precision", type=click.Choice(("auto", "bf16", "fp32")), default="auto", show_default=True,
            help="Ours and the tuned loop's; auto is bf16 where the hardware computes in it.",
        ),
        click.option(
            "--repeats", type=click.IntRange(1, 1000), default=repeats, show_default=True,
            help="Timings of each arm, in turn.",
        ),
        click.option(
            "--budget", callback=budget_of, metavar="TIME",
            help="Share TIME (90s, 9m, 1.5h) among the experiments: fewer timings where it is short.",
        ),
        click.option("--batch", type=click.IntRange(1, 10_000), help="Images a step: to try it out, no target holds."),
        click.option("--json", "as_json", is_flag=True, help="Machine-readable."),
        click.option("--save", is_flag=True, help=f"Write the figures to bench/{name}.json in the folder of pages."),
        click.option(
            "--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write the figures there."
        ),
        reports_option,
    ]  # fmt: skip

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


@click.command()
@click.argument("names", metavar="[REPORT/EXPERIMENT]...", nargs=-1)
@click.option(
    "--steps", type=click.IntRange(1, 1000), help="Steps a timing; without it as many as last about a second."
)
@_shared(5, "step")
def step(names: tuple[str, ...], steps: int | None, **shared: Any) -> None:
    """Time a training step beside the usual loop and a tuned one, of each report's first headline experiment.

    The loops are given ready-made batches; ours makes its own. A target that is missed is shown as missed.
    """
    _measure("step", names, shared, steps=steps)


@click.command()
@click.argument("names", metavar="REPORT/EXPERIMENT...", nargs=-1, required=True)
@click.option("--images", type=click.IntRange(1, 50_000), help="Images an epoch: to try it out, no target holds.")
@_shared(3, "epoch")
def epoch(names: tuple[str, ...], images: int | None, **shared: Any) -> None:
    """Time an epoch's training with its data beside the usual loop and a tuned one, each with its DataLoader.

    A whole epoch takes minutes to hours on a CPU. A target that is missed is shown as missed.
    """
    _measure("epoch", names, shared, images=images)


def _measure(name: str, names: tuple[str, ...], shared: dict[str, Any], **more: Any) -> None:
    path = place_of(shared["save"], shared["out"], shared["reports_dir"] / "bench" / f"{name}.json")
    from repro.bench import networks
    from repro.spec.loading import load_all

    chosen = networks.choose(load_all(), names)
    plan = _plan(shared, **more)
    from repro.bench import epoch as epochs
    from repro.bench import step as steps

    result = {"step": steps.run, "epoch": epochs.run}[name](chosen, plan)
    if not deliver(result, path, shared["as_json"]):
        _show(result)


def _plan(shared: dict[str, Any], **more: Any) -> "Plan":
    from repro import environment
    from repro.bench.epochs import pictures
    from repro.bench.turns import Plan
    from repro.run import Options

    device = environment.pick_device(shared["device"])
    options = Options(home(), device, environment.pick_precision(shared["precision"], device))
    say = lambda text: click.echo(text, err=True)  # noqa: E731
    plan = Plan(pictures(options.home), options, shared["repeats"], batch=shared["batch"], say=say, **more)
    if shared["budget"] is not None:
        plan.deadline = plan.clock() + shared["budget"]
    return plan


def _show(result: dict[str, Any]) -> None:
    from repro.progress import table

    rows = [cells for row in result["rows"] for cells in _lines(row)]
    header = (
        "experiment", "batch", "arm", "in", "images/s", "GFLOP/s", "MFU", "ops/step", "ratio (lowest to highest)",
        "target", "",
    )  # fmt: skip
    table.show(header, rows, numbers=(1, 4, 5, 6, 7, 8, 9), echo=click.echo)
    machine = result["machine"]
    click.echo(f"{machine['device']}; Python {machine['python']}, torch {machine['torch']}")
    timings = "-".join(dict.fromkeys(str(f({row["repeats"] for row in result["rows"]})) for f in (min, max)))
    click.echo(
        f"{timings} timings an arm, in turn: medians, and of the ratios of a round the median, lowest and highest; "
        f"{'CPU' if result['clock'] == 'thread' else 'wall'} time; images of {result['source']}"
    )
    if busy := [row["experiment"] for row in result["rows"] if row["before"]["idle"] is False]:
        click.echo(f"The device was NOT idle before: {', '.join(busy)}")


def _lines(row: dict[str, Any]) -> list[tuple[str, ...]]:
    lines: list[tuple[str, ...]] = []
    for name, arm in row["arms"].items():
        found = row["ratios"].get(name)
        first = name == "ours"
        wanted = found["target"] if found else None
        met = {None: "", True: "met", False: "missed"}[found["met"] if found else None]
        lines.append((
            row["experiment"] if first else "", str(row["batch_size"]) if first else "", name, arm["precision"],
            f"{arm['images_per_s']:,.0f}", f"{arm['flop_per_s'] / 1e9:,.0f}",
            "-" if arm["mfu"] is None else f"{100 * arm['mfu']:.1f} %",
            "-" if arm["operations_per_step"] is None else f"{arm['operations_per_step']:,.0f}",
            f"{found['ratio']:.2f} ({found['lowest']:.2f} to {found['highest']:.2f})" if found else "",
            "" if first else "-" if wanted is None else f"{wanted:g}", met,
        ))  # fmt: skip
    return lines
