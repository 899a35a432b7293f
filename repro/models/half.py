"""Convolutions and linear layers whose weights are cast to bfloat16 all at once, in two launches a step.

Autocast casts each weight where it is used, and its gradient back: two launches a layer. The values are the same.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F


class Conv2d(nn.Conv2d):
    """PyTorch's, padded by zeros; computes with `rounded`, its weight and bias as they were cast, where that is set."""

    rounded: tuple[torch.Tensor, torch.Tensor | None] | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, C', H', W')."""
        weight, bias = self.rounded or (self.weight, self.bias)
        return F.conv2d(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)


class Linear(nn.Linear):
    """PyTorch's; computes with `rounded`, its weight and bias as they were cast, where that is set."""

    rounded: tuple[torch.Tensor, torch.Tensor | None] | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, N) -> (B, N')."""
        weight, bias = self.rounded or (self.weight, self.bias)
        return F.linear(x, weight, bias)


class _Cast(torch.autograd.Function):
    """All tensors to bfloat16, all gradients back to float32; each keeps its memory order."""

    @staticmethod
    def forward(ctx: Any, *weights: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return _copied(weights, torch.bfloat16)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return _copied(gradients, torch.float32)


def _copied(values: tuple[torch.Tensor, ...], dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    out = [torch.empty_like(value, dtype=dtype) for value in values]
    torch._foreach_copy_(out, list(values))
    return tuple(out)


class Halves:
    """The layers of a network whose weights are cast; made once, entered in every step."""

    def __init__(self, model: nn.Module):
        self.layers = [layer for layer in model.modules() if isinstance(layer, (Conv2d, Linear))]
        self.weights = [w for layer in self.layers for w in (layer.weight, layer.bias) if w is not None]

    @contextmanager
    def cast(self) -> Iterator[None]:
        """Let the layers compute in bfloat16 while it is entered; gradients arrive at their own weights."""
        halves = iter(_Cast.apply(*self.weights))
        try:
            for layer in self.layers:
                layer.rounded = next(halves), None if layer.bias is None else next(halves)
            yield
        finally:
            for layer in self.layers:
                layer.rounded = None
