"""The commands that time training: bench step and epoch beside published loops, variants and suite beside itself."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from repro.cli import shown
from repro.cli.options import TIERS, Decorator, budget_of, deliver, figures_options, home, keeper, place_of, together

if TYPE_CHECKING:
    from repro.bench.turns import Plan


_SHARED = "Share TIME (90s, 9m, 1.5h) among the experiments: fewer timings where it is short."
_steps = click.option(
    "--steps",
    type=click.IntRange(1, 1000),
    help="Steps per timing, at most an epoch (default: as many as take about a second).",
)


def _shared(repeats: int, name: str, budget: str = _SHARED) -> Decorator:
    """Return a decorator with the options of all these commands."""
    return together(
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."),
        click.option(
            "--precision", type=click.Choice(("auto", "bf16", "fp32")), default="auto", show_default=True,
            help="Of our training (and the tuned loop beside it); auto is bf16 where the hardware computes in it.",
        ),
        click.option(
            "--repeats", type=click.IntRange(1, 1000), default=repeats, show_default=True,
            help="Timings of each arm, in turn.",
        ),
        click.option("--budget", callback=budget_of, metavar="TIME", help=budget),
        click.option("--batch", type=click.IntRange(1, 10_000), help="Images per step, for trials; no target applies."),
        figures_options(name),
    )  # fmt: skip


@click.command()
@click.argument("names", metavar="[REPORT[/EXPERIMENT]]...", nargs=-1)
@_steps
@_shared(5, "step")
def step(names: tuple[str, ...], steps: int | None, **shared: Any) -> None:
    """Time a training step against a plain and a tuned loop: each report's first headline experiment, and two more.

    The loops are given ready-made batches; ours makes its own. A target that is missed is shown as missed.
    """
    _measure("step", names, shared, steps=steps)


@click.command()
@click.argument("names", metavar="REPORT[/EXPERIMENT]...", nargs=-1, required=True)
@click.option("--images", type=click.IntRange(1, 50_000), help="Images per epoch, for trials; no target applies.")
@_shared(3, "epoch")
def epoch(names: tuple[str, ...], images: int | None, **shared: Any) -> None:
    """Time an epoch of training, data loading included, against a plain and a tuned loop with DataLoaders.

    A whole epoch takes minutes to hours on a CPU. A target that is missed is shown as missed.
    """
    _measure("epoch", names, shared, images=images)


@click.command()
@click.argument("names", metavar="[REPORT[/EXPERIMENT]]...", nargs=-1)
@click.option(
    "--only", metavar="NAME,...", help="Only these variants: eager, unpadded, compiled, concurrent-2, concurrent-4."
)
@_steps
@_shared(5, "variants")
def variants(names: tuple[str, ...], only: str | None, steps: int | None, **shared: Any) -> None:
    """Time a training step against the same step with one thing changed: each report's first headline, and two more.

    The changes: no CUDA graph, no padded channels, fused operations, several runs at once on one device. A variant
    that this device does not allow is left out, with the reason.
    """
    from repro.bench import variants as benchmark

    wanted = benchmark.choose([name.strip() for name in only.split(",")] if only is not None else [])
    _measure("variants", names, shared, steps=steps, variants=wanted)


@click.command()
@click.argument("names", metavar="[REPORT[/EXPERIMENT]]...", nargs=-1)
@click.option(
    "--tier", "tiers", multiple=True, type=click.Choice(TIERS),
    help="Only these tiers; may be repeated (default: headline and core; all tiers of what is named).",
)  # fmt: skip
@_steps
@_shared(3, "suite", "Start no network that would end after TIME (90s, 9m, 1.5h); the largest come first.")
def suite(names: tuple[str, ...], tiers: tuple[str, ...], steps: int | None, **shared: Any) -> None:
    """Measure how long all runs would take here with one seed, from a step, a test and a start of each network.

    What was not measured is in no sum. A target that is missed is shown as missed.
    """
    path = _path("suite", shared)
    from repro.spec.loading import load_all
    from repro.spec.selection import select

    reports = load_all()
    usual = ("headline", "core")
    chosen = select(reports, names, not names, tiers or (() if names else usual))
    whole = select(reports, (), True, usual)
    plan = _plan(shared, path, steps=steps)
    from repro.bench import suite as benchmark

    result = benchmark.run(benchmark.runs(chosen, plan), benchmark.runs(whole, plan), plan)
    if not deliver(result, path, shared["as_json"]):
        shown.suite(result)


def _measure(name: str, names: tuple[str, ...], shared: dict[str, Any], variants: Any = None, **more: Any) -> None:
    path = _path(name, shared)
    from repro.bench import networks
    from repro.spec.loading import load_all

    chosen = networks.choose(load_all(), names)
    plan = _plan(shared, path, **more)
    if variants is not None:
        from repro.bench import variants as benchmark

        result = benchmark.run(chosen, plan, variants)
    else:
        from repro.bench import epoch as epochs
        from repro.bench import step as steps

        result = {"step": steps.run, "epoch": epochs.run}[name](chosen, plan)
    if not deliver(result, path, shared["as_json"]):
        shown.arms(result)


def _path(name: str, shared: dict[str, Any]) -> Path | None:
    return place_of(shared["save"], shared["out"], shared["reports_dir"] / "bench" / f"{name}.json")


def _plan(shared: dict[str, Any], path: Path | None, **more: Any) -> "Plan":
    from repro import environment
    from repro.bench.epochs import pictures
    from repro.bench.turns import Plan
    from repro.run import Options

    device = environment.pick_device(shared["device"])
    options = Options(home(), device, environment.pick_precision(shared["precision"], device))
    say = lambda text: click.echo(text, err=True)  # noqa: E731
    more |= {"batch": shared["batch"], "say": say, "keep": keeper(path)}
    plan = Plan(pictures(options.home), options, shared["repeats"], **more)
    if shared["budget"] is not None:
        plan.deadline = plan.clock() + shared["budget"]
    return plan
