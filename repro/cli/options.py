"""What several commands share: the state folder, options, and parsers of their values."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from repro.errors import UserError

TIERS = ("headline", "core", "extended", "long")
PROFILES = ("full", "quick", "smoke")


def home() -> Path:
    """Return the state folder: $REPRO_HOME, else .repro in the current folder; raises UserError where it cannot be."""
    path = Path(os.environ.get("REPRO_HOME") or ".repro").absolute()
    there = next(place for place in (path, *path.parents) if os.path.lexists(place))
    if not there.is_dir():
        raise UserError(f"REPRO_HOME={path}: {there} is not a folder; name one that is, or is yet to be made")
    return path


reports_option = click.option(
    "--reports", "reports_dir", type=click.Path(path_type=Path, file_okay=False), default=Path("reports"),
    show_default=True, help="Folder of the committed pages and evidence.",
)  # fmt: skip
offline_option = click.option("--offline", is_flag=True, help="Leave MLflow out; records can be imported later.")

Decorator = Callable[[Callable[..., None]], Callable[..., None]]


def together(*options: Decorator) -> Decorator:
    """Return a decorator with several options, which `--help` lists in this order."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def figures_options(name: str, what: str = "Write the results") -> Decorator:
    """Return the options of a benchmark that keeps its figures in `bench/<name>.json`; `place_of` reads two of them."""
    return together(
        click.option("--json", "as_json", is_flag=True, help="Machine-readable."),
        click.option("--save", is_flag=True, help=f"{what} to bench/{name}.json in the folder of pages."),
        click.option(
            "--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write the results there."
        ),
        reports_option,
    )


def place_of(save: bool, out: Path | None, saved: Path) -> Path | None:
    """Return where figures are to be written; raises UserError for two places, and for one that cannot be written."""
    if save and out:
        raise UserError(f"--save and --out {out} name two places; give one of them")
    path = saved if save else out
    if path is None:
        return None
    there = next(place for place in path.absolute().parents if os.path.lexists(place))
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"{path}: {there} is not a folder that can be written; name another place")
    return path


def keeper(path: Path | None) -> Callable[[dict[str, Any]], None]:
    """Return what writes figures that are not complete yet beside `path`, where there is one: into PATH.part."""
    from repro.record import write_atomically

    def keep(found: dict[str, Any]) -> None:
        if path:
            write_atomically(_part(path), _text(found))

    return keep


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _text(result: dict[str, Any]) -> bytes:
    return f"{json.dumps(result, indent=1)}\n".encode()


def deliver(result: dict[str, Any], path: Path | None, as_json: bool) -> bool:
    """Write a benchmark's figures to `path`, if there is one, and print them if asked to; return whether printed."""
    from repro.record import write_atomically

    if path:
        write_atomically(path, _text(result))
        _part(path).unlink(missing_ok=True)
        click.echo(str(path), err=True)
    if as_json:
        click.echo(_text(result), nl=False)
    return as_json


def seeds_of(_ctx: click.Context, _param: click.Parameter, text: str) -> list[int]:
    """Parse `0`, `0-2` or `0,3,5` into seeds, each once, in the order given."""
    seeds: list[int] = []
    for part in text.split(","):
        if not (match := re.fullmatch(r"([0-9]{1,6})(?:-([0-9]{1,6}))?", part.strip())):
            raise click.BadParameter(f"{text!r}: expected seeds such as 0, 0-2 or 0,3,5")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last - first > 999:
            raise click.BadParameter(f"{text!r}: a range runs upwards and holds at most 1,000 seeds")
        seeds += range(first, last + 1)
    return list(dict.fromkeys(seeds))


def budget_of(_ctx: click.Context, _param: click.Parameter, text: str | None) -> float | None:
    """Parse `90s`, `9m` or `1.5h` into seconds."""
    if text is None:
        return None
    if not (match := re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smh])", text)):
        raise click.BadParameter(f"{text!r}: expected a time such as 90s, 9m or 1.5h")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]
