"""Commands that measure the suite's speed."""

from pathlib import Path
from typing import Any

import click

from repro.cli import accuracy, overhead, scaling, speed, timing
from repro.cli.options import deliver, figures_options, home, place_of
from repro.cli.shown import met


@click.group()
def bench() -> None:
    """Benchmark on this machine: the suite against the usual way, and experiments against each other."""


for command in (
    speed.step, speed.epoch, speed.variants, speed.suite, timing.time, accuracy.accuracy, overhead.tracking,
    scaling.scale,
):  # fmt: skip
    bench.add_command(command)


@bench.command()
@click.option(
    "--images", type=click.IntRange(1, 50_000), default=1024, show_default=True,
    help="Images a pass: CIFAR-10 where it is here, else the embedded sample, repeated.",
)  # fmt: skip
@click.option(
    "--repeats", type=click.IntRange(1, 1000), default=7, show_default=True, help="Timings of each arm, in turn."
)
@figures_options("augment")
def augment(images: int, repeats: int, as_json: bool, save: bool, out: Path | None, reports_dir: Path) -> None:
    """Time augmentation on one CPU thread against Pillow and torchvision, image by image.

    About half a minute. A target that is missed is shown, and is no failure of the command.
    """
    path = place_of(save, out, reports_dir / "bench" / "augment.json")
    from repro.bench import augment as benchmark

    result = benchmark.run(home(), images, repeats, lambda text: click.echo(text, err=True))
    if not deliver(result, path, as_json):
        _show(result)


def _show(result: dict[str, Any]) -> None:
    from repro.progress import table

    header = ("augmentation", "ours images/s", "theirs images/s", "ratio (lowest to highest)", "target", "", "theirs")
    table.show(header, [_cells(row) for row in result["rows"]], numbers=(1, 2, 3, 4), echo=click.echo)
    machine = result["machine"]
    versions = ", ".join(f"{name} {machine[name]}" for name in ("torch", "torchvision", "pillow", "numpy"))
    click.echo(f"{machine['device']}; Python {machine['python']}, {versions}")
    click.echo(
        f"{result['images']:,} images of {result['source']}, batches of {result['batch_size']}, {result['repeats']} "
        "timings an arm, in turn; medians, CPU time"
    )


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    wanted = "-" if row["target"] is None else f"{row['target']:g}"
    paces = f"{row['ours_per_s']:,.0f}", f"{row['theirs_per_s']:,.0f}"
    ratio = f"{row['ratio']:.1f} ({row['lowest']:.1f} to {row['highest']:.1f})"
    return row["what"], *paces, ratio, wanted, met(row["met"]), row["against"]
