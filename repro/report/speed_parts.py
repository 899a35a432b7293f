"""What the sections of the page of the suite's speed share: machine, ratios, shares of a peak, who else was there."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from repro.report.markdown import DASH, Md, code, escape, join, md

_MFU = "MFU is the share of the {} TFLOP/s that a large matrix product was measured to reach in {} on this device."


def machine(plain: Mapping[str, Any]) -> Md:
    """Device, versions, commit, images and date, as far as the file has them."""
    found = plain["machine"]
    names = {"torch": "torch", "cuda": "CUDA", "driver": "driver", "torchvision": "torchvision", "pillow": "Pillow",
             "numpy": "numpy", "python": "Python"}  # fmt: skip
    versions = [f"{shown} {found[key]}" for key, shown in names.items() if found.get(key)]
    changed = " with changed files" if found.get("dirty") else ""
    parts = [f"{found['device']}", *versions, f"commit {str(found.get('commit', 'unknown'))[:12]}{changed}"]
    parts += [f"images of {plain['source']}"] if plain.get("source") else []
    parts += [str(plain["date"])[:10]] if plain.get("date") else []
    return Md(f"Measured on {escape(', '.join(parts))}.")


def ratio(found: Mapping[str, Any]) -> Md:
    """`1.18 (1.15 to 1.21), target 1 met`."""
    middle, lowest, highest = (f"{found[key]:.2f}" for key in ("ratio", "lowest", "highest"))
    wanted = "" if found["target"] is None else f", target {found['target']:g} {met(found['met'])}"
    return Md(f"{middle} ({lowest} to {highest}){wanted}")


def met(value: bool | None) -> Md:
    """`met`, or `missed` in bold; nothing where nothing was held against a target."""
    return Md("" if value is None else "met" if value else "**missed**")


def share(mfu: float | None) -> str:
    """A share of the peak in percent, or a dash."""
    return DASH if mfu is None else f"{100 * mfu:.1f} %"


def peaks(figures: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Say what MFU is a share of, for each precision in which there is one."""
    peak = {each["precision"]: each["flop_per_s"] / each["mfu"] / 1e12 for each in figures if each["mfu"]}
    yield from (_MFU.format(f"{peak[precision]:,.0f}", precision) for precision in sorted(peak))


def busy(seen: Iterable[tuple[str, Mapping[str, Any]]]) -> Iterator[str]:
    """Name the experiments before which others used the machine, of (experiment, what was seen)."""
    if names := [code(name) for name, before in seen if before["idle"] is False]:
        yield md("**Others used the machine** just before these were timed: {}.", join(names))
