"""Commands about CIFAR-10: fetch, import, verify, show."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from repro.cli.options import home

if TYPE_CHECKING:
    from repro.data.cifar10 import Dataset


@click.group()
def data() -> None:
    """Get CIFAR-10, check it, look at it."""


@data.command()
def fetch() -> None:
    """Download CIFAR-10 (170 MB); resumes a download that broke off."""
    from repro.data import cifar10
    from repro.progress import download

    with download.shown("CIFAR-10") as progress:
        dataset = cifar10.fetch(home(), progress)
    _say(dataset)


@data.command("import")
@click.argument("path", type=click.Path(path_type=Path, readable=False))
def import_(path: Path) -> None:
    """Import CIFAR-10 from PATH.

    PATH is the official cifar-10-python.tar.gz, its unpacked folder cifar-10-batches-py, a folder of
    train/<class>/*.png and test/<class>/*.png, or an .npz of x_train, y_train, x_test, y_test (uint8, any order).
    """
    from repro.data import cifar10

    _say(cifar10.import_from(path, home()))


@data.command()
def verify() -> None:
    """Check every byte of the cache."""
    from repro.data import cifar10

    _say(cifar10.load(home()))


@data.command()
@click.argument("target", metavar="[REPORT[/EXPERIMENT]]", required=False)
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.png",
    help="Write the picture there instead of cifar10.png in the state folder.",
)  # fmt: skip
@click.option(
    "--seed", type=click.IntRange(0, 999_999), default=0, show_default=True, help="Seed whose random draws are shown."
)
def show(target: str | None, out: Path | None, seed: int) -> None:
    """Draw images of each class, and what an experiment's augmentation makes of them."""
    from repro.spec.loading import load_all
    from repro.suite import showing

    report, experiment = showing.choose(load_all(), target)
    click.echo(showing.write(report, experiment, seed, home(), out or home() / "cifar10.png"))


def _say(dataset: "Dataset") -> None:
    """Print what the cache holds."""
    from repro.data import cifar10

    click.echo(f"{cifar10.cache_path(home())}: 50,000 + 10,000 images, every byte as expected")
    click.echo(f"  train {dataset.train}\n  test  {dataset.test}\n  official order of the test images: ", nl=False)
    click.echo("known" if dataset.order == "official" else "not known (the official files tell it; see docs/data.md)")
