"""Batch norm that leaves counting its batches to the training loop.

PyTorch's adds 1 to `num_batches_tracked` in every training step, a launch a layer that nothing reads while the momentum
is fixed. Here an epoch's steps are added at its end (`count_batches`), so that what is kept is the same.
"""

import torch
from torch import nn
from torch.nn import functional as F


class BatchNorm2d(nn.BatchNorm2d):
    """PyTorch's, with its names, numbers and state; `momentum` must be a number."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> the same; by the batch's statistics in training mode, else by the running ones."""
        assert self.momentum is not None  # None would be a mean over all batches, which has to count them
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, self.training, self.momentum, self.eps
        )


def count_batches(model: nn.Module, batches: int) -> None:
    """Add `batches` to the counters of a network's batch norms."""
    with torch.no_grad():
        for norm in model.modules():
            if isinstance(norm, BatchNorm2d) and norm.num_batches_tracked is not None:
                norm.num_batches_tracked.add_(batches)
