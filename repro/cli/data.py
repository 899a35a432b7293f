"""Commands about CIFAR-10: fetch, import, verify."""

from pathlib import Path

import click

from repro.cli.options import home


@click.group()
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
