"""What of a training has to be kept: weights, buffers and the optimizer's moments, in the network's own shapes.

Padded channels (`repro.models.padding`) are left out and put back, so that what is kept does not depend on the device.
"""

from collections.abc import Mapping
from typing import Any

import torch

from repro.models import padding


def keep(model: torch.nn.Module, optimizer: torch.optim.Optimizer, own: padding.Shapes | None) -> dict[str, Any]:
    """Return the state of a training; `own` holds the shapes of an unpadded network, None where none is padded."""
    weights, moments = model.state_dict(), optimizer.state_dict()
    if own is not None:
        order = [own[name] for name, _ in model.named_parameters()]
        weights, moments = padding.cut_state(weights, own), padding.move_moments(moments, order, padding.cut)
    return {"model": weights, "optimizer": moments}


def _grown(value: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    # In the parameter's own memory order: fused optimizers walk through both as flat memory.
    return torch.empty_like(parameter, dtype=value.dtype).copy_(padding.grow(value, parameter.shape))


def restore(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, state: Mapping[str, Any], own: padding.Shapes | None
) -> None:
    """Put a kept state back."""
    weights, moments = state["model"], state["optimizer"]
    if own is not None:
        weights = padding.grow_state(weights, padding.shapes(model))
        moments = padding.move_moments(moments, list(model.parameters()), _grown)
    model.load_state_dict(weights)
    optimizer.load_state_dict(moments)
