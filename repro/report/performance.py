"""The page of the suite's speed: what `repro bench` has written to the folder of pages, as tables."""

import json
from collections.abc import Callable, Iterator, Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from repro.errors import UserError
from repro.judge import timings
from repro.report import accuracy, overheads, scales, speeds
from repro.report.markdown import Md, code, join, md, number, plural, table
from repro.report.speed_parts import busy, machine, peaks, ratio, share

SCHEMA = 1
#: what a peer is called in a sentence
PEERS = {"plain": "the plain loop", "tuned": "the tuned loop"}
_HEAD = """# Performance

Each part of the suite and the usual way of doing it, timed in turn on one machine, so that a disturbance hits both.
The figure to read is the ratio: the median of the rounds, and in brackets the lowest and the highest.
`docs/benchmarks.md` says what is compared with what. This page is generated from the files in `bench/`; edits
here are overwritten."""
_STEP = """Training itself, the same network and batches on all arms. *Plain* is the usual script: float32, NCHW,
PyTorch's optimizer with its defaults, loss and hits read in every step. *Tuned* is the same in the run's precision,
with channels_last and no reads."""


def page(folder: Path) -> str | None:
    """Return the page of the measurements in a folder (`bench/` of the pages); None where there are none.

    Files of benchmarks unknown here are left out. Raises UserError for a file that `repro bench` has not written.
    """
    files = sorted((path for path in folder.glob("*.json") if path.name != timings.PLACE.name), key=_rank)
    parts = [part for path in files for part in _file(path)]
    parts += _times(timings.read(folder.parent)) if folder.name == timings.PLACE.parent.name else []
    if parts:
        lacking = [name for name, title in speeds.TITLES.items() if not any(part.startswith(title) for part in parts)]
        parts += map(speeds.lacking, lacking)
    return "\n\n".join([_HEAD, *parts]) + "\n" if parts else None


def _rank(path: Path) -> tuple[int, str]:
    """Order files as their benchmarks stand in `_SECTIONS`, by the first word of their names; others come last."""
    benchmark = path.stem.partition("-")[0]
    return list(_SECTIONS).index(benchmark) if benchmark in _SECTIONS else len(_SECTIONS), path.name


def _file(path: Path) -> list[str]:
    """Return the section of a file, in a list of one; of a benchmark that is unknown here, none."""
    wanted = "expected what `repro bench` writes; delete the file and measure again"
    try:
        plain = json.loads(path.read_bytes())
        section = _SECTIONS.get(plain["benchmark"])
        if section is None:
            return []
        if plain["schema"] != SCHEMA:
            raise UserError(f"{path}: schema {plain['schema']}, known here is {SCHEMA}; {wanted}")
        return ["\n\n".join(section(plain, path.name))]
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); {wanted}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: {type(error).__name__} {error}; {wanted}") from None


def _augment(plain: Mapping[str, Any], name: str) -> Iterator[str]:
    yield md("## Augmentation on one CPU thread ({})", code(name))
    yield machine(plain)
    head = ["Augmentation", "Theirs", "Ours, images/s", "Theirs, images/s", "Ratio"]
    rows = [
        [row["what"], row["against"], number(row["ours_per_s"]), number(row["theirs_per_s"]), ratio(row)]
        for row in plain["rows"]
    ]
    yield table(head, "llrrr", rows)
    yield f"Batches of {plain['batch_size']:,}, {plural(plain['repeats'], 'timing')} an arm; CPU time of the thread."
    yield _missed((row["what"], row["against"], row) for row in plain["rows"])


def _step(plain: Mapping[str, Any], name: str) -> Iterator[str]:
    yield md("## A training step ({})", code(name))
    yield f"{_STEP} Both are given ready-made batches; ours draws, gathers and augments its own within the time."
    yield from _arms(plain)


def _epoch(plain: Mapping[str, Any], name: str) -> Iterator[str]:
    yield md("## An epoch with its data ({})", code(name))
    workers = plain["workers"]
    yield (
        f"{_STEP} Their images come from PyTorch's DataLoader with torchvision's transforms, {workers['plain']:,} and "
        f"{plural(workers['tuned'], 'worker')}; ours lie on the device. Tests after an epoch are left out of all arms."
    )
    yield from _arms(plain)


