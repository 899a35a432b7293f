"""Losses in float32, as functions of a batch's outputs and labels."""

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F

#: (outputs (views * B, 10) view by view, labels (B,)) -> a scalar
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def cross_entropy(last_bias: torch.Tensor | None = None, last_bias_norm: float = 0.0) -> Loss:
    """Return the mean cross entropy, and `last_bias_norm` times the Euclidean norm of the parameter `last_bias`."""

    def loss(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        value = F.cross_entropy(outputs, labels)
        if last_bias is None or not last_bias_norm:
            return value
        return value + last_bias_norm * torch.linalg.vector_norm(last_bias.float())

    return loss


def jensen_shannon(last_bias: torch.Tensor | None = None, factor: float = 12.0) -> Loss:
    """Return cross entropy on the first of three views plus `factor` times the views' Jensen-Shannon divergence.

    The divergence is the mean over images and views of KL(view || mean of the views), the mean clamped to [1e-7, 1],
    as in Hendrycks et al. 2020.
    """

    def loss(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        # From logarithms, not with F.kl_div: its gradient is NaN where a probability has underflowed to 0, as the
        # first steps at a rate of 0.1 bring about.
        logs = outputs.log_softmax(1).view(3, len(labels), -1)
        views = logs.exp()
        mixture = views.mean(0).clamp(1e-7, 1).log()
        divergence = (views * (logs - mixture)).sum() / (3 * len(labels))
        return F.cross_entropy(outputs[: len(labels)], labels) + factor * divergence

    return loss


LOSSES: dict[str, Callable[..., Loss]] = {"cross_entropy": cross_entropy, "jensen_shannon": jensen_shannon}


def build(name: str, last_bias: torch.Tensor | None = None, **arguments: Any) -> Loss:
    """Return a loss by name; `last_bias` is the parameter that a penalty on the last layer's biases is of."""
    return LOSSES[name](last_bias, **arguments)
