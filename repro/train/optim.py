"""Optimizers in PyTorch's fused or foreach form: one or a few launches a step, whatever the number of tensors."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch

Make = Callable[[Iterable[torch.nn.Parameter]], torch.optim.Optimizer]


class Adagrad(torch.optim.Adagrad):
    """PyTorch's Adagrad where its rate does not decay: the same step without a count on the host, to be captured."""

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update the parameters, each by its gradient over the root of the sum of its squares."""
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            grads = [p.grad for p in params if p.grad is not None]
            sums = [self.state[p]["sum"] for p in params]
            if group["weight_decay"]:
                grads = list(torch._foreach_add(grads, params, alpha=group["weight_decay"]))
            torch._foreach_addcmul_(sums, grads, grads)
            spread = torch._foreach_sqrt(sums)
            torch._foreach_add_(spread, group["eps"])
            torch._foreach_addcdiv_(params, torch._foreach_mul(grads, -group["lr"]), spread)


#: PyTorch's class and its quickest form: fused where the class has it for every device, else foreach
OPTIMIZERS: dict[str, tuple[Callable[..., torch.optim.Optimizer], dict[str, bool]]] = {
    "sgd": (torch.optim.SGD, {"fused": True}),
    "adam": (torch.optim.Adam, {"fused": True}),
    "radam": (torch.optim.RAdam, {"foreach": True}),
    "adagrad": (torch.optim.Adagrad, {"foreach": True}),
    "rmsprop": (torch.optim.RMSprop, {"foreach": True}),
}


#: of these, those that count their steps and can do so on the device
COUNTING = ("adam", "radam", "rmsprop")


def maker(name: str, **arguments: Any) -> Make:
    """Return a function that makes the optimizer for some parameters; it is called again where state is thrown away."""
    make, form = OPTIMIZERS[name]

    def made(parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        given = list(parameters)
        # On CUDA the count of steps stays on the device, so that a step can be captured.
        here = {"capturable": True} if name in COUNTING and given[0].is_cuda else {}
        steady = name == "adagrad" and given[0].is_cuda and not arguments.get("lr_decay")
        return (Adagrad if steady else make)(given, **form, **here, **arguments)

    return made


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set every parameter group's learning rate; on CUDA as float32, which is how a captured step reads it."""
    for group in optimizer.param_groups:
        group["lr"] = float(np.float32(lr)) if group["params"][0].is_cuda else lr
