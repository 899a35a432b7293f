"""Optimizers in PyTorch's fused or foreach form: one or a few launches a step, whatever the number of tensors."""

from collections.abc import Callable, Iterable
from typing import Any

import torch

Make = Callable[[Iterable[torch.nn.Parameter]], torch.optim.Optimizer]

#: PyTorch's class and its quickest form: fused where the class has it for every device, else foreach
OPTIMIZERS: dict[str, tuple[Callable[..., torch.optim.Optimizer], dict[str, bool]]] = {
    "sgd": (torch.optim.SGD, {"fused": True}),
    "adam": (torch.optim.Adam, {"fused": True}),
    "radam": (torch.optim.RAdam, {"foreach": True}),
    "adagrad": (torch.optim.Adagrad, {"foreach": True}),
    "rmsprop": (torch.optim.RMSprop, {"foreach": True}),
}


def maker(name: str, **arguments: Any) -> Make:
    """Return a function that makes the optimizer for some parameters; it is called again where state is thrown away."""
    make, form = OPTIMIZERS[name]
    return lambda parameters: make(list(parameters), **form, **arguments)
