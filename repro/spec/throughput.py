"""Operations a second that a run achieved: those of training in closed form, times the images it got through a second.

The seconds are a run's own, tests after each epoch included, so that the rate is a little lower than a step's.
"""

import json
from typing import Any

from repro.record import RunRecord
from repro.spec import cost, counting
from repro.spec.identity import recipe_hash
from repro.spec.recipe import Recipe

#: operations a second that a large matrix product was measured to reach, by device and precision: what MFU, model
#: FLOP utilisation, is a share of. An H200's data sheet has 989e12 in bfloat16.
PEAKS = {("NVIDIA H200", "bf16"): 788e12}


def operations(record: RunRecord) -> int | None:
    """Return the operations of training a run on one image, in all its views.

    None where the record's recipe is none, or not the one its hash names: records come from other machines.
    """
    try:
        recipe = Recipe.model_validate_json(json.dumps(record.recipe))
    except (ValueError, TypeError):
        return None
    if recipe_hash(recipe) != record.recipe_hash:
        return None
    return cost.views(recipe) * counting.training_flop(recipe.model)


def tflops(operations: int | None, images_per_s: float | None) -> float | None:
    """Return 10^12 operations a second; None where either is not known."""
    return None if operations is None or images_per_s is None else operations * images_per_s / 1e12


def mfu_pct(rate: float, device: Any, env_class: str) -> float | None:
    """Return a rate in TFLOP/s as percent of the device's peak, None where that is not known.

    `env_class` is a record's (`cuda-bf16-...`).
    """
    peak = PEAKS.get((str(device), env_class.split("-")[1] if "-" in env_class else ""))
    return None if peak is None else 100 * rate * 1e12 / peak
