"""Learning rates as pure functions of the past: no schedule holds state, so resuming needs none."""

from collections.abc import Callable, Sequence
from math import cos, pi
from typing import Any

#: (epoch counted from 1, fraction of the epoch done, metrics of the completed epochs) -> learning rate
Schedule = Callable[[int, float, Sequence[dict[str, float]]], float]


def constant(lr: float) -> Schedule:
    """Return lr throughout."""
    return lambda epoch, done, history: lr


def cosine(lr: float, t_max: float, eta_min: float = 0.0, per: str = "epoch") -> Schedule:
    """Return half a cosine from lr to eta_min over t_max epochs, stepped after each epoch or each step.

    The closed form of torch.optim.lr_scheduler.CosineAnnealingLR; past t_max it rises again, as there.
    """

    def rate(epoch: int, done: float, history: Sequence[dict[str, float]]) -> float:
        t = epoch - 1 + (done if per == "step" else 0.0)
        return eta_min + (lr - eta_min) * (1 + cos(pi * t / t_max)) / 2

    return rate


def cosine_restarts(lr: float, t_0: float, t_mult: int = 1, eta_min: float = 0.0, per: str = "epoch") -> Schedule:
    """Return half a cosine from lr to eta_min over t_0 epochs, begun again at lr, each `t_mult` times as long.

    The closed form of torch.optim.lr_scheduler.CosineAnnealingWarmRestarts, stepped after each epoch or each step.
    """

    def rate(epoch: int, done: float, history: Sequence[dict[str, float]]) -> float:
        t, length = epoch - 1 + (done if per == "step" else 0.0), t_0
        while t >= length:
            t, length = t - length, length * t_mult
        return eta_min + (lr - eta_min) * (1 + cos(pi * t / length)) / 2

    return rate


def plateau(lr: float, metric: str, factor: float = 0.5, patience: int = 10) -> Schedule:
    """Return lr times `factor` for each `patience` epochs in a row without a new minimum of `metric`."""

    def rate(epoch: int, done: float, history: Sequence[dict[str, float]]) -> float:
        best, waited, drops = float("inf"), 0, 0
        for metrics in history:
            if metrics[metric] < best:
                best, waited = metrics[metric], 0
            else:
                waited += 1
                if waited == patience:
                    drops, waited = drops + 1, 0
        return lr * factor**drops

    return rate


def warmed_up(after: Schedule, lr: float, epochs: int, start: float) -> Schedule:
    """Return a straight line, step by step, from `start` times lr to lr over some epochs, and then `after`.

    `after` begins with its own first epoch once the line is done and knows nothing of the epochs before.
    """

    def rate(epoch: int, done: float, history: Sequence[dict[str, float]]) -> float:
        if epoch > epochs:
            return after(epoch - epochs, done, history[epochs:])
        return lr * (start + (1 - start) * (epoch - 1 + done) / epochs)

    return rate


SCHEDULES: dict[str, Callable[..., Schedule]] = {
    "constant": constant,
    "cosine": cosine,
    "cosine_restarts": cosine_restarts,
    "plateau": plateau,
}


def build(name: str, lr: float, warmup_epochs: int = 0, warmup_start: float = 0.1, **arguments: Any) -> Schedule:
    """Build a schedule by name on top of the optimizer's learning rate, after a linear warm-up if there is one."""
    after = SCHEDULES[name](lr, **arguments)
    return warmed_up(after, lr, warmup_epochs, warmup_start) if warmup_epochs else after
