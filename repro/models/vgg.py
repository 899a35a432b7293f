"""VGG networks for 32x32 images (Simonyan and Zisserman 2015), with or without batch norm; A is 1, 1, 2, 2, 2 deep."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from repro.models.half import Conv2d, Linear
from repro.models.norm import BatchNorm2d

IMAGE = 32


class VGG(nn.Module):
    """Stages of `convs[i]` 3x3 convolutions of `widths[i]` channels, each closed by a 2x2 max-pool; linear layers.

    Convolutions keep their bias with `batch_norm` too. `hidden` are the widths of the linear layers before the last;
    ReLU follows every layer but the last. `softmax` gives probabilities in place of logits.
    """

    def __init__(
        self,
        widths: Sequence[int],
        convs: Sequence[int],
        hidden: Sequence[int],
        batch_norm: bool = False,
        softmax: bool = False,
    ):
        super().__init__()
        self.softmax = softmax
        self.convs = nn.ModuleList()
        width_in, self.pooled = 3, set()  # the convolutions that a max-pool follows
        for width, depth in zip(widths, convs, strict=True):
            for _ in range(depth):
                conv = Conv2d(width_in, width, 3, 1, 1)
                self.convs.append(nn.Sequential(conv, BatchNorm2d(width)) if batch_norm else conv)
                width_in = width
            self.pooled.add(len(self.convs) - 1)
        side = IMAGE // 2 ** len(widths)
        layers = pairwise([width_in * side**2, *hidden, 10])
        self.classifier = nn.ModuleList(Linear(inputs, outputs) for inputs, outputs in layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, 32, 32) -> logits, or probabilities (B, 10)."""
        for i, conv in enumerate(self.convs):
            x = F.relu(conv(x), inplace=True)
            if i in self.pooled:
                x = F.max_pool2d(x, 2)
        x = x.flatten(1)
        for layer in self.classifier[:-1]:
            x = F.relu(layer(x), inplace=True)
        logits = self.classifier[-1](x)
        return logits.softmax(1) if self.softmax else logits
