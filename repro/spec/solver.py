"""Which networks have a printed number of parameters: a family of residual networks, counted in closed form.

The count is linear in the channels of the stem, so that each member of the family takes one division for all stems.
The arithmetic is that of `repro.spec.counting` where shortcuts are 1x1 convolutions with batch norm.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np

from repro.spec.counting import CLASSES, IMAGE
from repro.spec.network import ResNet

#: stems that are tried, in channels
STEMS = range(1, 129)
#: first stages that are tried, each later stage twice as wide as the one before
FIRST_WIDTHS = range(16, 65)
#: kernels of shortcuts that change shape; 0 has no parameters: strided, new channels zero
SHORTCUTS = (1, 3, 0)
_EVERY_STAGE = range(1, 4)
_UNIFORM = range(1, 19)


@dataclass(frozen=True)
class Candidate:
    """A residual network of basic blocks: kernel and batch norm of its shortcuts, bias of its linear layer."""

    stem: int
    widths: tuple[int, ...]
    blocks: tuple[int, ...]
    shortcut: int = 1
    shortcut_norm: bool = True
    bias: bool = True

    def words(self) -> str:
        """Say what it is, such as `stem 32 into 42/84/168/336, blocks 2/2/2/2, 1x1 shortcuts with batch norm`."""
        stages = "/".join(map(str, self.widths))
        return f"stem {self.stem} into {stages}, blocks {'/'.join(map(str, self.blocks))}, {self._ends()}"

    def _ends(self) -> str:
        norm = "with" if self.shortcut_norm else "without"
        kernel = f"{self.shortcut}x{self.shortcut} shortcuts {norm} batch norm"
        shortcut = kernel if self.shortcut else "shortcuts without parameters"
        return shortcut + ("" if self.bias else ", linear layer without bias")


def of(model: ResNet, **changes: object) -> Candidate:
    """Return a recipe's network as a candidate; `changes` replace its fields."""
    return Candidate(**{"stem": model.stem, "widths": model.widths, "blocks": model.blocks} | changes)  # type: ignore[arg-type]


def count(network: Candidate) -> int:
    """Return its trainable parameters."""
    parts = _parts(network.widths, network.shortcut, network.shortcut_norm, network.bias)
    further = sum((b - 1) * _block(w) for b, w in zip(network.blocks, network.widths, strict=True))
    first = _shortcut(network.stem, network.widths[0], network.shortcut, network.shortcut_norm)
    return parts + further + _slope(network.widths[0]) * network.stem + first


def _slope(first: int) -> int:
    """Parameters for each channel of the stem: its convolution and norm, and the convolution behind it."""
    return 9 * IMAGE[0] + 2 + 9 * first


def _block(width: int) -> int:
    """Parameters of a block that keeps its width: two 3x3 convolutions with batch norm."""
    return 2 * (9 * width * width + 2 * width)


def _shortcut(inputs: int, outputs: int, kernel: int, norm: bool, strided: bool = False) -> int:
    if kernel == 0 or (inputs == outputs and not strided):
        return 0
    return kernel**2 * inputs * outputs + 2 * outputs * norm


def _parts(widths: Sequence[int], kernel: int, norm: bool, bias: bool) -> int:
    """Parameters with one block a stage, without those that the stem's channels decide."""
    total = 9 * widths[0] ** 2 + 4 * widths[0]  # second convolution of the first block, and both norms
    for inputs, outputs in pairwise(widths):
        total += 9 * inputs * outputs + 9 * outputs**2 + 4 * outputs
        total += _shortcut(inputs, outputs, kernel, norm, strided=True)
    return total + CLASSES * widths[-1] + CLASSES * bias


@dataclass(frozen=True)
class Family:
    """The networks among which a count is looked for."""

    widths: tuple[tuple[int, ...], ...]
    blocks: tuple[tuple[int, ...], ...]

    @property
    def size(self) -> int:
        """How many networks it has, a parameter-free shortcut that would have to drop channels included."""
        return len(STEMS) * len(self.widths) * len(self.blocks) * len(list(_ends()))

    def words(self) -> str:
        """Name the family in a sentence."""
        return (
            f"{self.size:,} residual networks: stems of {STEMS[0]} to {STEMS[-1]} channels, the report's stage widths "
            f"and {FIRST_WIDTHS[0]} to {FIRST_WIDTHS[-1]} doubled from stage to stage, its blocks, "
            f"{_EVERY_STAGE[0]} to {_EVERY_STAGE[-1]} in any stage and {_UNIFORM[0]} to {_UNIFORM[-1]} in all, "
            "shortcuts of 1x1, 3x3 or without parameters, with and without batch norm in them and a bias in "
            "the linear layer"
        )


def family(models: Iterable[ResNet]) -> Family:
    """Return the family around some networks of as many stages: their widths and blocks, and regular ones."""
    models = list(models)
    stages = {len(model.widths) for model in models}
    if len(stages) != 1:
        raise ValueError("a family has networks of one number of stages")
    n = stages.pop()
    scaled = (tuple(first * 2**i for i in range(n)) for first in FIRST_WIDTHS)
    regular = ((b,) * n for b in _UNIFORM)
    mixed = product(_EVERY_STAGE, repeat=n)
    return Family(
        tuple(dict.fromkeys([*(m.widths for m in models), *scaled])),
        tuple(dict.fromkeys([*(m.blocks for m in models), *mixed, *regular])),
    )


def _ends() -> Iterable[tuple[int, bool, bool]]:
    """Kernel and norm of the shortcuts, bias of the linear layer; without parameters there is no norm either."""
    for kernel, norm, bias in product(SHORTCUTS, (True, False), (True, False)):
        if kernel or not norm:
            yield kernel, norm, bias


def solve(target: int, among: Family, near: Candidate | None = None) -> list[Candidate]:
    """Return every network of the family with exactly `target` parameters, those most like `near` first."""
    if not 0 < target < 2**62:  # what 64 bits can count with
        return []
    blocks = np.array(among.blocks, dtype=np.int64)
    hits: list[Candidate] = []
    for widths in among.widths:
        further = (blocks - 1) @ np.array([_block(w) for w in widths], dtype=np.int64)
        for ends in _ends():
            for place, stem in _stems(target - _parts(widths, *ends) - further, widths[0], ends):
                hits.append(Candidate(stem, widths, among.blocks[place], *ends))
    return sorted(hits, key=lambda hit: (_unlike(hit, near), hit.widths, hit.blocks, hit.stem))


def _stems(left: np.ndarray, first: int, ends: tuple[int, bool, bool]) -> Iterable[tuple[int, int]]:
    """Yield (place in `left`, stem) where a stem of the range takes up exactly what is left."""
    kernel, norm, _ = ends
    same = left == _slope(first) * first  # a stem as wide as the first stage has no shortcut behind it
    if first in STEMS:
        yield from ((int(place), first) for place in np.flatnonzero(same))
    slope = _slope(first) + kernel**2 * first
    stems, rest = np.divmod(left - (2 * first * norm if kernel else 0), slope)
    high = STEMS[-1] if kernel else first  # without parameters channels can be added, not dropped
    fits = (rest == 0) & (stems >= STEMS[0]) & (stems <= high) & (stems != first)
    yield from ((int(place), int(stems[place])) for place in np.flatnonzero(fits))


def _unlike(hit: Candidate, near: Candidate | None) -> int:
    """Count the parts in which two networks differ."""
    if near is None:
        return 0
    fields = ("stem", "widths", "blocks", "shortcut", "shortcut_norm", "bias")
    return sum(getattr(hit, name) != getattr(near, name) for name in fields)
