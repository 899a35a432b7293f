"""From seconds of three arms to figures: images and operations a second, share of a peak, ratios beside targets."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

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


def arm(
    seconds: Sequence[float], images: int, recipe: Recipe, device: str, precision: str, operations: float | None
) -> dict[str, Any]:
    """Return an arm's figures from the seconds it took for so many images, round by round; rates are of the median.

    `operations` are those that PyTorch dispatches a step, None where they were not counted.
    """
    speed = images / median(seconds)
    rate = speed * flop_an_image(recipe)
    most = throughput.PEAKS.get((device, precision))
    return {
        "precision": precision, "seconds": [float(f"{s:.6g}") for s in seconds], "images_per_s": speed,
        "flop_per_s": rate, "mfu": None if most is None else rate / most, "operations_per_step": operations,
    }  # fmt: skip


def against(ours: Sequence[float], theirs: Sequence[float], wanted: float | None) -> dict[str, Any]:
    """Return how many times as fast ours is: the median of the pairs with lowest and highest, and the target."""
    timed = Timed(list(ours), list(theirs))
    lowest, highest = timed.spread
    met = None if wanted is None else timed.ratio >= wanted
    return {"ratio": timed.ratio, "lowest": lowest, "highest": highest, "target": wanted, "met": met}
