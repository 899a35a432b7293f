"""From seconds of arms to figures: images and operations a second, share of a peak, ratios beside targets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from repro.bench.counts import NOTHING, Counts
from repro.bench.timing import Timed
from repro.spec import cost, counting, throughput
from repro.spec.network import VGG, ResNet
from repro.spec.recipe import Recipe

#: least ratios to the plain loop: float32 on both sides, bfloat16, and bfloat16 of ResNet-18 of widths 64 to 512
SAME, HALF, WIDE = 1.0, 1.3, 2.0
#: the same for ResNet-18 of widths 64 to 512 on an H200, in bfloat16, to each peer
H200: Mapping[str, float] = {"plain": 3.0, "tuned": 1.3}
RESNET18 = {"widths": (64, 128, 256, 512), "blocks": (2, 2, 2, 2)}


def is_resnet18(model: ResNet | VGG) -> bool:
    """Whether a network is the ResNet-18 of widths 64 to 512 that images of 32x32 are usually trained with."""
    usual = isinstance(model, ResNet) and model.stem_kernel == 3 and not model.max_pool
    return usual and all(getattr(model, key) == value for key, value in RESNET18.items())


def target(model: ResNet | VGG, device: str, precision: str, against: str, native: bool = True) -> float | None:
    """Return the least ratio of ours to a peer ("plain", "tuned"); None where none is set.

    `native`: whether the device computes in bfloat16 itself.
    """
    if precision == "fp32":
        return SAME if against == "plain" else None
    if not native:
        return None
    if is_resnet18(model) and "H200" in device:
        return H200[against]
    if against != "plain":
        return None
    return WIDE if is_resnet18(model) else HALF


def flop_an_image(recipe: Recipe) -> int:
    """Return the operations of training once on an image and its views, in closed form."""
    return cost.views(recipe) * counting.training_flop(recipe.model)


@dataclass(frozen=True)
class Facts:
    """What is said of an arm beside its seconds: its precision, counts, seconds until it was ready, runs at once."""

    precision: str
    counts: Counts = NOTHING
    prepare_s: float | None = None
    copies: int = 1


def arm(seconds: Sequence[float], images: int, recipe: Recipe, device: str, facts: Facts) -> dict[str, Any]:
    """Return an arm's figures from the seconds of each round, in which each of its runs trained on so many images.

    Rates are of the median, and of all runs together; what was not counted is None.
    """
    speed = facts.copies * images / median(seconds)
    counts, prepare_s = facts.counts, facts.prepare_s
    return {
        "precision": facts.precision, "copies": facts.copies, "seconds": [digits(s) for s in seconds],
        "images_per_s": speed, **rates(speed, recipe, device, facts.precision),
        "operations_per_step": counts.operations, "kernels_per_step": counts.kernels, "host_syncs": counts.host_syncs,
        "prepare_s": None if prepare_s is None else digits(prepare_s),
    }  # fmt: skip


def rates(images_per_s: float, recipe: Recipe, device: str, precision: str) -> dict[str, float | None]:
    """Return the operations a second of training on so many images, and their share of the device's peak."""
    rate = images_per_s * flop_an_image(recipe)
    most = throughput.PEAKS.get((device, precision))
    return {"flop_per_s": rate, "mfu": None if most is None else rate / most}


def digits(seconds: float) -> float:
    """Return seconds in the six digits that a file holds."""
    return float(f"{seconds:.6g}")


def against(ours: Sequence[float], theirs: Sequence[float], wanted: float | None) -> dict[str, Any]:
    """Return how many times as fast ours is: the median of the pairs with lowest and highest, and the target."""
    timed = Timed(list(ours), list(theirs))
    lowest, highest = timed.spread
    met = None if wanted is None else timed.ratio >= wanted
    return {"ratio": timed.ratio, "lowest": lowest, "highest": highest, "target": wanted, "met": met}
