"""Channels filled up with zeros to multiples of 8, which tensor cores and vector units take without a detour.

A network is a fixed point of training in its padded channels: with zero weights into and out of them, and batch norms
of weight 1 and bias 0, they stay exactly 0, and so do the gradients and the optimizers' moments of everything that
touches them, because each activation here maps 0 to 0. What leaves the engine is cut back to the network's own shapes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

MULTIPLE = 8
Shapes = dict[str, torch.Size]


def padded(width: int) -> int:
    """Return a width rounded up to a multiple of 8."""
    return -(-width // MULTIPLE) * MULTIPLE


def widened(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return a ResNet's arguments with every width rounded up; those of other networks as they are."""
    widths: Sequence[int] = arguments.get("widths", ())
    stem = {"stem": padded(arguments["stem"])} if "stem" in arguments else {}
    return {**arguments, **stem, **({"widths": tuple(map(padded, widths))} if stem else {})}


def narrow(arguments: Mapping[str, Any]) -> bool:
    """Whether a ResNet has fewer than 8 channels anywhere."""
    return "stem" in arguments and min(arguments["stem"], *arguments["widths"]) < MULTIPLE


def shapes(model: nn.Module) -> Shapes:
    """Return the shapes of a network's state by name."""
    return {name: value.shape for name, value in model.state_dict().items()}


@torch.no_grad()
def fill(wide: nn.Module, model: nn.Module) -> nn.Module:
    """Put a network's state into a wider one of the same layers; what is added is neutral. Returns the wide one."""
    wide.load_state_dict(grow_state(model.state_dict(), shapes(wide)))
    return wide


def grow_state(state: Mapping[str, torch.Tensor], wanted: Shapes) -> dict[str, torch.Tensor]:
    """Return a network's state in larger shapes: zeros, and ones where a batch norm divides or multiplies."""
    ones = {name for name in state if name.endswith("running_var")}
    ones |= {name.removesuffix("running_var") + "weight" for name in ones}
    return {name: grow(value, wanted[name], float(name in ones)) for name, value in state.items()}


def cut_state(state: Mapping[str, torch.Tensor], wanted: Shapes) -> dict[str, torch.Tensor]:
    """Return a network's state without what was added."""
    return {name: cut(value, wanted[name]) for name, value in state.items()}


def grow(value: torch.Tensor, shape: Sequence[int], fill_with: float = 0.0) -> torch.Tensor:
    """Return a tensor in the corner of a larger one."""
    if value.shape == torch.Size(shape):
        return value
    large = torch.full(tuple(shape), fill_with, dtype=value.dtype, device=value.device)
    large[tuple(slice(0, n) for n in value.shape)] = value
    return large


def cut(value: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Return the corner of a tensor that has the wanted shape."""
    if value.shape == torch.Size(shape):
        return value
    return value[tuple(slice(0, n) for n in shape)].clone()


def move_moments(
    optimizer: Mapping[str, Any], wanted: Sequence[Any], move: Callable[[torch.Tensor, Any], torch.Tensor]
) -> dict[str, Any]:
    """Return an optimizer's state with each parameter's moments moved (by `cut`, for example) to what is wanted.

    `wanted` holds what `move` takes beside a moment, such as a shape, for the parameters in the optimizer's order; step
    counts, which have no shape, stay.
    """
    state = {
        number: {
            key: move(value, wanted[number]) if isinstance(value, torch.Tensor) and value.dim() else value
            for key, value in moments.items()
        }
        for number, moments in optimizer["state"].items()
    }
    return {**optimizer, "state": state}
