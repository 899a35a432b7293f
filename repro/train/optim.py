"""Optimizers in PyTorch's fused or foreach form: one or a few launches a step, whatever the number of tensors."""

from collections.abc import Callable, Iterable
from typing import Any

import torch

Make = Callable[[Iterable[torch.nn.Parameter]], torch.optim.Optimizer]

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}


def maker(name: str, **arguments: Any) -> Make:
    """Return a function that makes the optimizer for some parameters; it is called again where state is thrown away."""
    return lambda parameters: OPTIMIZERS[name](list(parameters), fused=True, **arguments)
