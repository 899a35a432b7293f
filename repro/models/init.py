"""Initial weights, drawn on the host in float32 from the run's own stream, layer by layer in module order."""

from math import sqrt

import numpy as np
import torch
from torch import nn

SCHEMES = ("default", "kaiming_fan_in", "kaiming_fan_out_linear_1e-3")


def initialise(model: nn.Module, scheme: str, rng: np.random.Generator) -> None:
    """Overwrite a CPU model's convolution and linear weights; batch norms keep weight 1 and bias 0.

    `default`: PyTorch's, uniform within 1 / sqrt(fan_in) for weights and biases. `kaiming_fan_in`: weights
    N(0, 2 / fan_in), biases as default. `kaiming_fan_out_linear_1e-3`: convolutions N(0, 2 / fan_out),
    linear layers N(0, 1e-3^2) with zero bias (the public `init_params` helper of kuangliu/pytorch-cifar).
    """
    if scheme not in SCHEMES:
        raise ValueError(f"unknown init {scheme!r}")
    for module in model.modules():
        if not isinstance(module, nn.Conv2d | nn.Linear):
            continue
        fan_in = module.weight[0].numel()
        fan_out = module.weight[:, 0].numel()
        bound = 1 / sqrt(fan_in)
        if scheme == "default":
            _uniform(module.weight, bound, rng)
        elif scheme == "kaiming_fan_in":
            _normal(module.weight, sqrt(2 / fan_in), rng)
        elif isinstance(module, nn.Conv2d):
            _normal(module.weight, sqrt(2 / fan_out), rng)
        else:
            _normal(module.weight, 1e-3, rng)
        if module.bias is not None:
            _uniform(module.bias, 0.0 if scheme == "kaiming_fan_out_linear_1e-3" else bound, rng)


def _uniform(parameter: torch.Tensor, bound: float, rng: np.random.Generator) -> None:
    values = (rng.random(tuple(parameter.shape), dtype=np.float32) * 2 - 1) * np.float32(bound)
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(values))


def _normal(parameter: torch.Tensor, std: float, rng: np.random.Generator) -> None:
    values = rng.standard_normal(tuple(parameter.shape), dtype=np.float32) * np.float32(std)
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(values))
