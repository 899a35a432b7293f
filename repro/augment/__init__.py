"""Batched augmentation on the device with per-image draws, pixel for pixel equal to Pillow and torchvision.

Draws are made on the host for a whole epoch (`Pipeline.draw`) and applied batch by batch (`Pipeline.sources`, then
`Pipeline.views`). Growing the suite by an operation is one class and one line of `OPS` or `ENDINGS`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from repro.augment.augmix import AugMix
from repro.augment.autoaugment import AutoAugment
from repro.augment.basic import Crop, Flip, Rotate
from repro.augment.geometry import Ending, Op, Pipeline


def views_of(views: int = 1, **arguments: Any) -> AugMix:
    """Return AugMix as recipes count its views: 1 is a mix in place of the image, 3 the image and two mixes."""
    return AugMix(views=max(1, views - 1), plain=views == 3, **arguments)


#: operations that only move pixels, and those that change their values, of which a pipeline has one at its end
OPS: dict[str, Callable[..., Op]] = {"crop": Crop, "flip": Flip, "rotate": Rotate}
ENDINGS: dict[str, Callable[..., Ending]] = {"autoaugment": AutoAugment, "augmix": views_of}


def build(steps: Sequence[Mapping[str, Any]]) -> Pipeline:
    """Build a pipeline from `[{"name": "crop", "pad": 4}, ...]`, applied in this order."""
    ops: list[Op] = []
    ending: Ending | None = None
    for step in steps:
        arguments = {key: value for key, value in step.items() if key != "name"}
        if ending is not None:
            raise ValueError(f"{step['name']} comes after an operation that has to be the last")
        if step["name"] in OPS:
            ops.append(OPS[step["name"]](**arguments))
        else:
            ending = ENDINGS[step["name"]](**arguments)
    return Pipeline(ops, ending)
