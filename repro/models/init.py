"""Initial weights, drawn on the host in float32 from the run's own stream, layer by layer in module order."""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import numpy as np
import torch
from torch import nn


@dataclass(frozen=True)
class Scheme:
    """Standard deviations of a layer's normal weights as functions of (fan_in, fan_out); None is PyTorch's default."""

    conv: Callable[[int, int], float] | None = None
    linear: Callable[[int, int], float] | None = None
    zero_bias: bool = False


def fan_in_std(fan_in: int, fan_out: int) -> float:
    """Return He et al.'s 2015 deviation for the forward pass."""
    return sqrt(2 / fan_in)


def fan_out_std(fan_in: int, fan_out: int) -> float:
    """Return He et al.'s 2015 deviation for the backward pass."""
    return sqrt(2 / fan_out)


def xavier_std(fan_in: int, fan_out: int) -> float:
    """Return Glorot and Bengio's 2010 deviation."""
    return sqrt(2 / (fan_in + fan_out))


def small_std(fan_in: int, fan_out: int) -> float:
    """Return 1e-3, whatever the layer."""
    return 1e-3


#: `kaiming_fan_out_linear_1e-3` is the public `init_params` helper of kuangliu/pytorch-cifar
SCHEMES = {
    "default": Scheme(),
    "kaiming_fan_in": Scheme(fan_in_std, fan_in_std),
    "kaiming_fan_out": Scheme(fan_out_std, fan_out_std),
    "kaiming_fan_in_linear_1e-3": Scheme(fan_in_std, small_std, zero_bias=True),
    "kaiming_fan_out_linear_1e-3": Scheme(fan_out_std, small_std, zero_bias=True),
    "xavier": Scheme(xavier_std, xavier_std, zero_bias=True),
    "linear_normal": Scheme(None, small_std),
}


def initialise(model: nn.Module, scheme: str, rng: np.random.Generator) -> None:
    """Overwrite a CPU model's convolution and linear weights; batch norms keep weight 1 and bias 0.

    PyTorch's default is uniform within 1 / sqrt(fan_in), for weights and biases; see `SCHEMES` for the others.
    """
    if scheme not in SCHEMES:
        raise ValueError(f"unknown init {scheme!r}")
    rule = SCHEMES[scheme]
    for module in model.modules():
        if not isinstance(module, nn.Conv2d | nn.Linear):
            continue
        fan_in, fan_out = module.weight[0].numel(), module.weight[:, 0].numel()
        bound = 1 / sqrt(fan_in)
        if std := rule.conv if isinstance(module, nn.Conv2d) else rule.linear:
            _normal(module.weight, std(fan_in, fan_out), rng)
        else:
            _uniform(module.weight, bound, rng)
        if module.bias is not None:
            _uniform(module.bias, 0.0 if rule.zero_bias else bound, rng)


def _uniform(parameter: torch.Tensor, bound: float, rng: np.random.Generator) -> None:
    values = (rng.random(tuple(parameter.shape), dtype=np.float32) * 2 - 1) * np.float32(bound)
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(values))


def _normal(parameter: torch.Tensor, std: float, rng: np.random.Generator) -> None:
    values = rng.standard_normal(tuple(parameter.shape), dtype=np.float32) * np.float32(std)
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(values))
