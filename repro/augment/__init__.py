"""Batched augmentation on the device with per-image draws, pixel for pixel equal to Pillow and torchvision.

Draws are made on the host for a whole epoch (`Pipeline.draw`) and applied batch by batch (`Pipeline.sources`).
Growing the suite by an operation is one class and one line of `OPS`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from repro.augment.basic import Crop, Flip, Rotate
from repro.augment.geometry import Pipeline

OPS = {"crop": Crop, "flip": Flip, "rotate": Rotate}


def build(steps: Sequence[Mapping[str, Any]]) -> Pipeline:
    """Build a pipeline from `[{"name": "crop", "pad": 4}, ...]`, applied in this order."""
    ops = []
    for step in steps:
        arguments = {key: value for key, value in step.items() if key != "name"}
        ops.append(OPS[step["name"]](**arguments))
    return Pipeline(ops)
