"""What of a training has to be kept: weights, buffers and the optimizer's moments, in the network's own shapes.

Padded channels (`repro.models.padding`) are left out and put back, so that what is kept does not depend on the device.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from repro.errors import UserError
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


@contextmanager
def fitting(folder: Path) -> Iterator[None]:
    """Turn what a state raises that is not this training's, though its bytes are intact, into a sentence."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise UserError(
            f"{folder}: the checkpoint does not fit this training ({type(error).__name__}); --force begins anew"
        ) from error


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