def _arms(plain: Mapping[str, Any]) -> Iterator[str]:
    """Yield machine, table and remarks of a benchmark with three arms."""
    yield machine(plain)
    rows = plain["rows"]
    head = [
        "Experiment",
        "Batch",
        "In",
        "Ours, images/s",
        "Plain",
        "Tuned",
        "Ours, GFLOP/s",
        "MFU",
        "Operations a step",
    ]
    yield table([*head, "Beside plain", "Beside tuned"], "lrlrrrrrrrr", [_line(row) for row in rows])
    spent = {"thread": "CPU time of the one thread", "wall": "by the clock on the wall"}[plain["clock"]]
    rounds = sorted({len(row["arms"]["ours"]["seconds"]) for row in rows})
    timings_of = " to ".join(f"{n:,}" for n in rounds[:1] + rounds[1:][-1:])
    yield f"*Beside*: how many times as fast ours is. Timings an arm: {timings_of}, in turn; {spent}."
    yield "*In* and *operations a step* (which PyTorch dispatches; views are left out): ours / plain / tuned."
    yield from peaks(arm for row in rows for arm in row["arms"].values())
    yield from speeds.costs(rows, ("ours", *PEERS))
    yield _missed((row["experiment"], PEERS[peer], found) for row in rows for peer, found in row["ratios"].items())
    if free := [row for row in rows if all(found["target"] is None for found in row["ratios"].values())]:
        said_of = [md("{} ({})", code(row["experiment"]), _how(row)) for row in free]
        yield md("Held against no target: {}.", join(said_of))
    yield from busy((row["experiment"], row["before"]) for row in rows)


def _line(row: Mapping[str, Any]) -> list[Any]:
    arms, own = [row["arms"][name] for name in ("ours", *PEERS)], row["arms"]["ours"]
    return [
        code(row["experiment"]), number(row["batch_size"]), " / ".join(arm["precision"] for arm in arms),
        *(number(arm["images_per_s"]) for arm in arms), number(own["flop_per_s"] / 1e9),
        share(own["mfu"]),
        " / ".join(number(arm["operations_per_step"]) for arm in arms),
        *(ratio(row["ratios"][peer]) for peer in PEERS),
    ]  # fmt: skip


def _missed(each: Iterator[tuple[str, str, Mapping[str, Any]]]) -> Md:
    """Say plainly which targets were missed, of (what, beside what, ratio)."""
    held = [(what, beside, found) for what, beside, found in each if found["target"] is not None]
    missed = [
        md("{} beside {}: {} of {}", what, beside, f"{found['ratio']:.2f}", f"{found['target']:g}")
        for what, beside, found in held
        if not found["met"]
    ]
    if not missed:
        return md("{}, none missed.", plural(len(held), "target")) if held else Md("No target is set.")
    return md("**{} of {} missed**: {}.", len(missed), plural(len(held), "target"), join(missed, "; "))


def _how(row: Mapping[str, Any]) -> str:
    if row["batch_size"] != row["recipe_batch_size"]:
        return f"batches of {row['batch_size']:,}, the recipe's have {row['recipe_batch_size']:,}"
    return f"{row['images']:,} images, the recipe has {row['recipe_images']:,}"


def _times(held: timings.Timings) -> list[str]:
    """Return the section of the times side by side, which claims of time rest on."""
    if not held.groups:
        return []
    rows = [
        [code(f"{group.report}/{timed.experiment}"), number(timed.images), _seconds(timed.seconds),
         "yes" if group.counts([timed.experiment]) else "no", group.machine.get("device", ""), group.date[:10]]
        for group in held.groups for timed in group.experiments
    ]  # fmt: skip
    head = ["Experiment", "Images", "Seconds an epoch, by round", "Counts", "Device", "Date"]
    text = "The experiments that claims of time compare, in turn; a verdict rests on those that count."
    return ["\n\n".join([md("## Experiments side by side ({})", code(timings.PLACE.name)), text,
                         table(head, "lrrlll", rows)])]  # fmt: skip


def _seconds(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:.3g}" for value in values if isfinite(value))


_SECTIONS: dict[str, Callable[[Mapping[str, Any], str], Iterator[str]]] = {
    "step": _step, "epoch": _epoch, "variants": speeds.variants, "suite": speeds.suite, "augment": _augment,
    "accuracy": accuracy.section, "tracking": overheads.section, "scale": scales.section,
}  # fmt: skip
